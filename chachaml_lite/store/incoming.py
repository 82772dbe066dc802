"""Incoming bodies: written below runs/ and hashed as they arrive, and removed again unless they are used."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from ..errors import StorageFull, translate_os_error
from .atomic import FILE_MODE, write_all
from .checksum import Checksum
from .durability import Durability
from .layout import Layout
from .run_files import incoming_path

#: Small pieces are written together, because a write and a hash update cost as much as those of several kB.
_WRITE_BYTES = 65_536


class Upload(NamedTuple):
    """A received file that does not belong to a run yet: its path, its sha256 and its size in bytes."""

    path: str
    sha256: str
    size: int


class Incoming:
    """A new file at `path` that is written in pieces.

    One thread creates and appends to it; later another one finishes it.

    An error such as a full disk is kept until `finish`, because the thread that appends (the server's loop) has no way
    to report it.
    """

    def __init__(self, path: str, durability: Durability) -> None:
        self._path = path
        self._durability = durability
        self._checksum = Checksum()
        self._descriptor = -1
        self._is_final = False
        self._pieces: list[bytes] = []
        self._gathered_bytes = 0
        self.size = 0
        self.fault: OSError | None = None
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        except OSError as fault:
            self.fault = fault

    def append(self, piece: bytes) -> None:
        """Append bytes. They are dropped once a write has failed."""
        if self.fault is None:
            self._pieces.append(piece)
            self._gathered_bytes += len(piece)
            self.size += len(piece)
            if self._gathered_bytes >= _WRITE_BYTES:
                self._write()

    def _write(self) -> None:
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._gathered_bytes = [], 0
        try:
            write_all(self._descriptor, piece)
        except OSError as fault:
            self.fault = fault
            self.discard()
            return
        self._checksum.add(piece)

    def finish(self, expected_bytes: int | None = None) -> Upload:
        """Sync and close the file; return it as an upload.

        Raises OSError for an earlier error; ValueError if bytes are missing.
        """
        try:
            if self._pieces:
                self._write()
            if self.fault is not None:
                raise self.fault
            if expected_bytes is not None and self.size != expected_bytes:
                raise ValueError(f"{self.size} of {expected_bytes} bytes arrived")
            self._durability.sync(self._descriptor)
        except BaseException:
            self.discard()
            raise
        self._is_final = True
        os.close(self._descriptor)
        self._descriptor = -1
        return Upload(self._path, self._checksum.sha256, self.size)

    def discard(self) -> None:
        """Remove the file, unless it was finished and belongs to the caller.

        A file that is already gone is no error.
        """
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if not self._is_final:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def __del__(self) -> None:
        """Remove the body of a sender that hung up: nobody else would."""
        self.discard()


def free_bytes(path: str) -> int:
    """Return the free space on the disk of `path`, in bytes; a very large number if the system doesn't say."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 1 << 62


def spool(places: Layout | None, fill: Callable[[BinaryIO], object]) -> BinaryIO:
    """Return a file written by `fill`, open for reading from its start. Raises OSError.

    The file is in the store's own file system. If that is full, or nothing may be written to it (`places` None), the
    file is in the system's temporary folder, and `fill` is called again: reading a store needs no space on its disk.
    """
    if places is not None:
        try:
            return _fill(_create_unnamed(places), fill)
        except OSError as fault:
            if not isinstance(translate_os_error(fault), StorageFull):
                raise
    return _fill(tempfile.TemporaryFile("w+b"), fill)


def _create_unnamed(places: Layout) -> BinaryIO:
    path = incoming_path(places, "scratch")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return os.fdopen(descriptor, "w+b")


def _fill(file: BinaryIO, fill: Callable[[BinaryIO], object]) -> BinaryIO:
    try:
        fill(file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file
