"""Other programs asked in the background, such as git: bounded in time and bytes, silent about their failures."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

#: Of an answer, unless told: more than any name, status or list of packages has.
_MAX_BYTES = 4 * 1024 * 1024


class Query:
    """A program that runs beside us, and its output. One that can't be run, fails or takes too long has none."""

    def __init__(self, command: Sequence[str], folder: Path | None = None, max_bytes: int = _MAX_BYTES) -> None:
        """Start it. Of its output `max_bytes` are kept, and `is_cut` says whether there was more."""
        self.is_cut = False
        self._max_bytes = max_bytes
        self._output = b""
        self._process: subprocess.Popen[bytes] | None = None
        # git's status writes its index anew where it may, under a lock that the user's own git then waits for.
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        with contextlib.suppress(OSError, ValueError):
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the command that is about to run
            )
        self._thread = threading.Thread(target=self._read, name="query", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        with self._process.stdout as stdout:
            output = stdout.read(self._max_bytes + 1)
        self.is_cut = len(output) > self._max_bytes
        self._output = output[: self._max_bytes]
        if self.is_cut:
            self._process.kill()
        self._process.wait()

    def output(self, deadline: float) -> bytes | None:
        """Its standard output, waited for until `deadline` on the monotonic clock; then it is killed."""
        if self._process is None:
            return None
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._process.kill()
            return None
        return self._output if self.is_cut or self._process.returncode == 0 else None

    def text(self, deadline: float) -> str | None:
        """The same as text without the line's end; None for an empty one, too."""
        output = self.output(deadline)
        return None if output is None else output.decode("utf-8", "replace").strip() or None
