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
        at, pieces = 0, []
        while at < len(data) and not self.completed:
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
        if self._chunks >= FREE_CHUNKS and self._size < self._chunks * MIN_CHUNK_BYTES:
            self._fail(f"The chunks are too small; send {MIN_CHUNK_BYTES} bytes in each at least, or a Content-Length")
        self._left = int(match[1], 16)
        self._in_trailers = self._left == 0
        self._chunks += 1

    def _fail(self, text: str) -> None:
        self.error = BadRequest(text)
        self.completed = True
