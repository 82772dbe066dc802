"""The run ids among the names of folders in runs/, with or without valid runs in them, and case-insensitive lookup."""

from __future__ import annotations

import logging
from collections.abc import Collection

from ..names import is_run_id

log = logging.getLogger(__name__)


class RunIds:
    """The ids of a store's runs. Not thread-safe: callers hold a lock."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        #: Ids with capital letters, by their lower-case form.
        self._by_lower: dict[str, set[str]] = {}
        #: Names of folders that are not valid run ids.
        self._strays: set[str] = set()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def all(self) -> Collection[str]:
        """All ids, as a live collection."""
        return self._ids

    @property
    def strays(self) -> Collection[str]:
        """The names of folders that are not valid run ids, as a live collection."""
        return self._strays

    def add(self, name: str) -> bool:
        """Add the name of a folder, and return whether it is new. A name that is not a valid run id is logged once."""
        if not is_run_id(name):
            is_new = name not in self._strays
            if is_new:
                log.warning("runs/%r is passed over: it is no folder of a run", name)
                self._strays.add(name)
            return is_new
        if name in self._ids:
            return False
        self._ids.add(name)
        if name != name.lower():
            self._by_lower.setdefault(name.lower(), set()).add(name)
        return True

    def discard(self, name: str) -> None:
        """Remove the name of a folder, if it is known."""
        self._strays.discard(name)
        self._ids.discard(name)
        alike = self._by_lower.get(name.lower())
        if alike is not None:
            alike.discard(name)
            if not alike:
                del self._by_lower[name.lower()]

    def find_alike(self, run_id: str) -> str | None:
        """Return an id that differs from `run_id` only in case, or None; the all-lower-case one is preferred."""
        lower = run_id.lower()
        return lower if lower in self._ids else min(self._by_lower.get(lower, ()), default=None)
