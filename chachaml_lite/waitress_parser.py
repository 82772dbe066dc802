"""Waitress's parser of requests, modified: uploads go directly to the store, rejected bodies are discarded unparsed.

Waitress receives the whole body before the app is called. By default a large one is written to the system's folder
for temporary files, which is often in memory, and would then be copied to the store. Here an upload is written only
once, to its final place.

A body that is rejected, because its sender may not write or it is too large, is never parsed. The app responds from
the headers alone, the connection is closed after that response, and all further bytes are discarded: they are neither
stored nor interpreted as another request. The same applies if the end of a body is ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented

from .store.blobs import Blobs
from .store.incoming import Incoming
from .waitress_chunks import ChunkReceiver

_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_FOLDED = re.compile(rb"\r\n[ \t]")
#: Smaller bodies are received from any sender: checking first costs a metric's POST more than the bytes do.
_UNCHECKED_BYTES = 8192
#: Bytes of one recv(2): for bodies; for uploads, which arrive 2.5 times as fast as with 8 KiB.
_BODY_READ_BYTES, UPLOAD_READ_BYTES = 65536, 262144


@dataclass(frozen=True)
class WireRules:
    """Limits and routes of a server. Sizes are in bytes."""

    #: The destination of uploads; None: writes are refused.
    blobs: Blobs | None
    #: The largest body that isn't an upload, and the largest upload; None: limited by the disk.
    max_body_bytes: int
    max_upload_bytes: int | None
    #: A predicate for requests that are admitted, by their headers as a WSGI environ.
    admits: Callable[[dict[str, str]], bool]
    #: Method and path of uploads.
    uploads: tuple[tuple[str, re.Pattern[str]], ...]
    #: Smaller limits by method and path, for requests that are allowed without a token.
    body_limits: Mapping[tuple[str, str], int]
    #: The path below which everything is served, "/tracker"; "" for none.
    url_prefix: str = ""

    def app_path(self, path: str) -> str:
        """Return the path as waitress passes it to the app: without the prefix, if it has one."""
        path = "/" + path.lstrip("/")
        if path == self.url_prefix or path.startswith(f"{self.url_prefix}/"):
            return path[len(self.url_prefix) :]
        return path

    def is_upload(self, method: str, path: str) -> bool:
        """Return whether a request is an upload."""
        return any(method == each and pattern.match(path) for each, pattern in self.uploads)


class _UploadBuffer:
    """Adapts an upload to the buffers that waitress's receivers fill."""

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming

    def __len__(self) -> int:
        return self.incoming.size

    def append(self, piece: bytes) -> None:
        self.incoming.append(piece)

    def getfile(self) -> Incoming:
        return self.incoming

    def close(self) -> None:
        self.incoming.discard()


class Parser(HTTPRequestParser):
    """The parser of a request."""

    rules: WireRules
    read_bytes = _BODY_READ_BYTES
    #: Whether the body is rejected: then the connection is closed after the response.
    is_refused = False
    _limit: int

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the headers, and choose the body's destination. Raises ParsingError."""
        line, end, rest = header_plus.partition(b"\r\n")
        if _FOLDED.search(rest):
            raise ParsingError("A header continues on a second line")  # interpreted differently by implementations
        # curl sends ?experiment=größe unescaped, which waitress rejects.
        line = _BEYOND_ASCII.sub(lambda match: b"%%%02X" % match[0][0], line)
        try:
            super().parse_header(line + end + rest)
        except (ParsingError, TransferEncodingNotImplemented):
            raise
        except (
            Exception
        ) as fault:  # unforeseen by waitress's parser, such as "http://[" as a URL or a length of 5,000 digits
            raise ParsingError("The request can not be parsed") from fault
        self._check_framing()
        if self.body_rcv is None:
            self.expect_continue = False  # there is no body, for which waitress would wait
            return
        self._route_body()

    def _check_framing(self) -> None:
        """Raise ParsingError if two implementations could disagree on the end of the body (RFC 9112, section 6)."""
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding are both present")
        if "TRANSFER_ENCODING" in self.headers:  # waitress removes it where it applies: in HTTP/1.1
            raise ParsingError(f"Transfer-Encoding is HTTP/1.1, and the request is HTTP/{self.version or '0.9'}")

    def _route_body(self) -> None:
        command: Any = self.command  # a text, unlike in the stubs
        receiver: Any = self.body_rcv
        rules = self.rules
        path = rules.app_path(self.path)  # type: ignore[attr-defined]  # missing in the stubs
        is_upload = rules.is_upload(command, path)
        self._limit = rules.body_limits.get((command, path), rules.max_body_bytes)
        if is_upload:
            room = rules.blobs.free_bytes() if rules.blobs is not None else 0
            self._limit = room if rules.max_upload_bytes is None else min(room, rules.max_upload_bytes)
        is_small = not self.chunked and self.content_length <= _UNCHECKED_BYTES
        environ = {"REQUEST_METHOD": command, "PATH_INFO": path, **_as_environ(self.headers)}
        if self.content_length > self._limit or not ((is_small and not is_upload) or rules.admits(environ)):
            self._refuse(self.content_length)
            return
        if is_upload and rules.blobs is not None:
            self.read_bytes = UPLOAD_READ_BYTES
            receiver.buf = _UploadBuffer(rules.blobs.incoming())
        if self.chunked:
            chunks: Any = ChunkReceiver(receiver.getbuf(), self._limit)
            self.body_rcv = chunks

    def received(self, data: bytes) -> int:
        """Process a piece and return how many bytes belong to this request; all of them if it is the last one."""
        consumed: int = super().received(data)
        receiver: Any = self.body_rcv
        if self.chunked and isinstance(receiver, ChunkReceiver) and receiver.is_too_large:
            self.error = None
            self._refuse(len(receiver))
        return len(data) if self.is_refused or self.error else consumed

    def _refuse(self, size: int) -> None:
        """Let the app respond from the headers alone, and close the connection after that.

        The app gets a length (beyond the limit if the body is too large) from which it derives the reason.
        """
        self.close()
        self.body_rcv = None
        self.is_refused = self.completed = True
        self.expect_continue = False
        headers: Any = self.headers
        headers["CONTENT_LENGTH"] = str(size)
        headers["CONNECTION"] = "close"  # tells waitress's task to close the connection


def _as_environ(headers: Mapping[str, str]) -> dict[str, str]:
    return {f"HTTP_{name}": value for name, value in headers.items()}
