"""The runs to check before the next list: new ones, those that the kernel reports, and those that it can't watch."""

from __future__ import annotations

import time
from collections.abc import Collection

from ...store import scan
from ...store.store import Store

#: The number of our own writes after which the kernel's list is read, even if no list of runs is requested. The kernel
#: keeps 16,384 events, and a write causes at most five. If events are lost, all runs have to be checked.
_WRITES = 2000


class PendingLooks:
    """The runs of a store to be checked. Not thread-safe: callers hold a lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        #: Runs that are new, or may have replaced others, and were not checked yet.
        self._new: set[str] = set()
        #: Runs that the kernel doesn't watch.
        self._unwatched: set[str] = set()
        #: Runs that the kernel reported and that were not checked yet; `_is_lost`: it had to drop events.
        self._touched_ids: set[str] = set()
        self._is_lost = False
        self._writes = 0
        self._includes_unwatched = False
        self._last_look = float("-inf")

    def add(self, run_id: str) -> None:
        """Add a run that is new, or may have replaced another one."""
        self._new.add(run_id)

    def discard(self, run_id: str) -> None:
        """Forget a run that is gone."""
        self._new.discard(run_id)
        self._unwatched.discard(run_id)

    def count_write(self) -> None:
        """Count a write of our own, which the kernel reports as well."""
        self._writes += 1
        if self._writes >= _WRITES:
            self._hear()

    def _hear(self) -> None:
        """Read the kernel's list, and keep it until a list of runs is requested."""
        self._writes = 0
        run_ids = self._store.watch.take_touched()
        if run_ids is None:
            self._is_lost = True
        else:
            self._touched_ids |= run_ids

    def take(self, known_ids: Collection[str], ids: Collection[str]) -> set[str]:
        """Return the ids of the runs to check now, and watch the new ones. Call `finish` when they have been checked.

        `known_ids` are the runs that were checked before, `ids` all that exist.
        """
        self._hear()
        run_ids, self._touched_ids = self._touched_ids, set()
        changed = {run_id for run_id in run_ids if run_id in known_ids}
        new, self._new = self._new | self._store.watch.take_lost().intersection(ids), set()
        if self._is_lost:
            self._is_lost = False
            changed, new = set(known_ids), new.union(ids)
        self._includes_unwatched = not self._unwatched or time.monotonic() - self._last_look >= scan.LOOK_SECONDS
        if self._includes_unwatched:
            changed |= self._unwatched
        for run_id in sorted(new):  # ids mostly sort by start time, which halves the time for building the order
            # Watch the run before it is read, so that no change in between is missed.
            if self._store.watch_run(run_id):
                self._unwatched.discard(run_id)
            else:
                self._unwatched.add(run_id)
        return changed | new

    def finish(self) -> None:
        """Record the end of a check: one of 100,000 runs takes half a second, and isn't repeated at once."""
        if self._includes_unwatched:
            self._last_look = time.monotonic()
