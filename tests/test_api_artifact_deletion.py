"""Artifacts deleted over HTTP, one or a folder, and what of it copies of the run, verify and a killed server know."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import opened, run_logger
from flask.testing import FlaskClient
from support.calls import register, upload
from support.commands import cli
from support.snapshots import files_of
from support.verifying import problems
from werkzeug.test import TestResponse

LogRun = Callable[..., str]
CHECKPOINTS = {f"checkpoints/{step}.pt": b"%d" % step for step in range(3)}


@pytest.fixture
def run_id(log_run: LogRun) -> str:
    """A running run with artifacts beside and inside of a folder."""
    return log_run(id="r", artifacts={"a": b"bytes", **CHECKPOINTS, "checkpoints/deep/x": b"x", "checkpoint": b"y"})


@pytest.fixture
def other(tmp_path: Path) -> Iterator[FlaskClient]:
    """A client of another store."""
    with opened(tmp_path / "other") as app:
        yield app.test_client()


def delete(client: FlaskClient, name: str | None, run_id: str = "r") -> TestResponse:
    query = {} if name is None else {"name": name}
    return client.delete(f"/api/w/runs/{run_id}/artifacts", query_string=query)


def deleted(client: FlaskClient, name: str) -> int:
    answer = delete(client, name)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.get_json()
    assert body.pop("ok") is True and body.keys() == {"deleted"}
    count: int = body["deleted"]
    return count


def names(client: FlaskClient) -> list[str]:
    return [each["name"] for each in client.get("/api/runs/r/artifacts").get_json()]


def blobs(data: Path) -> list[str]:
    folder = data / "runs" / "r" / "blobs"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def lines(data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (data / "runs" / "r" / "artifacts.jsonl").read_text().splitlines()]


def take(source: FlaskClient, target: FlaskClient, status: int = 200) -> dict[str, Any]:
    """Import the run of one store into another one."""
    body = source.get("/api/runs/r/download").data
    answer = target.post("/api/w/import", data=body, content_type="application/zip")
    assert answer.status_code == status, answer.text
    taken: dict[str, Any] = answer.get_json()
    return taken


def test_deleted_artifact_is_a_line_and_its_bytes_are_gone(client: FlaskClient, run_id: str, data: Path) -> None:
    before = lines(data)
    assert deleted(client, "a") == 1
    assert "a" not in names(client) and "a" not in blobs(data)
    assert client.get("/api/artifacts/r/a/download").status_code == 404
    *kept, line = lines(data)
    assert kept == before
    assert line == {"name": "a", "deleted": True, "timestamp": line["timestamp"]}
    assert line["timestamp"] >= before[0]["timestamp"]
    assert delete(client, "a").get_json()["error"] == "no such artifact"
    assert problems(data) == [] and client.get("/api/health").get_json()["damaged"] == 0
    assert list((data / "runs" / ".incoming").iterdir()) == []
    with zipfile.ZipFile(io.BytesIO(client.get("/api/runs/r/download").data)) as archive:
        assert "r/blobs/a" not in archive.namelist()


def test_deleted_folder_takes_all_that_is_in_it_and_nothing_beside(
    client: FlaskClient, run_id: str, data: Path
) -> None:
    assert deleted(client, "checkpoints/") == 4
    assert names(client) == ["a", "checkpoint"]
    assert blobs(data) == ["a", "checkpoint"], "empty folders go, too"
    assert delete(client, "checkpoints/").status_code == 404


@pytest.mark.parametrize("name", ["", "nothing", "nothing/", "checkpoints", "a/", "/", "../r/", "checkpoints//", "A"])
def test_artifact_that_is_not_there_is_404(client: FlaskClient, run_id: str, data: Path, name: str) -> None:
    before = files_of(data)
    answer = delete(client, name)
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such artifact")
    assert delete(client, None).status_code == 400
    assert delete(client, "a", "unknown").get_json()["error"] == "no such run"
    assert files_of(data) == before


def test_artifact_of_an_ended_run_is_deleted_but_none_of_a_trashed_one(client: FlaskClient, run_id: str) -> None:
    client.post("/api/w/runs/r/end")
    assert deleted(client, "checkpoints/") == 4
    client.post("/api/w/runs/r/trash")
    refused = delete(client, "a")
    assert (refused.status_code, refused.get_json()["error"]) == (404, "no such run")
    client.post("/api/w/runs/r/restore")
    assert deleted(client, "a") == 1


def test_upload_brings_a_name_back_with_other_bytes(client: FlaskClient, run_id: str, data: Path) -> None:
    deleted(client, "a")
    assert upload(client, "r", "a", b"other") == 200
    assert client.get("/api/artifacts/r/a/download").data == b"other"
    assert upload(client, "r", "a", b"third") == 409
    assert problems(data) == []
    assert deleted(client, "a") == 1


def test_deleted_name_may_become_a_folder_and_a_folder_a_file(client: FlaskClient, run_id: str, data: Path) -> None:
    assert upload(client, "r", "a/b", b"1") == 409
    deleted(client, "a")
    assert upload(client, "r", "a/b", b"1") == 200
    deleted(client, "checkpoints/")
    assert upload(client, "r", "checkpoints", b"2") == 200
    assert blobs(data) == ["a", "a/b", "checkpoint", "checkpoints"]
    assert upload(client, "r", "checkpoints/1", b"1") == 409
    assert problems(data) == []


def test_spelling_of_other_names_does_not_change(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    log_run(id="r", artifacts={"model": b"1", "Model": b"2", "MODEL": b"3"})
    before = blobs(data)
    assert len(before) == 3
    deleted(client, "model")
    with opened(data, read_only=True) as app:
        for reader in (client, app.test_client()):
            assert reader.get("/api/artifacts/r/Model/download").data == b"2"
            assert reader.get("/api/artifacts/r/MODEL/download").data == b"3"
    assert upload(client, "r", "model", b"4") == 200
    assert blobs(data) == before
    assert problems(data) == []


def test_pinned_artifact_is_409_and_nothing_of_its_folder_is_deleted(
    client: FlaskClient, run_id: str, data: Path
) -> None:
    register(client, "r")
    body = {"name": "net", "run_id": "r", "artifact": "checkpoints/"}
    assert client.post("/api/w/models", json=body).status_code == 200
    before = files_of(data / "runs" / "r")
    for name in ("a", "checkpoints/", "checkpoints/1.pt", "checkpoints/deep/"):
        answer = delete(client, name)
        assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict"), name
    assert files_of(data / "runs" / "r") == before
    assert client.delete("/api/w/models/net/versions/1").status_code == 200
    assert deleted(client, "checkpoints/") == 4


def test_what_was_uploaded_again_is_free_of_its_old_pin(client: FlaskClient, run_id: str, data: Path) -> None:
    register(client, "r")
    (data / "runs" / "r" / "artifacts.jsonl").write_text(
        "".join(json.dumps(each) + "\n" for each in lines(data) if each["name"] != "a")
    )
    assert upload(client, "r", "a", b"other", overwrite="true") == 200
    assert deleted(client, "a") == 1


def test_artifact_whose_bytes_were_removed_by_hand_can_be_deleted(client: FlaskClient, run_id: str, data: Path) -> None:
    (data / "runs" / "r" / "blobs" / "a").unlink()
    assert deleted(client, "a") == 1
    assert "a" not in names(client)
    assert problems(data) == []


def test_links_that_were_put_there_are_not_followed(
    client: FlaskClient, run_id: str, data: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.pt").write_text("mine")
    folder = data / "runs" / "r" / "blobs" / "checkpoints"
    folder.rename(tmp_path / "moved")
    folder.symlink_to(outside)
    assert deleted(client, "checkpoints/1.pt") == 1
    assert (outside / "1.pt").read_text() == "mine"


# -- copies


def test_deletion_is_carried_on_by_an_import(client: FlaskClient, run_id: str, other: FlaskClient) -> None:
    take(client, other)
    deleted(client, "checkpoints/")
    assert take(client, other)["updated"] == ["r"]
    assert names(other) == ["a", "checkpoint"]
    assert take(client, other)["unchanged"] == ["r"]
    ids = {"ids": "r"}
    digests = [each.get("/api/digests", query_string=ids).get_json() for each in (client, other)]
    assert digests[0] == digests[1]


def test_older_copy_does_not_bring_back_what_was_deleted(client: FlaskClient, run_id: str, other: FlaskClient) -> None:
    take(client, other)
    deleted(client, "a")
    assert take(other, client)["unchanged"] == ["r"]
    assert "a" not in names(client)
    deleted(other, "checkpoint")
    assert take(other, client)["updated"] == ["r"]
    assert sorted(names(client)) == sorted([*CHECKPOINTS, "checkpoints/deep/x"])


def test_later_upload_counts_more_than_a_deletion(client: FlaskClient, run_id: str, other: FlaskClient) -> None:
    take(client, other)
    deleted(client, "a")
    deleted(other, "a")
    upload(other, "r", "a", b"later")
    take(other, client)
    assert client.get("/api/artifacts/r/a/download").data == b"later"
    take(client, other)
    assert other.get("/api/artifacts/r/a/download").data == b"later"


def test_deletion_elsewhere_of_what_is_pinned_here_is_409(client: FlaskClient, run_id: str, other: FlaskClient) -> None:
    take(client, other)
    assert other.post("/api/w/models", json={"name": "m", "run_id": "r", "artifact": "a"}).status_code == 200
    deleted(client, "a")
    before = names(other)
    assert "was deleted where it comes from" in take(client, other, 409)["detail"]
    assert names(other) == before


def test_run_that_was_never_here_comes_without_what_was_deleted(
    client: FlaskClient, run_id: str, other: FlaskClient, tmp_path: Path
) -> None:
    deleted(client, "checkpoints/")
    assert take(client, other)["imported"] == ["r"]
    assert names(other) == ["a", "checkpoint"]
    assert upload(other, "r", "checkpoints/1.pt", b"1") == 200
    assert problems(tmp_path / "other") == []


# -- damage, kills


def test_deletion_cut_off_before_its_bytes_went_is_finished_at_the_next_start(data: Path) -> None:
    with opened(data) as app:
        run_logger(app.test_client())(id="r", artifacts={"a": b"1", "d/b": b"2", "d/c": b"3", "D/b": b"4"})
    now = 9_000_000_000_000
    file = data / "runs" / "r" / "artifacts.jsonl"
    for name in ("d/b", "D/b"):
        line = json.dumps({"name": name, "deleted": True, "timestamp": now})
        file.write_text(f"{file.read_text()}{line}\n")
    mark = data / "runs" / ".incoming" / "r~deletion~0123456789abcdef"
    mark.write_bytes(b"")
    assert len(blobs(data)) == 6
    with opened(data) as app:
        assert names(app.test_client()) == ["a", "d/c"]
        assert blobs(data) == ["a", "d", "d/c"]
        assert not mark.exists()
        assert app.test_client().get("/api/artifacts/r/d/c/download").data == b"3"
    assert problems(data) == []


def test_deletion_whose_line_was_not_written_deletes_nothing(data: Path) -> None:
    with opened(data) as app:
        run_logger(app.test_client())(id="r", artifacts={"a": b"1"})
    file = data / "runs" / "r" / "artifacts.jsonl"
    file.write_text(file.read_text() + '{"name": "a", "deleted": tr')
    mark = data / "runs" / ".incoming" / "r~deletion~0123456789abcdef"
    mark.write_bytes(b"")
    with opened(data) as app:
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
def test_line_that_is_no_deletion_is_damage_and_deletes_nothing(
    client: FlaskClient, run_id: str, data: Path, line: Any
) -> None:
    file = data / "runs" / "r" / "artifacts.jsonl"
    before = file.read_text()
    file.write_text(before + json.dumps(line) + "\n")
    assert "a" in names(client)
    assert ("runs/r/artifacts.jsonl", "damaged lines", True) in problems(data)
    assert delete(client, "a").status_code == 500, "a write would build on what can't be believed"
    assert client.get("/api/artifacts/r/a/download").data == b"bytes"


def test_bytes_left_of_what_was_deleted_are_named_by_verify_and_replaced_by_an_upload(
    client: FlaskClient, run_id: str, data: Path
) -> None:
    deleted(client, "a")
    (data / "runs" / "r" / "blobs" / "a").write_bytes(b"left")
    assert problems(data) == [("runs/r/blobs/a", "orphan", False)]
    assert upload(client, "r", "a", b"new") == 200
    assert client.get("/api/artifacts/r/a/download").data == b"new"
    assert problems(data) == []


def test_store_of_an_earlier_version_reads_as_it_is(client: FlaskClient, data: Path) -> None:
    folder = data / "runs" / "r"
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "a").write_bytes(b"bytes")
    meta = {"id": "r", "experiment": "e", "status": "completed", "start_time": 1, "end_time": 2}
    (folder / "meta.json").write_text(json.dumps(meta))
    line = {"name": "a", "sha256": hashlib.sha256(b"bytes").hexdigest(), "size": 5, "timestamp": 1}
    (folder / "artifacts.jsonl").write_text(json.dumps(line) + "\n")
    assert names(client) == ["a"]
    assert deleted(client, "a") == 1
    assert lines(data)[0] == line


# -- pages and the command


def test_page_of_the_run_deletes_an_artifact_and_a_folder(
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


def test_command_deletes_artifacts_and_names_what_it_can_not(data: Path) -> None:
    with opened(data) as app:
        client = app.test_client()
        run_logger(client)(id="r", artifacts={"a": b"bytes", **CHECKPOINTS, "checkpoint": b"y"})
        register(client, "r")
    at = ("--data", str(data))
    assert "4 artifacts deleted" in cli("delete-artifact", *at, "r", "checkpoints/", "checkpoint").stdout
    done = cli("delete-artifact", *at, "r", "a", "gone", code=1)
    assert "a: conflict: " in done.stderr and "gone: no such artifact: " in done.stderr
    assert "0 artifacts deleted" in done.stdout
    assert blobs(data) == ["a"]
