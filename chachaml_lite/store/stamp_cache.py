"""A cache of values derived from files; a value is valid while the state of its file is the one it was derived from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
#: The state that shows a change: usually a file's stamp.
State = TypeVar("State", bound=Hashable)
Value = TypeVar("Value")


class StampCache(Generic[Key, State, Value]):
    """Values by key. Beyond `max_values` the least recently used one is dropped; None means no limit."""

    def __init__(self, max_values: int | None = None) -> None:
        self._max_values = max_values
        self._entries: OrderedDict[Key, tuple[State, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, state: State) -> Value | None:
        """Return the value derived from exactly this state, or None."""
        entry = self._entries.get(key)
        if entry is None or entry[0] != state:
            return None
        if self._max_values is not None:
            with self._lock:
                if key in self._entries:
                    self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Key, state: State, value: Value) -> None:
        """Cache a value, in place of the key's previous one."""
        with self._lock:
            self._entries[key] = (state, value)
            self._entries.move_to_end(key)
            if self._max_values is not None and len(self._entries) > self._max_values:
                self._entries.popitem(last=False)

    def get_any(self, key: Key) -> Value | None:
        """Return the value of a key, whatever state it was derived from, or None."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def remove(self, key: Key) -> None:
        """Remove a key, if it is there."""
        with self._lock:
            self._entries.pop(key, None)

    def items(self) -> list[tuple[Key, Value]]:
        """Return the keys and values in the cache."""
        with self._lock:
            return [(key, value) for key, (_, value) in self._entries.items()]
