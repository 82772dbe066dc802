"""A cold start of a large store: the time to its newest runs, and the memory that idle runs take."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from . import wire
from .bench import Bench
from .gauges import cpu_seconds, peak_bytes, resident_bytes
from .growth import ALL, slim_store
from .table import Goal, duration, heading, megabytes, note, row

_SOON, _SMALL = Goal(2, "<= 2 s"), Goal(200e6, "<= 200 MB")


def section(bench: Bench) -> None:
    """A row for each way in which a server may find the store."""
    runs = bench.sizes.start_runs
    heading(f"start-100k: from the start of the process to the newest 100 of {runs:,} runs")
    with bench.server(None, "--quiet") as server, wire.Connection(server.url) as connection:
        connection.ask(wire.get(ALL))
        empty = resident_bytes(server.process.pid)
    store = slim_store(bench.folder(f"slim-{runs}"), runs)
    _start(bench, store, runs, empty, "the first of all, which reads every meta.json")
    _start(bench, store, runs, empty, "a later one", stop_by=signal.SIGKILL)
    _start(bench, store, runs, empty, "one after a kill")
    for number in range(0, runs, 100):  # behind the server's back, while it is down
        path = f"{store}/runs/made-{number:07}/meta.json"
        content = Path(path).read_bytes()
        os.rename(path, f"{path}.before")
        Path(path).write_bytes(content)
    _start(bench, store, runs, empty, "one after which one run of a hundred has changed")
    bench.remove(store)


def _start(
    bench: Bench,
    store: Path,
    runs: int,
    empty: float,
    what: str,
    stop_by: signal.Signals = signal.SIGTERM,
) -> None:
    began = time.perf_counter()
    with bench.server(store, "--quiet") as server, wire.Connection(server.url) as connection:
        connection.ask(wire.get(ALL))
        taken = time.perf_counter() - began
        pid = server.process.pid
        resident = resident_bytes(pid)
        row(what, duration(taken), "", None, _SOON, taken)
        row("  its CPU time", duration(cpu_seconds(pid)))
        row("  memory after it", megabytes(resident), "", None, _SMALL, resident)
        row("  the most that it took", megabytes(peak_bytes(pid)))
        note(f"(a run that nothing is asked of takes {(resident - empty) / runs:,.0f} bytes)")
        server.stop(stop_by)
