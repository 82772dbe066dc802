"""Metrics over HTTP: the forms of a body, valid values, steps and times, and the series returned."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.snapshots import snapshot
from werkzeug.test import TestResponse

LogRun = Callable[..., str]
NDJSON = "application/x-ndjson"


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


@pytest.fixture
def data(shared_data: Path) -> Path:
    return shared_data


def post(client: FlaskClient, run_id: str, body: Any, content_type: str = "application/json") -> TestResponse:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.post(f"/api/w/runs/{run_id}/metrics", data=data, content_type=content_type)


def get_series(client: FlaskClient, run_id: str, **query: Any) -> dict[str, list[tuple[int, Any]]]:
    """Return the points of each series as (step, value)."""
    answer = client.get(f"/api/runs/{run_id}/metrics", query_string=query).get_json()
    return {key: [(point["step"], point["value"]) for point in one["points"]] for key, one in answer.items()}


# -- forms

FORMS: list[tuple[Any, int, dict[str, list[tuple[int, Any]]]]] = [
    # body, points, series
    ({"loss": 0.5}, 1, {"loss": [(0, 0.5)]}),
    ({"loss": 0.5, "step": 3}, 1, {"loss": [(3, 0.5)]}),
    ({"step": 12, "loss": 0.4, "accuracy": 0.9}, 2, {"loss": [(12, 0.4)], "accuracy": [(12, 0.9)]}),
    ({"metrics": {"loss": 0.5, "acc": 1}, "step": 3}, 2, {"loss": [(3, 0.5)], "acc": [(3, 1)]}),
    ({"metrics": {"step": 7, "metrics": 9}}, 2, {"step": [(0, 7)], "metrics": [(0, 9)]}),
    ({"metrics": 5}, 1, {"metrics": [(0, 5)]}),
    ({"metrics": 5, "loss": 1, "step": 2}, 2, {"metrics": [(2, 5)], "loss": [(2, 1)]}),
    ({"metrics": "NaN"}, 1, {"metrics": [(0, "NaN")]}),
    ({"timestamp": 5, "step": 2}, 1, {"timestamp": [(2, 5)]}),
    ([{"loss": 2, "step": 0}, {"loss": 1, "step": 1}], 2, {"loss": [(0, 2), (1, 1)]}),
    ([{"loss": 2}, {"metrics": {"loss": 1}, "step": 4}], 2, {"loss": [(0, 2), (4, 1)]}),
    ([], 0, {}),
    ({"a": "NaN", "b": "-Infinity", "step": 1}, 2, {"a": [(1, "NaN")], "b": [(1, "-Infinity")]}),
    ({"loss": 2**70}, 1, {"loss": [(0, 2**70)]}),
    ({"loss": 1, "step": -5}, 1, {"loss": [(-5, 1)]}),
    ({"loss": 1, "step": 2**63 - 1}, 1, {"loss": [(2**63 - 1, 1)]}),
    ({"loss": 1, "step": -(2**63)}, 1, {"loss": [(-(2**63), 1)]}),
]


@pytest.mark.parametrize(("body", "count", "expected"), FORMS, ids=lambda value: str(value)[:50])
def test_body_in_any_of_its_forms_is_logged(
    client: FlaskClient, log_run: LogRun, body: Any, count: int, expected: dict[str, Any]
) -> None:
    run_id = log_run()
    answer = post(client, run_id, body)
    assert (answer.status_code, answer.get_json()) == (200, {"ok": True, "logged": count})
    assert get_series(client, run_id) == expected
    if isinstance(body, dict):  # the same as a line of NDJSON, alone or among others
        run_id = log_run()
        answer = post(client, run_id, f'\n{json.dumps(body)}\r\n\n{{"other": 1}}', NDJSON)
        assert (answer.status_code, answer.get_json()) == (200, {"ok": True, "logged": count + 1})
        assert get_series(client, run_id) == {**expected, "other": [(0, 1)]}


BAD: list[Any] = [
    {},
    {"step": 1},
    {"metrics": {}},
    {"metrics": {}, "step": 1},
    {"metrics": None},
    {"metrics": [1]},
    {"metrics": "loss"},
    {"loss": True},
    {"loss": False},
    {"loss": "0.5"},
    {"loss": ""},
    {"loss": "nano"},
    {"loss": " nan"},
    {"loss": "infinit"},
    {"loss": None, "accuracy": True},
    {"loss": [0.5]},
    {"loss": {"value": 0.5}},
    {"loss": 1, "step": "1"},
    {"loss": 1, "step": 2.0**53 * 2},
    {"loss": 1, "step": 1.5},
    {"loss": 1, "step": True},
    {"loss": 1, "step": 2**63},
    {"loss": 1, "step": -(2**63) - 1},
    {"metrics": {"loss": 1}, "loss": 1},
    {"metrics": {"loss": 1}, "stpe": 1},
    {"metrics": {"loss": 1}, "step": "1"},
    {"metrics": {"loss": 1}, "timestamp": "now"},
    {"metrics": {"loss": 1}, "timestamp": 1.5},
    {"metrics": {"loss": 1}, "timestamp": True},
    {"metrics": {"loss": 1}, "timestamp": 2**63},
    {"metrics": {"loss": {"a": 1}}},
    {"": 1},
    {"a" * 251: 1},
    {"a\nb": 1},
    5,
    "loss",
    None,
]


@pytest.mark.parametrize("bad", BAD, ids=lambda value: str(value)[:50])
def test_batch_with_one_invalid_entry_stores_nothing(
    client: FlaskClient, log_run: LogRun, data: Path, bad: Any
) -> None:
    run_id = log_run(metrics={"loss": 1})
    before = snapshot(data)
    good = {"loss": 0.5, "step": 1}
    lines = "\n".join(json.dumps(each) for each in (good, bad, good))
    for answer in (
        post(client, run_id, bad),
        post(client, run_id, [good, bad]),
        post(client, run_id, [bad, good]),
        post(client, run_id, lines, NDJSON),
    ):
        assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
        assert snapshot(data) == before
    assert get_series(client, run_id) == {"loss": [(0, 1)]}


@pytest.mark.parametrize(
    "lines",
    [
        '{"a": 1} {"b": 2}',
        '{"a": 1},{"b": 2}',
        '{"a": 1},\n{"b": 2}',
        '{"a":\n1}',
        '[{"a": 1}]',
        '[\n{"a": 1}\n]',
        '{"a": 1}\n{"b": 2',
        '{"a": 1}\n"x"',
        '{"a": 1, "a": 2}',
        '{"a": 1}\n\ufeff{"b": 2}',
        '{"a": 1,\n"b": 2}\n{"c": 3}',
        '{"a": 1}{\n}{"b": 1}',
    ],
)
def test_ndjson_400_unless_each_line_is_one_object(client: FlaskClient, log_run: LogRun, lines: str) -> None:
    run_id = log_run()
    answer = post(client, run_id, lines, NDJSON)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "bad request")
    assert "line " in answer.get_json()["detail"]
    assert get_series(client, run_id) == {}


def test_batch_of_many_points_is_one_request(client: FlaskClient, log_run: LogRun) -> None:
    batch = [{"loss": 1 / (step + 1), "acc": step, "step": step} for step in range(10_000)]
    run_id = log_run(metrics=batch)
    assert get_series(client, run_id)["loss"] == [(entry["step"], entry["loss"]) for entry in batch]
    run_id = log_run()
    lines = "\n".join(map(json.dumps, batch))
    assert post(client, run_id, lines, NDJSON).get_json()["logged"] == 20_000
    assert len(get_series(client, run_id)["acc"]) == 10_000


# -- time


def test_point_without_a_timestamp_gets_the_time_of_its_arrival(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    before = int(time.time() * 1000)
    post(client, run_id, [{"a": 1}, {"metrics": {"b": 1}}, {"timestamp": 5}])
    after = int(time.time() * 1000)
    post(client, run_id, [{"metrics": {"c": 1}, "timestamp": 1763884800123}, {"metrics": {"d": 1}, "timestamp": -1}])
    points = client.get(f"/api/runs/{run_id}/metrics").get_json()
    stamps = {key: one["points"][0]["timestamp"] for key, one in points.items()}
    assert before <= stamps["a"] == stamps["b"] == stamps["timestamp"] <= after
    assert (stamps["c"], stamps["d"]) == (1763884800123, -1)


# -- the series returned


def test_points_are_ordered_by_step_and_then_by_arrival(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    for step, value in ((5, 1), (1, 2), (5, 3), (-1, 4), (1, 2)):
        post(client, run_id, {"loss": value, "step": step})
    assert get_series(client, run_id) == {"loss": [(-1, 4), (1, 2), (1, 2), (5, 1), (5, 3)]}
    answer = client.get(f"/api/runs/{run_id}/metrics").get_json()
    assert answer["loss"]["total"] == 5
    assert set(answer["loss"]["points"][0]) == {"step", "value", "timestamp"}


@pytest.mark.parametrize(
    ("points", "summary"),  # the summary in the order of its fields
    [
        ([(0, 5)], (1, 5, 5, 5, 5, 0, 0)),
        ([(0, 3), (1, 1), (2, 2)], (3, 3, 2, 1, 3, 2, 0)),
        # out of order: the last is the one at the greatest step
        ([(2, 2), (0, 3), (1, 1)], (3, 3, 2, 1, 3, 2, 0)),
        # of several at one step: the first logged is first, the last logged is last
        ([(1, 1), (0, 8), (1, 2), (0, 9), (1, 3)], (5, 8, 3, 1, 9, 1, 0)),
        ([(0, 1), (1, "NaN"), (2, "Infinity"), (3, "-Infinity")], (4, 1, "-Infinity", 1, 1, 3, 3)),
        ([(0, "NaN")], (1, "NaN", "NaN", None, None, 0, 1)),
        ([(-3, -2), (-1, -1)], (2, -2, -1, -2, -1, -1, 0)),
    ],
)
def test_summary_is_that_of_all_points(
    client: FlaskClient, log_run: LogRun, points: list[tuple[int, Any]], summary: tuple[Any, ...]
) -> None:
    one_by_one, at_once = log_run(), log_run()
    for step, value in points:
        post(client, one_by_one, {"m": value, "step": step})
    post(client, at_once, [{"m": value, "step": step} for step, value in points])
    for run_id in (one_by_one, at_once):
        run = client.get(f"/api/runs/{run_id}").get_json()
        fields = ("count", "first", "last", "min", "max", "last_step", "nonfinite")
        assert run["metric_summary"] == {"m": dict(zip(fields, summary, strict=True))}
        assert run["metrics"] == {"m": summary[2]}


def test_key_parameter_selects_one_series(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics={"loss": 1, "val/acc": 2})
    assert get_series(client, run_id, key="val/acc") == {"val/acc": [(0, 2)]}
    assert get_series(client, run_id, key="other") == {}
    assert get_series(client, log_run()) == {}


@pytest.mark.parametrize(
    ("since", "steps"), [(-1, [0, 1, 1, 2]), (0, [1, 1, 2]), (1, [2]), (2, []), (10**18, []), (-(2**63), [0, 1, 1, 2])]
)
def test_since_step_returns_only_greater_steps_and_the_total_of_all(
    client: FlaskClient, log_run: LogRun, since: int, steps: list[int]
) -> None:
    run_id = log_run(metrics=[{"loss": 1, "step": step} for step in (0, 1, 1, 2)])
    assert [step for step, _ in get_series(client, run_id, since_step=since).get("loss", [])] == steps
    assert client.get(f"/api/runs/{run_id}/metrics?since_step={since}").get_json()["loss"]["total"] == 4


@pytest.mark.parametrize(
    "query", ["max_points=0", "max_points=-1", "max_points=x", "max_points=", "since_step=1.5", "keys=a"]
)
def test_invalid_query_string_is_400(client: FlaskClient, log_run: LogRun, query: str) -> None:
    assert client.get(f"/api/runs/{log_run()}/metrics?{query}").status_code == 400


@pytest.mark.parametrize("max_points", [1, 2, 3, 4, 5, 10, 50, 100, 999])
def test_thinned_series_keeps_its_ends_and_extremes(client: FlaskClient, log_run: LogRun, max_points: int) -> None:
    values = [math.sin(step / 50) for step in range(1000)]
    values[333], values[777] = 50.0, -50.0
    run_id = log_run(metrics=[{"m": value, "step": step} for step, value in enumerate(values)])
    points = get_series(client, run_id, max_points=max_points)["m"]
    assert 1 <= len(points) <= max_points
    assert points == sorted(points)
    assert all(values[step] == value for step, value in points)
    assert client.get(f"/api/runs/{run_id}/metrics?max_points={max_points}").get_json()["m"]["total"] == 1000
    if max_points >= 4:
        assert {(333, 50.0), (777, -50.0), (0, values[0]), (999, values[999])} <= set(points)


def test_thinned_series_shows_only_the_last_of_several_at_one_step(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics=[{"m": value, "step": step} for step, value in ((0, 1), (1, 9), (0, 2), (1, 3))])
    assert get_series(client, run_id, max_points=100) == {"m": [(0, 2), (1, 3)]}
    answer = client.get(f"/api/runs/{run_id}/metrics?max_points=100").get_json()
    assert answer["m"]["total"] == 4
    assert len(get_series(client, run_id)["m"]) == 4


def test_repeated_post_changes_neither_the_latest_value_nor_a_thinned_series(
    client: FlaskClient, log_run: LogRun
) -> None:
    batch = [{"loss": 1 / (step + 1), "step": step} for step in range(5)]
    run_id = log_run(metrics=batch)
    before = client.get(f"/api/runs/{run_id}").get_json()["metrics"], get_series(client, run_id, max_points=10)
    assert post(client, run_id, batch).status_code == 200
    assert (
        client.get(f"/api/runs/{run_id}").get_json()["metrics"],
        get_series(client, run_id, max_points=10),
    ) == before


def test_nonfinite_values_are_stored_and_encoded_as_strings(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics=[{"loss": 0.5, "step": 0}, {"loss": math.nan, "step": 1}, {"loss": math.inf, "step": 2}])
    text = client.get(f"/api/runs/{run_id}/metrics").text + client.get(f"/api/runs/{run_id}").text
    for bare in (": NaN", ": Infinity", ": -Infinity", ":NaN"):
        assert bare not in text
    assert get_series(client, run_id)["loss"] == [(0, 0.5), (1, "NaN"), (2, "Infinity")]
