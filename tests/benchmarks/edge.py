"""Strangers: what bytes of clients that may not write cost, against plain waitress taking in a well-formed upload."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
from support.servers import PATIENCE_SECONDS
from support.wire import head

from .bench import Bench
from .gauges import cpu_seconds, peak_bytes, reset_peak, resident_bytes
from .table import Goal, duration, heading, megabytes, row

_MB = 1_000_000
_PIECE_BYTES = 50_000
_CPU = Goal(3, "<= 3x")
_MEMORY_BYTES = 20e6
_CHUNKED = "Transfer-Encoding: chunked"
_JSON = head("POST /api/w/runs", "Content-Type: application/json", _CHUNKED)


def _length(size: int) -> str:
    return f"Content-Length: {size}"


def _floods(size: int) -> Iterator[tuple[str, bytes, bytes]]:
    """An attack of a stranger: its name, its beginning, and a piece that is repeated up to `size` bytes."""
    yield "chunks of one byte", _JSON, b"1\r\nx\r\n"
    yield "a chunk's size without an end", _JSON, b"0"
    yield "a trailer without an end", _JSON + b"0\r\nX: ", b"y"
    yield "trailers without an end", _JSON + b"0\r\n", b"X: y\r\n"
    yield "line ends", b"", b"\r\n"
    yield "a header without an end", b"GET / HTTP/1.1\r\nX: ", b"y"
    yield "headers without an end", b"GET / HTTP/1.1\r\n", b"X: y\r\n"
    yield "a body without a token", head("POST /api/w/import", "Content-Type: application/zip", _length(size)), b"x"
    yield (
        "a form to log in",
        head("POST /login", "Content-Type: application/x-www-form-urlencoded", _length(size)),
        b"a=&",
    )


def _send(url: str, begin: bytes, piece: bytes, size: int) -> int:
    """Send that on a connection of its own until `size` bytes have gone or the server hangs up; how many have gone."""
    block, gone = piece * (_PIECE_BYTES // len(piece)), 0
    with _connected(url) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(begin)
        while gone < size:
            connection.sendall(block)
            gone += len(block)
    return gone


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection(("127.0.0.1", parts.port or 80), PATIENCE_SECONDS)


def _settled_cpu_seconds(pid: int) -> float:
    """The CPU time of a process when it has worked off what was sent to it."""
    before = cpu_seconds(pid)
    while True:
        time.sleep(0.1)
        after = cpu_seconds(pid)
        if after - before < 0.005:
            return after
        before = after


def _plain_seconds_a_mb(bench: Bench, size: int) -> float:
    """CPU seconds that plain waitress takes for a megabyte of a well-formed upload."""
    with bench.floor() as url:
        pid = int(requests.get(f"{url}/pid", timeout=PATIENCE_SECONDS).text)
        before = _settled_cpu_seconds(pid)
        requests.post(f"{url}/noop", data=bytes(size), timeout=PATIENCE_SECONDS)
        return (_settled_cpu_seconds(pid) - before) / (size / _MB)


def section(bench: Bench) -> None:
    """Floods on one connection each, then many connections at once."""
    heading("edge: what strangers cost, in CPU time a MB")
    size = bench.sizes.edge_mb * _MB
    plain = _plain_seconds_a_mb(bench, 10 * size)
    with bench.server(None, "--token", "secret", "--quiet") as server:
        pid = server.process.pid
        requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS)
        idle = resident_bytes(pid)
        reset_peak(pid)
        for what, begin, piece in _floods(size):
            before = _settled_cpu_seconds(pid)
            gone = _send(server.url, begin, piece, size)
            taken = (_settled_cpu_seconds(pid) - before) / (gone / _MB)
            row(f"{what}, {gone / _MB:.1f} MB", duration(taken), duration(plain), taken / plain, _CPU)
        _admitted(server.url, pid, size, plain)
        grown = peak_bytes(pid) - idle
        row("memory at its peak, above idle", megabytes(grown), "", None, Goal(_MEMORY_BYTES, "< 20 MB"), grown)
        _crowd(bench, server.url, pid)


def _admitted(url: str, pid: int, size: int, plain: float) -> None:
    """Uploads of somebody who has the token: of known length, in large chunks, and in the smallest that are taken."""
    with requests.Session() as client:
        client.headers["Authorization"] = "Bearer secret"
        client.post(f"{url}/api/w/runs", json={"experiment": "e", "id": "r"}, timeout=PATIENCE_SECONDS)
        bodies: dict[str, tuple[int, bytes | Iterator[bytes], Goal | None]] = {
            "of known length": (10 * size, bytes(10 * size), _CPU),
            "in chunks of 64 kB": (10 * size, iter([bytes(64_000)] * (10 * size // 64_000)), _CPU),
            "in chunks of 8 bytes": (size, iter([bytes(8)] * (size // 8)), None),
        }
        for what, (length, body, goal) in bodies.items():
            before = _settled_cpu_seconds(pid)
            name = what.replace(" ", "-")
            client.post(
                f"{url}/api/w/runs/r/artifacts?name={name}",
                data=body,
                headers={"Content-Type": "application/octet-stream"},
                timeout=PATIENCE_SECONDS,
            ).raise_for_status()
            taken = (_settled_cpu_seconds(pid) - before) / (length / _MB)
            row(f"an upload that is taken, {what}", duration(taken), duration(plain), taken / plain, goal)


def _crowd(bench: Bench, url: str, pid: int) -> None:
    """Many strangers at once, each with a body of 2 MB that stops before its end; then as many that send nothing."""
    count, size = bench.sizes.edge_strangers, 2 * _MB
    begin = head("POST /api/w/import", "Content-Type: application/zip", _length(size))
    idle = resident_bytes(pid)
    reset_peak(pid)
    with contextlib.ExitStack() as strangers:
        for _ in range(count):
            connection = strangers.enter_context(_connected(url))
            with contextlib.suppress(ConnectionError):
                connection.sendall(begin + bytes(size - 1))
        grown = peak_bytes(pid) - idle
        what = f"memory, {count} strangers with 2 MB each, above idle"
        row(what, megabytes(grown), "", None, Goal(_MEMORY_BYTES, "< 20 MB"), grown)
    _silent(bench.sizes.edge_silent, url)


def _silent(count: int, url: str) -> None:
    """More connections that send nothing than the server takes: at the limit the longest idle one makes room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 200
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
    with contextlib.ExitStack() as strangers:
        for _ in range(count):
            strangers.enter_context(_connected(url))
        for what in ("the first answer", "the next one"):
            start = time.perf_counter()
            requests.get(f"{url}/api/health", timeout=PATIENCE_SECONDS)
            taken = time.perf_counter() - start
            name = f"{what} beside {count:,} connections that send nothing"
            row(name, duration(taken), "", None, Goal(5, "< 5 s"), taken)
