"""Lists without notifications of changes, as on macOS and network disks: the server checks each run once a second.

`python -m benchmarks.deaf COMMAND` runs the command with inotify switched off.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

from support.servers import run_server

from chachaml_lite.store import scan, watch

from . import wire
from .bench import Bench
from .growth import ALL, write_slim_store
from .table import Goal, format_duration, median, print_heading, print_row

_TESTS = str(Path(__file__).resolve().parents[1])
#: A list within the second after a check costs the same as one with inotify.
_SAME = Goal(1.5, "<= 1.5x")
#: An open page requests the list every two seconds, which must leave the server most of its time.
_SHARE = Goal(0.25, "<= 25%")


def section(bench: Bench) -> None:
    """Print the time of a list with a check, and of those within the second after it, compared with inotify."""
    runs, looks = bench.sizes.deaf_runs, bench.sizes.deaf_looks
    print_heading(f"deaf: the newest 100 of {runs:,} runs without inotify, compared with inotify")
    store = write_slim_store(bench.folder(f"slim-{runs}"), runs)
    wrapper = (sys.executable, "-m", "benchmarks.deaf")
    with (
        run_server(store, bench.folder("server"), "--quiet", wrapper=wrapper, PYTHONPATH=_TESTS) as deaf_server,
        bench.server(store, "--quiet", "--read-only") as server,
        wire.Connection(deaf_server.url) as deaf,
        wire.Connection(server.url) as hearing,
    ):
        with_inotify, within_one, looking = [], [], []
        for connection in (deaf, hearing):
            connection.ask(wire.get(ALL))
        for _ in range(looks):
            time.sleep(scan.LOOK_SECONDS)
            looking.append(_time_list(deaf))
            for _ in range(20):
                within_one.append(_time_list(deaf))
                with_inotify.append(_time_list(hearing))
    floor, within, look = median(with_inotify), median(within_one), median(looking)
    print_row("within a second after a check", format_duration(within), format_duration(floor), within / floor, _SAME)
    print_row("with a check of each run", format_duration(look), format_duration(floor), look / floor)
    share = look / (2 * scan.LOOK_SECONDS)
    print_row("share of the server's time for a page that polls every 2 s", f"{share:.1%}", "", None, _SHARE, share)
    bench.remove(store)


def _time_list(connection: wire.Connection) -> float:
    began = time.perf_counter()
    connection.ask(wire.get(ALL))
    return time.perf_counter() - began


def _run_without_inotify(module: str, arguments: list[str]) -> None:
    watch._LOCAL = frozenset()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    _run_without_inotify(sys.argv[3], sys.argv[4:])  # PYTHON -m MODULE ARGUMENTS
