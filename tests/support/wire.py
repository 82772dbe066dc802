"""HTTP as bytes on a socket, for requests that no HTTP library sends."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any

from support.servers import PATIENCE_SECONDS


@dataclass
class Response:
    """A response, its header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """A connection to a server on this machine. Waiting too long for bytes raises TimeoutError."""

    def __init__(self, port: int, *, receive_bytes: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.settimeout(PATIENCE_SECONDS)
        try:
            self._socket.connect(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise
        self._buffer = b""

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def request(self, line: str, body: bytes = b"", *headers: str) -> None:
        """Send a request with a Content-Length."""
        self.send(head(line, *headers, f"Content-Length: {len(body)}") + body)

    def read_response(self, *, has_body: bool = True) -> Response:
        """Read the next response, with a body as long as its Content-Length."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        text, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0)) if has_body else 0
        while len(self._buffer) < size:
            self._receive()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return Response(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Whether the server has closed its side, with nothing more to read."""
        try:
            return not self._buffer and not self._socket.recv(1)
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Reset the connection (RST) instead of closing it."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self._socket.close()

    def _receive(self) -> None:
        piece = self._socket.recv(65536)
        assert piece, f"the server closed the connection after {self._buffer[:200]!r}"
        self._buffer += piece


def head(line: str, *headers: str) -> bytes:
    """Build the head of a request."""
    return "\r\n".join([line + " HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()
