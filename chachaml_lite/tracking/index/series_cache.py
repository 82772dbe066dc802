"""A cache of recently requested series, limited in bytes, so that looking at a chart again needs no parsing.

For a long run that is no longer being written to, the data for charts is also kept in a file beside summary.json
(see `series.thinned_file`), which is used if the points are not in memory.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from ...store import layout
from ...store.reading import Damaged, Stamp
from ...store.store import Store
from ..series.curves import Curve, View, curve_of
from ..series.points import RunSeries, Series
from ..series.thinned_file import ThinnedRun, thinned_file
from .run_entry import Run
from .run_parts import SUMMARY

log = logging.getLogger(__name__)

#: The numbers of thinned series and of curves cached per run: enough for the charts of a page or two.
_MAX_THINNED, _MAX_CURVES = 64, 128
#: A curve of fewer points is not cached, since computing it takes a millisecond.
_LONG = 3000
#: A single run may exceed the limit by this factor if it is the only one in the cache.
_SPARED_TIMES = 4
#: From this size, some 4,000 points, a metrics.jsonl takes longer to parse than its thinned form takes to read.
THINNED_FROM_BYTES = 300_000

Answer = TypeVar("Answer")


@dataclass
class _Entry:
    epoch: int
    series: RunSeries = field(default_factory=RunSeries)
    #: By key, number of points at the time, range and max_points: the indexes of the points to show.
    thinned: OrderedDict[tuple[str, int, range, int], list[int]] = field(default_factory=OrderedDict)
    #: By key, number of points at the time, view, and origin of relative time.
    curves: OrderedDict[tuple[str, int, View, int], Curve] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: The entry's share of the cache's total size.
    counted_bytes: int = 0
    #: The stamp of the metrics.jsonl whose thinned form is on disk, or could not be written.
    saved_stamp: Stamp | None = None


class SeriesCache:
    """Parsed series by run. For a run that is being written to, only the new lines are read."""

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        #: The total size. Each run of a page asks for it, and adding up all entries takes 3 ms.
        self._counted_bytes = 0
        self._lock = threading.Lock()

    def of(self, run: Run) -> _Entry:
        """Return the cache entry with the current series of a run. Raises Damaged, OSError."""
        # Hold the run's lock, so that a writer's points are both on disk and in the summary, or in neither.
        with self._store.lock_run(run.id):
            run.look((SUMMARY,))
            stamp, epoch = run.part(SUMMARY).stamp, run.epoch
        with self._lock:
            entry = self._entries.get(run.id)
            if entry is None or entry.epoch != epoch:
                self._count(run.id, entry, 0)
                entry = self._entries[run.id] = _Entry(epoch)
            self._entries.move_to_end(run.id)
        with entry.lock:
            if entry.series.read_bytes < stamp.size:
                entry.series.read_on(self._store, run.id, stamp.size)
            held_bytes = entry.series.held_bytes
            thinned = self._write_thinned(run, entry, stamp)
        if thinned is not None:
            self._keep_thinned(run, thinned)
        with self._lock:
            self._count(run.id, entry, held_bytes)
            # The most recent run stays unless it is huge. It is in memory anyway, and a user who looks at a page of a
            # long run would otherwise wait for all of its points to be parsed at each click (6.6 s for 2,670,000).
            exempt = 1 if held_bytes <= _SPARED_TIMES * self._max_bytes else 0
            while self._counted_bytes > self._max_bytes and len(self._entries) > exempt:
                oldest = next(iter(self._entries))
                self._count(oldest, self._entries[oldest], 0)
                del self._entries[oldest]
        return entry

    def _count(self, run_id: str, entry: _Entry | None, held_bytes: int) -> None:
        """Update the size of an entry, unless it was dropped or replaced meanwhile. The caller holds the lock."""
        if entry is not None and self._entries.get(run_id) is entry:
            self._counted_bytes += held_bytes - entry.counted_bytes
            entry.counted_bytes = held_bytes

    # -- the thinned form

    def from_thinned(self, run: Run, ask: Callable[[ThinnedRun], Answer | None]) -> Answer | None:
        """Return the result of calling `ask` with the thinned form of a run.

        Returns None if `ask` does, if the points are in memory, or if there is no thinned form of the current points.
        """
        run.look((SUMMARY,))
        stamp = run.stamps[SUMMARY]
        if stamp.size < THINNED_FROM_BYTES:
            return None
        with self._lock:
            entry = self._entries.get(run.id)
            if entry is not None and entry.epoch == run.epoch and entry.series.read_bytes == stamp.size:
                return None
        return self._read_thinned(run, stamp, ask)

    def _read_thinned(self, run: Run, stamp: Stamp, ask: Callable[[ThinnedRun], Answer | None]) -> Answer | None:
        try:
            with self._store.runs.open_file(run.id, layout.THINNED) as read:
                return ask(ThinnedRun(read, stamp))
        except FileNotFoundError:
            return None
        except (Damaged, OSError, LookupError, TypeError, ValueError) as fault:  # the file may come from anyone
            log.info("run %r: %s is not used: %s", run.id, layout.THINNED, fault)
            return None

    def _write_thinned(self, run: Run, entry: _Entry, stamp: Stamp) -> Iterable[bytes] | None:
        """Return the content of the thinned file of a long run at rest, once for each state of the run; otherwise None.

        The caller holds the entry's lock.
        """
        is_whole = entry.series.read_bytes == stamp.size >= THINNED_FROM_BYTES
        if self._store.runs.is_read_only or entry.saved_stamp == stamp or not is_whole or not run.is_at_rest:
            return None
        entry.saved_stamp = stamp
        if self._read_thinned(run, stamp, lambda file: file.check()):
            return None
        return thinned_file(entry.series.by_key, stamp, run.meta["start_time"])

    def _keep_thinned(self, run: Run, content: Iterable[bytes]) -> None:
        try:
            with self._store.lock_run(run.id):  # since its temporary file always has the same name
                self._store.runs.keep_rebuildable(run.id, layout.THINNED, content)
        except OSError as fault:  # a missing file is rebuilt
            log.info("no %s for run %r: %s", layout.THINNED, run.id, fault)

    # -- data for charts

    def thin(self, entry: _Entry, key: str, series: Series, places: range, max_points: int) -> list[int]:
        """Return the indexes of the points of `series` that a chart of `max_points` shows, out of `places`."""
        cache_key = (key, len(series), places, max_points)
        with entry.lock:
            cached_places = entry.thinned.get(cache_key)
            if cached_places is None:
                cached_places = entry.thinned[cache_key] = series.thin(places, max_points)
                if len(entry.thinned) > _MAX_THINNED:
                    entry.thinned.popitem(last=False)
        return cached_places

    def curve(self, entry: _Entry, key: str, series: Series, view: View, since_ms: int) -> Curve:
        """Return the curve of `series`; see `curves.curve_of`."""
        with entry.lock:
            if len(series) < _LONG:
                return curve_of(series, view, since_ms)
            cache_key = (key, len(series), view, since_ms if view.x == "relative" else 0)
            cached_curve = entry.curves.get(cache_key)
            if cached_curve is None:
                cached_curve = entry.curves[cache_key] = curve_of(series, view, since_ms)
                if len(entry.curves) > _MAX_CURVES:
                    entry.curves.popitem(last=False)
        return cached_curve

    @property
    def held_bytes(self) -> int:
        """The approximate memory use of the cache in bytes."""
        with self._lock:
            return sum(entry.series.held_bytes for entry in self._entries.values())
