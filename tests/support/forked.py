"""The command as a process that starts as a fork of one that has already imported the package.

It is a process like any other: it has a process id, a working directory, an environment and output files of its own,
receives signals and ends with an exit code. Only Python's start and the imports are done once for all: 0.3 s of CPU of
the 0.5 s that a server takes to start, and the suite starts some thousand commands. The standard library's fork server
does the forking, since a fork of the test process would inherit the locks of its threads. Use `subprocess` for a
command with a wrapper in front of it, and to set what Python reads at its start: PYTHON* and the locale.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["chachaml_lite.app", "chachaml_lite.cli", "chachaml_lite.server"])


def can_fork(variables: Mapping[str, str]) -> bool:
    """Whether a process with these variables, beside this one's own, can be a fork."""
    return not any(name.startswith(("PYTHON", "LC_", "LANG", "LD_")) for name in variables)


class ForkedCommand:
    """`chachaml-lite ARGUMENTS`, running: what `subprocess.Popen` has of methods, as far as tests use them."""

    def __init__(
        self, arguments: Sequence[str], variables: Mapping[str, str], cwd: Path | None, stdout: Path, stderr: Path
    ) -> None:
        self.args = list(arguments)
        self._process = _context.Process(
            target=_become,
            args=(self.args, dict(variables), str(cwd or Path.cwd()), str(stdout), str(stderr)),
            daemon=True,  # ended with the tests, should one have left it
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code (negative: the signal that killed it), None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it may end right now, as with `subprocess.Popen`
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become(arguments: Sequence[str], variables: Mapping[str, str], cwd: str, stdout: str, stderr: str) -> Any:
    """Do in a fork what `python -m chachaml_lite ARGUMENTS` does in a new process."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    for number, path in ((1, stdout), (2, stderr)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["chachaml_lite", *arguments]
    runpy.run_module("chachaml_lite", run_name="__main__", alter_sys=True)
