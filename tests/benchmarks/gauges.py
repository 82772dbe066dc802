"""The memory of a process, as reported by the kernel (Linux; elsewhere as ps tells)."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path


def resident_bytes(pid: int) -> float:
    """The memory that a process occupies now (RSS)."""
    found = _status(pid, "VmRSS")
    if found is not None:
        return found
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return float(shown) * 1024


def peak_bytes(pid: int) -> float:
    """The most that it has occupied since `reset_peak`; where the kernel doesn't say, what it occupies now."""
    found = _status(pid, "VmHWM")
    return resident_bytes(pid) if found is None else found


def cpu_seconds(pid: int) -> float:
    """The CPU time that all threads of a process have had, to the µs where the kernel tells (Linux)."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if threads:
        return sum(int(each.read_text().split()[0]) for each in threads) / 1e9
    shown = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return sum((float(part) * 60.0**place for place, part in enumerate(reversed(shown.strip().split(":")))), 0.0)


def reset_peak(pid: int) -> None:
    """Forget the peak so far."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, field: str) -> float | None:
    try:
        match = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return float(match[1]) * 1024 if match else None
