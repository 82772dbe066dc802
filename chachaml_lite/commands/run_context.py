"""The environment and the machine's load, which `chachaml-lite run` records besides the output."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..client.base import OCTETS, ApiError, Unreachable, build_path
from ..client.http import HttpClient
from ..machine.environment import EnvironmentReading
from ..machine.load import LoadMonitor, Readings, is_installed
from .printing import say

DIFF_NAME, PACKAGES_NAME = "env/git.diff", "env/requirements.txt"
#: Seconds for the list of packages: a Python may have thousands of them on a network disk.
_PACKAGES_SECONDS = 60.0
#: Seconds to wait for the two artifacts after the command's end.
_FINISH_SECONDS = 2.0
#: Seconds for a response to points of the load, which are dropped if the server is slower.
_ANSWER_SECONDS = 5.0


class RecordedEnvironment:
    """Records the environment of a command: with the run at its start, and as two artifacts while it runs."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start reading it in the background."""
        self._reading = EnvironmentReading(command, Path.cwd())
        self._thread: threading.Thread | None = None
        self._is_over = False

    def values(self) -> dict[str, Any]:
        """Return the environment, within two seconds."""
        self._environment = self._reading.finish()
        return self._environment.values

    def start_upload(self, url: str, token: str | None, run_id: str) -> None:
        """Upload the diff and the list of packages in a thread, so that the command needn't wait."""
        self._thread = threading.Thread(target=self._upload, args=(url, token, run_id), name="env", daemon=True)
        self._thread.start()

    def finish_upload(self) -> None:
        """Wait for the upload, but not for long."""
        if self._thread is not None:
            self._thread.join(_FINISH_SECONDS)
        self._is_over = True

    def _upload(self, url: str, token: str | None, run_id: str) -> None:
        path = build_path("api", "w", "runs", run_id, "artifacts")
        packages_by = time.monotonic() + _PACKAGES_SECONDS
        artifacts: list[tuple[str, Callable[[], bytes | None]]] = [
            (DIFF_NAME, lambda: self._environment.diff),
            (PACKAGES_NAME, lambda: self._environment.requirements(packages_by)),
        ]
        with HttpClient(url, token) as client:
            for name, read in artifacts:
                content = read()
                if content is None or self._is_over:
                    continue
                try:
                    client.ask("POST", path, [("name", name)], body=content, content_type=OCTETS).json()
                except Unreachable:
                    return  # the upload of the log will report it, unless the server is back by then
                except ApiError as fault:
                    if not self._is_over:
                        say(f"{name} was not stored: {fault}")


@contextlib.contextmanager
def log_load(
    is_enabled: bool, interval_seconds: float, url: str, token: str | None, run_id: str
) -> Iterator[Callable[[int], None]]:
    """Log the load within a with block, once the yielded function is called with the command's process id."""
    if is_enabled and not is_installed():
        say("system metrics need psutil, which is not installed: pip install 'chachaml-lite[system]'")
        is_enabled = False
    if not is_enabled:
        yield lambda pid: None
        return
    path = build_path("api", "w", "runs", run_id, "metrics")
    with HttpClient(url, token, _ANSWER_SECONDS) as client:

        def log(readings: Readings, step: int) -> None:
            client.post(path, {"metrics": readings, "step": step})

        monitor = LoadMonitor(interval_seconds, log)
        try:
            yield monitor.start
        finally:
            monitor.stop()
