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

import job
from api import Api

#: From start to the first answer; with 10,000 runs in the store it is a second.
START_SECONDS = 60
#: The server gives requests in flight 30 s.
STOP_SECONDS = 40
_POLL_SECONDS = 0.05


class NotStarted(Exception):
    """The server did not come up; what it printed was shown."""


@dataclass(frozen=True)
class Server:
    """A server that takes requests, or took them."""

    pid: int
    url: str
    data: str

    def is_alive(self) -> bool:
        """Whether the process is there and is this server: a process's id is given again after its end."""
        return str(_ready_file()) in _command_of(self.pid)

    def stop(self) -> None:
        """End the server; what it has stored stays. A server that does not end is killed."""
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5)):
            if not self.is_alive():
                return
            os.kill(self.pid, number)
            deadline = time.monotonic() + seconds
            while self.is_alive() and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        job.annotate("warning", f"the server did not stop within {STOP_SECONDS} s, and was killed; its data is safe")

    def api(self) -> Api:
        return Api(self.url, token())


def token() -> str:
    """The token of this job's server; empty where it has none."""
    return job.given("TOKEN") or os.environ.get("CHACHAML_TOKEN", "").strip()


def start(data: Path, port: str) -> Server:
    """A new server, with its log and what finds it again in the action's folder. Raises NotStarted.

    None of the step's streams is handed down: GitHub waits until nobody holds them.
    """
    ready, log_file = _ready_file(), job.home() / "server.log"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-I", "-m", "chachaml_lite", "serve"]
    command += ["--port", port, "--data", str(data), "--ready-file", str(ready)]
    variables = {**os.environ, "CHACHAML_TOKEN": token()}
    if not variables["CHACHAML_TOKEN"]:
        del variables["CHACHAML_TOKEN"]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            process.kill()
            show_log()
            how = f"did not answer within {START_SECONDS} s" if code is None else f"ended with exit code {code}"
            raise NotStarted(f"the server {how}; what it printed is in the step's log")
        time.sleep(_POLL_SECONDS)
    server = Server(process.pid, ready.read_text().strip(), str(data))
    prepared = _state_file().with_suffix(".new")
    prepared.write_text(json.dumps(asdict(server)))
    prepared.replace(_state_file())
    return server


def started() -> Server | None:
    """The server that this job started last, alive or not."""
    try:
        return Server(**json.loads(_state_file().read_text()))
    except FileNotFoundError:
        return None


def show_log() -> None:
    """Print what the server has printed."""
    log = (job.home() / "server.log").read_text(errors="replace")
    job.say_untrusted("What the server printed", log.splitlines()[-1000:])


def _ready_file() -> Path:
    return job.home() / "ready"


def _state_file() -> Path:
    return job.home() / "server.json"


def _command_of(pid: int) -> str:
    """What a process was started with; empty for one that has ended, also where nobody has asked for its exit code."""
    if not Path("/proc/self/cmdline").exists():
        return _shown_by_ps(pid)
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def _shown_by_ps(pid: int) -> str:
    """The same on macOS, which has no /proc."""
    shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip()
