"""The data folder removed under a running server: it says so, and serves the folder that is made anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import requests
from support.servers import PATIENCE_SECONDS, Running, eventually


def start(server: Running, run_id: str) -> int:
    body = {"experiment": "e", "id": run_id}
    return requests.post(f"{server.url}/api/w/runs", json=body, timeout=PATIENCE_SECONDS).status_code


def test_removed_data_folder_is_told_by_health_and_one_made_anew_is_served(server: Running, data: Path) -> None:
    assert start(server, "before") == 200
    shutil.rmtree(data)
    answer = requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.json()["error"]) == (503, "storage gone")
    assert "data folder was removed" in answer.json()["detail"]
    assert requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS).json() == []
    assert requests.get(f"{server.url}/api/runs/before", timeout=PATIENCE_SECONDS).status_code == 404
    assert start(server, "meanwhile") >= 500 and not data.exists()
    data.mkdir()
    eventually(lambda: start(server, "after") == 200)
    assert [run["id"] for run in requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS).json()] == ["after"]
    assert requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS).json()["runs"] == 1
    assert "was made anew, and is served" in server.log
    assert (data / ".lock").read_text().startswith("process ")


def test_folder_that_is_copied_back_is_served_with_its_runs(server: Running, data: Path, tmp_path: Path) -> None:
    assert start(server, "kept") == 200
    shutil.move(data, tmp_path / "away")
    eventually(lambda: requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS).status_code == 503)
    shutil.move(tmp_path / "away", data)
    eventually(lambda: start(server, "new") == 200)
    listed = requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS).json()
    assert {run["id"] for run in listed} == {"kept", "new"}
