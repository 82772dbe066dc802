"""ETag and 304 on GET: the same while nothing changed, another one whenever something did."""

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
#: GETs of a run "r" with all there can be in it, and the model "iris".
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
def filled(client: FlaskClient) -> FlaskClient:
    client.post("/api/w/runs", json={"experiment": "iris", "id": "r", "tags": {"a": 1}})
    client.post("/api/w/runs/r/params", json={"lr": 1})
    client.post("/api/w/runs/r/metrics", json={"loss": 1})
    client.post("/api/w/runs/r/artifacts?name=m", data=b"bytes", content_type=OCTETS)
    client.post("/api/w/models", json={"name": "iris", "run_id": "r", "artifact": "m"})
    return client


def again(client: FlaskClient, path: str, etag: str) -> TestResponse:
    return client.get(path, headers={"If-None-Match": etag})


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_what_has_not_changed_is_304_and_without_a_body(filled: FlaskClient, path: str) -> None:
    first = filled.get(path)
    etag = first.headers["ETag"]
    assert first.status_code == 200
    assert first.headers["Cache-Control"] == "no-cache"
    assert filled.get(path).headers["ETag"] == etag
    assert filled.head(path).headers["ETag"] == etag
    # Of a state: the bytes may be compressed, or not. An artifact's are always the same.
    assert etag.startswith('"' if "download" in path or "file" in path else 'W/"')
    for sent in (etag, f'"other", {etag}', etag.removeprefix("W/")):
        known = again(filled, path, sent)
        assert (known.status_code, known.data) == (304, b""), sent
        assert known.headers["ETag"] == etag
    for sent in ('"other"', etag.strip('"')[:-1], ""):
        assert again(filled, path, sent).status_code == 200


#: What each write changes: the names of the GETs whose answer is another one after it.
COPIED = {"manifest", "digests"}
ALL_OF_RUN = {"runs", "filtered", "run", "run page", "page"} | COPIED
CHANGES: dict[str, tuple[str, Any, set[str]]] = {
    "params": ("/api/w/runs/r/params", {"new": 1}, ALL_OF_RUN),
    "metrics": ("/api/w/runs/r/metrics", {"loss": 2}, ALL_OF_RUN | {"metrics", "thinned", "check", "file"}),
    "end": ("/api/w/runs/r/end", {"status": "failed"}, ALL_OF_RUN),
    "tags": ("/api/w/runs/r/tags", {"b": 2}, ALL_OF_RUN | {"tags"}),
    "note": ("/api/w/runs/r/note", {"note": "x"}, {"run", "run page"} | COPIED),
    "datasets": ("/api/w/runs/r/datasets", {"role": "x"}, {"run", "run page", "datasets"} | COPIED),
    "artifacts": ("/api/w/runs/r/artifacts?name=n", b"n", {"run", "run page", "artifacts"} | COPIED),
    "another run": ("/api/w/runs", {"experiment": "iris", "tags": {"a": 1}}, {"runs", "filtered", "page"}),
    "a child": ("/api/w/runs", {"experiment": "x", "parent_run_id": "r"}, {"runs", "run", "run page", "page"}),
    "a version": ("/api/w/models", {"name": "iris", "run_id": "r", "artifact": "m"}, {"models", "model"}),
    "a promotion": ("/api/w/models/iris/promote", {"version": 1, "stage": "production"}, {"models", "model"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_answered_anew(filled: FlaskClient, change: str) -> None:
    before = {name: filled.get(path) for name, path in PATHS.items()}
    path, body, changed = CHANGES[change]
    sent: dict[str, Any] = {"data": body, "content_type": OCTETS} if isinstance(body, bytes) else {"json": body}
    assert filled.post(path, **sent).status_code == 200
    for name, answer in before.items():
        now = again(filled, PATHS[name], answer.headers["ETag"])
        # What is told anew without need is no fault.
        assert now.status_code in ({200} if name in changed else {200, 304}), name
        if name in changed:
            assert now.data != answer.data, name


def test_change_by_hand_is_a_change(filled: FlaskClient, data: Path) -> None:
    etags = {name: filled.get(path).headers["ETag"] for name, path in PATHS.items()}
    path = data / "runs" / "r" / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tags": {"a": 1, "by": "hand"}}))
    for name in ("runs", "filtered", "run", "tags", "page", "run page"):
        answer = again(filled, PATHS[name], etags[name])
        assert answer.status_code == 200, name
        assert "hand" in answer.text


def test_etag_is_that_of_one_answer(filled: FlaskClient) -> None:
    paths = [*PATHS.values(), "/api/runs?limit=1", "/api/runs?order_by=id", "/api/runs/r/metrics?key=loss"]
    etags = [filled.get(path).headers["ETag"] for path in paths]
    downloads = {"/api/artifacts/r/m/download", "/api/models/iris/1/download"}
    assert len(set(etags)) == len(etags) - 1, "only the two downloads of the same bytes may share one"
    assert {path for path, etag in zip(paths, etags, strict=True) if etags.count(etag) > 1} == downloads


def test_etag_depends_on_what_is_accepted(filled: FlaskClient) -> None:
    plain, page = filled.get("/", headers={"Accept": "*/*"}), filled.get("/runs", headers={"Accept": "text/html"})
    assert "Accept" in plain.headers["Vary"]
    assert plain.headers["ETag"] != page.headers["ETag"]
    etag = filled.get("/api/runs", headers={"Accept": "application/json"}).headers["ETag"]
    other = filled.get("/api/runs", headers={"Accept": "text/csv", "If-None-Match": etag})
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
def test_error_has_no_etag_and_is_never_304(filled: FlaskClient, path: str, status: int) -> None:
    first = filled.get(path)
    assert first.status_code == status
    assert "ETag" not in first.headers
    for sent in ("*", '"x"', filled.get("/api/runs").headers["ETag"]):
        assert again(filled, path, sent).status_code == status, sent


@pytest.fixture
def restarts(make_app: Callable[..., Flask]) -> Iterator[Callable[..., FlaskClient]]:
    yield lambda **settings: make_app(**settings).test_client()


def test_etag_of_before_a_restart_never_hides_a_change(
    filled: FlaskClient, restarts: Callable[..., FlaskClient], data: Path
) -> None:
    etags = {name: filled.get(path).headers["ETag"] for name, path in PATHS.items()}
    client = restarts()
    for name, path in PATHS.items():
        assert again(client, path, etags[name]).status_code in (200, 304)
    client = restarts()
    client.post("/api/w/runs/r/tags", json={"a": 2})
    for name in ("runs", "filtered", "run", "tags"):
        assert again(client, PATHS[name], etags[name]).status_code == 200, name


def test_refused_request_is_not_told_that_it_knows(restarts: Callable[..., FlaskClient], filled: FlaskClient) -> None:
    etag = filled.get("/api/runs").headers["ETag"]
    client = restarts(token="s3cret")
    assert again(client, "/api/runs", etag).status_code == 401
    assert again(client, "/api/runs", "*").status_code == 401
    host = client.get("/api/runs", headers={"If-None-Match": "*", "Host": "evil.example"})
    assert host.status_code == 403


def test_writes_have_no_etag_and_heed_no_condition(filled: FlaskClient) -> None:
    answer = filled.post("/api/w/runs/r/tags", json={"a": 5}, headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert "ETag" not in answer.headers
    assert filled.get("/api/tags/r").get_json() == {"a": 5}
