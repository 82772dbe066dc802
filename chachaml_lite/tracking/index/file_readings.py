"""The parsed files of a folder, each of which is read again only if its stamp has changed."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...store.reading import Stamp, StampCache

log = logging.getLogger(__name__)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Reading(Generic[Value]):
    """The content of a file as of a stamp, and its damage, if any."""

    stamp: Stamp
    value: Value
    damage: str | None = None


class FileReadings(Generic[Value]):
    """The readings of files by name. New damage is logged once."""

    def __init__(self, title: str, stamp: Callable[[str], Stamp], read: Callable[[str, Stamp], Reading[Value]]) -> None:
        """`title` is a file's name in the log, with %r for the key. `read` gets the stamp, and must not raise."""
        self._title = title
        self._stamp = stamp
        self._read = read
        self._cache: StampCache[str, Stamp, Reading[Value]] = StampCache()
        self._counting = threading.Lock()
        self._born = secrets.token_hex(4)
        #: A counter that changes whenever a reading does.
        self.changes = 0

    def get(self, name: str) -> Reading[Value]:
        """Return the current content of a file."""
        stamp = self._stamp(name)
        reading = self._cache.get(name, stamp)
        if reading is not None:
            return reading
        before, reading = self._cache.get_any(name), self._read(name, stamp)
        if reading.damage and not (before and before.damage == reading.damage):
            log.warning(f"{self._title} is damaged: %s", name, reading.damage)
        self.put(name, reading)
        return reading

    def get_all(self, names: Collection[str]) -> dict[str, Reading[Value]]:
        """Return the current content of these files, and drop all others from the cache."""
        for removed in {name for name, _ in self._cache.items()}.difference(names):
            self._cache.remove(removed)
            self._count_change()
        return {name: self.get(name) for name in names}

    def cached(self) -> list[Reading[Value]]:
        """Return the content of the files as of the last look."""
        return [reading for _, reading in self._cache.items()]

    def put(self, name: str, reading: Reading[Value]) -> None:
        """Store the content of a file that was just written or read."""
        self._cache.put(name, reading.stamp, reading)
        self._count_change()

    def version(self) -> str:
        """Return a text that changes whenever a reading does, for ETags."""
        return f"{self._born}-{self.changes}"

    def _count_change(self) -> None:
        with self._counting:  # if two changes were counted as one, the second would have no ETag of its own
            self.changes += 1
