"""The page of runs, from stores of many: how long the server takes for it, and how large it is."""

from __future__ import annotations

import time
from urllib.parse import quote

from . import sweeps, wire
from .bench import Bench
from .table import Goal, duration, heading, median, row

_SLOWEST = Goal(0.100, "<= 100 ms")
_LARGEST = Goal(100e3, "< 100 kB")
#: Most rounds end early where an answer takes long.
_ROUND_SECONDS = 4.0
PAGES = (
    ("/runs, as it is without being asked for more", "/runs"),
    ("a sparkline for each run, its series parsed before", "/runs?spark=loss"),
    ("ordered by a metric", f"/runs?order_by={quote('metrics.accuracy desc')}"),
    ("a query", f"/runs?q={quote('metrics.accuracy > 0.5 and params.param_00 < 9 and name ~ run')}"),
    ("an experiment and a page further on", "/runs?experiment=exp-0&offset=50"),
)


def section(bench: Bench) -> None:
    """The rows for the store that the goals speak of."""
    runs = max(size for size in bench.sizes.runs if size <= 10_000)
    heading(f"page: /runs from {runs:,} ended runs, 50 to a page (the no-op's time taken off)")
    store = bench.store(runs)
    store.add_summaries()
    with (
        bench.floor() as floor,
        bench.server(store.path) as server,
        wire.Connection(floor) as noop,
        wire.Connection(server.url) as ours,
    ):
        for what, target in PAGES:
            _page(bench, noop, ours, what, wire.get(target, {"Accept": "text/html"}))
    sweeps.section(bench)


def _page(bench: Bench, noop: wire.Connection, ours: wire.Connection, what: str, request: bytes) -> None:
    size = len(ours.ask(request))
    floors: list[float] = []
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < bench.sizes.list_rounds and time.perf_counter() - began < _ROUND_SECONDS:
        floors += wire.times(noop, [wire.get("/noop")])
        taken += wire.times(ours, [request])
    cost = median(taken) - median(floors)
    row(what, duration(cost), "", None, _SLOWEST, cost)
    row("   its size", f"{size / 1000:.0f} kB", "", None, _LARGEST, size)
