"""Something between a client and a server on this machine: it counts what is sent, holds it back, or bends it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from support.servers import PATIENCE_SECONDS


class Proxy:
    """Passes connections on to a port."""

    def __init__(self, port: int, *, hold_after: int | None, cut_after: int | None, bend: tuple[bytes, bytes]) -> None:
        self._port = port
        self._hold_after, self._cut_after, self._bend = hold_after, cut_after, bend
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.sent = 0
        #: Set when as many bytes were sent as are passed on.
        self.full = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port), PATIENCE_SECONDS)
                self._open += [client, server]
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(65536):
                self.sent += len(piece)
                if self._cut_after is not None and self.sent > self._cut_after:
                    self.full.set()
                    self.close()
                    return
                if self._hold_after is not None and self.sent > self._hold_after:
                    self.full.set()
                    return
                server.sendall(piece.replace(*self._bend))
            server.shutdown(socket.SHUT_WR)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(65536):
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(
    port: int,
    *,
    hold_after: int | None = None,
    cut_after: int | None = None,
    bend: tuple[bytes, bytes] = (b"\0", b"\0"),
) -> Iterator[Proxy]:
    """Something in front of `port`, which after so many bytes passes on no more, or goes away.

    `bend`: what is put in the place of what.
    """
    made = Proxy(port, hold_after=hold_after, cut_after=cut_after, bend=bend)
    try:
        yield made
    finally:
        made.close()


def sent_zips(log: str) -> int:
    """Return the number of zips sent to a server, by its log."""
    return log.count("POST /api/w/import")


def public(run: dict[str, Any]) -> dict[str, Any]:
    """A run as the API shows it, without when its files were written."""
    return {key: value for key, value in run.items() if key != "last_write_time"}
