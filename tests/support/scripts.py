"""Scripts from the documentation, run as a reader runs them: pasted into a shell or into Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.servers import PATIENCE_SECONDS, environment

#: The server's URL in the documentation.
DOCUMENTED_HOST = "http://localhost:8080"


def extract_lines(text: str, first: str, beyond: str) -> str:
    """Return the lines of `text` between the one that begins with `first` and the one that begins with `beyond`."""
    lines = text.splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith(first)) + 1
    end = next(number for number, line in enumerate(lines) if number >= start and line.startswith(beyond))
    return "".join(lines[start:end])


def set_host(script: str, url: str) -> str:
    """Replace the host in `script`, the only change that a reader has to make."""
    assert script.count(DOCUMENTED_HOST) == 1, f"the script must name the host exactly once:\n{script}"
    return script.replace(DOCUMENTED_HOST, url)


def run_bash(script: str, folder: Path, **variables: str) -> str:
    """Run `script` by bash in `folder` and return its output. Raises AssertionError if any command fails."""
    return _run(["bash", "-euo", "pipefail"], script, folder, **variables)


def run_python(script: str, folder: Path) -> str:
    """Run `script` by this interpreter in `folder` and return its output. Raises AssertionError if it fails."""
    return _run([sys.executable, "-"], script, folder)


def _run(command: list[str], script: str, folder: Path, **variables: str) -> str:
    result = subprocess.run(
        command,
        input=script,
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert result.returncode == 0, f"exit code {result.returncode}\n{script}\n{result.stdout}\n{result.stderr}"
    return result.stdout
