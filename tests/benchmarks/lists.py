"""Lists and searches over stores of many runs, from a cold start and warm."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import quote

from support.servers import Running

from . import wire
from .bench import Bench
from .gauges import resident_bytes
from .table import Goal, duration, heading, median, megabytes, note, row

NEWEST = "/api/runs?limit=100"
ORDERED = f"/api/runs?experiment=exp-0&order_by={quote('metrics.accuracy desc')}&limit=100"
SEARCH = "/api/search?metric_key=accuracy&op=%3E%3D&metric_value=0.9&experiment=exp-0"
FULL_SEARCH = f"/api/runs?order_by={quote('metrics.accuracy desc')}&limit=100"
#: Most rounds end early where an answer takes long.
_ROUND_SECONDS = 4.0


@dataclass(frozen=True)
class Warm:
    """p50 of each question in seconds, without what the same client takes for the no-op's answer."""

    newest: float
    ordered: float
    search: float | None
    full: float
    unchanged: float
    whole_newest: float


@dataclass(frozen=True)
class Cold:
    """Seconds from the start of the process to the first answer of each kind."""

    newest: float
    search: float


@dataclass(frozen=True)
class Measured:
    """The cost of a store of so many runs, with memory in bytes."""

    without_summaries: Cold
    kept: int
    cold: Cold
    warm: Warm
    memory: float


def _cold(bench: Bench, runs: int) -> Cold:
    start = time.perf_counter()
    with bench.server(bench.store(runs).path) as server, wire.Connection(server.url) as connection:
        connection.ask(wire.get(NEWEST))
        newest = time.perf_counter() - start
        connection.ask(wire.get(FULL_SEARCH))
        return Cold(newest, time.perf_counter() - start)


def measured(bench: Bench, runs: int) -> Measured:
    """Measure a store of so many runs: cold without summaries, cold with them, warm. Once a run of the benchmarks."""
    if runs in bench.lists:
        return bench.lists[runs]
    store = bench.store(runs)
    first = _cold(bench, runs)
    kept = store.summaries()
    store.add_summaries()
    colds = [_cold(bench, runs) for _ in range(bench.sizes.cold_rounds)]
    with bench.floor() as floor, bench.server(store.path) as server:
        warm = _warm(bench, floor, server)
        memory = resident_bytes(server.process.pid)
    bench.memory.append((f"after lists and searches over {runs:,} runs", memory))
    cold = Cold(median([each.newest for each in colds]), median([each.search for each in colds]))
    bench.lists[runs] = Measured(first, kept, cold, warm, memory)
    return bench.lists[runs]


def _warm(bench: Bench, floor: str, server: Running) -> Warm:
    with wire.Connection(floor) as noop, wire.Connection(server.url) as ours:
        etag = ours.ask_headers(wire.get(NEWEST)).get("etag", "")
        asked = {
            "newest": wire.get(NEWEST),
            "ordered": wire.get(ORDERED),
            "full": wire.get(FULL_SEARCH),
            "unchanged": wire.get(NEWEST, {"If-None-Match": etag}),
        }
        try:
            ours.ask(wire.get(SEARCH))
            asked["search"] = wire.get(SEARCH)
        except wire.ApiError:
            pass  # a server from before /api/search
        found = {}
        for name, request in asked.items():
            ours.ask(request)
            floors: list[float] = []
            taken: list[float] = []
            began = time.perf_counter()
            while len(taken) < bench.sizes.list_rounds and time.perf_counter() - began < _ROUND_SECONDS:
                floors += wire.times(noop, [wire.get("/noop")])
                taken += wire.times(ours, [request])
            found[name] = (median(taken) - median(floors), median(taken))
    return Warm(
        newest=found["newest"][0],
        ordered=found["ordered"][0],
        search=found["search"][0] if "search" in found else None,
        full=found["full"][0],
        unchanged=found["unchanged"][0],
        whole_newest=found["newest"][1],
    )


def section(bench: Bench) -> None:
    """The rows for the store that the goals speak of, and for a ten times larger one where it is asked for."""
    runs = max(size for size in bench.sizes.runs if size <= 10_000)
    heading(f"list: {runs:,} ended runs of 20 params and 5 metrics with 100 points each (the no-op's time taken off)")
    found = measured(bench, runs)
    warm = found.warm
    row("newest 100, warm", duration(warm.newest), "", None, Goal(0.010, "<= 10 ms"), warm.newest)
    row("the same, nothing changed (304)", duration(warm.unchanged))
    limit = Goal(0.030, "<= 30 ms")
    row("one experiment, ordered by a metric, first 100", duration(warm.ordered), "", None, limit, warm.ordered)
    if warm.search is None:
        note("GET /api/search is not there yet")
    else:
        row("one experiment, a metric condition (GET /api/search)", duration(warm.search), "", None, limit, warm.search)
    row("all runs ordered by a metric, first 100", duration(warm.full))
    cold = found.cold
    row("start of the process to the newest 100", duration(cold.newest), "", None, Goal(1, "<= 1 s"), cold.newest)
    row("start of the process to a first full search", duration(cold.search), "", None, Goal(3, "<= 3 s"), cold.search)
    first = found.without_summaries
    row("start to the newest 100, no summary.json anywhere", duration(first.newest))
    row("start to a first full search, no summary.json anywhere", duration(first.search))
    note(f"({found.kept:,} of {runs:,} summaries were kept by that first server)")
    row("memory after these", megabytes(found.memory), "", None, Goal(150e6, "< 150 MB"), found.memory)
    for larger in (size for size in bench.sizes.runs if size > 10_000):
        grown = measured(bench, larger)
        row(
            f"newest 100 of {larger:,} runs, to that of {runs:,}",
            duration(grown.warm.newest),
            duration(warm.newest),
            grown.warm.newest / warm.newest,
            Goal(2, "<= 2x"),
        )
        row(f"start of the process to the newest 100 of {larger:,} runs", duration(grown.cold.newest))
        row(f"memory with {larger:,} runs", megabytes(grown.memory))
