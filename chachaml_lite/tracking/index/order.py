"""The order of runs, by start time and then id, in the list of all runs and in groups of runs.

Every group is kept sorted, so that a page of an experiment's runs is as fast as a page of all runs.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence

from ...store.run_index import Place
from .run_entry import Run

#: A run's position: start time in ms, and id.
Key = tuple[int, str]
#: A group of runs: a field, and the value that they have in common.
Group = tuple[str, str]
ALL: Group = ("", "")
#: The group of all runs in the trash, and the field of the groups by experiment of runs in the trash.
TRASH: Group = ("in the trash", "")
TRASHED = "experiment in the trash"


class Groups:
    """The groups of runs. Runs of an experiment share these objects; separate ones would take 200 bytes per run."""

    def __init__(self) -> None:
        self._live: dict[str, tuple[Group, Group]] = {}
        self._trashed: dict[str, tuple[Group, Group]] = {}

    def of(self, place: Place, *, is_trashed: bool) -> tuple[Group, ...]:
        """Return the groups of a run."""
        name = place.experiment
        if is_trashed:
            return self._trashed.setdefault(name, (TRASH, (TRASHED, name)))
        live = self._live.setdefault(name, (ALL, ("experiment", name)))
        return live if place.parent_run_id is None else (*live, ("parent_run_id", place.parent_run_id))


def place_of(key: Key, groups: tuple[Group, ...]) -> Place:
    """Return the saved form of the position of a run that is not in the trash."""
    return Place(key[0], groups[1][1], groups[2][1] if len(groups) > 2 else None)


class Order:
    """The sorted keys of runs, by group. Not thread-safe: callers hold a lock."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, list[Key]]] = {}

    def keys(self, group: Group = ALL) -> Sequence[Key]:
        """Return the keys of a group, ascending."""
        return self._groups.get(group[0], {}).get(group[1], [])

    def values(self, field: str) -> list[str]:
        """Return the values that occur in a field, sorted."""
        return sorted(self._groups.get(field, ()))

    def place(self, run: Run, key: Key | None, groups: tuple[Group, ...]) -> None:
        """Set or change a run's position, or remove it if `key` is None."""
        if run.key == key and run.groups == groups:
            return
        if run.key is not None:
            for field, value in run.groups:
                _remove(self._groups[field][value], run.key)
                if not self._groups[field][value]:
                    del self._groups[field][value]
        if key is not None:
            for field, value in groups:
                bisect.insort(self._groups.setdefault(field, {}).setdefault(value, []), key)
        run.key, run.groups = key, groups

    def place_all(self, runs: Iterable[Run]) -> None:
        """Rebuild the order from the keys and groups of all runs."""
        self._groups = {}
        for run in sorted((run for run in runs if run.key is not None), key=_key):
            for field, value in run.groups:
                self._groups.setdefault(field, {}).setdefault(value, []).append(_key(run))


def _key(run: Run) -> Key:
    if run.key is None:
        raise AssertionError("a run without a place")
    return run.key


def _remove(keys: list[Key], key: Key) -> None:
    at = bisect.bisect_left(keys, key)
    if at < len(keys) and keys[at] == key:
        del keys[at]
