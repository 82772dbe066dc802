"""The runs to look at before the next list: new ones, those the kernel tells of, and those that it can't watch."""

from __future__ import annotations

import time
from collections.abc import Collection

from ...store import scan
from ...store.store import Store

#: Writes of ours after which the kernel's list is read, should nobody ask for a list: it keeps 16,384 events, and
#: a write causes five at the most. Once it has lost some, all runs have to be looked at.
_WRITES = 2000


class PendingLooks:
    """The runs of one store to be checked. Not locked: callers take turns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        #: New, or put in place of others, and not looked at yet.
        self._new: set[str] = set()
        #: Those that the kernel doesn't tell of.
        self._unwatched: set[str] = set()
        #: What the kernel told of, and nobody has looked at yet; `_is_lost`: it told of more than it could keep.
        self._touched: set[str] = set()
        self._is_lost = False
        self._writes = 0
        self._includes_unwatched = False
        self._looked = float("-inf")

    def add(self, run_id: str) -> None:
        """Take in a run that is new, or may have been put in place of another."""
        self._new.add(run_id)

    def discard(self, run_id: str) -> None:
        """Forget a run that is gone."""
        self._new.discard(run_id)
        self._unwatched.discard(run_id)

    def count_write(self) -> None:
        """Take notice of a write of ours, of which the kernel tells as well."""
        self._writes += 1
        if self._writes >= _WRITES:
            self._hear()

    def _hear(self) -> None:
        """Keep what the kernel tells until somebody asks for a list."""
        self._writes = 0
        run_ids = self._store.watch.take_touched()
        if run_ids is None:
            self._is_lost = True
        else:
            self._touched |= run_ids

    def take(self, known_ids: Collection[str], ids: Collection[str]) -> set[str]:
        """Return the ids of the runs to be looked at now, and watch the new ones; `finish` tells of the end of it.

        `known`: the runs that were looked at before; `ids`: all that there are.
        """
        self._hear()
        run_ids, self._touched = self._touched, set()
        changed = {run_id for run_id in run_ids if run_id in known_ids}
        new, self._new = self._new | self._store.watch.take_lost().intersection(ids), set()
        if self._is_lost:
            self._is_lost = False
            changed, new = set(known_ids), new.union(ids)
        self._includes_unwatched = not self._unwatched or time.monotonic() - self._looked >= scan.LOOK_SECONDS
        if self._includes_unwatched:
            changed |= self._unwatched
        for run_id in sorted(new):  # by id is by start time, mostly, and the order is made in half the time
            # Watched before it is read: what happens in between is then heard of.
            if self._store.watch_run(run_id):
                self._unwatched.discard(run_id)
            else:
                self._unwatched.add(run_id)
        return changed | new

    def finish(self) -> None:
        """Take notice of the end of a look: one at 100,000 runs takes half a second, and isn't made again at once."""
        if self._includes_unwatched:
            self._looked = time.monotonic()
