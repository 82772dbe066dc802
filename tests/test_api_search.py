"""GET /api/search: runs by the latest value of a metric. GET /api/experiments: their counts by status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

LogRun = Callable[..., str]


def search(client: FlaskClient, key: str, op: str, value: Any, **more: Any) -> list[str]:
    query = {"metric_key": key, "op": op, "metric_value": value, **more}
    answer = client.get("/api/search", query_string=query)
    assert answer.status_code == 200, answer.text
    return [run["name"] for run in answer.get_json()]


@pytest.mark.parametrize(
    ("ops", "names"),
    [
        (("<", "lt"), ["low"]),
        (("<=", "le"), ["mid", "low"]),
        (("=", "==", "eq", " eq ", "EQ"), ["mid"]),
        (("!=", "ne"), ["nan", "high", "low"]),
        ((">=", "ge"), ["high", "mid"]),
        ((">", "gt"), ["high"]),
    ],
)
def test_operator_is_a_sign_or_a_word(
    client: FlaskClient, log_run: LogRun, ops: tuple[str, ...], names: list[str]
) -> None:
    for name, value in (("low", 0.1), ("mid", 0.5), ("high", 2)):
        log_run(name=name, metrics={"loss": value})
    log_run(name="nan", metrics={"loss": "NaN"})
    log_run(name="without", metrics={"other": 0.5})
    for op in ops:
        assert search(client, "loss", op, "0.5") == names


def test_search_compares_only_the_latest_value(client: FlaskClient, log_run: LogRun) -> None:
    log_run(name="fell", metrics=[{"acc": 0.9, "step": 1}, {"acc": 0.1, "step": 2}, {"acc": 0.95, "step": 0}])
    assert search(client, "acc", "gt", 0.5) == []
    assert search(client, "acc", "lt", 0.5) == ["fell"]


@pytest.mark.parametrize(
    ("op", "value", "names"),
    [
        ("eq", "Infinity", ["inf"]),
        ("ge", "-Infinity", ["one", "inf"]),
        ("lt", "Infinity", ["one"]),
        ("eq", "NaN", []),
        ("ne", "NaN", ["nan", "one", "inf"]),
        ("ge", "1e+0", ["one", "inf"]),
        ("eq", ".1e1", ["one"]),
        ("lt", "-0.5", []),
        ("lt", "+5", ["one"]),
    ],
)
def test_value_is_a_number_in_any_notation_nan_or_infinity(
    client: FlaskClient, log_run: LogRun, op: str, value: str, names: list[str]
) -> None:
    for name, stored_value in (("inf", "Infinity"), ("one", 1), ("nan", "NaN")):
        log_run(name=name, metrics={"m": stored_value})
    assert search(client, "m", op, value) == names


def test_unescaped_plus_in_a_value_is_a_plus(client: FlaskClient, log_run: LogRun) -> None:
    log_run(name="large", metrics={"m": 100000})
    for value in ("1e+5", "+1e5", "+100000"):
        assert len(client.get(f"/api/search?metric_key=m&op==&metric_value={value}").get_json()) == 1


def test_experiment_narrows_the_search(client: FlaskClient, log_run: LogRun) -> None:
    log_run(name="mine", experiment="a", metrics={"m": 1})
    log_run(name="other", experiment="b", metrics={"m": 1})
    assert search(client, "m", "ge", 1, experiment="a") == ["mine"]
    assert search(client, "m", "ge", 1) == ["other", "mine"]


def test_results_are_the_same_as_in_the_list_of_runs(client: FlaskClient, log_run: LogRun) -> None:
    log_run(params={"lr": 1}, metrics={"m": 1}, tags={"a": "b"}, end="completed")
    answer = client.get("/api/search?metric_key=m&op=ge&metric_value=1")
    assert answer.get_json() == client.get("/api/runs").get_json()
    assert answer.headers["X-Total-Count"] == "1"


def test_search_returns_all_matches_without_a_limit(client: FlaskClient, log_run: LogRun) -> None:
    for number in range(105):
        log_run(name=str(number), metrics={"m": number % 7})
    assert len(search(client, "m", "ge", 0)) == 105
    query = {"metric_key": "m", "op": ">=", "metric_value": 5, "limit": 10, "order_by": "metrics.m"}
    first = client.get("/api/search", query_string=query)
    assert [run["metrics"]["m"] for run in first.get_json()] == [5] * 10
    assert first.headers["X-Total-Count"] == "30"
    names = [run["name"] for run in first.get_json()]
    following = first
    while "Link" in following.headers:
        url, _, rel = following.headers["Link"].partition(">; ")
        assert rel == 'rel="next"'
        following = client.get(url[1:])
        names += [run["name"] for run in following.get_json()]
    assert len(names) == len(set(names)) == 30


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?metric_key=m",
        "?metric_key=m&op=ge",
        "?op=ge&metric_value=1",
        "?metric_key=&op=ge&metric_value=1",
        "?metric_key=m&op=&metric_value=1",
        "?metric_key=m&op=~&metric_value=1",
        "?metric_key=m&op=ge&metric_value=",
        "?metric_key=m&op=ge&metric_value=much",
        "?metric_key=m&op=ge&metric_value=1e999",
        "?metric_key=m&op=ge&metric_value=inf",
        "?metric_key=m&op=ge&metric_value=1_0",
        "?metric_key=m&op=ge&metric_value=1&limit=0",
        "?metric_key=m&op=ge&metric_value=1&limit=1001",
        "?metric_key=m&op=ge&metric_value=1&status=running",
        "?metric_key=m&op=ge&metric_value=" + "9" * 400,
    ],
)
def test_invalid_search_is_400(client: FlaskClient, log_run: LogRun, query: str) -> None:
    log_run(metrics={"m": 1})
    answer = client.get(f"/api/search{query}")
    assert answer.status_code == 400
    assert set(answer.get_json()) == {"error", "detail"}


def test_experiments_are_counted_by_status_with_the_newest_first(client: FlaskClient, log_run: LogRun) -> None:
    log_run(experiment="old", end="completed")
    log_run(experiment="old", end="failed")
    log_run(experiment="new")
    last_old = log_run(experiment="old")
    log_run(experiment="new", end="completed")
    start_times = {run["id"]: run["start_time"] for run in client.get("/api/runs").get_json()}
    keys = ("name", "description", "runs", "last_start_time", "by_status")
    experiments = [{key: each[key] for key in keys} for each in client.get("/api/experiments").get_json()]
    assert experiments == [
        {
            "name": "new",
            "description": None,
            "runs": 2,
            "last_start_time": max(start_times.values()),
            "by_status": {"running": 1, "completed": 1, "failed": 0},
        },
        {
            "name": "old",
            "description": None,
            "runs": 3,
            "last_start_time": start_times[last_old],
            "by_status": {"running": 1, "completed": 1, "failed": 1},
        },
    ]


def test_store_without_runs_has_no_experiments(client: FlaskClient) -> None:
    assert client.get("/api/experiments").get_json() == []
