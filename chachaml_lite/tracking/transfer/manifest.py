"""The content of a run, for comparison with the same run in another store: a manifest, or a single digest.

Two copies of a run have the same digest if they have the same meta.json, params, points, artifacts, and files unknown
to this program. The formatting of JSON files doesn't count, nor do files that can be rebuilt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

from ...errors import NotFound
from ...store import layout
from ...store.reading import Damaged
from ..index.artifact_lines import Artifacts, line_from
from ..index.run_entry import Run
from ..index.run_parts import ARTIFACTS, META, PARAMS, SUMMARY
from ..names import quote_name
from ..tracker import Tracker

#: Files whose content the manifest contains, rather than size and checksum.
_PARTS = frozenset({layout.META, layout.PARAMS, layout.ARTIFACTS, layout.LOGGED_MODELS, layout.SUMMARY})


class _Parts(NamedTuple):
    """The content of a run at one moment."""

    meta: dict[str, Any]
    params: dict[str, Any]
    uploads: list[dict[str, Any]]
    #: The events of logged models.
    events: list[dict[str, Any]]
    #: The size of each file that is no artifact, by path.
    sizes: dict[str, int]


def manifest(tracker: Tracker, run_id: str, points_bytes: int | None = None) -> dict[str, Any]:
    """Return the manifest of a run: its values, and size and sha256 of every other file. Raises NotFound.

    `points_bytes` limits metrics.jsonl to its first bytes, which tells a run that has gone on from a different one.
    """
    with tracker.lock_run(run_id, PARAMS, SUMMARY, ARTIFACTS) as run:
        damages = (run.damage(), tracker.logged_models.damage(run))
        last_write_ms = run.last_write_ms
        parts = _parts(tracker, run)
    if points_bytes is not None and parts.sizes.get(layout.METRICS, 0) > points_bytes:
        parts.sizes[layout.METRICS] = points_bytes
    files = _checksum_files(tracker, run_id, parts)
    return {
        "id": run_id,
        "digest": _digest(parts, files),
        "damage": "; ".join(filter(None, damages)) or None,
        "last_write_time": last_write_ms,
        "meta": parts.meta,
        "params": parts.params,
        "uploads": parts.uploads,
        "logged_models": parts.events,
        "files": files,
    }


def digests(tracker: Tracker, run_ids: Iterable[str]) -> dict[str, str]:
    """Return the digests of those of the runs that exist here, by id."""
    result = {}
    for run_id in run_ids:
        try:
            with tracker.lock_run(run_id, PARAMS, ARTIFACTS) as run:  # no summary: the digest covers the points' bytes
                parts = _parts(tracker, run)
        except NotFound:
            continue
        result[run_id] = _digest(parts, _checksum_files(tracker, run_id, parts))
    return result


def open_file(tracker: Tracker, run_id: str, path: str) -> tuple[BinaryIO, str]:
    """Open a file of a run for reading, by its path in the manifest.

    Returns the file, and a text that changes whenever the file does. Raises NotFound.
    """
    tracker.run(run_id, (META,))
    try:
        if any(not part or part.startswith(".") for part in path.split("/")) or "\0" in path:
            raise FileNotFoundError(path)
        file, stamp = tracker.store.contents.open(run_id, path)
    except (FileNotFoundError, Damaged) as fault:
        raise NotFound(
            "file", f"the run has no file {quote_name(path)}", resolvable_by="list_files", run_id=run_id
        ) from fault
    return file, hashlib.sha256(repr((run_id, path, stamp)).encode()).hexdigest()[:32]


def last_uploads(lines: Iterable[Mapping[str, Any]]) -> Artifacts:
    """Return the artifacts that result from the lines of artifacts.jsonl."""
    return Artifacts(line for line in map(line_from, map(dict, lines)) if line is not None)


def event_key(event: Mapping[str, Any]) -> str:
    """Return a key that is the same for two copies of an event of a logged model."""
    return json.dumps(event, sort_keys=True)


def _parts(tracker: Tracker, run: Run) -> _Parts:
    """Return the content of a run, whose lock the caller holds.

    If another process owns the store, the order matters: meta.json is read first, since everything else was written
    before the run's end. The uploads are read after the files, since an upload's line is written before its blob is
    renamed.
    """
    meta, params, uploads = run.meta, run.params, []
    files = tracker.store.contents.files(run.id)
    if run.part(ARTIFACTS).damage is None:
        uploads = tracker.store.runs.read_records(run.id, layout.ARTIFACTS)[0]
    events = []
    if layout.LOGGED_MODELS in files and tracker.logged_models.damage(run) is None:
        events = tracker.store.runs.read_records(run.id, layout.LOGGED_MODELS)[0]
    blobs = {f"{layout.BLOBS}/{spelling}" for spelling in last_uploads(uploads).spell_all().values()}
    sizes = {path: stamp.size for path, stamp in files.items() if path not in _PARTS and path not in blobs}
    return _Parts(meta, params, uploads, events, sizes)


def _checksum_files(tracker: Tracker, run_id: str, parts: _Parts) -> list[dict[str, Any]]:
    """Return each file with its checksum. No lock is needed, since points are only appended after those that count."""
    files = []
    for path, size in parts.sizes.items():
        try:
            files.append({"path": path, "size": size, "sha256": tracker.store.contents.sum_of(run_id, path, size)})
        except (FileNotFoundError, Damaged):  # removed or replaced since
            continue
    return files


def _digest(parts: _Parts, files: list[dict[str, Any]]) -> str:
    # Only the last upload of each name: the bytes of earlier ones no longer exist.
    artifacts = sorted(last_uploads(parts.uploads).values())
    meta = {key: value for key, value in parts.meta.items() if key != "deleted_at"}  # each store has a trash of its own
    content = [meta, parts.params, artifacts, files]
    if parts.events:
        content.append(sorted(map(event_key, parts.events)))
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()
