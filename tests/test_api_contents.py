"""GET /api/digests, a run's manifest and its files: the means to compare two copies of a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import open_app
from flask.testing import FlaskClient
from support.calls import LogRun, upload
from support.zips import POINT

from chachaml_lite.store import checksum


def get_digest(client: FlaskClient, run_id: str = "r") -> str:
    digests: dict[str, str] = client.get(f"/api/digests?ids={run_id}").get_json()
    assert client.get(f"/api/runs/{run_id}/manifest").get_json()["digest"] == digests[run_id]
    return digests[run_id]


@pytest.fixture
def folder(client: FlaskClient, log_run: LogRun, data: Path) -> Path:
    """The folder of a run "r" that has everything a run can have."""
    artifacts = {"a": b"bytes", "dir/b?": b"", "A": b"other"}
    log_run(id="r", tags={"t": 1}, params={"lr": 1}, metrics=[{"loss": 1}, {"loss": "NaN"}], artifacts=artifacts)
    (data / "runs/r/mine").mkdir()
    (data / "runs/r/mine/notes.txt").write_text("mine")
    return data / "runs/r"


def test_manifest_describes_everything_a_copy_needs(client: FlaskClient, folder: Path) -> None:
    assert upload(client, "r", "a", b"newer", overwrite="true") == 200
    manifest = client.get("/api/runs/r/manifest").get_json()
    assert manifest["meta"] == json.loads((folder / "meta.json").read_bytes())
    assert manifest["params"] == {"lr": 1}
    assert manifest["uploads"] == [json.loads(line) for line in (folder / "artifacts.jsonl").read_text().splitlines()]
    assert [each["name"] for each in manifest["uploads"]] == ["a", "dir/b?", "A", "a"]
    assert [each["path"] for each in manifest["files"]] == ["metrics.jsonl", "mine/notes.txt"]
    for each in manifest["files"]:
        answer = client.get(f"/api/runs/r/files/{each['path']}")
        assert (answer.status_code, answer.data) == (200, (folder / each["path"]).read_bytes())
        assert (each["size"], each["sha256"]) == (len(answer.data), hashlib.sha256(answer.data).hexdigest())
    assert manifest["damage"] is None
    assert manifest["last_write_time"] == client.get("/api/runs/r").get_json()["last_write_time"]


@pytest.mark.parametrize("size", [0, 1, 2, 1024 * 1024, 1024 * 1024 + 1])
def test_checksum_covers_all_bytes(client: FlaskClient, folder: Path, size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    (folder / "mine/notes.txt").write_bytes(content)
    files = {each["path"]: each for each in client.get("/api/runs/r/manifest").get_json()["files"]}
    assert files["mine/notes.txt"]["sha256"] == hashlib.sha256(content).hexdigest()


def append(path: Path, content: bytes) -> int:
    return path.write_bytes(path.read_bytes() + content)


CHANGES: dict[str, Callable[[FlaskClient, Path], object]] = {
    "param": lambda client, folder: client.post("/api/w/runs/r/params", json={"new": None}),
    "point": lambda client, folder: client.post("/api/w/runs/r/metrics", json={"loss": "NaN"}),
    "tag": lambda client, folder: client.post("/api/w/runs/r/tags", json={"t": "1"}),
    "note": lambda client, folder: client.post("/api/w/runs/r/note", json={"note": "n"}),
    "dataset": lambda client, folder: client.post("/api/w/runs/r/datasets", json={"role": "train"}),
    "artifact": lambda client, folder: upload(client, "r", "new", b""),
    "other bytes": lambda client, folder: upload(client, "r", "a", b"newer", overwrite="true"),
    "end": lambda client, folder: client.post("/api/w/runs/r/end"),
    "unknown key": lambda client, folder: edit(folder / "meta.json", mine=1),
    "file": lambda client, folder: (folder / "new.txt").write_text(""),
    "other file": lambda client, folder: (folder / "mine/notes.txt").write_text("MINE"),
    "file among the artifacts": lambda client, folder: (folder / "blobs/stray").write_text(""),
    "point by hand": lambda client, folder: append(folder / "metrics.jsonl", POINT),
}


def edit(path: Path, **changes: Any) -> int:
    return path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


@pytest.mark.parametrize("change", CHANGES)
def test_digest_changes_with_every_change(client: FlaskClient, folder: Path, change: str) -> None:
    before = get_digest(client)
    CHANGES[change](client, folder)
    assert get_digest(client) != before


def test_unchanged_file_is_hashed_once(client: FlaskClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hash_count = 0

    def count_hash() -> Any:
        nonlocal hash_count
        hash_count += 1
        return hashlib.sha256()

    monkeypatch.setattr(checksum, "hashlib", SimpleNamespace(sha256=count_hash))
    before = get_digest(client)
    first = hash_count
    assert first > 0
    assert get_digest(client) == before
    assert hash_count == first
    (folder / "mine/notes.txt").write_text("MINE")
    assert get_digest(client) != before
    assert hash_count == first + 1


def test_digest_ignores_derived_hidden_and_reformatted_files(
    client: FlaskClient, folder: Path, data: Path, tmp_path: Path
) -> None:
    client.post("/api/w/runs/r/end")
    before = get_digest(client)
    (folder / "summary.json").unlink()
    (folder / ".hidden").write_text("1")
    (folder / "link").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    for name in ("meta.json", "params.json"):
        value = json.loads((folder / name).read_bytes())
        (folder / name).write_text(json.dumps(dict(reversed(value.items())), indent=4))
    os.utime(folder / "metrics.jsonl", (1, 1))
    assert get_digest(client) == before
    body = client.get("/api/runs/r/download").data
    with open_app(tmp_path / "other") as app:
        other = app.test_client()
        assert other.post("/api/w/import", data=body, content_type="application/zip").status_code == 200
        assert get_digest(other) == before


def test_unknown_and_damaged_runs_have_no_digest(client: FlaskClient, folder: Path) -> None:
    assert client.get("/api/digests?ids=none,..,r&ids=r").get_json().keys() == {"r"}
    (folder / "meta.json").write_text("{")
    assert client.get("/api/digests?ids=r").get_json() == {}
    assert client.get("/api/runs/r/manifest").status_code == 404


@pytest.mark.parametrize("name", ["metrics.jsonl", "artifacts.jsonl", "params.json"])
def test_manifest_names_the_damaged_file(client: FlaskClient, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{damage\n")
    assert name in client.get("/api/runs/r/manifest").get_json()["damage"]


def test_points_are_hashed_up_to_the_length_of_another_copy(client: FlaskClient, folder: Path) -> None:
    points = (folder / "metrics.jsonl").read_bytes()
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
def test_only_files_of_the_run_are_served(client: FlaskClient, folder: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "out")
    (folder / "link").symlink_to(tmp_path / "out" / "secret")
    for name in (".hidden", "mine/.hidden"):
        (folder / name).write_text("hidden")
    os.mkfifo(folder / "pipe")
    answer = client.get(f"/api/runs/r/files/{path}")
    assert (answer.status_code, answer.get_json().keys()) == (404, {"error", "detail"})
    assert client.get("/api/runs/none/files/meta.json").status_code == 404
