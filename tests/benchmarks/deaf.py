"""Lists where the kernel tells of no changes, as on macOS and on network disks: each run is looked at once a second.

`python -m benchmarks.deaf COMMAND` runs the command with inotify switched off.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

from support.servers import running

from chachaml_lite.store import scan, watch

from . import wire
from .bench import Bench
from .growth import ALL, slim_store
from .table import Goal, duration, heading, median, row

_TESTS = str(Path(__file__).resolve().parents[1])
#: A list within the second after a look costs what a list costs where the kernel tells.
_SAME = Goal(1.5, "<= 1.5x")
#: A page that is open asks every two seconds, and leaves the server its time.
_SHARE = Goal(0.25, "<= 25%")


def section(bench: Bench) -> None:
    """The list that looks, and those that follow it within the second, to those of a server with inotify."""
    runs, looks = bench.sizes.deaf_runs, bench.sizes.deaf_looks
    heading(f"deaf: the newest 100 of {runs:,} runs with inotify switched off, to the same with it")
    store = slim_store(bench.folder(f"slim-{runs}"), runs)
    wrapper = (sys.executable, "-m", "benchmarks.deaf")
    with (
        running(store, bench.folder("server"), "--quiet", wrapper=wrapper, PYTHONPATH=_TESTS) as deaf_server,
        bench.server(store, "--quiet", "--read-only") as server,
        wire.Connection(deaf_server.url) as deaf,
        wire.Connection(server.url) as hearing,
    ):
        told, within_one, looking = [], [], []
        for connection in (deaf, hearing):
            connection.ask(wire.get(ALL))
        for _ in range(looks):
            time.sleep(scan.LOOK_SECONDS)
            looking.append(_taken(deaf))
            for _ in range(20):
                within_one.append(_taken(deaf))
                told.append(_taken(hearing))
    floor, within, look = median(told), median(within_one), median(looking)
    row("within a second after a look", duration(within), duration(floor), within / floor, _SAME)
    row("with a look at each run", duration(look), duration(floor), look / floor)
    share = look / (2 * scan.LOOK_SECONDS)
    row("the share of its time for a page that asks every 2 s", f"{share:.1%}", "", None, _SHARE, share)
    bench.remove(store)


def _taken(connection: wire.Connection) -> float:
    began = time.perf_counter()
    connection.ask(wire.get(ALL))
    return time.perf_counter() - began


def _run_without_inotify(module: str, arguments: list[str]) -> None:
    watch._LOCAL = frozenset()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    _run_without_inotify(sys.argv[3], sys.argv[4:])  # PYTHON -m MODULE ARGUMENTS
