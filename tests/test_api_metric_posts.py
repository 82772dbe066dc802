"""The fast path of metrics: plain points are logged without Flask, with the same answer and the same stored points."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chachaml_lite.tracking import metrics
from chachaml_lite.web import metrics_fast_path

JSON, NDJSON = "application/json", "application/x-ndjson"
#: A parameter of the content type that leaves the request to Flask.
ORDINARY = "; charset=utf-8; v=1"

BODIES = [
    pytest.param(b'{"loss": 0.5, "step": 3}', JSON, id="one"),
    pytest.param(b'{"loss": 0.5, "accuracy": 1}', JSON, id="two"),
    pytest.param(b'[{"loss": 0.5, "step": 1}, {"loss": 0.4, "step": 2}]', JSON, id="array"),
    pytest.param(b'{"loss": 0.5}\n{"loss": 0.4, "step": 1}\n', NDJSON, id="lines"),
    pytest.param(b'{"metrics": {"loss": 0.5}, "step": 1, "timestamp": 5}', JSON, id="nested"),
    pytest.param(b'{"loss": .500, "step": 1}', JSON, id="as bc prints it"),
    pytest.param(b'{"loss": NaN, "gain": "Infinity"}', JSON, id="non-finite"),
    pytest.param(b'{"loss": -nan, "gain": +Inf, "x": "inf"}', JSON, id="as programs print what is no number"),
    pytest.param(b'{"loss": null, "gain": 1}', JSON, id="no value"),
    pytest.param(b'{"loss": 1, "step": 5e1}', JSON, id="a whole float as a step"),
    pytest.param(b'\xef\xbb\xbf{"loss": 1}', JSON, id="a byte order mark"),
    pytest.param(b'{"loss": 1}{"loss": 2}', NDJSON, id="glued lines"),
    pytest.param('{"loss": 1}'.encode("utf-16"), JSON, id="UTF-16"),
    pytest.param('{"köln": 1}'.encode(), JSON, id="not ASCII"),
    pytest.param(b"[]", JSON, id="no points"),
    pytest.param(b"", JSON, id="empty"),
    pytest.param(b"{", JSON, id="not JSON"),
    pytest.param(b'"loss"', JSON, id="no object"),
    pytest.param(b"{}", JSON, id="no metric"),
    pytest.param(b'{"loss": 1, "loss": 2}', JSON, id="a key twice"),
    pytest.param(b'{"loss": "much"}', JSON, id="no number"),
    pytest.param(b'{"loss": true}', JSON, id="a boolean"),
    pytest.param(b'{"loss": 1e400}', JSON, id="beyond a double"),
    pytest.param(b'{"loss": 1, "step": 1.5}', JSON, id="half a step"),
    pytest.param(b'[{"loss": 1}, {"loss": "much"}]', JSON, id="one of two is bad"),
    pytest.param(b'{"loss": 1}\n{"loss": }\n', NDJSON, id="a bad line"),
    pytest.param(b"\xff", JSON, id="not UTF-8"),
    pytest.param(b'{"loss": 1, "x": "' + b"y" * 3000 + b'"}', JSON, id="too large"),
]


def post_both_ways(
    client: FlaskClient, path: str, body: bytes, kind: str, **headers: str
) -> list[tuple[int, Any, Any]]:
    """Post a body to the fast path and to Flask; return the status, headers and body of both answers."""
    answers = [client.post(path, data=body, content_type=kind + more, headers=headers) for more in ("", ORDINARY)]
    return [(answer.status_code, sorted(answer.headers), answer.data) for answer in answers]


def read_points(data: Path, run_id: str) -> list[tuple[str, Any, int]]:
    path = data / "runs" / run_id / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(point["key"], point["value"], point["step"]) for point in map(json.loads, lines)]


@pytest.mark.parametrize(("body", "kind"), BODIES)
def test_fast_path_answers_and_stores_the_same_as_flask(
    make_app: Callable[..., Flask], data: Path, body: bytes, kind: str
) -> None:
    client = make_app(max_json_bytes=2000).test_client()
    run = client.post("/api/w/runs", json={"experiment": "iris"}).get_json()["id"]
    fast, by_flask = post_both_ways(client, f"/api/w/runs/{run}/metrics", body, kind)
    assert fast == by_flask
    points = [(key, str(value), step) for key, value, step in read_points(data, run)]
    assert points == points[: len(points) // 2] * 2


@pytest.mark.parametrize("make", [lambda run: "none", lambda run: run.upper() + "x", lambda run: "..", lambda run: run])
def test_run_that_accepts_no_points_is_refused_with_the_same_message(
    client: FlaskClient, make: Callable[[str], str]
) -> None:
    run = client.post("/api/w/runs", json={"experiment": "iris"}).get_json()["id"]
    client.post(f"/api/w/runs/{run}/end")
    fast, by_flask = post_both_ways(client, f"/api/w/runs/{make(run)}/metrics", b'{"loss": 1}', JSON)
    assert fast == by_flask
    assert fast[0] == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer secret"}, 200),
        ({"Authorization": "bearer secret", "Origin": "http://localhost"}, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({}, 401),
        ({"Authorization": "Bearer secret", "Host": "evil.example"}, 403),
        ({"Authorization": "Bearer secret", "Origin": "https://evil.example"}, 403),
        ({"Authorization": "Bearer secret", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_authentication_is_checked_before_both_ways(
    make_app: Callable[..., Flask], data: Path, headers: dict[str, str], status: int
) -> None:
    client = make_app(token="secret").test_client()
    bearer = {"Authorization": "Bearer secret"}
    run = client.post("/api/w/runs", json={"experiment": "iris"}, headers=bearer).get_json()["id"]
    fast, by_flask = post_both_ways(client, f"/api/w/runs/{run}/metrics", b'{"loss": 1}', JSON, **headers)
    assert fast == by_flask
    assert fast[0] == status
    assert len(read_points(data, run)) == (2 if status == 200 else 0)


def test_full_disk_is_507_and_stores_nothing(
    client: FlaskClient, data: Path, log_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = log_run()
    with monkeypatch.context() as patch:
        patch.setattr("os.write", lambda descriptor, content: len(content) // 2)
        answer = client.post(f"/api/w/runs/{run}/metrics", json={"loss": 1})
    assert answer.status_code == 507
    assert read_points(data, run) == []
    assert client.post(f"/api/w/runs/{run}/metrics", json={"loss": 1}).status_code == 200
    assert read_points(data, run) == [("loss", 1, 0)]


def test_plain_points_bypass_flask_and_other_requests_do_not(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    client = app.test_client()
    run = client.post("/api/w/runs", json={"experiment": "iris"}).get_json()["id"]
    flask_requests = []
    app.before_request_funcs[None].append(lambda: flask_requests.append(1))
    client.post(f"/api/w/runs/{run}/metrics", json={"loss": 1})
    client.post(f"/api/w/runs/{run}/metrics", data=b'{"loss": 1}\n', content_type=NDJSON)
    for kind in ("application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', f"{NDJSON}; charset=utf-8"):
        assert client.post(f"/api/w/runs/{run}/metrics", data=b'{"loss": 1}', content_type=kind).status_code == 200
    assert flask_requests == []
    client.post(f"/api/w/runs/{run}/metrics", data=b'{"loss": 1}', content_type="application/json; charset=utf-16")
    assert len(flask_requests) == 1
    flask_requests.clear()
    client.post(f"/api/w/runs/{run}/metrics?x=1", json={"loss": 1})
    client.post(f"/api/w/runs/{run}/params", json={"lr": 1})
    assert len(flask_requests) == 2


def test_answer_has_the_number_of_points() -> None:
    assert json.loads(metrics_fast_path.format_result(metrics.Logged(7, 0))) == {"ok": True, "logged": 7}
    assert json.loads(metrics_fast_path.format_result(metrics.Logged(7, 2))) == {"ok": True, "logged": 7, "skipped": 2}


def test_internal_error_is_500_in_the_common_format_and_logs_once(
    client: FlaskClient, log_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = log_run()
    calls = []

    def fail(*_: object) -> int:
        calls.append(1)
        raise RuntimeError("a bug")

    monkeypatch.setattr(metrics, "log_points", fail)
    answer = client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1})
    assert (answer.status_code, answer.get_json()["error"], len(calls)) == (500, "internal error", 1)
    assert "bug" not in answer.text
