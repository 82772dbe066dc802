"""The runs of a store as they are on disk now: which there are, in which order, and what changed.

A run that is copied in, changed by hand or removed behind the server's back is seen on the next request. What is
checked for that, and what it costs:

- One run is asked for (`run`): one lstat of runs/ (is the folder still there?), and one of each file that matters, 2 µs
  each. A file whose stamp differs is read again.
- All runs are asked for (`newest`): one lstat of runs/, one read of the kernel's list of touched folders (see
  `store.watch`), and the four lstats for each run that is on it. Runs that can't be watched are looked at each time,
  10 µs each.
"""

from __future__ import annotations

import bisect
import logging
import secrets
import threading
import time
from typing import Any

from ...store.reading import Stamp
from ...store.store import Store
from ..names import is_run_id
from .run_entry import ALL_PARTS, Run
from .run_parts import META

log = logging.getLogger(__name__)

#: The fields by which runs are grouped.
_GROUPED = ("experiment", "parent_run_id")
#: Beyond so many changed runs the order is made anew, not mended.
_MANY = 500
#: How far the next run of an experiment is looked for, in runs.
_NEAR = 1000


class Catalog:
    """Every run of one store. Reading needs no lock; what is put into a run is put in under that run's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs: dict[str, Run] = {}
        self._ids: frozenset[str] = frozenset()
        self._folded: dict[str, str] = {}
        self._not_runs: frozenset[str] = frozenset()
        self._strays: frozenset[str] = frozenset()
        self._lock = threading.RLock()  # for what is about all runs: which there are, and their order
        self._order: list[tuple[int, str]] = []
        #: The ids of the runs that have something in common, by field and value: those most asked for.
        self._groups: dict[tuple[str, str], set[str]] = {}
        self._unseen: set[str] = set()
        self._unwatched: set[str] = set()
        self._changes = 0
        self._born = secrets.token_hex(4)

    # -- one run

    def run(self, run_id: str, numbers: tuple[int, ...] = ALL_PARTS) -> Run | None:
        """A run, with the files behind these parts looked at now; None where there is no good one."""
        if run_id not in self.ids() or not is_run_id(run_id):
            return None
        run = self._runs.get(run_id) or self._runs.setdefault(run_id, Run(self._store, run_id))
        if run.look(numbers):
            run.look()  # whoever changed one of its files, or put another run in its place, may have changed them all
            self._note(run)
        return None if run.part(META).value is None else run

    def known(self, run_id: str) -> bool:
        """Whether there is a folder of that id now, with a good run in it or not."""
        return run_id in self.ids() and is_run_id(run_id)

    def was_known(self, run_id: str) -> bool:
        """Whether a run of that id was there at the last look, or is there now."""
        return run_id in self._runs or self.known(run_id)

    def spelled_alike(self, run_id: str) -> str | None:
        """The id that exists and differs from `run_id` in nothing but case, or not at all."""
        self.ids()
        return self._folded.get(run_id.lower())

    def put(self, run: Run, number: int, value: Any, stamp: Stamp) -> None:
        """Keep what was just written to a part of a run."""
        run.put(number, value, stamp)
        if number == META:
            self._note(run)
        else:
            with self._lock:
                self._changes += 1

    # -- all runs

    def ids(self) -> frozenset[str]:
        """The ids that folders in runs/ have now, whether or not there is a good run inside."""
        found = self._store.run_folders()
        if found.folders is not self._ids:
            with self._lock:
                found = self._store.run_folders()  # another thread may have taken what is newer than ours
                if found.folders is not self._ids:
                    self._take_ids(found.folders, found.strays)
        return self._ids

    def newest(self, experiment: str | None = None) -> list[Run]:
        """Every good run, or those of an experiment, as they are on disk now, newest first.

        That is by start time, then id, both descending (the contract, section 3).
        """
        with self._lock:
            self._refresh()
            if experiment is not None:
                return self._group("experiment", experiment)[::-1]
            return [self._runs[run_id] for _, run_id in reversed(self._order)]

    def page(self, offset: int, limit: int) -> tuple[list[Run], int]:
        """A page of `newest`, and the number of all."""
        with self._lock:
            self._refresh()
            end = len(self._order) - offset
            wanted = self._order[max(0, end - limit) : max(0, end)]
            return [self._runs[run_id] for _, run_id in reversed(wanted)], len(self._order)

    def experiments(self) -> list[str]:
        """The names of all experiments that a good run bears, sorted."""
        with self._lock:
            self._refresh()
            return sorted(value for field, value in self._groups if field == "experiment")

    def version(self) -> str:
        """A text that is another one whenever anything of any run has changed: what an ETag of a list is made of."""
        with self._lock:
            self._refresh()
            return f"{self._born}-{self._changes}"

    def damaged(self, within_seconds: float) -> dict[str, str]:
        """What is wrong, by folder in runs/, as far as a time allows: every file has to be read once for it."""
        with self._lock:
            self._refresh()
            runs = [run for run_id, run in self._runs.items() if run_id in self._ids]
        deadline = time.monotonic() + within_seconds
        damage = dict.fromkeys(self._not_runs, "not a run's id")
        for run in runs:
            text = run.damage()
            if text:
                damage[run.id] = text
            if time.monotonic() > deadline:
                break
        return damage

    def children(self, run_id: str) -> list[Run]:
        """The runs whose parent has this id, in the order in which they were started."""
        with self._lock:
            self._refresh()
            return self._group("parent_run_id", run_id)

    def neighbours(self, run: Run) -> tuple[Run | None, Run | None]:
        """The runs of the same experiment that were started just before and after a run, where they are near in time.

        That is, among the `_NEAR` runs of all experiments on either side.
        """
        group = ("experiment", run.meta["experiment"])
        with self._lock:
            self._refresh()
            if run.key is None:
                return None, None
            place = bisect.bisect_left(self._order, run.key)
            older = self._order[max(0, place - _NEAR) : place][::-1]
            newer = self._order[place + 1 : place + 1 + _NEAR]
            alike = self._groups.get(group, set())
            first = [next((run_id for _, run_id in keys if run_id in alike), None) for keys in (older, newer)]
            before, after = (None if run_id is None else self._runs[run_id] for run_id in first)
        return before, after

    def count(self) -> int:
        """The number of good runs."""
        with self._lock:
            self._refresh()
            return len(self._order)

    def unreadable(self) -> int:
        """The number of folders that have a run's id and hold no good run, as of the last look: what no list has.

        Without a look of its own, which costs as much as the list itself where the kernel doesn't tell of changes.
        """
        with self._lock:
            return len(self._ids) - len(self._not_runs) - len(self._order)

    def _take_ids(self, folders: frozenset[str], strays: frozenset[str]) -> None:
        not_runs = frozenset(name for name in folders - self._ids if not is_run_id(name)) | (self._not_runs & folders)
        for name in (not_runs | strays) - self._not_runs - self._strays:
            log.warning("runs/%r is passed over: it is no folder of a run", name)
        for gone in self._ids - folders:
            run = self._runs.pop(gone, None)
            if run is not None:
                self._place(run, None)
                self._regroup(run, None)
            self._unwatched.discard(gone)
        self._unseen = (self._unseen | (folders - self._ids)) & folders - not_runs
        self._not_runs, self._strays = not_runs, strays
        self._folded = {name.lower(): name for name in folders}
        self._ids = folders
        self._changes += 1

    def _refresh(self) -> None:
        ids = self.ids()
        touched = self._store.watch.touched()
        changed = (
            set(self._runs) if touched is None else {name for name in touched if name in self._runs} | self._unwatched
        )
        unseen, self._unseen = self._unseen | (ids if touched is None else self._store.watch.lost() & ids), set()
        new = {run_id for run_id in unseen if run_id not in self._runs}  # a difference of sets would walk all runs
        for run_id in unseen:
            # Watched before it is read: what happens in between is then heard of.
            if self._store.watch_run(run_id):
                self._unwatched.discard(run_id)
            else:
                self._unwatched.add(run_id)
            self._runs.setdefault(run_id, Run(self._store, run_id))
        changed |= unseen
        many = len(changed) > _MANY
        for run_id in changed:
            if run_id in ids:
                run = self._runs[run_id]
                # Of one that is new its meta tells where it stands; its other files wait until they are asked for.
                if run.look((META,) if run_id in new else ALL_PARTS):
                    self._note(run, in_order=not many)
        if many:
            self._order = sorted(run.key for run in self._runs.values() if run.key is not None)

    def _note(self, run: Run, *, in_order: bool = True) -> None:
        """Take notice of a run that changed."""
        meta = run.part(META).value
        key = None if meta is None else (meta["start_time"], run.id)
        with self._lock:
            self._changes += 1
            if self._runs.get(run.id) is not run:
                return  # removed meanwhile: it has no place among the others any more
            self._regroup(run, meta)
            if in_order:
                self._place(run, key)
            else:
                run.key = key

    def _group(self, field: str, value: str) -> list[Run]:
        return sorted(
            (self._runs[run_id] for run_id in self._groups.get((field, value), ())), key=lambda run: run.key or ()
        )

    def _regroup(self, run: Run, meta: dict[str, Any] | None) -> None:
        groups = tuple((field, meta[field]) for field in _GROUPED if meta.get(field) is not None) if meta else ()
        if groups != run.groups:
            for group in run.groups:
                members = self._groups[group]
                members.discard(run.id)
                if not members:
                    del self._groups[group]
            for group in groups:
                self._groups.setdefault(group, set()).add(run.id)
            run.groups = groups

    def _place(self, run: Run, key: tuple[int, str] | None) -> None:
        if run.key == key:
            return
        if run.key is not None:
            at = bisect.bisect_left(self._order, run.key)
            if at < len(self._order) and self._order[at] == run.key:
                del self._order[at]
        if key is not None:
            bisect.insort(self._order, key)
        run.key = key
