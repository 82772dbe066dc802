"""Artifacts: files of a run. The first upload of a name wins unless `overwrite` is set (the contract, section 2)."""

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

# Use Python's own table only: /etc/mime.types would make answers differ between machines.
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
    """Read `stream` to its end and store it as the run's artifact `name`. Sending the same bytes again is fine.

    `even_ended` also allows a run that has ended. Raises InvalidInput, NotFound (or RunEnded), RunTrashed, and Conflict
    if the name has other bytes, if it is a folder of another artifact's name or lies below another artifact, or if a
    model version is pinned to the artifact that would be replaced. Nothing is stored if it raises.
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
        # A deleted artifact's file may still exist, if a file system that was remounted since refused to remove it.
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
    """Return whether an artifact's blob can be opened; a second upload restores one removed by hand."""
    try:
        open_artifact(tracker, run_id, artifact.name)[1].close()
    except NotFound:
        return False
    return True


def _refuse_overlap(artifacts: Artifacts, name: str) -> None:
    """Raise Conflict if `name` would need an existing artifact to be a folder, or is itself a folder of artifacts."""
    other = artifacts.spellings.overlap(name)
    if other is not None:
        _refuse_beside(name, other)


def refuse_overlaps(names: Iterable[str]) -> None:
    """Raise Conflict if one of `names` would be a folder of another one."""
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
    """Raise Conflict if a model version is pinned to an artifact or to a folder that contains it."""
    for version in tracker.registry.pinned_to(run_id):
        if version.pins(artifact.name, artifact.sha256):
            raise Conflict(f"artifact {quote_name(artifact.name)} is {describe_pin(version)} is pinned to; {advice}")


def _refuse_adding(tracker: Tracker, run_id: str, name: str) -> None:
    """Raise Conflict if a model version is pinned to a folder that `name` would be added to."""
    version = tracker.registry.folder_pin(run_id, name)
    if version is not None:
        raise Conflict(
            f"artifact {quote_name(name)} would be {describe_pin(version)} is pinned to; upload to another folder"
        )


def describe_pin(version: Version) -> str:
    """Return an error's words for a version's pinned artifact, such as "what version 1 of the model 'iris'"."""
    of = f"version {version.version} of the model {quote_name(version.name)}"
    return f"in the folder {quote_name(version.artifact)}, which {of}" if version.is_folder else f"what {of}"


def get_artifact(tracker: Tracker, run_id: str, name: str) -> Artifact:
    """Return an artifact by its name. Raises NotFound if the run or the artifact is unknown."""
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
    """Return an artifact and its bytes, open for reading; the two always match. Raises NotFound."""
    with tracker.lock_run(run_id, ARTIFACTS) as run:
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
    """Return an artifact and at most `most_bytes` of its first (or last) bytes, reading no more. Raises NotFound."""
    artifact, file = open_artifact(tracker, run_id, name)
    with file:
        if from_end:
            file.seek(max(0, artifact.size - most_bytes))
        return artifact, file.read(most_bytes)


def list_artifacts(run: Run) -> list[dict[str, Any]]:
    """Return the artifacts of a run in the API's form, sorted by name."""
    artifacts = run.artifacts
    return [artifact_to_json(run.id, artifacts[name]) for name in sorted(artifacts)]


def artifact_to_json(run_id: str, artifact: Artifact) -> dict[str, Any]:
    """Return an artifact in the API's form. Its id is the one that the download URL takes."""
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
    """Return the media type for a file name; for a compressed file, application/octet-stream."""
    guessed, encoding = mimetypes.guess_type(f"/{name}", strict=True)
    return guessed if guessed and not encoding else "application/octet-stream"
