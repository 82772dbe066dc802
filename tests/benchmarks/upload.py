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
from .table import Goal, format_duration, format_megabytes, median, print_heading, print_row
from .write import new_run

_MIB = 1 << 20


def write_random_file(path: Path, mib: int) -> Path:
    """Write an incompressible file of that size."""
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(_MIB))
    return path


def time_hash_and_copy(path: Path) -> float:
    """Return the seconds for the sha256 of a file and a copy of it by cp in the same folder."""
    start = time.perf_counter()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_MIB):
            digest.update(chunk)
    copy = path.with_suffix(".copy")
    subprocess.run(["cp", str(path), str(copy)], check=True)
    seconds = time.perf_counter() - start
    copy.unlink()
    return seconds


def format_speed(size: int, seconds: float) -> str:
    """Format a speed as MB/s."""
    return f"{size / seconds / 1e6:,.0f} MB/s"


def _measure(bench: Bench, mib: int) -> None:
    source = write_random_file(bench.folder(f"{mib}-mib"), mib)
    size = mib * _MIB
    floor: list[float] = []
    up: list[float] = []
    up_without_fsync: list[float] = []
    down: list[float] = []
    with bench.server() as server, bench.server(None, "--fsync", "no") as server_without_fsync:
        for each in (server, server_without_fsync):
            reset_peak(each.process.pid)
        for _ in range(bench.sizes.upload_rounds):
            os.sync()  # otherwise this round would pay for the writes of the last one
            floor.append(time_hash_and_copy(source))
            for each, durations in ((server, up), (server_without_fsync, up_without_fsync)):
                os.sync()
                with wire.Connection(each.url) as connection:
                    run_id = new_run(connection)
                    start = time.perf_counter()
                    connection.send_file(wire.build_upload_head(f"/api/w/runs/{run_id}/artifacts?name=a", size), source)
                    durations.append(time.perf_counter() - start)
                    if each is server:
                        start = time.perf_counter()
                        connection.receive_and_discard(wire.get(f"/api/artifacts/{run_id}/a/download"))
                        down.append(time.perf_counter() - start)
                    connection.ask(wire.request("DELETE", f"/api/w/runs/{run_id}"))
        peak = max(peak_bytes(server.process.pid), peak_bytes(server_without_fsync.process.pid))
    source.unlink()
    bench.memory.append((f"at its peak, on uploads of {mib:,} MiB", peak))
    floor_text = format_speed(size, median(floor))
    third = Goal(1 / 3, ">= 0.33x", at_least=True)
    what = f"{mib:,} MiB up, in {format_duration(median(up))}, to sha256 plus cp"
    print_row(what, format_speed(size, median(up)), floor_text, median(floor) / median(up), third)
    print_row(
        "the same with --fsync no (cp doesn't sync either)",
        format_speed(size, median(up_without_fsync)),
        floor_text,
        median(floor) / median(up_without_fsync),
    )
    print_row(f"{mib:,} MiB down", format_speed(size, median(down)), floor_text, median(floor) / median(down))
    print_row("memory at its peak", format_megabytes(peak), "", None, Goal(100e6, "< 100 MB"), peak)


def section(bench: Bench) -> None:
    """Print the rows of every size."""
    print_heading("upload: artifacts")
    for mib in bench.sizes.upload_mib:
        _measure(bench, mib)
