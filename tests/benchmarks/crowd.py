"""Fifty trainings that each log to a run of their own, while somebody looks at a list among 10,000 runs."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event

from . import wire
from .bench import Bench
from .growth import slim_store
from .table import Goal, duration, heading, median, note, row
from .write import new_run

_GOAL = Goal(0.050, "<= 50 ms")
_PROCESSES = 5
_POLL_SECONDS = 1.0
#: Each training logs as often as this: 500 points a second of 50 trainings.
_WRITE_EACH_SECONDS = 0.1


def section(bench: Bench) -> None:
    """The rows: p50 and p99 of a POST, with nobody who looks, and with one who asks for the page each second."""
    sizes = bench.sizes
    runs = max(sizes.runs)
    heading(f"crowd: {sizes.crowd} clients, each logging ten times a second to a run of its own, beside {runs:,} runs")
    data = slim_store(bench.folder("store"), runs)
    with bench.server(data, "--quiet") as server:
        with wire.Connection(server.url) as connection:
            ids = [new_run(connection) for _ in range(sizes.crowd)]
            connection.ask(wire.get("/runs", {"Accept": "text/html"}))
        alone = 0.0
        for what, path in (("nobody looks", None), ("a page of the runs is asked for each second", "/runs")):
            taken, pages = _measure(server.url, ids, sizes.crowd_seconds, path)
            p99 = taken[len(taken) * 99 // 100]
            alone = alone or p99
            row(f"p99 of a POST, {what}", duration(p99), duration(alone), p99 / alone, _GOAL, p99)
            seen = f"; {len(pages)} pages, {duration(median(pages))} each" if pages else ""
            note(f"p50 {duration(median(taken))}, longest {duration(taken[-1])}, of {len(taken)}{seen}")


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
    taken = [each for _ in processes for each in results.get(timeout=60)]
    for process in processes:
        process.join()
    return sorted(taken), pages


def _write(barrier: Barrier, stop: Event, results: Queue[list[float]], url: str, ids: list[str]) -> None:
    taken: list[float] = []
    threads = [
        threading.Thread(target=_train, args=(stop, url, run_id, place, taken)) for place, run_id in enumerate(ids)
    ]
    barrier.wait(60)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(taken)


def _train(stop: Event, url: str, run_id: str, place: int, taken: list[float]) -> None:
    with wire.Connection(url) as connection:
        request = wire.post(f"/api/w/runs/{run_id}/metrics", {"loss": 0.5, "step": 1})
        time.sleep(place * _WRITE_EACH_SECONDS / 10)
        while not stop.is_set():
            taken += wire.times(connection, [request])
            time.sleep(_WRITE_EACH_SECONDS)
