"""Logging: one metric a request, four concurrent clients, batches, and the memory that the points take."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from . import wire
from .bench import Bench
from .gauges import resident_bytes
from .table import Goal, format_duration, format_megabytes, format_rate, median, print_heading, print_note, print_row

_CLIENTS = 4
_BATCH = 10_000
_NAMES = ("no-op", "append", "ours")
_JSON = "application/json"


def new_run(connection: wire.Connection) -> str:
    """Start a run and return its id."""
    run_id: str = connection.ask_json(wire.post("/api/w/runs", {"experiment": "bench"}))["id"]
    return run_id


def measure_single(bench: Bench) -> None:
    """One metric a request on one connection, in small blocks in turn, so that a drift of the machine cancels."""
    sizes = bench.sizes
    with (
        bench.floor() as noop,
        bench.floor() as append,
        bench.server() as server,
        bench.server(None, "--quiet") as quiet,
    ):
        urls = (noop, append, server.url, quiet.url, server.url, append)
        connections = [wire.Connection(url) for url in urls]
        targets = (
            ["/noop", "/append"] + [f"/api/w/runs/{new_run(each)}/metrics" for each in connections[2:5]] + ["/bare"]
        )
        # An unusual parameter of the content type bypasses the fast path, so that Flask handles the request.
        kinds = [_JSON] * 4 + [f"{_JSON}; charset=utf-8; v=1", _JSON]
        blocks: list[list[float]] = [[] for _ in targets]
        for block in range(-2, sizes.post_blocks):
            for index, (connection, target, kind) in enumerate(zip(connections, targets, kinds, strict=True)):
                bodies = [json.dumps({"loss": 1 / (at + 1.5), "step": at}) for at in range(sizes.posts_a_block)]
                requests = [wire.request("POST", target, body.encode(), kind) for body in bodies]
                durations = wire.measure_times(connection, requests)
                if block >= 0:
                    blocks[index].append(median(durations))
        for connection in connections:
            connection.close()
    noop_s, append_s, ours_s, quiet_s, flask_s, bare_s = (median(each) for each in blocks)
    floor_text = f"{format_duration(noop_s)}"
    print_row(
        "one metric POST, p50, to the no-op's",
        format_duration(ours_s),
        floor_text,
        _paired_ratio(blocks, 2),
        Goal(1.25, "<= 1.25x"),
    )
    print_row(
        "the same, without a log line for each request (--quiet)",
        format_duration(quiet_s),
        floor_text,
        _paired_ratio(blocks, 3),
    )
    print_row("for orientation: the append floor", format_duration(append_s), floor_text, _paired_ratio(blocks, 1))
    floor_text = format_duration(append_s)
    print_row(
        "one metric POST to the append floor's",
        format_duration(ours_s),
        floor_text,
        _paired_ratio(blocks, 2, 1),
        Goal(1.15, "<= 1.15x"),
    )
    print_row(
        "one that goes through Flask, to the append floor's",
        format_duration(flask_s),
        floor_text,
        _paired_ratio(blocks, 4, 1),
    )
    print_row(
        "one metric POST to a bare append's, without Flask",
        format_duration(quiet_s),
        format_duration(bare_s),
        _paired_ratio(blocks, 3, 5),
    )


def _paired_ratio(blocks: list[list[float]], index: int, floor: int = 0) -> float:
    return median([one / other for one, other in zip(blocks[index], blocks[floor], strict=True)])


def measure_four_clients(bench: Bench) -> None:
    """Four processes that log as fast as they can, each to its own run."""
    sizes = bench.sizes
    with bench.floor() as noop, bench.floor() as append, bench.server() as server:
        urls = [noop, append, server.url]
        with wire.Connection(server.url) as connection:
            runs = [new_run(connection) for _ in range(_CLIENTS)]
        barrier = multiprocessing.Barrier(_CLIENTS)
        rates: Queue[tuple[int, float]] = multiprocessing.get_context().Queue()
        processes = [
            multiprocessing.Process(
                target=_run_client, args=(barrier, rates, urls, run_id, sizes.client_blocks, sizes.client_seconds)
            )
            for run_id in runs
        ]
        for process in processes:
            process.start()
        totals: list[list[float]] = [[0.0] * sizes.client_blocks for _ in urls]
        for _ in range(_CLIENTS * len(urls) * sizes.client_blocks):
            place, per_second = rates.get(timeout=120)
            totals[place % len(urls)][place // len(urls)] += per_second
        for process in processes:
            process.join()
    noop_rate, append_rate, ours_rate = (median(each) for each in totals)
    ratios = [[one / floor for one, floor in zip(each, totals[0], strict=True)] for each in totals]
    print_row(
        "metric POSTs of four client processes at once, to the no-op's",
        format_rate(ours_rate),
        format_rate(noop_rate),
        median(ratios[2]),
        Goal(0.8, ">= 0.8x", at_least=True),
    )
    print_row("for orientation: the append floor", format_rate(append_rate), format_rate(noop_rate), median(ratios[1]))


def _run_client(
    barrier: Barrier, rates: Queue[tuple[int, float]], urls: list[str], run_id: str, blocks: int, seconds: float
) -> None:
    targets = ["/noop", "/append", f"/api/w/runs/{run_id}/metrics"]
    requests = [wire.post(target, {"loss": 0.123456789, "step": 1}) for target in targets]
    connections = [wire.Connection(url) for url in urls]
    for block in range(blocks):
        for index, connection in enumerate(connections):
            barrier.wait(60)
            start = time.perf_counter()
            count = 0
            while time.perf_counter() - start < seconds:
                connection.ask(requests[index])
                count += 1
            rates.put((block * len(urls) + index, count / (time.perf_counter() - start)))


def build_batch_lines(first_step: int, count: int = _BATCH) -> bytes:
    """Build so many points as NDJSON, one metric a line."""
    return b"".join(
        json.dumps({"loss": 1 / (step + 1.5), "step": step}).encode() + b"\n"
        for step in range(first_step, first_step + count)
    )


def build_ndjson_post(target: str, body: bytes) -> bytes:
    """Build a POST of NDJSON."""
    return wire.request("POST", target, body, "application/x-ndjson")


def measure_batches(bench: Bench) -> None:
    """NDJSON of 10,000 points a request, against json.loads of the same lines in a plain loop, in turn."""
    bodies = [build_batch_lines(start * _BATCH) for start in range(5)]
    lines = [body.splitlines() for body in bodies]
    loop, ours, several = [], [], []
    with bench.server() as server, wire.Connection(server.url) as connection:
        target = f"/api/w/runs/{new_run(connection)}/metrics"
        wide = [_build_wide_lines(start * _BATCH) for start in range(5)]
        for number in range(bench.sizes.ndjson_rounds):
            which = number % len(bodies)
            loop.append(_time(lambda which=which: [json.loads(line) for line in lines[which]]))  # type: ignore[misc]
            request = build_ndjson_post(target, bodies[which])
            ours.append(_time(lambda request=request: connection.ask(request)))  # type: ignore[misc]
            request = build_ndjson_post(target, wide[which])
            several.append(_time(lambda request=request: connection.ask(request)))  # type: ignore[misc]
    loop_rate, ours_rate, wide_rate = (_BATCH / median(each) for each in (loop, ours, several))
    bound = min(250_000.0, loop_rate / 2)
    print_row(
        "NDJSON batches of 10,000 points, to a plain loop of json.loads",
        format_rate(ours_rate, "points"),
        format_rate(loop_rate, "lines"),
        ours_rate / loop_rate,
        Goal(bound, f">= {bound / 1000:,.0f}k/s", at_least=True),
        ours_rate,
    )
    print_row("the same with 5 metrics a line (2,000 lines)", format_rate(wide_rate, "points"))


def _build_wide_lines(first_step: int) -> bytes:
    keys = ("loss", "accuracy", "val_loss", "val_accuracy", "lr")
    return b"".join(
        json.dumps({**dict.fromkeys(keys, 1 / (step + 1.5)), "step": step}).encode() + b"\n"
        for step in range(first_step, first_step + _BATCH // len(keys))
    )


def _time(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def measure_growth(bench: Bench) -> None:
    """Print the growth of the server's memory while millions of points are logged to one run."""
    posts = bench.sizes.memory_points // _BATCH
    warm = max(1, posts // 10)
    with bench.server() as server, wire.Connection(server.url) as connection:
        target = f"/api/w/runs/{new_run(connection)}/metrics"
        before = 0.0
        start = time.perf_counter()
        for number in range(posts):
            connection.ask(build_ndjson_post(target, build_batch_lines(number * _BATCH)))
            if number + 1 == warm:
                before = resident_bytes(server.process.pid)
        after = resident_bytes(server.process.pid)
        seconds = time.perf_counter() - start
        bench.memory.append((f"after {posts * _BATCH:,} points in one run", after))
    print_row(
        f"memory: growth from {warm * _BATCH:,} to {posts * _BATCH:,} points logged",
        f"{(after - before) / 1e6:+.1f} MB",
        format_megabytes(before),
        after / before,
        Goal(5e6, "< 5 MB"),
        after - before,
    )
    print_note(f"({posts} batches in {format_duration(seconds)}, made and sent one after the other)")


def section(bench: Bench) -> None:
    """Print all rows."""
    print_heading("write: logging metrics (fsync everysec, the default)")
    measure_single(bench)
    measure_four_clients(bench)
    measure_batches(bench)
    measure_growth(bench)
