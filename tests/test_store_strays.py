"""Strays in the store's folder, files that were never logged: ignored, left unchanged, never followed outside."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from support.calls import LogRun, get_statuses, log_good_and_bad, register, upload
from support.snapshots import snapshot


@pytest.fixture
def bad_run_id(client: FlaskClient, log_run: LogRun) -> str:
    """The id of a run to damage, beside one that stays intact."""
    return log_good_and_bad(client, log_run)


def test_strays_are_ignored_and_left_unchanged(
    client: FlaskClient, bad_run_id: str, log_run: LogRun, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = data / "runs"
    (runs / "README.txt").write_text("a stray file")
    (runs / ".DS_Store").write_bytes(b"\0")
    (runs / "bad/.nfs0001").write_bytes(b"\0")
    (runs / "linked").symlink_to(runs / "good")
    (data / "models/linked").symlink_to(data / "models/iris")
    (data / "models/stray").write_text("a stray file")
    os.mkfifo(runs / "pipe")
    before = client.get("/api/runs").get_json()
    assert [run["id"] for run in before] == ["bad", "good"]
    assert [model["name"] for model in client.get("/api/models").get_json()] == ["iris"]
    for _ in range(3):
        log_run()
    assert client.get("/api/health").get_json()["damaged"] == 0
    assert client.get("/api/runs/linked").status_code == 404
    warnings = [record.getMessage() for record in caplog.records if "README.txt" in record.getMessage()]
    assert len(warnings) == 1
    assert (runs / "README.txt").read_text() == "a stray file"


def test_list_header_counts_the_unreadable_runs(client: FlaskClient, bad_run_id: str, data: Path) -> None:
    def get_unreadable_count() -> str:
        return client.get("/api/runs?limit=1").headers["X-Unreadable-Count"]

    (data / "runs" / "no run").mkdir()
    (data / "runs" / bad_run_id / "params.json").write_text("{")
    assert get_unreadable_count() == "0", "a run with damaged params is in the list"
    meta = (data / "runs" / bad_run_id / "meta.json").read_text()
    (data / "runs" / bad_run_id / "meta.json").write_text("{")
    assert get_unreadable_count() == "1"
    (data / "runs" / "empty").mkdir()
    assert get_unreadable_count() == "2"
    (data / "runs" / bad_run_id / "meta.json").write_text(meta)
    (data / "runs" / "empty").rmdir()
    assert get_unreadable_count() == "0"


@pytest.mark.parametrize("name", ["-dash", "sp ace", "con", "dot.", "a" * 200, "\u00e4", "new\nline", "\x1b[2J"])
def test_folder_that_is_not_a_run_is_counted_as_damaged(
    client: FlaskClient, bad_run_id: str, data: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "runs" / name).mkdir()
    assert [run["id"] for run in client.get("/api/runs").get_json()] == ["bad", "good"]
    assert client.get("/api/health").get_json()["damaged"] == 1
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1 and messages[0].isprintable()


def test_empty_folder_is_counted_as_damaged(client: FlaskClient, bad_run_id: str, data: Path) -> None:
    (data / "runs/empty").mkdir()
    (data / "models/empty").mkdir()
    assert client.get("/api/health").get_json()["damaged"] == 2
    assert client.get("/api/runs/empty").status_code == 404
    assert client.get("/api/models/empty").status_code == 404


@pytest.mark.parametrize("folder", [b"\xff\xfe", b"%FF", b"a%2Fb", b"%2E%2E", b"new\nline", b"%0A"])
def test_model_folder_with_an_invalid_name_is_counted_as_damaged(
    client: FlaskClient, bad_run_id: str, data: Path, folder: bytes
) -> None:
    shutil.copytree(data / "models/iris", data / "models" / os.fsdecode(folder))
    assert {path: status for path, status in get_statuses(client).items() if status >= 500} == {}
    assert [model["name"] for model in client.get("/api/models").get_json()] == ["iris"]
    assert client.get("/api/health").get_json()["damaged"] == 1


@pytest.mark.parametrize("name", ["", "/etc/passwd", "a//b", "../../up", "a/./b", "c\u0000d", "e\\f", "x" * 300])
def test_artifact_line_with_an_invalid_name_is_counted_as_damaged(
    client: FlaskClient, bad_run_id: str, data: Path, name: str
) -> None:
    with (data / "runs/bad/artifacts.jsonl").open("a") as file:
        file.write(json.dumps({"name": name, "sha256": "0" * 64, "size": 1, "timestamp": 1}) + "\n")
    assert {path: status for path, status in get_statuses(client).items() if status >= 500} == {}
    assert [artifact["name"] for artifact in client.get("/api/runs/bad/artifacts").get_json()] == ["a"]
    assert client.get("/api/health").get_json()["damaged"] == 1
    assert upload(client, "bad", "b", b"new") == 200
    assert client.get("/api/artifacts/bad/b/download").data == b"new"


@pytest.mark.parametrize("stray", ["file", "link"])
def test_create_run_409_for_id_whose_place_is_taken_by_a_stray(client: FlaskClient, data: Path, stray: str) -> None:
    place = data / "runs/taken"
    place.write_text("a stray") if stray == "file" else place.symlink_to(data.parent)
    assert client.post("/api/w/runs", json={"experiment": "e", "id": "taken"}).status_code == 409
    assert client.post("/api/w/runs", json={"experiment": "e", "id": "free"}).status_code == 200
    assert list((data / "runs/.incoming").iterdir()) == []


def test_model_whose_place_is_taken_by_a_stray_gets_another_folder(
    client: FlaskClient, log_run: LogRun, data: Path
) -> None:
    run_id = log_run(artifacts={"a": b"bytes"})
    (data / "models/iris").write_text("a stray")
    assert register(client, run_id)["version"] == 1
    assert register(client, run_id)["version"] == 2
    assert (data / "models/iris").read_text() == "a stray"


# -- links and other strays in the way of blobs


@pytest.mark.parametrize("name", ["a", "inner/a", "inner/deep/a"])
@pytest.mark.parametrize("link_name", ["blobs", "blobs/inner"])
def test_linked_folder_of_blobs_is_never_followed(
    client: FlaskClient, log_run: LogRun, data: Path, name: str, link_name: str
) -> None:
    run_id = log_run(artifacts={"inner/deep/kept": b"kept"}, metrics={"loss": 1})
    folder, outside = data / "runs" / run_id / link_name, data.parent / "outside"
    folder.rename(outside)
    folder.symlink_to(outside)
    before = sorted(str(path) for path in outside.rglob("*"))
    assert client.get(f"/api/artifacts/{run_id}/inner/deep/kept/download").status_code == 404
    is_refused = upload(client, run_id, name, b"new") != 200
    assert is_refused or (link_name == "blobs/inner" and name == "a")
    assert sorted(str(path) for path in outside.rglob("*")) == before
    assert client.get(f"/api/runs/{run_id}").get_json()["metrics"] == {"loss": 1}


def test_upload_replaces_a_link_and_not_its_target(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id, outside = log_run(artifacts={"a": b"bytes"}), data.parent / "outside"
    blob = data / "runs" / run_id / "blobs/a"
    outside.write_bytes(b"not ours")
    blob.unlink()
    blob.symlink_to(outside)
    assert client.get(f"/api/artifacts/{run_id}/a/download").status_code == 404
    assert upload(client, run_id, "a", b"bytes") == 200
    assert client.get(f"/api/artifacts/{run_id}/a/download").data == b"bytes"
    assert (outside.read_bytes(), blob.is_symlink()) == (b"not ours", False)


@pytest.mark.parametrize("obstacle", ["link", "file", "folder"])
def test_upload_409_for_a_stray_in_its_way(client: FlaskClient, log_run: LogRun, data: Path, obstacle: str) -> None:
    run_id = log_run(artifacts={"a": b"bytes"})
    place = data / "runs" / run_id / "blobs/inner"
    if obstacle == "link":
        place.symlink_to(data.parent)
    elif obstacle == "file":
        place.write_bytes(b"by hand")
    else:
        (place / "a").mkdir(parents=True)
    records = (data / "runs" / run_id / "artifacts.jsonl").read_bytes()
    assert upload(client, run_id, "inner/a", b"new") == 409
    assert (data / "runs" / run_id / "artifacts.jsonl").read_bytes() == records
    assert list((data / "runs/.incoming").iterdir()) == []
    assert upload(client, run_id, "other", b"new") == 200


def test_blob_created_by_hand_is_replaced_only_with_overwrite(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run(artifacts={"a": b"bytes"})
    by_hand = data / "runs" / run_id / "blobs/b"
    by_hand.write_bytes(b"by hand")
    assert upload(client, run_id, "b", b"new") == 409
    assert by_hand.read_bytes() == b"by hand"
    assert upload(client, run_id, "b", b"new", overwrite="true") == 200
    assert by_hand.read_bytes() == b"new"


# -- in place of a temporary file, of experiments/


@pytest.mark.parametrize("stray", ["pipe", "hard link", "link", "file"])
@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("runs/RUN/.meta.json.tmp", "/api/w/runs/RUN/tags", {"a": 1}),
        ("runs/RUN/.params.json.tmp", "/api/w/runs/RUN/params", {"a": 1}),
        ("runs/RUN/.summary.json.tmp", "/api/w/runs/RUN/end", {"status": "completed"}),
        ("experiments/.iris.json.tmp", "/api/w/experiments/iris", {"description": "new"}),
    ],
)
def test_stray_in_place_of_a_temporary_file_is_replaced_without_waiting_or_following(
    client: FlaskClient, log_run: LogRun, data: Path, name: str, path: str, body: dict[str, object], stray: str
) -> None:
    run_id, outside = log_run(experiment="iris", metrics={"loss": 1}), data.parent / "outside"
    assert client.post("/api/w/experiments/iris", json={"description": "old"}).status_code == 200
    outside.write_bytes(b"not ours")
    place = data / name.replace("RUN", run_id)
    if stray == "pipe":
        os.mkfifo(place)
    elif stray == "hard link":
        place.hardlink_to(outside)
    elif stray == "link":
        place.symlink_to(outside)
    else:
        place.write_bytes(b"left")
    assert client.post(path.replace("RUN", run_id), json=body).status_code == 200
    assert outside.read_bytes() == b"not ours"
    assert not os.path.lexists(place)
    target = place.with_name(place.name.removeprefix(".").removesuffix(".tmp"))
    assert target.is_file() and target.stat().st_nlink == 1 and not target.is_symlink()
    assert client.get("/api/health").get_json()["damaged"] == 0


def test_link_in_place_of_experiments_is_neither_read_nor_written_through(
    client: FlaskClient, log_run: LogRun, data: Path
) -> None:
    log_run(experiment="iris")
    assert client.post("/api/w/experiments/iris", json={"description": "ours"}).status_code == 200
    outside = data.parent / "outside"
    (data / "experiments").rename(outside)
    (data / "experiments").symlink_to(outside)
    before = snapshot(outside)
    assert client.get("/api/experiments/iris").get_json()["description"] is None
    response = client.post("/api/w/experiments/iris", json={"description": "new"})
    assert (response.status_code, response.get_json()["error"]) == (500, "storage fault")
    assert snapshot(outside) == before
    (data / "experiments").unlink()
    assert client.post("/api/w/experiments/iris", json={"description": "new"}).status_code == 200
