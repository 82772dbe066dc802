"""The load of the machine and of a command's process tree, read periodically by psutil and NVML while it runs.

Rates are averages since the last reading, so the first reading needs some time as well. Values that can't be read on
this kind of machine, or without a permission, are omitted.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from .gpus import Gpus

#: Seconds until the first reading, unless the interval is shorter.
_FIRST_SECONDS = 1.0
#: Seconds that the thread may take to stop, for a reading that is being sent to a server.
_STOP_SECONDS = 2.0

Readings = dict[str, float]


def is_installed() -> bool:
    """Return whether psutil is installed."""
    with contextlib.suppress(ImportError):
        return importlib.util.find_spec("psutil") is not None
    return False


class LoadMonitor:
    """Reads the load in its own thread and passes each reading on, with the whole seconds since the start."""

    def __init__(self, interval_seconds: float, log: Callable[[Readings, int], None]) -> None:
        """Configure the monitor. `log` may raise anything: a reading that can't be logged is dropped."""
        self._interval_seconds = interval_seconds
        self._log = log
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, pid: int) -> None:
        """Start reading, for the process tree of `pid`."""
        self._thread = threading.Thread(target=self._run, args=(pid,), name="load", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; wait for the thread, but not for long."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def _run(self, pid: int) -> None:
        start = time.monotonic()
        load, gpus = Load(pid), Gpus()
        next_at = start + min(_FIRST_SECONDS, self._interval_seconds)
        while not self._stopping.wait(max(0.0, next_at - time.monotonic())):
            readings = {**load.readings(), **gpus.readings()}
            with contextlib.suppress(Exception):
                if readings and not self._stopping.is_set():
                    self._log(readings, int(time.monotonic() - start))
            # A slow reading delays the next one; two never follow each other immediately.
            next_at = max(next_at + self._interval_seconds, time.monotonic() + self._interval_seconds / 2)


class Load:
    """The load of the machine, and of a process tree."""

    def __init__(self, pid: int) -> None:
        import psutil

        self._psutil: Any = psutil
        self._root: Any = None
        with contextlib.suppress(psutil.Error):
            self._root = psutil.Process(pid)
        self._at = time.monotonic()
        #: Monotonic counters at the last reading.
        self._counters: dict[str, float] = {}
        self._cpu_seconds: dict[tuple[int, float], float] = {}
        self._disk_bytes: dict[tuple[int, float], float] = {}
        self.readings()

    def readings(self) -> Readings:
        """Return the load since the last call by metric name."""
        now = time.monotonic()
        seconds = max(now - self._at, 1e-3)
        self._at = now
        readings: Readings = {}
        for read in (self._read_machine, self._read_command):
            with contextlib.suppress(Exception):  # whatever an odd kernel raises, the command goes on
                for name, value in read(seconds):
                    readings[f"system/{name}"] = round(value, 3)
        return readings

    def _read_machine(self, seconds: float) -> Iterator[tuple[str, float]]:
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
        """Yield the rate of a counter of bytes in MB/s; nothing the first time."""
        before = self._counters.get(name)
        self._counters[name] = counter
        if before is not None:
            yield name, max(0.0, counter - before) / seconds / 1e6

    def _read_command(self, seconds: float) -> Iterator[tuple[str, float]]:
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
        """Return the command's process and its descendants."""
        if self._root is None or not self._root.is_running():
            return []
        with contextlib.suppress(self._psutil.Error):
            return [self._root, *self._root.children(recursive=True)]
        return []


def _growth(before: dict[tuple[int, float], float], now: dict[tuple[int, float], float]) -> float:
    """Return the growth of counters over all processes; a new process started at 0."""
    return sum(max(0.0, value - before.get(key, 0.0)) for key, value in now.items())
