"""A zip generated while it is sent: it is never stored, and its length isn't known before its end."""

from __future__ import annotations

import io
import stat
import struct
import time
from collections.abc import Generator, Iterable
from typing import NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

_FIRST_YEAR = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can have
_LAST_WRITTEN = 4_354_819_199  # the latest one, the end of 2107, in s since 1970


class Entry(NamedTuple):
    """A file for a zip: its path, its size in bytes, when it was written (in s since 1970), and its bytes in pieces."""

    path: str
    size: int
    modified_s: int
    pieces: Iterable[bytes]


class _Sink(io.RawIOBase):
    """Collects the archive's output for `take`. It isn't seekable, so the archive never rewinds it."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        self._buffer += piece
        return len(piece)

    def take(self) -> bytes:
        held = bytes(self._buffer)
        self._buffer.clear()
        return held


def stream_zip(entries: Iterable[Entry]) -> Generator[bytes, None, None]:
    """Yield the zip of these files piece by piece.

    An entry is requested when its turn comes; its exceptions are passed on.
    """
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_STORED) as archive:
        for entry in entries:
            with archive.open(entry_of(entry.path, entry.size, entry.modified_s), "w") as file:
                for piece in entry.pieces:
                    file.write(piece)
                    yield sink.take()
    yield sink.take()


def entry_of(path: str, size: int, modified_s: int) -> ZipInfo:
    """Return the zip entry of a plain file."""
    modified_s = min(max(modified_s, 0), _LAST_WRITTEN)
    entry = ZipInfo(path, max(time.gmtime(modified_s)[:6], _FIRST_YEAR))
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = size  # tells zipfile whether the entry needs 64 bits
    if modified_s < 2**31:  # Info-ZIP's field for the time in UTC: a zip's own time has no time zone
        entry.extra = struct.pack("<HHBl", 0x5455, 5, 1, modified_s)
    return entry
