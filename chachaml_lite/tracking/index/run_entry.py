"""One run in memory: its parts as they were read, each for as long as its file is the one that was read."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from ...errors import StorageFault
from ...store.reading import NO_FILE, Stamp
from ...store.store import Store
from ..series.summary import Summary
from .artifact_lines import Artifacts
from .run_parts import ARTIFACTS, FILES, META, PARAMS, SUMMARY, Kept, keep_summary, read_part

log = logging.getLogger(__name__)

#: A run that is "running" and wrote nothing for so long may have died: its status is what was said, and nothing more.
SILENT_AFTER_MS = 3_600_000
#: One that wrote nothing for so long will not write again at once.
_REST_SECONDS = 60

ALL_PARTS = (META, PARAMS, SUMMARY, ARTIFACTS)
#: Held for the two assignments by which a run gets a part, never longer: one for all runs, for it costs 100 bytes each.
_keeping = threading.Lock()
#: The parts of a run of which none was read yet: one list for all of them, never written to (100 bytes a run).
_NONE_READ: list[Kept | None] = [None] * 4


class Run:
    """One run, as of the last look at it. A part is read when it is asked for; a value never changes in place."""

    __slots__ = ("_good_meta", "_parts", "_stamps", "_store", "epoch", "groups", "id", "key", "placed_by")

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self.id = run_id
        #: By part; None for a file that was never looked at, which waits until its part is asked for.
        self._stamps: list[Stamp | None] = [None] * 4
        self._parts = _NONE_READ
        self._good_meta: dict[str, Any] | None = None
        #: Another number whenever metrics.jsonl was changed by anybody but us: within one, it has only grown.
        self.epoch = 0
        #: Where the run stands among all (by start time, then id); None while it is no good run.
        self.key: tuple[int, str] | None = None
        #: The groups that the catalog has it in.
        self.groups: tuple[tuple[str, str], ...] = ()
        #: The stamp of the meta.json that both come from.
        self.placed_by: Stamp | None = None

    @property
    def meta(self) -> dict[str, Any]:
        """meta.json; the last good one, should the run be removed or damaged while somebody works with it."""
        meta: dict[str, Any] | None = self.part(META).value
        return self._good_meta or {} if meta is None else meta

    @property
    def params(self) -> dict[str, Any]:
        """params.json; none where there is no such file."""
        params: dict[str, Any] = self.part(PARAMS).value
        return params

    @property
    def summary(self) -> Summary:
        """The summaries of the run's series, by key."""
        summary: Summary = self.part(SUMMARY).value
        return summary

    @property
    def artifacts(self) -> Artifacts:
        """The run's artifacts by name."""
        artifacts: Artifacts = self.part(ARTIFACTS).value
        return artifacts

    @property
    def last_write_ms(self) -> int:
        """Time of the last write to one of the run's files, in ms since 1970, by the file system's clock."""
        return max(stamp.mtime_ns for stamp in self.stamps) // 1_000_000

    @property
    def last_write_time(self) -> int:
        """The same as the API shows it: not before the end, though a file system's clock ticks behind ours."""
        end_time: int = self.meta.get("end_time") or self.meta["start_time"]
        return max(self.last_write_ms, end_time)

    def silent_ms(self, now_ms: int) -> int | None:
        """For how long a run that is "running" has written nothing; None while that isn't long, and after its end."""
        silence_ms = now_ms - self.last_write_time if self.meta["status"] == "running" else 0
        return silence_ms if silence_ms >= SILENT_AFTER_MS else None

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is being written, as far as can be told: then what is made of the files is worth keeping."""
        return self.meta["status"] != "running" or time.time() - self.last_write_ms / 1000 >= _REST_SECONDS

    @property
    def duration_ms(self) -> int | None:
        """The duration of the run; None before its end."""
        end_time: int | None = self.meta.get("end_time")
        return None if end_time is None else end_time - int(self.meta["start_time"])

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """The state of the run's files: the same as long as nothing was written."""
        return tuple(self._looked_at(number) for number in ALL_PARTS)

    def _looked_at(self, number: int) -> Stamp:
        stamp = self._stamps[number]
        if stamp is None:
            self.look((number,))
            stamp = self._stamps[number]
        return NO_FILE if stamp is None else stamp

    def part(self, number: int) -> Kept:
        """A part with its stamp and its damage."""
        cached_part = self._parts[number]
        if cached_part is not None and cached_part.stamp == self._stamps[number]:
            return cached_part
        if number != SUMMARY:
            return self._read(number)
        # Points may be many: whoever is just adding some has them added up already when the lock is free.
        with self._store.locked_run(self.id):
            self.look((SUMMARY,))
            cached_part = self._parts[SUMMARY]
            return (
                cached_part
                if cached_part is not None and cached_part.stamp == self._stamps[SUMMARY]
                else self._read(SUMMARY)
            )

    def _read(self, number: int) -> Kept:
        before = self._parts[number]
        if number == SUMMARY:
            self.epoch += 1
        part = read_part(self._store, self.id, number, self._stamps[number])
        if part.damage and not (before and before.damage == part.damage):
            log.warning("run %r is damaged: %s", self.id, part.damage)
        with _keeping:
            # Not where something was put here meanwhile: a writer's next step would build on what is old by now.
            if self._parts[number] is before:
                # Should the file have changed since it was looked at, what was read is the newer.
                self._stamps[number] = part.stamp
                self._keep(number, part)
        if number == SUMMARY and not part.is_stored and self.part(META).value and self.is_at_rest:
            keep_summary(self._store, self.id, part)
        return part

    def look_again(self) -> bool:
        """Look at the files that were looked at before, for nothing was ever told of the others; see `look`."""
        changed = False
        for number, before in enumerate(self._stamps):
            if before is not None:
                stamp = self._store.runs.stamp(self.id, FILES[number])
                if stamp != before:
                    self._stamps[number] = stamp
                    changed = True
        return changed

    def look(self, numbers: tuple[int, ...] = ALL_PARTS) -> bool:
        """Look at the files behind some parts; whether one isn't what it was, or the run is seen for the first time."""
        changed = False
        names = FILES if numbers is ALL_PARTS else [FILES[number] for number in numbers]
        for number, stamp in zip(numbers, self._store.runs.stamps(self.id, names), strict=True):
            before = self._stamps[number]
            if stamp != before:
                self._stamps[number] = stamp
                changed = changed or before is not None or number == META
        return changed

    def put(self, number: int, value: Any, stamp: Stamp) -> None:
        """Keep what was just written to a part's file."""
        with _keeping:
            part = self._parts[number]
            self._stamps[number] = stamp
            self._keep(number, Kept(stamp, value, part.damage if part else None))

    def _keep(self, number: int, part: Kept) -> None:
        if self._parts is _NONE_READ:
            self._parts = [None] * 4
        self._parts[number] = part
        if number == META and part.value is not None:
            self._good_meta = part.value

    def place(self, stamp: Stamp, key: tuple[int, str], groups: tuple[tuple[str, str], ...]) -> None:
        """Give a run that nobody knows yet the place that its meta.json of this stamp gives it."""
        self._stamps[META] = self.placed_by = stamp
        self.key, self.groups = key, groups

    def refuse_damaged(self, number: int) -> None:
        """Raise StorageFault where a write would build on a file that can't be believed."""
        damage = self.part(number).damage
        if damage:
            raise StorageFault(f"{damage}, so nothing is written to it; mend or move that file of the run first")

    def damage(self) -> str | None:
        """The damage of the run's files; None when there is none. Reads all of them."""
        numbers = ALL_PARTS if self.part(META).value is not None else (META,)
        return "; ".join(text for number in numbers if (text := self.part(number).damage)) or None
