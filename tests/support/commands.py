"""The command itself as a process, as a shell starts it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.servers import PATIENCE_SECONDS, environment

COMMAND = (sys.executable, "-m", "chachaml_lite")


def cli(*arguments: str, cwd: Path | None = None, code: int | None = 0, env: Mapping[str, str] | None = None) -> Any:
    """Run `chachaml-lite` with these arguments; what it printed, as text. AssertionError for another exit code.

    `env` is added to an environment that has nothing of ours.
    """
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**(env or {})),
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=PATIENCE_SECONDS,
    )
    assert code is None or done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return done
