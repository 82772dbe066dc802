"""The page "From MLflow" of the manual: its program runs, and its tables match the code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support.mlflow_tracking import CLIENT_SETTINGS
from support.readme import PAGES, find_blocks, read_table
from support.scripts import run_bash
from support.servers import PATIENCE_SECONDS, Server

from chachaml_lite.mlflow_api import vocabulary

pytestmark = pytest.mark.timeout(300)
PAGE, CHANGE = "mlflow", "Change the URL"


def test_program_of_the_page_logs_to_this_server(server: Server, tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("bash"), tool("curl")
    (program,) = find_blocks("python", PAGE, CHANGE)
    (script,) = find_blocks("bash", PAGE, CHANGE)
    (tmp_path / "train.py").write_text(program)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    local_script = script.replace("http://localhost:8080", server.url)
    assert local_script != script
    output = run_bash(local_script, tmp_path, PATH=path, **CLIENT_SETTINGS)
    assert "first" in output
    (run,) = requests.get(f"{server.url}/api/runs?experiment=iris", timeout=PATIENCE_SECONDS).json()
    assert (run["name"], run["status"], run["params"]) == ("first", "completed", {"lr": 0.01, "epochs": 3})
    assert run["metrics"] == {"loss": 1 / 3}
    folder = server.data / "runs" / run["id"]
    assert (folder / "blobs/notes/hello.txt").read_text() == "any file will do"


def test_tables_of_the_page_match_the_code() -> None:
    fields = {row[0]: row[1] for row in read_table(PAGE, "MLflow")}
    assert "running, completed, failed" in fields.values()
    (tags_of_fields,) = (key for key in fields if "mlflow.runName" in key)
    assert all(f"`{tag}`" in tags_of_fields for tag in vocabulary.FIELD_OF_TAG)
    assert fields[tags_of_fields] == "name, created_by, parent_run_id, note"
    assert "`--no-mlflow`" in PAGES[PAGE]
