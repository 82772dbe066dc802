"""Requests that several tests send, and checks of their responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

LogRun = Callable[..., str]
OCTETS = "application/octet-stream"


def log_good_and_bad(client: FlaskClient, log_run: LogRun) -> str:
    """Log a run that the test will damage and one that it won't; return the damaged one's id.

    The run to be damaged has a model with two versions.
    """
    log_run(id="good", params={"lr": 1}, metrics={"loss": 1}, artifacts={"a": b"good"})
    points = [{"loss": 2, "step": 0}, {"loss": 1, "step": 1}]
    run_id = log_run(id="bad", params={"lr": 2}, metrics=points, artifacts={"a": b"the bytes"})
    for _ in range(2):
        register(client, run_id)
    return run_id


def register(client: FlaskClient, run_id: str, name: str = "iris", status: int = 200) -> Any:
    response = client.post("/api/w/models", json={"name": name, "run_id": run_id, "artifact": "a"})
    assert response.status_code == status, response.text
    return response.get_json()


def upload(client: FlaskClient, run_id: str, name: str, content: bytes, **query: str) -> int:
    response = client.post(
        f"/api/w/runs/{run_id}/artifacts", query_string={"name": name, **query}, data=content, content_type=OCTETS
    )
    assert response.get_json().keys() >= {"ok"} or response.get_json().keys() == {"error", "detail"}
    return response.status_code


def get_statuses(client: FlaskClient) -> dict[str, int]:
    """Request every GET route, for the damaged run and its model, and return the status of each."""
    values = {"run_id": "bad", "name": "a", "selector": "1", "one": "1", "other": "2"}
    statuses = {}
    for rule in client.application.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and rule.endpoint != "static":
            names = {**values, "name": "iris"} if "models" in rule.rule or "diff" in rule.rule else values
            url_parts = rule.build({each: names.get(each, "1") for each in rule.arguments})
            assert url_parts is not None
            statuses[url_parts[1]] = client.get(url_parts[1]).status_code
    for query in ("experiment=iris", "order_by=metrics.loss desc", "order_by=params.lr", "param.lr=2", "tag.a=b"):
        statuses[query] = client.get(f"/api/runs?{query}").status_code
    return statuses
