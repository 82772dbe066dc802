"""Real servers for tests: the command itself, on a free port, with a store of its own."""

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

from support.forked import ForkedCommand, can_fork

#: Well beyond any honest wait on a loaded machine of two cores. A wait ends on an event; this ends a hang.
PATIENCE_SECONDS = 120
_POLL_SECONDS = 0.01
#: Below what any system gives to a socket that asks for a free port, and above what needs rights.
_OWN_PORTS = range(20_000, 32_768)
_claims: list[IO[str]] = []
#: The servers of this process that have not been stopped, whose logs are shown with a test that fails.
running_servers: list[Server] = []
#: What MLflow's client sets for the processes that its own will start, in any test of this process.
_OF_MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and that no other process gets while this one lasts.

    For a server that is started later, or that isn't there: the kernel gives a port that was free a moment ago to the
    next one that asks. The claim on it is a locked file.
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


#: A process that tests have started.
Process = subprocess.Popen[bytes] | ForkedCommand


@dataclass
class Server:
    """A server process that takes requests."""

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
        """End the process by a signal; its exit code (negative: the signal that killed it)."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End the process without giving it a moment."""
        self.stop(signal.SIGKILL)


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without what would configure a server or an export, and with `variables`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("CHACHAML_") and name not in _OF_MLFLOW
    }
    return {**kept, **variables}


def start(
    data: Path,
    scratch: Path,
    *options: str,
    port: int = 0,
    wrapper: Sequence[str] = (),
    forks: bool = True,
    **variables: str,
) -> Server:
    """Start `chachaml-lite serve`, on a free port unless told, and wait until it takes requests.

    `wrapper`: a command in front of it that becomes the server, as `prlimit --nofile=99` does. `forks`: save the time
    of a new Python, where nothing stands against it. AssertionError, with what it printed, when it ends instead.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    ready, log_file = scratch / "ready", scratch / "server.log"
    ready.unlink(missing_ok=True)
    arguments = ["serve", "--port", str(port), "--data", str(data), "--ready-file", str(ready), *options]
    process: Process
    if forks and not wrapper and can_fork(variables):
        log_file.touch()
        process = ForkedCommand(arguments, environment(**variables), None, log_file, log_file)
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
    """Wait until a server that was just started has written its URL to `ready`; the URL.

    AssertionError, with what it printed, when it ends instead.
    """
    deadline = time.monotonic() + patience_seconds
    while not ready.exists():
        assert process.poll() is None, f"the server ended with {process.returncode}: {log_file.read_text()}"
        assert time.monotonic() < deadline, f"the server did not get ready: {log_file.read_text()}"
        time.sleep(_POLL_SECONDS)
    return ready.read_text().strip()


def wait_until(what: Callable[[], bool]) -> None:
    """Wait until something is so that no answer waits for. AssertionError when it never is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def run_server(
    data: Path, scratch: Path, *options: str, wrapper: Sequence[str] = (), forks: bool = True, **variables: str
) -> Iterator[Server]:
    """Start a server, and end it when the block is left."""
    server = start(data, scratch, *options, port=0, wrapper=wrapper, forks=forks, **variables)
    try:
        yield server
    finally:
        server.stop()
        running_servers.remove(server)
