"""A store looked at from outside, file by file, while its server may be writing: nothing is believed, nothing is held.

A file is named by its path below the data folder ("runs/RUN/metrics.jsonl"), as reports show it.
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

#: What a file's damaged lines are moved to, beside it.
ASIDE = ".damaged"


class Line(NamedTuple):
    """A line of a file: its number from 1, where it begins and ends (its line end included), and what it holds."""

    number: int
    start: int
    end: int
    #: Without its line end; None for one that is longer than any of ours.
    content: bytes | None
    #: Whether it has its line end.
    is_whole: bool


class Found(NamedTuple):
    """The entries of a run's folder besides its own files, which have names."""

    #: The files in blobs/, by their path there.
    blobs: dict[str, Stamp]
    #: Paths in blobs/ of what is neither a file nor a folder.
    irregular: list[str]
    #: Names of what a killed server was about to put in place.
    temporaries: list[str]


class Inspection:
    """The files of one store, for `verify`."""

    def __init__(self, places: Layout, durability: Durability, *, is_ours: bool) -> None:
        """`is_ours`: this process owns the store, so that nobody else writes to it."""
        self._places = places
        self._durability = durability
        self._is_ours = is_ours

    # -- names

    def run_file(self, run_id: str, name: str) -> str:
        """The name of a run's file in reports; `name` is one of `layout`'s, or "" for the folder."""
        return self._relative_path(self._places.run_file(run_id, name)).rstrip("/")

    def history(self, folder: str) -> str:
        """The name of a model's history in reports."""
        return self._relative_path(self._places.history(folder))

    def experiment(self, file: str) -> str:
        """The name of an experiment's file in reports."""
        return self._relative_path(self._places.experiment(file))

    def _relative_path(self, path: str) -> str:
        return path[len(self._places.root) + 1 :]

    def _path(self, where: str) -> str:
        return f"{self._places.root}/{where}"

    # -- looking

    def is_served(self) -> bool:
        """Whether another process owns the store now: its lock is asked for as one that is shared, and given back."""
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
        """Whether the run's folder is there, and is one."""
        path = self._places.run(run_id)
        return os.path.isdir(path) and not os.path.islink(path)

    def incoming(self) -> list[str]:
        """The names of what is not whole yet, or never was made so, in runs/.incoming."""
        try:
            return sorted(os.listdir(self._places.incoming))
        except OSError:
            return []

    def in_incoming(self, name: str) -> str:
        """The name of an entry of runs/.incoming in reports."""
        return self._relative_path(f"{self._places.incoming}/{name}")

    def is_arriving(self, run_id: str, sha256: str) -> bool:
        """Whether bytes of that sum are received, and about to get their name in the run."""
        return any(name.startswith(f"{run_id}~{sha256}~") for name in self.incoming())

    def stamp(self, where: str) -> Stamp:
        """The stamp of what is there now."""
        return stamp(self._path(where))

    def found(self, run_id: str) -> Found:
        """List a run's folder. Links are not followed. Raises OSError."""
        folder = self._places.run(run_id)
        names = (layout.META, layout.PARAMS, layout.SUMMARY, layout.THINNED, layout.METRICS, layout.ARTIFACTS)
        temporaries = [os.path.basename(temporary(f"{folder}/{name}")) for name in names]
        result = Found({}, [], [name for name in temporaries if os.path.lexists(f"{folder}/{name}")])
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
        """The sum of a file's bytes; `read` is told how many were read, time and again. Raises OSError, Damaged."""
        checksum = Checksum()
        with os.fdopen(open_regular(self._path(where)), "rb", buffering=0) as file:
            for piece in checksum.pass_on(read_pieces(file)):
                read(len(piece))
        return checksum.sha256

    def sum_of(self, run_id: str, name: str) -> str | None:
        """The sum of a file of a run; None where there is none. Raises OSError, Damaged."""
        try:
            return self.sha256(self.run_file(run_id, name), lambda _: None)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def lines(self, where: str, max_bytes: int | None = None) -> Iterator[Line]:
        """The lines of a file up to where it ended when it was opened; none, where there is no file. OSError; Damaged.

        However long a line is, it takes no more memory than one of ours may.
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
        """Move parts of a file, given by where they begin and end, to the end of another one beside it. Raises OSError.

        They are in the other one, on the disk, before the file gets its new content, in one rename.
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
        """Remove what can be made anew, or was never put in place: summary.json, or one of `Found.temporaries`.

        Fine when it is gone. Raises OSError.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._places.run_file(run_id, name))


def _split(piece: bytes) -> Iterator[bytes]:
    """The lines of a piece with their ends; not by `splitlines`, which takes a carriage return for an end, too."""
    *lines, rest = piece.split(b"\n")
    yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def _copy(source: int, start: int, end: int, target: int) -> None:
    while start < end and (chunk := os.pread(source, min(end - start, PIECE_BYTES), start)):
        write_all(target, chunk)
        start += len(chunk)
