"""The bytes of a file at the source, compared with their checksum while they arrive."""

from __future__ import annotations

from collections.abc import Iterator

from ..store.checksum import Checksum
from .base import Client


class WrongBytes(Exception):
    """The bytes that arrived aren't those that were listed."""


def download(client: Client, target: str, size: int, sha256: str) -> Iterator[bytes]:
    """Yield the first `size` bytes of a file in pieces; it is asked for when the first of them is.

    Raises WrongBytes after the last piece, where there are fewer or they have another checksum; ApiError, Unreachable.
    """
    checksum = Checksum()
    if size:
        with client.ask("GET", target) as answer:
            yield from checksum.pass_on(_first_bytes(answer.pieces(), size))
    if (checksum.size, checksum.sha256) != (size, sha256):
        raise WrongBytes


def _first_bytes(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:size]
        size -= len(piece)
        if size <= 0:
            return
