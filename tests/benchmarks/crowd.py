"""Fifty trainings, each logging to its own run, while a list of 10,000 runs is open in a browser."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event

from . import wire
from .bench import Bench
from .growth import write_slim_store
from .table import Goal, format_duration, median, print_heading, print_note, print_row
from .write import new_run

_GOAL = Goal(0.050, "<= 50 ms")
_PROCESSES = 5
_POLL_SECONDS = 1.0
#: The interval of each training: 500 points a second for 50 trainings.
_WRITE_EACH_SECONDS = 0.1


def section(bench: Bench) -> None:
    """Print p50 and p99 of a POST, without a reader and with one that requests the page each second."""
    sizes = bench.sizes
    runs = max(sizes.runs)
    print_heading(
        f"crowd: {sizes.crowd} clients, each logging ten times a second to its own run, in a store of {runs:,} runs"
    )
    data = write_slim_store(bench.folder("store"), runs)
    with bench.server(data, "--quiet") as server:
        with wire.Connection(server.url) as connection:
            ids = [new_run(connection) for _ in range(sizes.crowd)]
            connection.ask(wire.get("/runs", {"Accept": "text/html"}))
        alone = 0.0
        for what, path in (("no reader", None), ("the page of runs requested every second", "/runs")):
            durations, pages = _measure(server.url, ids, sizes.crowd_seconds, path)
            p99 = durations[len(durations) * 99 // 100]
            alone = alone or p99
            print_row(f"p99 of a POST, {what}", format_duration(p99), format_duration(alone), p99 / alone, _GOAL, p99)
            pages_text = f"; {len(pages)} pages, {format_duration(median(pages))} each" if pages else ""
            print_note(
                f"p50 {format_duration(median(durations))}, longest {format_duration(durations[-1])}, "
                f"of {len(durations)}{pages_text}"
            )


def _measure(url: str, ids: list[str], seconds: float, path: str | None) -> tuple[list[float], list[float]]:
    """Return the duration of each POST, shortest first, and of each page."""
    context = multiprocessing.get_context()
    barrier, stop, results = context.Barrier(_PROCESSES + 1), context.Event(), context.Queue()
    shares = [ids[place::_PROCESSES] for place in range(_PROCESSES)]
    processes = [context.Process(target=_write, args=(barrier, stop, results, url, share)) for share in shares]
    for process in processes:
        process.start()
    pages: list[float] = []
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(wire.Connection(url))
        barrier.wait(60)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            began = time.perf_counter()
            if path is not None:
                connection.ask(wire.get(path, {"Accept": "text/html"}))
                pages.append(time.perf_counter() - began)
            time.sleep(max(0.0, _POLL_SECONDS - (time.perf_counter() - began)))
        stop.set()
    durations = [each for _ in processes for each in results.get(timeout=60)]
    for process in processes:
        process.join()
    return sorted(durations), pages


def _write(barrier: Barrier, stop: Event, results: Queue[list[float]], url: str, ids: list[str]) -> None:
    durations: list[float] = []
    threads = [
        threading.Thread(target=_train, args=(stop, url, run_id, place, durations)) for place, run_id in enumerate(ids)
    ]
    barrier.wait(60)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(durations)


def _train(stop: Event, url: str, run_id: str, place: int, durations: list[float]) -> None:
    with wire.Connection(url) as connection:
        request = wire.post(f"/api/w/runs/{run_id}/metrics", {"loss": 0.5, "step": 1})
        time.sleep(place * _WRITE_EACH_SECONDS / 10)
        while not stop.is_set():
            durations += wire.measure_times(connection, [request])
            time.sleep(_WRITE_EACH_SECONDS)
