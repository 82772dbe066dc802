"""ETags and 304 responses to GET: an ETag stays while nothing changes, and is a new one after every change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

OCTETS = "application/octet-stream"
#: GETs of a run "r" that has everything a run can have, and of the model "iris".
PATHS = {
    "runs": "/api/runs",
    "filtered": "/api/runs?experiment=iris&tag.a=1",
    "run": "/api/runs/r",
    "metrics": "/api/runs/r/metrics",
    "thinned": "/api/runs/r/metrics?max_points=5",
    "artifacts": "/api/runs/r/artifacts",
    "manifest": "/api/runs/r/manifest",
    "digests": "/api/digests?ids=r",
    "file": "/api/runs/r/files/metrics.jsonl",
    "download": "/api/artifacts/r/m/download",
    "check": "/api/runs/r/check?rule=loss<9",
    "tags": "/api/tags/r",
    "datasets": "/api/datasets/r",
    "models": "/api/models",
    "model": "/api/models/iris",
    "version": "/api/models/iris/1/download",
    "front": "/",
    "page": "/runs",
    "run page": "/runs/r",
}


@pytest.fixture
def client_with_run(client: FlaskClient) -> FlaskClient:
    client.post("/api/w/runs", json={"experiment": "iris", "id": "r", "tags": {"a": 1}})
    client.post("/api/w/runs/r/params", json={"lr": 1})
    client.post("/api/w/runs/r/metrics", json={"loss": 1})
    client.post("/api/w/runs/r/artifacts?name=m", data=b"bytes", content_type=OCTETS)
    client.post("/api/w/models", json={"name": "iris", "run_id": "r", "artifact": "m"})
    return client


def get_if_none_match(client: FlaskClient, path: str, etag: str) -> TestResponse:
    return client.get(path, headers={"If-None-Match": etag})


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_unchanged_state_is_304_without_a_body(client_with_run: FlaskClient, path: str) -> None:
    first = client_with_run.get(path)
    etag = first.headers["ETag"]
    assert first.status_code == 200
    assert first.headers["Cache-Control"] == "no-cache"
    assert client_with_run.get(path).headers["ETag"] == etag
    assert client_with_run.head(path).headers["ETag"] == etag
    # Weak for a state, whose bytes may be compressed or not; an artifact's bytes are always the same.
    assert etag.startswith('"' if "download" in path or "file" in path else 'W/"')
    for condition in (etag, f'"other", {etag}', etag.removeprefix("W/")):
        answer = get_if_none_match(client_with_run, path, condition)
        assert (answer.status_code, answer.data) == (304, b""), condition
        assert answer.headers["ETag"] == etag
    for condition in ('"other"', etag.strip('"')[:-1], ""):
        assert get_if_none_match(client_with_run, path, condition).status_code == 200


#: Each write, with the names of the GETs whose answers it changes.
TRANSFER = {"manifest", "digests"}
ALL_OF_RUN = {"runs", "filtered", "run", "run page", "page"} | TRANSFER
CHANGES: dict[str, tuple[str, Any, set[str]]] = {
    "params": ("/api/w/runs/r/params", {"new": 1}, ALL_OF_RUN),
    "metrics": ("/api/w/runs/r/metrics", {"loss": 2}, ALL_OF_RUN | {"metrics", "thinned", "check", "file"}),
    "end": ("/api/w/runs/r/end", {"status": "failed"}, ALL_OF_RUN),
    "tags": ("/api/w/runs/r/tags", {"b": 2}, ALL_OF_RUN | {"tags"}),
    "note": ("/api/w/runs/r/note", {"note": "x"}, {"run", "run page"} | TRANSFER),
    "datasets": ("/api/w/runs/r/datasets", {"role": "x"}, {"run", "run page", "datasets"} | TRANSFER),
    "artifacts": ("/api/w/runs/r/artifacts?name=n", b"n", {"run", "run page", "artifacts"} | TRANSFER),
    "another run": ("/api/w/runs", {"experiment": "iris", "tags": {"a": 1}}, {"runs", "filtered", "page"}),
    "a child": ("/api/w/runs", {"experiment": "x", "parent_run_id": "r"}, {"runs", "run", "run page", "page"}),
    "a version": ("/api/w/models", {"name": "iris", "run_id": "r", "artifact": "m"}, {"models", "model"}),
    "a promotion": ("/api/w/models/iris/promote", {"version": 1, "stage": "production"}, {"models", "model"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_state_is_sent_again(client_with_run: FlaskClient, change: str) -> None:
    before = {name: client_with_run.get(path) for name, path in PATHS.items()}
    path, body, changed_names = CHANGES[change]
    request: dict[str, Any] = {"data": body, "content_type": OCTETS} if isinstance(body, bytes) else {"json": body}
    assert client_with_run.post(path, **request).status_code == 200
    for name, answer in before.items():
        now = get_if_none_match(client_with_run, PATHS[name], answer.headers["ETag"])
        # An unnecessary 200 is no fault.
        assert now.status_code in ({200} if name in changed_names else {200, 304}), name
        if name in changed_names:
            assert now.data != answer.data, name


def test_change_by_hand_gets_a_new_etag(client_with_run: FlaskClient, data: Path) -> None:
    etags = {name: client_with_run.get(path).headers["ETag"] for name, path in PATHS.items()}
    path = data / "runs" / "r" / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tags": {"a": 1, "by": "hand"}}))
    for name in ("runs", "filtered", "run", "tags", "page", "run page"):
        answer = get_if_none_match(client_with_run, PATHS[name], etags[name])
        assert answer.status_code == 200, name
        assert "hand" in answer.text


def test_different_answers_have_different_etags(client_with_run: FlaskClient) -> None:
    paths = [*PATHS.values(), "/api/runs?limit=1", "/api/runs?order_by=id", "/api/runs/r/metrics?key=loss"]
    etags = [client_with_run.get(path).headers["ETag"] for path in paths]
    downloads = {"/api/artifacts/r/m/download", "/api/models/iris/1/download"}
    assert len(set(etags)) == len(etags) - 1, "only the two downloads of the same bytes may share one"
    assert {path for path, etag in zip(paths, etags, strict=True) if etags.count(etag) > 1} == downloads


def test_etag_depends_on_the_accept_header(client_with_run: FlaskClient) -> None:
    plain, page = (
        client_with_run.get("/", headers={"Accept": "*/*"}),
        client_with_run.get("/runs", headers={"Accept": "text/html"}),
    )
    assert "Accept" in plain.headers["Vary"]
    assert plain.headers["ETag"] != page.headers["ETag"]
    etag = client_with_run.get("/api/runs", headers={"Accept": "application/json"}).headers["ETag"]
    other = client_with_run.get("/api/runs", headers={"Accept": "text/csv", "If-None-Match": etag})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/runs/unknown", 404),
        ("/api/runs/unknown/metrics", 404),
        ("/api/runs/unknown/artifacts", 404),
        ("/api/tags/unknown", 404),
        ("/api/models/unknown", 404),
        ("/api/artifacts/r/unknown/download", 404),
        ("/api/models/iris/9/download", 404),
        ("/api/runs?limit=0", 400),
        ("/api/runs?nmae=x", 400),
        ("/api/runs/r/check?rule=loss>9", 422),
        ("/runs/unknown", 404),
        ("/api/none", 404),
    ],
)
def test_error_has_no_etag_and_is_never_304(client_with_run: FlaskClient, path: str, status: int) -> None:
    first = client_with_run.get(path)
    assert first.status_code == status
    assert "ETag" not in first.headers
    for condition in ("*", '"x"', client_with_run.get("/api/runs").headers["ETag"]):
        assert get_if_none_match(client_with_run, path, condition).status_code == status, condition


@pytest.fixture
def restart(make_app: Callable[..., Flask]) -> Iterator[Callable[..., FlaskClient]]:
    yield lambda **settings: make_app(**settings).test_client()


def test_etag_from_before_a_restart_never_hides_a_change(
    client_with_run: FlaskClient, restart: Callable[..., FlaskClient], data: Path
) -> None:
    etags = {name: client_with_run.get(path).headers["ETag"] for name, path in PATHS.items()}
    client = restart()
    for name, path in PATHS.items():
        assert get_if_none_match(client, path, etags[name]).status_code in (200, 304)
    client = restart()
    client.post("/api/w/runs/r/tags", json={"a": 2})
    for name in ("runs", "filtered", "run", "tags"):
        assert get_if_none_match(client, PATHS[name], etags[name]).status_code == 200, name


def test_refused_request_never_gets_304(restart: Callable[..., FlaskClient], client_with_run: FlaskClient) -> None:
    etag = client_with_run.get("/api/runs").headers["ETag"]
    client = restart(token="s3cret")
    assert get_if_none_match(client, "/api/runs", etag).status_code == 401
    assert get_if_none_match(client, "/api/runs", "*").status_code == 401
    host = client.get("/api/runs", headers={"If-None-Match": "*", "Host": "evil.example"})
    assert host.status_code == 403


def test_write_has_no_etag_and_ignores_conditions(client_with_run: FlaskClient) -> None:
    answer = client_with_run.post("/api/w/runs/r/tags", json={"a": 5}, headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert "ETag" not in answer.headers
    assert client_with_run.get("/api/tags/r").get_json() == {"a": 5}
