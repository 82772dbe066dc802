"""Queries of other programs in the background, such as git: bounded in time and bytes, failures ignored."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

#: Default bytes of an output: more than any name, status or list of packages has.
_MAX_BYTES = 4 * 1024 * 1024


class Query:
    """A program that runs in the background. If it can't be run, fails or takes too long, it has no output."""

    def __init__(self, command: Sequence[str], folder: Path | None = None, max_bytes: int = _MAX_BYTES) -> None:
        """Start the program. At most `max_bytes` of its output are kept; `is_cut` says whether there was more."""
        self.is_cut = False
        self._max_bytes = max_bytes
        self._output = b""
        self._process: subprocess.Popen[bytes] | None = None
        # git status rewrites the index if it can, under a lock that the user's own git would then wait for.
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
        """Return the standard output; at `deadline` on the monotonic clock, kill the program and return None."""
        if self._process is None:
            return None
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._process.kill()
            return None
        return self._output if self.is_cut or self._process.returncode == 0 else None

    def text(self, deadline: float) -> str | None:
        """Return the output as text, stripped; None if it is empty."""
        output = self.output(deadline)
        return None if output is None else output.decode("utf-8", "replace").strip() or None
