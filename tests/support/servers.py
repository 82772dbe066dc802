"""Real servers for tests: `chachaml-lite serve` as a process, on a free port, with a store of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from support.forks import PATIENCE_SECONDS as PATIENCE_SECONDS
from support.forks import Fork, can_fork, package_forks

_POLL_SECONDS = 0.01
#: Above the privileged ports, and below those that an operating system assigns to a socket that binds to port 0.
_OWN_PORTS = range(20_000, 32_768)
_claims: list[IO[str]] = []
#: The servers of this process that have not been stopped; a failed test is reported with their logs.
running_servers: list[Server] = []
#: Variables that MLflow's client sets for child processes, in any test of this process.
_MLFLOW_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")


def free_port() -> int:
    """Return an unused loopback port that no other test process gets as long as this process runs.

    For a server that is started later or doesn't exist: the kernel assigns a port that was free a moment ago to the
    next process that requests one. A locked file reserves it.
    """
    folder = Path(tempfile.gettempdir(), f"chachaml-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for port in _OWN_PORTS:
        claim = (folder / str(port)).open("w")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("", port))
        except OSError:
            claim.close()
        else:
            _claims.append(claim)
            return port
    raise AssertionError(f"no port of {_OWN_PORTS} is free")


#: A process started by a test.
Process = subprocess.Popen[bytes] | Fork


@dataclass
class Server:
    """A server process that accepts requests."""

    url: str
    data: Path
    process: Process
    log_file: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].partition("/")[0])

    @property
    def log(self) -> str:
        """The server's output so far, on both streams."""
        return self.log_file.read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the process a signal and return its exit code, negative if the signal killed it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """Kill the process, without time to clean up."""
        self.stop(signal.SIGKILL)


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without variables that configure a server or an export, plus `variables`."""
    neutral = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CHACHAML_") and name not in _MLFLOW_VARIABLES
    }
    return {**neutral, **variables}


def start_server(
    data: Path,
    scratch: Path,
    *options: str,
    port: int = 0,
    wrapper: Sequence[str] = (),
    forks: bool = True,
    **variables: str,
) -> Server:
    """Start `chachaml-lite serve`, by default on a free port, and wait until it accepts requests.

    `wrapper`: a command in front of it that executes the server in its own place, like `prlimit --nofile=99`. `forks`:
    fork it if possible, which saves the start of a new Python. Raises AssertionError, with its output, if it ends.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    ready, log_file = scratch / "ready", scratch / "server.log"
    ready.unlink(missing_ok=True)
    arguments = ["serve", "--port", str(port), "--data", str(data), "--ready-file", str(ready), *options]
    process: Process
    if forks and not wrapper and can_fork(variables):
        process = Fork(package_forks(), "chachaml_lite", *arguments, env=environment(**variables), log=log_file)
    else:
        with log_file.open("ab") as log:
            command = [*wrapper, sys.executable, "-m", "chachaml_lite", *arguments]
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(**variables))
    server = Server(await_ready(process, ready, log_file), data, process, log_file)
    running_servers.append(server)
    return server


def await_ready(
    process: Process,
    ready: Path,
    log_file: Path,
    patience_seconds: float = PATIENCE_SECONDS,
) -> str:
    """Wait until a new server has written its URL to the file `ready`, and return the URL.

    Raises AssertionError, with the server's output, if it ends instead.
    """
    deadline = time.monotonic() + patience_seconds
    while not ready.exists():
        assert process.poll() is None, f"the server ended with {process.returncode}: {log_file.read_text()}"
        assert time.monotonic() < deadline, f"the server did not get ready: {log_file.read_text()}"
        time.sleep(_POLL_SECONDS)
    return ready.read_text().strip()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that no response of the server waits for. Raises AssertionError if it never becomes true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def run_server(
    data: Path, scratch: Path, *options: str, wrapper: Sequence[str] = (), forks: bool = True, **variables: str
) -> Iterator[Server]:
    """Start a server, and end it when the block is left."""
    server = start_server(data, scratch, *options, port=0, wrapper=wrapper, forks=forks, **variables)
    try:
        yield server
    finally:
        server.stop()
        running_servers.remove(server)
