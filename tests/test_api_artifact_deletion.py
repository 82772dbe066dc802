"""Deletion of artifacts and folders over HTTP; its effect on copies of the run, on verify and after a kill."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import open_app, run_logger
from flask.testing import FlaskClient
from support.calls import register, upload
from support.commands import cli
from support.snapshots import snapshot
from support.verifying import list_problems
from werkzeug.test import TestResponse

LogRun = Callable[..., str]
CHECKPOINTS = {f"checkpoints/{step}.pt": b"%d" % step for step in range(3)}


@pytest.fixture
def run_id(log_run: LogRun) -> str:
    """The id of a running run with artifacts beside and inside a folder."""
    return log_run(id="r", artifacts={"a": b"bytes", **CHECKPOINTS, "checkpoints/deep/x": b"x", "checkpoint": b"y"})


@pytest.fixture
def other(tmp_path: Path) -> Iterator[FlaskClient]:
    """A client of another store."""
    with open_app(tmp_path / "other") as app:
        yield app.test_client()


def delete(client: FlaskClient, name: str | None, run_id: str = "r") -> TestResponse:
    query = {} if name is None else {"name": name}
    return client.delete(f"/api/w/runs/{run_id}/artifacts", query_string=query)


def delete_and_count(client: FlaskClient, name: str) -> int:
    answer = delete(client, name)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.get_json()
    assert body.pop("ok") is True and body.keys() == {"deleted"}
    count: int = body["deleted"]
    return count


def list_names(client: FlaskClient) -> list[str]:
    return [each["name"] for each in client.get("/api/runs/r/artifacts").get_json()]


def list_blobs(data: Path) -> list[str]:
    folder = data / "runs" / "r" / "blobs"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def read_lines(data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (data / "runs" / "r" / "artifacts.jsonl").read_text().splitlines()]


def import_run(source: FlaskClient, target: FlaskClient, status: int = 200) -> dict[str, Any]:
    """Import the run "r" of one store into another."""
    body = source.get("/api/runs/r/download").data
    answer = target.post("/api/w/import", data=body, content_type="application/zip")
    assert answer.status_code == status, answer.text
    result: dict[str, Any] = answer.get_json()
    return result


def test_deleted_artifact_is_a_line_and_its_bytes_are_removed(client: FlaskClient, run_id: str, data: Path) -> None:
    before = read_lines(data)
    assert delete_and_count(client, "a") == 1
    assert "a" not in list_names(client) and "a" not in list_blobs(data)
    assert client.get("/api/artifacts/r/a/download").status_code == 404
    *earlier_lines, line = read_lines(data)
    assert earlier_lines == before
    assert line == {"name": "a", "deleted": True, "timestamp": line["timestamp"]}
    assert line["timestamp"] >= before[0]["timestamp"]
    assert delete(client, "a").get_json()["error"] == "no such artifact"
    assert list_problems(data) == [] and client.get("/api/health").get_json()["damaged"] == 0
    assert list((data / "runs" / ".incoming").iterdir()) == []
    with zipfile.ZipFile(io.BytesIO(client.get("/api/runs/r/download").data)) as archive:
        assert "r/blobs/a" not in archive.namelist()


def test_deletion_of_a_folder_deletes_exactly_its_artifacts(client: FlaskClient, run_id: str, data: Path) -> None:
    assert delete_and_count(client, "checkpoints/") == 4
    assert list_names(client) == ["a", "checkpoint"]
    assert list_blobs(data) == ["a", "checkpoint"], "empty folders are removed, too"
    assert delete(client, "checkpoints/").status_code == 404


@pytest.mark.parametrize("name", ["", "nothing", "nothing/", "checkpoints", "a/", "/", "../r/", "checkpoints//", "A"])
def test_delete_404_for_unknown_artifact(client: FlaskClient, run_id: str, data: Path, name: str) -> None:
    before = snapshot(data)
    answer = delete(client, name)
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such artifact")
    assert delete(client, None).status_code == 400
    assert delete(client, "a", "unknown").get_json()["error"] == "no such run"
    assert snapshot(data) == before


def test_artifact_of_an_ended_run_can_be_deleted_but_not_of_a_trashed_one(client: FlaskClient, run_id: str) -> None:
    client.post("/api/w/runs/r/end")
    assert delete_and_count(client, "checkpoints/") == 4
    client.post("/api/w/runs/r/trash")
    answer = delete(client, "a")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")
    client.post("/api/w/runs/r/restore")
    assert delete_and_count(client, "a") == 1


def test_deleted_name_can_be_uploaded_again_with_other_bytes(client: FlaskClient, run_id: str, data: Path) -> None:
    delete_and_count(client, "a")
    assert upload(client, "r", "a", b"other") == 200
    assert client.get("/api/artifacts/r/a/download").data == b"other"
    assert upload(client, "r", "a", b"third") == 409
    assert list_problems(data) == []
    assert delete_and_count(client, "a") == 1


def test_deleted_name_can_become_a_folder_and_a_deleted_folder_a_file(
    client: FlaskClient, run_id: str, data: Path
) -> None:
    assert upload(client, "r", "a/b", b"1") == 409
    delete_and_count(client, "a")
    assert upload(client, "r", "a/b", b"1") == 200
    delete_and_count(client, "checkpoints/")
    assert upload(client, "r", "checkpoints", b"2") == 200
    assert list_blobs(data) == ["a", "a/b", "checkpoint", "checkpoints"]
    assert upload(client, "r", "checkpoints/1", b"1") == 409
    assert list_problems(data) == []


def test_deletion_leaves_names_differing_in_case_unchanged(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    log_run(id="r", artifacts={"model": b"1", "Model": b"2", "MODEL": b"3"})
    before = list_blobs(data)
    assert len(before) == 3
    delete_and_count(client, "model")
    with open_app(data, read_only=True) as app:
        for reader in (client, app.test_client()):
            assert reader.get("/api/artifacts/r/Model/download").data == b"2"
            assert reader.get("/api/artifacts/r/MODEL/download").data == b"3"
    assert upload(client, "r", "model", b"4") == 200
    assert list_blobs(data) == before
    assert list_problems(data) == []


def test_delete_409_for_pinned_artifact_and_deletes_nothing_of_its_folder(
    client: FlaskClient, run_id: str, data: Path
) -> None:
    register(client, "r")
    body = {"name": "net", "run_id": "r", "artifact": "checkpoints/"}
    assert client.post("/api/w/models", json=body).status_code == 200
    before = snapshot(data / "runs" / "r")
    for name in ("a", "checkpoints/", "checkpoints/1.pt", "checkpoints/deep/"):
        answer = delete(client, name)
        assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict"), name
    assert snapshot(data / "runs" / "r") == before
    assert client.delete("/api/w/models/net/versions/1").status_code == 200
    assert delete_and_count(client, "checkpoints/") == 4


def test_replaced_artifact_is_no_longer_pinned(client: FlaskClient, run_id: str, data: Path) -> None:
    register(client, "r")
    (data / "runs" / "r" / "artifacts.jsonl").write_text(
        "".join(json.dumps(each) + "\n" for each in read_lines(data) if each["name"] != "a")
    )
    assert upload(client, "r", "a", b"other", overwrite="true") == 200
    assert delete_and_count(client, "a") == 1


def test_artifact_without_its_bytes_can_be_deleted(client: FlaskClient, run_id: str, data: Path) -> None:
    (data / "runs" / "r" / "blobs" / "a").unlink()
    assert delete_and_count(client, "a") == 1
    assert "a" not in list_names(client)
    assert list_problems(data) == []


def test_deletion_does_not_follow_links(client: FlaskClient, run_id: str, data: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.pt").write_text("mine")
    folder = data / "runs" / "r" / "blobs" / "checkpoints"
    folder.rename(tmp_path / "moved")
    folder.symlink_to(outside)
    assert delete_and_count(client, "checkpoints/1.pt") == 1
    assert (outside / "1.pt").read_text() == "mine"


# -- copies


def test_deletion_is_copied_by_an_import(client: FlaskClient, run_id: str, other: FlaskClient) -> None:
    import_run(client, other)
    delete_and_count(client, "checkpoints/")
    assert import_run(client, other)["updated"] == ["r"]
    assert list_names(other) == ["a", "checkpoint"]
    assert import_run(client, other)["unchanged"] == ["r"]
    ids = {"ids": "r"}
    digests = [each.get("/api/digests", query_string=ids).get_json() for each in (client, other)]
    assert digests[0] == digests[1]


def test_import_of_an_older_copy_does_not_restore_deleted_artifacts(
    client: FlaskClient, run_id: str, other: FlaskClient
) -> None:
    import_run(client, other)
    delete_and_count(client, "a")
    assert import_run(other, client)["unchanged"] == ["r"]
    assert "a" not in list_names(client)
    delete_and_count(other, "checkpoint")
    assert import_run(other, client)["updated"] == ["r"]
    assert sorted(list_names(client)) == sorted([*CHECKPOINTS, "checkpoints/deep/x"])


def test_later_upload_wins_over_a_deletion(client: FlaskClient, run_id: str, other: FlaskClient) -> None:
    import_run(client, other)
    delete_and_count(client, "a")
    delete_and_count(other, "a")
    upload(other, "r", "a", b"later")
    import_run(other, client)
    assert client.get("/api/artifacts/r/a/download").data == b"later"
    import_run(client, other)
    assert other.get("/api/artifacts/r/a/download").data == b"later"


def test_import_409_for_deletion_of_an_artifact_pinned_in_the_target(
    client: FlaskClient, run_id: str, other: FlaskClient
) -> None:
    import_run(client, other)
    assert other.post("/api/w/models", json={"name": "m", "run_id": "r", "artifact": "a"}).status_code == 200
    delete_and_count(client, "a")
    before = list_names(other)
    assert "was deleted where it comes from" in import_run(client, other, 409)["detail"]
    assert list_names(other) == before


def test_import_of_a_new_run_omits_its_deleted_artifacts(
    client: FlaskClient, run_id: str, other: FlaskClient, tmp_path: Path
) -> None:
    delete_and_count(client, "checkpoints/")
    assert import_run(client, other)["imported"] == ["r"]
    assert list_names(other) == ["a", "checkpoint"]
    assert upload(other, "r", "checkpoints/1.pt", b"1") == 200
    assert list_problems(tmp_path / "other") == []


# -- damage, kills


def test_interrupted_deletion_is_completed_at_the_next_start(data: Path) -> None:
    with open_app(data) as app:
        run_logger(app.test_client())(id="r", artifacts={"a": b"1", "d/b": b"2", "d/c": b"3", "D/b": b"4"})
    now = 9_000_000_000_000
    file = data / "runs" / "r" / "artifacts.jsonl"
    for name in ("d/b", "D/b"):
        line = json.dumps({"name": name, "deleted": True, "timestamp": now})
        file.write_text(f"{file.read_text()}{line}\n")
    mark = data / "runs" / ".incoming" / "r~deletion~0123456789abcdef"
    mark.write_bytes(b"")
    assert len(list_blobs(data)) == 6
    with open_app(data) as app:
        assert list_names(app.test_client()) == ["a", "d/c"]
        assert list_blobs(data) == ["a", "d", "d/c"]
        assert not mark.exists()
        assert app.test_client().get("/api/artifacts/r/d/c/download").data == b"3"
    assert list_problems(data) == []


def test_deletion_with_a_torn_line_deletes_nothing(data: Path) -> None:
    with open_app(data) as app:
        run_logger(app.test_client())(id="r", artifacts={"a": b"1"})
    file = data / "runs" / "r" / "artifacts.jsonl"
    file.write_text(file.read_text() + '{"name": "a", "deleted": tr')
    mark = data / "runs" / ".incoming" / "r~deletion~0123456789abcdef"
    mark.write_bytes(b"")
    with open_app(data) as app:
        assert app.test_client().get("/api/artifacts/r/a/download").data == b"1"
    assert not mark.exists()


@pytest.mark.parametrize(
    "line",
    [
        {"name": "a", "deleted": True},
        {"name": "a", "deleted": True, "timestamp": "1"},
        {"name": "a", "deleted": 1, "timestamp": 1},
        {"name": "../a", "deleted": True, "timestamp": 1},
        {"deleted": True, "timestamp": 1},
    ],
)
def test_invalid_deletion_line_is_damage_and_deletes_nothing(
    client: FlaskClient, run_id: str, data: Path, line: Any
) -> None:
    file = data / "runs" / "r" / "artifacts.jsonl"
    before = file.read_text()
    file.write_text(before + json.dumps(line) + "\n")
    assert "a" in list_names(client)
    assert ("runs/r/artifacts.jsonl", "damaged lines", True) in list_problems(data)
    assert delete(client, "a").status_code == 500, "no write to a file that is damaged"
    assert client.get("/api/artifacts/r/a/download").data == b"bytes"


def test_leftover_bytes_of_a_deleted_artifact_are_reported_by_verify_and_replaced_by_an_upload(
    client: FlaskClient, run_id: str, data: Path
) -> None:
    delete_and_count(client, "a")
    (data / "runs" / "r" / "blobs" / "a").write_bytes(b"left")
    assert list_problems(data) == [("runs/r/blobs/a", "orphan", False)]
    assert upload(client, "r", "a", b"new") == 200
    assert client.get("/api/artifacts/r/a/download").data == b"new"
    assert list_problems(data) == []


def test_store_of_an_earlier_release_can_be_read_and_deleted_from(client: FlaskClient, data: Path) -> None:
    folder = data / "runs" / "r"
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "a").write_bytes(b"bytes")
    meta = {"id": "r", "experiment": "e", "status": "completed", "start_time": 1, "end_time": 2}
    (folder / "meta.json").write_text(json.dumps(meta))
    line = {"name": "a", "sha256": hashlib.sha256(b"bytes").hexdigest(), "size": 5, "timestamp": 1}
    (folder / "artifacts.jsonl").write_text(json.dumps(line) + "\n")
    assert list_names(client) == ["a"]
    assert delete_and_count(client, "a") == 1
    assert read_lines(data)[0] == line


# -- pages and the command


def test_run_page_deletes_an_artifact_and_a_folder(
    client: FlaskClient, run_id: str, make_app: Callable[..., Any]
) -> None:
    text = client.get("/runs/r").text
    for name in ("a", "checkpoints/1.pt", "checkpoints/", "checkpoints/deep/"):
        assert f'<input type="hidden" name="name" value="{name}">' in text
    answer = client.post("/runs/r/artifacts/delete", data={"name": "checkpoints/", "then": "/runs/r"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/runs/r")
    assert "checkpoints/" not in client.get("/runs/r").text
    assert 'action="/runs/r/artifacts/delete"' in client.get("/runs/r/artifacts/a").text
    assert "artifacts/delete" not in make_app(read_only=True).test_client().get("/runs/r").text


def test_command_deletes_artifacts_and_reports_those_it_cannot(data: Path) -> None:
    with open_app(data) as app:
        client = app.test_client()
        run_logger(client)(id="r", artifacts={"a": b"bytes", **CHECKPOINTS, "checkpoint": b"y"})
        register(client, "r")
    options = ("--data", str(data))
    assert "4 artifacts deleted" in cli("delete-artifact", *options, "r", "checkpoints/", "checkpoint").stdout
    result = cli("delete-artifact", *options, "r", "a", "gone", code=1)
    assert "a: conflict: " in result.stderr and "gone: no such artifact: " in result.stderr
    assert "0 artifacts deleted" in result.stdout
    assert list_blobs(data) == ["a"]
