"""?q= on GET /api/runs, /api/search and /api/export: the runs that match, and a 400 that points at a character."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import open_app, run_logger
from flask.testing import FlaskClient

LogRun = Callable[..., str]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of a store with four runs: a, b and c of iris, d of digits."""
    with open_app(tmp_path_factory.mktemp("asked") / "store") as app:
        log_run = run_logger(app.test_client())
        log_run(id="a", name="Baseline", params={"lr": 0.1}, metrics={"val/loss": 0.5}, tags={"os": "linux"})
        log_run(id="b", name="base wide", params={"lr": 0.01}, metrics={"val/loss": 0.2}, end="completed")
        log_run(id="c", name="other", params={"lr": 0.01}, metrics={"val/loss": "NaN"}, end="failed")
        log_run(experiment="digits", id="d", name="base", metrics={"val/loss": 0.1}, artifacts={"m": b"1"})
        yield app.test_client()


def list_ids(client: FlaskClient, path: str = "/api/runs", **query: Any) -> str:
    answer = client.get(path, query_string=query)
    assert answer.status_code == 200, answer.text
    return "".join(run["id"] for run in answer.get_json())


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("metrics.val/loss < 0.3", "db"),
        ('metrics."val/loss" != 0.1', "cba"),
        ('metrics.val/loss > 0.1 and params.lr <= 0.01 and name ~ "BASE"', "b"),
        ("status = running", "da"),
        ("status not in (running)", "cb"),
        ("experiment = digits or tags.os = linux", "da"),
        ("not params.lr = 0.1", "dcb"),
        ("artifacts > 0", "d"),
        ("start_time > -1h and last_write_time > -1h and duration < 1h", "cb"),
        ("start_time < -1h", ""),
        ("id in (a, c)", "ca"),
    ],
)
def test_query_selects_the_same_runs_in_list_search_and_export(client: FlaskClient, q: str, expected: str) -> None:
    assert list_ids(client, q=q) == list_ids(client, "/api/search", q=q) == expected
    assert client.get("/api/search", query_string={"q": q}).headers["X-Total-Count"] == str(len(expected))
    rows = client.get("/api/export", query_string={"q": q}).text
    assert "".join(row["id"] for row in csv.DictReader(io.StringIO(rows))) == expected


def test_query_is_combined_with_the_other_parameters(client: FlaskClient) -> None:
    assert list_ids(client, q="name ~ base", experiment="iris", **{"param.lr": "0.1"}) == "a"
    assert list_ids(client, q="name ~ base", order_by="metrics.val/loss", limit=2) == "db"
    assert list_ids(client, q="name ~ base", order_by="metrics.val/loss", offset=2) == "a"
    metric = {"metric_key": "val/loss", "op": "lt", "metric_value": "0.3"}
    assert list_ids(client, "/api/search", **metric) == "db"
    assert list_ids(client, "/api/search", q="experiment = iris", **metric) == "b"
    assert "wide" in client.get("/api/runs", query_string={"q": "id = b", "format": "txt"}).text


@pytest.mark.parametrize("path", ["/api/runs", "/api/search", "/api/export"])
def test_invalid_query_is_400_and_names_the_character(client: FlaskClient, path: str) -> None:
    answer = client.get(path, query_string={"q": "metrics.val/loss < low"})
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "bad request"
    assert answer.get_json()["detail"].startswith("q, character 20: metrics.val/loss is compared with a number")
    assert answer.get_json()["detail"].endswith("metrics.val/loss < »low«")
    for q in ("", " ", "(" * 4000, "x" * 5000, "\x00 = a", "name ="):
        answer = client.get(path, query_string={"q": q})
        assert (answer.status_code, set(answer.get_json())) == (400, {"error", "detail"}), q
    assert client.get("/api/search").status_code == 400
    assert client.get("/api/search?q=id=a&op=lt").status_code == 400


def test_query_relative_to_now_is_not_304_after_time_has_passed(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list is 304 as long as nothing changes, but one that depends on the last hour changes by itself."""
    query = {"q": "start_time > -1h"}
    first = client.get("/api/runs", query_string=query)
    assert len(first.get_json()) == 4
    headers = {"If-None-Match": first.headers["ETag"]}
    elapsed_ns = 0
    real_ns, real_monotonic_ns = time.time_ns, time.monotonic_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + elapsed_ns)
    monkeypatch.setattr(time, "monotonic_ns", lambda: real_monotonic_ns() + elapsed_ns)
    elapsed_ns = 2 * 3600 * 10**9
    later = client.get("/api/runs", query_string=query, headers=headers)
    assert (later.status_code, later.get_json()) == (200, [])
    headers = {"If-None-Match": client.get("/api/runs").headers["ETag"]}
    elapsed_ns *= 2
    assert client.get("/api/runs", headers=headers).status_code == 304
