"""GET /api/digests, a run's manifest and its files: what tells two copies of a run apart, and nothing else does."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import opened
from flask.testing import FlaskClient
from support.calls import LogRun, upload
from support.zips import POINT

from chachaml_lite.store import checksum


def digest(client: FlaskClient, run_id: str = "r") -> str:
    found: dict[str, str] = client.get(f"/api/digests?ids={run_id}").get_json()
    assert client.get(f"/api/runs/{run_id}/manifest").get_json()["digest"] == found[run_id]
    return found[run_id]


@pytest.fixture
def run(client: FlaskClient, log_run: LogRun, data: Path) -> Path:
    """The folder of a run "r" with all there can be in it."""
    artifacts = {"a": b"bytes", "dir/b?": b"", "A": b"other"}
    log_run(id="r", tags={"t": 1}, params={"lr": 1}, metrics=[{"loss": 1}, {"loss": "NaN"}], artifacts=artifacts)
    (data / "runs/r/mine").mkdir()
    (data / "runs/r/mine/notes.txt").write_text("mine")
    return data / "runs/r"


def test_manifest_tells_of_all_that_a_copy_needs(client: FlaskClient, run: Path) -> None:
    assert upload(client, "r", "a", b"newer", overwrite="true") == 200
    found = client.get("/api/runs/r/manifest").get_json()
    assert found["meta"] == json.loads((run / "meta.json").read_bytes())
    assert found["params"] == {"lr": 1}
    assert found["uploads"] == [json.loads(line) for line in (run / "artifacts.jsonl").read_text().splitlines()]
    assert [each["name"] for each in found["uploads"]] == ["a", "dir/b?", "A", "a"]
    assert [each["path"] for each in found["files"]] == ["metrics.jsonl", "mine/notes.txt"]
    for each in found["files"]:
        answer = client.get(f"/api/runs/r/files/{each['path']}")
        assert (answer.status_code, answer.data) == (200, (run / each["path"]).read_bytes())
        assert (each["size"], each["sha256"]) == (len(answer.data), hashlib.sha256(answer.data).hexdigest())
    assert found["damage"] is None
    assert found["last_write_time"] == client.get("/api/runs/r").get_json()["last_write_time"]


@pytest.mark.parametrize("size", [0, 1, 2, 1024 * 1024, 1024 * 1024 + 1])
def test_sum_is_of_all_bytes(client: FlaskClient, run: Path, size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    (run / "mine/notes.txt").write_bytes(content)
    listed = {each["path"]: each for each in client.get("/api/runs/r/manifest").get_json()["files"]}
    assert listed["mine/notes.txt"]["sha256"] == hashlib.sha256(content).hexdigest()


def append(path: Path, content: bytes) -> int:
    return path.write_bytes(path.read_bytes() + content)


CHANGES: dict[str, Callable[[FlaskClient, Path], object]] = {
    "param": lambda client, run: client.post("/api/w/runs/r/params", json={"new": None}),
    "point": lambda client, run: client.post("/api/w/runs/r/metrics", json={"loss": "NaN"}),
    "tag": lambda client, run: client.post("/api/w/runs/r/tags", json={"t": "1"}),
    "note": lambda client, run: client.post("/api/w/runs/r/note", json={"note": "n"}),
    "dataset": lambda client, run: client.post("/api/w/runs/r/datasets", json={"role": "train"}),
    "artifact": lambda client, run: upload(client, "r", "new", b""),
    "other bytes": lambda client, run: upload(client, "r", "a", b"newer", overwrite="true"),
    "end": lambda client, run: client.post("/api/w/runs/r/end"),
    "unknown key": lambda client, run: edit(run / "meta.json", mine=1),
    "file": lambda client, run: (run / "new.txt").write_text(""),
    "other file": lambda client, run: (run / "mine/notes.txt").write_text("MINE"),
    "file among the artifacts": lambda client, run: (run / "blobs/stray").write_text(""),
    "point by hand": lambda client, run: append(run / "metrics.jsonl", POINT),
}


def edit(path: Path, **changes: Any) -> int:
    return path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_changes_the_digest(client: FlaskClient, run: Path, change: str) -> None:
    before = digest(client)
    CHANGES[change](client, run)
    assert digest(client) != before


def test_file_is_summed_once_while_it_is_as_it_was(
    client: FlaskClient, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summed = 0

    def counted() -> Any:
        nonlocal summed
        summed += 1
        return hashlib.sha256()

    monkeypatch.setattr(checksum, "hashlib", SimpleNamespace(sha256=counted))
    before = digest(client)
    first = summed
    assert first > 0
    assert digest(client) == before
    assert summed == first
    (run / "mine/notes.txt").write_text("MINE")
    assert digest(client) != before
    assert summed == first + 1


def test_what_means_nothing_does_not(client: FlaskClient, run: Path, data: Path, tmp_path: Path) -> None:
    client.post("/api/w/runs/r/end")
    before = digest(client)
    (run / "summary.json").unlink()
    (run / ".hidden").write_text("1")
    (run / "link").symlink_to(tmp_path)
    os.mkfifo(run / "pipe")
    for name in ("meta.json", "params.json"):
        value = json.loads((run / name).read_bytes())
        (run / name).write_text(json.dumps(dict(reversed(value.items())), indent=4))
    os.utime(run / "metrics.jsonl", (1, 1))
    assert digest(client) == before
    zipped = client.get("/api/runs/r/download").data
    with opened(tmp_path / "other") as app:
        other = app.test_client()
        assert other.post("/api/w/import", data=zipped, content_type="application/zip").status_code == 200
        assert digest(other) == before


def test_one_that_is_not_here_has_none_and_neither_has_a_damaged_one(client: FlaskClient, run: Path) -> None:
    assert client.get("/api/digests?ids=none,..,r&ids=r").get_json().keys() == {"r"}
    (run / "meta.json").write_text("{")
    assert client.get("/api/digests?ids=r").get_json() == {}
    assert client.get("/api/runs/r/manifest").status_code == 404


@pytest.mark.parametrize("name", ["metrics.jsonl", "artifacts.jsonl", "params.json"])
def test_damage_is_told(client: FlaskClient, run: Path, name: str) -> None:
    (run / name).write_bytes(b"{damage\n")
    assert name in client.get("/api/runs/r/manifest").get_json()["damage"]


def test_points_are_summed_up_to_where_another_copy_ends(client: FlaskClient, run: Path) -> None:
    points = (run / "metrics.jsonl").read_bytes()
    for size in (0, len(points) - 1, len(points), len(points) + 1):
        (file, _) = client.get(f"/api/runs/r/manifest?points_bytes={size}").get_json()["files"]
        assert (file["size"], file["sha256"]) == (min(size, len(points)), hashlib.sha256(points[:size]).hexdigest())


@pytest.mark.parametrize(
    "path",
    [
        "../r/meta.json",
        "mine/../meta.json",
        ".hidden",
        "mine/.hidden",
        "link",
        "out/secret",
        "mine",
        "pipe",
        "none",
        "%00",
    ],
)
def test_only_files_of_the_run_are_served(client: FlaskClient, run: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret").write_text("secret")
    (run / "out").symlink_to(tmp_path / "out")
    (run / "link").symlink_to(tmp_path / "out" / "secret")
    for hidden in (".hidden", "mine/.hidden"):
        (run / hidden).write_text("hidden")
    os.mkfifo(run / "pipe")
    answer = client.get(f"/api/runs/r/files/{path}")
    assert (answer.status_code, answer.get_json().keys()) == (404, {"error", "detail"})
    assert client.get("/api/runs/none/files/meta.json").status_code == 404
