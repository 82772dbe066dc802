"""Waitress's connections, modified: uploads go directly to the store, rejected bodies are discarded unparsed, and short
responses are sent in one packet.

Waitress receives the whole body before the app is called. By default a large one is written to the system's folder
for temporary files, which is often in memory, and would then be copied to the store. Here an upload is written only
once, to its final place.

A body that is rejected, because its sender may not write or it is too large, is never parsed. The app responds from
the headers alone, the connection is closed after that response, and all further bytes are discarded: they are neither
stored nor interpreted as another request. The same applies if the end of a body is ambiguous.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.task import ErrorTask, WSGITask

from . import strict_json
from .store.blobs import Blobs
from .store.incoming import Incoming
from .waitress_chunks import ChunkReceiver

_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_FOLDED = re.compile(rb"\r\n[ \t]")
#: Up to this size, copying the body after its headers costs less than a second system call.
_ONE_PACKET_BYTES = 64 * 1024
#: Smaller bodies are received from any sender: checking first costs a metric's POST more than the bytes do.
_UNCHECKED_BYTES = 8192
#: Bytes of one recv(2): for headers, so that a flood of small requests takes no quadratic time; for bodies; for
#: uploads, which arrive 2.5 times as fast as with 8 KiB.
_HEADER_READ_BYTES, _BODY_READ_BYTES, _UPLOAD_READ_BYTES = 8192, 65536, 262144
#: After such a small piece of an upload, reading pauses for so many seconds, to receive several pieces at once: a
#: client that sends eight bytes at a time would otherwise wake the loop for each, at 20 µs.
_SMALL_READ_BYTES, PAUSE_SECONDS = 4096, 0.01
#: Seconds for a connection's first headers, and for later ones once they have begun.
HEADER_SECONDS = 10
#: Seconds for which the bytes of a rejected client are discarded, so that it can read the reason: a close would reset
#: the connection.
LINGER_SECONDS = 30


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
            self.read_bytes = _UPLOAD_READ_BYTES
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


class Refusal(ErrorTask):
    """The response to a request that can't be passed to the app, in the form of all errors."""

    def execute(self) -> None:
        """Send the error, then close the connection."""
        request: Any = self.request
        error = request.error
        # Waitress responds with 501 to a Transfer-Encoding other than chunked, which is a client's error: no 5xx.
        code, reason = (error.code, error.reason) if error.code != 501 else (400, "Bad Request")
        channel: Any = self.channel
        channel.lingers = True
        request.headers["CONNECTION"] = "close"  # HTTP/1.0 may have asked to keep it alive
        content = strict_json.dumps({"error": reason.lower(), "detail": error.body}).encode() + b"\n"
        self.status = f"{code} {reason}"
        self.response_headers = [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff")]
        self.set_close_on_finish()
        self.content_length = len(content)
        self.write(content)


class Task(WSGITask):
    """A request being answered. A short response is sent in one packet, where waitress sends the headers separately."""

    def write(self, data: bytes) -> None:
        """Send a piece of the response, and the headers before the first one."""
        fits_one_packet = self.content_length == len(data) <= _ONE_PACKET_BYTES and self.status[:3] not in (
            "204",
            "304",
        )
        if data and fits_one_packet and self.complete and not self.wrote_header:
            head = self.build_response_header()
            self.wrote_header = True
            self.content_bytes_written = len(data)
            self.channel.write_soon(head + data)
        else:
            super().write(data)

    def set_close_on_finish(self) -> None:
        """Close the connection after this response; but not because of a missing Content-Length, as in every 304."""
        request: Any = self.request
        channel: Any = self.channel
        channel.lingers = request.is_refused
        if self.version == "1.0" or self.has_body or request.headers.get("CONNECTION", "").lower() == "close":
            super().set_close_on_finish()


class Channel(HTTPChannel):
    """A connection: the time for its headers is limited, and an incomplete request is discarded at its end."""

    error_task_class = Refusal
    task_class = Task
    request: Parser | None
    #: The start of waiting for headers, in s since 1970; None between two requests.
    waiting_since: float | None = None
    #: Whether the client may still be sending after the last response; set by a task.
    lingers = False
    #: The end of discarding received bytes, in s since 1970; None: they aren't discarded.
    _lingers_until: float | None = None
    #: The end of the pause in reading this connection, and any connection of the server, on the monotonic clock.
    _paused_until = 0.0
    any_paused_until = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting_since = self.creation_time

    def handle_read(self) -> None:
        """Receive bytes: a few for headers, more for a body."""
        request = self.request
        size = _HEADER_READ_BYTES if request is None or not request.headers_finished else request.read_bytes
        try:
            data = self.recv(size)  # closes the connection at the end of the stream
        except OSError:
            self.handle_close()
            return
        if data:
            self.last_activity = time.time()
            self.received(data)
            continues = request is not None and self.request is request and request.read_bytes == _UPLOAD_READ_BYTES
            if continues and len(data) < _SMALL_READ_BYTES:
                self._paused_until = type(self).any_paused_until = time.monotonic() + PAUSE_SECONDS

    def readable(self) -> bool:
        """Return whether the loop should wait for input."""
        is_readable: bool = super().readable()
        return is_readable and not (self._paused_until and time.monotonic() < self._paused_until)

    def received(self, data: bytes) -> bool:
        """Process a piece of one or several requests; nothing after the last one."""
        if self._lingers_until is not None:
            return False
        if self.request is None:
            data = data.lstrip(b"\r\n")  # as RFC 9112, section 2.2; each would be an empty request
            if not data:
                return False
            if self.waiting_since is None:
                self.waiting_since = self.last_activity
        completed: bool = super().received(data)
        if self.request is None or self.request.headers_finished:
            self.waiting_since = None
        return completed

    def is_overdue(self, now: float) -> bool:
        """Return whether the headers, or a rejected client's end, took too long. `now` is in s since 1970."""
        if self._lingers_until is not None:
            return now > self._lingers_until
        return self.waiting_since is not None and now - self.waiting_since > HEADER_SECONDS and not self.requests

    def handle_write(self) -> None:
        """Send pending output; after a rejection, close the connection only for writing: see LINGER_SECONDS."""
        lingers = self.lingers and self.close_when_flushed
        if lingers:
            self.close_when_flushed = False  # otherwise it would be closed immediately
        super().handle_write()
        if not lingers or self.will_close or not self.connected:
            return
        if self.total_outbufs_len:
            self.close_when_flushed = True
            return
        self._lingers_until = time.time() + LINGER_SECONDS
        assert self.socket is not None
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # already disconnected
            self.handle_close()

    def handle_close(self) -> None:
        """Clean up after the connection was closed by either side."""
        super().handle_close()
        if self.request is not None:
            self.request.close()
            self.request = None


def channel_class(rules: WireRules) -> type[Channel]:
    """Return a class for the connections of a server with these rules."""
    return type("RuledChannel", (Channel,), {"parser_class": type("RuledParser", (Parser,), {"rules": rules})})
