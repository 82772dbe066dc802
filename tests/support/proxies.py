"""A TCP proxy between a client and a server on this machine that counts, holds back or corrupts the bytes sent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from support.servers import PATIENCE_SECONDS


class Proxy:
    """Forwards connections to a port."""

    def __init__(
        self, port: int, *, hold_after: int | None, cut_after: int | None, replacement: tuple[bytes, bytes]
    ) -> None:
        self._port = port
        self._hold_after, self._cut_after, self._replacement = hold_after, cut_after, replacement
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.sent_bytes = 0
        #: Set when the client has sent as many bytes as are forwarded.
        self.limit_reached = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port), PATIENCE_SECONDS)
                self._sockets += [client, server]
                threading.Thread(target=self._forward_request, args=(client, server), daemon=True).start()
                threading.Thread(target=self._forward_response, args=(server, client), daemon=True).start()

    def _forward_request(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(65536):
                self.sent_bytes += len(piece)
                if self._cut_after is not None and self.sent_bytes > self._cut_after:
                    self.limit_reached.set()
                    self.close()
                    return
                if self._hold_after is not None and self.sent_bytes > self._hold_after:
                    self.limit_reached.set()
                    return
                server.sendall(piece.replace(*self._replacement))
            server.shutdown(socket.SHUT_WR)

    def _forward_response(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(65536):
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def start_proxy(
    port: int,
    *,
    hold_after: int | None = None,
    cut_after: int | None = None,
    replacement: tuple[bytes, bytes] = (b"\0", b"\0"),
) -> Iterator[Proxy]:
    """Start a proxy in front of `port` that stops forwarding after `hold_after` bytes, or hangs up after `cut_after`.

    `replacement`: bytes to replace in all that a client sends, and the bytes to put there.
    """
    proxy = Proxy(port, hold_after=hold_after, cut_after=cut_after, replacement=replacement)
    try:
        yield proxy
    finally:
        proxy.close()


def count_sent_zips(log: str) -> int:
    """Count the zips sent to a server, by its log."""
    return log.count("POST /api/w/import")


def omit_write_time(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run of the API without the time of its last write, which depends on the copy of its files."""
    return {key: value for key, value in run.items() if key != "last_write_time"}
