"""Models: versions registered, promoted from stage to stage, found by number or stage (the contract, section 2)."""

from __future__ import annotations

from typing import Any, BinaryIO, NamedTuple

from ..errors import InvalidInput, NotFound
from ..store import disk_names
from .artifacts import get_artifact, open_artifact
from .index.registry import STAGES, Model, Version, with_event
from .index.run_parts import Artifact
from .names import check_model_name, shown
from .tracker import Tracker

#: A model's description is a sentence or a page; what is larger is an artifact.
MAX_DESCRIPTION_CHARACTERS = 100_000


def check_stage(stage: str) -> str:
    """`stage`, when it is one. Raises InvalidInput."""
    if stage not in STAGES:
        raise InvalidInput(f"stage {shown(stage)} is unknown; it is one of {', '.join(STAGES)}")
    return stage


def register_version(
    tracker: Tracker, name: str, run_id: str, artifact: str, stage: str = "none", description: str | None = None
) -> Version:
    """Make an artifact of a run the next version of a model, pinned to the bytes that it has now.

    Raises InvalidInput, NotFound (the run or the artifact).
    """
    check_model_name(name)
    check_stage(stage)
    if description is not None and len(description) > MAX_DESCRIPTION_CHARACTERS:
        raise InvalidInput(f"description has more than {MAX_DESCRIPTION_CHARACTERS} characters")
    # The run is held so that its artifact is not replaced, and the run not deleted, between the look and the pin.
    with tracker.locked_run(run_id), tracker.store.locked_model(name):
        pinned = get_artifact(tracker, run_id, artifact)
        if not disk_names.fits(tracker.store.models.folder_of(name)):
            raise InvalidInput(
                f"model name {shown(name)} differs from another one in nothing but case, "
                "and is too long to be told apart on disk"
            )
        model = tracker.registry.model(name)
        versions = model.versions if model else {}
        number = max(versions, default=0) + 1
        event = {
            "event": "registered",
            "model": name,
            "version": number,
            "run_id": run_id,
            "artifact": artifact,
            "sha256": pinned.sha256,
            "stage": stage,
            "description": description,
            "timestamp": tracker.clock.now_ms(),
        }
        return _append(tracker, name, versions, event)[number]


def promote_version(tracker: Tracker, name: str, number: int, stage: str) -> tuple[Version, list[int]]:
    """Move a version to a stage: the version as it is then, and the numbers of those that had to leave the stage.

    Again is fine, and changes nothing. Raises InvalidInput, NotFound.
    """
    check_stage(stage)
    with tracker.store.locked_model(name):
        versions = get_model(tracker, name).versions
        version = versions.get(number)
        if version is None:
            raise _no_version(name, str(number), versions)
        if version.stage == stage:
            return version, []
        event = {"event": "promoted", "version": number, "stage": stage, "timestamp": tracker.clock.now_ms()}
        after = _append(tracker, name, versions, event)
    demoted = sorted(n for n in versions if n != number and after[n].stage != versions[n].stage)
    return after[number], demoted


def _append(tracker: Tracker, name: str, versions: dict[int, Version], event: dict[str, Any]) -> dict[int, Version]:
    after = with_event(name, versions, event)
    if after is None:
        raise AssertionError(f"an event of ours that the registry would not read: {event}")
    tracker.registry.append(name, event)
    return after


def get_model(tracker: Tracker, name: str) -> Model:
    """A model by its name. Raises NotFound."""
    model = tracker.registry.model(name)
    if model is None:
        raise NotFound("model", f"no model is called {shown(name)}; GET /api/models lists them")
    return model


def get_version(tracker: Tracker, name: str, selector: str) -> Version:
    """A version by its number or its stage (of several there, the greatest number). Raises NotFound."""
    model = get_model(tracker, name)
    if selector in STAGES:
        version = model.in_stage(selector)
    else:
        version = (
            model.versions.get(int(selector))
            if selector.isascii() and selector.isdigit() and len(selector) < 10
            else None
        )
    if version is None:
        raise _no_version(name, selector, model.versions)
    return version


def _no_version(name: str, selector: str, versions: dict[int, Version]) -> NotFound:
    return NotFound(
        "model",
        f"the model {shown(name)} has no version or stage {shown(selector)}; its versions are 1 to {max(versions)}, "
        f"the stages {', '.join(STAGES)}",
    )


def open_version(tracker: Tracker, name: str, selector: str) -> tuple[Version, Artifact, BinaryIO]:
    """A version, its artifact and its bytes, open to read. Raises NotFound."""
    version = get_version(tracker, name, selector)
    artifact, file = open_artifact(tracker, version.run_id, version.artifact)
    if artifact.sha256 != version.sha256:
        file.close()
        raise NotFound("artifact", "the artifact that the version is pinned to was replaced behind the server's back")
    return version, artifact, file


def shown_model(model: Model) -> dict[str, Any]:
    """A model as lists show it; its description is that of the newest version that has one."""
    newest_first = [model.versions[number] for number in sorted(model.versions, reverse=True)]
    production = model.in_stage("production")
    return {
        "name": model.name,
        "description": next((v.description for v in newest_first if v.description is not None), None),
        "created_at": newest_first[-1].created_at,
        "versions": len(newest_first),
        "latest": newest_first[0].version,
        "production": production.version if production else None,
    }


def detailed_model(model: Model) -> dict[str, Any]:
    """A model with its versions, newest first, and its history as it happened."""
    return {
        "model": shown_model(model),
        "versions": [model.versions[number].public() for number in sorted(model.versions, reverse=True)],
        "history": list(model.events),
    }


class Move(NamedTuple):
    """An event of a history with what it did: the stage that its version left, and the version that had to make way."""

    event: dict[str, Any]
    #: None where the version was registered.
    left: str | None
    #: What was in production until then, where the event brought another version there.
    demoted: int | None


def moves(model: Model) -> list[Move]:
    """The history of a model, newest event first."""
    stages: dict[int, str] = {}
    in_production: int | None = None
    found = []
    for event in model.events:
        number, stage = event["version"], event["stage"]
        demoted = in_production if stage == "production" and in_production != number else None
        found.append(Move(event, stages.get(number), demoted))
        stages[number] = stage
        if demoted is not None:
            stages[demoted] = "archived"
        if stage == "production":
            in_production = number
        elif in_production == number:
            in_production = None
    return found[::-1]
