"""Models: create, describe, rename and delete them, and set aliases of their versions (the contract, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import Conflict, InvalidInput, NotFound
from ..store import disk_names
from .index.model_history import PRODUCTION, Model, Version, is_alias
from .names import check_model_name, quote_name
from .tags import TagValue, check_tags, find_tag_changes
from .tracker import Tracker

#: A description is a sentence or a page; anything larger belongs in an artifact.
MAX_DESCRIPTION_CHARACTERS = 100_000


def check_description(description: str | None) -> None:
    """Raise InvalidInput for a description that is too long."""
    if description is not None and len(description) > MAX_DESCRIPTION_CHARACTERS:
        raise InvalidInput(f"description has more than {MAX_DESCRIPTION_CHARACTERS} characters")


def check_alias(alias: str) -> str:
    """Return `alias` if it is a valid alias. Raises InvalidInput."""
    if not is_alias(alias):
        raise InvalidInput(
            f"alias {quote_name(alias)} can't be used: it has 1 to 250 of A-Z a-z 0-9 _ -, "
            "and is neither a number, nor latest, nor v and a number"
        )
    return alias


def refuse_unstorable(tracker: Tracker, name: str) -> None:
    """Raise InvalidInput for a new model's name that can't be distinguished from another one on disk."""
    if not disk_names.fits(tracker.store.models.folder_of(name)):
        raise InvalidInput(
            f"model name {quote_name(name)} differs from another one only in case, "
            "and is too long to be told apart on disk"
        )


def get_model(tracker: Tracker, name: str) -> Model:
    """Return a model by its name. Raises NotFound."""
    model = tracker.registry.model(name)
    if model is None:
        raise NotFound("model", f"no model is called {quote_name(name)}", resolvable_by="list_models")
    return model


def create_model(
    tracker: Tracker, name: str, description: str | None = None, tags: Mapping[str, TagValue | None] | None = None
) -> Model:
    """Create a model without a version. Raises InvalidInput, Conflict (the name is taken)."""
    check_model_name(name)
    check_description(description)
    check_tags(tags or {})
    with tracker.store.lock_model(name):
        if tracker.registry.model(name) is not None:
            raise Conflict(f"there is a model {quote_name(name)} already")
        return _create(tracker, name, description, tags or {})


def _create(tracker: Tracker, name: str, description: str | None, tags: Mapping[str, TagValue | None]) -> Model:
    refuse_unstorable(tracker, name)
    event = {
        "event": "created",
        "description": description or None,
        "tags": {key: value for key, value in tags.items() if value is not None},
        "timestamp": tracker.clock.now_ms(),
    }
    return tracker.registry.append(name, event)


def change_model(
    tracker: Tracker,
    name: str,
    description: str | None = None,
    tags: Mapping[str, TagValue | None] | None = None,
) -> Model:
    """Change a model's description and tags; create the model if it doesn't exist.

    `description` is Markdown, "" removes it; `tags` are merged, and None removes one. Raises InvalidInput.
    """
    check_model_name(name)
    check_description(description)
    check_tags(tags or {})
    with tracker.store.lock_model(name):
        model = tracker.registry.model(name)
        if model is None:
            return _create(tracker, name, description, tags or {})
        events = list_changes(tracker, model, description, tags)
        return tracker.registry.append(name, *events) if events else model


def list_changes(
    tracker: Tracker, of: Model | Version, description: str | None, tags: Mapping[str, TagValue | None] | None
) -> list[dict[str, Any]]:
    """Return the events that set a description and tags of a model or version, without those that change nothing."""
    at = tracker.clock.now_ms()
    about = {"version": of.version} if isinstance(of, Version) else {}
    events: list[dict[str, Any]] = []
    if description is not None and (description or None) != of.description:
        events.append({"event": "described", **about, "description": description or None, "timestamp": at})
    differing = find_tag_changes(of.tags, tags or {})
    if differing:
        events.append({"event": "tagged", **about, "tags": differing, "timestamp": at})
    return events


def set_alias(tracker: Tracker, name: str, alias: str, number: int | None) -> Model:
    """Point an alias at a version, or remove the alias if `number` is None. Repeating this changes nothing.

    The alias `production` is the stage of that name. Raises InvalidInput, NotFound.
    """
    check_alias(alias)
    with tracker.store.lock_model(name):
        model = get_model(tracker, name)
        if number is not None and number not in model.versions:
            raise unknown_version_error(model, str(number))
        current = model.aliases.get(alias)
        if current == number:
            return model
        at = tracker.clock.now_ms()
        if alias != PRODUCTION:
            return tracker.registry.append(name, {"event": "alias", "alias": alias, "version": number, "timestamp": at})
        new_number, stage = (current, "none") if number is None else (number, PRODUCTION)
        return tracker.registry.append(
            name, {"event": "promoted", "version": new_number, "stage": stage, "timestamp": at}
        )


def rename_model(tracker: Tracker, name: str, new_name: str) -> Model:
    """Rename a model, keeping its versions and history. Raises InvalidInput, NotFound, Conflict (the name is taken)."""
    check_model_name(new_name)
    first, second = sorted((name, new_name))
    with tracker.store.lock_model(first), tracker.store.lock_model(second):
        get_model(tracker, name)
        if tracker.registry.model(new_name) is not None:
            raise Conflict(f"there is a model {quote_name(new_name)} already")
        refuse_unstorable(tracker, new_name)
        try:
            tracker.registry.rename(name, new_name)
        except FileExistsError as fault:
            raise Conflict(f"something in models/ that is no model has the name {quote_name(new_name)}") from fault
        return get_model(tracker, new_name)


def delete_model(tracker: Tracker, name: str) -> None:
    """Delete a model with its versions and history, which frees its name and numbers; the runs are kept.

    Raises NotFound, Conflict (a version is in production).
    """
    with tracker.store.lock_model(name):
        holder = get_model(tracker, name).in_stage(PRODUCTION)
        if holder is not None:
            raise in_production_error(holder)
        tracker.registry.remove(name)


def in_production_error(version: Version) -> Conflict:
    """Return the error for deleting a version in production."""
    return Conflict(
        f"version {version.version} of the model {quote_name(version.name)} is in production; "
        "move it to another stage first"
    )


def unknown_version_error(model: Model, selector: str) -> NotFound:
    """Return the error for a selector that matches no version of a model."""
    numbers = sorted(model.versions)
    if not numbers:
        versions = "it has no version yet"
    elif len(numbers) == numbers[-1] - numbers[0] + 1:
        versions = (
            f"its versions are {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"it has version {numbers[0]}"
        )
    else:
        versions = f"it has {len(numbers)} versions up to {numbers[-1]}"
    aliases = list(model.aliases)
    aliases_text = f", its aliases {', '.join(aliases[:10])}{' ...' if len(aliases) > 10 else ''}" if aliases else ""
    return NotFound(
        "model",
        f"the model {quote_name(model.name)} has no version or stage {quote_name(selector)}; {versions}{aliases_text}",
    )


def model_to_json(model: Model) -> dict[str, Any]:
    """Return a model in the form of lists; the description defaults to that of the newest version with one."""
    newest_first = [model.versions[number] for number in sorted(model.versions, reverse=True)]
    production = model.in_stage(PRODUCTION)
    descriptions = (model.description, *(version.description for version in newest_first))
    return {
        "name": model.name,
        "description": next((text for text in descriptions if text is not None), None),
        "created_at": model.created_at,
        "versions": len(newest_first),
        "latest": newest_first[0].version if newest_first else None,
        "production": production.version if production else None,
        "tags": model.tags,
    }


def model_details(model: Model) -> dict[str, Any]:
    """Return a model with its versions, newest first, and its history, oldest event first."""
    return {
        "model": model_to_json(model),
        "versions": [model.versions[number].public() for number in sorted(model.versions, reverse=True)],
        "history": list(model.events),
    }


class Move(NamedTuple):
    """An event of a history with its effect: the stage that its version left, and the version that was archived."""

    event: dict[str, Any]
    #: None if the version was just registered, or the event concerns no stage.
    previous_stage: str | None = None
    #: The version that was in production, if the event moved another version there.
    demoted: int | None = None


def list_moves(model: Model) -> list[Move]:
    """Return the history of a model, newest event first."""
    stages: dict[int, str] = {}
    in_production: int | None = None
    moves = []
    for event in model.events:
        number, stage = event.get("version"), event.get("stage")
        if event["event"] not in ("registered", "promoted"):
            moves.append(Move(event))
            continue
        assert isinstance(number, int) and isinstance(stage, str)
        demoted = in_production if stage == PRODUCTION and in_production != number else None
        moves.append(Move(event, stages.get(number), demoted))
        stages[number] = stage
        if demoted is not None:
            stages[demoted] = "archived"
        if stage == PRODUCTION:
            in_production = number
        elif in_production == number:
            in_production = None
    return moves[::-1]
