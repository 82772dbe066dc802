"""A body in chunks (RFC 9112, section 7.1), received in linear time and within limits.

Waitress's own receiver copies the rest of what it was given for each chunk, and bounds neither a chunk's size line nor
the trailers: 6 MB in chunks of one byte took it 16 s, and a size line without an end all of the memory.
"""

from __future__ import annotations

import re
from typing import Any

from waitress.utilities import BadRequest

#: Of the line with a chunk's size and extensions, and of all trailers.
MAX_LINE_BYTES, MAX_TRAILER_BYTES = 1024, 8192
#: Chunks that a body may have however small they are; beyond that they have to hold so many bytes on average.
FREE_CHUNKS, MIN_CHUNK_BYTES = 10_000, 8
# token and quoted-string of an extension are not taken apart: nothing reads them.
_PLAIN_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
#: Chunks of one size in a row that are taken together, if there are so many of them, and none is larger than that; how
#: often it may turn out for a piece that they aren't alike.
_FEWEST_ALIKE, _LARGEST_ALIKE_BYTES, _MOST_MISTAKES = 8, 64, 4
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~\x80-\xff]*)?\Z")


class ChunkReceiver:
    """Fills `buffer` with the body; `limit_bytes`: its largest size. Has the attributes of waitress's receivers."""

    def __init__(self, buffer: Any, limit_bytes: int) -> None:
        self.buf = buffer
        self.completed = False
        self.error: BadRequest | None = None
        #: Whether the body is larger than its limit; then no more of it is taken.
        self.is_too_large = False
        self._limit = limit_bytes
        self._size = 0
        self._chunks = 0
        #: What is left of the chunk that has begun; the line end behind it is still to come where it is -1 or -2.
        self._left = 0
        #: A line that has not ended yet.
        self._line = b""
        self._in_trailers = False
        self._trailer_bytes = 0

    def __len__(self) -> int:
        return self._size

    def getfile(self) -> Any:
        """The body, to be read."""
        return self.buf.getfile()

    def getbuf(self) -> Any:
        """Return the buffer that the body goes to."""
        return self.buf

    def received(self, data: bytes) -> int:
        """Take in a piece; how many bytes of it belong to the body."""
        at, pieces = 0, list[bytes]()
        while at < len(data) and not self.completed:
            if not (self._left or self._line or self._in_trailers):
                at = self._take_whole_chunks(data, at, pieces)
                if at == len(data) or self.completed:
                    break
            if self._left > 0:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._size += len(piece)
                if not self._left:
                    self._left = -2
                continue
            end = data.find(b"\n", at)
            self._line += data[at:] if end < 0 else data[at : end + 1]
            at = len(data) if end < 0 else end + 1
            if end < 0:
                if len(self._line) > MAX_LINE_BYTES:
                    self._fail("A line of the chunked body is too long")
                break
            line, self._line = self._line, b""
            self._take_line(line)
        if pieces:
            self.buf.append(b"".join(pieces))
        if self._size > self._limit:
            self.is_too_large = self.completed = True
        return at

    def _take_whole_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take the chunks that are whole in `data` from `at` on, of plain form; where the first begins that isn't.

        A chunk costs a microsecond, one of many of the same small size a tenth of that.
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
                    pieces.append(_joined(data, at, len(head), size, count))
                    self._chunks += count
                    self._size += count * size
                    at += count * (len(head) + size + 2)
        return at

    def _is_too_fine(self) -> bool:
        return self._chunks >= FREE_CHUNKS and self._size < self._chunks * MIN_CHUNK_BYTES

    def _take_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            self._fail("A line of the chunked body ends without CR")
        elif self._left == -2:
            if line != b"\r\n":
                self._fail("Chunk not properly terminated")
            self._left = 0
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
            self._fail(f"The chunks are too small; send {MIN_CHUNK_BYTES} bytes in each at least, or a Content-Length")
        self._left = int(match[1], 16)
        self._in_trailers = self._left == 0
        self._chunks += 1

    def _fail(self, text: str) -> None:
        self.error = BadRequest(text)
        self.completed = True


def _count_alike(data: bytes, at: int, head: bytes, size: int) -> int:
    """Return about how many whole chunks of `size` bytes follow each other from `at` on, each behind the line `head`.

    Never more than there are; 0 where they are few.
    """
    period = len(head) + size + 2
    count = (len(data) - at) // period
    while count >= _FEWEST_ALIKE:
        end = at + count * period
        # Each byte that has to be the same in all of them: every so many bytes there is one.
        frame = ((place, byte) for place, byte in [*enumerate(head), (period - 2, 13), (period - 1, 10)])
        if all(data[at + place : end : period] == bytes([byte]) * count for place, byte in frame):
            return count
        count //= 2
    return 0


def _joined(data: bytes, at: int, head_bytes: int, size: int, count: int) -> bytes:
    """Return the content of `count` chunks of one size, without the lines around it."""
    period = head_bytes + size + 2
    content, end = bytearray(count * size), at + count * period
    for place in range(size):
        content[place::size] = data[at + head_bytes + place : end : period]
    return bytes(content)
