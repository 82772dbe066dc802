"""Model versions: register, promote, describe, delete, select and open them (the contract, section 2)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from ..errors import InvalidInput, NotFound
from ..store.reading import Damaged
from ..store.zip_run import Member
from .artifact_folders import folder_sha256, get_folder, list_files
from .artifacts import content_type, get_artifact, open_artifact
from .index.model_history import LATEST, PRODUCTION, STAGES, Version
from .index.run_entry import Run
from .index.run_parts import ARTIFACTS
from .models import (
    check_description,
    get_model,
    in_production_error,
    list_changes,
    refuse_unstorable,
    unknown_version_error,
)
from .names import check_model_name, quote_name
from .tags import TagValue, check_tags, merge_tags
from .tracker import Tracker


def check_stage(stage: str) -> str:
    """Return `stage` if it is a known stage. Raises InvalidInput."""
    if stage not in STAGES:
        raise InvalidInput(f"stage {quote_name(stage)} is unknown; it is one of {', '.join(STAGES)}")
    return stage


def register_version(
    tracker: Tracker,
    name: str,
    run_id: str,
    artifact: str,
    stage: str = "none",
    description: str | None = None,
    *,
    tags: Mapping[str, TagValue | None] | None = None,
    source: str | None = None,
    model_id: str | None = None,
    run_link: str | None = None,
) -> Version:
    """Register an artifact of a run as the next version of a model, pinned to its current bytes.

    An `artifact` that ends with a slash is a folder, which is pinned with everything in it. `source`, `model_id` and
    `run_link` are stored unchecked. Raises InvalidInput, NotFound (the run or the artifact).
    """
    check_model_name(name)
    check_stage(stage)
    check_description(description)
    check_tags(tags or {})
    # Hold the run's lock so that neither the run is deleted nor its artifact replaced between lookup and pin.
    with tracker.lock_run(run_id, ARTIFACTS) as run, tracker.store.lock_model(name):
        pin = _pin(tracker, run, artifact)
        refuse_unstorable(tracker, name)
        model = tracker.registry.model(name)
        number = model.next_number if model else 1
        event = {
            "event": "registered",
            "model": name,
            "version": number,
            "run_id": run_id,
            "artifact": artifact,
            **pin,
            "stage": stage,
            "description": description,
            "timestamp": tracker.clock.now_ms(),
        }
        others = {"source": source, "model_id": model_id, "run_link": run_link}
        event |= {field: value for field, value in others.items() if value is not None}
        set_tags = merge_tags({}, tags or {})
        tag_event = {"event": "tagged", "version": number, "tags": set_tags, "timestamp": event["timestamp"]}
        return tracker.registry.append(name, event, *([tag_event] if set_tags else [])).versions[number]


def _pin(tracker: Tracker, run: Run, artifact: str) -> dict[str, Any]:
    """Return the checksum to pin a version to and, for a folder, the number of files. Raises NotFound."""
    if not artifact.endswith("/"):
        return {"sha256": get_artifact(tracker, run.id, artifact).sha256}
    files = get_folder(run, artifact)
    return {"sha256": folder_sha256(artifact, files), "files": len(files)}


def promote_version(
    tracker: Tracker, name: str, number: int, stage: str, *, exclusive: bool = False
) -> tuple[Version, list[int]]:
    """Move a version to a stage; return the version, and the numbers of the versions that had to leave the stage.

    Any other version in production is archived, and with `exclusive` so is any other in staging. Repeating this changes
    nothing. Raises InvalidInput, NotFound.
    """
    check_stage(stage)
    with tracker.store.lock_model(name):
        model = get_model(tracker, name)
        version = model.versions.get(number)
        if version is None:
            raise unknown_version_error(model, str(number))
        moves = {} if version.stage == stage else {number: stage}
        if exclusive and stage == "staging":
            others = (v.version for v in model.versions.values() if v.stage == stage and v.version != number)
            moves |= dict.fromkeys(sorted(others), "archived")
        if not moves:
            return version, []
        at = tracker.clock.now_ms()
        events = [{"event": "promoted", "version": n, "stage": to, "timestamp": at} for n, to in moves.items()]
        after = tracker.registry.append(name, *events).versions
    demoted = sorted(n for n in after if n != number and after[n].stage != model.versions[n].stage)
    return after[number], demoted


def change_version(
    tracker: Tracker,
    name: str,
    number: int,
    description: str | None = None,
    tags: Mapping[str, TagValue | None] | None = None,
) -> Version:
    """Change a version's description ("" removes it) and tags, which are merged; None removes a tag.

    Raises InvalidInput, NotFound.
    """
    check_description(description)
    check_tags(tags or {})
    with tracker.store.lock_model(name):
        model = get_model(tracker, name)
        version = model.versions.get(number)
        if version is None:
            raise unknown_version_error(model, str(number))
        events = list_changes(tracker, version, description, tags)
        return tracker.registry.append(name, *events).versions[number] if events else version


def delete_version(tracker: Tracker, name: str, number: int) -> None:
    """Delete a version with its aliases. Its run is kept, and its number is never reused.

    Raises NotFound, Conflict (it is in production).
    """
    with tracker.store.lock_model(name):
        model = get_model(tracker, name)
        version = model.versions.get(number)
        if version is None:
            raise unknown_version_error(model, str(number))
        if version.stage == PRODUCTION:
            raise in_production_error(version)
        tracker.registry.append(name, {"event": "deleted", "version": number, "timestamp": tracker.clock.now_ms()})


def get_version(tracker: Tracker, name: str, selector: str) -> Version:
    """Return the version for a selector: a number, `latest`, an alias or a stage, in this order. Raises NotFound.

    Of several versions in a stage, the one with the greatest number is returned.
    """
    model = get_model(tracker, name)
    if is_number(selector):
        version = model.versions.get(int(selector))
    elif selector == LATEST:
        version = model.latest
    else:
        number = model.aliases.get(selector)
        version = model.in_stage(selector) if number is None else model.versions[number]
    if version is None:
        raise unknown_version_error(model, selector)
    return version


def is_number(selector: str) -> bool:
    """Return whether a selector is a version number."""
    return selector.isascii() and selector.isdigit() and len(selector) < 10


class OpenVersion(NamedTuple):
    """A version's bytes, open for reading: the artifact itself, or its folder as a zip."""

    version: Version
    file: BinaryIO
    size: int
    file_name: str
    content_type: str


def open_version(tracker: Tracker, name: str, selector: str) -> OpenVersion:
    """Open a version's bytes for reading. Raises NotFound."""
    version = get_version(tracker, name, selector)
    if version.is_folder:
        return _open_folder(tracker, version)
    artifact, file = open_artifact(tracker, version.run_id, version.artifact)
    if artifact.sha256 != version.sha256:
        file.close()
        raise _replaced_artifact()
    file_name = artifact.name.rpartition("/")[2]
    return OpenVersion(version, file, artifact.size, file_name, content_type(artifact.name))


def _open_folder(tracker: Tracker, version: Version) -> OpenVersion:
    """Open the folder of a version as a zip, whose bytes are always the same. Raises NotFound."""
    folder, store = version.artifact, tracker.store
    with tracker.lock_run(version.run_id, ARTIFACTS) as run:
        files = list_files(run.artifacts, folder)
        if folder_sha256(folder, files) != version.sha256:
            raise _replaced_artifact()
        of = run.artifacts.spellings.of
        members = [Member(file.name[len(folder) :], of(file.name), file.size, file.timestamp) for file in files]
    try:
        file = store.zip_blobs(version.run_id, members)
    except (FileNotFoundError, Damaged) as fault:
        raise _replaced_artifact() from fault
    size = file.seek(0, io.SEEK_END)
    return OpenVersion(version, file, size, f"{version.name}-{version.version}.zip", "application/zip")


def _replaced_artifact() -> NotFound:
    return NotFound("artifact", "what the version is pinned to was replaced or removed behind the server's back")
