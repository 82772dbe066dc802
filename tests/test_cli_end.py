"""`chachaml-lite end`: with a status, an error or an exit code, on a server and in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import cli
from support.servers import Server

from chachaml_lite.client.folder import FolderClient


@pytest.fixture(params=["--url", "--data"])
def place(request: pytest.FixtureRequest, serve: Callable[..., Server], data: Path) -> list[str]:
    """A store with two running runs, behind a server or as a folder."""
    with FolderClient(data, writes=True) as client:
        for run_id in ("run-1", "other"):
            client.post("/api/w/runs", {"experiment": "iris", "id": run_id})
    return ["--url", serve().url] if request.param == "--url" else ["--data", str(data)]


def fetch_run(place: list[str], run_id: str = "run-1") -> Any:
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
def test_run_ends_with_the_status_and_error_of_the_options(
    place: list[str], options: list[str], status: str, error: str | None
) -> None:
    assert cli("end", "run", *options, *place).stdout == f"run run-1 {status}\n"
    run = fetch_run(place)
    assert (run["status"], run["error"]) == (status, error)
    assert cli("end", "run-1", *options, *place).stdout == f"run run-1 {status}\n", "the same end again is no error"
    assert fetch_run(place, "other")["status"] == "running"


def test_conflicting_end_or_unknown_run_is_exit_code_2_and_changes_nothing(place: list[str]) -> None:
    cli("end", "run-1", *place)
    assert "ended already, as completed" in cli("end", "run-1", "--status", "failed", *place, code=2).stderr
    assert "no such run" in cli("end", "nosuch", *place, code=2).stderr
    for options in (["--exit-code", "1", "--error", "x"], ["--status", "completed", "--error", "x"], ["--status", "x"]):
        assert cli("end", "other", *options, *place, code=2).stdout == ""
    assert fetch_run(place)["status"] == "completed" and fetch_run(place, "other")["status"] == "running"
