"""The runs of a store as they are on disk now, each part kept in memory while its file is the one that was read.

What is checked when a run is asked for, and what it costs: one lstat of runs/ (is the folder still there?), and one
of the file behind each part that is wanted, 2 µs each. A file that was changed behind the server's back differs in its
stamp and is read again, so a run that is copied in, edited or removed by hand is seen on the next request.

Damage is never raised to a caller: a run whose meta.json can't be believed is no run (None), another damaged part is
empty, and both are counted, and named in the log once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from ..errors import StorageFault
from ..store import layout
from ..store.reading import NO_FILE, Damaged, Stamp
from ..store.store import Store
from . import series
from .names import is_run_id
from .summary import Summary, added_up, from_stored

log = logging.getLogger(__name__)

T = TypeVar("T")

STATUSES = ("running", "completed", "failed")


class Kept(NamedTuple):
    """A part of a run: its value as of a stamp, and what is wrong with its file, if anything is."""

    stamp: Stamp
    value: Any
    damage: str | None = None


class Run:
    """One run, as far as it has been read. `meta` and the other values are never changed in place."""

    __slots__ = ("artifacts", "id", "meta", "params", "summary")

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self.meta: Kept | None = None
        self.params: Kept | None = None
        self.summary: Kept | None = None
        self.artifacts: Kept | None = None


class Artifact(NamedTuple):
    """The last upload under a name."""

    name: str
    sha256: str
    size: int
    timestamp: int


Artifacts = dict[str, Artifact]


class Catalog:
    """Every run of one store, by id. Reading needs no lock; what is put in is put in under the run's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs: dict[str, Run] = {}
        self._ids: frozenset[str] = frozenset()
        self._folded: dict[str, str] = {}
        self._not_runs: dict[str, str] = {}

    # -- which runs there are

    def ids(self) -> frozenset[str]:
        """The ids that folders in runs/ have now, whether or not there is a good run inside."""
        found = self._store.run_folders()
        if found.folders is not self._ids:
            folders = found.folders
            for gone in self._ids - folders:
                self._runs.pop(gone, None)
            not_runs = {name: "not a run's id" for name in folders if not is_run_id(name)}
            for name in (not_runs.keys() | found.strays) - self._not_runs.keys():
                log.warning("runs/%r is passed over: no run can have that name", name)
            self._not_runs = not_runs
            self._folded = {name.lower(): name for name in folders}
            self._ids = folders
        return self._ids

    def spelled_alike(self, run_id: str) -> str | None:
        """The id that exists and differs from `run_id` in nothing but case, or not at all."""
        self.ids()
        return self._folded.get(run_id.lower())

    def known(self, run_id: str) -> bool:
        """Whether a folder of that id is there now."""
        return run_id in self.ids() and is_run_id(run_id)

    def runs(self) -> Iterator[str]:
        """The ids of all good runs, in no order."""
        for run_id in self.ids():
            if self.meta(run_id) is not None:
                yield run_id

    def damaged(self) -> dict[str, str]:
        """What is wrong, by folder in runs/; everything is looked at for that."""
        damage = dict(self._not_runs)
        for run_id in self.ids() - self._not_runs.keys():
            if self.meta(run_id) is not None:
                self.params(run_id), self.summary(run_id), self.artifacts(run_id)
            run = self._runs.get(run_id)
            parts = (run.meta, run.params, run.summary, run.artifacts) if run else ()
            texts = [part.damage for part in parts if part and part.damage]
            if texts:
                damage[run_id] = "; ".join(texts)
        return damage

    # -- the parts of a run

    def meta(self, run_id: str) -> dict[str, Any] | None:
        """meta.json; None where there is no run, or a damaged one."""
        if not self.known(run_id):
            return None
        return self._part(run_id, "meta", layout.META, self._read_meta, None)

    def params(self, run_id: str) -> dict[str, Any]:
        """params.json; none where there is no such file."""
        return self._part(run_id, "params", layout.PARAMS, self._read_params, {})

    def summary(self, run_id: str) -> Summary:
        """What the run's points add up to."""
        return self._part(run_id, "summary", layout.METRICS, self._read_summary, {})

    def artifacts(self, run_id: str) -> Artifacts:
        """The run's artifacts by name, in the order in which the names were first stored."""
        return self._part(run_id, "artifacts", layout.ARTIFACTS, self._read_artifacts, {})

    def refuse_damaged(self, run_id: str, part: str) -> None:
        """Raise StorageFault where a write would build on a file that can't be believed. The part has been read."""
        kept: Kept | None = getattr(self._runs[run_id], part)
        if kept and kept.damage:
            raise StorageFault(f"{kept.damage}, so nothing is written to it; mend or move that file of the run first")

    def put(self, run_id: str, part: str, value: Any, stamp: Stamp) -> None:
        """Keep what was just written to a part's file."""
        kept: Kept | None = getattr(self._run(run_id), part)
        setattr(self._runs[run_id], part, Kept(stamp, value, kept.damage if kept else None))

    def keep_summary(self, run_id: str) -> None:
        """Write what the points of an ended run add up to beside them, so that they need not be read again for a list.

        It is believed only while it names the size and mtime of metrics.jsonl. That it can't be written is no fault:
        it is rebuilt when it is missing.
        """
        summary = self.summary(run_id)
        kept = self._run(run_id).summary
        if kept is None or kept.stamp == NO_FILE:
            return
        stored = {
            "size": kept.stamp.size,
            "mtime_ns": kept.stamp.mtime_ns,
            "damage": kept.damage,
            "metrics": {key: series.stored() for key, series in summary.items()},
        }
        try:
            self._store.runs.replace(run_id, layout.SUMMARY, stored)
        except OSError as fault:
            log.info("no summary.json for run %r: %s", run_id, fault)

    def last_write_ns(self, run_id: str) -> int:
        """When one of the run's files was last written, in ns since 1970."""
        names = (layout.META, layout.PARAMS, layout.METRICS, layout.ARTIFACTS)
        return max(self._store.runs.stamp(run_id, name).mtime_ns for name in names)

    def _run(self, run_id: str) -> Run:
        return self._runs.get(run_id) or self._runs.setdefault(run_id, Run(run_id))

    def _part(
        self, run_id: str, part: str, name: str, read: Callable[[str, Stamp], tuple[T, str | None, Stamp]], nothing: T
    ) -> T:
        run = self._run(run_id)
        kept: Kept | None = getattr(run, part)
        stamp = self._store.runs.stamp(run_id, name)
        if kept is not None and kept.stamp == stamp:
            value: T = kept.value
            return value
        value, damage = nothing, None
        if stamp != NO_FILE or part == "meta":
            try:
                value, damage, stamp = read(run_id, stamp)
            except Damaged as fault:
                damage = str(fault)
            except FileNotFoundError:
                damage = f"no {name}" if part == "meta" else None
            except OSError as fault:
                damage = f"{name} can't be read: {fault.strerror}"
        if damage and not (kept and kept.damage == damage):
            log.warning("run %r is damaged: %s", run_id, damage)
        setattr(run, part, Kept(stamp, value, damage))
        return value

    def _read_meta(self, run_id: str, _: Stamp) -> tuple[dict[str, Any] | None, str | None, Stamp]:
        meta, stamp = self._store.runs.read_object(run_id, layout.META)
        fault = fault_of_meta(meta)
        return (None, fault, stamp) if fault else (meta, None, stamp)

    def _read_params(self, run_id: str, _: Stamp) -> tuple[dict[str, Any], str | None, Stamp]:
        params, stamp = self._store.runs.read_object(run_id, layout.PARAMS)
        return params, None, stamp

    def _read_summary(self, run_id: str, found: Stamp) -> tuple[Summary, str | None, Stamp]:
        try:
            stored, _ = self._store.runs.read_object(run_id, layout.SUMMARY)
            if (stored.get("size"), stored.get("mtime_ns")) == (found.size, found.mtime_ns):
                summary, damage = from_stored(stored.get("metrics")), stored.get("damage")
                if summary is not None and (damage is None or isinstance(damage, str)):
                    return summary, damage, found
        except (OSError, Damaged):
            pass
        points, damaged, stamp = series.read_points(self._store, run_id)
        return added_up({}, points), _damaged_lines(layout.METRICS, damaged), stamp

    def _read_artifacts(self, run_id: str, _: Stamp) -> tuple[Artifacts, str | None, Stamp]:
        records, damaged, stamp = self._store.runs.read_records(run_id, layout.ARTIFACTS)
        artifacts: Artifacts = {}
        for record in records:
            artifact = _artifact(record)
            if artifact is None:
                damaged += 1
            else:
                artifacts[artifact.name] = artifact
        return artifacts, _damaged_lines(layout.ARTIFACTS, damaged), stamp


def _damaged_lines(name: str, damaged: object) -> str | None:
    return f"{name} has {damaged} damaged lines" if damaged else None


def _artifact(record: dict[str, Any]) -> Artifact | None:
    name, sha256, size, timestamp = (record.get(field) for field in Artifact._fields)
    if (
        isinstance(name, str)
        and name
        and isinstance(sha256, str)
        and isinstance(size, int)
        and isinstance(timestamp, int)
    ):
        return Artifact(name, sha256, size, timestamp)
    return None


_META_TYPES: dict[str, tuple[type, ...]] = {
    "experiment": (str,),
    "name": (str, type(None)),
    "start_time": (int,),
    "end_time": (int, type(None)),
    "error": (str, type(None)),
    "tags": (dict,),
    "note": (str, type(None)),
    "datasets": (list,),
    "parent_run_id": (str, type(None)),
    "created_by": (str, type(None)),
}
_META_DEFAULTS: dict[str, Any] = {"tags": {}, "datasets": []}


def fault_of_meta(meta: dict[str, Any]) -> str | None:
    """Why a JSON object can't be a run's meta.json; None when it can."""
    for field, types in _META_TYPES.items():
        if not isinstance(meta.get(field, _META_DEFAULTS.get(field)), types):
            return f"{layout.META} has no good {field}"
    if meta.get("status") not in STATUSES:
        return f"{layout.META} has no good status"
    return None
