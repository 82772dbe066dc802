"""A store's folder, asked in this process: the same API as over HTTP, with no server and no port."""

from __future__ import annotations

import io
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from ..app import UNSERVED, create_app
from ..config import Config
from ..errors import StoreUnusable
from ..store.store import Store
from ..tracking.tracker import Tracker
from .base import Answer, Client, Sent, Unreachable


class FolderClient(Client):
    """Asks the store at `data`. Unless it `writes`, another process may own it, and nothing in it is touched."""

    def __init__(self, data: Path, *, writes: bool = False) -> None:
        """Open the store; one that is to be written is made where it is missing. Raises Unreachable."""
        config = Config(data=data, read_only=not writes, quiet=True)
        self.url = str(data)
        if not writes and not (data / "runs").is_dir():
            raise Unreachable(f"there is no store in {data}: it has no folder runs; name one with --data")
        try:
            self._store = Store(data, config.fsync, read_only=config.read_only)
        except StoreUnusable as fault:
            raise Unreachable(fault.detail) from fault
        self._tracker = Tracker.on(self._store, config.series_cache_bytes)
        self._app = create_app(config, self._tracker)
        self._host = f"{config.host}:{config.port}"
        self._last: _Made | None = None

    def close(self) -> None:
        """Close the store."""
        self._drop_last()
        self._tracker.close()

    def _send(self, method: str, target: str, body: Sent, headers: Mapping[str, str]) -> Answer:
        self._drop_last()
        environ = self._environ(method, target, body, headers)
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, sent: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [(status, sent)]
            return lambda piece: None

        pieces = self._app(environ, start_response)
        if isinstance(body, Generator) and environ["wsgi.input"].raw.fault is not None:
            raise environ["wsgi.input"].raw.fault
        status, sent = started[0]
        by_name = {name.lower(): value for name, value in sent}
        self._last = _Made(pieces, by_name.get("content-length"))
        return Answer(int(status[:3]), by_name, self._last)

    def _drop_last(self) -> None:
        if self._last is not None:  # it may hold a file open
            self._last.close()

    def _environ(self, method: str, target: str, body: Sent, headers: Mapping[str, str]) -> dict[str, Any]:
        """The request as a WSGI server hands it over (PEP 3333)."""
        path, _, query = target.partition("?")
        host, _, port = self._host.partition(":")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": target,
            "SERVER_NAME": host,
            "SERVER_PORT": port,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": self._host,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": _readable(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            UNSERVED: True,
        }
        if isinstance(body, Generator):
            environ["wsgi.input_terminated"] = True
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key] = value
        return environ


def _readable(body: Sent) -> Any:
    if isinstance(body, bytes):
        return io.BytesIO(body)
    return io.BufferedReader(_Pieces(body)) if isinstance(body, Generator) else body


class _Pieces(io.RawIOBase):
    """Pieces as a file to read."""

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        self._pieces = pieces
        self._rest = b""
        #: What the pieces have raised: it is the asker's, whatever the app has answered to it.
        self.fault: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                piece = next(self._pieces, None)
            except Exception as fault:
                self.fault = fault
                raise
            if piece is None:
                return 0
            self._rest = piece
        taken, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


class _Made:
    """An answer's body as the app makes it, up to the length that it has told, as waitress sends it."""

    def __init__(self, pieces: Iterable[bytes], length: str | None) -> None:
        self._pieces = pieces
        self._coming: Iterator[bytes] = iter(pieces)
        self._left: int | None = None if length is None else int(length)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while not self._rest and self._left != 0:
            try:
                piece = next(self._coming, None)
            except OSError as fault:  # while it is read, and answered
                raise Unreachable(f"a file of the store can't be read: {fault.strerror}") from fault
            if piece is None:
                return b""
            self._rest = piece if self._left is None else piece[: self._left]
            if self._left is not None:
                self._left -= len(self._rest)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def close(self) -> None:
        self._rest, self._left = b"", 0
        if hasattr(self._pieces, "close"):
            self._pieces.close()
