"""Checksums computed while bytes are read, received, sent or packed, so that nothing is read twice for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import IO

#: Bytes per read, hash update and write: enough to hide Python's overhead, few enough for a CPU cache.
PIECE_BYTES = 1024 * 1024


class Checksum:
    """The sha256 and the number of the bytes added so far."""

    __slots__ = ("_digest", "size")

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Add the next bytes."""
        self._digest.update(piece)
        self.size += len(piece)

    def pass_on(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield these pieces, each of them after adding it."""
        for piece in pieces:
            self.add(piece)
            yield piece

    @property
    def sha256(self) -> str:
        """The sha256 of the bytes added so far, in lower-case hexadecimal."""
        return self._digest.hexdigest()


def read_pieces(file: IO[bytes], size: int | None = None) -> Iterator[bytes]:
    """Yield the rest of a file from its current position in pieces, at most `size` bytes in all. Raises OSError."""
    remaining = size
    while remaining is None or remaining > 0:
        piece = file.read(PIECE_BYTES if remaining is None else min(remaining, PIECE_BYTES))
        if not piece:
            return
        if remaining is not None:
            remaining -= len(piece)
        yield piece


def checksum_of(pieces: Iterable[bytes]) -> Checksum:
    """Return the checksum of the bytes in all these pieces."""
    checksum = Checksum()
    for piece in pieces:
        checksum.add(piece)
    return checksum
