"""HTTP as bytes on a socket, for what no HTTP library lets a test do."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any

from support.servers import PATIENCE_SECONDS


@dataclass
class Response:
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """A connection to a server on this machine. A test that waits too long for bytes fails with TimeoutError."""

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
        self._held = b""

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def request(self, line: str, body: bytes = b"", *headers: str) -> None:
        """Send a request with a body of known length."""
        self.send(head(line, *headers, f"Content-Length: {len(body)}") + body)

    def read_response(self, *, has_body: bool = True) -> Response:
        """The next response, its body as long as it says."""
        while b"\r\n\r\n" not in self._held:
            self._receive()
        text, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0)) if has_body else 0
        while len(self._held) < size:
            self._receive()
        body, self._held = self._held[:size], self._held[size:]
        return Response(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Whether the server has closed its side, with nothing more to read."""
        try:
            return not self._held and not self._socket.recv(1)
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Hang up without a farewell."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self._socket.close()

    def _receive(self) -> None:
        received = self._socket.recv(65536)
        assert received, f"the server hung up after {self._held[:200]!r}"
        self._held += received


def head(line: str, *headers: str) -> bytes:
    """The head of a request."""
    return "\r\n".join([line + " HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()
