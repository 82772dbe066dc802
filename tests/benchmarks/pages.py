"""The page of runs in a large store: the server's time for it, and its size."""

from __future__ import annotations

import time
from urllib.parse import quote

from . import sweeps, wire
from .bench import Bench
from .table import Goal, format_duration, median, print_heading, print_row

_SLOWEST = Goal(0.100, "<= 100 ms")
_LARGEST = Goal(100e3, "< 100 kB")
#: Rounds of slow responses end early.
_ROUND_SECONDS = 4.0
PAGES = (
    ("/runs, as it is without being asked for more", "/runs"),
    ("a sparkline for each run, its series parsed before", "/runs?spark=loss"),
    ("ordered by a metric", f"/runs?order_by={quote('metrics.accuracy desc')}"),
    ("a query", f"/runs?q={quote('metrics.accuracy > 0.5 and params.param_00 < 9 and name ~ run')}"),
    ("an experiment and a page further on", "/runs?experiment=exp-0&offset=50"),
)


def section(bench: Bench) -> None:
    """Print the rows of the store that the goals are about."""
    runs = max(size for size in bench.sizes.runs if size <= 10_000)
    print_heading(f"page: /runs from {runs:,} ended runs, 50 to a page (minus the time of the no-op)")
    store = bench.store(runs)
    store.add_summaries()
    with (
        bench.floor() as floor,
        bench.server(store.path) as server,
        wire.Connection(floor) as noop,
        wire.Connection(server.url) as connection,
    ):
        for what, target in PAGES:
            _measure_page(bench, noop, connection, what, wire.get(target, {"Accept": "text/html"}))
    sweeps.section(bench)


def _measure_page(bench: Bench, noop: wire.Connection, connection: wire.Connection, what: str, request: bytes) -> None:
    size = len(connection.ask(request))
    floors: list[float] = []
    durations: list[float] = []
    began = time.perf_counter()
    while len(durations) < bench.sizes.list_rounds and time.perf_counter() - began < _ROUND_SECONDS:
        floors += wire.measure_times(noop, [wire.get("/noop")])
        durations += wire.measure_times(connection, [request])
    cost = median(durations) - median(floors)
    print_row(what, format_duration(cost), "", None, _SLOWEST, cost)
    print_row("   its size", f"{size / 1000:.0f} kB", "", None, _LARGEST, size)
