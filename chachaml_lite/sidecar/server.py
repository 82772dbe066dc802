"""The job's server: a process that outlives its step, is found by later steps, and is stopped at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from .job import Job

#: Seconds until the server must be ready; with 10,000 runs in the store it takes one second.
START_SECONDS = 60
#: Seconds to stop; the server itself gives requests in flight 30 s.
STOP_SECONDS = 40
_POLL_SECONDS = 0.05
#: Bytes at the end of the server's log that are printed after an error.
_LOG_BYTES = 100_000


class NotStarted(Exception):
    """The server did not start; its output has been printed."""


@dataclass(frozen=True)
class Server:
    """A server of this job, running or not: its process id, its URL, and the folder of its store."""

    pid: int
    url: str
    data: str


def start_server(job: Job, data: Path, port: str, token: str) -> Server:
    """Start a server; its log and its address are stored in the job's state. Raises NotStarted.

    It inherits none of the step's streams: GitHub waits until all processes have closed them.
    """
    ready, log_file = _ready_file(job), _log_file(job)
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-I", "-m", "chachaml_lite", "serve"]
    command += ["--port", port, "--data", str(data), "--ready-file", str(ready)]
    variables = {name: value for name, value in os.environ.items() if name != "CHACHAML_TOKEN"}
    if token:
        variables["CHACHAML_TOKEN"] = token
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            process.kill()
            print_log(job)
            reason = f"was not ready within {START_SECONDS} s" if code is None else f"ended with exit code {code}"
            raise NotStarted(f"the server {reason}; its output is in the step's log")
        time.sleep(_POLL_SECONDS)
    server = Server(process.pid, ready.read_text().strip(), str(data))
    temporary = _state_file(job).with_suffix(".new")
    temporary.write_text(json.dumps(asdict(server)))
    temporary.replace(_state_file(job))
    return server


def find_server(job: Job) -> Server | None:
    """Return the last server that this job started, running or not, or None."""
    try:
        return Server(**json.loads(_state_file(job).read_text()))
    except FileNotFoundError:
        return None


def is_alive(job: Job, server: Server) -> bool:
    """Return whether the process runs and is this server: process ids are reused."""
    return str(_ready_file(job)) in _command_of(server.pid)


def stop_server(job: Job, server: Server) -> None:
    """Stop the server; its data is kept. A server that doesn't stop is killed."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5)):
        if not is_alive(job, server):
            return
        os.kill(server.pid, number)
        deadline = time.monotonic() + seconds
        while is_alive(job, server) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    job.annotate("warning", f"the server did not stop within {STOP_SECONDS} s, and was killed; its data is safe")


def print_log(job: Job) -> None:
    """Print the end of the server's log."""
    with _log_file(job).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
        log = file.read().decode(errors="replace")
    job.say_untrusted("Output of the server", log.splitlines()[-1000:])


def _log_file(job: Job) -> Path:
    return job.home / "server.log"


def _ready_file(job: Job) -> Path:
    return job.home / "ready"


def _state_file(job: Job) -> Path:
    return job.home / "server.json"


def _command_of(pid: int) -> str:
    """Return a process's command line; empty if it has ended, even if its exit code wasn't collected."""
    if not Path("/proc/self/cmdline").exists():
        return _command_by_ps(pid)
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def _command_by_ps(pid: int) -> str:
    """Return a process's command line on macOS, which has no /proc."""
    result = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return result.stdout.strip()
