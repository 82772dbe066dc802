"""The number of waitress's threads: small requests with 1 to 8 of them, and a small request beside slow ones."""

from __future__ import annotations

import contextlib
import selectors
import threading
import time

import click

from . import wire
from .bench import Bench
from .series import build_chart_request
from .stores import write_long_series
from .table import format_duration, median
from .write import new_run

_THREADS = (1, 2, 4, 8)
_CONNECTIONS = (1, 16)
_ROUNDS = 3


def measure_closed_loop(url: str, requests: list[bytes], seconds: float) -> float:
    """Return requests per second, on a connection for each request that repeats it after each response."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as ready:
        for request in requests:
            connection = stack.enter_context(wire.Connection(url))
            ready.register(connection.socket, selectors.EVENT_READ, (connection, request))
            connection.socket.sendall(request)
        count = 0
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            for key, _ in ready.select(1):
                connection, request = key.data
                connection.read_response()
                connection.socket.sendall(request)
                count += 1
        total_seconds = time.perf_counter() - start
        for key in list(ready.get_map().values()):
            key.data[0].read_response()
    return count / total_seconds


def section(bench: Bench) -> None:
    """Print the table, and the time of a small request while other clients read long series."""
    click.echo("\nthreads: metric POSTs a second, each connection with a run of its own")
    seconds = bench.sizes.thread_seconds
    with contextlib.ExitStack() as stack:
        servers = {count: stack.enter_context(bench.server(None, "--threads", str(count))) for count in _THREADS}
        requests = {}
        for count, server in servers.items():
            with wire.Connection(server.url) as connection:
                targets = [f"/api/w/runs/{new_run(connection)}/metrics" for _ in range(max(_CONNECTIONS))]
                requests[count] = [wire.post(target, {"loss": 0.5, "step": 1}) for target in targets]
        results: dict[tuple[int, int], list[float]] = {(a, b): [] for a in _THREADS for b in _CONNECTIONS}
        for _ in range(_ROUNDS):
            for (count, connections), rates in results.items():
                rates.append(measure_closed_loop(servers[count].url, requests[count][:connections], seconds))
    for count in _THREADS:
        cells = [
            f"{connections:>3} connections {median(results[count, connections]):>7,.0f}/s"
            for connections in _CONNECTIONS
        ]
        click.echo(f"  {count} threads:  {'    '.join(cells)}")
    _measure_beside_slow_ones(bench)


def _measure_beside_slow_ones(bench: Bench) -> None:
    points = bench.sizes.series_points // 5
    click.echo(f"  a metric POST each 20 ms, while three clients read series of {points:,} points whole, p50 and p90:")
    for count in _THREADS:
        data = bench.folder("beside")
        write_long_series(data / "runs" / "long", bench.templates()[0], points)
        with bench.server(data, "--threads", str(count)) as server, wire.Connection(server.url) as connection:
            connection.ask(build_chart_request("long"))
            stop = threading.Event()
            readers = [threading.Thread(target=_read_until_stopped, args=(server.url, stop)) for _ in range(3)]
            request = wire.post(f"/api/w/runs/{new_run(connection)}/metrics", {"loss": 0.5, "step": 1})
            for reader in readers:
                reader.start()
            durations = []
            until = time.perf_counter() + 5 * bench.sizes.thread_seconds
            while time.perf_counter() < until:
                durations += wire.measure_times(connection, [request])
                time.sleep(0.02)
            stop.set()
            for reader in readers:
                reader.join()
        durations.sort()
        click.echo(
            f"  {count} threads:  {format_duration(median(durations))}, "
            f"{format_duration(durations[len(durations) * 9 // 10])}"
        )
        bench.remove(data)


def _read_until_stopped(url: str, stop: threading.Event) -> None:
    with wire.Connection(url) as connection:
        while not stop.is_set():
            connection.receive_and_discard(wire.get("/api/runs/long/metrics?key=loss"))
