"""A cache of what was made of files, each value believed while the state of its file is the one it was made of."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
#: What tells a change: a file's stamp, mostly.
State = TypeVar("State", bound=Hashable)
Value = TypeVar("Value")


class StampCache(Generic[Key, State, Value]):
    """Values by key. Of more than `max_values` the one that was used least recently goes; None: all stay."""

    def __init__(self, max_values: int | None = None) -> None:
        self._max_values = max_values
        self._entries: OrderedDict[Key, tuple[State, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, state: State) -> Value | None:
        """Return the value that was made of this very state; None where there is none."""
        entry = self._entries.get(key)
        if entry is None or entry[0] != state:
            return None
        if self._max_values is not None:
            with self._lock:
                if key in self._entries:
                    self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Key, state: State, value: Value) -> None:
        """Keep a value in place of what the key had."""
        with self._lock:
            self._entries[key] = (state, value)
            self._entries.move_to_end(key)
            if self._max_values is not None and len(self._entries) > self._max_values:
                self._entries.popitem(last=False)

    def get_any(self, key: Key) -> Value | None:
        """Return the value of a key, of whatever state it was made; None where there is none."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def remove(self, key: Key) -> None:
        """Forget a key, if it is there."""
        with self._lock:
            self._entries.pop(key, None)

    def items(self) -> list[tuple[Key, Value]]:
        """Return what there is now."""
        with self._lock:
            return [(key, value) for key, (_, value) in self._entries.items()]
