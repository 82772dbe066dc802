"""Processes that need MLflow's client: commands and scripts, each a fork of a process that has imported it.

Like any other process, a fork has an id, a folder, an environment and output files of its own, is reached by signals
and ends with an exit code. What Python reads as it starts, PYTHON* and the locale, can't be set for it: that takes
`support.commands.cli`.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.commands import check_result
from support.servers import PATIENCE_SECONDS, environment

SCRIPTS = Path(__file__).resolve().parent
#: What takes long to import: of scripts, and of this Python's commands.
_OF_SCRIPTS = ("mlflow.pyfunc", "mlflow.sklearn", "sklearn.linear_model", "sklearn.datasets")
_OF_COMMANDS = (
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
    *("chachaml_lite.app", "chachaml_lite.cli", "chachaml_lite.export.transfer"),
    *("chachaml_lite.importers.mlflow_runs", "chachaml_lite.importers.mlflow_source"),
)
#: Read by MLflow as it is imported, and set by our commands, too.
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}


class Zygote:
    """The process that is forked, of a Python that has MLflow."""

    def __init__(self, python: str) -> None:
        modules, variables = [*_OF_SCRIPTS], environment(**_QUIET)
        if python == sys.executable:
            modules += _OF_COMMANDS
        else:
            variables = {key: value for key, value in variables.items() if not key.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [python, SCRIPTS / "mlflow_zygote.py", *modules],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        atexit.register(self._process.communicate)  # it ends with its stdin

    def request(self, **request: Any) -> Any:
        """Send a request and return its response."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


find_zygote = cache(Zygote)


class Fork:
    """A process that runs `python -m NAME ARGUMENTS`, or a script: what tests need of `subprocess.Popen`."""

    def __init__(
        self,
        name: str,
        *arguments: str,
        env: Mapping[str, str],
        cwd: Path | None = None,
        python: str = sys.executable,
        log: Path | None = None,
    ) -> None:
        """Start it, with `env` as its whole environment. A `with` block that it outlasts kills it.

        A process with a `log`, for all of its output, is a server: it has a session of its own, and other processes.
        """
        self.args = [name, *arguments]
        self.returncode: int | None = None
        self._zygote = find_zygote(python)
        self._folder = TemporaryDirectory()
        self._files = [log or Path(self._folder.name, stream) for stream in ("stdout", "stderr")]
        for file in self._files:
            file.touch()
        stdout, stderr = map(str, self._files)
        job = {"run": name, "arguments": arguments, "env": dict(env), "cwd": str(cwd or Path.cwd())}
        self.pid: int = self._zygote.request(**job, stdout=stdout, stderr=stderr, session=log is not None)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process is over and its id may be another one's."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def __enter__(self) -> Fork:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.returncode is None:
            self.send_signal(signal.SIGKILL)
            self.wait()

    def poll(self) -> int | None:
        """Return its exit code (negative: the signal that killed it), None while it runs."""
        if self.returncode is None:
            self.returncode = self._zygote.request(wait=self.pid, options=os.WNOHANG)
        return self.returncode

    def wait(self, timeout: float = PATIENCE_SECONDS) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and kill it after `timeout` seconds; its output and exit code, as of `subprocess.run`."""
        timer = threading.Timer(timeout, self.send_signal, (signal.SIGKILL,))
        timer.start()
        try:
            if self.returncode is None:
                self.returncode = self._zygote.request(wait=self.pid, options=0)
        finally:
            timer.cancel()
        assert self.returncode is not None
        output = [file.read_bytes().decode(errors="backslashreplace") for file in self._files]
        self._folder.cleanup()
        return subprocess.CompletedProcess(self.args, self.returncode, *output)


def start_command(*arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Fork:
    """Start `chachaml-lite` with these arguments; `env` is added to `support.servers.environment`."""
    return Fork("chachaml_lite", *arguments, env=environment(**(env or {})), cwd=cwd)


def mlflow_cli(
    *arguments: str, cwd: Path | None = None, code: int | None = 0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Like `support.commands.cli`, for commands that import MLflow."""
    return check_result(start_command(*arguments, env=env, cwd=cwd).wait(), code)
