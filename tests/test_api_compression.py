"""Compression of large answers with gzip: only where accepted, with the same content, and never for files."""

from __future__ import annotations

import gzip
import json
import os
import socket
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.calls import LogRun
from support.servers import Server
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
def client_with_long_lists(client: FlaskClient, log_run: LogRun) -> FlaskClient:
    """A client of a store whose lists, pages and series are long."""
    points = [{"loss": 1 / (at + 1), "step": at} for at in range(900)]
    files = {f"a/{number}": b"" for number in range(100)} | {"large.txt": b"all the same " * 5000}
    log_run(id="r", metrics=points, artifacts=files)
    for number in range(60):
        log_run(id=f"run-{number}", name="a name that is the same " * 4, params={"lr": number}, tags={"a": "b" * 60})
    return client


def get(
    client: FlaskClient, path: str, accept_encoding: str | None = "gzip, deflate, br", **headers: str
) -> TestResponse:
    all_headers = headers | ({} if accept_encoding is None else {"Accept-Encoding": accept_encoding})
    return client.get(path, headers={name.replace("_", "-"): value for name, value in all_headers.items()})


@pytest.mark.parametrize("path", LARGE)
def test_large_answer_is_compressed_for_clients_that_accept_it(client_with_long_lists: FlaskClient, path: str) -> None:
    plain_answer = get(client_with_long_lists, path, None)
    gzip_answer = get(client_with_long_lists, path)
    assert len(plain_answer.data) > compression.MIN_BYTES and "Content-Encoding" not in plain_answer.headers
    assert gzip_answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(gzip_answer.data) == plain_answer.data
    assert len(gzip_answer.data) < len(plain_answer.data) * 0.7
    assert gzip_answer.content_length == len(gzip_answer.data)
    for answer in (plain_answer, gzip_answer):
        assert "Accept-Encoding" in answer.vary
    assert (gzip_answer.mimetype, gzip_answer.headers["ETag"]) == (plain_answer.mimetype, plain_answer.headers["ETag"])
    assert gzip_answer.headers["ETag"].startswith("W/")
    head = client_with_long_lists.head(path, headers={"Accept-Encoding": "gzip"})
    for name in ("Content-Encoding", "Content-Length", "ETag", "Vary", "Content-Type"):
        assert head.headers.get(name) == gzip_answer.headers.get(name), name
    assert head.data == b""


@pytest.mark.parametrize("path", LARGE)
def test_unchanged_state_is_304_whether_compressed_or_not(client_with_long_lists: FlaskClient, path: str) -> None:
    etag = get(client_with_long_lists, path).headers["ETag"]
    for accept_encoding in ("gzip", None):
        same = get(client_with_long_lists, path, accept_encoding, If_None_Match=etag)
        assert (same.status_code, same.data) == (304, b"")
        assert "Content-Encoding" not in same.headers
        assert "Accept-Encoding" in same.vary and same.headers["ETag"] == etag


@pytest.mark.parametrize(
    ("accept_encoding", "is_compressed"),
    [
        *(("gzip", True), ("GZip", True), ("*", True), ("br;q=1, gzip;q=0.2", True), ("identity, gzip;q=0.1", True)),
        *(("", False), ("identity", False), ("br", False), ("gzip;q=0", False), ("*, gzip;q=0", False), (";;,", False)),
    ],
)
def test_accept_encoding_header_decides_on_compression(
    client_with_long_lists: FlaskClient, accept_encoding: str, is_compressed: bool
) -> None:
    answer = get(client_with_long_lists, "/api/runs", accept_encoding)
    assert (answer.headers.get("Content-Encoding") == "gzip") is is_compressed
    content = gzip.decompress(answer.data) if is_compressed else answer.data
    assert len(json.loads(content)) == 61


def test_small_answer_file_and_error_are_not_compressed(
    client_with_long_lists: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_with_long_lists.post("/api/w/models", json={"name": "m", "run_id": "r", "artifact": "large.txt"})
    paths = ["/api/health", "/api/runs/run-1", "/api/artifacts/r/large.txt/download", "/api/runs/r/files/metrics.jsonl"]
    paths += ["/api/runs/r/download", "/api/models/m/latest/download", "/static/style.css", "/api/runs/none"]
    for path in paths:
        answer = get(client_with_long_lists, path)
        assert "Content-Encoding" not in answer.headers, path
        assert answer.data == get(client_with_long_lists, path, None).data or path.endswith("r/download")
    monkeypatch.setattr(runs, "_MOST_HELD_POINTS", 10)  # written to a file, from which the server sends it
    assert "Content-Encoding" not in get(client_with_long_lists, "/api/runs/r/metrics").headers


def test_page_is_compressed_once_for_all_requests_of_the_same_rendering(
    client_with_long_lists: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed_sizes: list[int] = []

    def count(body: bytes, compress: Any = compression.compress) -> bytes:
        compressed_sizes.append(len(body))
        return bytes(compress(body))

    monkeypatch.setattr(compression, "compress", count)
    bodies = {get(client_with_long_lists, "/runs").data for _ in range(5)}
    assert len(bodies) == len(compressed_sizes) == 1
    client_with_long_lists.post("/api/w/runs/r/note", json={"note": "another state"})
    get(client_with_long_lists, "/runs")
    assert len(compressed_sizes) == 2


def test_compressed_answer_of_a_real_server_is_complete(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        request = f"GET /api/openapi.json HTTP/1.1\r\nHost: localhost:{server.port}\r\nAccept-Encoding: gzip\r\n"
        connection.sendall(f"{request}Connection: close\r\n\r\n".encode())
        response = b""
        while piece := connection.recv(65536):
            response += piece
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head and f"Content-Length: {len(body)}".encode() in head
    assert json.loads(gzip.decompress(body))["openapi"].startswith("3.1")
    assert os.path.getsize(server.log_file) > 0
