"""GET /api/runs/:id/check: 200 or 422, the baseline's three forms, and what fails."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from support.servers import Running
from werkzeug.test import TestResponse

LogRun = Callable[..., str]


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


def check(client: FlaskClient, run_id: str, *rules: str, **query: str) -> TestResponse:
    pairs = [*(("rule", rule) for rule in rules), *query.items()]
    return client.get(f"/api/runs/{run_id}/check", query_string=pairs)


@pytest.fixture
def run_id(log_run: LogRun) -> str:
    """A run whose accuracy is 0.9 by now."""
    metrics = [
        {"accuracy": 0.5, "step": 0},
        {"accuracy": 0.9, "loss": 0.25, "step": 1},
        {"bad": math.nan, "worse": math.inf},
    ]
    return log_run(metrics=metrics)


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ("accuracy>=0.9", True),
        ("accuracy>=0.91", False),
        ("accuracy>0.9", False),
        ("accuracy<=0.9", True),
        ("accuracy<0.9", False),
        ("accuracy=0.9", True),
        ("accuracy==0.9", True),
        ("accuracy!=0.9", False),
        ("accuracy!=0.8", True),
        ("accuracy >= .9", True),
        ("loss<1e0", True),
        ("loss>-1", True),
        ("bad>=0", False),
        ("bad<0", False),
        ("bad!=0", False),
        ("worse>0", False),
        ("worse!=0", False),
        ("unknown<9", False),
        ("unknown!=9", False),
    ],
)
def test_rule_holds_the_latest_value_against_a_number(
    client: FlaskClient, run_id: str, rule: str, passed: bool
) -> None:
    answer = check(client, run_id, rule)
    body = answer.get_json()
    assert answer.status_code == (200 if passed else 422)
    assert body["passed"] is passed
    assert body["rules"][0]["passed"] is passed
    assert set(body) == {"passed", "rules"} if passed else {"passed", "rules", "error", "detail"}


def test_report_has_each_rule_in_its_order(client: FlaskClient, run_id: str) -> None:
    answer = check(client, run_id, "accuracy>=0.9", "loss<=0.2", "bad<1", "unknown<1", "worse > 1")
    assert (answer.status_code, answer.mimetype) == (422, "application/json")
    body = answer.get_json()
    assert body["rules"] == [
        {"rule": "accuracy>=0.9", "value": 0.9, "threshold": 0.9, "passed": True},
        {"rule": "loss<=0.2", "value": 0.25, "threshold": 0.2, "passed": False},
        {"rule": "bad<1", "value": "NaN", "threshold": 1.0, "passed": False},
        {"rule": "unknown<1", "value": None, "threshold": 1.0, "passed": False},
        {"rule": "worse > 1", "value": "Infinity", "threshold": 1.0, "passed": False},
    ]
    assert (body["passed"], body["error"]) == (False, "check failed")
    for told in ("loss<=0.2", "0.25", "bad is NaN", "unknown missing"):
        assert told in body["detail"]
    assert "accuracy" not in body["detail"]
    good = check(client, run_id, "accuracy>=0.9", "loss<=0.25")
    assert (good.status_code, good.get_json()["passed"], len(good.get_json()["rules"])) == (200, True, 2)


# -- the baseline


@pytest.mark.parametrize(
    ("rule", "threshold", "passed"),
    [
        ("accuracy>=baseline", 0.8, True),
        ("accuracy<baseline", 0.8, False),
        ("accuracy>=baseline*1.02", 0.816, True),
        ("accuracy>=baseline*1.2", 0.96, False),
        ("accuracy>=baseline-0.01", 0.79, True),
        ("accuracy>=baseline+0.2", 1.0, False),
        ("accuracy>=baseline 0.2", 1.0, False),
        ("loss<=baseline", None, False),
        ("bad>=baseline", 1.0, False),
        ("accuracy>=0.9", 0.9, True),
    ],
)
def test_rule_may_hold_it_against_the_baselines(
    client: FlaskClient, log_run: LogRun, run_id: str, rule: str, threshold: float | None, passed: bool
) -> None:
    base = log_run(metrics=[{"accuracy": 0.8, "bad": 1, "step": 1}, {"accuracy": 0.1, "step": 0}])
    answer = check(client, run_id, rule, baseline=base)
    assert answer.status_code == (200 if passed else 422)
    (judged,) = answer.get_json()["rules"]
    assert judged["threshold"] == (None if threshold is None else pytest.approx(threshold))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_baseline_that_is_not_finite_fails(client: FlaskClient, log_run: LogRun, run_id: str, value: float) -> None:
    base = log_run(metrics={"accuracy": value})
    for rule in ("accuracy>=baseline", "accuracy<=baseline", "accuracy!=baseline"):
        assert check(client, run_id, rule, baseline=base).status_code == 422


def test_threshold_beyond_a_double_fails_and_is_spelled(client: FlaskClient, log_run: LogRun, run_id: str) -> None:
    base = log_run(metrics={"accuracy": 1e308})
    answer = check(client, run_id, "accuracy<baseline*1e308", baseline=base)
    assert (answer.status_code, answer.get_json()["rules"][0]["threshold"]) == (422, "Infinity")
    large = log_run(metrics={"accuracy": 10**308})
    assert check(client, run_id, "accuracy<baseline*2", baseline=large).status_code == 422
    assert check(client, run_id, "accuracy<baseline-1", baseline=large).status_code == 200


def test_production_of_a_model_is_the_run_behind_that_version(
    client: FlaskClient, log_run: LogRun, run_id: str
) -> None:
    for number, accuracy in enumerate((0.95, 0.85, 0.99), 1):
        base = log_run(metrics={"accuracy": accuracy}, artifacts={"m": b"1"}, end="completed")
        client.post("/api/w/models", json={"name": "checked", "run_id": base, "artifact": "m"})
        if number == 1:
            answer = check(client, run_id, "accuracy>=baseline", baseline="production:checked")
            assert (answer.status_code, answer.get_json()["error"]) == (404, "no such model")
    for version, status in ((1, 422), (2, 200), (3, 422)):
        client.post("/api/w/models/checked/promote", json={"version": version, "stage": "production"})
        assert check(client, run_id, "accuracy>=baseline", baseline="production:checked").status_code == status


def test_latest_of_an_experiment_is_its_newest_completed_run_but_not_the_run_itself(
    client: FlaskClient, log_run: LogRun
) -> None:
    def against(run_id: str) -> Any:
        answer = check(client, run_id, "accuracy>=baseline", baseline="latest:iris: v2")
        return answer.get_json().get("rules", [{}])[0].get("threshold", answer.status_code)

    mine = log_run("other", metrics={"accuracy": 1})
    assert against(mine) == 404
    log_run("iris: v2", metrics={"accuracy": 0.1}, end="failed")
    log_run("iris: v2", metrics={"accuracy": 0.2})
    assert against(mine) == 404
    log_run("iris: v2", metrics={"accuracy": 0.3}, end="completed")
    newest = log_run("iris: v2", metrics={"accuracy": 0.4}, end="completed")
    log_run("iris: v2", metrics={"accuracy": 0.5}, end="failed")
    log_run("iris: V2", metrics={"accuracy": 0.6}, end="completed")
    assert against(mine) == 0.4
    assert against(newest) == 0.3


# -- what is refused


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("", 400, "bad request"),
        ("rule=", 400, "bad request"),
        ("rule=accuracy", 400, "bad request"),
        ("rule=accuracy>=high", 400, "bad request"),
        ("rule=accuracy>=0.9&rule=", 400, "bad request"),
        ("rule=accuracy>=baseline", 400, "bad request"),
        ("rule=accuracy>=0.9&baseline=", 404, "no such run"),
        ("rule=accuracy>=0.9&baseline=unknown", 404, "no such run"),
        ("rule=accuracy>=0.9&baseline=../ID", 404, "no such run"),
        ("rule=accuracy>=0.9&baseline=production:", 404, "no such model"),
        ("rule=accuracy>=0.9&baseline=production:unknown", 404, "no such model"),
        ("rule=accuracy>=0.9&baseline=latest:unknown", 404, "no such run"),
        ("rule=accuracy>=0.9&baseline=staging:iris", 400, "bad request"),
        ("rule=accuracy>=0.9&baseline=ID&baseline=ID", 400, "bad request"),
        ("rules=accuracy>=0.9", 400, "bad request"),
    ],
)
def test_what_cannot_be_checked_is_no_422(
    client: FlaskClient, run_id: str, query: str, status: int, error: str
) -> None:
    answer = client.get(f"/api/runs/{run_id}/check?{query.replace('ID', run_id)}")
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert set(answer.get_json()) == {"error", "detail"}


def test_check_of_an_unknown_run_is_404(client: FlaskClient) -> None:
    answer = check(client, "unknown", "accuracy>=0.9")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")


def test_run_that_goes_on_can_be_checked_and_checked_again(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    for value, status in ((None, 422), (0.5, 422), (0.95, 200)):
        if value is not None:
            client.post(f"/api/w/runs/{run_id}/metrics", json={"accuracy": value})
        assert check(client, run_id, "accuracy>=0.9").status_code == status


def test_curl_f_is_a_gate(server: Running, tool: Callable[[str], str]) -> None:
    run = {"experiment": "iris", "id": "mine"}
    requests.post(f"{server.url}/api/w/runs", json=run, timeout=60).raise_for_status()
    requests.post(f"{server.url}/api/w/runs/mine/metrics", json={"accuracy": 0.9}, timeout=60).raise_for_status()
    curl = [tool("curl"), "-sfG", f"{server.url}/api/runs/mine/check", "--data-urlencode"]
    for rule, code in (("rule=accuracy>=0.9", 0), ("rule=accuracy>0.9", 22), ("rule=accuracy", 22)):
        assert subprocess.run([*curl, rule], capture_output=True, check=False, timeout=60).returncode == code
