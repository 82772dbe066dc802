"""The lines of a run's artifacts.jsonl (uploads and deletions), and the artifacts that result from them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from ...errors import InvalidInput
from ...store import disk_names
from ..names import check_artifact_name


class Artifact(NamedTuple):
    """The last upload under a name: size in bytes, and time in ms since 1970."""

    name: str
    sha256: str
    size: int
    timestamp: int


class Deletion(NamedTuple):
    """The deletion of the artifact of a name, at a time in ms since 1970."""

    name: str
    timestamp: int

    def to_json(self) -> dict[str, Any]:
        """Return the line of artifacts.jsonl."""
        return {"name": self.name, "deleted": True, "timestamp": self.timestamp}


Line = Artifact | Deletion


def line_from(record: dict[str, Any]) -> Line | None:
    """Parse a record of artifacts.jsonl as an upload or deletion; return None if it is invalid."""
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
    """Return whether another copy of the run, which has had these `uploads`, deleted an artifact of this copy.

    It did if it deleted this very upload, or if its deletion is not older than the upload.
    """
    deleted_at = elsewhere.deleted.get(artifact.name)
    return deleted_at is not None and (deleted_at >= artifact.timestamp or artifact in uploads)


class Artifacts(dict[str, Artifact]):
    """The artifacts of a run by name. Deleted names are kept, since they affect how others are spelled on disk."""

    __slots__ = ("_order", "_spellings", "deleted")
    #: All names in the order of their first upload; None if that is the order of this dict.
    _order: dict[str, None] | None
    _spellings: disk_names.Spellings | None
    #: The time of deletion of each deleted name, in ms since 1970.
    deleted: dict[str, int]

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        super().__init__()
        self._order = self._spellings = None
        self.deleted = {}
        for line in lines:
            self.add(line)

    def add(self, line: Line) -> None:
        """Add the next line of the file. Only allowed before these artifacts are shared between threads."""
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
        """All names that ever existed, in the order of their first upload."""
        return self if self._order is None else self._order

    @property
    def spellings(self) -> disk_names.Spellings:
        """The spellings of all names on disk; they may include names that were added later."""
        if self._spellings is None:
            self._spellings = disk_names.Spellings(self.all_names, living=self)
        return self._spellings

    def spell_all(self) -> dict[str, str]:
        """Return the spelling of each artifact on disk, by name."""
        return {name: self.spellings.of(name) for name in self}

    def including(self, artifact: Artifact) -> Artifacts:
        """Return a copy with an artifact that was just stored. The caller holds the run's lock.

        The spellings are shared with the copy, since a new name never changes those of earlier ones. Computing them
        again would cost 80 ms for an upload next to 10,000 artifacts.
        """
        after = self._copy()
        after.add(artifact)
        after._spellings = self.spellings
        after._spellings.add(artifact.name)
        return after

    def without(self, deletions: Iterable[Deletion]) -> Artifacts:
        """Return a copy after some deletions. The caller holds the run's lock."""
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
