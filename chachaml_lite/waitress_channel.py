"""Waitress's connections, modified: short responses are sent in one packet, errors have the form of all errors, and the
time for headers is limited.

After a rejected request the connection is closed, but its remaining bytes are read and discarded for a while, so that
the client can read the reason.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

from . import strict_json
from .waitress_parser import UPLOAD_READ_BYTES, Parser, WireRules

#: Up to this size, copying the body after its headers costs less than a second system call.
_ONE_PACKET_BYTES = 64 * 1024
#: Bytes of one recv(2) for headers: a flood of small requests takes no quadratic time.
_HEADER_READ_BYTES = 8192
#: After such a small piece of an upload, reading pauses for so many seconds, to receive several pieces at once: a
#: client that sends eight bytes at a time would otherwise wake the loop for each, at 20 µs.
_SMALL_READ_BYTES, PAUSE_SECONDS = 4096, 0.01
#: Seconds for a connection's first headers, and for later ones once they have begun.
HEADER_SECONDS = 10
#: Seconds for which the bytes of a rejected client are discarded, so that it can read the reason: a close would reset
#: the connection.
LINGER_SECONDS = 30


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
    #: Whether waitress's thread has completed the last response, and whether the loop is in `handle_write`.
    _is_last_complete = False
    _is_writing = False
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
            continues = request is not None and self.request is request and request.read_bytes == UPLOAD_READ_BYTES
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

    @property
    def close_when_flushed(self) -> bool:
        """Whether the last response is complete: set by waitress's thread, at any moment of `handle_write`."""
        return self._is_last_complete and not self._is_writing

    @close_when_flushed.setter
    def close_when_flushed(self, value: bool) -> None:
        self._is_last_complete = value

    def handle_write(self) -> None:
        """Send pending output; after a rejection, close the connection only for writing: see LINGER_SECONDS.

        Waitress would close it in there, whether it lingers or not, if the thread completed the response meanwhile.
        """
        self._is_writing = True
        super().handle_write()
        self._is_writing = False
        if not self.close_when_flushed or self.total_outbufs_len or not self.connected:
            return
        self.close_when_flushed = False
        if not self.lingers:
            self.will_close = True
            self.handle_close()
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
