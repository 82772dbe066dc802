"""Inspection of a store from outside, file by file, while its server may be writing: without locks, and without trust.

A file is named by its path below the data folder ("runs/RUN/metrics.jsonl"), as in reports.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import layout
from .atomic import open_to_append, replacing, temporary, write_all
from .checksum import PIECE_BYTES, Checksum, read_pieces
from .durability import Durability
from .layout import Layout
from .reading import MAX_LINE_BYTES, Damaged, Stamp, open_regular, stamp, stamp_of

#: Suffix of the file that a file's damaged lines are moved to.
ASIDE = ".damaged"


class Line(NamedTuple):
    """A line of a file: its number from 1, its start and end offsets in bytes (line end included), and its content."""

    number: int
    start: int
    end: int
    #: Without its line end; None if the line is longer than any that the store writes.
    content: bytes | None
    #: Whether the line has its line end.
    is_whole: bool


class RunContents(NamedTuple):
    """The entries of a run's folder other than its own named files."""

    #: The stamps of the files in blobs/, by their path there.
    blobs: dict[str, Stamp]
    #: Paths in blobs/ of anything that is neither a file nor a folder.
    irregular: list[str]
    #: Names of temporary files left by a killed server.
    temporaries: list[str]


class Inspection:
    """The files of one store, for `verify`."""

    def __init__(self, places: Layout, durability: Durability, *, is_ours: bool) -> None:
        """Inspect the store at `places`. `is_ours`: this process owns the store, so nobody else writes to it."""
        self._places = places
        self._durability = durability
        self._is_ours = is_ours

    # -- names

    def run_file(self, run_id: str, name: str) -> str:
        """Return the path of a run's file for reports; `name` is one of `layout`'s constants, or "" for the folder."""
        return self._relative_path(self._places.run_file(run_id, name)).rstrip("/")

    def history(self, folder: str) -> str:
        """Return the path of a model's history for reports."""
        return self._relative_path(self._places.history(folder))

    def experiment(self, file: str) -> str:
        """Return the path of an experiment's file for reports."""
        return self._relative_path(self._places.experiment(file))

    def _relative_path(self, path: str) -> str:
        return path[len(self._places.root) + 1 :]

    def _path(self, where: str) -> str:
        return f"{self._places.root}/{where}"

    # -- reading

    def is_served(self) -> bool:
        """Return whether another process owns the store now.

        This takes the store's lock as a shared one, if it can, and releases it at once.
        """
        if self._is_ours:
            return False
        try:
            descriptor = os.open(self._places.lock_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def has_run(self, run_id: str) -> bool:
        """Return whether the run's folder exists and is a real folder, not a link."""
        path = self._places.run(run_id)
        return os.path.isdir(path) and not os.path.islink(path)

    def incoming(self) -> list[str]:
        """Return the names of the unfinished files and folders in runs/.incoming, sorted."""
        try:
            return sorted(os.listdir(self._places.incoming))
        except OSError:
            return []

    def in_incoming(self, name: str) -> str:
        """Return the path of an entry of runs/.incoming for reports."""
        return self._relative_path(f"{self._places.incoming}/{name}")

    def is_arriving(self, run_id: str, sha256: str) -> bool:
        """Return whether bytes with this checksum have been received and are about to be moved into the run."""
        return any(name.startswith(f"{run_id}~{sha256}~") for name in self.incoming())

    def stamp(self, where: str) -> Stamp:
        """Return the current stamp of a file."""
        return stamp(self._path(where))

    def list_run(self, run_id: str) -> RunContents:
        """List a run's folder, without following links. Raises OSError."""
        folder = self._places.run(run_id)
        names = (layout.META, layout.PARAMS, layout.SUMMARY, layout.THINNED, layout.METRICS, layout.ARTIFACTS)
        temporaries = [os.path.basename(temporary(f"{folder}/{name}")) for name in names]
        result = RunContents({}, [], [name for name in temporaries if os.path.lexists(f"{folder}/{name}")])
        blobs = self._places.run_file(run_id, layout.BLOBS)
        if os.path.lexists(blobs) and (os.path.islink(blobs) or not os.path.isdir(blobs)):
            result.irregular.append("")
            return result
        waiting = [blobs]
        while waiting:
            inner = waiting.pop()
            with contextlib.suppress(FileNotFoundError), os.scandir(inner) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        result.blobs[entry.path[len(blobs) + 1 :]] = stamp(entry.path)
                    else:
                        result.irregular.append(entry.path[len(blobs) + 1 :])
        return result

    def sha256(self, where: str, read: Callable[[int], object]) -> str:
        """Return the sha256 of a file. `read` is called with the size of each piece read, in bytes.

        Raises OSError, Damaged.
        """
        checksum = Checksum()
        with os.fdopen(open_regular(self._path(where)), "rb", buffering=0) as file:
            for piece in checksum.pass_on(read_pieces(file)):
                read(len(piece))
        return checksum.sha256

    def sum_of(self, run_id: str, name: str) -> str | None:
        """Return the sha256 of a run's file, or None if there is no such file. Raises OSError, Damaged."""
        try:
            return self.sha256(self.run_file(run_id, name), lambda _: None)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def lines(self, where: str, max_bytes: int | None = None) -> Iterator[Line]:
        """Yield the lines of a file up to its end when it was opened; nothing if there is no such file.

        However long a line is, it takes no more memory than the longest one that the store writes. Raises OSError;
        Damaged for a link or anything but a regular file, or for more than `max_bytes` bytes.
        """
        try:
            descriptor = open_regular(self._path(where))
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            remaining = stamp_of(os.fstat(descriptor)).size
            if max_bytes is not None and remaining > max_bytes:
                raise Damaged(f"{os.path.basename(where)} has {remaining} bytes")
            number, start, end = 1, 0, 0
            begun: bytes | None = b""
            while remaining > 0 and (piece := file.read(min(remaining, PIECE_BYTES))):
                remaining -= len(piece)
                for part in _split(piece):
                    end += len(part)
                    is_whole = part.endswith(b"\n")
                    begun = begun + part if begun is not None and len(begun) < MAX_LINE_BYTES else None
                    if is_whole:
                        yield Line(number, start, end, None if begun is None else begun[:-1], True)
                        number, start, begun = number + 1, end, b""
            if end > start:
                yield Line(number, start, end, begun, False)

    # -- repairing; the caller owns the store

    def set_aside(self, where: str, spans: list[tuple[int, int]]) -> None:
        """Move parts of a file, given as start and end offsets in bytes, to the end of another file next to it.

        Raises OSError.

        They are in the other file, synced to disk, before the file's new content is put in place by one rename.
        """
        path = self._path(where)
        with os.fdopen(open_regular(path), "rb", buffering=0) as source:
            aside, _ = open_to_append(path + ASIDE)
            try:
                for start, end in spans:
                    _copy(source.fileno(), start, end, aside)
                    if os.pread(source.fileno(), 1, end - 1) != b"\n":
                        write_all(aside, b"\n")
                self._durability.sync(aside)
            finally:
                os.close(aside)
            with replacing(path, self._durability) as replacement:
                at = 0
                for start, end in [*spans, (os.fstat(source.fileno()).st_size, 0)]:
                    _copy(source.fileno(), at, start, replacement.descriptor)
                    at = end

    def remove(self, run_id: str, name: str) -> None:
        """Remove a file that can be rebuilt or never was in place: summary.json, or one of `RunContents.temporaries`.

        A file that is already gone is no error. Raises OSError.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._places.run_file(run_id, name))


def _split(piece: bytes) -> Iterator[bytes]:
    """Yield the lines of a piece with their ends. Unlike `splitlines`, a carriage return does not end a line."""
    *lines, rest = piece.split(b"\n")
    yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def _copy(source: int, start: int, end: int, target: int) -> None:
    while start < end and (chunk := os.pread(source, min(end - start, PIECE_BYTES), start)):
        write_all(target, chunk)
        start += len(chunk)
