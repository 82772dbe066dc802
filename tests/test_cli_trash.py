"""`chachaml-lite delete`, `trash` and `run --resume`, as processes."""

from __future__ import annotations

import json
from pathlib import Path

from support.commands import cli

from chachaml_lite.client.base import OCTETS
from chachaml_lite.client.folder import FolderClient


def list_ids(data: Path, *arguments: str) -> list[str]:
    return [run["id"] for run in json.loads(cli(*arguments, "--json", "--data", str(data)).stdout)]


def test_runs_are_deleted_restored_and_removed_except_pinned_ones(data: Path) -> None:
    with FolderClient(data, writes=True) as client:
        for run_id in ("a", "b", "c", "pinned"):
            client.post("/api/w/runs", {"experiment": "iris", "id": run_id})
        for run_id, content in (("b", b"x" * 2_000_000), ("pinned", b"1")):
            path = f"/api/w/runs/{run_id}/artifacts"
            client.ask("POST", path, [("name", "a")], body=content, content_type=OCTETS).content()
        client.post("/api/w/models", {"name": "iris", "run_id": "pinned", "artifact": "a"})
    at = ("--data", str(data))
    assert "3 moved to the trash" in cli("delete", *at, "a", "b", "pinned").stdout
    assert list_ids(data, "runs") == ["c"]
    assert list_ids(data, "trash", "list") == ["pinned", "b", "a"]
    assert "1 restored" in cli("trash", "restore", *at, "a").stdout
    result_of_remove = cli("trash", "remove", *at, "a", code=1)
    assert "not in the trash" in result_of_remove.stderr and (data / "runs" / "a").is_dir()
    result = cli("trash", "empty", "--yes", *at, code=1)
    assert "1 removed, 2.0 MB freed" in result.stdout
    assert "pinned" in result.stderr and "iris 1" in result.stderr
    assert not (data / "runs" / "b").exists()
    assert list_ids(data, "trash", "list") == ["pinned"]
    assert "no such run" in cli("delete", *at, "nobody", code=1).stderr


def test_resumed_command_logs_to_its_previous_run(data: Path) -> None:
    at = ("--data", str(data), "-q")
    cli("run", *at, "-e", "job", "--id", "job-1", "--", "sh", "-c", "echo first; exit 3", code=3)
    cli("run", *at, "--resume", "job-1", "--param", "try=2", "--tag", "node=b", "--", "echo", "second")
    run = json.loads(cli("show", "job-1", "--json", "--data", str(data)).stdout)
    assert (run["status"], run["error"], run["experiment"]) == ("completed", None, "job")
    assert (run["params"], run["tags"]) == ({"try": 2}, {"node": "b"})
    logs = {each["name"]: each["size"] for each in run["artifacts"] if each["name"].startswith("log")}
    assert logs == {"log.txt": 6, "log-2.txt": 7}
    assert run["resumed_at"] <= run["end_time"]
    result = cli("run", *at, "--resume", "nobody", "--", "echo", "never", code=2)
    assert "no run has the id" in result.stderr and "never" not in result.stdout
    assert "--resume" in cli("run", *at, "--resume", "job-1", "--id", "x", "--", "true", code=2).stderr
