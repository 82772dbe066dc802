"""Artifacts: up and down, against hashlib.sha256 of the file plus a copy of it by cp."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

from . import wire
from .bench import Bench
from .gauges import peak_bytes, reset_peak
from .table import Goal, duration, heading, median, megabytes, row
from .write import new_run

_MIB = 1 << 20


def random_file(path: Path, mib: int) -> Path:
    """A file of that size, which nothing can compress."""
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(_MIB))
    return path


def hash_and_copy(path: Path) -> float:
    """Seconds for the sha256 of a file, and then a copy of it by cp in the same folder."""
    start = time.perf_counter()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_MIB):
            digest.update(chunk)
    copy = path.with_suffix(".copy")
    subprocess.run(["cp", str(path), str(copy)], check=True)
    taken = time.perf_counter() - start
    copy.unlink()
    return taken


def speed(size: int, seconds: float) -> str:
    """Bytes in so many seconds, as MB/s."""
    return f"{size / seconds / 1e6:,.0f} MB/s"


def _measure(bench: Bench, mib: int) -> None:
    source = random_file(bench.folder(f"{mib}-mib"), mib)
    size = mib * _MIB
    floor: list[float] = []
    up: list[float] = []
    up_unsynced: list[float] = []
    down: list[float] = []
    with bench.server() as server, bench.server(None, "--fsync", "no") as unsynced:
        for each in (server, unsynced):
            reset_peak(each.process.pid)
        for _ in range(bench.sizes.upload_rounds):
            os.sync()  # what the last round left to be written would be paid for by the next
            floor.append(hash_and_copy(source))
            for each, taken in ((server, up), (unsynced, up_unsynced)):
                os.sync()
                with wire.Connection(each.url) as connection:
                    run_id = new_run(connection)
                    start = time.perf_counter()
                    connection.send_file(wire.upload_head(f"/api/w/runs/{run_id}/artifacts?name=a", size), source)
                    taken.append(time.perf_counter() - start)
                    if each is server:
                        start = time.perf_counter()
                        connection.receive_away(wire.get(f"/api/artifacts/{run_id}/a/download"))
                        down.append(time.perf_counter() - start)
                    connection.ask(wire.request("DELETE", f"/api/w/runs/{run_id}"))
        peak = max(peak_bytes(server.process.pid), peak_bytes(unsynced.process.pid))
    source.unlink()
    bench.memory.append((f"at its peak, on uploads of {mib:,} MiB", peak))
    shown = speed(size, median(floor))
    third = Goal(1 / 3, ">= 0.33x", at_least=True)
    what = f"{mib:,} MiB up, in {duration(median(up))}, to sha256 plus cp"
    row(what, speed(size, median(up)), shown, median(floor) / median(up), third)
    row(
        "the same with --fsync no (cp doesn't sync either)",
        speed(size, median(up_unsynced)),
        shown,
        median(floor) / median(up_unsynced),
    )
    row(f"{mib:,} MiB down", speed(size, median(down)), shown, median(floor) / median(down))
    row("memory at its peak", megabytes(peak), "", None, Goal(100e6, "< 100 MB"), peak)


def section(bench: Bench) -> None:
    """Every size that is asked for."""
    heading("upload: artifacts")
    for mib in bench.sizes.upload_mib:
        _measure(bench, mib)
