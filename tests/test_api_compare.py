"""GET /api/compare and /api/diff: common and differing params, metrics and environments of runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

LogRun = Callable[..., str]


def compare(client: FlaskClient, *ids: str) -> Any:
    answer = client.get("/api/compare", query_string={"ids": ",".join(ids)})
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_params_and_latest_metrics_are_sorted_into_same_differ_and_partial(
    client: FlaskClient, log_run: LogRun
) -> None:
    one = log_run(
        params={"epochs": 100, "lr": 0.01, "solver": "adam"},
        metrics=[{"loss": 9.0, "acc": 0.5, "step": 0}, {"loss": 0.5, "acc": 0.9, "step": 1}],
    )
    other = log_run(params={"epochs": 100, "lr": 0.1}, metrics={"loss": 0.5, "acc": 0.8, "f1": 0.7})
    assert compare(client, one, other) == {
        "runs": [one, other],
        "params": {"same": {"epochs": 100}, "differ": {"lr": [0.01, 0.1]}, "partial": {"solver": ["adam", None]}},
        "metrics": {"same": {"loss": 0.5}, "differ": {"acc": [0.9, 0.8]}, "partial": {"f1": [None, 0.7]}},
        "env": {"same": {}, "differ": {}, "partial": {}},
    }


def test_values_are_in_the_order_of_the_ids(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(params={"lr": number}) for number in range(3)]
    reordered_ids = [ids[2], ids[0], ids[1]]
    answer = compare(client, *reordered_ids)
    assert answer["runs"] == reordered_ids
    assert answer["params"]["differ"] == {"lr": [2, 0, 1]}


def test_key_missing_in_one_of_three_runs_is_partial(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(params={"lr": 1}), log_run(params={"lr": 1}), log_run()]
    assert compare(client, *ids)["params"] == {"same": {}, "differ": {}, "partial": {"lr": [1, 1, None]}}


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (1, 1.0, "same"),
        (True, 1, "differ"),
        ("1", 1, "differ"),
        (None, None, "same"),
        (None, 0, "differ"),
        ({"a": [1, 2]}, {"a": [1.0, 2]}, "same"),
        ({"a": [1, True]}, {"a": [1, 1]}, "differ"),
        ([1, 2], [2, 1], "differ"),
    ],
)
def test_params_are_the_same_if_their_json_values_are_equal(
    client: FlaskClient, log_run: LogRun, one: Any, other: Any, kind: str
) -> None:
    answer = compare(client, log_run(params={"p": one}), log_run(params={"p": other}))["params"]
    assert [name for name in answer if "p" in answer[name]] == [kind]


def test_equal_nonfinite_metrics_are_the_same_and_encoded_as_strings(client: FlaskClient, log_run: LogRun) -> None:
    one = log_run(metrics={"a": "NaN", "b": "NaN", "c": "Infinity"})
    other = log_run(metrics={"a": "NaN", "b": 0.5, "c": "-Infinity"})
    assert compare(client, one, other)["metrics"] == {
        "same": {"a": "NaN"},
        "differ": {"b": ["NaN", 0.5], "c": ["Infinity", "-Infinity"]},
        "partial": {},
    }


def test_unknown_id_among_known_ones_is_404(client: FlaskClient, log_run: LogRun) -> None:
    answer = client.get(f"/api/compare?ids={log_run()},nobody")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")


def test_trailing_comma_and_spaces_in_ids_are_ignored(client: FlaskClient, log_run: LogRun) -> None:
    one, other = log_run(), log_run()
    assert compare(client, one, f" {other}", "")["runs"] == [one, other]


def test_ids_may_be_repeated_as_a_form_with_checkboxes_sends_them(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run() for _ in range(3)]
    answer = client.get("/api/compare", query_string={"ids": [ids[2], f"{ids[0]},{ids[1]}"]})
    assert answer.get_json()["runs"] == [ids[2], ids[0], ids[1]]


def test_compare_accepts_2_to_100_runs(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    statuses = {
        count: client.get("/api/compare", query_string={"ids": ",".join([run_id] * count)}).status_code
        for count in (1, 2, 100, 101)
    }
    assert statuses == {1: 400, 2: 200, 100: 200, 101: 400}


@pytest.mark.parametrize("query", ["", "?ids=", "?ids=,", "?id=a,b"])
def test_comparison_without_ids_is_400(client: FlaskClient, query: str) -> None:
    assert client.get(f"/api/compare{query}").status_code == 400


def register(client: FlaskClient, run_id: str, name: str = "iris model") -> None:
    body = {"name": name, "run_id": run_id, "artifact": "m"}
    assert client.post("/api/w/models", json=body).status_code == 200


def test_diff_compares_the_runs_of_two_versions(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(params={"lr": lr}, artifacts={"m": b"1"}) for lr in (0.1, 0.2, 0.1)]
    for run_id in ids:
        register(client, run_id)
    answer = client.get("/api/diff/iris%20model/2/1")
    assert answer.get_json()["runs"] == [ids[1], ids[0]]
    assert answer.get_json()["params"]["differ"] == {"lr": [0.2, 0.1]}
    assert client.get("/api/diff/iris%20model/1/3").get_json() == compare(client, ids[0], ids[2])


def test_diff_accepts_stages_for_versions(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(artifacts={"m": b"1"}) for _ in range(2)]
    for run_id in ids:
        register(client, run_id)
    client.post("/api/w/models/iris%20model/promote", json={"version": 1, "stage": "production"})
    assert client.get("/api/diff/iris%20model/production/2").get_json()["runs"] == ids


@pytest.mark.parametrize("path", ["nobody/1/1", "iris%20model/1/9", "iris%20model/staging/1", "iris%20model/1/0"])
def test_diff_of_an_unknown_model_or_version_is_404(client: FlaskClient, log_run: LogRun, path: str) -> None:
    register(client, log_run(artifacts={"m": b"1"}))
    answer = client.get(f"/api/diff/{path}")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such model")


def test_ids_are_parsed_in_the_same_way_everywhere(client: FlaskClient, log_run: LogRun) -> None:
    """Several in one field, separated by commas, or one field each."""
    for run_id in ("a", "b", "c"):
        log_run(id=run_id, metrics=[{"loss": 2, "step": 0}, {"loss": 1, "step": 1}])
    for path in ("/api/compare", "/api/digests", "/compare", "/compare/charts", "/compare/charts.svg", "/runs"):
        key = "&key=loss" if "charts" in path else ""
        answers = [client.get(f"{path}?{ids}{key}") for ids in ("ids=a,b,c", "ids=a&ids=b&ids=c", "ids=a,%20b&ids=,c,")]
        assert [answer.status_code for answer in answers] == [200] * 3, path
        if path.startswith("/api") or path.endswith(".svg"):
            assert len({answer.text for answer in answers}) == 1, path
