"""Processes that start as forks of one that has already imported what they need.

A fork is a process like any other: it has a process id, a working directory, an environment and output files of its
own, receives signals and ends with an exit code. Only Python's start and the imports are done once for all: 0.3 s of
CPU of the 0.5 s that a server takes to start, and 3 s for MLflow; the suite starts some thousand commands. The test
process itself is never forked, since a fork would inherit the locks of its threads; the standard library's fork server
imports for one purpose only, and can't run another Python.

Use `subprocess` for a command with a wrapper in front of it, and to set what Python reads at its start: PYTHON* and the
locale.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

#: Far more than any wait takes on a loaded machine with two cores. A wait ends with an event; this ends a hang.
PATIENCE_SECONDS = 120
_POLL_SECONDS = 0.005
#: What the commands of the package import.
PACKAGE = ("chachaml_lite.app", "chachaml_lite.cli", "chachaml_lite.server")


def can_fork(variables: Mapping[str, str]) -> bool:
    """Whether a process with these variables, beside this one's own, can be a fork."""
    return not any(name.startswith(("PYTHON", "LC_", "LANG", "LD_")) for name in variables)


class ForkServer:
    """The process that is forked: a Python that has imported some modules."""

    def __init__(self, python: str, modules: Sequence[str], variables: Mapping[str, str]) -> None:
        """`variables`: its whole environment, for what an import reads; each fork has an environment of its own."""
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("fork_server.py"), *modules],
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        atexit.register(self._process.communicate)  # it ends with its stdin

    def preload(self, *modules: str) -> None:
        """Import further modules for the forks to come."""
        self.request(imports=modules)

    def request(self, **request: Any) -> Any:
        """Send a request and return its response."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


@cache
def package_forks() -> ForkServer:
    """The fork server for commands of the package."""
    return ForkServer(sys.executable, PACKAGE, os.environ)


class Fork:
    """A process that runs `python -m NAME ARGUMENTS`, or a script: what tests need of `subprocess.Popen`."""

    def __init__(
        self,
        server: ForkServer,
        name: str,
        *arguments: str,
        env: Mapping[str, str],
        cwd: Path | None = None,
        log: Path | None = None,
        leads_session: bool = False,
    ) -> None:
        """Start it, with `env` as its whole environment and all of its output in `log`, if there is one.

        A `with` block that it outlasts kills it.
        """
        self.args = [name, *arguments]
        self.returncode: int | None = None
        self._server = server
        self._folder = None if log else Path(tempfile.mkdtemp())
        self._files = [log or Path(self._folder or "", stream) for stream in ("stdout", "stderr")]
        for file in self._files:
            file.touch()
        stdout, stderr = map(str, self._files)
        job = {"run": name, "arguments": arguments, "env": dict(env), "cwd": str(cwd or Path.cwd())}
        self.pid: int = server.request(**job, stdout=stdout, stderr=stderr, session=leads_session)

    def __enter__(self) -> Fork:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self.wait()

    def poll(self) -> int | None:
        """Return its exit code (negative: the signal that killed it), None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.request(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float = PATIENCE_SECONDS) -> int:
        """Wait for its end and return its exit code. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(_POLL_SECONDS)
        return code

    def complete(self, timeout: float = PATIENCE_SECONDS) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and kill it after `timeout` seconds; its output and exit code, as of `subprocess.run`."""
        with self:
            code = self.wait(timeout)
        output = [file.read_bytes().decode(errors="backslashreplace") for file in self._files]
        if self._folder is not None:
            shutil.rmtree(self._folder)
        return subprocess.CompletedProcess(self.args, code, *output)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended and its id may be another one's."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
