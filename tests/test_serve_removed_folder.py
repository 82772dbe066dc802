"""The data folder removed under a running server, which reports it and serves a new folder as soon as there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import requests
from support.servers import PATIENCE_SECONDS, Server, wait_until


def create_run(server: Server, run_id: str) -> int:
    body = {"experiment": "e", "id": run_id}
    return requests.post(f"{server.url}/api/w/runs", json=body, timeout=PATIENCE_SECONDS).status_code


def test_removed_data_folder_is_reported_by_health_and_a_new_one_is_served(server: Server, data: Path) -> None:
    assert create_run(server, "before") == 200
    shutil.rmtree(data)
    answer = requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.json()["error"]) == (503, "storage gone")
    assert "data folder was removed" in answer.json()["detail"]
    assert requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS).json() == []
    assert requests.get(f"{server.url}/api/runs/before", timeout=PATIENCE_SECONDS).status_code == 404
    assert create_run(server, "meanwhile") >= 500 and not data.exists()
    data.mkdir()
    wait_until(lambda: create_run(server, "after") == 200)
    assert [run["id"] for run in requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS).json()] == ["after"]
    assert requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS).json()["runs"] == 1
    assert "was created again, and is served" in server.log
    assert (data / ".lock").read_text().startswith("process ")


def test_data_folder_moved_away_and_back_is_served_with_its_runs(server: Server, data: Path, tmp_path: Path) -> None:
    assert create_run(server, "kept") == 200
    shutil.move(data, tmp_path / "away")
    wait_until(lambda: requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS).status_code == 503)
    shutil.move(tmp_path / "away", data)
    wait_until(lambda: create_run(server, "new") == 200)
    runs = requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS).json()
    assert {run["id"] for run in runs} == {"kept", "new"}
