"""A run in memory: its parts, each cached while its file is unchanged."""

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

#: A run that is "running" but wrote nothing for this long may have died; its stored status is not changed.
SILENT_AFTER_MS = 3_600_000
#: A run that wrote nothing for this long is not expected to write again at once.
_REST_SECONDS = 60

ALL_PARTS = (META, PARAMS, SUMMARY, ARTIFACTS)
#: Held only for the two assignments that cache a part. One lock for all runs, since a lock takes 100 bytes.
_keeping = threading.Lock()
#: The parts of a run before any was read: one list shared by all runs, never modified (saves 100 bytes per run).
_NONE_READ: list[Kept | None] = [None] * 4


class Run:
    """A run, as of the last look at its files. A part is read on first use; a value never changes in place."""

    __slots__ = ("_good_meta", "_parts", "_stamps", "_store", "epoch", "groups", "id", "key", "placed_by")

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self.id = run_id
        #: By part; None for a file that was never checked, which waits until its part is needed.
        self._stamps: list[Stamp | None] = [None] * 4
        self._parts = _NONE_READ
        self._good_meta: dict[str, Any] | None = None
        #: A counter that changes whenever another program changes metrics.jsonl. In between, the file has only grown.
        self.epoch = 0
        #: The run's position among all runs (start time, then id); None if it is not a valid run.
        self.key: tuple[int, str] | None = None
        #: The groups in which the catalog lists the run.
        self.groups: tuple[tuple[str, str], ...] = ()
        #: The stamp of the meta.json that determined the position and the groups.
        self.placed_by: Stamp | None = None

    @property
    def meta(self) -> dict[str, Any]:
        """meta.json; the last valid one if the run is removed or damaged while it is in use."""
        meta: dict[str, Any] | None = self.part(META).value
        return self._good_meta or {} if meta is None else meta

    @property
    def params(self) -> dict[str, Any]:
        """params.json; empty if there is no such file."""
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
        """The time of the last write to one of the run's files, in ms since 1970, by the file system's clock."""
        return max(stamp.mtime_ns for stamp in self.stamps) // 1_000_000

    @property
    def last_write_time(self) -> int:
        """The time of the last write for the API. It is never before the end, though a file system's clock may lag."""
        end_time: int = self.meta.get("end_time") or self.meta["start_time"]
        return max(self.last_write_ms, end_time)

    def silent_ms(self, now_ms: int) -> int | None:
        """Return how long, in ms, a "running" run has written nothing; None if that is short or the run has ended."""
        silence_ms = now_ms - self.last_write_time if self.meta["status"] == "running" else 0
        return silence_ms if silence_ms >= SILENT_AFTER_MS else None

    @property
    def is_at_rest(self) -> bool:
        """Whether the run no longer seems to be written to, so that data derived from its files is worth storing."""
        return self.meta["status"] != "running" or time.time() - self.last_write_ms / 1000 >= _REST_SECONDS

    @property
    def duration_ms(self) -> int | None:
        """The duration of the run in ms; None before its end."""
        end_time: int | None = self.meta.get("end_time")
        return None if end_time is None else end_time - int(self.meta["start_time"])

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """The stamps of the run's files, which are the same as long as nothing is written."""
        return tuple(self._look_at(number) for number in ALL_PARTS)

    def _look_at(self, number: int) -> Stamp:
        stamp = self._stamps[number]
        if stamp is None:
            self.look((number,))
            stamp = self._stamps[number]
        return NO_FILE if stamp is None else stamp

    def part(self, number: int) -> Kept:
        """Return a part with its stamp and its damage."""
        cached_part = self._parts[number]
        if cached_part is not None and cached_part.stamp == self._stamps[number]:
            return cached_part
        if number != SUMMARY:
            return self._read(number)
        # There may be many points. A thread that is adding some has updated the summary when it releases the lock.
        with self._store.lock_run(self.id):
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
            # Unless a writer has stored a value meanwhile: its next step must not build on the older one read here.
            if self._parts[number] is before:
                # If the file has changed since it was checked, the stamp of what was read is the newer one.
                self._stamps[number] = part.stamp
                self._keep(number, part)
        if number == SUMMARY and not part.is_stored and self.part(META).value and self.is_at_rest:
            keep_summary(self._store, self.id, part)
        return part

    def look_again(self) -> bool:
        """Check the files that were checked before, since nothing was reported of the others; return as `look` does."""
        changed = False
        for number, before in enumerate(self._stamps):
            if before is not None:
                stamp = self._store.runs.stamp(self.id, FILES[number])
                if stamp != before:
                    self._stamps[number] = stamp
                    changed = True
        return changed

    def look(self, numbers: tuple[int, ...] = ALL_PARTS) -> bool:
        """Check the files of some parts. Returns True if one has changed, or if the run is seen for the first time."""
        changed = False
        names = FILES if numbers is ALL_PARTS else [FILES[number] for number in numbers]
        for number, stamp in zip(numbers, self._store.runs.stamps(self.id, names), strict=True):
            before = self._stamps[number]
            if stamp != before:
                self._stamps[number] = stamp
                changed = changed or before is not None or number == META
        return changed

    def put(self, number: int, value: Any, stamp: Stamp) -> None:
        """Store the value and stamp of a part whose file was just written."""
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
        """Set the position of a new run, as determined by its meta.json with this stamp."""
        self._stamps[META] = self.placed_by = stamp
        self.key, self.groups = key, groups

    def refuse_damaged(self, number: int) -> None:
        """Raise StorageFault if the file of a part is damaged, so that no write builds on it."""
        damage = self.part(number).damage
        if damage:
            raise StorageFault(f"{damage}, so nothing is written to it; repair or move that file of the run first")

    def damage(self) -> str | None:
        """Return the damage of the run's files, or None. Reads all of them."""
        numbers = ALL_PARTS if self.part(META).value is not None else (META,)
        return "; ".join(text for number in numbers if (text := self.part(number).damage)) or None
