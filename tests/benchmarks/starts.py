"""A cold start with a large store: the time to its newest runs, and the memory of idle runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from . import wire
from .bench import Bench
from .gauges import cpu_seconds, peak_bytes, resident_bytes
from .growth import ALL, write_slim_store
from .table import Goal, format_duration, format_megabytes, print_heading, print_note, print_row

_SOON, _SMALL = Goal(2, "<= 2 s"), Goal(200e6, "<= 200 MB")


def section(bench: Bench) -> None:
    """Print the rows of a first start, and of starts after a stop, after a kill and after changes."""
    runs = bench.sizes.start_runs
    print_heading(f"start-100k: from the start of the process to the newest 100 of {runs:,} runs")
    with bench.server(None, "--quiet") as server, wire.Connection(server.url) as connection:
        connection.ask(wire.get(ALL))
        empty = resident_bytes(server.process.pid)
    store = write_slim_store(bench.folder(f"slim-{runs}"), runs)
    _start(bench, store, runs, empty, "the first start, which reads every meta.json")
    _start(bench, store, runs, empty, "a later start", stop_by=signal.SIGKILL)
    _start(bench, store, runs, empty, "a start after a kill")
    for number in range(0, runs, 100):  # changed while no server is running
        path = f"{store}/runs/made-{number:07}/meta.json"
        content = Path(path).read_bytes()
        os.rename(path, f"{path}.before")
        Path(path).write_bytes(content)
    _start(bench, store, runs, empty, "a start after one run in a hundred has changed")
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
        seconds = time.perf_counter() - began
        pid = server.process.pid
        resident = resident_bytes(pid)
        print_row(what, format_duration(seconds), "", None, _SOON, seconds)
        print_row("  its CPU time", format_duration(cpu_seconds(pid)))
        print_row("  memory after it", format_megabytes(resident), "", None, _SMALL, resident)
        print_row("  peak memory", format_megabytes(peak_bytes(pid)))
        print_note(f"(an idle run takes {(resident - empty) / runs:,.0f} bytes)")
        server.stop(stop_by)
