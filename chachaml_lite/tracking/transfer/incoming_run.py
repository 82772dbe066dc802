"""A run in a zip: read from its folder, and checked by the rules of the write API.

Whether the store can accept it next to its own runs is decided in `import_zip` and `merge`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...errors import Conflict, InvalidInput
from ...store import disk_names, layout
from ...store.incoming import Upload
from ...store.reading import Damaged, record_of
from ...store.zip_extract import UnpackedRuns
from ..artifacts import refuse_overlaps
from ..datasets import check_dataset
from ..index.artifact_lines import Artifact, Artifacts, Line, line_from
from ..index.logged_models import is_good_event
from ..index.run_parts import fault_of_meta
from ..names import check_name, check_run_id, quote_name
from ..runs import MAX_ERROR_CHARACTERS, NewRun
from ..series.points import parse_points

#: The last millisecond of the year 9999, the limit of calendars.
_LAST_MS = 253_402_300_799_999
_OURS = {
    layout.META,
    layout.PARAMS,
    layout.METRICS,
    layout.ARTIFACTS,
    layout.LOGGED_MODELS,
    layout.SUMMARY,
    layout.BLOBS,
}
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class IncomingRun:
    """A run from a zip that is valid in itself, except that the bytes of artifacts may be missing."""

    id: str
    folder: str
    meta: dict[str, Any]
    params: dict[str, Any]
    points: Upload | None
    #: All uploads in artifacts.jsonl, and the artifacts that result from all of its lines.
    uploads: set[Artifact]
    artifacts: Artifacts
    #: The bytes of the artifacts that the zip contains, by name.
    blobs: dict[str, Upload]
    #: The events of logged models.
    events: list[dict[str, Any]]
    #: All other files in the folder, by path.
    others: dict[str, Upload]


def load_run(archive: UnpackedRuns, folder: str) -> IncomingRun:
    """Read and check the run in a folder of the zip. Raises InvalidInput, with a text that names the run."""
    try:
        check_run_id("a run's folder", folder)
    except InvalidInput as fault:
        raise InvalidInput(f"{quote_name(folder)} can't be a run's id: {fault.detail}") from fault
    try:
        return _read(archive, folder)
    except (InvalidInput, Damaged) as fault:
        raise InvalidInput(f"run {folder}: {fault}") from fault


def _read(archive: UnpackedRuns, run_id: str) -> IncomingRun:
    files = dict(archive.runs[run_id])
    if files.pop(layout.META, None) is None:
        raise InvalidInput(f"it has no {layout.META}; send a zip as the download of a run gives it")
    meta = archive.read_object(run_id, layout.META)
    _check_meta(meta)
    params = archive.read_object(run_id, layout.PARAMS) if files.pop(layout.PARAMS, None) else {}
    for key in params:
        check_name("param", key)
    _check_points(archive, run_id)
    points = files.pop(layout.METRICS, None)
    lines = list(_lines(archive, run_id))
    artifacts = Artifacts(lines)
    files.pop(layout.ARTIFACTS, None)
    events = list(_events(archive, run_id))
    files.pop(layout.LOGGED_MODELS, None)
    try:
        refuse_overlaps(artifacts)
    except Conflict as fault:
        raise InvalidInput(fault.detail) from fault
    blobs = {}
    for name, spelling in artifacts.spell_all().items():
        blob = files.pop(f"{layout.BLOBS}/{spelling}", None)
        if blob is not None:
            recorded = artifacts[name]
            if (blob.sha256, blob.size) != (recorded.sha256, recorded.size):
                raise InvalidInput(
                    f"artifact {quote_name(name)} has {blob.size} bytes of sha256 {blob.sha256}, and "
                    f"{layout.ARTIFACTS} speaks of {recorded.size} of {recorded.sha256}"
                )
            blobs[name] = blob
    for path in files:
        first = path.partition("/")[0]
        if first == layout.BLOBS and not disk_names.is_portable(path):
            raise InvalidInput(
                f"the file {quote_name(path)} is no artifact, and has a name that can't be stored everywhere; "
                "rename or remove it where the run comes from"
            )
        if first not in _OURS and disk_names.fold(first) in _OURS:
            raise InvalidInput(f"the file {quote_name(path)} differs from one of a run's own only in case")
    uploads = {line for line in lines if isinstance(line, Artifact)}
    return IncomingRun(
        run_id, archive.folder_of(run_id), meta, params, points, uploads, artifacts, blobs, events, files
    )


def _check_meta(meta: dict[str, Any]) -> None:
    """Raise InvalidInput for a meta.json that the write API would not have created."""
    fault = fault_of_meta(meta)
    if fault is not None:
        raise InvalidInput(fault)
    names: dict[str, Any] = {field: meta.get(field) for field in ("experiment", "name", "parent_run_id", "created_by")}
    NewRun(**names, tags=meta.get("tags", {}), env=meta.get("env"))
    if any(value is None for value in meta.get("tags", {}).values()):
        raise InvalidInput(f"{layout.META} has a tag without a value")
    for dataset in meta.get("datasets", []):
        check_dataset(dataset)
    for field in ("start_time", "end_time", "resumed_at", "deleted_at"):
        if not 0 <= (meta.get(field) or 0) <= _LAST_MS:
            raise InvalidInput(f"{layout.META} has no good {field}")
    if meta["status"] == "running" and meta.get("end_time") is not None:
        raise InvalidInput(f"{layout.META} has an end_time, and its status is running")
    if len(meta.get("error") or "") > MAX_ERROR_CHARACTERS:
        raise InvalidInput(f"{layout.META} has an error of more than {MAX_ERROR_CHARACTERS} characters")


def _check_points(archive: UnpackedRuns, run_id: str) -> None:
    """Raise InvalidInput for a damaged line of metrics.jsonl; as everywhere, a torn last line is ignored."""
    keys: set[str] = set()
    number = 0
    for piece in archive.read_lines(run_id, layout.METRICS):
        complete, end, rest = piece.rpartition(b"\n")
        points, bad = parse_points(complete)
        if bad:
            lines = complete.split(b"\n")
            at = next(at for at, line in enumerate(lines, 1) if line.strip() and parse_points(line)[1])
            raise InvalidInput(_describe_damaged_line(layout.METRICS, number + at, "point"))
        number += complete.count(b"\n") + len(end)
        points += parse_points(rest)[0]
        for key in {point[0] for point in points} - keys:
            check_name("metric", key)
            keys.add(key)


def _lines(archive: UnpackedRuns, run_id: str) -> Iterator[Line]:
    """Yield the uploads and deletions in artifacts.jsonl, ignoring a torn last line. Raises InvalidInput."""
    for number, record in _records(archive, run_id, layout.ARTIFACTS):
        line = None if record is None else line_from(record)
        if line is None or (isinstance(line, Artifact) and (not _SHA256.match(line.sha256) or line.size < 0)):
            raise InvalidInput(_describe_damaged_line(layout.ARTIFACTS, number, "upload"))
        yield line


def _events(archive: UnpackedRuns, run_id: str) -> Iterator[dict[str, Any]]:
    """Yield the events of logged models, ignoring a torn last line. Raises InvalidInput."""
    for number, record in _records(archive, run_id, layout.LOGGED_MODELS):
        if record is None or not is_good_event(run_id, record):
            raise InvalidInput(
                _describe_damaged_line(layout.LOGGED_MODELS, number, "event of a logged model of this run")
            )
        yield record


def _records(archive: UnpackedRuns, run_id: str, file: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield each line's number and JSON object, None if it is not an object; a torn last line is ignored."""
    number = 0
    for piece in archive.read_lines(run_id, file):
        *lines, rest = piece.split(b"\n")
        for at, line in enumerate([*lines, rest]):
            number += at < len(lines)
            if line.strip():
                record = record_of(line)
                if record is None and at == len(lines):
                    return
                yield number, record


def _describe_damaged_line(file: str, number: int, kind: str) -> str:
    return (
        f"line {number} of {file} is no {kind}; where the run comes from, `chachaml-lite verify --repair` moves "
        "damaged lines into a file beside it"
    )
