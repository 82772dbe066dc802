"""The files of a run, read as values that can be believed, or as a text of what is wrong with them.

Damage is a text, never an exception: a run whose meta.json can't be believed is no run, another damaged part is empty.
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

#: The parts of a run, and the file behind each; a part's number is its place here.
META, PARAMS, SUMMARY, ARTIFACTS = range(4)
FILES = (layout.META, layout.PARAMS, layout.METRICS, layout.ARTIFACTS)


class Kept(NamedTuple):
    """A part of a run: its value as of a stamp, and what is wrong with its file, if anything is."""

    stamp: Stamp
    value: Any
    damage: str | None = None
    #: Of a summary: whether summary.json says the same.
    is_stored: bool = False


def nothing(part: int) -> Any:
    """The value of a part whose file is missing or can't be believed."""
    return None if part == META else Artifacts() if part == ARTIFACTS else {}


def read_part(store: Store, run_id: str, part: int, stamp: Stamp | None) -> Kept:
    """A part as its file is now; never raises for what it finds.

    `stamp` is that of the last look at the file; None: nobody has looked at it yet, and to open it will tell.
    """
    if stamp == NO_FILE:
        return Kept(stamp, nothing(part), f"no {layout.META}" if part == META else None)
    try:
        return _READERS[part](store, run_id, stamp or NO_FILE)
    except Damaged as fault:
        return Kept(stamp or _stamp(store, run_id, part), nothing(part), str(fault))
    except FileNotFoundError:  # removed since
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
    """From summary.json while it matches metrics.jsonl, which is then not parsed; else from all of the points."""
    try:
        content, _ = store.runs.read_object(run_id, layout.SUMMARY)
        if (content.get("size"), content.get("mtime_ns")) == (stamp.size, stamp.mtime_ns):
            summary, damage = from_stored(content.get("metrics")), content.get("damage")
            if summary is not None and (damage is None or isinstance(damage, str)):
                return Kept(stamp, summary, damage, is_stored=True)
    except (OSError, Damaged):
        pass
    summary, damaged = points.summarize(store, run_id, stamp.size)
    return Kept(stamp, summary, _damaged_lines(layout.METRICS, damaged))


def keep_summary(store: Store, run_id: str, part: Kept) -> None:
    """Write what the points of a run add up to beside them, so that a list need not read them all again.

    It is believed only while it names the size and mtime of metrics.jsonl. That it can't be written is no fault: it is
    made anew from the points when it is missing. The caller holds the run.
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
    return Kept(stamp, artifacts, _damaged_lines(layout.ARTIFACTS, damaged))


_READERS = (_read_meta, _read_params, _read_summary, _read_artifacts)


def _damaged_lines(name: str, damaged: int) -> str | None:
    return f"{name} has {damaged} damaged line{'' if damaged == 1 else 's'}" if damaged else None


_NONE = type(None)
#: The types that a field of meta.json may have, exactly: true is no integer.
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
#: The same of a dataset, for the fields that texts are made of; the others may be anything.
_DATASET_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "role", "hash", "source", "source_type", "schema", "profile"), (str, _NONE)),
    "tags": (dict, _NONE),
}
_META_DEFAULTS: dict[str, Any] = {"tags": {}, "datasets": []}
#: The keys of all metas are these strings: each of its own would take 700 bytes a run.
_META_KEYS = {key: key for key in (*_META_TYPES, "id", "status", "request_sha256", "env")}


def fault_of_meta(meta: dict[str, Any]) -> str | None:
    """Return why a JSON object can't be a run's meta.json; None when it can."""
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
