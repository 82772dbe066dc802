"""The job's server: started so that it outlives its step, found again by later steps, stopped at the end."""

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

#: From start to the first answer; with 10,000 runs in the store it is a second.
START_SECONDS = 60
#: The server gives requests in flight 30 s.
STOP_SECONDS = 40
_POLL_SECONDS = 0.05
#: The end of the server's log that is printed where something is wrong.
_LOG_BYTES = 100_000


class NotStarted(Exception):
    """The server did not start; what it printed has been shown."""


@dataclass(frozen=True)
class Server:
    """A server of this job, running or not: its process, its URL, and the folder of its store."""

    pid: int
    url: str
    data: str


def start_server(job: Job, data: Path, port: str, token: str) -> Server:
    """Start a server, and keep its log and what finds it again in the job's state. Raises NotStarted.

    None of the step's streams is handed down: GitHub waits until nobody holds them.
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
            reason = f"did not answer within {START_SECONDS} s" if code is None else f"ended with exit code {code}"
            raise NotStarted(f"the server {reason}; what it printed is in the step's log")
        time.sleep(_POLL_SECONDS)
    server = Server(process.pid, ready.read_text().strip(), str(data))
    prepared = _state_file(job).with_suffix(".new")
    prepared.write_text(json.dumps(asdict(server)))
    prepared.replace(_state_file(job))
    return server


def find_server(job: Job) -> Server | None:
    """Return the server that this job started last, running or not; None where there was none."""
    try:
        return Server(**json.loads(_state_file(job).read_text()))
    except FileNotFoundError:
        return None


def is_alive(job: Job, server: Server) -> bool:
    """Tell whether the process is there and is this server: an id of a process is given again after its end."""
    return str(_ready_file(job)) in _command_of(server.pid)


def stop_server(job: Job, server: Server) -> None:
    """End the server; what it has stored stays. A server that doesn't end is killed."""
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
    job.say_untrusted("What the server printed", log.splitlines()[-1000:])


def _log_file(job: Job) -> Path:
    return job.home / "server.log"


def _ready_file(job: Job) -> Path:
    return job.home / "ready"


def _state_file(job: Job) -> Path:
    return job.home / "server.json"


def _command_of(pid: int) -> str:
    """Return a process's command line; empty for one that has ended, also where nobody asked for its exit code."""
    if not Path("/proc/self/cmdline").exists():
        return _command_by_ps(pid)
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def _command_by_ps(pid: int) -> str:
    """Return the same on macOS, which has no /proc."""
    done = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()
