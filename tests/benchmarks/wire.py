"""A client that costs little: requests are made as bytes beforehand, sent and answered on one kept-alive connection."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 600  # a first full search of 100,000 runs without a summary reads all of their points
_RECEIVE_BYTES = 1 << 20


def request(
    method: str, target: str, body: bytes = b"", kind: str = "application/json", headers: dict[str, str] | None = None
) -> bytes:
    """The bytes of a request; `target` is path and query, `kind` the body's content type."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    if method not in ("GET", "DELETE"):
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def post(target: str, value: Any, headers: dict[str, str] | None = None) -> bytes:
    """A POST of `value` as JSON."""
    return request("POST", target, json.dumps(value).encode(), headers=headers)


def get(target: str, headers: dict[str, str] | None = None) -> bytes:
    """A GET."""
    return request("GET", target, headers=headers)


class ApiError(Exception):
    """An answer that is not the one a benchmark is about; the text is its status and beginning."""


class Connection:
    """One connection to a server, by its URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connect()

    def _connect(self) -> None:
        parts = urlsplit(self._url)
        self._ended = False
        self.socket = socket.create_connection((parts.hostname or "localhost", parts.port or 80), _TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = cast(BufferedReader, self.socket.makefile("rb", 1 << 18))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._reader.close()
        self.socket.close()

    def ask(self, sent: bytes) -> bytes:
        """Send a request, and give the body of its answer. Raises ApiError for a status of 400 and above.

        Where the server closed the connection behind its last answer, another one is made first.
        """
        self._send(sent)
        return self.answer()[1]

    def ask_json(self, sent: bytes) -> Any:
        """The same, read as JSON."""
        return json.loads(self.ask(sent))

    def ask_headers(self, sent: bytes) -> dict[str, str]:
        """Send a request, and give the headers of its answer, their names in lower case."""
        self._send(sent)
        return self.answer()[0]

    def _send(self, sent: bytes) -> None:
        if self._ended:
            self.close()
            self._connect()
        self.socket.sendall(sent)

    def answer(self) -> tuple[dict[str, str], bytes]:
        """The headers and the body of the next answer."""
        status, headers = self._head()
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        elif status == 304:
            body = b""
        else:
            body = self._reader.read(int(headers["content-length"]))
        if status >= 400:
            raise ApiError(f"{status} {body[:300].decode(errors='replace')}")
        return headers, body

    def _head(self) -> tuple[int, dict[str, str]]:
        first = self._reader.readline()
        if not first:
            raise ApiError("the server closed the connection")
        headers = {}
        while (line := self._reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            headers[name.lower().decode()] = value.strip().decode()
        self._ended = headers.get("connection", "").lower() == "close"
        return int(first.split(b" ", 2)[1]), headers

    def _chunk(self) -> bytes:
        size = int(self._reader.readline(), 16)
        chunk = self._reader.read(size)
        self._reader.readline()
        return chunk

    def send_file(self, head: bytes, path: Path) -> bytes:
        """Send the head of a request and a file as its body; the body of the answer."""
        self._send(head)
        with path.open("rb") as file:
            self.socket.sendfile(file)
        return self.answer()[1]

    def receive_away(self, sent: bytes) -> int:
        """Ask for something large and throw it away while it comes in; how many bytes came."""
        self._send(sent)
        status, headers = self._head()
        size = int(headers["content-length"])
        if status >= 400:
            raise ApiError(f"{status} {self._reader.read(min(size, 300)).decode(errors='replace')}")
        place = memoryview(bytearray(_RECEIVE_BYTES))
        left = size
        while left:
            got = self._reader.readinto1(place[: min(left, _RECEIVE_BYTES)])
            if not got:
                raise ApiError(f"the download broke off {left} bytes before its end")
            left -= got
        return size


def upload_head(target: str, size: int, method: str = "POST") -> bytes:
    """The head of an upload of so many bytes."""
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/octet-stream",
        f"Content-Length: {size}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def times(connection: Connection, requests: Iterable[bytes]) -> list[float]:
    """Return the duration of each request, in seconds."""
    clock = time.perf_counter
    found = []
    for each in requests:
        start = clock()
        connection.ask(each)
        found.append(clock() - start)
    return found
