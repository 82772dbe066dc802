"""The lines that a server logs, and the headers that every answer bears."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import requests
from flask import Flask
from support.servers import PATIENCE_SECONDS, Running

LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO %s %s %d \d+\.\d ms"


@pytest.mark.parametrize(
    ("path", "shown", "status"),
    [
        ("/api/health", "/api/health", 200),
        ("/api/runs?limit=5", "/api/runs\\?limit=5", 200),
        ("/api/runs/none%0Aforged", "/api/runs/none%0Aforged", 404),
        ("/nowhere", "/nowhere", 404),
    ],
)
def test_each_request_is_one_line_in_the_log_with_the_path_as_it_was_sent(
    server: Running, path: str, shown: str, status: int
) -> None:
    assert requests.get(server.url + path, timeout=PATIENCE_SECONDS).status_code == status
    assert re.search(f"^{LINE % ('GET', shown, status)}$", server.log, re.MULTILINE), server.log


def test_refused_request_is_logged_and_bears_the_protecting_headers(server: Running) -> None:
    answer = requests.get(f"{server.url}/api/runs", headers={"Host": "evil.example"}, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 403
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert re.search(LINE % ("GET", "/api/runs", 403), server.log)


def test_quiet_server_logs_no_requests(serve: Callable[..., Running]) -> None:
    server = serve("--quiet")
    requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS)
    assert "/api/runs" not in server.log


def test_answer_outlives_a_log_that_nobody_takes(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    client = make_app(quiet=False).test_client()
    monkeypatch.setattr("sys.stderr", Gone())
    assert client.get("/api/runs").status_code == 200


@pytest.mark.parametrize("path", ["/runs", "/api/runs", "/nowhere", "/api/nowhere"])
def test_every_answer_bears_the_protecting_headers_once(make_app: Callable[..., Flask], path: str) -> None:
    headers = make_app().test_client().get(path).headers
    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert headers.getlist("Referrer-Policy") == ["same-origin"]
    assert len(headers.getlist("Content-Security-Policy")) == 1


def test_download_keeps_its_own_stricter_policy(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    run_id = client.post("/api/w/runs", json={"experiment": "iris"}).get_json()["id"]
    client.post(f"/api/w/runs/{run_id}/artifacts?name=a", data=b"x", content_type="application/octet-stream")
    policies = client.get(f"/api/artifacts/{run_id}/a/download").headers.getlist("Content-Security-Policy")
    assert [policy.partition(";")[0] for policy in policies] == ["sandbox"]
