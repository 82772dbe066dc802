"""How waitress's connections work for us: uploads into the store, nothing over its limit, answers in one piece.

Waitress takes in the whole body before the app is called. As it comes, a large one is written to the system's folder
for temporary files, which is often memory, and would be copied into the store after that. Here an upload is written
once, where it is going to stay, and what is too large is dropped as it arrives: the app answers from the headers alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask

from . import strict_json
from .store.blobs import Blobs
from .store.incoming import Incoming

_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
#: The routes that take bytes: an artifact's, and a zip of runs.
_UPLOAD = re.compile(r"/api/w/(?:runs/[^/]+/artifacts|import)\Z")
#: Up to here copying the body behind its headers costs less than a second call to the kernel.
_ONE_PACKET_BYTES = 64 * 1024


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


class _Dropped:
    """A body that nobody will read. It is received all the same: a client that is still sending hears no answer."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def append(self, piece: bytes) -> None:
        self.size += len(piece)

    def getfile(self) -> BytesIO:
        return BytesIO()

    def close(self) -> None:
        pass


class Parser(HTTPRequestParser):
    """A request as it comes in. `blobs` and the limits, in bytes, are those of `channel_class`."""

    blobs: Blobs | None
    max_json_bytes: int
    max_upload_bytes: int | None
    admits: Callable[[dict[str, str]], bool]
    _limit: int

    def parse_header(self, header_plus: bytes) -> None:
        """Take in the headers, and decide where the body is to go."""
        line, end, rest = header_plus.partition(b"\r\n")
        # curl sends ?experiment=größe as it was typed, and waitress takes no such thing.
        line = _BEYOND_ASCII.sub(lambda match: b"%%%02X" % match[0][0], line)
        super().parse_header(line + end + rest)
        if self.body_rcv is None:
            return
        receiver: Any = self.body_rcv
        command: Any = self.command  # text, whatever the stubs say
        path: str = self.path  # type: ignore[attr-defined]  # which they don't know at all
        self._limit = self.max_json_bytes
        is_upload = command == "POST" and _UPLOAD.match(path) is not None
        if is_upload:
            room = self.blobs.free_bytes() if self.blobs is not None else 0
            self._limit = room if self.max_upload_bytes is None else min(room, self.max_upload_bytes)
            if not self.admits({"REQUEST_METHOD": command, "PATH_INFO": path, **_as_environ(self.headers)}):
                self._limit = 0  # no byte of a stranger's gets onto the disk
        if self.content_length > self._limit:
            self._drop()
            if self.expect_continue:  # the client waits for a word before it sends: the word is the answer
                self.expect_continue = False
                self.connection_close = True
                self.completed = True
        elif is_upload and self.blobs is not None:
            receiver.buf = _Spool(self.blobs.incoming())

    def received(self, data: bytes) -> int:
        """Take in a piece, and say how much of it belongs to this request."""
        consumed: int = super().received(data)
        if self.chunked and self.body_rcv is not None and len(self.body_rcv) > self._limit:
            self._drop()
        return consumed

    def _drop(self) -> None:
        receiver: Any = self.body_rcv
        before = receiver.getbuf()
        if not isinstance(before, _Dropped):
            receiver.buf = _Dropped(len(before))
            before.close()


def _as_environ(headers: Mapping[str, str]) -> dict[str, str]:
    return {f"HTTP_{name}": value for name, value in headers.items()}


def channel_class(
    blobs: Blobs | None,
    max_json_bytes: int,
    max_upload_bytes: int | None,
    admits: Callable[[dict[str, str]], bool],
) -> type[HTTPChannel]:
    """Connections of a server of this store, with the limits for what is parsed and what is uploaded, in bytes.

    `blobs` None: uploads are dropped as they arrive, for no write is taken; so are those whose headers, as a WSGI
    environment, `admits` says no to.
    """
    limits = {
        "blobs": blobs,
        "max_json_bytes": max_json_bytes,
        "max_upload_bytes": max_upload_bytes,
        "admits": staticmethod(admits),
    }
    return type("Channel", (Channel,), {"parser_class": type("LimitedParser", (Parser,), limits)})


class Refusal(ErrorTask):
    """The answer to what is no request that the app could be given, in the one shape that errors have."""

    def execute(self) -> None:
        """Say what was wrong, then close the connection."""
        request: Any = self.request
        refused = request.error
        # What waitress says 501 to (another Transfer-Encoding than chunked) is the client's mistake: no 5xx for it.
        code, reason = (refused.code, refused.reason) if refused.code != 501 else (400, "Bad Request")
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
            self.wrote_header = True
            self.content_bytes_written = len(data)
            self.channel.write_soon(self.build_response_header() + data)
        else:
            super().write(data)

    def set_close_on_finish(self) -> None:
        """End the connection behind this answer; not for want of a Content-Length, where a 304 never has one."""
        asked: Any = self.request
        if self.version == "1.0" or self.has_body or asked.headers.get("CONNECTION", "").lower() == "close":
            super().set_close_on_finish()


class Channel(HTTPChannel):
    """A connection, whose half-received request goes when it goes."""

    error_task_class = Refusal
    task_class = Task

    def handle_close(self) -> None:
        """The client hung up, or was made to."""
        super().handle_close()
        if self.request is not None:
            self.request.close()
            self.request = None
