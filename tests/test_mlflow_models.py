"""MLflow's logged models by their routes: created, finalized, tagged, evaluated, searched, and refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.snapshots import snapshot
from test_mlflow_errors import assert_refused

BASE = "/api/2.0/mlflow"


def call(client: FlaskClient, method: str, path: str, **fields: Any) -> dict[str, Any]:
    response = client.open(f"{BASE}/{path}", method=method, json=fields or None)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.get_json()
    return body


def to_pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def create_run(client: FlaskClient, experiment_id: str = "0") -> str:
    run_id: str = call(client, "POST", "runs/create", experiment_id=experiment_id)["run"]["info"]["run_id"]
    return run_id


def create_model(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    model: dict[str, Any] = call(client, "POST", "logged-models", **{"experiment_id": "0", "name": "iris", **fields})[
        "model"
    ]
    return model


def log_metric(client: FlaskClient, run_id: str, model_id: str, value: Any, **fields: Any) -> None:
    point = {"key": "acc", "timestamp": 5, "step": 1, **fields}
    call(client, "POST", "runs/log-metric", run_id=run_id, model_id=model_id, value=value, **point)


def test_model_of_a_run_is_created_changed_and_finalized(client: FlaskClient, data: Path) -> None:
    run_id = create_run(client)
    created_model = create_model(
        client, source_run_id=run_id, model_type="sklearn", params=to_pairs({"a": "1"}), tags=to_pairs({"t": "x"})
    )
    model_id, at = created_model["info"]["model_id"], created_model["info"]["creation_timestamp_ms"]
    assert created_model == {
        "info": {
            "model_id": f"m-{run_id}-1",
            "experiment_id": "0",
            "name": "iris",
            "creation_timestamp_ms": at,
            "last_updated_timestamp_ms": at,
            "artifact_uri": f"mlflow-artifacts:/0/models/m-{run_id}-1/artifacts",
            "status": "LOGGED_MODEL_PENDING",
            "model_type": "sklearn",
            "source_run_id": run_id,
            "tags": to_pairs({"t": "x"}),
        },
        "data": {"params": to_pairs({"a": "1"}), "metrics": []},
    }
    path = f"logged-models/{model_id}"
    assert call(client, "POST", f"{path}/params", model_id=model_id, params=to_pairs({"b": "2"})) == {}
    assert call(client, "PATCH", f"{path}/tags", tags=to_pairs({"u": "ü", "a/b c": "1"})) == {}
    assert call(client, "DELETE", f"{path}/tags/a%2Fb%20c") == {}
    assert call(client, "DELETE", f"{path}/tags/t") == {}
    log_metric(client, run_id, model_id, "NaN", dataset_name="train", dataset_digest="d1")
    finalized_model = call(client, "PATCH", path, model_id=model_id, status="LOGGED_MODEL_READY")["model"]
    assert call(client, "GET", path)["model"] == finalized_model
    assert finalized_model["info"]["status"] == "LOGGED_MODEL_READY" and finalized_model["info"]["tags"] == to_pairs(
        {"u": "ü"}
    )
    assert finalized_model["data"]["params"] == to_pairs({"a": "1", "b": "2"})
    assert finalized_model["data"]["metrics"] == [
        {
            "key": "acc",
            "value": "NaN",
            "timestamp": 5,
            "step": 1,
            "model_id": model_id,
            "run_id": run_id,
            "dataset_name": "train",
            "dataset_digest": "d1",
        }
    ]
    assert client.get(f"/api/runs/{run_id}").get_json()["metrics"] == {"acc": "NaN"}
    assert json.loads((data / "runs" / run_id / "metrics.jsonl").read_text()) == {
        "key": "acc", "value": "NaN", "step": 1, "timestamp": 5,
    }  # fmt: skip


def test_models_of_a_run_are_in_its_json_and_on_its_page(client: FlaskClient) -> None:
    run_id = create_run(client)
    paths = (f"/api/runs/{run_id}", f"/runs/{run_id}")
    assert "logged_models" not in client.get(paths[0]).get_json()
    info = create_model(client, source_run_id=run_id, model_type="<tree>", params=to_pairs({"depth": "3"}))["info"]
    etags = [client.get(path).headers["ETag"] for path in paths]
    log_metric(client, run_id, info["model_id"], 0.5)
    call(client, "PATCH", f"logged-models/{info['model_id']}", status="READY")
    for path, etag in zip(paths, etags, strict=True):
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 200
    (model,) = client.get(paths[0]).get_json()["logged_models"]
    assert model == {
        "id": info["model_id"],
        "name": "iris",
        "model_type": "<tree>",
        "status": "ready",
        "folder": "models/iris",
        "created_at": info["creation_timestamp_ms"],
        "params": {"depth": "3"},
        "metrics": {"acc": 0.5},
        "tags": {},
    }
    page = client.get(paths[1]).text
    assert "Logged models" in page and "&lt;tree&gt;" in page and "acc 0.5" in page and "depth=3" in page
    fresh = client.get(paths[0]).headers["ETag"]
    call(client, "PATCH", f"logged-models/{info['model_id']}/tags", tags=to_pairs({"a": "b"}))
    assert client.get(paths[0], headers={"If-None-Match": fresh}).status_code == 200
    call(client, "DELETE", f"logged-models/{info['model_id']}")
    assert "logged_models" not in client.get(paths[0]).get_json()


def test_files_of_a_model_are_listed_for_the_model_and_not_for_its_run(client: FlaskClient) -> None:
    run_id = create_run(client)
    info = create_model(client, source_run_id=run_id)["info"]
    proxy = "/api/2.0/mlflow-artifacts/artifacts"
    root = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
    for name in ("MLmodel", "data/model.pkl"):
        assert client.put(f"{proxy}/{root}/{name}", data=name.encode()).status_code == 200
    path = f"logged-models/{info['model_id']}/artifacts/directories"
    top = [{"path": "MLmodel", "is_dir": False, "file_size": 7}, {"path": "data", "is_dir": True}]
    assert call(client, "GET", path) == {"root_uri": info["artifact_uri"], "files": top}
    below = call(client, "GET", f"{path}?artifact_directory_path=data")["files"]
    assert below == [{"path": "data/model.pkl", "is_dir": False, "file_size": 14}]
    assert call(client, "GET", f"artifacts/list?run_id={run_id}")["files"] == []
    artifacts = client.get(f"/api/runs/{run_id}/artifacts").get_json()
    assert [each["name"] for each in artifacts] == ["models/iris/MLmodel", "models/iris/data/model.pkl"]


def test_deleted_model_is_returned_only_with_allow_deleted(client: FlaskClient) -> None:
    model_id = create_model(client, source_run_id=create_run(client))["info"]["model_id"]
    assert call(client, "DELETE", f"logged-models/{model_id}") == {}
    assert_refused(client.get(f"{BASE}/logged-models/{model_id}"), 404, "RESOURCE_DOES_NOT_EXIST")
    assert call(client, "GET", f"logged-models/{model_id}?allow_deleted=true")["model"]["info"]["model_id"] == model_id
    assert call(client, "POST", "logged-models/search", experiment_ids=["0"])["models"] == []
    assert_refused(client.delete(f"{BASE}/logged-models/{model_id}"), 404, "RESOURCE_DOES_NOT_EXIST")


def test_model_without_a_run_is_stored_in_a_new_run(client: FlaskClient) -> None:
    info = create_model(client, name="alone")["info"]
    assert "source_run_id" not in info
    run_id = info["model_id"][2:-2]
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["status"], run["name"], run["experiment"]) == ("completed", "alone", "Default")
    assert create_model(client, name=None)["info"]["name"].startswith("model-")


@pytest.mark.parametrize("status", ["LOGGED_MODEL_UPLOAD_FAILED", "UPLOAD_FAILED", 3, "3"])
def test_status_is_accepted_as_a_word_or_a_number(client: FlaskClient, status: Any) -> None:
    model_id = create_model(client, source_run_id=create_run(client))["info"]["model_id"]
    model = call(client, "PATCH", f"logged-models/{model_id}", status=status)["model"]
    assert model["info"]["status"] == "LOGGED_MODEL_UPLOAD_FAILED"


def test_batch_with_metrics_of_a_model_is_stored_for_run_and_model_or_not_at_all(
    client: FlaskClient, data: Path
) -> None:
    run_id = create_run(client)
    model_id = create_model(client, source_run_id=run_id)["info"]["model_id"]
    points = [
        {"key": "acc", "value": step / 2, "timestamp": step, "step": step, "model_id": model_id} for step in (1, 2)
    ]
    batch = {"run_id": run_id, "metrics": [*points, {"key": "own", "value": 1, "timestamp": 1}]}
    for _ in range(2):
        call(client, "POST", "runs/log-batch", **batch)
    model = call(client, "GET", f"logged-models/{model_id}")["model"]
    assert [each["value"] for each in model["data"]["metrics"]] == [0.5, 1.0]
    assert client.get(f"/api/runs/{run_id}").get_json()["metrics"] == {"acc": 1.0, "own": 1}
    before = snapshot(data)
    points[1]["model_id"] = "m-nobody-1"
    response = client.post(f"{BASE}/runs/log-batch", json={**batch, "metrics": points})
    assert "m-nobody-1" in assert_refused(response, 404, "RESOURCE_DOES_NOT_EXIST")
    assert snapshot(data) == before


@pytest.mark.parametrize(
    ("method", "path", "fields", "status", "code"),
    [
        ("POST", "logged-models", {}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "logged-models", {"experiment_id": "1"}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "logged-models", {"experiment_id": "0", "name": "a/b"}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "logged-models", {"experiment_id": "0", "name": "a.b"}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "logged-models", {"experiment_id": "0", "name": 5}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "logged-models", {"experiment_id": "0", "source_run_id": "none"}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "logged-models", {"experiment_id": "0", "tags": {"a": "b"}}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "logged-models", {"experiment_id": "0", "params": [{"value": "1"}]}, 400, "INVALID_PARAMETER_VALUE"),
        ("GET", "logged-models/m-none-1", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "logged-models/MODEL?allow_deleted=maybe", None, 400, "INVALID_PARAMETER_VALUE"),
        ("PATCH", "logged-models/m-none-1", {"status": "READY"}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("PATCH", "logged-models/MODEL", {}, 400, "INVALID_PARAMETER_VALUE"),
        ("PATCH", "logged-models/MODEL", {"status": "LOGGED_MODEL_PENDING"}, 400, "INVALID_PARAMETER_VALUE"),
        ("PATCH", "logged-models/MODEL", {"status": 7}, 400, "INVALID_PARAMETER_VALUE"),
        ("PATCH", "logged-models/MODEL", {"status": True}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "logged-models/MODEL/params", {"params": [{"key": ""}]}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "logged-models/m-none-1/params", {"params": []}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("PATCH", "logged-models/m-none-1/tags", {"tags": []}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("PATCH", "logged-models/MODEL/tags", {"tags": [5]}, 400, "INVALID_PARAMETER_VALUE"),
        ("DELETE", "logged-models/MODEL/tags/none", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("DELETE", "logged-models/m-none-1", None, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "logged-models/search", {}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "logged-models/search", {"experiment_ids": ["0"], "filter": "name"}, 400, "INVALID_PARAMETER_VALUE"),
        (
            "POST",
            "logged-models/search",
            {"experiment_ids": ["0"], "filter": "a = 'b'"},
            400,
            "INVALID_PARAMETER_VALUE",
        ),
        ("POST", "logged-models/search", {"experiment_ids": ["0"], "max_results": 0}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", "logged-models/search", {"experiment_ids": ["0"], "page_token": "x"}, 400, "INVALID_PARAMETER_VALUE"),
        (
            "POST",
            "logged-models/search",
            {"experiment_ids": ["0"], "order_by": ["name"]},
            400,
            "INVALID_PARAMETER_VALUE",
        ),
        (
            "POST",
            "logged-models/search",
            {"experiment_ids": ["0"], "order_by": [{"field_name": "params.a"}]},
            400,
            "INVALID_PARAMETER_VALUE",
        ),
        (
            "POST",
            "logged-models/search",
            {"experiment_ids": ["0"], "order_by": [{"field_name": "size"}]},
            400,
            "INVALID_PARAMETER_VALUE",
        ),
        ("POST", "logged-models/search", {"experiment_ids": ["0"], "datasets": [{}]}, 400, "INVALID_PARAMETER_VALUE"),
        ("PUT", "logged-models/MODEL", {}, 405, "BAD_REQUEST"),
        ("GET", "logged-models/MODEL/none", None, 404, "ENDPOINT_NOT_FOUND"),
    ],
)
def test_invalid_call_is_refused_and_changes_nothing(
    client: FlaskClient, data: Path, method: str, path: str, fields: Any, status: int, code: str
) -> None:
    model_id = create_model(client, source_run_id=create_run(client))["info"]["model_id"]
    before = snapshot(data)
    response = client.open(f"{BASE}/{path.replace('MODEL', model_id)}", method=method, json=fields)
    assert_refused(response, status, code)
    assert snapshot(data) == before


def test_write_to_a_model_of_a_deleted_run_or_experiment_is_refused(client: FlaskClient) -> None:
    run_id = create_run(client)
    model_id = create_model(client, source_run_id=run_id)["info"]["model_id"]
    call(client, "POST", "runs/delete", run_id=run_id)
    for method, path, fields in (
        ("POST", "logged-models", {"experiment_id": "0", "source_run_id": run_id}),
        ("PATCH", f"logged-models/{model_id}/tags", {"tags": to_pairs({"a": "b"})}),
        ("DELETE", f"logged-models/{model_id}", None),
    ):
        response = client.open(f"{BASE}/{path}", method=method, json=fields)
        assert_refused(response, 400, "INVALID_PARAMETER_VALUE")
    experiment_id = call(client, "POST", "experiments/create", name="gone")["experiment_id"]
    call(client, "POST", "experiments/delete", experiment_id=experiment_id)
    response = client.post(f"{BASE}/logged-models", json={"experiment_id": experiment_id, "name": "alone"})
    assert_refused(response, 400, "INVALID_PARAMETER_VALUE")


@pytest.fixture
def models(client: FlaskClient) -> list[str]:
    """The ids of four models of two runs and two types, with params, tags, and metrics of several datasets."""
    first, second = create_run(client), create_run(client)
    ids = []
    for number, run_id in enumerate((first, first, second, second)):
        params = {"depth": str(number)} if number < 3 else {}
        fields = {"model_type": "agent"} if number == 3 else {"model_type": "sklearn"}
        model = create_model(
            client,
            name=f"m{number}",
            source_run_id=run_id,
            params=to_pairs(params),
            tags=to_pairs({"n": str(number % 2)}),
            **fields,
        )
        ids.append(model["info"]["model_id"])
    log_metric(client, first, ids[0], 0.1, dataset_name="train", dataset_digest="d1")
    log_metric(client, first, ids[0], 0.9, step=2, timestamp=6, dataset_name="test", dataset_digest="d2")
    log_metric(client, first, ids[1], 0.5, dataset_name="train", dataset_digest="d1")
    log_metric(client, second, ids[2], "NaN", dataset_name="train", dataset_digest="d3")
    call(client, "PATCH", f"logged-models/{ids[1]}", status="READY")
    return ids


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", [3, 2, 1, 0]),
        ("name = 'm1'", [1]),
        ("name LIKE 'm%' AND model_type = 'sklearn'", [2, 1, 0]),
        ("name ILIKE 'M_' and name != 'm3'", [2, 1, 0]),
        ("name IN ('m0', 'm3')", [3, 0]),
        ("attributes.model_id = 'ID0'", [0]),
        ("source_run_id = 'RUN0'", [1, 0]),
        ("status = 'READY'", [1]),
        ("status = 'LOGGED_MODEL_READY'", [1]),
        ("status != 'READY'", [3, 2, 0]),
        ("creation_timestamp > 0", [3, 2, 1, 0]),
        ("last_updated_timestamp < 5", []),
        ("params.depth = '2'", [2]),
        ("params.depth IS NULL", [3]),
        ("tags.n = '1'", [3, 1]),
        ("tags.`n` != '1'", [2, 0]),
        ("metrics.acc > 0.4", [1, 0]),
        ("metrics.acc < 0.2", [0]),
        ("metrics.acc != 7", [2, 1, 0]),
        ("metrics.none > 0", []),
    ],
)
def test_search_filters(client: FlaskClient, models: list[str], text: str, numbers: list[int]) -> None:
    text = text.replace("ID0", models[0]).replace("RUN0", models[0][2:-2])
    matches = call(client, "POST", "logged-models/search", experiment_ids=["0"], filter=text)["models"]
    assert [each["info"]["name"] for each in matches] == [f"m{number}" for number in numbers]


@pytest.mark.parametrize(
    ("text", "datasets", "numbers"),
    [
        ("", [{"dataset_name": "train"}], [2, 1, 0]),
        ("", [{"dataset_name": "train", "dataset_digest": "d3"}], [2]),
        ("metrics.acc > 0.4", [{"dataset_name": "train"}], [1]),
        ("metrics.acc > 0.4", [{"dataset_name": "train"}, {"dataset_name": "test"}], [1, 0]),
        ("name = 'm3'", [{"dataset_name": "train"}], []),
    ],
)
def test_search_by_datasets(
    client: FlaskClient, models: list[str], text: str, datasets: list[dict[str, str]], numbers: list[int]
) -> None:
    matches = call(client, "POST", "logged-models/search", experiment_ids=["0"], filter=text, datasets=datasets)[
        "models"
    ]
    assert [each["info"]["name"] for each in matches] == [f"m{number}" for number in numbers]


@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        ([{"field_name": "name"}], [0, 1, 2, 3]),
        ([{"field_name": "name", "ascending": False}], [3, 2, 1, 0]),
        ([{"field_name": "metrics.acc"}], [1, 0, 3, 2]),
        ([{"field_name": "metrics.acc", "ascending": False}], [0, 1, 3, 2]),
        ([{"field_name": "metrics.acc", "dataset_name": "train"}], [0, 1, 3, 2]),
        ([{"field_name": "metrics.acc", "dataset_name": "train", "dataset_digest": "d3"}], [3, 2, 1, 0]),
        ([{"field_name": "model_type"}, {"field_name": "name", "ascending": False}], [3, 2, 1, 0]),
        ([{"field_name": "creation_time", "ascending": False}], [3, 2, 1, 0]),
    ],
)
def test_search_order(client: FlaskClient, models: list[str], order: list[dict[str, Any]], numbers: list[int]) -> None:
    matches = call(client, "POST", "logged-models/search", experiment_ids=["0"], order_by=order)["models"]
    assert [each["info"]["name"] for each in matches] == [f"m{number}" for number in numbers]


def test_search_page_by_page(client: FlaskClient, models: list[str]) -> None:
    ids: list[str] = []
    fields: dict[str, Any] = {"experiment_ids": ["0", "17"], "max_results": 3}
    for _ in itertools.count():
        response = call(client, "POST", "logged-models/search", **fields)
        ids += [each["info"]["model_id"] for each in response["models"]]
        if "next_page_token" not in response:
            break
        fields["page_token"] = response["next_page_token"]
    assert ids == models[::-1]
