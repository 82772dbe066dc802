"""`chachaml-lite end`: by status, error and exit code, on a server and in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import cli
from support.servers import Running

from chachaml_lite.client.folder import FolderClient


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, serve: Callable[..., Running], data: Path) -> list[str]:
    """A store with two running runs: a server's, or the same folder without a server."""
    with FolderClient(data, writes=True) as client:
        for run_id in ("run-1", "other"):
            client.post("/api/w/runs", {"experiment": "iris", "id": run_id})
    return ["--url", serve().url] if request.param == "--url" else ["--data", str(data)]


def run_of(place: list[str], run_id: str = "run-1") -> Any:
    return json.loads(cli("show", run_id, "--json", *place).stdout)


@pytest.mark.parametrize(
    ("options", "status", "error"),
    [
        ([], "completed", None),
        (["--status", "completed"], "completed", None),
        (["--status", "failed"], "failed", None),
        (["--error", "out of memory"], "failed", "out of memory"),
        (["--status", "failed", "--error", "x"], "failed", "x"),
        (["--exit-code", "0"], "completed", None),
        (["--exit-code", "3"], "failed", "exit code 3"),
    ],
)
def test_run_ends_as_it_is_told(place: list[str], options: list[str], status: str, error: str | None) -> None:
    assert cli("end", "run", *options, *place).stdout == f"run run-1 {status}\n"
    run = run_of(place)
    assert (run["status"], run["error"]) == (status, error)
    assert cli("end", "run-1", *options, *place).stdout == f"run run-1 {status}\n", "again in the same way"
    assert run_of(place, "other")["status"] == "running"


def test_other_end_and_unknown_run_are_2_and_change_nothing(place: list[str]) -> None:
    cli("end", "run-1", *place)
    assert "ended already, as completed" in cli("end", "run-1", "--status", "failed", *place, code=2).stderr
    assert "no such run" in cli("end", "nosuch", *place, code=2).stderr
    for options in (["--exit-code", "1", "--error", "x"], ["--status", "completed", "--error", "x"], ["--status", "x"]):
        assert cli("end", "other", *options, *place, code=2).stdout == ""
    assert run_of(place)["status"] == "completed" and run_of(place, "other")["status"] == "running"
