"""The command `chachaml-lite verify`, as called from a shell or a cron job."""

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

#: The arguments of the command as a process.
COMMAND = [sys.executable, "-m", "chachaml_lite", "verify"]


@dataclass
class CommandResult:
    """The result of the command."""

    returncode: int
    stdout: str
    stderr: str


def verify(data: Path, *arguments: str) -> CommandResult:
    """Run the command in this process: starting a Python for it takes as long as twenty verifications."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as exit_info:
        main(["verify", "--data", str(data), *arguments], prog_name="chachaml-lite")
    return CommandResult(int(exit_info.value.code or 0), out.getvalue(), err.getvalue())


def load_report(data: Path, *arguments: str) -> dict[str, Any]:
    """Return the report in JSON, after a check that its shape is complete and that it agrees with the exit code."""
    result = verify(data, "--json", *arguments)
    assert result.stderr == ""
    report: dict[str, Any] = json.loads(result.stdout)
    assert report.keys() == {"ok", "runs", "models", "artifacts", "bytes", "points", "problems", "repairs"}
    assert all(each.keys() == {"where", "kind", "detail", "repairable"} for each in report["problems"])
    assert all(each.keys() == {"where", "detail"} for each in report["repairs"])
    assert report["ok"] == (not report["problems"]) == (result.returncode == 0)
    assert result.returncode in (0, 1)
    return report


def list_problems(data: Path, *arguments: str) -> list[tuple[str, str, bool]]:
    """Return the place and kind of each problem, and whether it can be repaired."""
    problems = load_report(data, *arguments)["problems"]
    return sorted((each["where"], each["kind"], each["repairable"]) for each in problems)
