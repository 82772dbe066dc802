"""The runs of a store as they are on disk now, each part kept in memory while its file is the one that was read.

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

from ..errors import StorageFault
from ..store.reading import NO_FILE, Stamp
from ..store.store import Store
from .names import is_run_id
from .records import ARTIFACTS, FILES, META, PARAMS, SUMMARY, Artifacts, Kept, keep_summary, read_part
from .summary import Summary

log = logging.getLogger(__name__)

_ALL = (META, PARAMS, SUMMARY, ARTIFACTS)
#: Beyond so many changed runs the order is made anew, not mended.
_MANY = 500


#: Held for the two assignments by which a run gets a part, never longer: one for all runs, for it costs 100 bytes each.
_keeping = threading.Lock()


class Run:
    """One run, as of the last look at it. A part is read when it is asked for; a value never changes in place."""

    __slots__ = ("_good_meta", "_kept", "_stamps", "_store", "epoch", "id", "key", "parent_id")

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self.id = run_id
        self._stamps: list[Stamp] = [NO_FILE] * 4
        self._kept: list[Kept | None] = [None] * 4
        self._good_meta: dict[str, Any] = {}
        #: Another number whenever metrics.jsonl was changed by anybody but us: within one, it has only grown.
        self.epoch = 0
        #: Where the run stands among all (by start time, then id); None while it is no good run.
        self.key: tuple[int, str] | None = None
        #: Under whose children the catalog has it.
        self.parent_id: str | None = None

    @property
    def meta(self) -> dict[str, Any]:
        """meta.json; the last good one, should the run be removed or damaged while somebody works with it."""
        meta: dict[str, Any] | None = self.part(META).value
        return self._good_meta if meta is None else meta

    @property
    def params(self) -> dict[str, Any]:
        """params.json; none where there is no such file."""
        params: dict[str, Any] = self.part(PARAMS).value
        return params

    @property
    def summary(self) -> Summary:
        """What the run's points add up to, by key."""
        summary: Summary = self.part(SUMMARY).value
        return summary

    @property
    def artifacts(self) -> Artifacts:
        """The run's artifacts by name."""
        artifacts: Artifacts = self.part(ARTIFACTS).value
        return artifacts

    @property
    def last_write_ms(self) -> int:
        """When one of the run's files was last written, in ms since 1970, by the file system's clock."""
        return max(stamp.mtime_ns for stamp in self._stamps) // 1_000_000

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """The state of the run's files: the same as long as nothing was written."""
        return tuple(self._stamps)

    def part(self, number: int) -> Kept:
        """A part with its stamp and its damage."""
        kept = self._kept[number]
        if kept is not None and kept.stamp == self._stamps[number]:
            return kept
        if number != SUMMARY:
            return self._read(number)
        # Points may be many: whoever is just adding some has them added up already when the lock is free.
        with self._store.locked_run(self.id):
            self.look((SUMMARY,))
            kept = self._kept[SUMMARY]
            return kept if kept is not None and kept.stamp == self._stamps[SUMMARY] else self._read(SUMMARY)

    def _read(self, number: int) -> Kept:
        before = self._kept[number]
        if number == SUMMARY:
            self.epoch += 1
        kept = read_part(self._store, self.id, number, self._stamps[number])
        if kept.damage and not (before and before.damage == kept.damage):
            log.warning("run %r is damaged: %s", self.id, kept.damage)
        with _keeping:
            # Not where something was put here meanwhile: a writer's next step would build on what is old by now.
            if self._kept[number] is before:
                # Should the file have changed since it was looked at, what was read is the newer.
                self._stamps[number] = kept.stamp
                self._kept[number] = kept
                if number == META and kept.value is not None:
                    self._good_meta = kept.value
        if number == SUMMARY and not kept.is_stored and self.part(META).value and self.meta["status"] != "running":
            keep_summary(self._store, self.id, kept)
        return kept

    def look(self, numbers: tuple[int, ...] = _ALL) -> bool:
        """Look at the files behind some parts; whether one isn't what it was."""
        changed = False
        for number in numbers:
            stamp = self._store.runs.stamp(self.id, FILES[number])
            if stamp != self._stamps[number]:
                self._stamps[number] = stamp
                changed = True
        return changed

    def put(self, number: int, value: Any, stamp: Stamp) -> None:
        """Keep what was just written to a part's file."""
        with _keeping:
            kept = self._kept[number]
            self._stamps[number] = stamp
            self._kept[number] = Kept(stamp, value, kept.damage if kept else None)
            if number == META:
                self._good_meta = value

    def refuse_damaged(self, number: int) -> None:
        """Raise StorageFault where a write would build on a file that can't be believed."""
        damage = self.part(number).damage
        if damage:
            raise StorageFault(f"{damage}, so nothing is written to it; mend or move that file of the run first")

    def damage(self) -> str | None:
        """What is wrong with the run's files; None when nothing is. Reads all of them."""
        numbers = _ALL if self.part(META).value is not None else (META,)
        return "; ".join(text for number in numbers if (text := self.part(number).damage)) or None


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
        self._children: dict[str, set[str]] = {}
        self._unseen: set[str] = set()
        self._unwatched: set[str] = set()
        self._changes = 0
        self._born = secrets.token_hex(4)

    # -- one run

    def run(self, run_id: str, numbers: tuple[int, ...] = _ALL) -> Run | None:
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

    def newest(self) -> list[Run]:
        """Every good run, newest first (by start time, then id, both descending), as they are on disk now."""
        with self._lock:
            self._refresh()
            return [self._runs[run_id] for _, run_id in reversed(self._order)]

    def page(self, offset: int, limit: int) -> tuple[list[Run], int]:
        """A page of `newest`, and the number of all."""
        with self._lock:
            self._refresh()
            end = len(self._order) - offset
            wanted = self._order[max(0, end - limit) : max(0, end)]
            return [self._runs[run_id] for _, run_id in reversed(wanted)], len(self._order)

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
            return sorted(
                (self._runs[child] for child in self._children.get(run_id, ())), key=lambda run: run.key or ()
            )

    def count(self) -> int:
        """The number of good runs."""
        with self._lock:
            self._refresh()
            return len(self._order)

    def _take_ids(self, folders: frozenset[str], strays: frozenset[str]) -> None:
        not_runs = frozenset(name for name in folders - self._ids if not is_run_id(name)) | (self._not_runs & folders)
        for name in (not_runs | strays) - self._not_runs - self._strays:
            log.warning("runs/%r is passed over: it is no folder of a run", name)
        for gone in self._ids - folders:
            run = self._runs.pop(gone, None)
            if run is not None:
                self._place(run, None)
                self._adopt(run, None)
            self._unwatched.discard(gone)
        self._unseen = (self._unseen | (folders - self._ids)) & folders - not_runs
        self._not_runs, self._strays = not_runs, strays
        self._folded = {name.lower(): name for name in folders}
        self._ids = folders
        self._changes += 1

    def _refresh(self) -> None:
        ids = self.ids()
        touched = self._store.watch.touched()
        changed = set(self._runs) if touched is None else (touched & self._runs.keys()) | self._unwatched
        unseen, self._unseen = self._unseen | (ids if touched is None else self._store.watch.lost() & ids), set()
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
                if run.look():
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
            self._adopt(run, None if meta is None else meta.get("parent_run_id"))
            if in_order:
                self._place(run, key)
            else:
                run.key = key

    def _adopt(self, run: Run, parent_id: str | None) -> None:
        if run.parent_id != parent_id:
            if run.parent_id is not None:
                self._children[run.parent_id].discard(run.id)
            if parent_id is not None:
                self._children.setdefault(parent_id, set()).add(run.id)
            run.parent_id = parent_id

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
