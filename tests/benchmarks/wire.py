"""A client with little overhead: requests are built as bytes beforehand and sent on one kept-alive connection."""

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
    """Build the bytes of a request; `target` is path and query, `kind` the body's content type."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    if method not in ("GET", "DELETE"):
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def post(target: str, value: Any, headers: dict[str, str] | None = None) -> bytes:
    """Build a POST of `value` as JSON."""
    return request("POST", target, json.dumps(value).encode(), headers=headers)


def get(target: str, headers: dict[str, str] | None = None) -> bytes:
    """Build a GET."""
    return request("GET", target, headers=headers)


class ApiError(Exception):
    """A response that the benchmark doesn't expect; the text is its status and beginning."""


class Connection:
    """One connection to a server, by its URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connect()

    def _connect(self) -> None:
        parts = urlsplit(self._url)
        self._is_closed = False
        self.socket = socket.create_connection((parts.hostname or "localhost", parts.port or 80), _TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = cast(BufferedReader, self.socket.makefile("rb", 1 << 18))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self.socket.close()

    def ask(self, request_bytes: bytes) -> bytes:
        """Send a request and return the body of its response. Raises ApiError for a status of 400 and above.

        Reconnects first if the server closed the connection after its last response.
        """
        self._send(request_bytes)
        return self.read_response()[1]

    def ask_json(self, request_bytes: bytes) -> Any:
        """Send a request and return the parsed JSON of its response."""
        return json.loads(self.ask(request_bytes))

    def ask_headers(self, request_bytes: bytes) -> dict[str, str]:
        """Send a request and return the headers of its response, with names in lower case."""
        self._send(request_bytes)
        return self.read_response()[0]

    def _send(self, request_bytes: bytes) -> None:
        if self._is_closed:
            self.close()
            self._connect()
        self.socket.sendall(request_bytes)

    def read_response(self) -> tuple[dict[str, str], bytes]:
        """Read the next response and return its headers and body."""
        status, headers = self._read_head()
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self._read_chunk, b""))
        elif status == 304:
            body = b""
        else:
            body = self._reader.read(int(headers["content-length"]))
        if status >= 400:
            raise ApiError(f"{status} {body[:300].decode(errors='replace')}")
        return headers, body

    def _read_head(self) -> tuple[int, dict[str, str]]:
        first = self._reader.readline()
        if not first:
            raise ApiError("the server closed the connection")
        headers = {}
        while (line := self._reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            headers[name.lower().decode()] = value.strip().decode()
        self._is_closed = headers.get("connection", "").lower() == "close"
        return int(first.split(b" ", 2)[1]), headers

    def _read_chunk(self) -> bytes:
        size = int(self._reader.readline(), 16)
        chunk = self._reader.read(size)
        self._reader.readline()
        return chunk

    def send_file(self, head: bytes, path: Path) -> bytes:
        """Send the head of a request and a file as its body. Return the body of the response."""
        self._send(head)
        with path.open("rb") as file:
            self.socket.sendfile(file)
        return self.read_response()[1]

    def receive_and_discard(self, request_bytes: bytes) -> int:
        """Send a request and discard the body of its response while it arrives. Return the body's size."""
        self._send(request_bytes)
        status, headers = self._read_head()
        size = int(headers["content-length"])
        if status >= 400:
            raise ApiError(f"{status} {self._reader.read(min(size, 300)).decode(errors='replace')}")
        place = memoryview(bytearray(_RECEIVE_BYTES))
        n_left = size
        while n_left:
            n_bytes = self._reader.readinto1(place[: min(n_left, _RECEIVE_BYTES)])
            if not n_bytes:
                raise ApiError(f"the download broke off {n_left} bytes before its end")
            n_left -= n_bytes
        return size


def build_upload_head(target: str, size: int, method: str = "POST") -> bytes:
    """Build the head of an upload of so many bytes."""
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/octet-stream",
        f"Content-Length: {size}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def measure_times(connection: Connection, requests: Iterable[bytes]) -> list[float]:
    """Return the duration of each request, in seconds."""
    clock = time.perf_counter
    durations = []
    for each in requests:
        start = clock()
        connection.ask(each)
        durations.append(clock() - start)
    return durations
