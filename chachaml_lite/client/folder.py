"""A client for a store's folder, in this process: the same API as over HTTP, without a server."""

from __future__ import annotations

import io
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from ..app import WITHOUT_SERVER, create_app
from ..config import Config
from ..errors import StoreUnusable
from ..store.store import Store
from ..tracking.tracker import Tracker
from .base import Answer, Client, RequestBody, Unreachable


class FolderClient(Client):
    """A client for the store in `data`. Unless it `writes`, another process may own the store, and nothing changes."""

    def __init__(self, data: Path, *, writes: bool = False) -> None:
        """Open the store; with `writes`, create it if it is missing. Raises Unreachable."""
        config = Config(data=data, read_only=not writes, quiet=True)
        self.url = str(data)
        if not writes and not (data / "runs").is_dir():
            raise Unreachable(f"there is no store in {data}: it has no folder runs; set --data to a store's folder")
        try:
            self._store = Store(data, config.fsync, read_only=config.read_only)
        except StoreUnusable as fault:
            raise Unreachable(fault.detail) from fault
        self._tracker = Tracker.on(self._store, config.series_cache_bytes)
        self._app = create_app(config, self._tracker)
        self._host = f"{config.host}:{config.port}"
        self._last: _AppBody | None = None

    def close(self) -> None:
        """Close the store."""
        self._drop_last()
        self._tracker.close()

    def _send(self, method: str, target: str, body: RequestBody, headers: Mapping[str, str]) -> Answer:
        self._drop_last()
        environ = self._environ(method, target, body, headers)
        responses: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, response_headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            responses[:] = [(status, response_headers)]
            return lambda piece: None

        pieces = self._app(environ, start_response)
        if isinstance(body, Generator) and environ["wsgi.input"].raw.fault is not None:
            raise environ["wsgi.input"].raw.fault
        status, response_headers = responses[0]
        by_name = {name.lower(): value for name, value in response_headers}
        self._last = _AppBody(pieces, by_name.get("content-length"))
        return Answer(int(status[:3]), by_name, self._last)

    def _drop_last(self) -> None:
        if self._last is not None:  # it may have an open file
            self._last.close()

    def _environ(self, method: str, target: str, body: RequestBody, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the environ of a request, as in a WSGI server (PEP 3333)."""
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
            "wsgi.input": _open_body(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            WITHOUT_SERVER: True,
        }
        if isinstance(body, Generator):
            environ["wsgi.input_terminated"] = True
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key] = value
        return environ


def _open_body(body: RequestBody) -> Any:
    if isinstance(body, bytes):
        return io.BytesIO(body)
    return io.BufferedReader(_PieceReader(body)) if isinstance(body, Generator) else body


class _PieceReader(io.RawIOBase):
    """Adapts pieces to a readable file."""

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        self._pieces = pieces
        self._rest = b""
        #: The exception of the pieces: it is raised to the caller, whatever the app's response is.
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
        chunk, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _AppBody:
    """A response's body from the app, cut at its Content-Length as waitress does."""

    def __init__(self, pieces: Iterable[bytes], length: str | None) -> None:
        self._pieces = pieces
        self._iterator: Iterator[bytes] = iter(pieces)
        self._remaining: int | None = None if length is None else int(length)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while not self._rest and self._remaining != 0:
            try:
                piece = next(self._iterator, None)
            except OSError as fault:  # while it is read and sent
                raise Unreachable(f"a file of the store can't be read: {fault.strerror}") from fault
            if piece is None:
                return b""
            self._rest = piece if self._remaining is None else piece[: self._remaining]
            if self._remaining is not None:
                self._remaining -= len(self._rest)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def close(self) -> None:
        self._rest, self._remaining = b"", 0
        if hasattr(self._pieces, "close"):
            self._pieces.close()
