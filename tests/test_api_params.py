"""Params over HTTP: any JSON value, set only once; a request stores all or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.snapshots import snapshot

LogRun = Callable[..., str]

VALUES: dict[str, Any] = {
    "float": 0.01,
    "int": 100,
    "large int": 2**64 + 1,
    "negative zero": -0.0,
    "string": "adam",
    "empty string": "",
    "text of several lines": "a\nb\t\x00c",
    "unicode": "größe 大 😀",
    "true": True,
    "false": False,
    "null": None,
    "list": [1, 2.5, "x", None, [True]],
    "object": {"a": {"b": [1]}, "": 0},
    "empty list": [],
    "empty object": {},
    "the string NaN": "NaN",
}


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


@pytest.fixture
def data(shared_data: Path) -> Path:
    return shared_data


def test_any_json_value_is_stored_and_returned_unchanged(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run()
    answer = client.post(f"/api/w/runs/{run_id}/params", data=json.dumps(VALUES), content_type="application/json")
    assert (answer.status_code, answer.get_json()) == (200, {"ok": True})
    assert repr(client.get(f"/api/runs/{run_id}").get_json()["params"]) == repr(VALUES)
    assert repr(json.loads((data / "runs" / run_id / "params.json").read_text())) == repr(VALUES)


@pytest.mark.parametrize("key", VALUES)
def test_repeated_value_changes_nothing(client: FlaskClient, log_run: LogRun, data: Path, key: str) -> None:
    run_id = log_run(params={"value": VALUES[key]})
    before = snapshot(data)
    assert client.post(f"/api/w/runs/{run_id}/params", json={"value": VALUES[key]}).status_code == 200
    assert snapshot(data) == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (0.01, 0.02),
        (1, "1"),
        (1, True),
        (0, False),
        (0, None),
        ("", None),
        ("adam", "Adam"),
        ([1, 2], [2, 1]),
        ([], {}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": [1]}, {"a": [True]}),
        (2**53, 2**53 + 1),
    ],
)
def test_different_value_is_409_in_either_order(client: FlaskClient, log_run: LogRun, first: Any, second: Any) -> None:
    for one, other in ((first, second), (second, first)):
        run_id = log_run(params={"value": one})
        answer = client.post(f"/api/w/runs/{run_id}/params", json={"value": other})
        assert (answer.status_code, answer.get_json()["error"]) == (409, "conflict")
        assert "'value'" in answer.get_json()["detail"]
        assert client.get(f"/api/runs/{run_id}").get_json()["params"] == {"value": one}


@pytest.mark.parametrize(("first", "second"), [(1, 1.0), (100, 1e2), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1})])
def test_number_is_the_same_in_any_notation(client: FlaskClient, log_run: LogRun, first: Any, second: Any) -> None:
    run_id = log_run(params={"value": first})
    assert client.post(f"/api/w/runs/{run_id}/params", json={"value": second}).status_code == 200
    assert repr(client.get(f"/api/runs/{run_id}").get_json()["params"]) == repr({"value": first})


@pytest.mark.parametrize("bad", [{"lr": 0.2}, {"": 1}, {"a\x00": 1}, {"a" * 251: 1}])
def test_request_with_one_invalid_param_stores_nothing(
    client: FlaskClient, log_run: LogRun, data: Path, bad: dict[str, Any]
) -> None:
    run_id = log_run(params={"lr": 0.1})
    before = snapshot(data)
    for body in ({"new": 1, **bad}, {**bad, "new": 1}):
        assert client.post(f"/api/w/runs/{run_id}/params", json=body).status_code in (400, 409)
        assert snapshot(data) == before


def test_params_accumulate_in_the_order_of_their_arrival(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(params={"z": 1})
    for body in ({"a": 2, "z": 1}, {}, {"m": 3}):
        assert client.post(f"/api/w/runs/{run_id}/params", json=body).status_code == 200
    assert list(client.get(f"/api/runs/{run_id}").get_json()["params"].items()) == [("z", 1), ("a", 2), ("m", 3)]


def test_value_may_be_as_long_as_a_body(client: FlaskClient, log_run: LogRun) -> None:
    text = "x" * 1_000_000
    run_id = log_run(params={"prompt": text})
    assert client.get(f"/api/runs/{run_id}").get_json()["params"]["prompt"] == text
