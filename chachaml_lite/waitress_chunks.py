"""A receiver for chunked bodies (RFC 9112, section 7.1) in linear time and within limits.

Waitress's own receiver copies the rest of its input for each chunk, and limits neither a chunk's size line nor the
trailers: 6 MB in chunks of one byte took 16 s, and an endless size line takes all memory.
"""

from __future__ import annotations

import re
from typing import Any

from waitress.utilities import BadRequest

#: Limits of the line with a chunk's size and extensions, and of all trailers.
MAX_LINE_BYTES, MAX_TRAILER_BYTES = 1024, 8192
#: Chunks that may be of any size; beyond that number, they must have this many bytes on average.
FREE_CHUNKS, MIN_CHUNK_BYTES = 10_000, 8
# Extensions are ignored, so their tokens and quoted strings are not parsed.
_PLAIN_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
#: Consecutive chunks of the same size are processed together if there are at least so many, none is larger than that,
#: and the guess has failed less often than this for a piece.
_FEWEST_ALIKE, _LARGEST_ALIKE_BYTES, _MOST_MISTAKES = 8, 64, 4
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~\x80-\xff]*)?\Z")


class ChunkReceiver:
    """Writes a body of at most `limit_bytes` to `buffer`; has the interface of waitress's receivers."""

    def __init__(self, buffer: Any, limit_bytes: int) -> None:
        self.buf = buffer
        self.completed = False
        self.error: BadRequest | None = None
        #: Whether the body exceeds its limit; then the rest is not received.
        self.is_too_large = False
        self._limit = limit_bytes
        self._size = 0
        self._chunks = 0
        #: The remaining bytes of the current chunk; -1 or -2 if only the line end after it is missing.
        self._remaining = 0
        #: The beginning of an incomplete line.
        self._line = b""
        self._in_trailers = False
        self._trailer_bytes = 0

    def __len__(self) -> int:
        return self._size

    def getfile(self) -> Any:
        """Return the body as a file."""
        return self.buf.getfile()

    def getbuf(self) -> Any:
        """Return the buffer."""
        return self.buf

    def received(self, data: bytes) -> int:
        """Process a piece and return how many of its bytes belong to the body."""
        at, pieces = 0, list[bytes]()
        while at < len(data) and not self.completed:
            if not (self._remaining or self._line or self._in_trailers):
                at = self._process_whole_chunks(data, at, pieces)
                if at == len(data) or self.completed:
                    break
            if self._remaining > 0:
                piece = data[at : at + self._remaining]
                pieces.append(piece)
                at += len(piece)
                self._remaining -= len(piece)
                self._size += len(piece)
                if not self._remaining:
                    self._remaining = -2
                continue
            end = data.find(b"\n", at)
            self._line += data[at:] if end < 0 else data[at : end + 1]
            at = len(data) if end < 0 else end + 1
            if end < 0:
                if len(self._line) > MAX_LINE_BYTES:
                    self._fail("A line of the chunked body is too long")
                break
            line, self._line = self._line, b""
            self._process_line(line)
        if pieces:
            self.buf.append(b"".join(pieces))
        if self._size > self._limit:
            self.is_too_large = self.completed = True
        return at

    def _process_whole_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Process the complete chunks of plain form in `data` from `at` on; return the position of the first other one.

        A chunk costs a microsecond; one of many of the same small size costs a tenth of that.
        """
        mistakes = 0
        while match := _PLAIN_SIZE_LINE.match(data, at):
            size, start = int(match[1], 16), match.end()
            end = start + size
            if not size or data[end : end + 2] != b"\r\n" or self._is_too_fine():
                break
            pieces.append(data[start:end])
            self._chunks += 1
            self._size += size
            head, at = data[at:start], end + 2
            is_small = MIN_CHUNK_BYTES <= size <= _LARGEST_ALIKE_BYTES
            if is_small and self._size >= self._chunks * MIN_CHUNK_BYTES and mistakes < _MOST_MISTAKES:
                count = _count_alike(data, at, head, size)
                mistakes += count == 0
                if count:
                    pieces.append(_join_chunks(data, at, len(head), size, count))
                    self._chunks += count
                    self._size += count * size
                    at += count * (len(head) + size + 2)
        return at

    def _is_too_fine(self) -> bool:
        return self._chunks >= FREE_CHUNKS and self._size < self._chunks * MIN_CHUNK_BYTES

    def _process_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            self._fail("A line of the chunked body ends without CR")
        elif self._remaining == -2:
            if line != b"\r\n":
                self._fail("Chunk not properly terminated")
            self._remaining = 0
        elif self._in_trailers:
            self._trailer_bytes += len(line)
            if line == b"\r\n":
                self.completed = True
            elif self._trailer_bytes > MAX_TRAILER_BYTES:
                self._fail("The trailers are too long")
        else:
            self._begin_chunk(line[:-2])

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE_LINE.match(line)
        if match is None or len(line) > MAX_LINE_BYTES:
            self._fail("Invalid chunk size")
            return
        if self._is_too_fine():
            self._fail(f"The chunks are too small; send at least {MIN_CHUNK_BYTES} bytes in each, or a Content-Length")
        self._remaining = int(match[1], 16)
        self._in_trailers = self._remaining == 0
        self._chunks += 1

    def _fail(self, text: str) -> None:
        self.error = BadRequest(text)
        self.completed = True


def _count_alike(data: bytes, at: int, head: bytes, size: int) -> int:
    """Return about how many complete chunks of `size` bytes follow from `at` on, each after the line `head`.

    Never more than there are, and 0 if they are few.
    """
    period = len(head) + size + 2
    count = (len(data) - at) // period
    while count >= _FEWEST_ALIKE:
        end = at + count * period
        # The bytes that must be equal in all chunks, at a distance of `period`.
        frame = ((place, byte) for place, byte in [*enumerate(head), (period - 2, 13), (period - 1, 10)])
        if all(data[at + place : end : period] == bytes([byte]) * count for place, byte in frame):
            return count
        count //= 2
    return 0


def _join_chunks(data: bytes, at: int, head_bytes: int, size: int, count: int) -> bytes:
    """Return the joined content of `count` chunks of one size."""
    period = head_bytes + size + 2
    content, end = bytearray(count * size), at + count * period
    for place in range(size):
        content[place::size] = data[at + head_bytes + place : end : period]
    return bytes(content)
