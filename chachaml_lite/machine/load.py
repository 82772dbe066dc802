"""The load of the machine and of a command's process tree, by psutil and NVML, read again and again while it runs.

Rates are taken over the time since the last reading, so that the first one needs a moment, too. What can't be read,
by the kind of machine or the want of a right, is left out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from .gpus import Gpus

#: Until the first reading, where the interval isn't shorter.
_FIRST_SECONDS = 1.0
#: What the thread may still need at the end, for a reading that is on its way to a server.
_STOP_SECONDS = 2.0

Readings = dict[str, float]


def is_installed() -> bool:
    """Whether psutil is here."""
    with contextlib.suppress(ImportError):
        return importlib.util.find_spec("psutil") is not None
    return False


class LoadMonitor:
    """Reads the load in a thread of its own, and hands each reading on with the whole seconds since the start."""

    def __init__(self, interval_seconds: float, log: Callable[[Readings, int], None]) -> None:
        """`log` may raise what it likes: a reading that can't be logged is lost, and no more."""
        self._interval_seconds = interval_seconds
        self._log = log
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, pid: int) -> None:
        """Begin, for the process tree below `pid`."""
        self._thread = threading.Thread(target=self._run, args=(pid,), name="load", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; it is waited for, but not for long."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def _run(self, pid: int) -> None:
        start = time.monotonic()
        load, gpus = Load(pid), Gpus()
        next_at = start + min(_FIRST_SECONDS, self._interval_seconds)
        while not self._is_over.wait(max(0.0, next_at - time.monotonic())):
            readings = {**load.readings(), **gpus.readings()}
            with contextlib.suppress(Exception):
                if readings and not self._is_over.is_set():
                    self._log(readings, int(time.monotonic() - start))
            # A reading that took long makes the next one late, and never two of them follow at once.
            next_at = max(next_at + self._interval_seconds, time.monotonic() + self._interval_seconds / 2)


class Load:
    """The load of the machine, and of the processes below one."""

    def __init__(self, pid: int) -> None:
        import psutil

        self._psutil: Any = psutil
        self._root: Any = None
        with contextlib.suppress(psutil.Error):
            self._root = psutil.Process(pid)
        self._at = time.monotonic()
        #: Counters that only grow, as of the last reading.
        self._counters: dict[str, float] = {}
        self._cpu_seconds: dict[tuple[int, float], float] = {}
        self._disk_bytes: dict[tuple[int, float], float] = {}
        self.readings()

    def readings(self) -> Readings:
        """The load since the last call, by the name of its metric."""
        now = time.monotonic()
        seconds = max(now - self._at, 1e-3)
        self._at = now
        readings: Readings = {}
        for read in (self._of_the_machine, self._of_the_command):
            with contextlib.suppress(Exception):  # whatever an odd kernel has: the command goes on
                for name, value in read(seconds):
                    readings[f"system/{name}"] = round(value, 3)
        return readings

    def _of_the_machine(self, seconds: float) -> Iterator[tuple[str, float]]:
        psutil = self._psutil
        with contextlib.suppress(Exception):
            yield "cpu", psutil.cpu_percent()
        with contextlib.suppress(Exception):
            yield "memory", psutil.virtual_memory().percent
        with contextlib.suppress(Exception):
            disk = psutil.disk_io_counters()
            yield from self._rate("disk", disk.read_bytes + disk.write_bytes, seconds)
        with contextlib.suppress(Exception):
            network = psutil.net_io_counters()
            yield from self._rate("network", network.bytes_sent + network.bytes_recv, seconds)

    def _rate(self, name: str, counter: float, seconds: float) -> Iterator[tuple[str, float]]:
        """A counter of bytes as MB a second; none the first time."""
        before = self._counters.get(name)
        self._counters[name] = counter
        if before is not None:
            yield name, max(0.0, counter - before) / seconds / 1e6

    def _of_the_command(self, seconds: float) -> Iterator[tuple[str, float]]:
        tree = self._tree()
        if not tree:
            return
        cpu: dict[tuple[int, float], float] = {}
        disk: dict[tuple[int, float], float] = {}
        memory = 0.0
        for process in tree:
            with contextlib.suppress(self._psutil.Error), process.oneshot():
                key = (process.pid, process.create_time())
                times = process.cpu_times()
                cpu[key] = times.user + times.system
                memory += process.memory_info().rss
                with contextlib.suppress(self._psutil.Error, AttributeError):
                    counters = process.io_counters()
                    disk[key] = counters.read_bytes + counters.write_bytes
        yield "process/cpu", 100 * _growth(self._cpu_seconds, cpu) / seconds
        yield "process/memory", memory / 1e6
        if disk:
            yield "process/disk", _growth(self._disk_bytes, disk) / seconds / 1e6
        self._cpu_seconds, self._disk_bytes = cpu, disk

    def _tree(self) -> list[Any]:
        """The processes of the command: it, and what it has started."""
        if self._root is None or not self._root.is_running():
            return []
        with contextlib.suppress(self._psutil.Error):
            return [self._root, *self._root.children(recursive=True)]
        return []


def _growth(before: dict[tuple[int, float], float], now: dict[tuple[int, float], float]) -> float:
    """The growth of counters over all processes; one that is new has begun at 0."""
    return sum(max(0.0, value - before.get(key, 0.0)) for key, value in now.items())
