"""Lists and searches over stores of many runs, from a cold start and warm."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import quote

from support.servers import Server

from . import wire
from .bench import Bench
from .gauges import resident_bytes
from .table import Goal, format_duration, format_megabytes, median, print_heading, print_note, print_row

NEWEST = "/api/runs?limit=100"
ORDERED = f"/api/runs?experiment=exp-0&order_by={quote('metrics.accuracy desc')}&limit=100"
SEARCH = "/api/search?metric_key=accuracy&op=%3E%3D&metric_value=0.9&experiment=exp-0"
FULL_SEARCH = f"/api/runs?order_by={quote('metrics.accuracy desc')}&limit=100"
#: Rounds of slow responses end early.
_ROUND_SECONDS = 4.0


@dataclass(frozen=True)
class Warm:
    """The p50 of each request in seconds, minus the time of the no-op for the same client."""

    newest: float
    ordered: float
    search: float | None
    full: float
    unchanged: float
    whole_newest: float


@dataclass(frozen=True)
class Cold:
    """The seconds from the start of the process to the first response of each kind."""

    newest: float
    search: float


@dataclass(frozen=True)
class StoreFigures:
    """The figures of a store, with memory in bytes."""

    without_summaries: Cold
    n_summaries: int
    cold: Cold
    warm: Warm
    memory: float


def _measure_cold(bench: Bench, runs: int) -> Cold:
    start = time.perf_counter()
    with bench.server(bench.store(runs).path) as server, wire.Connection(server.url) as connection:
        connection.ask(wire.get(NEWEST))
        newest = time.perf_counter() - start
        connection.ask(wire.get(FULL_SEARCH))
        return Cold(newest, time.perf_counter() - start)


def measure_store(bench: Bench, runs: int) -> StoreFigures:
    """Measure a store of so many runs: cold without summaries, cold with them, and warm. Measured once."""
    if runs in bench.lists:
        return bench.lists[runs]
    store = bench.store(runs)
    first = _measure_cold(bench, runs)
    n_summaries = store.count_summaries()
    store.add_summaries()
    colds = [_measure_cold(bench, runs) for _ in range(bench.sizes.cold_rounds)]
    with bench.floor() as floor, bench.server(store.path) as server:
        warm = _measure_warm(bench, floor, server)
        memory = resident_bytes(server.process.pid)
    bench.memory.append((f"after lists and searches over {runs:,} runs", memory))
    cold = Cold(median([each.newest for each in colds]), median([each.search for each in colds]))
    bench.lists[runs] = StoreFigures(first, n_summaries, cold, warm, memory)
    return bench.lists[runs]


def _measure_warm(bench: Bench, floor: str, server: Server) -> Warm:
    with wire.Connection(floor) as noop, wire.Connection(server.url) as connection:
        etag = connection.ask_headers(wire.get(NEWEST)).get("etag", "")
        requests = {
            "newest": wire.get(NEWEST),
            "ordered": wire.get(ORDERED),
            "full": wire.get(FULL_SEARCH),
            "unchanged": wire.get(NEWEST, {"If-None-Match": etag}),
        }
        try:
            connection.ask(wire.get(SEARCH))
            requests["search"] = wire.get(SEARCH)
        except wire.ApiError:
            pass  # a server without /api/search
        figures = {}
        for name, request in requests.items():
            connection.ask(request)
            floors: list[float] = []
            durations: list[float] = []
            began = time.perf_counter()
            while len(durations) < bench.sizes.list_rounds and time.perf_counter() - began < _ROUND_SECONDS:
                floors += wire.measure_times(noop, [wire.get("/noop")])
                durations += wire.measure_times(connection, [request])
            figures[name] = (median(durations) - median(floors), median(durations))
    return Warm(
        newest=figures["newest"][0],
        ordered=figures["ordered"][0],
        search=figures["search"][0] if "search" in figures else None,
        full=figures["full"][0],
        unchanged=figures["unchanged"][0],
        whole_newest=figures["newest"][1],
    )


def section(bench: Bench) -> None:
    """Print the rows of the store that the goals are about, and with --large of one ten times as large."""
    runs = max(size for size in bench.sizes.runs if size <= 10_000)
    print_heading(
        f"list: {runs:,} ended runs of 20 params and 5 metrics with 100 points each (minus the time of the no-op)"
    )
    figures = measure_store(bench, runs)
    warm = figures.warm
    print_row("newest 100, warm", format_duration(warm.newest), "", None, Goal(0.010, "<= 10 ms"), warm.newest)
    print_row("the same, nothing changed (304)", format_duration(warm.unchanged))
    limit = Goal(0.030, "<= 30 ms")
    print_row(
        "one experiment, ordered by a metric, first 100", format_duration(warm.ordered), "", None, limit, warm.ordered
    )
    if warm.search is None:
        print_note("there is no GET /api/search")
    else:
        print_row(
            "one experiment, a metric condition (GET /api/search)",
            format_duration(warm.search),
            "",
            None,
            limit,
            warm.search,
        )
    print_row("all runs ordered by a metric, first 100", format_duration(warm.full))
    cold = figures.cold
    print_row(
        "start of the process to the newest 100", format_duration(cold.newest), "", None, Goal(1, "<= 1 s"), cold.newest
    )
    print_row(
        "start of the process to a first full search",
        format_duration(cold.search),
        "",
        None,
        Goal(3, "<= 3 s"),
        cold.search,
    )
    first = figures.without_summaries
    print_row("start to the newest 100, no summary.json anywhere", format_duration(first.newest))
    print_row("start to a first full search, no summary.json anywhere", format_duration(first.search))
    print_note(f"({figures.n_summaries:,} of {runs:,} summaries were written by the first server)")
    print_row("memory after these", format_megabytes(figures.memory), "", None, Goal(150e6, "< 150 MB"), figures.memory)
    for larger in (size for size in bench.sizes.runs if size > 10_000):
        large = measure_store(bench, larger)
        print_row(
            f"newest 100 of {larger:,} runs, to that of {runs:,}",
            format_duration(large.warm.newest),
            format_duration(warm.newest),
            large.warm.newest / warm.newest,
            Goal(2, "<= 2x"),
        )
        print_row(f"start of the process to the newest 100 of {larger:,} runs", format_duration(large.cold.newest))
        print_row(f"memory with {larger:,} runs", format_megabytes(large.memory))
