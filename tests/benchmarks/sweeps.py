"""The page of a sweep: curves of many runs, grouped, as a scatter plot and with parallel coordinates."""

from __future__ import annotations

import time
from urllib.parse import quote

from . import wire
from .bench import Bench
from .stores import compute_loss
from .table import Goal, format_duration, median, print_heading, print_note, print_row

_METRICS, _POINTS = 5, 200
_TIME, _SIZE = Goal(0.150, "<= 150 ms"), Goal(200e3, "<= 200 kB")
_LONG = Goal(1.0, "<= 1 s")
#: A page is cached; another beginning of the range makes it a new one.
_FROM = "&from=-{}"
PAGES = (
    ("{runs} runs x 5 metrics x 200 points, a line each", "drawn={runs}"),
    ("   the newest 20", "drawn=20"),
    ("   grouped by a param", f"by={quote('params.optimizer')}"),
    ("   scatter", f"part=scatter&across={quote('params.lr')}&color={quote('params.optimizer')}"),
    ("   parallel coordinates", "part=parallel"),
)


def section(bench: Bench) -> None:
    """Print the rows of a sweep, and of one with long runs, the first time and later."""
    runs, long_runs, points = bench.sizes.sweep_runs, bench.sizes.long_sweep_runs, bench.sizes.long_sweep_points
    print_heading(f"page: an experiment of {runs} runs (minus the time of the no-op)")
    data = bench.folder("sweep")
    with (
        bench.floor() as floor,
        bench.server(data, "--fsync", "no") as server,
        wire.Connection(floor) as noop,
        wire.Connection(server.url) as connection,
    ):
        for number in range(runs):
            _log_run(connection, number, [f"metric_{key}" for key in range(_METRICS)], _POINTS)
        for what, query in PAGES:
            _measure_page(bench, noop, connection, what.format(runs=runs), query.format(runs=runs))
    bench.remove(data)
    print_heading(f"page: an experiment of {long_runs} runs of {points:,} points, all drawn")
    data = bench.folder("long-sweep")
    with bench.server(data, "--fsync", "no") as server, wire.Connection(server.url) as connection:
        for number in range(long_runs):
            _log_run(connection, number, ["loss"], points)
    with bench.server(data) as server, wire.Connection(server.url) as connection:
        first, _ = _time_page(connection, f"drawn={long_runs}&from=-1")
        print_row("the first request, which stores the thinned series", format_duration(first))
    with bench.server(data) as server, wire.Connection(server.url) as connection:
        again, size = _time_page(connection, f"drawn={long_runs}&from=-2")
        print_row(
            "the first request to a new server, from the thinned series", format_duration(again), "", None, _LONG, again
        )
        print_row("   its size", f"{size / 1000:.0f} kB", "", None, _SIZE, size)
        then = min(_time_page(connection, f"drawn={long_runs}&from=-{number}")[0] for number in range(3, 6))
        print_row("later requests", format_duration(then), "", None, _LONG, then)
    print_note("grouped, the same curves take about the same time")
    bench.remove(data)


def _log_run(connection: wire.Connection, number: int, keys: list[str], points: int) -> None:
    run_id = connection.ask_json(wire.post("/api/w/runs", {"experiment": "sweep", "name": f"run {number}"}))["id"]
    base = f"/api/w/runs/{run_id}"
    connection.ask(
        wire.post(f"{base}/params", {"optimizer": ("adam", "adamw", "sgd")[number % 3], "lr": 0.1 / (number + 1)})
    )
    for start in range(0, points, 5000):
        steps = range(start, min(start + 5000, points))
        body = [{"metrics": {key: compute_loss(step) + number for key in keys}, "step": step} for step in steps]
        connection.ask(wire.post(f"{base}/metrics", body))
    connection.ask(wire.post(f"{base}/end", {"status": "completed"}))


def _time_page(connection: wire.Connection, query: str) -> tuple[float, int]:
    """Return the duration of a page, and its size in bytes."""
    began = time.perf_counter()
    size = len(connection.ask(wire.get(f"/experiments/sweep?{query}", {"Accept": "text/html"})))
    return time.perf_counter() - began, size


def _measure_page(bench: Bench, noop: wire.Connection, connection: wire.Connection, what: str, query: str) -> None:
    durations, floors, size = [], [], 0
    _time_page(connection, query)  # the series are parsed once
    for number in range(1, bench.sizes.list_rounds + 1):
        floors += wire.measure_times(noop, [wire.get("/noop")])
        seconds, size = _time_page(connection, query + _FROM.format(number))
        durations.append(seconds)
    cost = median(durations) - median(floors)
    print_row(what, format_duration(cost), "", None, _TIME, cost)
    print_row("   its size", f"{size / 1000:.0f} kB", "", None, _SIZE, size)
