"""Artifacts: files of a run. One winner a name, unless its client says `overwrite` (the contract, section 2)."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from typing import Any, BinaryIO, NoReturn

from ..errors import Conflict, InvalidInput, NotFound
from ..store import disk_names
from ..store.beneath import InTheWay
from ..store.incoming import Incoming, Upload
from ..store.reading import Damaged
from .index.artifact_lines import Artifact, Artifacts
from .index.model_history import Version
from .index.run_entry import Run
from .index.run_parts import ARTIFACTS, META
from .names import check_artifact_name, quote_name
from .tracker import Tracker

# Python's own table alone: what the machine's /etc/mime.types adds would make answers differ by machine.
mimetypes.init(files=[])


def store_artifact(
    tracker: Tracker,
    run_id: str,
    name: str,
    stream: BinaryIO | Incoming,
    expected_bytes: int | None,
    *,
    overwrite: bool = False,
    even_ended: bool = False,
) -> Artifact:
    """Read `stream` to its end and keep it as the run's artifact `name`. The same bytes again are fine.

    `even_ended`: also of a run that has ended. Raises InvalidInput, NotFound (also: the run has ended), Conflict (the
    name has other bytes, is a folder of another artifact's name or below one, or a model version is pinned to what
    would be replaced). Then nothing is stored.
    """
    check_artifact_name(name)
    with tracker.open_run(run_id, ARTIFACTS, even_ended=even_ended) as run:
        _refuse_overlap(run.artifacts, name)
        if name not in run.artifacts:
            _refuse_adding(tracker, run_id, name)
    try:
        upload = tracker.store.blobs.receive(stream, expected_bytes)
    except ValueError as fault:
        raise InvalidInput(f"the upload broke off: {fault}") from fault
    try:
        with tracker.open_run(run_id, ARTIFACTS, even_ended=even_ended) as run:
            return _place(tracker, run, name, upload, overwrite=overwrite)
    finally:
        tracker.store.blobs.discard(upload)


def _place(tracker: Tracker, run: Run, name: str, upload: Upload, *, overwrite: bool) -> Artifact:
    artifacts = run.artifacts
    _refuse_overlap(artifacts, name)
    existing = artifacts.get(name)
    if existing is None:
        _refuse_adding(tracker, run.id, name)
    else:
        if existing.sha256 == upload.sha256 and _is_there(tracker, run.id, existing):
            return existing
        if existing.sha256 != upload.sha256:
            _refuse_replacing(tracker, run.id, existing, overwrite=overwrite)
    spelling = artifacts.spellings.of(name)
    if not disk_names.fits(spelling):
        raise InvalidInput(
            f"artifact name {quote_name(name)} differs from another one only in case, "
            "and is too long to be told apart on disk"
        )
    artifact = Artifact(name, upload.sha256, upload.size, tracker.clock.now_ms())
    try:
        # What was deleted may still be there, where a file system that is mounted anew had refused to remove it.
        replaces = overwrite or existing is not None or name in artifacts.deleted
        stamp = tracker.store.blobs.place(run.id, spelling, upload, artifact._asdict(), replaces=replaces)
    except InTheWay as fault:
        raise Conflict(
            f"{quote_name(str(fault))} in the run's folder is something that nobody uploaded, a file, link or folder "
            "put there by hand; remove it",
            resolvable_by="replace_artifact",
        ) from fault
    tracker.catalog.put(run, ARTIFACTS, artifacts.including(artifact), stamp)
    return artifact


def _is_there(tracker: Tracker, run_id: str, artifact: Artifact) -> bool:
    """Whether an artifact's blob can be opened: bytes sent again mend one that was removed by hand."""
    try:
        open_artifact(tracker, run_id, artifact.name)[1].close()
    except NotFound:
        return False
    return True


def _refuse_overlap(artifacts: Artifacts, name: str) -> None:
    """Raise Conflict where `name` would need a folder that is another artifact's file, or the other way round."""
    other = artifacts.spellings.overlap(name)
    if other is not None:
        _refuse_beside(name, other)


def refuse_overlaps(names: Iterable[str]) -> None:
    """The same for all of `names` beside each other."""
    names_by_fold = {disk_names.fold(name): name for name in names}
    for fold, name in names_by_fold.items():
        while "/" in fold:
            fold = fold.rpartition("/")[0]
            if fold in names_by_fold:
                _refuse_beside(name, names_by_fold[fold])


def _refuse_beside(name: str, other: str) -> NoReturn:
    raise Conflict(
        f"artifact {quote_name(name)} can't exist beside {quote_name(other)}: one would be a folder of the other"
    )


def _refuse_replacing(tracker: Tracker, run_id: str, existing: Artifact, *, overwrite: bool) -> None:
    if not overwrite:
        raise Conflict(
            f"artifact {quote_name(existing.name)} was uploaded before with other bytes",
            resolvable_by="replace_artifact",
        )
    refuse_pinned(tracker, run_id, existing, "upload under another name")


def refuse_pinned(tracker: Tracker, run_id: str, artifact: Artifact, advice: str) -> None:
    """Raise Conflict where a model version is pinned to an artifact, or to a folder that it is in."""
    for version in tracker.registry.pinned_to(run_id):
        if version.pins(artifact.name, artifact.sha256):
            raise Conflict(f"artifact {quote_name(artifact.name)} is {describe_pin(version)} is pinned to; {advice}")


def _refuse_adding(tracker: Tracker, run_id: str, name: str) -> None:
    """Raise Conflict where a model version is pinned to a folder that `name` would be added to."""
    version = tracker.registry.folder_pin(run_id, name)
    if version is not None:
        raise Conflict(
            f"artifact {quote_name(name)} would be {describe_pin(version)} is pinned to; upload to another folder"
        )


def describe_pin(version: Version) -> str:
    """Return how an error speaks of what a version is pinned to: "what version 1 of the model 'iris'" is."""
    of = f"version {version.version} of the model {quote_name(version.name)}"
    return f"in the folder {quote_name(version.artifact)}, which {of}" if version.is_folder else f"what {of}"


def get_artifact(tracker: Tracker, run_id: str, name: str) -> Artifact:
    """An artifact by its name. Raises NotFound, for the run or the artifact."""
    artifact = tracker.run(run_id, (META, ARTIFACTS)).artifacts.get(name)
    if artifact is None:
        raise NotFound(
            "artifact",
            f"the run has no artifact {quote_name(name)}",
            resolvable_by="list_artifacts",
            run_id=run_id,
        )
    return artifact


def open_artifact(tracker: Tracker, run_id: str, name: str) -> tuple[Artifact, BinaryIO]:
    """An artifact and its bytes, as they belong together, open to read. Raises NotFound."""
    with tracker.locked_run(run_id, ARTIFACTS) as run:
        artifact = get_artifact(tracker, run_id, name)
        spelling = run.artifacts.spellings.of(name)
        try:
            return artifact, tracker.store.blobs.open(run_id, spelling, artifact.size)
        except (FileNotFoundError, Damaged) as fault:
            raise NotFound(
                "artifact",
                f"the bytes of artifact {quote_name(name)} are gone from the store's folder, or were changed there",
            ) from fault


def read_part(
    tracker: Tracker, run_id: str, name: str, most_bytes: int, *, from_end: bool = False
) -> tuple[Artifact, bytes]:
    """An artifact and its first bytes, or its last ones; no more of it is read. Raises NotFound."""
    artifact, file = open_artifact(tracker, run_id, name)
    with file:
        if from_end:
            file.seek(max(0, artifact.size - most_bytes))
        return artifact, file.read(most_bytes)


def listed_artifacts(run: Run) -> list[dict[str, Any]]:
    """The artifacts of a run as the API lists them, by name."""
    artifacts = run.artifacts
    return [artifact_to_json(run.id, artifacts[name]) for name in sorted(artifacts)]


def artifact_to_json(run_id: str, artifact: Artifact) -> dict[str, Any]:
    """One artifact as the API shows it. Its id is what the download's URL takes."""
    return {
        "id": f"{run_id}/{artifact.name}",
        "run_id": run_id,
        "name": artifact.name,
        "size": artifact.size,
        "sha256": artifact.sha256,
        "content_type": content_type(artifact.name),
        "created_at": artifact.timestamp,
    }


def content_type(name: str) -> str:
    """The media type that a name's ending stands for; of compressed ones, bytes without a meaning."""
    guessed, encoding = mimetypes.guess_type(f"/{name}", strict=True)
    return guessed if guessed and not encoding else "application/octet-stream"
