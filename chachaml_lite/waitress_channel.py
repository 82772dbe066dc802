"""Waitress's connections, changed: uploads go into the store, refused bodies are never read, answers are one packet.

Waitress takes in the whole body before the app is called. As it comes, a large one is written to the system's folder
for temporary files, which is often memory, and would be copied into the store after that. Here an upload is written
once, where it is going to stay.

A body that will not be taken, because its sender may not write or it is too large, is never parsed. The app answers
from the headers alone, the connection is closed behind that answer, and what still arrives is thrown away as bytes: it
is neither kept nor taken for another request. The same holds wherever it is in doubt where a body ends.
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
#: Up to here copying the body behind its headers costs less than a second call to the kernel.
_ONE_PACKET_BYTES = 64 * 1024
#: A smaller body is received whoever sends it: asking first costs a metric's POST more than the bytes do.
_UNASKED_BYTES = 8192
#: Of one recv(2): while headers come, so that a flood of small requests is no quadratic work; of bodies; of uploads,
#: which arrive 2.5 times as fast as with 8 KiB.
_HEADER_READ_BYTES, _BODY_READ_BYTES, _UPLOAD_READ_BYTES = 8192, 65536, 262144
#: After so small a piece of an upload that goes on the next one is waited for so many seconds, and comes with those
#: behind it: a client that sends eight bytes at a time would wake the loop for each, 20 µs a time.
_SMALL_READ_BYTES, REST_SECONDS = 4096, 0.01
#: How long a connection may take to its first headers, and to each later ones once they have begun.
HEADER_SECONDS = 10
#: How long what a refused client is still sending is thrown away, so that it can read why: a close would reset it.
LINGER_SECONDS = 30


@dataclass(frozen=True)
class WireRules:
    """Limits and routes of a server; sizes in bytes."""

    #: Where uploads go; None: no write is taken.
    blobs: Blobs | None
    #: The largest body that isn't an upload, and the largest upload; None: what the disk has room for.
    max_body_bytes: int
    max_upload_bytes: int | None
    #: Whether a request may pass, by its headers as a WSGI environment.
    admits: Callable[[dict[str, str]], bool]
    #: The requests that bring uploads: method and path.
    uploads: tuple[tuple[str, re.Pattern[str]], ...]
    #: Requests whose body is smaller than others', by method and path: what everybody may send, token or not.
    small: Mapping[tuple[str, str], int]
    #: The path that everything is served below, "/tracker"; "" for none.
    url_prefix: str = ""

    def app_path(self, path: str) -> str:
        """The path as the app gets it from waitress: without the prefix, where it has that."""
        path = "/" + path.lstrip("/")
        if path == self.url_prefix or path.startswith(f"{self.url_prefix}/"):
            return path[len(self.url_prefix) :]
        return path

    def is_upload(self, method: str, path: str) -> bool:
        """Tell whether a request is an upload."""
        return any(method == each and pattern.match(path) for each, pattern in self.uploads)


class _Spool:
    """An upload, as waitress's receivers fill a buffer."""

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
    """A request as it comes in."""

    rules: WireRules
    read_bytes = _BODY_READ_BYTES
    #: Whether the body is not taken: then the answer is the connection's last one.
    is_refused = False
    _limit: int

    def parse_header(self, header_plus: bytes) -> None:
        """Take in the headers, and decide where the body is to go. Raises ParsingError for what is no request."""
        line, end, rest = header_plus.partition(b"\r\n")
        if _FOLDED.search(rest):
            raise ParsingError("A header goes on in a second line")  # which readers of HTTP take in different ways
        # curl sends ?experiment=größe as it was typed, and waitress takes no such thing.
        line = _BEYOND_ASCII.sub(lambda match: b"%%%02X" % match[0][0], line)
        try:
            super().parse_header(line + end + rest)
        except (ParsingError, TransferEncodingNotImplemented):
            raise
        except Exception as fault:  # "http://[" as a URL, a length of 5,000 digits: whatever the parser doesn't foresee
            raise ParsingError("The request can not be parsed") from fault
        self._refuse_doubtful_framing()
        if self.body_rcv is None:
            self.expect_continue = False  # there is nothing to go on with; waitress would wait for it
            return
        self._place_body()

    def _refuse_doubtful_framing(self) -> None:
        """Raise ParsingError where two readers could disagree on where the body ends (RFC 9112, section 6)."""
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding are both there")
        if "TRANSFER_ENCODING" in self.headers:  # taken out by waitress where it heeds it: in HTTP/1.1
            raise ParsingError(f"Transfer-Encoding is HTTP/1.1, and the request is HTTP/{self.version or '0.9'}")

    def _place_body(self) -> None:
        command: Any = self.command  # text, whatever the stubs say
        receiver: Any = self.body_rcv
        rules = self.rules
        path = rules.app_path(self.path)  # type: ignore[attr-defined]  # which they don't know at all
        is_upload = rules.is_upload(command, path)
        self._limit = rules.small.get((command, path), rules.max_body_bytes)
        if is_upload:
            room = rules.blobs.free_bytes() if rules.blobs is not None else 0
            self._limit = room if rules.max_upload_bytes is None else min(room, rules.max_upload_bytes)
        is_small = not self.chunked and self.content_length <= _UNASKED_BYTES
        environ = {"REQUEST_METHOD": command, "PATH_INFO": path, **_as_environ(self.headers)}
        if self.content_length > self._limit or not ((is_small and not is_upload) or rules.admits(environ)):
            self._refuse(self.content_length)
            return
        if is_upload and rules.blobs is not None:
            self.read_bytes = _UPLOAD_READ_BYTES
            receiver.buf = _Spool(rules.blobs.incoming())
        if self.chunked:
            chunks: Any = ChunkReceiver(receiver.getbuf(), self._limit)
            self.body_rcv = chunks

    def received(self, data: bytes) -> int:
        """Take in a piece, and say how much of it belongs to this request; all of it, where it is the last one."""
        consumed: int = super().received(data)
        receiver: Any = self.body_rcv
        if self.chunked and isinstance(receiver, ChunkReceiver) and receiver.is_too_large:
            self.error = None
            self._refuse(len(receiver))
        return len(data) if self.is_refused or self.error else consumed

    def _refuse(self, size: int) -> None:
        """Have the app answer from the headers alone, and the connection be closed behind that.

        The app is told a length, beyond the limit where that is why: so it gives the reason.
        """
        self.close()
        self.body_rcv = None
        self.is_refused = self.completed = True
        self.expect_continue = False
        headers: Any = self.headers
        headers["CONTENT_LENGTH"] = str(size)
        headers["CONNECTION"] = "close"  # by which waitress's task knows that its answer is the last one


def _as_environ(headers: Mapping[str, str]) -> dict[str, str]:
    return {f"HTTP_{name}": value for name, value in headers.items()}


class Refusal(ErrorTask):
    """The answer to what is no request that the app could be given, in the one shape that errors have."""

    def execute(self) -> None:
        """Say what was wrong, then close the connection."""
        request: Any = self.request
        refused = request.error
        # What waitress says 501 to (another Transfer-Encoding than chunked) is the client's mistake: no 5xx for it.
        code, reason = (refused.code, refused.reason) if refused.code != 501 else (400, "Bad Request")
        channel: Any = self.channel
        channel.lingers = True
        request.headers["CONNECTION"] = "close"  # HTTP/1.0 may have asked to keep it alive
        content = strict_json.dumps({"error": reason.lower(), "detail": refused.body}).encode() + b"\n"
        self.status = f"{code} {reason}"
        self.response_headers = [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff")]
        self.set_close_on_finish()
        self.content_length = len(content)
        self.write(content)


class Task(WSGITask):
    """A request being answered; a short answer leaves in one packet, where waitress sends the headers by themselves."""

    def write(self, data: bytes) -> None:
        """Send a piece of the answer, and before the first one the headers."""
        whole = self.content_length == len(data) <= _ONE_PACKET_BYTES and self.status[:3] not in ("204", "304")
        if data and whole and self.complete and not self.wrote_header:
            head = self.build_response_header()
            self.wrote_header = True
            self.content_bytes_written = len(data)
            self.channel.write_soon(head + data)
        else:
            super().write(data)

    def set_close_on_finish(self) -> None:
        """End the connection behind this answer; not for want of a Content-Length, where a 304 never has one."""
        asked: Any = self.request
        channel: Any = self.channel
        channel.lingers = asked.is_refused
        if self.version == "1.0" or self.has_body or asked.headers.get("CONNECTION", "").lower() == "close":
            super().set_close_on_finish()


class Channel(HTTPChannel):
    """A connection: its time to send headers is limited, and its half-received request goes when it goes."""

    error_task_class = Refusal
    task_class = Task
    request: Parser | None
    #: When the headers that are waited for began to be waited for, in s since 1970; None between two requests.
    waiting_since: float | None = None
    #: Whether the client may still be sending when the last answer has been sent; a task says so.
    lingers = False
    #: Until when what arrives is thrown away; None: it isn't.
    _lingers_until: float | None = None
    #: Until when nothing is read here, and on any connection of the server, by the monotonic clock.
    _rests_until = 0.0
    one_rests_until = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting_since = self.creation_time

    def handle_read(self) -> None:
        """Take in what has arrived: a little while headers come, more of a body."""
        request = self.request
        size = _HEADER_READ_BYTES if request is None or not request.headers_finished else request.read_bytes
        try:
            data = self.recv(size)  # at the end of the stream it closes the connection itself
        except OSError:
            self.handle_close()
            return
        if data:
            self.last_activity = time.time()
            self.received(data)
            goes_on = request is not None and self.request is request and request.read_bytes == _UPLOAD_READ_BYTES
            if goes_on and len(data) < _SMALL_READ_BYTES:
                self._rests_until = type(self).one_rests_until = time.monotonic() + REST_SECONDS

    def readable(self) -> bool:
        """Whether the loop is to wait for what arrives."""
        is_waited_for: bool = super().readable()
        return is_waited_for and not (self._rests_until and time.monotonic() < self._rests_until)

    def received(self, data: bytes) -> bool:
        """Take in a piece, of one request or several; nothing more behind one that is the last."""
        if self._lingers_until is not None:
            return False
        if self.request is None:
            data = data.lstrip(b"\r\n")  # as RFC 9112, section 2.2; each would be an empty request
            if not data:
                return False
            if self.waiting_since is None:
                self.waiting_since = self.last_activity
        taken: bool = super().received(data)
        if self.request is None or self.request.headers_finished:
            self.waiting_since = None
        return taken

    def is_overdue(self, now: float) -> bool:
        """Tell whether the headers, or a refused client's leaving, have taken too long; `now`: seconds since 1970."""
        if self._lingers_until is not None:
            return now > self._lingers_until
        return self.waiting_since is not None and now - self.waiting_since > HEADER_SECONDS and not self.requests

    def handle_write(self) -> None:
        """Send what is to be sent; behind a refusal the connection is closed for writing first: see LINGER_SECONDS."""
        lingers = self.lingers and self.close_when_flushed
        if lingers:
            self.close_when_flushed = False  # or it would be closed at once
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
        except OSError:  # it has gone
            self.handle_close()

    def handle_close(self) -> None:
        """The client hung up, or was made to."""
        super().handle_close()
        if self.request is not None:
            self.request.close()
            self.request = None


def channel_class(rules: WireRules) -> type[Channel]:
    """Connections of a server with these rules."""
    return type("RuledChannel", (Channel,), {"parser_class": type("RuledParser", (Parser,), {"rules": rules})})
