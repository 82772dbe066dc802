"""Scripts out of documents: run as a reader runs them, who pastes them into a shell or into Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.servers import PATIENCE_SECONDS, environment

#: The server that documents speak of.
DOCUMENTED_HOST = "http://localhost:8080"


def extract_lines(text: str, first: str, beyond: str) -> str:
    """The lines of `text` after the one that begins with `first`, up to the one that begins with `beyond`."""
    lines = text.splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith(first)) + 1
    end = next(number for number, line in enumerate(lines) if number >= start and line.startswith(beyond))
    return "".join(lines[start:end])


def set_host(script: str, url: str) -> str:
    """`script`, with the one change that a reader makes: the host."""
    assert script.count(DOCUMENTED_HOST) == 1, f"the host is to be set once, and is used from there on:\n{script}"
    return script.replace(DOCUMENTED_HOST, url)


def run_bash(script: str, folder: Path, **variables: str) -> str:
    """Paste `script` into bash in `folder`; what it printed. AssertionError when any command failed."""
    return _run(["bash", "-euo", "pipefail"], script, folder, **variables)


def run_python(script: str, folder: Path) -> str:
    """Paste `script` into this interpreter in `folder`; what it printed. AssertionError when it failed."""
    return _run([sys.executable, "-"], script, folder)


def _run(command: list[str], script: str, folder: Path, **variables: str) -> str:
    done = subprocess.run(
        command,
        input=script,
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout
