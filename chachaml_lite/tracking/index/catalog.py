"""The catalog of a store's runs in their current state on disk: which runs exist, their order, and what changed.

A run that is copied in, changed by hand or removed behind the server's back is noticed by the next request. This is
what is checked, and what it costs:

- For one run (`run`): an lstat of its folder, to see whether it still exists, and one of each relevant file, 2 µs each.
  A file whose stamp differs is read again. That is also how the server notices a run that it created itself.
- For all runs (`newest`): an lstat of runs/, a read of each of the kernel's two lists (folders created or removed, and
  folders touched, see `store.watch`), and the lstats for each run on these lists. Where the kernel reports no changes,
  runs/ is listed and all runs are checked, 10 µs each, but at most once a second.

So a request costs what it asks for plus what changed, independent of the size of the store.
"""

from __future__ import annotations

import bisect
import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from heapq import merge
from typing import Any, Literal

from ...store.reading import Stamp
from ...store.scan import Changes
from ...store.store import Store
from ..names import is_run_id
from . import first_look
from .order import ALL, TRASH, TRASHED, Key, Order
from .pending_looks import PendingLooks
from .run_entry import ALL_PARTS, Run
from .run_ids import RunIds
from .run_parts import META

log = logging.getLogger(__name__)

#: Which runs a list contains: those outside the trash, those in the trash, or both.
Deleted = Literal["false", "true", "all"]
DELETED: tuple[Deleted, ...] = ("false", "true", "all")


class Catalog:
    """All runs of a store. Reading needs no lock; values are put into a run under that run's lock."""

    def __init__(self, store: Store, deleted_experiments: Callable[[], frozenset[str]]) -> None:
        """Create the catalog. `deleted_experiments` returns the experiments whose runs are in the trash with them."""
        self._store = store
        self._deleted_experiments = deleted_experiments
        self._deleted: frozenset[str] = frozenset()
        self._runs: dict[str, Run] = {}
        self._ids = RunIds()
        self._lock = threading.RLock()  # for the state of all runs: which exist, and their order
        self._order = Order()
        self._first_look = first_look.FirstLook(store)
        self._pending = PendingLooks(store)
        self._changes = 0
        self._born = secrets.token_hex(4)

    # -- one run

    def run(self, run_id: str, numbers: tuple[int, ...] = ALL_PARTS) -> Run | None:
        """Return a run after checking the files of the given parts; None if there is no valid run."""
        if not self.known(run_id):
            return None
        run = self._runs.get(run_id) or self._runs.setdefault(run_id, Run(self._store, run_id))
        if run.look(numbers):
            run.look()  # a writer who changed one file, or replaced the whole run, may have changed all files
            self._note(run)
        return run if self._has_meta(run) else None

    def known(self, run_id: str) -> bool:
        """Return whether a folder with this id exists now, whether or not it contains a valid run."""
        if not is_run_id(run_id):
            return False
        is_there = self._store.run_entries.is_there(run_id)
        if is_there != (run_id in self._ids):
            with self._lock:
                self._take(self._store.run_entries.changes_of(run_id))
        return is_there and run_id in self._ids

    def had(self, run_id: str) -> bool:
        """Return whether a run with this id existed at the last look, or exists now."""
        return run_id in self._runs or self.known(run_id)

    def find_alike(self, run_id: str) -> str | None:
        """Return an existing id that is equal to `run_id`, or else one that differs from it only in case, or None."""
        if self.known(run_id):
            return run_id
        with self._lock:
            self._take(self._store.run_entries.changes())
            return self._ids.find_alike(run_id)

    def put(self, run: Run, number: int, value: Any, stamp: Stamp) -> None:
        """Store the value and stamp of a part of a run that was just written."""
        run.put(number, value, stamp)
        if number == META:
            self._note(run)
        else:
            with self._lock:
                self._changes += 1
                self._pending.count_write()

    # -- all runs

    def ids(self) -> Collection[str]:
        """Return the run ids among the names of folders in runs/, whether or not they contain valid runs."""
        with self._lock:
            self._take(self._store.run_entries.changes())
            return self._ids.all

    def newest(self, experiment: str | None = None, deleted: Deleted = "false") -> list[Run]:
        """Return all valid runs, or those of an experiment, in their current state; `deleted` selects by the trash.

        The order is by start time, then id, both descending (the contract, section 3).
        """
        with self._lock:
            self._refresh()
            return self._newest_first(self._keys(experiment, deleted))

    def page(
        self, offset: int, limit: int, experiment: str | None = None, deleted: Deleted = "false"
    ) -> tuple[list[Run], int]:
        """Return a page of `newest`, and the total number of runs."""
        with self._lock:
            self._refresh()
            keys = self._keys(experiment, deleted)
            end = len(keys) - offset
            return self._newest_first(keys[max(0, end - limit) : max(0, end)]), len(keys)

    def _newest_first(self, keys: Sequence[Key]) -> list[Run]:
        """Return the runs for ascending keys, newest first, with meta.json read, without runs removed just now."""
        runs = [self._runs[run_id] for _, run_id in reversed(keys)]
        return [run for run in runs if self._has_meta(run)]

    def _has_meta(self, run: Run) -> bool:
        """Return whether a run has a valid meta.json, which is read and cached if necessary."""
        part = run.part(META)
        if part.stamp != run.placed_by:  # it has changed since the last look
            self._note(run)
        return part.value is not None

    def _keys(self, experiment: str | None, deleted: Deleted) -> Sequence[Key]:
        live = self._order.keys(ALL if experiment is None else ("experiment", experiment))
        if deleted == "false":
            return live
        keys = self._order.keys(TRASH if experiment is None else (TRASHED, experiment))
        return keys if deleted == "true" else list(merge(live, keys))

    def trash_count(self) -> int:
        """Return the number of runs in the trash."""
        with self._lock:
            self._refresh()
            return len(self._order.keys(TRASH))

    def experiments(self, deleted: Deleted = "false") -> list[str]:
        """Return the sorted names of all experiments with a valid run. `deleted` says which runs count."""
        with self._lock:
            self._refresh()
            live = self._order.values("experiment") if deleted != "true" else []
            return live if deleted == "false" else sorted({*live, *self._order.values(TRASHED)})

    def span(self, experiment: str) -> tuple[int, int] | None:
        """Return the start times in ms of an experiment's first and newest run, in the trash or not, or None."""
        with self._lock:
            self._refresh()
            key_lists = [keys for deleted in ("false", "true") if (keys := self._keys(experiment, deleted))]
            return (
                (min(keys[0][0] for keys in key_lists), max(keys[-1][0] for keys in key_lists)) if key_lists else None
            )

    def version(self) -> str:
        """Return a text that changes whenever anything of any run does, for the ETags of lists."""
        with self._lock:
            self._refresh()
            return f"{self._born}-{self._changes}"

    def damaged(self, within_seconds: float) -> dict[str, str]:
        """Return the damage by folder in runs/, as far as the time allows: every file must be read once for it."""
        with self._lock:
            self._refresh()
            runs = [run for run_id, run in self._runs.items() if run_id in self._ids]
            damage = dict.fromkeys(self._ids.strays, "not a run's id")
        deadline = time.monotonic() + within_seconds
        for run in runs:
            text = run.damage()
            if text:
                damage[run.id] = text
            if time.monotonic() > deadline:
                break
        return damage

    def children(self, run_id: str) -> list[Run]:
        """Return the runs whose parent has this id, in the order in which they were started."""
        with self._lock:
            self._refresh()
            return self._newest_first(self._order.keys(("parent_run_id", run_id)))[::-1]

    def neighbours(self, run: Run) -> tuple[Run | None, Run | None]:
        """Return the runs of the same experiment that were started just before and just after a run, or None."""
        group = ("experiment", run.meta["experiment"])
        with self._lock:
            self._refresh()
            keys = self._order.keys(group)
            if run.key is None:
                return None, None
            at, after_it = bisect.bisect_left(keys, run.key), bisect.bisect_right(keys, run.key)
            before = self._newest_first(keys[max(0, at - 1) : at])
            after = self._newest_first(keys[after_it : after_it + 1])
        return before[0] if before else None, after[0] if after else None

    def count(self) -> int:
        """Return the number of valid runs outside the trash."""
        with self._lock:
            self._refresh()
            return len(self._order.keys())

    def unreadable(self) -> int:
        """Return the number of folders with a run's id but no valid run, which no list shows, as of the last look.

        This doesn't look again, which costs as much as a list itself if the kernel doesn't report changes.
        """
        with self._lock:
            return len(self._ids) - len(self._order.keys()) - len(self._order.keys(TRASH))

    def save_index(self) -> None:
        """Save the positions of the runs for the next start, if many of them have not been saved yet."""
        with self._lock:
            keys = self._order.keys(ALL)
            self._first_look.save((self._runs[run_id] for _, run_id in keys), len(keys))

    def _take(self, changes: Changes) -> None:
        """Register folders that were created and removed. The caller holds the lock."""
        for name in changes.strays:
            log.warning("runs/%r is passed over: it is no folder of a run", name)
        for name in changes.removed:
            run = self._runs.pop(name, None)
            if run is not None:
                self._order.place(run, None, ())
            self._ids.discard(name)
            self._pending.discard(name)
            self._changes += 1
        for name in changes.new:
            if self._ids.add(name):
                self._changes += 1
            if name in self._ids:
                self._pending.add(name)

    def _refresh(self) -> None:
        """Look at what changed. The caller holds the lock."""
        self._take(self._store.run_entries.changes())
        changed = self._pending.take(self._runs, self._ids.all)
        changed_runs = self._take_changed_experiments()
        runs = [(run_id, self._runs.get(run_id)) for run_id in sorted(changed)]
        new = [run_id for run_id, run in runs if run is None]
        differing = [run for run_id, run in runs if run is not None and run_id in self._ids and run.look_again()]
        many = len(new) + len(differing) > max(first_look.MANY, len(self._runs) // 10)
        for run_id in new:
            self._add(run_id, many=many)
        for run in differing:
            self._note(run, in_order=not many)
        self._pending.finish()
        for run_id in changed_runs:
            self._note(self._runs[run_id], in_order=not many)
        if many:
            self._order.place_all(self._runs.values())
            self.save_index()

    def _add(self, run_id: str, *, many: bool) -> None:
        """Add a new run. Its position comes from meta.json; its other files are not read until they are needed."""
        run = self._first_look.place(run_id, self._deleted) if many else Run(self._store, run_id)
        if self._runs.setdefault(run_id, run) is not run or run.placed_by is None:
            self._note(self._runs[run_id], in_order=not many)

    def _take_changed_experiments(self) -> list[str]:
        """Return the ids of the runs that were moved to or from the trash with their experiment."""
        before, self._deleted = self._deleted, self._deleted_experiments()
        names = before ^ self._deleted
        return [run_id for name in names for _, run_id in self._keys(name, "all")]

    def _note(self, run: Run, *, in_order: bool = True) -> None:
        """Update the position of a run that changed."""
        with self._lock:
            part = run.part(META)  # under the lock, so that a thread with an older value is never the last to note it
            self._changes += 1
            if self._runs.get(run.id) is not run:
                return  # removed meanwhile, so it has no position any more
            run.placed_by = part.stamp
            key, groups = self._first_look.key_and_groups(run.id, part.value, self._deleted)
            if in_order:
                self._order.place(run, key, groups)
            else:
                run.key, run.groups = key, groups
