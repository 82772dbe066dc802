"""The files of a run, read as validated values or as a description of their damage.

Damage is a text, never an exception: a run with a damaged meta.json is not a run; any other damaged part is empty.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from ...store import layout
from ...store.reading import NO_FILE, Damaged, Stamp
from ...store.store import Store
from ..series import points
from ..series.summary import from_stored
from .artifact_lines import Artifacts, line_from

log = logging.getLogger(__name__)

STATUSES = ("running", "completed", "failed")

#: The parts of a run, and the file of each; a part's number is its index here.
META, PARAMS, SUMMARY, ARTIFACTS = range(4)
FILES = (layout.META, layout.PARAMS, layout.METRICS, layout.ARTIFACTS)


class Kept(NamedTuple):
    """A part of a run: its value as of a stamp, and the damage of its file, if any."""

    stamp: Stamp
    value: Any
    damage: str | None = None
    #: For a summary: whether summary.json contains the same.
    is_stored: bool = False


def nothing(part: int) -> Any:
    """Return the value of a part whose file is missing or damaged."""
    return None if part == META else Artifacts() if part == ARTIFACTS else {}


def read_part(store: Store, run_id: str, part: int, stamp: Stamp | None) -> Kept:
    """Read the file of a part. Never raises; damage is part of the result.

    `stamp` is that of the last look at the file, or None if it has not been checked yet and is simply opened.
    """
    if stamp == NO_FILE:
        return Kept(stamp, nothing(part), f"no {layout.META}" if part == META else None)
    try:
        return _READERS[part](store, run_id, stamp or NO_FILE)
    except Damaged as fault:
        return Kept(stamp or _stamp(store, run_id, part), nothing(part), str(fault))
    except FileNotFoundError:  # removed since the last look
        return Kept(NO_FILE, nothing(part), f"no {layout.META}" if part == META else None)
    except OSError as fault:
        stamp = stamp or _stamp(store, run_id, part)
        return Kept(stamp, nothing(part), f"{FILES[part]} can't be read: {fault.strerror}")


def _stamp(store: Store, run_id: str, part: int) -> Stamp:
    return store.runs.stamp(run_id, FILES[part])


def _read_meta(store: Store, run_id: str, _: Stamp) -> Kept:
    meta, stamp = store.runs.read_object(run_id, layout.META)
    meta = {_META_KEYS.get(key, key): value for key, value in meta.items()}
    fault = fault_of_meta(meta)
    return Kept(stamp, None if fault else meta, fault)


def _read_params(store: Store, run_id: str, _: Stamp) -> Kept:
    params, stamp = store.runs.read_object(run_id, layout.PARAMS)
    return Kept(stamp, params)


def _read_summary(store: Store, run_id: str, stamp: Stamp) -> Kept:
    """Read summary.json if it is for the current metrics.jsonl, which is then not parsed; else parse all points."""
    try:
        content, _ = store.runs.read_object(run_id, layout.SUMMARY)
        if (content.get("size"), content.get("mtime_ns")) == (stamp.size, stamp.mtime_ns):
            summary, damage = from_stored(content.get("metrics")), content.get("damage")
            if summary is not None and (damage is None or isinstance(damage, str)):
                return Kept(stamp, summary, damage, is_stored=True)
    except (OSError, Damaged):
        pass
    summary, damaged = points.summarize(store, run_id, stamp.size)
    return Kept(stamp, summary, _describe_damaged_lines(layout.METRICS, damaged))


def keep_summary(store: Store, run_id: str, part: Kept) -> None:
    """Write the summary of a run's points to summary.json, so that a list need not read all points again.

    It is valid only while the size and mtime in it are those of metrics.jsonl. A failed write is not an error, since a
    missing file is rebuilt from the points. The caller holds the run's lock.
    """
    if part.stamp == NO_FILE:
        return
    content = {
        "size": part.stamp.size,
        "mtime_ns": part.stamp.mtime_ns,
        "damage": part.damage,
        "metrics": {key: summary.to_stored() for key, summary in part.value.items()},
    }
    try:
        store.runs.keep_rebuildable(run_id, layout.SUMMARY, content)
    except OSError as fault:
        log.info("no %s for run %r: %s", layout.SUMMARY, run_id, fault)


def _read_artifacts(store: Store, run_id: str, _: Stamp) -> Kept:
    records, damaged, stamp = store.runs.read_records(run_id, layout.ARTIFACTS)
    artifacts = Artifacts()
    for record in records:
        line = line_from(record)
        if line is None:
            damaged += 1
        else:
            artifacts.add(line)
    return Kept(stamp, artifacts, _describe_damaged_lines(layout.ARTIFACTS, damaged))


_READERS = (_read_meta, _read_params, _read_summary, _read_artifacts)


def _describe_damaged_lines(name: str, damaged: int) -> str | None:
    return f"{name} has {damaged} damaged line{'' if damaged == 1 else 's'}" if damaged else None


_NONE = type(None)
#: The exact types that are valid for a field of meta.json; true is no integer.
_META_TYPES: dict[str, tuple[type, ...]] = {
    "experiment": (str,),
    "name": (str, _NONE),
    "start_time": (int,),
    "end_time": (int, _NONE),
    "error": (str, _NONE),
    "tags": (dict,),
    "note": (str, _NONE),
    "datasets": (list,),
    "parent_run_id": (str, _NONE),
    "created_by": (str, _NONE),
    "env": (dict, _NONE),
    "resumed_at": (int, _NONE),
    "deleted_at": (int, _NONE),
}
#: The exact types for those fields of a dataset that are shown as text; other fields may have any type.
_DATASET_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "role", "hash", "source", "source_type", "schema", "profile"), (str, _NONE)),
    "tags": (dict, _NONE),
}
_META_DEFAULTS: dict[str, Any] = {"tags": {}, "datasets": []}
#: The strings to which the keys of all metas are interned; separate strings would take 700 bytes per run.
_META_KEYS = {key: key for key in (*_META_TYPES, "id", "status", "request_sha256", "env")}


def fault_of_meta(meta: dict[str, Any]) -> str | None:
    """Return why a JSON object is not a valid meta.json, or None if it is."""
    for field, types in _META_TYPES.items():
        if type(meta.get(field, _META_DEFAULTS.get(field))) not in types:
            return f"{layout.META} has no good {field}"
    if meta.get("status") not in STATUSES:
        return f"{layout.META} has no good status"
    if not all(map(_is_dataset, meta.get("datasets", []))):
        return f"{layout.META} has no good datasets"
    return None


def _is_dataset(value: object) -> bool:
    return isinstance(value, dict) and all(type(value.get(field)) in types for field, types in _DATASET_TYPES.items())
