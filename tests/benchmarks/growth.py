"""Figures that must not grow with the store: a run's start, first metric and end, and lists."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import wire
from .bench import Bench
from .table import Goal, duration, heading, median, row

ALL, _OF_ONE = "/api/runs?limit=100", "/api/runs?limit=100&experiment=all"
_STEPS = ("start a run", "its first metric", "its end", "newest 100 of all", "newest 100 of one experiment of all runs")
_SAME = Goal(1.5, "<= 1.5x")


def slim_store(path: Path, runs: int) -> Path:
    """Write a store of so many ended runs of one experiment, without points: what is asked of them are their metas."""
    (path / "runs").mkdir(parents=True)
    for number in range(runs):
        run_id, start_time = f"made-{number:07}", 1_735_689_600_000 + number * 60_000
        os.mkdir(f"{path}/runs/{run_id}")
        meta = {
            "id": run_id,
            "experiment": "all",
            "name": f"run-{number}",
            "status": "completed",
            "start_time": start_time,
            "end_time": start_time + 5_000,
            "error": None,
            "tags": {"host": f"node-{number % 16}"},
            "note": None,
            "datasets": [],
            "parent_run_id": None,
            "created_by": "bench",
        }
        for name, value in (("meta.json", meta), ("params.json", {"lr": number / 1000, "epochs": 10})):
            with open(f"{path}/runs/{run_id}/{name}", "w") as file:
                json.dump(value, file)
    return path


@dataclass(frozen=True)
class _Life:
    """Seconds for each step of a run's life."""

    start: float
    metric: float
    end: float


def _live(connection: wire.Connection) -> _Life:
    began = time.perf_counter()
    run_id = connection.ask_json(wire.post("/api/w/runs", {"experiment": "all"}))["id"]
    started = time.perf_counter()
    connection.ask(wire.post(f"/api/w/runs/{run_id}/metrics", {"loss": 0.5, "step": 1}))
    logged = time.perf_counter()
    connection.ask(wire.post(f"/api/w/runs/{run_id}/end", {"status": "completed"}))
    return _Life(started - began, logged - started, time.perf_counter() - logged)


@contextlib.contextmanager
def _served(bench: Bench, runs: int) -> Iterator[wire.Connection]:
    store = slim_store(bench.folder(f"slim-{runs}"), runs)
    try:
        with bench.server(store, "--quiet") as server, wire.Connection(server.url) as connection:
            connection.ask(wire.get(ALL))
            _live(connection)
            yield connection
    finally:
        bench.remove(store)


def _measure(connections: list[wire.Connection], rounds: int) -> list[dict[str, float]]:
    """The p50 of each step with each server, in turns: what else the machine does meets them all."""
    taken: list[dict[str, list[float]]] = [{step: [] for step in _STEPS} for _ in connections]
    for _ in range(rounds):
        for connection, steps in zip(connections, taken, strict=True):
            life = _live(connection)
            times = (life.start, life.metric, life.end, _asked(connection, ALL), _asked(connection, _OF_ONE))
            for step, seconds in zip(_STEPS, times, strict=True):
                steps[step].append(seconds)
    return [{step: median(seconds) for step, seconds in steps.items()} for steps in taken]


def _asked(connection: wire.Connection, url: str) -> float:
    began = time.perf_counter()
    connection.ask(wire.get(url))
    return time.perf_counter() - began


def section(bench: Bench) -> None:
    """A row for each step and each store, as ratios to the smallest one; then many runs in sequence."""
    smallest, *larger = bench.sizes.growth
    heading(f"growth: p50 in a store of so many runs, to that in one of {smallest:,}")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(_served(bench, runs)) for runs in bench.sizes.growth]
        few, *found = _measure(connections, bench.sizes.growth_rounds)
    for runs, many in zip(larger, found, strict=True):
        for step in _STEPS:
            row(
                f"{step}, among {runs:,}",
                duration(many[step]),
                duration(few[step]),
                many[step] / few[step],
                _SAME if step in _STEPS[:3] else None,
            )
        newest = many[_STEPS[3]]
        what = f"newest 100 of one experiment of {runs:,}, to that of all"
        row(what, duration(many[_STEPS[4]]), duration(newest), many[_STEPS[4]] / newest, _SAME)
    _sequence(bench)


def _sequence(bench: Bench) -> None:
    runs = bench.sizes.sequence_runs
    with bench.server(None, "--quiet") as server, wire.Connection(server.url) as connection:
        began = time.perf_counter()
        lives = []
        for _ in range(runs):
            life = _live(connection)
            lives.append(life.start + life.metric + life.end)
            connection.ask(wire.get("/api/runs?limit=1"))
        taken = time.perf_counter() - began
    quarter = runs // 4
    first, last = median(lives[:quarter]), median(lives[-quarter:])
    row(
        f"the last quarter of {runs:,} runs in sequence, to the first",
        duration(last),
        duration(first),
        last / first,
        _SAME,
    )
    at_most = Goal(runs * 0.012, f"<= {runs * 0.012:.0f} s")
    row(f"{runs:,} runs of 4 requests each, by one client", duration(taken), "", None, at_most, taken)
