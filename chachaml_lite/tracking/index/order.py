"""The order of runs: by start time, then id, among all and in each group of those that have something in common.

Every group is kept sorted, so that a page of an experiment's runs costs what a page of all runs costs.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence

from ...store.run_index import Place
from .run_entry import Run

#: Where a run stands: start time, id.
Key = tuple[int, str]
#: A field and the value that its runs have there.
Group = tuple[str, str]
ALL: Group = ("", "")
#: The group of the runs in the trash, and the field of those of one experiment.
TRASH: Group = ("in the trash", "")
TRASHED = "experiment in the trash"


class Groups:
    """The groups of runs, the same objects for all runs of one experiment: their own would take 200 bytes each."""

    def __init__(self) -> None:
        self._live: dict[str, tuple[Group, Group]] = {}
        self._trashed: dict[str, tuple[Group, Group]] = {}

    def of(self, place: Place, *, is_trashed: bool) -> tuple[Group, ...]:
        """The groups of a run."""
        name = place.experiment
        if is_trashed:
            return self._trashed.setdefault(name, (TRASH, (TRASHED, name)))
        live = self._live.setdefault(name, (ALL, ("experiment", name)))
        return live if place.parent_run_id is None else (*live, ("parent_run_id", place.parent_run_id))


def place_of(key: Key, groups: tuple[Group, ...]) -> Place:
    """The place that a run has by its key and its groups; of those that are not in the trash."""
    return Place(key[0], groups[1][1], groups[2][1] if len(groups) > 2 else None)


class Order:
    """The keys of runs, sorted, by group. Not locked: callers take turns."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, list[Key]]] = {}

    def keys(self, group: Group = ALL) -> Sequence[Key]:
        """The keys of a group, ascending."""
        return self._groups.get(group[0], {}).get(group[1], [])

    def values(self, field: str) -> list[str]:
        """The values that runs have in a field, sorted."""
        return sorted(self._groups.get(field, ()))

    def place(self, run: Run, key: Key | None, groups: tuple[Group, ...]) -> None:
        """Give a run its place, or another one, or none (key None)."""
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
        """Make the order anew, from the key and the groups that each run says it has."""
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
