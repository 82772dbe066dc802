"""A training's metric POSTs while many have its page open: the pages ask again each two seconds, as live.js does."""

from __future__ import annotations

import http.client
import random
import threading
import time
from urllib.parse import urlsplit

from . import wire
from .bench import Bench
from .stores import value_at
from .table import Goal, duration, heading, median, note, row
from .write import new_run

_GOAL = Goal(0.010, "<= 10 ms")
_EACH_SECONDS = 2.0
_WRITE_EACH_SECONDS = 0.05
_PATIENCE_SECONDS = 30.0


class _Tabs:
    """Open pages, each on a connection and a thread of its own."""

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
            answer = connection.getresponse()
            answer.read()
            self.statuses.append(answer.status)
            if etag := answer.headers.get("ETag"):
                headers["If-None-Match"] = etag
            taken = time.perf_counter() - began
            delay = max(_EACH_SECONDS, float(answer.headers.get("Retry-After", 0)), min(_PATIENCE_SECONDS, 10 * taken))
        connection.close()


def section(bench: Bench) -> None:
    """The rows: alone, and beside tabs of one run and of as many runs as there are tabs."""
    sizes = bench.sizes
    heading(f"tabs: a metric POST each 50 ms to a run of {sizes.tab_points:,} points, p50, while its page is open")
    alone = 0.0
    for what, tabs, runs in (
        ("no page", 0, 1),
        (f"{sizes.tabs} pages", sizes.tabs, 1),
        ("   of 20 runs", sizes.tabs, 20),
    ):
        with bench.server() as server, wire.Connection(server.url) as connection:
            ids = [_long_run(connection, sizes.tab_points) for _ in range(runs)]
            paths = [f"/runs/{ids[number % runs]}" for number in range(tabs)]
            for path in set(paths):
                connection.ask(wire.get(path, {"Accept": "text/html"}))
            with _Tabs(server.url, paths) as opened:
                taken = _posts(connection, ids[0], sizes.tab_points, sizes.tab_seconds)
            p50 = median(taken)
            alone = alone or p50
            row(what, duration(p50), duration(alone), p50 / alone, _GOAL, p50)
            counts = {status: opened.statuses.count(status) for status in sorted(set(opened.statuses))}
            note(f"p99 {duration(sorted(taken)[len(taken) * 99 // 100])}; the pages were answered {counts}")


def _long_run(connection: wire.Connection, points: int) -> str:
    run_id = new_run(connection)
    for start in range(0, points, 10_000):
        steps = range(start, min(start + 10_000, points))
        lines = "".join(f'{{"loss":{value_at(step)},"step":{step}}}\n' for step in steps)
        target = f"/api/w/runs/{run_id}/metrics"
        connection.ask(wire.request("POST", target, lines.encode(), "application/x-ndjson"))
    return run_id


def _posts(connection: wire.Connection, run_id: str, step: int, seconds: float) -> list[float]:
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        step += 1
        taken += wire.times(connection, [wire.post(f"/api/w/runs/{run_id}/metrics", {"loss": 0.5, "step": step})])
        time.sleep(_WRITE_EACH_SECONDS)
    return taken
