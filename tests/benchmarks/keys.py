"""A run with many metrics: the time and size of its page, and of a list with it."""

from __future__ import annotations

import json
import time

from . import wire
from .bench import Bench
from .table import Goal, format_duration, print_heading, print_row
from .write import new_run

_STEPS = 3
_FIRST = Goal(1.0, "<= 1 s")
_PAGE, _LIST = Goal(150e3, "<= 150 kB"), Goal(100e3, "<= 100 kB")


def section(bench: Bench) -> None:
    """Print the rows for each number of keys."""
    print_heading(f"keys: a run with many metrics of {_STEPS} points each, on its first request")
    for keys in bench.sizes.keys:
        data = bench.folder("keys")
        with bench.server(data) as server, wire.Connection(server.url) as connection:
            run_id = new_run(connection)
            for step in range(_STEPS):
                for start in range(0, keys, 1000):
                    names = (f"group{key // 100}/metric {key}" for key in range(start, min(start + 1000, keys)))
                    body = {"metrics": dict.fromkeys(names, step + 0.5), "step": step}
                    connection.ask(wire.post(f"/api/w/runs/{run_id}/metrics", body))
        with bench.server(data) as server, wire.Connection(server.url) as connection:
            for what, target, goal in (
                (f"/runs/:id, {keys:,} keys", f"/runs/{run_id}", _PAGE),
                ("   /runs", "/runs", _LIST),
            ):
                began = time.perf_counter()
                size = len(connection.ask(wire.get(target, {"Accept": "text/html"})))
                seconds = time.perf_counter() - began
                print_row(
                    what,
                    format_duration(seconds),
                    "",
                    None,
                    _FIRST if goal is _PAGE and keys <= 5000 else None,
                    seconds,
                )
                print_row("   its size", f"{size / 1000:.0f} kB", "", None, goal, size)
            began = time.perf_counter()
            response = connection.ask(wire.get(f"/api/runs/{run_id}/metrics?key=group0%2Fmetric%200"))
            print_row("   one series of it", format_duration(time.perf_counter() - began))
            assert len(json.loads(response)["group0/metric 0"]["points"]) == _STEPS
        bench.remove(data)
