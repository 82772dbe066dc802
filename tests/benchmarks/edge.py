"""Requests without a token: their cost, compared with plain waitress receiving a valid upload."""

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
from .table import Goal, format_duration, format_megabytes, print_heading, print_row

_MB = 1_000_000
_PIECE_BYTES = 50_000
_CPU = Goal(3, "<= 3x")
_MEMORY_BYTES = 20e6
_CHUNKED = "Transfer-Encoding: chunked"
_JSON = head("POST /api/w/runs", "Content-Type: application/json", _CHUNKED)


def _content_length(size: int) -> str:
    return f"Content-Length: {size}"


def _floods(size: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield attacks: a name, a beginning, and a piece that is repeated up to `size` bytes."""
    yield "chunks of one byte", _JSON, b"1\r\nx\r\n"
    yield "a chunk's size without an end", _JSON, b"0"
    yield "a trailer without an end", _JSON + b"0\r\nX: ", b"y"
    yield "trailers without an end", _JSON + b"0\r\n", b"X: y\r\n"
    yield "line ends", b"", b"\r\n"
    yield "a header without an end", b"GET / HTTP/1.1\r\nX: ", b"y"
    yield "headers without an end", b"GET / HTTP/1.1\r\n", b"X: y\r\n"
    yield (
        "a body without a token",
        head("POST /api/w/import", "Content-Type: application/zip", _content_length(size)),
        b"x",
    )
    yield (
        "a login form",
        head("POST /login", "Content-Type: application/x-www-form-urlencoded", _content_length(size)),
        b"a=&",
    )


def _send(url: str, begin: bytes, piece: bytes, size: int) -> int:
    """Send an attack until `size` bytes are sent or the connection is closed. Return the number of bytes sent."""
    block, n_sent = piece * (_PIECE_BYTES // len(piece)), 0
    with _connect(url) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(begin)
        while n_sent < size:
            connection.sendall(block)
            n_sent += len(block)
    return n_sent


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection(("127.0.0.1", parts.port or 80), PATIENCE_SECONDS)


def _wait_for_idle_cpu_seconds(pid: int) -> float:
    """Wait until a process is idle and return its CPU time."""
    before = cpu_seconds(pid)
    while True:
        time.sleep(0.1)
        after = cpu_seconds(pid)
        if after - before < 0.005:
            return after
        before = after


def _measure_plain_seconds_a_mb(bench: Bench, size: int) -> float:
    """Return the CPU seconds of plain waitress for a megabyte of a valid upload."""
    with bench.floor() as url:
        pid = int(requests.get(f"{url}/pid", timeout=PATIENCE_SECONDS).text)
        before = _wait_for_idle_cpu_seconds(pid)
        requests.post(f"{url}/noop", data=bytes(size), timeout=PATIENCE_SECONDS)
        return (_wait_for_idle_cpu_seconds(pid) - before) / (size / _MB)


def section(bench: Bench) -> None:
    """Print the cost of attacks on one connection each, then of many connections at once."""
    print_heading("edge: requests without a token, CPU time per MB")
    size = bench.sizes.edge_mb * _MB
    plain = _measure_plain_seconds_a_mb(bench, 10 * size)
    with bench.server(None, "--token", "secret", "--quiet") as server:
        pid = server.process.pid
        requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS)
        idle = resident_bytes(pid)
        reset_peak(pid)
        for what, begin, piece in _floods(size):
            before = _wait_for_idle_cpu_seconds(pid)
            n_sent = _send(server.url, begin, piece, size)
            seconds = (_wait_for_idle_cpu_seconds(pid) - before) / (n_sent / _MB)
            print_row(
                f"{what}, {n_sent / _MB:.1f} MB",
                format_duration(seconds),
                format_duration(plain),
                seconds / plain,
                _CPU,
            )
        _measure_uploads(server.url, pid, size, plain)
        growth = peak_bytes(pid) - idle
        print_row(
            "memory at its peak, above idle", format_megabytes(growth), "", None, Goal(_MEMORY_BYTES, "< 20 MB"), growth
        )
        _measure_crowd(bench, server.url, pid)


def _measure_uploads(url: str, pid: int, size: int, plain: float) -> None:
    """Uploads with the token: of known length, in large chunks, and in the smallest chunks that are accepted."""
    with requests.Session() as client:
        client.headers["Authorization"] = "Bearer secret"
        client.post(f"{url}/api/w/runs", json={"experiment": "e", "id": "r"}, timeout=PATIENCE_SECONDS)
        bodies: dict[str, tuple[int, bytes | Iterator[bytes], Goal | None]] = {
            "of known length": (10 * size, bytes(10 * size), _CPU),
            "in chunks of 64 kB": (10 * size, iter([bytes(64_000)] * (10 * size // 64_000)), _CPU),
            "in chunks of 8 bytes": (size, iter([bytes(8)] * (size // 8)), None),
        }
        for what, (length, body, goal) in bodies.items():
            before = _wait_for_idle_cpu_seconds(pid)
            name = what.replace(" ", "-")
            client.post(
                f"{url}/api/w/runs/r/artifacts?name={name}",
                data=body,
                headers={"Content-Type": "application/octet-stream"},
                timeout=PATIENCE_SECONDS,
            ).raise_for_status()
            seconds = (_wait_for_idle_cpu_seconds(pid) - before) / (length / _MB)
            print_row(
                f"an accepted upload, {what}",
                format_duration(seconds),
                format_duration(plain),
                seconds / plain,
                goal,
            )


def _measure_crowd(bench: Bench, url: str, pid: int) -> None:
    """Many connections without a token, each with an incomplete body of 2 MB; then many that send nothing."""
    count, size = bench.sizes.edge_strangers, 2 * _MB
    begin = head("POST /api/w/import", "Content-Type: application/zip", _content_length(size))
    idle = resident_bytes(pid)
    reset_peak(pid)
    with contextlib.ExitStack() as strangers:
        for _ in range(count):
            connection = strangers.enter_context(_connect(url))
            with contextlib.suppress(ConnectionError):
                connection.sendall(begin + bytes(size - 1))
        growth = peak_bytes(pid) - idle
        what = f"memory, {count} clients without a token, 2 MB each, above idle"
        print_row(what, format_megabytes(growth), "", None, Goal(_MEMORY_BYTES, "< 20 MB"), growth)
    _measure_idle_connections(bench.sizes.edge_silent, url)


def _measure_idle_connections(count: int, url: str) -> None:
    """More idle connections than the server accepts: at the limit it closes the one that was idle longest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_files = count + 200
    if resource.RLIM_INFINITY != soft < n_files:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (n_files if hard == resource.RLIM_INFINITY else min(n_files, hard), hard)
        )
    with contextlib.ExitStack() as strangers:
        for _ in range(count):
            strangers.enter_context(_connect(url))
        for what in ("the first response", "the next response"):
            start = time.perf_counter()
            requests.get(f"{url}/api/health", timeout=PATIENCE_SECONDS)
            seconds = time.perf_counter() - start
            name = f"{what} with {count:,} idle connections"
            print_row(name, format_duration(seconds), "", None, Goal(5, "< 5 s"), seconds)
