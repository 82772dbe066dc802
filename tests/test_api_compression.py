"""Large answers as gzip: for whom accepts it, the same content, and never for files."""

from __future__ import annotations

import gzip
import json
import os
import socket
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.calls import LogRun
from support.servers import Running
from werkzeug.test import TestResponse

from chachaml_lite.web import compression
from chachaml_lite.web.api import runs

LARGE = [
    *(
        "/runs",
        "/runs/r",
        "/runs/r/charts.svg?key=loss",
        "/runs/r/charts?key=loss",
        "/compare?ids=r,run-0",
    ),
    *("/api/runs", "/api/runs?format=csv", "/api/runs?format=jsonl", "/api/runs?format=md"),
    *("/api/runs/r/metrics", "/api/openapi.json", "/api/runs/r/manifest"),
]


@pytest.fixture
def filled(client: FlaskClient, log_run: LogRun) -> FlaskClient:
    """A store whose lists, pages and series are long."""
    points = [{"loss": 1 / (at + 1), "step": at} for at in range(900)]
    files = {f"a/{number}": b"" for number in range(100)} | {"large.txt": b"all the same " * 5000}
    log_run(id="r", metrics=points, artifacts=files)
    for number in range(60):
        log_run(id=f"run-{number}", name="a name that is the same " * 4, params={"lr": number}, tags={"a": "b" * 60})
    return client


def get(client: FlaskClient, path: str, accepted: str | None = "gzip, deflate, br", **headers: str) -> TestResponse:
    named = headers | ({} if accepted is None else {"Accept-Encoding": accepted})
    return client.get(path, headers={name.replace("_", "-"): value for name, value in named.items()})


@pytest.mark.parametrize("path", LARGE)
def test_large_answer_is_compressed_for_who_accepts_it(filled: FlaskClient, path: str) -> None:
    plain = get(filled, path, None)
    packed = get(filled, path)
    assert len(plain.data) > compression.MIN_BYTES and "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) * 0.7
    assert packed.content_length == len(packed.data)
    for answer in (plain, packed):
        assert "Accept-Encoding" in answer.vary
    assert (packed.mimetype, packed.headers["ETag"]) == (plain.mimetype, plain.headers["ETag"])
    assert packed.headers["ETag"].startswith("W/")
    head = filled.head(path, headers={"Accept-Encoding": "gzip"})
    for name in ("Content-Encoding", "Content-Length", "ETag", "Vary", "Content-Type"):
        assert head.headers.get(name) == packed.headers.get(name), name
    assert head.data == b""


@pytest.mark.parametrize("path", LARGE)
def test_one_state_is_304_whether_it_was_compressed_or_not(filled: FlaskClient, path: str) -> None:
    etag = get(filled, path).headers["ETag"]
    for accepted in ("gzip", None):
        same = get(filled, path, accepted, If_None_Match=etag)
        assert (same.status_code, same.data) == (304, b"")
        assert "Content-Encoding" not in same.headers
        assert "Accept-Encoding" in same.vary and same.headers["ETag"] == etag


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        *(("gzip", True), ("GZip", True), ("*", True), ("br;q=1, gzip;q=0.2", True), ("identity, gzip;q=0.1", True)),
        *(("", False), ("identity", False), ("br", False), ("gzip;q=0", False), ("*, gzip;q=0", False), (";;,", False)),
    ],
)
def test_answer_is_compressed_where_the_header_says_so(filled: FlaskClient, accepted: str, is_packed: bool) -> None:
    answer = get(filled, "/api/runs", accepted)
    assert (answer.headers.get("Content-Encoding") == "gzip") is is_packed
    content = gzip.decompress(answer.data) if is_packed else answer.data
    assert len(json.loads(content)) == 61


def test_small_answer_file_and_error_are_as_they_are(filled: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.post("/api/w/models", json={"name": "m", "run_id": "r", "artifact": "large.txt"})
    paths = ["/api/health", "/api/runs/run-1", "/api/artifacts/r/large.txt/download", "/api/runs/r/files/metrics.jsonl"]
    paths += ["/api/runs/r/download", "/api/models/m/latest/download", "/static/style.css", "/api/runs/none"]
    for path in paths:
        answer = get(filled, path)
        assert "Content-Encoding" not in answer.headers, path
        assert answer.data == get(filled, path, None).data or path.endswith("r/download")
    monkeypatch.setattr(runs, "_MOST_HELD_POINTS", 10)  # made in a file, from which the server sends it
    assert "Content-Encoding" not in get(filled, "/api/runs/r/metrics").headers


def test_page_is_compressed_once_for_all_who_get_the_same_rendering(
    filled: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def count(body: bytes, gzipped: Any = compression.compress) -> bytes:
        made.append(len(body))
        return bytes(gzipped(body))

    monkeypatch.setattr(compression, "compress", count)
    bodies = {get(filled, "/runs").data for _ in range(5)}
    assert len(bodies) == len(made) == 1
    filled.post("/api/w/runs/r/note", json={"note": "another state"})
    get(filled, "/runs")
    assert len(made) == 2


def test_compressed_answer_leaves_a_real_server_whole(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        request = f"GET /api/openapi.json HTTP/1.1\r\nHost: localhost:{server.port}\r\nAccept-Encoding: gzip\r\n"
        connection.sendall(f"{request}Connection: close\r\n\r\n".encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head and f"Content-Length: {len(body)}".encode() in head
    assert json.loads(gzip.decompress(body))["openapi"].startswith("3.1")
    assert os.path.getsize(server.log_file) > 0
