"""Runs logged by MLflow's protocol read by the native API, and the reverse; bodies of MLflow's clients."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chachaml_lite.mlflow_api import vocabulary
from chachaml_lite.mlflow_api.vocabulary_datasets import dataset_from_mlflow, dataset_to_mlflow
from chachaml_lite.tracking.series import points

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def call(client: FlaskClient) -> Callable[..., Any]:
    """A function that calls an MLflow route, by POST if it has a body, and returns the fields of the response."""

    def send(route: str, body: Any = None, **query: Any) -> Any:
        if body is None:
            response = client.get(f"{API}/{route}", query_string=query)
        elif isinstance(body, str):
            response = client.post(f"{API}/{route}", data=body, content_type="application/json; charset=utf-8")
        else:
            response = client.post(f"{API}/{route}", json=body)
        assert response.status_code == 200, response.text
        return response.get_json()

    return send


def start_run(call: Callable[..., Any], **fields: Any) -> str:
    run_id: str = call("runs/create", fields)["run"]["info"]["run_id"]
    return run_id


# -- logged by MLflow's protocol, read by the native API


def test_run_logged_by_mlflow_is_complete_in_the_native_api(
    client: FlaskClient, call: Callable[..., Any], data: Path
) -> None:
    experiment = call("experiments/create", {"name": "iris", "tags": [{"key": "team", "value": "a"}]})["experiment_id"]
    tags = {
        "mlflow.runName": "first",
        "mlflow.user": "maria",
        "mlflow.note.content": "A *note*",
        "mlflow.parentRunId": "the-parent",
        "mlflow.source.name": "train.py",
    }
    run_id = start_run(
        call, experiment_id=experiment, start_time=1000, tags=[{"key": key, "value": tags[key]} for key in tags]
    )
    params = {"lr": "0.01", "epochs": "100", "seed": "007", "on": "True", "net": "resnet", "none": "None"}
    metrics = [{"key": "loss", "value": 0.5 / step, "timestamp": 1000 + step, "step": step} for step in (1, 2)]
    metrics.append({"key": "acc", "value": "NaN", "timestamp": 5, "step": 0})
    call("runs/log-batch", {"run_id": run_id, "metrics": metrics, "params": to_pairs(params)})
    client.put(f"{FILES}/{experiment}/{run_id}/artifacts/model/weights.bin", data=b"weights")
    call("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 9000})
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["experiment"], run["name"], run["created_by"], run["note"]) == ("iris", "first", "maria", "A *note*")
    assert (run["parent_run_id"], run["tags"]) == ("the-parent", {"mlflow.source.name": "train.py"})
    assert (run["status"], run["start_time"], run["end_time"], run["error"]) == ("completed", 1000, 9000, None)
    expected = {"lr": 0.01, "epochs": 100, "seed": "007", "on": "True", "net": "resnet", "none": "None"}
    assert json.dumps(run["params"]) == json.dumps(expected)
    assert run["metrics"] == {"loss": 0.25, "acc": "NaN"}
    assert [each["name"] for each in run["artifacts"]] == ["model/weights.bin"]
    series = client.get(f"/api/runs/{run_id}/metrics?key=loss").get_json()["loss"]["points"]
    assert series == [{"step": step, "value": 0.5 / step, "timestamp": 1000 + step} for step in (1, 2)]
    assert (data / "runs" / run_id / "blobs/model/weights.bin").read_bytes() == b"weights"
    assert client.get("/api/experiments/iris").get_json()["tags"] == {"team": "a"}
    for page in (f"/runs/{run_id}", "/runs?q=params.lr < 0.1", "/experiments/iris"):
        assert run_id in client.get(page).text, page
    assert client.get("/api/runs?q=params.epochs >= 100").headers["X-Total-Count"] == "1"


def to_pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


@pytest.mark.parametrize(
    ("word", "status", "error"),
    [
        ("RUNNING", "running", None),
        ("SCHEDULED", "running", None),
        ("FINISHED", "completed", None),
        ("FAILED", "failed", None),
        ("KILLED", "failed", "killed"),
        (3, "completed", None),
        ("5", "failed", "killed"),
    ],
)
def test_mlflow_status_in_the_native_api(
    client: FlaskClient, call: Callable[..., Any], word: str | int, status: str, error: str | None
) -> None:
    run_id = start_run(call)
    info = call("runs/update", {"run_id": run_id, "status": word})["run_info"]
    assert info["status"] == (word if word not in (3, "5") else {3: "FINISHED", "5": "KILLED"}[word])
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["status"], run["error"]) == (status, error)


def test_status_scheduled_is_kept_until_the_next_status(
    call: Callable[..., Any], client: FlaskClient, data: Path
) -> None:
    run_id = start_run(call)
    meta = data / "runs" / run_id / "meta.json"
    call("runs/update", {"run_id": run_id, "status": "SCHEDULED"})
    assert json.loads(meta.read_text())["mlflow"] == {"status": "SCHEDULED"}
    call("runs/update", {"run_id": run_id, "run_name": "other"})
    assert call("runs/get", run_id=run_id)["run"]["info"]["status"] == "SCHEDULED"
    call("runs/update", {"run_id": run_id, "status": "RUNNING"})
    assert "status" not in json.loads(meta.read_text())["mlflow"]
    assert call("runs/get", run_id=run_id)["run"]["info"]["status"] == "RUNNING"


def test_resumed_run_has_no_end_time(call: Callable[..., Any], client: FlaskClient) -> None:
    run_id = start_run(call)
    failed_info = call("runs/update", {"run_id": run_id, "status": "FAILED", "end_time": 2**41})["run_info"]
    info = call("runs/update", {"run_id": run_id, "status": "RUNNING", "end_time": failed_info["end_time"]})["run_info"]
    assert "end_time" not in info
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["status"], run["end_time"], run["error"]) == ("running", None, None)
    assert run["resumed_at"] > 2**41
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1}).status_code == 200


def test_tag_with_an_invalid_value_for_its_field_stays_a_tag(call: Callable[..., Any], client: FlaskClient) -> None:
    run_id = start_run(call, run_name="named")
    for key, value in (("mlflow.runName", "a\nb"), ("mlflow.parentRunId", "no id"), ("mlflow.note.content", "")):
        call("runs/set-tag", {"run_id": run_id, "key": key, "value": value})
        tags = call("runs/get", run_id=run_id)["run"]["data"]["tags"]
        assert {"key": key, "value": value} in tags
        assert client.get(f"/api/runs/{run_id}").get_json()["tags"][key] == value
    call("runs/set-tag", {"run_id": run_id, "key": "mlflow.runName", "value": "again"})
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["name"], "mlflow.runName" in run["tags"]) == ("again", False)
    for key in ("mlflow.runName", "mlflow.parentRunId", "mlflow.note.content"):
        call("runs/delete-tag", {"run_id": run_id, "key": key})
    assert call("runs/get", run_id=run_id)["run"]["data"]["tags"] == []


def test_ended_run_accepts_writes_of_mlflow_only(call: Callable[..., Any], client: FlaskClient) -> None:
    run_id = start_run(call)
    call("runs/update", {"run_id": run_id, "status": "FINISHED"})
    call("runs/log-metric", {"run_id": run_id, "key": "late", "value": 1, "timestamp": 1})
    assert client.put(f"{FILES}/0/{run_id}/artifacts/late.txt", data=b"x").status_code == 200
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"late": 2}).status_code == 404
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["metrics"], run["status"]) == ({"late": 1}, "completed")


def test_model_history_of_mlflow_2x_is_a_tag(call: Callable[..., Any], client: FlaskClient) -> None:
    run_id = start_run(call)
    for path in ("one", "two"):
        text = json.dumps({"artifact_path": path, "flavors": {"sklearn": {}}, "run_id": run_id})
        call("runs/log-model", {"run_id": run_id, "model_json": text})
    history = json.loads(client.get(f"/api/tags/{run_id}").get_json()["mlflow.log-model.history"])
    assert [each["artifact_path"] for each in history] == ["one", "two"]


def test_get_run_does_not_read_points(
    call: Callable[..., Any], make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start_run(call)
    call("runs/log-metric", {"run_id": run_id, "key": "loss", "value": 1, "timestamp": 1})
    call("runs/update", {"run_id": run_id, "status": "FINISHED"})
    before = call("runs/get", run_id=run_id)

    def refuse(*_: Any) -> Any:
        raise AssertionError("points were parsed")

    monkeypatch.setattr(points, "parse_points", refuse)
    fresh = make_app().test_client()
    assert fresh.get(f"{API}/runs/get", query_string={"run_id": run_id}).get_json() == before


# -- logged by the native API, read by MLflow's protocol


def test_run_logged_by_the_native_api_is_complete_in_mlflow(
    client: FlaskClient, log_run: Callable[..., str], call: Any
) -> None:
    run_id = log_run(
        "wine",
        params={"lr": 1e-05, "n": 100, "on": True, "none": None, "list": [1, "a"], "text": "007"},
        metrics=[{"loss": 0.5, "step": 3}, {"loss": "Infinity", "step": 1}],
        artifacts={"model.pkl": b"m", "a/b.txt": b"text"},
        name="by curl",
        created_by="maria",
        tags={"gpu": True, "n": 1.5, "text": "t"},
    )
    client.post(f"/api/w/runs/{run_id}/note", json={"note": "n"})
    client.post(f"/api/w/runs/{run_id}/datasets", json={"role": "train", "source": "iris.csv", "n_rows": 150})
    client.post(f"/api/w/runs/{run_id}/end", json={"status": "failed", "error": "killed"})
    experiment = call("experiments/get-by-name", experiment_name="wine")["experiment"]
    run = call("runs/search", {"experiment_ids": [experiment["experiment_id"]]})["runs"][0]
    assert run == call("runs/get", run_id=run_id)["run"]
    info = run["info"]
    assert (info["run_id"], info["run_uuid"], info["run_name"]) == (run_id, run_id, "by curl")
    assert (info["status"], info["lifecycle_stage"], info["user_id"]) == ("KILLED", "active", "maria")
    assert info["artifact_uri"] == f"mlflow-artifacts:/{experiment['experiment_id']}/{run_id}/artifacts"
    params = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert params == {
        "lr": "1e-05",
        "n": "100",
        "on": "true",
        "none": "null",
        "list": '[1, "a"]',
        "text": "007",
    }
    tags = {each["key"]: each["value"] for each in run["data"]["tags"]}
    field_tags = {"mlflow.runName": "by curl", "mlflow.user": "maria", "mlflow.note.content": "n"}
    assert tags == {"gpu": "true", "n": "1.5", "text": "t", **field_tags}
    (metric,) = run["data"]["metrics"]
    assert (metric["key"], metric["value"], metric["step"]) == ("loss", 0.5, 3)
    (dataset_input,) = run["inputs"]["dataset_inputs"]
    assert dataset_input["tags"] == [{"key": "mlflow.data.context", "value": "train"}]
    assert (dataset_input["dataset"]["name"], json.loads(dataset_input["dataset"]["profile"])) == (
        "iris.csv",
        {"num_rows": 150},
    )
    artifacts = call("artifacts/list", run_id=run_id)
    assert artifacts["root_uri"] == info["artifact_uri"]
    assert artifacts["files"] == [
        {"path": "a", "is_dir": True},
        {"path": "model.pkl", "is_dir": False, "file_size": 1},
    ]
    assert call("artifacts/list", run_id=run_id, path="a")["files"] == [
        {"path": "a/b.txt", "is_dir": False, "file_size": 4}
    ]
    assert client.get(f"{FILES}/any/{run_id}/artifacts/a/b.txt").data == b"text"
    call("runs/log-parameter", {"run_id": run_id, "key": "n", "value": "100"})
    assert (
        client.post(f"{API}/runs/log-parameter", json={"run_id": run_id, "key": "n", "value": "100.0"}).status_code
        == 400
    )


def test_experiment_id_is_a_function_of_its_name(log_run: Callable[..., str], call: Any) -> None:
    for name in ("iris", "größe", "a/b"):
        log_run(name)
        experiment = call("experiments/get-by-name", experiment_name=name)["experiment"]
        assert experiment["experiment_id"] == vocabulary.experiment_id(name)
        assert call("experiments/get", experiment_id=experiment["experiment_id"])["experiment"] == experiment
        assert experiment["creation_time"] == experiment["last_update_time"] > 0
    assert vocabulary.experiment_id("iris") == "321464983804177632", "another id would separate clients from their runs"
    assert {each["name"] for each in call("experiments/search", {})["experiments"]} == {
        "Default",
        "iris",
        "größe",
        "a/b",
    }


# -- bodies of other clients


def test_bodies_of_the_r_client(call: Callable[..., Any], client: FlaskClient) -> None:
    """R's client sends numbers as strings, in R's notation."""
    response = call("runs/create", '{"experiment_id":"0","user_id":"r","start_time":"1.7e+12","tags":[]}')
    run_id = response["run"]["info"]["run_id"]
    assert response["run"]["info"]["start_time"] == 1_700_000_000_000
    for text in (
        '"value":"0.25","timestamp":"1700000000123","step":"0"',
        '"value":"1e+05","timestamp":"1.7e+12","step":"1e+05"',
        '"value":"NaN","timestamp":"1700000000124","step":"3"',
        '"value":"-Infinity","timestamp":"1700000000125","step":"4"',
    ):
        call("runs/log-metric", f'{{"run_uuid":"{run_id}","run_id":"{run_id}","key":"m",{text}}}')
    history = call("metrics/get-history", run_uuid=run_id, run_id=run_id, metric_key="m")["metrics"]
    assert [(each["value"], each["timestamp"], each["step"]) for each in history] == [
        (100_000.0, 1_700_000_000_000, 100_000),
        (0.25, 1_700_000_000_123, 0),
        ("NaN", 1_700_000_000_124, 3),
        ("-Infinity", 1_700_000_000_125, 4),
    ]
    call("runs/update", f'{{"run_uuid":"{run_id}","status":"FINISHED","end_time":"1700000009000"}}')
    assert call("runs/get", run_uuid=run_id)["run"]["info"]["end_time"] == 1_700_000_009_000


def test_bodies_of_the_java_client(call: Callable[..., Any]) -> None:
    """Java's client sends 64-bit integers as strings, and requests lists with GET."""
    run_id = call("runs/create", '{"experiment_id":"0","start_time":"1700000000000"}')["run"]["info"]["run_id"]
    metric = '{"key":"m","value":0.5,"timestamp":"1700000000001","step":"3"}'
    call("runs/log-batch", f'{{"run_id":"{run_id}","metrics":[{metric}],"params":[{{"key":"p","value":"1"}}]}}')
    call("runs/update", f'{{"run_id":"{run_id}","status":"FAILED","end_time":"1700000000009"}}')
    run = call("runs/search", '{"experiment_ids":["0"],"run_view_type":"ACTIVE_ONLY","max_results":5}')["runs"][0]
    assert (run["info"]["run_id"], run["info"]["status"]) == (run_id, "FAILED")
    assert run["data"]["metrics"] == [{"key": "m", "value": 0.5, "timestamp": 1_700_000_000_001, "step": 3}]
    assert call("experiments/search", max_results="5", view_type="ACTIVE_ONLY")["experiments"][0]["name"] == "Default"


@pytest.mark.parametrize(
    ("field", "raw", "expected"),
    [
        ("step", 1.0, 1),
        ("step", "3", 3),
        ("step", "1e+02", 100),
        ("step", -(2**63), -(2**63)),
        ("step", str(2**63 - 1), 2**63 - 1),
        ("timestamp", "1.5e3", 1500),
        ("value", "1e-5", 1e-05),
        ("value", 7, 7),
        ("value", "inf", "Infinity"),
    ],
)
def test_number_in_another_notation_is_accepted(call: Callable[..., Any], field: str, raw: Any, expected: Any) -> None:
    run_id = start_run(call)
    point = {"key": "m", "value": 0.5, "timestamp": 1000, "step": 0, field: raw}
    call("runs/log-metric", {"run_id": run_id, **point})
    call("runs/log-batch", {"run_id": run_id, "metrics": [point]})
    history = call("metrics/get-history", run_id=run_id, metric_key="m")["metrics"]
    assert [each[field] for each in history] == [expected, expected]


def test_null_field_is_ignored_and_an_empty_body_is_an_empty_object(
    call: Callable[..., Any], client: FlaskClient
) -> None:
    assert client.post(f"{API}/runs/create").status_code == 200
    run_id = start_run(call, experiment_id=None, tags=None, start_time=None)
    point = {"key": "m", "value": 1, "timestamp": 1, "step": None, "model_id": None}
    call("runs/log-metric", {"run_id": run_id, "run_uuid": None, **point})
    assert call("metrics/get-history", run_uuid=run_id, metric_key="m", max_results=1)["metrics"][0]["step"] == 0


def test_history_page_by_page(call: Callable[..., Any]) -> None:
    run_id = start_run(call)
    metrics = [{"key": "m", "value": step, "timestamp": 10 - step, "step": step} for step in range(5)]
    call("runs/log-batch", {"run_id": run_id, "metrics": metrics})
    page = call("metrics/get-history", run_id=run_id, metric_key="m", max_results=3)
    assert [each["step"] for each in page["metrics"]] == [4, 3, 2]
    assert json.loads(base64.b64decode(page["next_page_token"])) == {"offset": 3}
    last = call("metrics/get-history", run_id=run_id, metric_key="m", page_token=page["next_page_token"])
    assert [each["step"] for each in last["metrics"]] == [1, 0]
    assert "next_page_token" not in last


# -- conversions


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.01", 0.01),
        ("100", 100),
        ("1.0", 1.0),
        ("1e-05", 1e-05),
        ("-3", -3),
        *[(text, text) for text in ("007", "1e-5", "-0", "nan", "inf", "True", "None", "", "1_0", " 1", "1e400", "٣")],
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), str(2**63)),
    ],
)
def test_param_becomes_a_number_only_if_it_prints_as_the_same_text(text: str, value: Any) -> None:
    result = vocabulary.parse_value(text)
    assert (type(result), result) == (type(value), value)
    assert vocabulary.text_of(json.loads(json.dumps(result))) == text


def test_dataset_is_converted_to_mlflow_and_back() -> None:
    dataset = {
        "name": "iris",
        "role": "training",
        "hash": "d1",
        "source": '{"uri": "iris.csv"}',
        "source_type": "local",
        "schema": '{"mlflow_colspec": [{"name": "x"}, {"name": "y"}]}',
        "profile": '{"features_shape": [150, 4]}',
        "n_rows": 150,
        "features": ["x", "y"],
        "tags": {"k": "v"},
    }
    assert dataset_from_mlflow(dataset_to_mlflow(dataset)) == dataset
