"""Artifacts over HTTP: any bytes under any name, conflicts, errors and chunked uploads."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from flask.testing import FlaskClient
from support.servers import run_server
from support.snapshots import snapshot
from werkzeug.test import TestResponse

from chachaml_lite.store import disk_names

LogRun = Callable[..., str]
OCTETS = "application/octet-stream"


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


@pytest.fixture
def data(shared_data: Path) -> Path:
    return shared_data


def upload(client: FlaskClient, run_id: str, name: str, content: bytes, **query: str) -> TestResponse:
    return client.post(
        f"/api/w/runs/{run_id}/artifacts", query_string={"name": name, **query}, data=content, content_type=OCTETS
    )


def download(client: FlaskClient, run_id: str, name: str) -> TestResponse:
    return client.get(f"/api/artifacts/{run_id}/{quote(name)}/download")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"text\r\n", bytes(range(256)) * 1000, b'{"json": 1}', b"\xff\xfe", b"x" * 3_000_000],
    ids=lambda content: str(content)[:20],
)
def test_any_bytes_can_be_uploaded_and_downloaded(client: FlaskClient, log_run: LogRun, content: bytes) -> None:
    run_id = log_run()
    sha256 = hashlib.sha256(content).hexdigest()
    answer = upload(client, run_id, "model.pkl", content)
    assert answer.get_json() == {"ok": True, "name": "model.pkl", "sha256": sha256, "size": len(content)}
    answer = download(client, run_id, "model.pkl")
    assert answer.data == content
    assert (answer.headers["ETag"], answer.headers["Content-Length"]) == (f'"{sha256}"', str(len(content)))
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_artifacts_are_listed_by_name(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    before = int(time.time() * 1000)
    for name, content in (("z.txt", b"z"), ("plots/loss.png", b"png"), ("a", b"")):
        upload(client, run_id, name, content)
    artifacts = client.get(f"/api/runs/{run_id}/artifacts").get_json()
    assert [artifact["name"] for artifact in artifacts] == ["a", "plots/loss.png", "z.txt"]
    created_at = artifacts[1]["created_at"]
    assert before <= created_at <= int(time.time() * 1000)
    assert artifacts[1] == {
        "id": f"{run_id}/plots/loss.png",
        "run_id": run_id,
        "name": "plots/loss.png",
        "size": 3,
        "sha256": hashlib.sha256(b"png").hexdigest(),
        "content_type": "image/png",
        "created_at": created_at,
    }
    assert client.get(f"/api/runs/{run_id}").get_json()["artifacts"] == artifacts
    assert client.get(f"/api/artifacts/{artifacts[1]['id']}/download").data == b"png"
    assert client.get(f"/api/runs/{log_run()}/artifacts").get_json() == []


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.json", "application/json"),
        ("a.csv", "text/csv"),
        ("A.PNG", "image/png"),
        ("model.pkl", OCTETS),
        ("a.tar.gz", OCTETS),
        ("a.csv.gz", OCTETS),
        ("none", OCTETS),
        (".json", OCTETS),
        ("a.unheard-of", OCTETS),
        ("dir.json/file", OCTETS),
        ("http://x.json?y=/a.html", "text/html"),
    ],
)
def test_content_type_depends_on_the_file_extension(
    client: FlaskClient, log_run: LogRun, name: str, content_type: str
) -> None:
    name = name.replace("//", "/")
    run_id = log_run(artifacts={name: b"x"})
    assert client.get(f"/api/runs/{run_id}/artifacts").get_json()[0]["content_type"] == content_type
    assert download(client, run_id, name).mimetype == content_type


@pytest.mark.parametrize(
    "name", ["größe 大.bin", 'a"b;c\\n.txt'.replace("\\", ""), "100%.txt", "a?b#c&d=e.txt", "'x'.txt"]
)
def test_download_of_any_name_has_its_file_name_in_the_header(client: FlaskClient, log_run: LogRun, name: str) -> None:
    run_id = log_run(artifacts={f"dir/{name}": b"x"})
    answer = download(client, run_id, f"dir/{name}")
    assert answer.data == b"x"
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename")
    assert "dir" not in disposition
    assert disposition.isascii()


# -- conflicts


def test_upload_of_the_same_bytes_changes_nothing(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run(artifacts={"m": b"one"})
    before = snapshot(data)
    for query in ({}, {"overwrite": "true"}, {"overwrite": "false"}):
        assert upload(client, run_id, "m", b"one", **query).status_code == 200
    assert snapshot(data) == before


@pytest.mark.parametrize("query", [{}, {"overwrite": "false"}, {"overwrite": "0"}, {"overwrite": ""}])
def test_upload_of_other_bytes_is_409_without_overwrite(
    client: FlaskClient, log_run: LogRun, data: Path, query: dict[str, str]
) -> None:
    run_id = log_run(artifacts={"m": b"one"})
    before = snapshot(data)
    answer = upload(client, run_id, "m", b"two", **query)
    assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict")
    assert "overwrite=true" in answer.get_json()["detail"]
    assert snapshot(data) == before


@pytest.mark.parametrize("overwrite", ["true", "True", "1", "yes"])
def test_upload_with_overwrite_replaces_the_artifact(client: FlaskClient, log_run: LogRun, overwrite: str) -> None:
    run_id = log_run(artifacts={"m": b"one", "other": b"other"})
    for content in (b"two", b"", b"one"):
        answer = upload(client, run_id, "m", content, overwrite=overwrite)
        assert (answer.status_code, answer.get_json()["size"]) == (200, len(content))
        assert download(client, run_id, "m").data == content
        artifacts = client.get(f"/api/runs/{run_id}/artifacts").get_json()
        assert [artifact["name"] for artifact in artifacts] == ["m", "other"]
        assert artifacts[0]["sha256"] == hashlib.sha256(content).hexdigest()


def test_only_the_artifact_of_a_model_version_cannot_be_replaced(client: FlaskClient, log_run: LogRun) -> None:
    run_id, other = log_run(artifacts={"m": b"one"}), log_run(artifacts={"m": b"one"})
    client.post("/api/w/models", json={"name": "iris", "run_id": other, "artifact": "m"})
    assert upload(client, run_id, "m", b"two", overwrite="true").status_code == 200
    assert upload(client, other, "n", b"n").status_code == 200
    assert upload(client, other, "n", b"two", overwrite="true").status_code == 200
    assert upload(client, other, "m", b"two", overwrite="true").status_code == 409


@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "a/b"), ("a/b", "a"), ("a/b", "a/b/c"), ("a/b/c", "a"), ("a/b/c", "a/b"), ("a", "A/b"), ("A/b", "a")],
)
def test_name_cannot_be_a_file_and_a_folder(client: FlaskClient, log_run: LogRun, first: str, second: str) -> None:
    run_id = log_run(artifacts={first: b"1"})
    for query in ({}, {"overwrite": "true"}):
        answer = upload(client, run_id, second, b"2", **query)
        assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict")
    assert [artifact["name"] for artifact in client.get(f"/api/runs/{run_id}/artifacts").get_json()] == [first]


def test_names_that_differ_in_case_or_normalisation_are_distinct(client: FlaskClient, log_run: LogRun) -> None:
    names = ["a/x", "A/x", "a/X", "é", "e\u0301", "É", "ß", "ss", "b", "B", "%42", "%62"]
    run_id = log_run(artifacts={name: name.encode() for name in names})
    for name in names:
        assert download(client, run_id, name).data == name.encode()


# -- errors


@pytest.mark.parametrize(
    "query", ["", "name", "name=", "nmae=x", "name=a&name=b", "name=a&overwrite=maybe", "name=a&extra=1", "name=%FF"]
)
def test_invalid_query_string_is_400(client: FlaskClient, log_run: LogRun, data: Path, query: str) -> None:
    run_id = log_run()
    before = snapshot(data)
    answer = client.post(f"/api/w/runs/{run_id}/artifacts?{query}", data=b"x", content_type=OCTETS)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    assert snapshot(data) == before


def test_missing_name_is_400_with_an_example(client: FlaskClient, log_run: LogRun) -> None:
    answer = client.post(f"/api/w/runs/{log_run()}/artifacts", data=b"x", content_type=OCTETS)
    assert "?name=model.pkl" in answer.get_json()["detail"]


def test_incomplete_upload_leaves_nothing(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run()
    before = snapshot(data)
    answer = client.post(
        f"/api/w/runs/{run_id}/artifacts?name=m",
        input_stream=io.BytesIO(b"half"),
        content_type=OCTETS,
        environ_overrides={"CONTENT_LENGTH": "8"},
    )
    assert answer.status_code == 400
    assert snapshot(data) == before


@pytest.mark.parametrize(
    "name", ["unknown", "M", "m/", "../m", "dir", "dir/../m", "blobs/m", "../meta.json", "%2e%2e/m"]
)
def test_unknown_artifact_is_404(client: FlaskClient, log_run: LogRun, name: str) -> None:
    run_id = log_run(artifacts={"m": b"x", "dir/m": b"y"})
    answer = client.get(f"/api/artifacts/{run_id}/{name}/download")
    assert answer.status_code == 404
    assert answer.get_json()["error"] in ("no such artifact", "not found")


def test_artifacts_of_an_unknown_run_are_404(client: FlaskClient) -> None:
    for path in ("/api/runs/unknown/artifacts", "/api/artifacts/unknown/m/download"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")


# -- a real server


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The URL of a separate server with a run "r"."""
    with run_server(tmp_path / "store", tmp_path / "server") as server:
        requests.post(f"{server.url}/api/w/runs", json={"experiment": "x", "id": "r"}, timeout=60).raise_for_status()
        yield server.url


def test_upload_in_chunks_needs_no_length(url: str) -> None:
    content = bytes(range(256)) * 20_000

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 100_000):
            yield content[start : start + 100_000]

    uploads = f"{url}/api/w/runs/r/artifacts"
    headers = {"Content-Type": OCTETS}
    for body in (pieces(), content):
        answer = requests.post(uploads, params={"name": "größe.bin"}, data=body, headers=headers, timeout=60)
        assert answer.json() == {
            "ok": True,
            "name": "größe.bin",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        }
    assert requests.get(f"{url}/api/artifacts/r/größe.bin/download", timeout=60).content == content
    conflict: Any = requests.post(uploads, params={"name": "größe.bin"}, data=b"x", headers=headers, timeout=60)
    assert conflict.status_code == 409


def test_cost_of_upload_and_download_does_not_depend_on_the_number_of_artifacts(
    client: FlaskClient, log_run: LogRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured in names compared, since with 10,000 artifacts an upload was once 30 times as slow."""
    log_run(id="r", artifacts={f"folder/{number}": b"" for number in range(300)})
    compared_names: list[str] = []
    fold = disk_names.fold
    monkeypatch.setattr(disk_names, "fold", lambda name: compared_names.append(name) or fold(name))  # type: ignore[func-returns-value]
    for number in range(3):
        url = f"/api/w/runs/r/artifacts?name=other/{number}"
        assert client.post(url, data=b"bytes", content_type=OCTETS).status_code == 200
        assert client.get(f"/api/artifacts/r/other/{number}/download").data == b"bytes"
    assert len(compared_names) < 50
