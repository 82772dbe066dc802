"""Records of `chachaml-lite run` besides the output: the environment of the command, and the load of the machine."""

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
#: For the packages: of a Python with thousands of them on a network disk.
_PACKAGES_SECONDS = 60.0
#: What a command that is over already waits for its two artifacts.
_FINISH_SECONDS = 2.0
#: A server that takes no points for so long has others to worry about.
_ANSWER_SECONDS = 5.0


class RecordedEnvironment:
    """The environment of a command: with the run from its start, and two artifacts while the command runs."""

    def __init__(self, command: Sequence[str]) -> None:
        """Begin to read it, in the background."""
        self._reading = EnvironmentReading(command, Path.cwd())
        self._thread: threading.Thread | None = None
        self._is_over = False

    def values(self) -> dict[str, Any]:
        """The environment itself, after a moment at most."""
        self._environment = self._reading.finish()
        return self._environment.values

    def start_upload(self, url: str, token: str | None, run_id: str) -> None:
        """Upload the diff and the list of packages, in a thread: neither may keep the command waiting."""
        self._thread = threading.Thread(target=self._upload, args=(url, token, run_id), name="env", daemon=True)
        self._thread.start()

    def finish_upload(self) -> None:
        """Wait for that upload, but not for long."""
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
                    return  # the log will say so, or the server is back by then
                except ApiError as fault:
                    if not self._is_over:
                        say(f"{name} is not stored: {fault}")


@contextlib.contextmanager
def logged_load(
    is_wanted: bool, interval_seconds: float, url: str, token: str | None, run_id: str
) -> Iterator[Callable[[int], None]]:
    """Within it the load is logged, from when the command's process id is given to what this yields."""
    if is_wanted and not is_installed():
        say("system metrics need psutil, which isn't installed: pip install 'chachaml-lite[system]'")
        is_wanted = False
    if not is_wanted:
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
