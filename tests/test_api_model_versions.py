"""Model versions over HTTP: folders, aliases and selectors, descriptions and tags, deletion."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.calls import OCTETS, upload
from support.verifying import list_problems
from werkzeug.test import TestResponse

LogRun = Callable[..., str]
FILES = {"model/MLmodel": b"flavors:", "model/weights.bin": b"0123456789" * 1000, "model/data/b.txt": "grün".encode()}


@pytest.fixture
def run_id(log_run: LogRun) -> str:
    """The id of a running run with a folder `model/`, and artifacts beside it."""
    return log_run(id="r1", artifacts={**FILES, "model.pkl": b"weights", "modelling/other": b"x"})


def register(client: FlaskClient, artifact: str = "model.pkl", status: int = 200, /, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/w/models", json={"name": "iris", "run_id": "r1", "artifact": artifact, **fields})
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.get_json()
    return body


def post(client: FlaskClient, path: str, body: Any, status: int = 200) -> Any:
    answer = client.post(f"/api/w/models/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.get_json()


def versions(client: FlaskClient, name: str = "iris") -> dict[int, dict[str, Any]]:
    return {each["version"]: each for each in client.get(f"/api/models/{name}").get_json()["versions"]}


def download(client: FlaskClient, selector: str | int, status: int = 200, **headers: str) -> TestResponse:
    answer = client.get(f"/api/models/iris/{selector}/download", headers=headers)
    assert answer.status_code == status, answer.text
    return answer


# -- folders


def test_folder_version_has_the_checksum_of_the_output_of_sha256sum(
    client: FlaskClient, run_id: str, data: Path, tmp_path: Path
) -> None:
    version = register(client, "model/")
    names = sorted((name.removeprefix("model/") for name in FILES), key=str.encode)
    assert names[0] == "MLmodel", "byte order: capitals first"
    output = subprocess.run(
        ["sha256sum", *names], cwd=data / "runs" / run_id / "blobs" / "model", check=True, capture_output=True
    ).stdout
    assert version["sha256"] == hashlib.sha256(output).hexdigest()
    assert (version["artifact"], version["files"], version["version"]) == ("model/", 3, 1)
    assert versions(client)[1]["files"] == 3


def test_folder_version_downloads_as_an_uncompressed_zip_of_its_files(client: FlaskClient, run_id: str) -> None:
    version = register(client, "model/", stage="production")
    answer = download(client, "production")
    assert answer.mimetype == "application/zip"
    assert answer.headers["ETag"] == f'"{version["sha256"]}"'
    assert answer.headers["Content-Disposition"] == "attachment; filename=iris-1.zip"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name.removeprefix("model/"): content for name, content in FILES.items()
        }
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert download(client, 1).data == answer.data, "the same bytes under one ETag"
    assert download(client, 1, 304, **{"If-None-Match": answer.headers["ETag"]}).data == b""
    part = download(client, 1, 206, Range="bytes=0-1")
    assert part.headers["Content-Range"] == f"bytes 0-1/{len(answer.data)}"


def test_subfolder_may_be_a_version(client: FlaskClient, run_id: str) -> None:
    version = register(client, "model/data/")
    content = hashlib.sha256(FILES["model/data/b.txt"]).hexdigest()
    assert version["sha256"] == hashlib.sha256(f"{content}  b.txt\n".encode()).hexdigest()
    with zipfile.ZipFile(io.BytesIO(download(client, 1).data)) as archive:
        assert archive.namelist() == ["b.txt"]


@pytest.mark.parametrize("artifact", ["mod/", "model//", "/", "model", "model.pkl/", "../r1/", ""])
def test_unknown_folder_is_404(client: FlaskClient, run_id: str, artifact: str) -> None:
    assert register(client, artifact, 404)["error"] == "no such artifact"
    assert client.get("/api/models").get_json() == []


def test_pinned_folder_accepts_no_new_or_changed_files(client: FlaskClient, run_id: str) -> None:
    register(client, "model/")
    assert upload(client, "r1", "model/new.txt", b"new") == 409
    assert upload(client, "r1", "model/data/new.txt", b"new") == 409
    assert upload(client, "r1", "model/MLmodel", b"other") == 409
    assert upload(client, "r1", "model/MLmodel", b"other", overwrite="true") == 409
    assert upload(client, "r1", "model/MLmodel", FILES["model/MLmodel"]) == 200
    for name in ("beside.txt", "modelling/new", "Model/new.txt"):
        assert upload(client, "r1", name, b"new") == 200, name
    error = client.post("/api/w/runs/r1/artifacts?name=model/x", data=b"1", content_type=OCTETS).get_json()
    assert "in the folder 'model/', which version 1 of the model 'iris' is pinned to" in error["detail"]
    assert len(zipfile.ZipFile(io.BytesIO(download(client, 1).data)).namelist()) == 3


def test_deleted_version_frees_its_folder(client: FlaskClient, run_id: str) -> None:
    register(client, "model/")
    assert upload(client, "r1", "model/new.txt", b"new") == 409
    assert client.delete("/api/w/models/iris/versions/1").status_code == 200
    assert upload(client, "r1", "model/new.txt", b"new") == 200
    assert register(client, "model/")["files"] == 4


def test_history_copied_by_hand_pins_a_folder_within_a_second(
    client: FlaskClient, run_id: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chachaml_lite.store.scan.LOOK_SECONDS", 0)
    register(client, "model/")
    history = data / "models" / "iris" / "history.jsonl"
    copy = data / "models" / "copied"
    line = history.read_text()
    assert client.delete("/api/w/models/iris").status_code == 200
    assert upload(client, "r1", "modelling/free", b"1") == 200
    copy.mkdir()
    (copy / "history.jsonl").write_text(line)
    assert upload(client, "r1", "model/new.txt", b"new") == 409


def test_folder_changed_behind_the_server_is_404_and_named_by_verify(
    client: FlaskClient, run_id: str, data: Path
) -> None:
    register(client, "model/")
    assert list_problems(data) == []
    lines = data / "runs" / "r1" / "artifacts.jsonl"
    other_lines = [line for line in lines.read_text().splitlines(keepends=True) if "model/data" not in line]
    lines.write_text("".join(other_lines))
    assert download(client, 1, 404).get_json()["error"] == "no such artifact"
    assert "broken version" in {kind for _, kind, _ in list_problems(data)}


def test_run_of_a_folder_version_cannot_be_deleted(client: FlaskClient, run_id: str) -> None:
    register(client, "model/")
    assert client.delete("/api/w/runs/r1").status_code == 409


# -- aliases and selectors


def test_alias_names_one_version_and_can_be_moved(client: FlaskClient, run_id: str) -> None:
    register(client)
    register(client, "modelling/other")
    assert post(client, "iris/aliases", {"alias": "champion", "version": 1}) == {"ok": True}
    assert download(client, "champion").data == b"weights"
    post(client, "iris/aliases", {"alias": "champion", "version": 2})
    assert (versions(client)[1]["aliases"], versions(client)[2]["aliases"]) == ([], ["champion"])
    post(client, "iris/aliases", {"alias": "champion", "version": None})
    post(client, "iris/aliases", {"alias": "champion", "version": None})
    download(client, "champion", 404)
    events = [event["event"] for event in client.get("/api/models/iris").get_json()["history"]]
    assert events == ["registered", "registered", "alias", "alias", "alias"], (
        "a request that changes nothing is not an event"
    )


@pytest.mark.parametrize(
    "alias", ["latest", "LATEST", "v1", "V22", "7", "-7", "", "a b", "a.b", "a/b", "ä", "x" * 251, "a\n", "٣", 5, None]
)
def test_invalid_alias_is_400(client: FlaskClient, run_id: str, alias: Any) -> None:
    register(client)
    post(client, "iris/aliases", {"alias": alias, "version": 1}, 400)
    assert versions(client)[1]["aliases"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"alias": "a", "version": 9}, 404),
        ({"alias": "a", "version": "1"}, 400),
        ({"alias": "a", "version": True}, 400),
        ({"alias": "a"}, 400),
        ({"version": 1}, 400),
        ({"alias": "a", "version": 1, "stage": "none"}, 400),
    ],
)
def test_invalid_alias_body_changes_nothing(client: FlaskClient, run_id: str, body: Any, status: int) -> None:
    register(client)
    post(client, "iris/aliases", body, status)
    post(client, "other/aliases", {"alias": "a", "version": 1}, 404)
    assert len(client.get("/api/models/iris").get_json()["history"]) == 1


def test_alias_production_is_the_production_stage(client: FlaskClient, run_id: str) -> None:
    register(client)
    register(client)
    post(client, "iris/aliases", {"alias": "production", "version": 2})
    assert {n: (v["stage"], v["aliases"]) for n, v in versions(client).items()} == {
        1: ("none", []),
        2: ("production", ["production"]),
    }
    post(client, "iris/promote", {"version": 1, "stage": "production"})
    assert {n: (v["stage"], v["aliases"]) for n, v in versions(client).items()} == {
        1: ("production", ["production"]),
        2: ("archived", []),
    }
    post(client, "iris/aliases", {"alias": "production", "version": None})
    post(client, "iris/aliases", {"alias": "production", "version": None})
    assert versions(client)[1]["stage"] == "none"
    assert len(client.get("/api/models/iris").get_json()["history"]) == 5


def test_selector_is_a_number_then_latest_then_an_alias_then_a_stage(client: FlaskClient, run_id: str) -> None:
    register(client, "model.pkl")
    register(client, "modelling/other", stage="staging")
    assert download(client, "latest").data == b"x"
    assert download(client, "1").data == b"weights"
    assert download(client, "staging").data == b"x"
    post(client, "iris/aliases", {"alias": "staging", "version": 1})
    assert download(client, "staging").data == b"weights"
    assert client.get("/api/diff/iris/latest/staging").status_code == 200
    assert client.delete("/api/w/models/iris/versions/2").status_code == 200
    assert download(client, "latest").data == b"weights"


# -- descriptions and tags


def test_model_without_a_version_is_listed_and_has_a_page(client: FlaskClient, run_id: str) -> None:
    model = post(client, "iris", {"description": "*flowers*", "tags": {"team": "vision", "gone": None}})
    assert model == client.get("/api/models").get_json()[0]
    assert model == {
        "name": "iris",
        "description": "*flowers*",
        "created_at": model["created_at"],
        "versions": 0,
        "latest": None,
        "production": None,
        "tags": {"team": "vision"},
    }
    assert client.get("/api/models/iris").get_json()["versions"] == []
    for selector in ("latest", "1", "production"):
        assert "no version yet" in download(client, selector, 404).get_json()["detail"]
    assert "iris" in client.get("/api/models?format=txt").text
    for path in ("/models", "/models/iris"):
        assert client.get(path).status_code == 200
    assert register(client)["version"] == 1


def test_model_is_described_and_tagged(client: FlaskClient, run_id: str) -> None:
    register(client, description="of the version")
    assert post(client, "iris", {})["description"] == "of the version"
    assert post(client, "iris", {"description": "own", "tags": {"a": 1, "b": "x"}})["description"] == "own"
    after = post(client, "iris", {"tags": {"a": None, "c": True}})
    assert (after["description"], after["tags"]) == ("own", {"b": "x", "c": True})
    count = len(client.get("/api/models/iris").get_json()["history"])
    assert post(client, "iris", {"description": "own", "tags": {"b": "x", "never": None}}) == after
    assert len(client.get("/api/models/iris").get_json()["history"]) == count
    assert post(client, "iris", {"description": ""})["description"] == "of the version"


def test_version_is_described_and_tagged(client: FlaskClient, run_id: str) -> None:
    register(client)
    register(client)
    after = post(client, "iris/versions/1", {"description": "good", "tags": {"a": 1}})
    assert (after["version"], after["description"], after["tags"]) == (1, "good", {"a": 1})
    assert versions(client) == {1: after, 2: versions(client)[2]}
    assert versions(client)[2]["tags"] == {}
    after = post(client, "iris/versions/1", {"description": "", "tags": {"a": True}})
    assert (after["description"], after["tags"]) == (None, {"a": True})
    assert client.get("/api/models").get_json()[0]["tags"] == {}


@pytest.mark.parametrize("path", ["iris", "iris/versions/1"])
@pytest.mark.parametrize(
    "body",
    [
        {"description": 5},
        {"description": "x" * 100_001},
        {"tags": []},
        {"tags": {"a": [1]}},
        {"tags": {"": "x"}},
        {"tags": {"a\n": "x"}},
        {"name": "other"},
        [],
    ],
)
def test_invalid_description_or_tags_are_400_and_store_nothing(
    client: FlaskClient, run_id: str, path: str, body: Any
) -> None:
    register(client)
    post(client, path, body, 400)
    post(client, path.replace("iris", "new"), body, 400)
    assert len(client.get("/api/models/iris").get_json()["history"]) == 1
    assert len(client.get("/api/models").get_json()) == 1


def test_tags_too_long_for_a_line_are_413(client: FlaskClient, run_id: str) -> None:
    register(client)
    post(client, "iris", {"tags": {"a": "x" * 1_100_000}}, 413)
    assert len(client.get("/api/models/iris").get_json()["history"]) == 1


# -- deletion


def test_unknown_version_is_404_and_the_detail_names_the_existing_ones(client: FlaskClient, run_id: str) -> None:
    def get_detail() -> str:
        detail: str = download(client, 9, 404).get_json()["detail"]
        return detail

    register(client)
    assert "it has version 1" in get_detail()
    for _ in range(2):
        register(client)
    assert "its versions are 1 to 3" in get_detail()
    assert client.delete("/api/w/models/iris/versions/2").status_code == 200
    assert "it has 2 versions up to 3" in get_detail()
    assert client.delete("/api/w/models/iris/versions/1").status_code == 200
    assert "it has version 3" in get_detail()


def test_deleted_version_leaves_a_gap(client: FlaskClient, run_id: str) -> None:
    for _ in range(3):
        register(client)
    post(client, "iris/aliases", {"alias": "best", "version": 3})
    assert client.delete("/api/w/models/iris/versions/3").get_json() == {"ok": True}
    assert client.delete("/api/w/models/iris/versions/3").status_code == 404
    assert sorted(versions(client)) == [1, 2]
    for selector in ("3", "best"):
        download(client, selector, 404)
    for path in ("versions/3", "promote", "aliases"):
        body = {"versions/3": {}, "promote": {"version": 3, "stage": "none"}, "aliases": {"alias": "x", "version": 3}}
        post(client, f"iris/{path}", body[path], 404)
    assert register(client)["version"] == 4
    for number in (1, 2, 4):
        assert client.delete(f"/api/w/models/iris/versions/{number}").status_code == 200
    assert versions(client) == {}
    assert register(client)["version"] == 5
    assert client.delete("/api/w/runs/r1").status_code == 409


@pytest.mark.parametrize("selector", ["latest", "best", "none", "01x", "0", "-1", "9" * 30])
def test_delete_version_accepts_only_a_number(client: FlaskClient, run_id: str, selector: str) -> None:
    register(client)
    post(client, "iris/aliases", {"alias": "best", "version": 1})
    assert client.delete(f"/api/w/models/iris/versions/{selector}").status_code == 404
    assert sorted(versions(client)) == [1]


def test_version_in_production_is_not_deleted(client: FlaskClient, run_id: str) -> None:
    register(client, stage="production")
    register(client)
    for path in ("iris/versions/1", "iris"):
        answer = client.delete(f"/api/w/models/{path}")
        assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict")
        assert "version 1 of the model 'iris' is in production" in answer.get_json()["detail"]
    assert sorted(versions(client)) == [1, 2]
    post(client, "iris/promote", {"version": 1, "stage": "archived"})
    assert client.delete("/api/w/models/iris/versions/1").status_code == 200


def test_deleted_model_frees_its_name_numbers_and_runs(client: FlaskClient, run_id: str, data: Path) -> None:
    for _ in range(2):
        register(client, "model/")
    assert client.delete("/api/w/models/iris").get_json() == {"ok": True}
    assert client.delete("/api/w/models/iris").status_code == 404
    assert client.get("/api/models").get_json() == []
    assert list((data / "models").iterdir()) == [] == list((data / "runs" / ".incoming").iterdir())
    assert client.get("/api/models/iris").status_code == 404
    assert register(client)["version"] == 1
    assert client.delete("/api/w/models/iris").status_code == 200
    assert client.delete("/api/w/runs/r1").status_code == 200


def test_model_in_memory_is_the_same_as_read_from_its_file(
    client: FlaskClient, run_id: str, make_app: Callable[..., Any], data: Path
) -> None:
    register(client, "model/", stage="production")
    for turn in range(3):
        register(client, description=f"{turn}")
        post(client, "iris/aliases", {"alias": f"a{turn % 2}", "version": turn + 1})
        post(client, f"iris/versions/{turn + 1}", {"description": "x", "tags": {"turn": turn}})
    post(client, "iris", {"tags": {"a": 1}})
    post(client, "iris/promote", {"version": 2, "stage": "production"})
    history = data / "models" / "iris" / "history.jsonl"
    torn = history.read_text() + '{"event": "dele'
    history.write_text(torn)
    assert register(client)["version"] == 5
    assert client.delete("/api/w/models/iris/versions/1").status_code == 200
    restarted = make_app(read_only=True).test_client()
    for path in ("/api/models", "/api/models/iris", "/api/health"):
        assert client.get(path).get_json() == restarted.get(path).get_json(), path
    assert client.get("/api/health").get_json()["damaged"] == 1


# -- stores of earlier releases


def test_history_of_an_earlier_release_is_read_and_only_appended_to(
    client: FlaskClient, run_id: str, data: Path
) -> None:
    """A history as it was written before there were aliases, tags, folders and deletions."""
    sha256 = hashlib.sha256(b"weights").hexdigest()
    common = {"event": "registered", "model": "old", "run_id": "r1", "artifact": "model.pkl", "sha256": sha256}
    lines = [
        {**common, "version": 1, "stage": "production", "description": "first", "timestamp": 1},
        {**common, "version": 2, "stage": "none", "description": None, "timestamp": 2},
        {"event": "promoted", "version": 2, "stage": "production", "timestamp": 3},
    ]
    folder = data / "models" / "old"
    folder.mkdir(parents=True)
    before = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "history.jsonl").write_text(before)
    old_versions = versions(client, "old")
    assert [
        (old_versions[n]["stage"], old_versions[n]["aliases"], old_versions[n]["files"], old_versions[n]["tags"])
        for n in (1, 2)
    ] == [
        ("archived", [], None, {}),
        ("production", ["production"], None, {}),
    ]
    assert client.get("/api/health").get_json()["damaged"] == 0
    assert list_problems(data) == []
    assert client.get("/api/models/old/production/download").data == b"weights"
    assert (folder / "history.jsonl").read_text() == before
    assert client.delete("/api/w/models/old/versions/1").status_code == 200
    assert (folder / "history.jsonl").read_text().startswith(before)


@pytest.mark.parametrize(
    "event",
    [
        {"event": "created", "description": None, "tags": {}, "timestamp": 9},
        {"event": "described", "version": 7, "description": "x", "timestamp": 9},
        {"event": "described", "version": "1", "description": "x", "timestamp": 9},
        {"event": "described", "description": 5, "timestamp": 9},
        {"event": "tagged", "tags": [], "timestamp": 9},
        {"event": "tagged", "tags": {"a": 1}},
        {"event": "alias", "alias": "v1", "version": 1, "timestamp": 9},
        {"event": "alias", "alias": "production", "version": 1, "timestamp": 9},
        {"event": "alias", "alias": "best", "version": 7, "timestamp": 9},
        {"event": "deleted", "version": 7, "timestamp": 9},
        {"event": "deleted", "timestamp": 9},
        {"event": "registered", "version": 1, "stage": "none", "timestamp": 9},
        {"event": ["deleted"], "version": 1, "timestamp": 9},
    ],
)
def test_invalid_event_is_ignored_and_reported(
    client: FlaskClient, run_id: str, data: Path, event: dict[str, Any]
) -> None:
    register(client)
    before = client.get("/api/models/iris").get_json()
    history = data / "models" / "iris" / "history.jsonl"
    history.write_text(history.read_text() + json.dumps(event) + "\n")
    assert client.get("/api/models/iris").get_json() == before
    assert client.get("/api/health").get_json()["damaged"] == 1
    assert ("models/iris/history.jsonl", "damaged lines", True) in list_problems(data)
    assert register(client)["version"] == 2
