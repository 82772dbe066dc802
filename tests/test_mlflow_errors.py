"""Each bad call of MLflow's routes: a status that its client does not repeat, its error_code, and nothing stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.snapshots import files_of
from werkzeug.test import TestResponse

TOKEN = "s3cret"


def assert_refused(answer: TestResponse, status: int, code: str) -> str:
    """That an answer is an error in MLflow's one shape; its message."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert set(body) == {"error_code", "message"}
    assert body["error_code"] == code
    message: str = body["message"]
    assert message.isprintable()
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/2.0/mlflow/none"),
        ("POST", "/api/2.0/mlflow/traces"),
        ("POST", "/api/2.0/mlflow-artifacts/mpu/create/0/x"),
        ("GET", "/api/2.0/mlflow-artifacts/presigned/0/x"),
        ("GET", "/api/2.1/unity-catalog/models"),
        ("POST", "/api/3.0/mlflow/traces"),
        ("GET", "/api/3.0/mlflow/server-features"),
        ("POST", "/api/4.0/mlflow/traces/search"),
        ("GET", "/api/2.0/"),
    ],
)
def test_unknown_endpoint_404_in_mlflows_words(client: FlaskClient, method: str, path: str) -> None:
    assert_refused(client.open(path, method=method, json={}), 404, "ENDPOINT_NOT_FOUND")


def test_another_method_405_with_allow(client: FlaskClient) -> None:
    answer = client.post("/api/3.0/mlflow/server-info", json={})
    assert_refused(answer, 405, "BAD_REQUEST")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_guard_refuses_in_mlflows_words(make_app: Callable[..., Flask]) -> None:
    client = make_app(token=TOKEN).test_client()
    path = "/api/3.0/mlflow/server-info"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic czNjcmV0OnMzY3JldA=="}):
        for asked in (path, "/api/2.0/mlflow/none"):
            answer = client.get(asked, headers=headers)
            assert "MLFLOW_TRACKING_TOKEN" in assert_refused(answer, 401, "UNAUTHENTICATED")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert_refused(client.get(path, headers={"Host": "evil.example"}), 403, "PERMISSION_DENIED")


def test_read_only_server_refuses_writes_and_takes_posts_that_only_read(make_app: Callable[..., Flask]) -> None:
    make_app()  # which makes the folder
    client = make_app(read_only=True).test_client()
    answer = client.post("/api/2.0/mlflow/runs/create", json={})
    assert "--read-only" in assert_refused(answer, 403, "PERMISSION_DENIED")
    assert client.post("/api/2.0/mlflow/runs/search", json={"experiment_ids": ["0"]}).status_code != 403


def test_error_of_ours_500_without_a_secret(make_app: Callable[..., Flask], data: Path) -> None:
    app = make_app()

    @app.get("/api/2.0/mlflow/broken")
    def broken() -> str:
        raise RuntimeError(f"a secret of {data}")

    @app.get("/api/2.0/mlflow/full")
    def full() -> str:
        raise OSError(28, "No space left on device", str(data))

    client = app.test_client()
    assert str(data) not in assert_refused(client.get("/api/2.0/mlflow/broken"), 500, "INTERNAL_ERROR")
    assert str(data) not in assert_refused(client.get("/api/2.0/mlflow/full"), 507, "RESOURCE_EXHAUSTED")


def test_server_without_the_protocol_answers_in_its_own_words(make_app: Callable[..., Flask], data: Path) -> None:
    client = make_app(mlflow=False).test_client()
    before = files_of(data)
    for method, path in (("GET", "/api/3.0/mlflow/server-info"), ("POST", "/api/2.0/mlflow/runs/create")):
        answer = client.open(path, method=method)
        assert (answer.status_code, answer.get_json()["error"]) == (404, "not found")
    assert files_of(data) == before


def test_server_info_tells_that_files_come_in_one_put(client: FlaskClient) -> None:
    answer = client.get("/api/3.0/mlflow/server-info")
    expected: dict[str, Any] = dict.fromkeys(
        ("workspaces_enabled", "trace_archival_enabled", "multipart_uploads_enabled", "multipart_downloads_enabled"),
        False,
    )
    assert answer.get_json() == {"store_type": None, **expected}
    assert "ETag" not in answer.headers
