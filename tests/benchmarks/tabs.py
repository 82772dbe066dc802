"""A training's metric POSTs while its page is open in many tabs, which poll every two seconds as live.js does."""

from __future__ import annotations

import http.client
import random
import threading
import time
from urllib.parse import urlsplit

from . import wire
from .bench import Bench
from .stores import compute_loss
from .table import Goal, format_duration, median, print_heading, print_note, print_row
from .write import new_run

_GOAL = Goal(0.010, "<= 10 ms")
_EACH_SECONDS = 2.0
_WRITE_EACH_SECONDS = 0.05
_PATIENCE_SECONDS = 30.0


class _Tabs:
    """Open pages, each with its own connection and thread."""

    def __init__(self, url: str, paths: list[str]) -> None:
        self._host = urlsplit(url).netloc
        self._stop = threading.Event()
        self.statuses: list[int] = []
        self._threads = [threading.Thread(target=self._stay_open, args=(path,)) for path in paths]

    def __enter__(self) -> _Tabs:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _stay_open(self, path: str) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        headers = {"Accept": "text/html", "Cache-Control": "max-age=2"}
        delay = random.uniform(0, _EACH_SECONDS)
        while not self._stop.wait(delay):
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            response.read()
            self.statuses.append(response.status)
            if etag := response.headers.get("ETag"):
                headers["If-None-Match"] = etag
            seconds = time.perf_counter() - began
            delay = max(
                _EACH_SECONDS, float(response.headers.get("Retry-After", 0)), min(_PATIENCE_SECONDS, 10 * seconds)
            )
        connection.close()


def section(bench: Bench) -> None:
    """Print the rows: without a tab, with tabs of one run, and with tabs of several runs."""
    sizes = bench.sizes
    print_heading(
        f"tabs: a metric POST each 50 ms to a run of {sizes.tab_points:,} points, p50, while its page is open"
    )
    alone = 0.0
    for what, tabs, runs in (
        ("no page", 0, 1),
        (f"{sizes.tabs} pages", sizes.tabs, 1),
        ("   of 20 runs", sizes.tabs, 20),
    ):
        with bench.server() as server, wire.Connection(server.url) as connection:
            ids = [_log_long_run(connection, sizes.tab_points) for _ in range(runs)]
            paths = [f"/runs/{ids[number % runs]}" for number in range(tabs)]
            for path in set(paths):
                connection.ask(wire.get(path, {"Accept": "text/html"}))
            with _Tabs(server.url, paths) as open_tabs:
                durations = _time_posts(connection, ids[0], sizes.tab_points, sizes.tab_seconds)
            p50 = median(durations)
            alone = alone or p50
            print_row(what, format_duration(p50), format_duration(alone), p50 / alone, _GOAL, p50)
            counts = {status: open_tabs.statuses.count(status) for status in sorted(set(open_tabs.statuses))}
            print_note(
                f"p99 {format_duration(sorted(durations)[len(durations) * 99 // 100])}; "
                f"the pages were answered {counts}"
            )


def _log_long_run(connection: wire.Connection, points: int) -> str:
    run_id = new_run(connection)
    for start in range(0, points, 10_000):
        steps = range(start, min(start + 10_000, points))
        lines = "".join(f'{{"loss":{compute_loss(step)},"step":{step}}}\n' for step in steps)
        target = f"/api/w/runs/{run_id}/metrics"
        connection.ask(wire.request("POST", target, lines.encode(), "application/x-ndjson"))
    return run_id


def _time_posts(connection: wire.Connection, run_id: str, step: int, seconds: float) -> list[float]:
    durations: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        step += 1
        durations += wire.measure_times(
            connection, [wire.post(f"/api/w/runs/{run_id}/metrics", {"loss": 0.5, "step": step})]
        )
        time.sleep(_WRITE_EACH_SECONDS)
    return durations
