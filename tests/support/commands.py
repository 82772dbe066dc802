"""The command itself as a process, as a shell starts it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.forked import ForkedCommand, can_fork
from support.servers import PATIENCE_SECONDS, environment

COMMAND = (sys.executable, "-m", "chachaml_lite")


def cli(*arguments: str, cwd: Path | None = None, code: int | None = 0, env: Mapping[str, str] | None = None) -> Any:
    """Run `chachaml-lite` with these arguments; what it printed, as text. AssertionError for another exit code.

    `env` is added to an environment that has nothing of ours.
    """
    variables = environment(**(env or {}))
    if can_fork(env or {}):
        done = _fork(arguments, variables, cwd)
    else:
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=cwd,
            env=variables,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=PATIENCE_SECONDS,
        )
    return check_result(done, code)


def check_result(result: subprocess.CompletedProcess[str], code: int | None) -> subprocess.CompletedProcess[str]:
    """The result of a command. AssertionError for another exit code than this one, and for a traceback."""
    assert code is None or result.returncode == code, result
    assert "Traceback" not in result.stderr, result.stderr
    return result


def _fork(arguments: Sequence[str], variables: Mapping[str, str], cwd: Path | None) -> subprocess.CompletedProcess[str]:
    with TemporaryDirectory() as folder:
        files = stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
        for file in files:
            file.touch()
        process = ForkedCommand(arguments, variables, cwd, stdout, stderr)
        try:
            code = process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
        printed = [file.read_bytes().decode(errors="backslashreplace") for file in files]
    return subprocess.CompletedProcess(process.args, code, *printed)
