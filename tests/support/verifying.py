"""`chachaml-lite verify`, as it is called from a shell or a cron job."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chachaml_lite.cli import main

#: The command as a shell runs it.
COMMAND = [sys.executable, "-m", "chachaml_lite", "verify"]


@dataclass
class CommandResult:
    """The outcome of the command."""

    returncode: int
    stdout: str
    stderr: str


def verify(data: Path, *arguments: str) -> CommandResult:
    """The command, in this process: a Python for each would take as long as twenty verifications."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["verify", "--data", str(data), *arguments], prog_name="chachaml-lite")
    return CommandResult(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def load_report(data: Path, *arguments: str) -> dict[str, Any]:
    """The report in JSON, held against the exit code."""
    done = verify(data, "--json", *arguments)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.keys() == {"ok", "runs", "models", "artifacts", "bytes", "points", "problems", "repairs"}
    assert all(each.keys() == {"where", "kind", "detail", "repairable"} for each in found["problems"])
    assert all(each.keys() == {"where", "detail"} for each in found["repairs"])
    assert found["ok"] == (not found["problems"]) == (done.returncode == 0)
    assert done.returncode in (0, 1)
    return found


def list_problems(data: Path, *arguments: str) -> list[tuple[str, str, bool]]:
    """Return the place and kind of each problem, and whether it can be repaired."""
    found = load_report(data, *arguments)["problems"]
    return sorted((each["where"], each["kind"], each["repairable"]) for each in found)
