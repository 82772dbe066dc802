"""The command `chachaml-lite` as a process, as a shell starts it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.forks import PATIENCE_SECONDS, Fork, can_fork, package_forks
from support.servers import environment

COMMAND = (sys.executable, "-m", "chachaml_lite")


def cli(*arguments: str, cwd: Path | None = None, code: int | None = 0, env: Mapping[str, str] | None = None) -> Any:
    """Run `chachaml-lite` with these arguments and return its result. Raises AssertionError for another exit code.

    `env` is added to an environment without any variable of chachaml-lite.
    """
    variables = environment(**(env or {}))
    if can_fork(env or {}):
        result = Fork(package_forks(), "chachaml_lite", *arguments, env=variables, cwd=cwd).complete()
    else:
        result = subprocess.run(
            [*COMMAND, *arguments],
            cwd=cwd,
            env=variables,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=PATIENCE_SECONDS,
        )
    return check_result(result, code)


def check_result(result: subprocess.CompletedProcess[str], code: int | None) -> subprocess.CompletedProcess[str]:
    """Return the result of a command. Raises AssertionError for another exit code than this, and for a traceback."""
    assert code is None or result.returncode == code, result
    assert "Traceback" not in result.stderr, result.stderr
    return result
