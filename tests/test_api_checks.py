"""GET /api/runs/:id/check: 200 or 422, the three forms of a baseline, and errors."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from support.servers import Server
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
    """The id of a run whose latest accuracy is 0.9."""
    metrics = [
        {"accuracy": 0.5, "step": 0},
        {"accuracy": 0.9, "loss": 0.25, "step": 1},
        {"bad": math.nan, "worse": math.inf},
    ]
    return log_run(metrics=metrics)


@pytest.mark.parametrize(
    ("rule", "has_passed"),
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
def test_rule_compares_the_latest_value_with_a_number(
    client: FlaskClient, run_id: str, rule: str, has_passed: bool
) -> None:
    answer = check(client, run_id, rule)
    body = answer.get_json()
    assert answer.status_code == (200 if has_passed else 422)
    assert body["passed"] is has_passed
    assert body["rules"][0]["passed"] is has_passed
    assert set(body) == {"passed", "rules"} if has_passed else {"passed", "rules", "error", "detail"}


def test_report_has_the_rules_in_their_order(client: FlaskClient, run_id: str) -> None:
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
    for text in ("loss<=0.2", "0.25", "bad is NaN", "unknown missing"):
        assert text in body["detail"]
    assert "accuracy" not in body["detail"]
    good = check(client, run_id, "accuracy>=0.9", "loss<=0.25")
    assert (good.status_code, good.get_json()["passed"], len(good.get_json()["rules"])) == (200, True, 2)


# -- the baseline


@pytest.mark.parametrize(
    ("rule", "threshold", "has_passed"),
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
def test_rule_compares_the_latest_value_with_the_baseline(
    client: FlaskClient, log_run: LogRun, run_id: str, rule: str, threshold: float | None, has_passed: bool
) -> None:
    base = log_run(metrics=[{"accuracy": 0.8, "bad": 1, "step": 1}, {"accuracy": 0.1, "step": 0}])
    answer = check(client, run_id, rule, baseline=base)
    assert answer.status_code == (200 if has_passed else 422)
    (rule_result,) = answer.get_json()["rules"]
    assert rule_result["threshold"] == (None if threshold is None else pytest.approx(threshold))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_baseline_that_is_not_finite_fails(client: FlaskClient, log_run: LogRun, run_id: str, value: float) -> None:
    base = log_run(metrics={"accuracy": value})
    for rule in ("accuracy>=baseline", "accuracy<=baseline", "accuracy!=baseline"):
        assert check(client, run_id, rule, baseline=base).status_code == 422


def test_threshold_beyond_a_double_fails_as_infinity(client: FlaskClient, log_run: LogRun, run_id: str) -> None:
    base = log_run(metrics={"accuracy": 1e308})
    answer = check(client, run_id, "accuracy<baseline*1e308", baseline=base)
    assert (answer.status_code, answer.get_json()["rules"][0]["threshold"]) == (422, "Infinity")
    large = log_run(metrics={"accuracy": 10**308})
    assert check(client, run_id, "accuracy<baseline*2", baseline=large).status_code == 422
    assert check(client, run_id, "accuracy<baseline-1", baseline=large).status_code == 200


def test_baseline_production_is_the_run_of_the_production_version(
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


def test_baseline_latest_is_the_newest_completed_run_other_than_the_run_itself(
    client: FlaskClient, log_run: LogRun
) -> None:
    def get_threshold(run_id: str) -> Any:
        answer = check(client, run_id, "accuracy>=baseline", baseline="latest:iris: v2")
        return answer.get_json().get("rules", [{}])[0].get("threshold", answer.status_code)

    mine = log_run("other", metrics={"accuracy": 1})
    assert get_threshold(mine) == 404
    log_run("iris: v2", metrics={"accuracy": 0.1}, end="failed")
    log_run("iris: v2", metrics={"accuracy": 0.2})
    assert get_threshold(mine) == 404
    log_run("iris: v2", metrics={"accuracy": 0.3}, end="completed")
    newest = log_run("iris: v2", metrics={"accuracy": 0.4}, end="completed")
    log_run("iris: v2", metrics={"accuracy": 0.5}, end="failed")
    log_run("iris: V2", metrics={"accuracy": 0.6}, end="completed")
    assert get_threshold(mine) == 0.4
    assert get_threshold(newest) == 0.3


# -- errors


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
def test_invalid_check_is_400_or_404_but_never_422(
    client: FlaskClient, run_id: str, query: str, status: int, error: str
) -> None:
    answer = client.get(f"/api/runs/{run_id}/check?{query.replace('ID', run_id)}")
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert set(answer.get_json()) == {"error", "detail"}


def test_check_of_an_unknown_run_is_404(client: FlaskClient) -> None:
    answer = check(client, "unknown", "accuracy>=0.9")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")


def test_running_run_can_be_checked_repeatedly(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    for value, status in ((None, 422), (0.5, 422), (0.95, 200)):
        if value is not None:
            client.post(f"/api/w/runs/{run_id}/metrics", json={"accuracy": value})
        assert check(client, run_id, "accuracy>=0.9").status_code == status


def test_curl_with_fail_option_exits_by_the_check(server: Server, tool: Callable[[str], str]) -> None:
    run = {"experiment": "iris", "id": "mine"}
    requests.post(f"{server.url}/api/w/runs", json=run, timeout=60).raise_for_status()
    requests.post(f"{server.url}/api/w/runs/mine/metrics", json={"accuracy": 0.9}, timeout=60).raise_for_status()
    curl = [tool("curl"), "-sfG", f"{server.url}/api/runs/mine/check", "--data-urlencode"]
    for rule, code in (("rule=accuracy>=0.9", 0), ("rule=accuracy>0.9", 22), ("rule=accuracy", 22)):
        assert subprocess.run([*curl, rule], capture_output=True, check=False, timeout=60).returncode == code
