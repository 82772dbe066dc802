"""Runs that nobody has asked for yet, taken in many at a time: when a server starts, and when many are copied in.

Of such a run nothing is kept but its place among the others and the stamp of the meta.json that gives it: about 1 kB of
memory for each, where its parsed meta.json would take 2 kB more. The place comes from the saved index, while the stamp
there is that of the file; else the file is read.

Measured with 100,000 runs, as CPU time from the start of the process to the newest 100, and memory after it: 5.0 s and
366 MB with every meta.json read and kept; 4.2 s and 150 MB with none kept; 2.2 s and 185 MB with the index.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ...store import layout
from ...store.run_index import NO_LINES, Lines, Place
from ...store.store import Store
from .order import Group, Groups, Key, place_of
from .run_entry import Run
from .run_parts import META, read_part

#: Beyond so many changed runs the order is made anew, not mended, and what was read of new ones isn't kept.
MANY = 500


class FirstLook:
    """The places of the runs of one store. Not locked: callers take turns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lines: Lines | None = None
        self._groups = Groups()
        #: How many places were read from meta.json since the index was loaded or saved.
        self._unsaved = 0

    def place(self, run_id: str, deleted: Collection[str]) -> Run:
        """A new run in its place, where it is a good one; `deleted`: the names of deleted experiments."""
        run = Run(self._store, run_id)
        if self._lines is None:
            self._lines = self._store.run_index.load()
        if self._lines is not NO_LINES:
            stamp = self._store.runs.stamp(run_id, layout.META)
            place = self._lines.place(run_id, stamp)
            if place is not None:
                groups = self._groups.of(place, is_trashed=place.experiment in deleted)
                run.place(stamp, (place.start_time, run_id), groups)
                return run
        part = read_part(self._store, run_id, META, None)
        key, groups = self.key_and_groups(run_id, part.value, deleted)
        if key is not None:
            run.place(part.stamp, key, groups)
        return run

    def key_and_groups(
        self, run_id: str, meta: dict[str, Any] | None, deleted: Collection[str]
    ) -> tuple[Key | None, tuple[Group, ...]]:
        """The key and the groups that a meta.json gives its run; none where there is no good one."""
        if meta is None:
            return None, ()
        is_trashed = meta.get("deleted_at") is not None or meta["experiment"] in deleted
        if not is_trashed:
            self._unsaved += 1
        place = Place(meta["start_time"], meta["experiment"], meta.get("parent_run_id"))
        return (place.start_time, run_id), self._groups.of(place, is_trashed=is_trashed)

    def save(self, runs: Iterable[Run], count: int) -> None:
        """Save the places of so many runs, none of which is in the trash, unless nearly all are saved as they are.

        What is not saved costs the next start 25 µs a run.
        """
        self._lines = NO_LINES  # a start is over, and what comes now is new
        if self._unsaved > max(MANY, count // 10):
            self._unsaved = 0
            self._store.run_index.save(
                (run.id, run.placed_by, place_of(run.key, run.groups)) for run in runs if run.placed_by and run.key
            )
