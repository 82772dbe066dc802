"""A run logged by MLflow's protocol as it looks natively, one logged natively as it looks to MLflow, bodies as sent."""

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
def ask(client: FlaskClient) -> Callable[..., Any]:
    """Send fields to a route of MLflow's and give the answer's; a GET without `body`."""

    def send(route: str, body: Any = None, **query: Any) -> Any:
        if body is None:
            answer = client.get(f"{API}/{route}", query_string=query)
        elif isinstance(body, str):
            answer = client.post(f"{API}/{route}", data=body, content_type="application/json; charset=utf-8")
        else:
            answer = client.post(f"{API}/{route}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    return send


def start(ask: Callable[..., Any], **fields: Any) -> str:
    run_id: str = ask("runs/create", fields)["run"]["info"]["run_id"]
    return run_id


# -- what MLflow's clients log, natively


def test_run_of_mlflow_looks_native(client: FlaskClient, ask: Callable[..., Any], data: Path) -> None:
    experiment = ask("experiments/create", {"name": "iris", "tags": [{"key": "team", "value": "a"}]})["experiment_id"]
    tags = {
        "mlflow.runName": "first",
        "mlflow.user": "maria",
        "mlflow.note.content": "A *note*",
        "mlflow.parentRunId": "the-parent",
        "mlflow.source.name": "train.py",
    }
    run_id = start(
        ask, experiment_id=experiment, start_time=1000, tags=[{"key": key, "value": tags[key]} for key in tags]
    )
    params = {"lr": "0.01", "epochs": "100", "seed": "007", "on": "True", "net": "resnet", "none": "None"}
    metrics = [{"key": "loss", "value": 0.5 / step, "timestamp": 1000 + step, "step": step} for step in (1, 2)]
    metrics.append({"key": "acc", "value": "NaN", "timestamp": 5, "step": 0})
    ask("runs/log-batch", {"run_id": run_id, "metrics": metrics, "params": pairs(params)})
    client.put(f"{FILES}/{experiment}/{run_id}/artifacts/model/weights.bin", data=b"weights")
    ask("runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": 9000})
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["experiment"], run["name"], run["created_by"], run["note"]) == ("iris", "first", "maria", "A *note*")
    assert (run["parent_run_id"], run["tags"]) == ("the-parent", {"mlflow.source.name": "train.py"})
    assert (run["status"], run["start_time"], run["end_time"], run["error"]) == ("completed", 1000, 9000, None)
    expected = {"lr": 0.01, "epochs": 100, "seed": "007", "on": "True", "net": "resnet", "none": "None"}
    assert json.dumps(run["params"]) == json.dumps(expected)
    assert run["metrics"] == {"loss": 0.25, "acc": "NaN"}
    assert [each["name"] for each in run["artifacts"]] == ["model/weights.bin"]
    found = client.get(f"/api/runs/{run_id}/metrics?key=loss").get_json()["loss"]["points"]
    assert found == [{"step": step, "value": 0.5 / step, "timestamp": 1000 + step} for step in (1, 2)]
    assert (data / "runs" / run_id / "blobs/model/weights.bin").read_bytes() == b"weights"
    assert client.get("/api/experiments/iris").get_json()["tags"] == {"team": "a"}
    for page in (f"/runs/{run_id}", "/runs?q=params.lr < 0.1", "/experiments/iris"):
        assert run_id in client.get(page).text, page
    assert client.get("/api/runs?q=params.epochs >= 100").headers["X-Total-Count"] == "1"


def pairs(values: dict[str, str]) -> list[dict[str, str]]:
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
def test_status_natively(
    client: FlaskClient, ask: Callable[..., Any], word: str | int, status: str, error: str | None
) -> None:
    run_id = start(ask)
    info = ask("runs/update", {"run_id": run_id, "status": word})["run_info"]
    assert info["status"] == (word if word not in (3, "5") else {3: "FINISHED", "5": "KILLED"}[word])
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["status"], run["error"]) == (status, error)


def test_scheduled_lasts_until_the_next_status(ask: Callable[..., Any], client: FlaskClient, data: Path) -> None:
    run_id = start(ask)
    meta = data / "runs" / run_id / "meta.json"
    ask("runs/update", {"run_id": run_id, "status": "SCHEDULED"})
    assert json.loads(meta.read_text())["mlflow"] == {"status": "SCHEDULED"}
    ask("runs/update", {"run_id": run_id, "run_name": "other"})
    assert ask("runs/get", run_id=run_id)["run"]["info"]["status"] == "SCHEDULED"
    ask("runs/update", {"run_id": run_id, "status": "RUNNING"})
    assert "status" not in json.loads(meta.read_text())["mlflow"]
    assert ask("runs/get", run_id=run_id)["run"]["info"]["status"] == "RUNNING"


def test_resumed_run_has_no_end(ask: Callable[..., Any], client: FlaskClient) -> None:
    run_id = start(ask)
    ended = ask("runs/update", {"run_id": run_id, "status": "FAILED", "end_time": 2**41})["run_info"]
    info = ask("runs/update", {"run_id": run_id, "status": "RUNNING", "end_time": ended["end_time"]})["run_info"]
    assert "end_time" not in info
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["status"], run["end_time"], run["error"]) == ("running", None, None)
    assert run["resumed_at"] > 2**41
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1}).status_code == 200


def test_tag_that_can_be_no_field_stays_a_tag(ask: Callable[..., Any], client: FlaskClient) -> None:
    run_id = start(ask, run_name="named")
    for key, value in (("mlflow.runName", "a\nb"), ("mlflow.parentRunId", "no id"), ("mlflow.note.content", "")):
        ask("runs/set-tag", {"run_id": run_id, "key": key, "value": value})
        found = ask("runs/get", run_id=run_id)["run"]["data"]["tags"]
        assert {"key": key, "value": value} in found
        assert client.get(f"/api/runs/{run_id}").get_json()["tags"][key] == value
    ask("runs/set-tag", {"run_id": run_id, "key": "mlflow.runName", "value": "again"})
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["name"], "mlflow.runName" in run["tags"]) == ("again", False)
    for key in ("mlflow.runName", "mlflow.parentRunId", "mlflow.note.content"):
        ask("runs/delete-tag", {"run_id": run_id, "key": key})
    assert ask("runs/get", run_id=run_id)["run"]["data"]["tags"] == []


def test_ended_run_takes_mlflows_writes_and_no_native_ones(ask: Callable[..., Any], client: FlaskClient) -> None:
    run_id = start(ask)
    ask("runs/update", {"run_id": run_id, "status": "FINISHED"})
    ask("runs/log-metric", {"run_id": run_id, "key": "late", "value": 1, "timestamp": 1})
    assert client.put(f"{FILES}/0/{run_id}/artifacts/late.txt", data=b"x").status_code == 200
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"late": 2}).status_code == 404
    run = client.get(f"/api/runs/{run_id}").get_json()
    assert (run["metrics"], run["status"]) == ({"late": 1}, "completed")


def test_model_history_of_2x_is_a_tag(ask: Callable[..., Any], client: FlaskClient) -> None:
    run_id = start(ask)
    for path in ("one", "two"):
        text = json.dumps({"artifact_path": path, "flavors": {"sklearn": {}}, "run_id": run_id})
        ask("runs/log-model", {"run_id": run_id, "model_json": text})
    history = json.loads(client.get(f"/api/tags/{run_id}").get_json()["mlflow.log-model.history"])
    assert [each["artifact_path"] for each in history] == ["one", "two"]


def test_get_run_does_not_read_its_points(
    ask: Callable[..., Any], make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(ask)
    ask("runs/log-metric", {"run_id": run_id, "key": "loss", "value": 1, "timestamp": 1})
    ask("runs/update", {"run_id": run_id, "status": "FINISHED"})
    before = ask("runs/get", run_id=run_id)

    def refuse(*_: Any) -> Any:
        raise AssertionError("points were parsed")

    monkeypatch.setattr(points, "parse_points", refuse)
    fresh = make_app().test_client()
    assert fresh.get(f"{API}/runs/get", query_string={"run_id": run_id}).get_json() == before


# -- what is logged natively, to MLflow


def test_native_run_looks_right_to_mlflow(client: FlaskClient, log_run: Callable[..., str], ask: Any) -> None:
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
    experiment = ask("experiments/get-by-name", experiment_name="wine")["experiment"]
    run = ask("runs/search", {"experiment_ids": [experiment["experiment_id"]]})["runs"][0]
    assert run == ask("runs/get", run_id=run_id)["run"]
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
    own = {"mlflow.runName": "by curl", "mlflow.user": "maria", "mlflow.note.content": "n"}
    assert tags == {"gpu": "true", "n": "1.5", "text": "t", **own}
    (metric,) = run["data"]["metrics"]
    assert (metric["key"], metric["value"], metric["step"]) == ("loss", 0.5, 3)
    (used,) = run["inputs"]["dataset_inputs"]
    assert used["tags"] == [{"key": "mlflow.data.context", "value": "train"}]
    assert (used["dataset"]["name"], json.loads(used["dataset"]["profile"])) == ("iris.csv", {"num_rows": 150})
    listed = ask("artifacts/list", run_id=run_id)
    assert listed["root_uri"] == info["artifact_uri"]
    assert listed["files"] == [
        {"path": "a", "is_dir": True},
        {"path": "model.pkl", "is_dir": False, "file_size": 1},
    ]
    assert ask("artifacts/list", run_id=run_id, path="a")["files"] == [
        {"path": "a/b.txt", "is_dir": False, "file_size": 4}
    ]
    assert client.get(f"{FILES}/any/{run_id}/artifacts/a/b.txt").data == b"text"
    ask("runs/log-parameter", {"run_id": run_id, "key": "n", "value": "100"})
    assert (
        client.post(f"{API}/runs/log-parameter", json={"run_id": run_id, "key": "n", "value": "100.0"}).status_code
        == 400
    )


def test_experiment_is_a_function_of_its_name(log_run: Callable[..., str], ask: Any) -> None:
    for name in ("iris", "größe", "a/b"):
        log_run(name)
        found = ask("experiments/get-by-name", experiment_name=name)["experiment"]
        assert found["experiment_id"] == vocabulary.experiment_id(name)
        assert ask("experiments/get", experiment_id=found["experiment_id"])["experiment"] == found
        assert found["creation_time"] == found["last_update_time"] > 0
    assert vocabulary.experiment_id("iris") == "321464983804177632", "another one would part clients from their runs"
    assert {each["name"] for each in ask("experiments/search", {})["experiments"]} == {
        "Default",
        "iris",
        "größe",
        "a/b",
    }


# -- bodies as other clients send them


def test_bodies_of_r(ask: Callable[..., Any], client: FlaskClient) -> None:
    """R's client sends all of its numbers as texts, as R prints them."""
    created = ask("runs/create", '{"experiment_id":"0","user_id":"r","start_time":"1.7e+12","tags":[]}')
    run_id = created["run"]["info"]["run_id"]
    assert created["run"]["info"]["start_time"] == 1_700_000_000_000
    for text in (
        '"value":"0.25","timestamp":"1700000000123","step":"0"',
        '"value":"1e+05","timestamp":"1.7e+12","step":"1e+05"',
        '"value":"NaN","timestamp":"1700000000124","step":"3"',
        '"value":"-Infinity","timestamp":"1700000000125","step":"4"',
    ):
        ask("runs/log-metric", f'{{"run_uuid":"{run_id}","run_id":"{run_id}","key":"m",{text}}}')
    found = ask("metrics/get-history", run_uuid=run_id, run_id=run_id, metric_key="m")["metrics"]
    assert [(each["value"], each["timestamp"], each["step"]) for each in found] == [
        (100_000.0, 1_700_000_000_000, 100_000),
        (0.25, 1_700_000_000_123, 0),
        ("NaN", 1_700_000_000_124, 3),
        ("-Infinity", 1_700_000_000_125, 4),
    ]
    ask("runs/update", f'{{"run_uuid":"{run_id}","status":"FINISHED","end_time":"1700000009000"}}')
    assert ask("runs/get", run_uuid=run_id)["run"]["info"]["end_time"] == 1_700_000_009_000


def test_bodies_of_java(ask: Callable[..., Any]) -> None:
    """Java's client sends integers of 64 bits as texts and asks for lists by GET."""
    run_id = ask("runs/create", '{"experiment_id":"0","start_time":"1700000000000"}')["run"]["info"]["run_id"]
    metric = '{"key":"m","value":0.5,"timestamp":"1700000000001","step":"3"}'
    ask("runs/log-batch", f'{{"run_id":"{run_id}","metrics":[{metric}],"params":[{{"key":"p","value":"1"}}]}}')
    ask("runs/update", f'{{"run_id":"{run_id}","status":"FAILED","end_time":"1700000000009"}}')
    run = ask("runs/search", '{"experiment_ids":["0"],"run_view_type":"ACTIVE_ONLY","max_results":5}')["runs"][0]
    assert (run["info"]["run_id"], run["info"]["status"]) == (run_id, "FAILED")
    assert run["data"]["metrics"] == [{"key": "m", "value": 0.5, "timestamp": 1_700_000_000_001, "step": 3}]
    assert ask("experiments/search", max_results="5", view_type="ACTIVE_ONLY")["experiments"][0]["name"] == "Default"


@pytest.mark.parametrize(
    ("field", "sent", "stored"),
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
def test_number_spelled_otherwise(ask: Callable[..., Any], field: str, sent: Any, stored: Any) -> None:
    run_id = start(ask)
    point = {"key": "m", "value": 0.5, "timestamp": 1000, "step": 0, field: sent}
    ask("runs/log-metric", {"run_id": run_id, **point})
    ask("runs/log-batch", {"run_id": run_id, "metrics": [point]})
    found = ask("metrics/get-history", run_id=run_id, metric_key="m")["metrics"]
    assert [each[field] for each in found] == [stored, stored]


def test_null_is_absent_and_an_empty_body_an_empty_object(ask: Callable[..., Any], client: FlaskClient) -> None:
    assert client.post(f"{API}/runs/create").status_code == 200
    run_id = start(ask, experiment_id=None, tags=None, start_time=None)
    point = {"key": "m", "value": 1, "timestamp": 1, "step": None, "model_id": None}
    ask("runs/log-metric", {"run_id": run_id, "run_uuid": None, **point})
    assert ask("metrics/get-history", run_uuid=run_id, metric_key="m", max_results=1)["metrics"][0]["step"] == 0


def test_history_pages(ask: Callable[..., Any]) -> None:
    run_id = start(ask)
    sent = [{"key": "m", "value": step, "timestamp": 10 - step, "step": step} for step in range(5)]
    ask("runs/log-batch", {"run_id": run_id, "metrics": sent})
    page = ask("metrics/get-history", run_id=run_id, metric_key="m", max_results=3)
    assert [each["step"] for each in page["metrics"]] == [4, 3, 2]
    assert json.loads(base64.b64decode(page["next_page_token"])) == {"offset": 3}
    last = ask("metrics/get-history", run_id=run_id, metric_key="m", page_token=page["next_page_token"])
    assert [each["step"] for each in last["metrics"]] == [1, 0]
    assert "next_page_token" not in last


# -- the tables


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
def test_text_becomes_the_number_whose_text_it_is(text: str, value: Any) -> None:
    found = vocabulary.parse_value(text)
    assert (type(found), found) == (type(value), value)
    assert vocabulary.text_of(json.loads(json.dumps(found))) == text


def test_data_set_there_and_back() -> None:
    described = {
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
    assert dataset_from_mlflow(dataset_to_mlflow(described)) == described
