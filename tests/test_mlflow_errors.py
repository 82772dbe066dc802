"""Every invalid call of MLflow's routes: a status that clients do not retry, its error_code, and nothing stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import open_app
from flask import Flask
from flask.testing import FlaskClient
from support.routes import mlflow_rules
from support.snapshots import snapshot
from werkzeug.test import TestResponse

from chachaml_lite.mlflow_api.protocol import DIALECT

TOKEN = "s3cret"
JSON = "application/json"
API = "/api/2.0/mlflow"
OK = 200


class Call(NamedTuple):
    """A valid request, answered with 200; `required` are the fields without which it is refused."""

    method: str
    path: str
    fields: dict[str, Any] = {}
    required: tuple[str, ...] = ()
    #: Fields that name a run, an experiment or a model: 404 if it doesn't exist.
    names: tuple[str, ...] = ()

    def send(self, client: FlaskClient, **replacements: Any) -> TestResponse:
        """Send the request with some fields replaced; None leaves one out."""
        fields = {key: value for key, value in {**self.fields, **replacements}.items() if value is not None}
        if self.method == "GET":
            return client.get(self.path, query_string=fields)
        return client.open(self.path, method=self.method, json=fields)


RUN, POINT = {"run_id": "open"}, {"key": "loss", "value": 0.5, "timestamp": 1000, "step": 1}
DATASET = {"dataset": {"name": "iris", "digest": "d", "source_type": "local", "source": "{}"}, "tags": []}
BAD_DATASET = {
    "dataset": {"name": "iris", "digest": "other", "source_type": "local", "source": "{}"},
    "tags": [{"key": "a\n", "value": "1"}],
}
MODEL = {"artifact_path": "model", "flavors": {}}
VERSION = {"name": "iris", "version": "1"}
TAG = {"key": "a", "value": "1"}
#: A valid request for each route, by endpoint, with its required fields and those that it looks up.
CALLS = {
    "mlflow_service.server_info": Call("GET", "/api/3.0/mlflow/server-info"),
    "mlflow_experiments.create_experiment": Call("POST", f"{API}/experiments/create", {"name": "new"}, ("name",)),
    "mlflow_experiments.get_experiment": Call(
        "GET", f"{API}/experiments/get", {"experiment_id": "0"}, ("experiment_id",), ("experiment_id",)
    ),
    "mlflow_experiments.get_experiment_by_name": Call(
        "GET",
        f"{API}/experiments/get-by-name",
        {"experiment_name": "Default"},
        ("experiment_name",),
        ("experiment_name",),
    ),
    "mlflow_experiments.search_experiments": Call("POST", f"{API}/experiments/search", {"max_results": 5}),
    "mlflow_experiments.set_experiment_tag": Call(
        "POST",
        f"{API}/experiments/set-experiment-tag",
        {"experiment_id": "0", **TAG},
        ("experiment_id", "key", "value"),
        ("experiment_id",),
    ),
    "mlflow_experiments.delete_experiment_tag": Call(
        "POST",
        f"{API}/experiments/delete-experiment-tag",
        {"experiment_id": "0", "key": "old"},
        ("experiment_id", "key"),
        ("experiment_id", "key"),
    ),
    "mlflow_experiments.update_experiment": Call(
        "POST",
        f"{API}/experiments/update",
        {"experiment_id": "0", "new_name": "Default"},
        ("experiment_id", "new_name"),
        ("experiment_id",),
    ),
    "mlflow_experiments.delete_experiment": Call(
        "POST", f"{API}/experiments/delete", {"experiment_id": "0"}, ("experiment_id",), ("experiment_id",)
    ),
    "mlflow_experiments.restore_experiment": Call(
        "POST", f"{API}/experiments/restore", {"experiment_id": "0"}, ("experiment_id",), ("experiment_id",)
    ),
    "mlflow_runs.create_run": Call("POST", f"{API}/runs/create", {"experiment_id": "0"}, (), ("experiment_id",)),
    "mlflow_runs.get_run": Call("GET", f"{API}/runs/get", RUN, ("run_id",), ("run_id",)),
    "mlflow_runs.update_run": Call(
        "POST", f"{API}/runs/update", {**RUN, "status": "FINISHED"}, ("run_id",), ("run_id",)
    ),
    "mlflow_runs.log_metric": Call(
        "POST", f"{API}/runs/log-metric", {**RUN, **POINT}, ("run_id", "key", "value", "timestamp"), ("run_id",)
    ),
    "mlflow_runs.log_parameter": Call(
        "POST", f"{API}/runs/log-parameter", {**RUN, **TAG}, ("run_id", "key", "value"), ("run_id",)
    ),
    "mlflow_runs.set_tag": Call("POST", f"{API}/runs/set-tag", {**RUN, **TAG}, ("run_id", "key", "value"), ("run_id",)),
    "mlflow_runs.delete_tag": Call(
        "POST", f"{API}/runs/delete-tag", {**RUN, "key": "old"}, ("run_id", "key"), ("run_id", "key")
    ),
    "mlflow_runs.log_batch": Call(
        "POST", f"{API}/runs/log-batch", {**RUN, "metrics": [POINT]}, ("run_id",), ("run_id",)
    ),
    "mlflow_runs.log_model": Call(
        "POST", f"{API}/runs/log-model", {**RUN, "model_json": json.dumps(MODEL)}, ("run_id", "model_json"), ("run_id",)
    ),
    "mlflow_runs.get_history": Call(
        "GET", f"{API}/metrics/get-history", {**RUN, "metric_key": "loss"}, ("run_id", "metric_key"), ("run_id",)
    ),
    "mlflow_runs.delete_run": Call("POST", f"{API}/runs/delete", RUN, ("run_id",), ("run_id",)),
    "mlflow_runs.restore_run": Call("POST", f"{API}/runs/restore", RUN, ("run_id",), ("run_id",)),
    "mlflow_inputs.log_inputs": Call(
        "POST", f"{API}/runs/log-inputs", {**RUN, "datasets": [DATASET]}, ("run_id",), ("run_id",)
    ),
    "mlflow_inputs.log_outputs": Call(
        "POST", f"{API}/runs/outputs", {**RUN, "models": [{"model_id": "m-open-1"}]}, ("run_id", "models"), ("run_id",)
    ),
    "mlflow_search.search_runs": Call("POST", f"{API}/runs/search", {"experiment_ids": ["0"], "max_results": 5}),
    "mlflow_artifacts.list_artifacts": Call(
        "GET", "/api/2.0/mlflow-artifacts/artifacts", {"path": "0/open/artifacts"}, ("path",)
    ),
    "mlflow_artifacts.list_artifacts_of_run": Call("GET", f"{API}/artifacts/list", RUN, ("run_id",), ("run_id",)),
    "mlflow_logged_models.create_logged_model": Call(
        "POST", f"{API}/logged-models", {"experiment_id": "0", "name": "m"}, ("experiment_id",), ("experiment_id",)
    ),
    "mlflow_logged_models.search_logged_models": Call(
        "POST", f"{API}/logged-models/search", {"experiment_ids": ["0"]}, ("experiment_ids",)
    ),
    "mlflow_registry.create_registered_model": Call(
        "POST", f"{API}/registered-models/create", {"name": "new"}, ("name",)
    ),
    "mlflow_registry.get_registered_model": Call(
        "GET", f"{API}/registered-models/get", {"name": "iris"}, ("name",), ("name",)
    ),
    "mlflow_registry.update_registered_model": Call(
        "PATCH", f"{API}/registered-models/update", {"name": "iris", "description": "d"}, ("name",), ("name",)
    ),
    "mlflow_registry.rename_registered_model": Call(
        "POST", f"{API}/registered-models/rename", {"name": "iris", "new_name": "new"}, ("name", "new_name"), ("name",)
    ),
    "mlflow_registry.delete_registered_model": Call(
        "DELETE", f"{API}/registered-models/delete", {"name": "iris"}, ("name",), ("name",)
    ),
    "mlflow_registry.search_registered_models": Call("GET", f"{API}/registered-models/search", {"max_results": 5}),
    "mlflow_registry.get_latest_versions": Call(
        "POST", f"{API}/registered-models/get-latest-versions", {"name": "iris"}, ("name",), ("name",)
    ),
    "mlflow_registry.set_tag": Call(
        "POST", f"{API}/registered-models/set-tag", {"name": "iris", **TAG}, ("name", "key"), ("name",)
    ),
    "mlflow_registry.delete_tag": Call(
        "DELETE", f"{API}/registered-models/delete-tag", {"name": "iris", "key": "old"}, ("name", "key"), ("name",)
    ),
    "mlflow_registry.set_alias": Call(
        "POST", f"{API}/registered-models/alias", {**VERSION, "alias": "best"}, ("name", "version", "alias"), ("name",)
    ),
    "mlflow_registry.delete_alias": Call(
        "DELETE", f"{API}/registered-models/alias", {"name": "iris", "alias": "old"}, ("name", "alias"), ("name",)
    ),
    "mlflow_registry.get_version_by_alias": Call(
        "GET", f"{API}/registered-models/alias", {"name": "iris", "alias": "old"}, ("name", "alias"), ("name",)
    ),
    "mlflow_model_versions.create_model_version": Call(
        "POST", f"{API}/model-versions/create", {"name": "iris", "source": "runs:/open/m"}, ("name", "source")
    ),
    "mlflow_model_versions.get_model_version": Call(
        "GET", f"{API}/model-versions/get", VERSION, ("name", "version"), ("name", "version")
    ),
    "mlflow_model_versions.get_download_uri": Call(
        "GET", f"{API}/model-versions/get-download-uri", VERSION, ("name", "version"), ("name", "version")
    ),
    "mlflow_model_versions.update_model_version": Call(
        "PATCH",
        f"{API}/model-versions/update",
        {**VERSION, "description": "d"},
        ("name", "version"),
        ("name", "version"),
    ),
    "mlflow_model_versions.delete_model_version": Call(
        "DELETE", f"{API}/model-versions/delete", VERSION, ("name", "version"), ("name", "version")
    ),
    "mlflow_model_versions.search_model_versions": Call("GET", f"{API}/model-versions/search", {"max_results": 5}),
    "mlflow_model_versions.transition_stage": Call(
        "POST",
        f"{API}/model-versions/transition-stage",
        {**VERSION, "stage": "Staging"},
        ("name", "version", "stage"),
        ("name", "version"),
    ),
    "mlflow_model_versions.set_tag": Call(
        "POST", f"{API}/model-versions/set-tag", {**VERSION, **TAG}, ("name", "version", "key"), ("name", "version")
    ),
    "mlflow_model_versions.delete_tag": Call(
        "DELETE",
        f"{API}/model-versions/delete-tag",
        {**VERSION, "key": "old"},
        ("name", "version", "key"),
        ("name", "version"),
    ),
}
#: Routes with parameters in their path; these have cases of their own.
ENDPOINTS_WITH_PATH_PARAMETERS = {
    "mlflow_artifacts.store_artifact",
    "mlflow_artifacts.download_artifact",
    "mlflow_artifacts.delete_artifacts",
    "mlflow_logged_models.get_logged_model",
    "mlflow_logged_models.finalize_logged_model",
    "mlflow_logged_models.delete_logged_model",
    "mlflow_logged_models.log_params",
    "mlflow_logged_models.set_tags",
    "mlflow_logged_models.delete_tag",
    "mlflow_logged_models.list_artifacts",
}


@pytest.fixture(scope="module")
def template_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run and a model, as each of these requests requires; tests work on copies."""
    place = tmp_path_factory.mktemp("filled") / "store"
    with open_app(place) as app:
        client = app.test_client()
        client.post("/api/w/runs", json={"experiment": "Default", "id": "open", "tags": {"old": "1"}})
        client.post("/api/w/runs/open/params", json={"lr": 0.1})
        client.post("/api/w/runs/open/artifacts?name=m", data=b"bytes", content_type="application/octet-stream")
        client.post("/api/w/runs/open/artifacts?name=deep/file", data=b"b", content_type="application/octet-stream")
        client.post("/api/w/models", json={"name": "iris", "run_id": "open", "artifact": "m"})
        client.post("/api/w/models/iris", json={"tags": {"old": "1"}})
        client.post("/api/w/models/iris/versions/1", json={"tags": {"old": "1"}})
        client.post("/api/w/models/iris/aliases", json={"alias": "old", "version": 1})
        client.post("/api/w/experiments/Default", json={"tags": {"old": "1"}})
    return place


@pytest.fixture
def make_client(template_store: Path, data: Path, make_app: Callable[..., Flask]) -> Callable[..., FlaskClient]:
    """A function that takes settings and returns a test client of an app on a copy of that store."""
    shutil.copytree(template_store, data)
    return lambda **settings: make_app(**settings).test_client()


def assert_refused(response: TestResponse, status: int, code: str) -> str:
    """Assert that a response is an error in MLflow's form, and return its message."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/json"
    body = response.get_json()
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
def test_unknown_endpoint_is_404_in_mlflows_format(client: FlaskClient, method: str, path: str) -> None:
    assert_refused(client.open(path, method=method, json={}), 404, "ENDPOINT_NOT_FOUND")


def test_another_method_is_405_with_allow(client: FlaskClient) -> None:
    response = client.post("/api/3.0/mlflow/server-info", json={})
    assert_refused(response, 405, "BAD_REQUEST")
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_missing_token_or_another_host_is_refused_in_mlflows_format(make_app: Callable[..., Flask]) -> None:
    client = make_app(token=TOKEN).test_client()
    path = "/api/3.0/mlflow/server-info"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic czNjcmV0OnMzY3JldA=="}):
        for url in (path, "/api/2.0/mlflow/none"):
            response = client.get(url, headers=headers)
            assert "MLFLOW_TRACKING_TOKEN" in assert_refused(response, 401, "UNAUTHENTICATED")
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert_refused(client.get(path, headers={"Host": "evil.example"}), 403, "PERMISSION_DENIED")


def test_read_only_server_refuses_writes_and_accepts_posts_that_only_read(make_app: Callable[..., Flask]) -> None:
    make_app()  # creates the folder
    client = make_app(read_only=True).test_client()
    response = client.post("/api/2.0/mlflow/runs/create", json={})
    assert "--read-only" in assert_refused(response, 403, "PERMISSION_DENIED")
    for path in DIALECT.reads:
        fields = {"experiment_ids": ["0"], "name": "none"}
        assert client.post(path, json=fields).status_code == (404 if "latest" in path else 200), path


def test_internal_error_is_500_and_reveals_no_path(make_app: Callable[..., Flask], data: Path) -> None:
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


def test_server_without_mlflow_returns_404_in_its_own_format(make_app: Callable[..., Flask], data: Path) -> None:
    client = make_app(mlflow=False).test_client()
    before = snapshot(data)
    for method, path in (("GET", "/api/3.0/mlflow/server-info"), ("POST", "/api/2.0/mlflow/runs/create")):
        response = client.open(path, method=method)
        assert (response.status_code, response.get_json()["error"]) == (404, "not found")
    assert snapshot(data) == before


def test_server_info_disables_multipart_uploads(client: FlaskClient) -> None:
    response = client.get("/api/3.0/mlflow/server-info")
    expected: dict[str, Any] = dict.fromkeys(
        ("workspaces_enabled", "trace_archival_enabled", "multipart_uploads_enabled", "multipart_downloads_enabled"),
        False,
    )
    assert response.get_json() == {"store_type": None, **expected}
    assert "ETag" not in response.headers


# -- every error of every route


def test_every_route_has_a_valid_call(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client()
    assert {rule.endpoint for rule in mlflow_rules(client.application)} - ENDPOINTS_WITH_PATH_PARAMETERS == CALLS.keys()


@pytest.mark.parametrize("endpoint", CALLS)
def test_valid_call_ignores_unknown_fields(make_client: Callable[..., FlaskClient], endpoint: str) -> None:
    response = CALLS[endpoint].send(make_client(), of_a_newer_client="x")
    assert response.status_code == OK, response.text
    assert response.mimetype == JSON
    assert "ETag" not in response.headers
    assert "null" not in response.text or endpoint == "mlflow_service.server_info"


@pytest.mark.parametrize("endpoint", [endpoint for endpoint, call in CALLS.items() if call.method == "GET"])
def test_head_has_the_same_headers_as_get(make_client: Callable[..., FlaskClient], endpoint: str) -> None:
    client, call = make_client(), CALLS[endpoint]
    whole = client.get(call.path, query_string=call.fields)
    head = client.head(call.path, query_string=call.fields)
    assert (head.status_code, head.data) == (OK, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]


@pytest.mark.parametrize("endpoint", CALLS)
def test_invalid_call_is_4xx_and_stores_nothing(
    make_client: Callable[..., FlaskClient], data: Path, endpoint: str
) -> None:
    client, call = make_client(), CALLS[endpoint]
    before = snapshot(data)
    for name in call.required:
        assert name in assert_refused(call.send(client, **{name: None}), 400, "INVALID_PARAMETER_VALUE")
        if call.method != "GET":
            wrong: Any
            for wrong in ({}, [[]], True):
                assert name in assert_refused(call.send(client, **{name: wrong}), 400, "INVALID_PARAMETER_VALUE")
    for name in call.names:
        unknown = "999" if name in ("version", "experiment_id") else "unknown"
        assert_refused(call.send(client, **{name: unknown}), 404, "RESOURCE_DOES_NOT_EXIST")
    if call.method != "GET":
        for body in (b"{", b"[]", b'"x"', b"1", b"null", b"\xff", b'{"a": 1, "a": 2}', b"[" * 10_000):
            response = client.open(call.path, method=call.method, data=body, content_type=JSON)
            assert_refused(response, 400, "INVALID_PARAMETER_VALUE")
        for kind in ("text/plain", "application/x-www-form-urlencoded", None):
            response = client.open(call.path, method=call.method, data=json.dumps(call.fields), content_type=kind)
            assert_refused(response, 400, "INVALID_PARAMETER_VALUE")
    for token in ("x", "e30=", "eyJvZmZzZXQiOiAtMX0=", "eyJvZmZzZXQiOiAiMSJ9"):
        if "max_results" in call.fields:
            assert_refused(call.send(client, page_token=token), 400, "INVALID_PARAMETER_VALUE")
    for wrong in ("0", "-1", "x", "1.5", str(10**9), str(2**70)):
        if "max_results" in call.fields:
            assert_refused(call.send(client, max_results=wrong), 400, "INVALID_PARAMETER_VALUE")
    assert_refused(client.open(call.path, method="TRACE"), 405, "BAD_REQUEST")
    assert snapshot(data) == before


@pytest.mark.parametrize("endpoint", [endpoint for endpoint, call in CALLS.items() if call.method != "GET"])
def test_body_over_the_limit_is_413(make_client: Callable[..., FlaskClient], data: Path, endpoint: str) -> None:
    client, call = make_client(max_json_bytes=1000), CALLS[endpoint]
    before = snapshot(data)
    body = json.dumps(call.fields).encode().ljust(1001)
    response = client.open(call.path, method=call.method, data=body, content_type=JSON)
    assert_refused(response, 413, "INVALID_PARAMETER_VALUE")
    assert snapshot(data) == before


INVALID_CALLS: list[tuple[int, str, str, dict[str, Any]]] = [
    (400, "runs/log-metric", "INVALID_PARAMETER_VALUE", {**RUN, **POINT, "value": "x"}),
    (400, "runs/log-metric", "INVALID_PARAMETER_VALUE", {**RUN, **POINT, "value": "1_0"}),
    (400, "runs/log-metric", "INVALID_PARAMETER_VALUE", {**RUN, **POINT, "step": 1.5}),
    (400, "runs/log-metric", "INVALID_PARAMETER_VALUE", {**RUN, **POINT, "step": 2**63}),
    (400, "runs/log-metric", "INVALID_PARAMETER_VALUE", {**RUN, **POINT, "timestamp": "now"}),
    (400, "runs/log-metric", "INVALID_PARAMETER_VALUE", {**RUN, **POINT, "key": ""}),
    (400, "runs/log-metric", "INVALID_PARAMETER_VALUE", {**RUN, **POINT, "key": "a\n"}),
    (400, "runs/log-metric", "INVALID_PARAMETER_VALUE", {**RUN, **POINT, "key": "k" * 251}),
    (404, "runs/log-metric", "RESOURCE_DOES_NOT_EXIST", {**RUN, **POINT, "model_id": "m-open-9"}),
    (400, "runs/log-parameter", "INVALID_PARAMETER_VALUE", {**RUN, "key": "lr", "value": "0.10"}),
    (400, "runs/log-batch", "INVALID_PARAMETER_VALUE", {**RUN, "metrics": [POINT, {**POINT, "value": None}]}),
    (400, "runs/log-batch", "INVALID_PARAMETER_VALUE", {**RUN, "metrics": [POINT, 5]}),
    (
        400,
        "runs/log-batch",
        "INVALID_PARAMETER_VALUE",
        {**RUN, "metrics": [POINT], "params": [{"key": "lr", "value": "2"}]},
    ),
    (
        400,
        "runs/log-batch",
        "INVALID_PARAMETER_VALUE",
        {**RUN, "metrics": [POINT], "tags": [{"key": "", "value": "2"}]},
    ),
    (400, "runs/log-batch", "INVALID_PARAMETER_VALUE", {**RUN, "tags": [{"key": "t", "value": 2}]}),
    (400, "runs/update", "INVALID_PARAMETER_VALUE", {**RUN, "status": "DONE"}),
    (400, "runs/update", "INVALID_PARAMETER_VALUE", {**RUN, "status": 9}),
    (400, "runs/create", "INVALID_PARAMETER_VALUE", {"tags": [{"value": "x"}]}),
    (400, "runs/create", "INVALID_PARAMETER_VALUE", {"tags": [{"key": "a\n", "value": "x"}]}),
    (400, "runs/create", "INVALID_PARAMETER_VALUE", {"start_time": "then"}),
    (400, "runs/log-model", "INVALID_PARAMETER_VALUE", {**RUN, "model_json": "{"}),
    (400, "runs/log-model", "INVALID_PARAMETER_VALUE", {**RUN, "model_json": "{}"}),
    (400, "runs/log-inputs", "INVALID_PARAMETER_VALUE", {**RUN, "datasets": [{"dataset": {"name": "x"}}]}),
    (400, "runs/log-inputs", "INVALID_PARAMETER_VALUE", {**RUN, "datasets": [{}]}),
    (400, "runs/log-inputs", "INVALID_PARAMETER_VALUE", {**RUN, "datasets": [DATASET, BAD_DATASET]}),
    (
        400,
        "runs/log-inputs",
        "INVALID_PARAMETER_VALUE",
        {**RUN, "datasets": [DATASET], "models": [{"model_id": "a\n"}]},
    ),
    (400, "runs/outputs", "INVALID_PARAMETER_VALUE", {**RUN, "models": [{"model_id": "a"}, {"model_id": "a\n"}]}),
    (400, "runs/search", "INVALID_PARAMETER_VALUE", {"experiment_ids": "0", "filter": "x"}),
    (400, "runs/search", "INVALID_PARAMETER_VALUE", {"experiment_ids": ["0"], "run_view_type": "SOME"}),
    (400, "runs/search", "INVALID_PARAMETER_VALUE", {"experiment_ids": ["0"], "order_by": "metrics.a down"}),
    (400, "experiments/create", "RESOURCE_ALREADY_EXISTS", {"name": "Default"}),
    (400, "experiments/create", "INVALID_PARAMETER_VALUE", {"name": "a\n"}),
    (400, "experiments/create", "INVALID_PARAMETER_VALUE", {"name": "x" * 251}),
    (400, "experiments/update", "INVALID_PARAMETER_VALUE", {"experiment_id": "0", "new_name": "other"}),
    (400, "registered-models/create", "RESOURCE_ALREADY_EXISTS", {"name": "iris"}),
]


@pytest.mark.parametrize(("status", "path", "code", "body"), INVALID_CALLS, ids=lambda value: str(value)[:60])
def test_refused_call_stores_nothing(
    make_client: Callable[..., FlaskClient], data: Path, status: int, path: str, code: str, body: dict[str, Any]
) -> None:
    client = make_client()
    before = snapshot(data)
    assert_refused(client.post(f"{API}/{path}", json=body), status, code)
    assert snapshot(data) == before


FILES = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.mark.parametrize(
    ("status", "method", "path", "code"),
    [
        (400, "PUT", "x", "INVALID_PARAMETER_VALUE"),
        (400, "PUT", "0/open/artifacts", "INVALID_PARAMETER_VALUE"),
        (400, "PUT", "0/open/artifacts/", "INVALID_PARAMETER_VALUE"),
        (400, "PUT", "0/open/artifacts/a//b", "INVALID_PARAMETER_VALUE"),
        (400, "PUT", "0/open/artifacts/../../x", "INVALID_PARAMETER_VALUE"),
        (400, "PUT", "0/open/artifacts/%2e%2e/x", "INVALID_PARAMETER_VALUE"),
        (400, "PUT", "0/open/artifacts/a%00b", "INVALID_PARAMETER_VALUE"),
        (400, "PUT", "0/open/artifacts/a%5Cb", "INVALID_PARAMETER_VALUE"),
        (400, "PUT", "0/open/files/a", "INVALID_PARAMETER_VALUE"),
        (400, "PUT", "0/versions/iris/1/artifacts/m", "INVALID_PARAMETER_VALUE"),
        (404, "PUT", "0/unknown/artifacts/a", "RESOURCE_DOES_NOT_EXIST"),
        (404, "PUT", "0/models/m-open-9/artifacts/a", "RESOURCE_DOES_NOT_EXIST"),
        (409, "PUT", "0/open/artifacts/m/inside", "RESOURCE_CONFLICT"),
        (409, "PUT", "0/open/artifacts/deep", "RESOURCE_CONFLICT"),
        (409, "PUT", "0/open/artifacts/m", "RESOURCE_CONFLICT"),
        (400, "DELETE", "0/open/artifacts", "INVALID_PARAMETER_VALUE"),
        (400, "DELETE", "0/versions/iris/1/artifacts/m", "INVALID_PARAMETER_VALUE"),
        (404, "DELETE", "0/open/artifacts/none", "RESOURCE_DOES_NOT_EXIST"),
        (404, "DELETE", "0/unknown/artifacts/m", "RESOURCE_DOES_NOT_EXIST"),
        (409, "DELETE", "0/open/artifacts/m", "RESOURCE_CONFLICT"),
        (404, "GET", "0/open/artifacts/none", "RESOURCE_DOES_NOT_EXIST"),
        (404, "GET", "0/open/artifacts/deep", "RESOURCE_DOES_NOT_EXIST"),
        (404, "GET", "0/unknown/artifacts/m", "RESOURCE_DOES_NOT_EXIST"),
        (404, "GET", "0/versions/iris/9/artifacts/m", "RESOURCE_DOES_NOT_EXIST"),
        (404, "GET", "0/versions/iris/1/artifacts/other", "RESOURCE_DOES_NOT_EXIST"),
        (400, "GET", "0/open", "INVALID_PARAMETER_VALUE"),
    ],
)
def test_refused_artifact_stores_nothing(
    make_client: Callable[..., FlaskClient], data: Path, status: int, method: str, path: str, code: str
) -> None:
    client = make_client()
    before = snapshot(data)
    assert_refused(client.open(f"{FILES}/{path}", method=method, data=b"other bytes"), status, code)
    assert snapshot(data) == before


def test_write_to_the_trash_is_400_and_the_message_mentions_restore(
    make_client: Callable[..., FlaskClient], data: Path
) -> None:
    client = make_client()
    CALLS["mlflow_runs.delete_run"].send(client)
    for endpoint in ("log_metric", "log_parameter", "set_tag", "delete_tag", "log_batch", "log_model", "update_run"):
        response = CALLS[f"mlflow_runs.{endpoint}"].send(client)
        assert "restore" in assert_refused(response, 400, "INVALID_PARAMETER_VALUE")
    response = client.put(f"{FILES}/0/open/artifacts/new", data=b"x")
    assert "restore" in assert_refused(response, 400, "INVALID_PARAMETER_VALUE")
    assert CALLS["mlflow_runs.restore_run"].send(client).status_code == OK
    CALLS["mlflow_experiments.delete_experiment"].send(client)
    for endpoint in ("mlflow_runs.create_run", "mlflow_runs.set_tag", "mlflow_runs.restore_run"):
        assert "restore" in assert_refused(CALLS[endpoint].send(client), 400, "INVALID_PARAMETER_VALUE")
    assert_refused(CALLS["mlflow_experiments.set_experiment_tag"].send(client), 400, "INVALID_PARAMETER_VALUE")
