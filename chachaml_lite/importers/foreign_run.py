"""A run of another tool as a zip for POST /api/w/import: the folder of one of our runs, streamed.

The same source gives the same bytes: a second import finds the run unchanged, or appends what was logged since.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import strict_json
from ..errors import InvalidInput
from ..store import disk_names, layout
from ..store.checksum import checksum_of, read_pieces
from ..store.run_files import readable
from ..store.zip_stream import Entry, stream_zip
from ..tracking.names import check_artifact_name, check_name
from ..tracking.series.points import StoredPoint, format_points


@dataclass(frozen=True)
class ForeignArtifact:
    """An artifact: its checksum, size in bytes, upload time in ms, and a function that reads its bytes in pieces."""

    name: str
    sha256: str
    size: int
    timestamp: int
    read: Callable[[], Iterable[bytes]]


@dataclass
class ForeignRun:
    """A run of another tool in our terms, and a description of each part that could not be imported."""

    id: str
    #: The fields of meta.json, without id: experiment, name, status, start_time, end_time in ms, error, tags, note.
    meta: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    points: list[StoredPoint] = field(default_factory=list)
    artifacts: dict[str, ForeignArtifact] = field(default_factory=dict)
    #: Events of logged models.
    events: list[dict[str, Any]] = field(default_factory=list)
    omissions: list[str] = field(default_factory=list)

    def add_param(self, key: str, value: Any) -> None:
        """Add a param, or record that its name is invalid."""
        if self.accepts_name("param", key):
            self.params[key] = value

    def add_points(self, key: str, points: Sequence[StoredPoint]) -> None:
        """Add the points of a metric, or record that its name is invalid."""
        if self.accepts_name("metric", key):
            self.points += points

    def add_artifact(self, name: str, content: bytes, timestamp: int) -> None:
        """Add an artifact with its bytes, or record that its name is invalid. `timestamp` is in ms."""
        self._add(name, timestamp, lambda: [content])

    def add_file(self, name: str, path: Path, timestamp: int) -> None:
        """Add an artifact from a file that is read again by `to_zip`, or record that its name is invalid.

        Raises OSError.
        """
        self._add(name, timestamp, lambda: _pieces(path))

    def _add(self, name: str, timestamp: int, read: Callable[[], Iterable[bytes]]) -> None:
        try:
            check_artifact_name(name)
        except InvalidInput as fault:
            self.omissions.append(fault.detail)
            return
        checksum = checksum_of(read())
        self.artifacts[name] = ForeignArtifact(name, checksum.sha256, checksum.size, timestamp, read)

    def accepts_name(self, kind: str, name: str) -> bool:
        """Return whether a name is valid for a param, metric or tag, and record an invalid one."""
        try:
            check_name(kind, name)
        except InvalidInput as fault:
            self.omissions.append(fault.detail)
            return False
        return True

    def to_zip(self) -> Generator[bytes, None, None]:
        """Stream the zip of the run's folder; artifacts are read as they are added."""
        return stream_zip(self._entries())

    def _entries(self) -> Iterator[Entry]:
        yield self._entry(layout.META, readable(layout.META, {"id": self.id, **self.meta}))
        if self.params:
            yield self._entry(layout.PARAMS, readable(layout.PARAMS, self.params))
        if self.points:
            # By time first: a run that continues appends to the file, which a merge accepts.
            points = sorted(self.points, key=lambda point: (point[3], point[2]))
            yield self._entry(layout.METRICS, format_points(points).encode())
        if self.events:
            lines = "".join(strict_json.dumps(event) + "\n" for event in self.events)
            yield self._entry(layout.LOGGED_MODELS, lines.encode())
        if self.artifacts:
            uploads = sorted(self.artifacts.values(), key=lambda artifact: (artifact.timestamp, artifact.name))
            records = (
                {"name": each.name, "sha256": each.sha256, "size": each.size, "timestamp": each.timestamp}
                for each in uploads
            )
            yield self._entry(layout.ARTIFACTS, "".join(strict_json.dumps(each) + "\n" for each in records).encode())
            spellings = disk_names.spellings(each.name for each in uploads)
            for each in uploads:
                path = f"{self.id}/{layout.BLOBS}/{spellings[each.name]}"
                yield Entry(path, each.size, each.timestamp // 1000, each.read())

    def _entry(self, name: str, content: bytes) -> Entry:
        return Entry(f"{self.id}/{name}", len(content), self.meta["start_time"] // 1000, [content])


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from read_pieces(file)
