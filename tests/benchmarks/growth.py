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
from .table import Goal, format_duration, median, print_heading, print_row

ALL, _ONE_EXPERIMENT = "/api/runs?limit=100", "/api/runs?limit=100&experiment=all"
_STEPS = ("start a run", "its first metric", "its end", "newest 100 of all", "newest 100 of one experiment of all runs")
_SAME = Goal(1.5, "<= 1.5x")


def write_slim_store(path: Path, runs: int) -> Path:
    """Write a store of so many ended runs of one experiment, without points, since only their meta.json is read."""
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
class _StepTimes:
    """The seconds of each step of a run."""

    start: float
    metric: float
    end: float


def _run_once(connection: wire.Connection) -> _StepTimes:
    began = time.perf_counter()
    run_id = connection.ask_json(wire.post("/api/w/runs", {"experiment": "all"}))["id"]
    at_start = time.perf_counter()
    connection.ask(wire.post(f"/api/w/runs/{run_id}/metrics", {"loss": 0.5, "step": 1}))
    at_metric = time.perf_counter()
    connection.ask(wire.post(f"/api/w/runs/{run_id}/end", {"status": "completed"}))
    return _StepTimes(at_start - began, at_metric - at_start, time.perf_counter() - at_metric)


@contextlib.contextmanager
def _serve_store(bench: Bench, runs: int) -> Iterator[wire.Connection]:
    store = write_slim_store(bench.folder(f"slim-{runs}"), runs)
    try:
        with bench.server(store, "--quiet") as server, wire.Connection(server.url) as connection:
            connection.ask(wire.get(ALL))
            _run_once(connection)
            yield connection
    finally:
        bench.remove(store)


def _measure(connections: list[wire.Connection], rounds: int) -> list[dict[str, float]]:
    """Return the p50 of each step for each server. In turns, so that other load affects all of them alike."""
    durations: list[dict[str, list[float]]] = [{step: [] for step in _STEPS} for _ in connections]
    for _ in range(rounds):
        for connection, steps in zip(connections, durations, strict=True):
            life = _run_once(connection)
            step_times = (
                life.start,
                life.metric,
                life.end,
                _time_get(connection, ALL),
                _time_get(connection, _ONE_EXPERIMENT),
            )
            for step, seconds in zip(_STEPS, step_times, strict=True):
                steps[step].append(seconds)
    return [{step: median(seconds) for step, seconds in steps.items()} for steps in durations]


def _time_get(connection: wire.Connection, url: str) -> float:
    began = time.perf_counter()
    connection.ask(wire.get(url))
    return time.perf_counter() - began


def section(bench: Bench) -> None:
    """Print a row for each step and store, as ratios to the smallest store; then many runs in sequence."""
    smallest, *larger = bench.sizes.growth
    print_heading(f"growth: p50 in a store of so many runs, to that in one of {smallest:,}")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(_serve_store(bench, runs)) for runs in bench.sizes.growth]
        few, *results = _measure(connections, bench.sizes.growth_rounds)
    for runs, many in zip(larger, results, strict=True):
        for step in _STEPS:
            print_row(
                f"{step}, among {runs:,}",
                format_duration(many[step]),
                format_duration(few[step]),
                many[step] / few[step],
                _SAME if step in _STEPS[:3] else None,
            )
        newest = many[_STEPS[3]]
        what = f"newest 100 of one experiment of {runs:,}, to that of all"
        print_row(what, format_duration(many[_STEPS[4]]), format_duration(newest), many[_STEPS[4]] / newest, _SAME)
    _sequence(bench)


def _sequence(bench: Bench) -> None:
    runs = bench.sizes.sequence_runs
    with bench.server(None, "--quiet") as server, wire.Connection(server.url) as connection:
        began = time.perf_counter()
        lives = []
        for _ in range(runs):
            life = _run_once(connection)
            lives.append(life.start + life.metric + life.end)
            connection.ask(wire.get("/api/runs?limit=1"))
        seconds = time.perf_counter() - began
    quarter = runs // 4
    first, last = median(lives[:quarter]), median(lives[-quarter:])
    print_row(
        f"the last quarter of {runs:,} runs in sequence, to the first",
        format_duration(last),
        format_duration(first),
        last / first,
        _SAME,
    )
    at_most = Goal(runs * 0.012, f"<= {runs * 0.012:.0f} s")
    print_row(f"{runs:,} runs of 4 requests each, by one client", format_duration(seconds), "", None, at_most, seconds)
