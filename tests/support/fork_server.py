"""A process that imports modules and runs each job in a fork of itself, since the imports take seconds of CPU.

`python fork_server.py MODULE...` imports the modules and reads requests from stdin, one JSON object a line. A request
with a `run` starts a job, `python -m MODULE` or a script, and its response is the id of the process. A request with the
id of a process as `poll` is for its exit code: null while it runs, negative for the signal that killed it. A request
with `imports` is for further modules. It imports nothing else of the tests, since another Python may run it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from typing import Any


def main(modules: list[str]) -> None:
    del sys.path[0]  # this folder, whose modules have names as general as `tools`
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the tests, which close stdin
    preload(modules)
    responses = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        response = None
        if "imports" in request:
            preload(request["imports"])
        else:
            response = start(request) if "run" in request else poll(request["poll"])
        responses.write(json.dumps(response) + "\n")
        responses.flush()


def preload(modules: list[str]) -> None:
    """Import modules for the forks to come."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in modules:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy each page that it looks at


def start(job: dict[str, Any]) -> int:
    """Start a process and return its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of threads, and NumPy's own stand a fork
        process_id = os.fork()
    if process_id == 0:
        code = 1
        try:
            code = run(job)
        except BaseException:
            traceback.print_exc()
        try:
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)  # an orderly end would free a million objects, one by one
    return process_id


def run(job: dict[str, Any]) -> int:
    """Do in a fork what a new Python does, and return the exit code."""
    if job["session"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    tempfile.tempdir = None  # TMPDIR may have been read
    time.tzset()
    for number, path in ((0, os.devnull), (1, job["stdout"]), (2, job["stderr"])):
        file = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(file, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.argv = [job["run"], *job["arguments"]]
    try:
        if job["run"].endswith(".py"):
            runpy.run_path(job["run"], run_name="__main__")
        else:
            runpy.run_module(job["run"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        return end.code or 0
    return 0


def poll(process_id: int) -> int | None:
    """Return a process's exit code, or the negative number of the signal that killed it. None while it runs."""
    ended, status = os.waitpid(process_id, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


if __name__ == "__main__":
    main(sys.argv[1:])
