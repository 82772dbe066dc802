"""The lines of a run's artifacts.jsonl, uploads and deletions, and the artifacts that they add up to."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from ...errors import InvalidInput
from ...store import disk_names
from ..names import check_artifact_name


class Artifact(NamedTuple):
    """The last upload under a name."""

    name: str
    sha256: str
    size: int
    timestamp: int


class Deletion(NamedTuple):
    """The deletion of what was uploaded under a name."""

    name: str
    timestamp: int

    def to_json(self) -> dict[str, Any]:
        """Return the line of artifacts.jsonl."""
        return {"name": self.name, "deleted": True, "timestamp": self.timestamp}


Line = Artifact | Deletion


def line_from(record: dict[str, Any]) -> Line | None:
    """The upload or deletion that a line of artifacts.jsonl tells of; None where it is no good one."""
    name, sha256, size, timestamp = (record.get(field) for field in Artifact._fields)
    if not isinstance(name, str) or type(timestamp) is not int:
        return None
    with contextlib.suppress(InvalidInput):
        if record.get("deleted") is True:
            return Deletion(check_artifact_name(name), timestamp)
        if isinstance(sha256, str) and type(size) is int:
            return Artifact(check_artifact_name(name), sha256, size, timestamp)
    return None


def is_deleted(artifact: Artifact, elsewhere: Artifacts, uploads: Collection[Line | None]) -> bool:
    """Whether another copy of the run, which has had these `uploads`, deleted an artifact of this one.

    It did where the deletion came behind this very upload, or is not older than it.
    """
    deleted_at = elsewhere.deleted.get(artifact.name)
    return deleted_at is not None and (deleted_at >= artifact.timestamp or artifact in uploads)


class Artifacts(dict[str, Artifact]):
    """By name. The names that were deleted are remembered, for they decide how others are spelled on disk."""

    __slots__ = ("_order", "_spellings", "deleted")
    #: Every name, in the order in which they were first stored; None where that is the order of this dict.
    _order: dict[str, None] | None
    _spellings: disk_names.Spellings | None
    #: When the names that are gone were deleted, in ms since 1970.
    deleted: dict[str, int]

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        super().__init__()
        self._order = self._spellings = None
        self.deleted = {}
        for line in lines:
            self.add(line)

    def add(self, line: Line) -> None:
        """Take in the next line of the file; only before anybody else has these artifacts."""
        if isinstance(line, Deletion):
            if self._order is None:
                self._order = dict.fromkeys(self)
            self.pop(line.name, None)
            self.deleted[line.name] = line.timestamp
        else:
            self[line.name] = line
            self.deleted.pop(line.name, None)
        if self._order is not None:
            self._order.setdefault(line.name)

    @property
    def all_names(self) -> Collection[str]:
        """Every name that there ever was, in the order in which they were first stored."""
        return self if self._order is None else self._order

    @property
    def spellings(self) -> disk_names.Spellings:
        """The spellings of all names, and maybe of some that were stored since."""
        if self._spellings is None:
            self._spellings = disk_names.Spellings(self.all_names, living=self)
        return self._spellings

    def spell_all(self) -> dict[str, str]:
        """The spelling of each artifact, by its name."""
        return {name: self.spellings.of(name) for name in self}

    def including(self, artifact: Artifact) -> Artifacts:
        """These and one that was just stored; the caller holds the run.

        The spellings are taken along, for no name's changes by what comes after it: to make them anew would cost an
        upload beside 10,000 artifacts 80 ms.
        """
        after = self._copy()
        after.add(artifact)
        after._spellings = self.spellings
        after._spellings.add(artifact.name)
        return after

    def without(self, deletions: Iterable[Deletion]) -> Artifacts:
        """These after some were deleted; the caller holds the run."""
        after = self._copy()
        after._spellings = self._spellings
        for deletion in deletions:
            after.add(deletion)
            if after._spellings is not None:
                after._spellings.remove(deletion.name)
        return after

    def _copy(self) -> Artifacts:
        after = Artifacts()
        after.update(self)
        after._order = None if self._order is None else dict(self._order)
        after.deleted = dict(self.deleted)
        return after
