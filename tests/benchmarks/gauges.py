"""The memory of a process, as reported by the kernel (Linux), or else by ps."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path


def resident_bytes(pid: int) -> float:
    """Return the memory that a process occupies now (RSS)."""
    resident = _read_status(pid, "VmRSS")
    if resident is not None:
        return resident
    output = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return float(output) * 1024


def peak_bytes(pid: int) -> float:
    """Return the peak of its memory since `reset_peak`, or its memory now if the kernel doesn't report a peak."""
    peak = _read_status(pid, "VmHWM")
    return resident_bytes(pid) if peak is None else peak


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process, precise to the µs on Linux."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if threads:
        return sum(int(each.read_text().split()[0]) for each in threads) / 1e9
    output = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return sum((float(part) * 60.0**place for place, part in enumerate(reversed(output.strip().split(":")))), 0.0)


def reset_peak(pid: int) -> None:
    """Reset the peak of a process's memory."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _read_status(pid: int, field: str) -> float | None:
    try:
        match = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return float(match[1]) * 1024 if match else None
