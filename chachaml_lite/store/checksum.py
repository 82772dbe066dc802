"""The checksum of bytes, taken while they are read, received, sent or packed: nothing is read twice for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import IO

#: Read, hashed and written at a time: large enough that Python's part doesn't count, small enough for a cache.
PIECE_BYTES = 1024 * 1024


class Checksum:
    """The number of bytes so far, and their sha256."""

    __slots__ = ("_digest", "size")

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Take in the bytes that come next."""
        self._digest.update(piece)
        self.size += len(piece)

    def pass_on(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield these pieces, each of them taken in before."""
        for piece in pieces:
            self.add(piece)
            yield piece

    @property
    def sha256(self) -> str:
        """The sha256 of the bytes so far, in lower-case hexadecimal digits."""
        return self._digest.hexdigest()


def read_pieces(file: IO[bytes], size: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of a file from where it stands, at most `size` of them, in pieces. Raises OSError."""
    remaining = size
    while remaining is None or remaining > 0:
        piece = file.read(PIECE_BYTES if remaining is None else min(remaining, PIECE_BYTES))
        if not piece:
            return
        if remaining is not None:
            remaining -= len(piece)
        yield piece


def checksum_of(pieces: Iterable[bytes]) -> Checksum:
    """Return the checksum of the bytes in all of these pieces."""
    checksum = Checksum()
    for piece in pieces:
        checksum.add(piece)
    return checksum
