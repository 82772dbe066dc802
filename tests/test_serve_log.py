"""The lines that a server logs, and the headers of every response."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import requests
from flask import Flask
from support.servers import PATIENCE_SECONDS, Server

LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO %s %s %d \d+\.\d ms"


@pytest.mark.parametrize(
    ("path", "pattern", "status"),
    [
        ("/api/health", "/api/health", 200),
        ("/api/runs?limit=5", "/api/runs\\?limit=5", 200),
        ("/api/runs/none%0Aforged", "/api/runs/none%0Aforged", 404),
        ("/nowhere", "/nowhere", 404),
    ],
)
def test_each_request_is_one_log_line_with_the_path_as_sent(
    server: Server, path: str, pattern: str, status: int
) -> None:
    assert requests.get(server.url + path, timeout=PATIENCE_SECONDS).status_code == status
    assert re.search(f"^{LINE % ('GET', pattern, status)}$", server.log, re.MULTILINE), server.log


def test_refused_request_is_logged_and_has_the_security_headers(server: Server) -> None:
    answer = requests.get(f"{server.url}/api/runs", headers={"Host": "evil.example"}, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 403
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert re.search(LINE % ("GET", "/api/runs", 403), server.log)


def test_quiet_server_logs_no_requests(serve: Callable[..., Server]) -> None:
    server = serve("--quiet")
    requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS)
    assert "/api/runs" not in server.log


def test_closed_log_stream_does_not_break_the_response(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    class ClosedStream:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    client = make_app(quiet=False).test_client()
    monkeypatch.setattr("sys.stderr", ClosedStream())
    assert client.get("/api/runs").status_code == 200


@pytest.mark.parametrize("path", ["/runs", "/api/runs", "/nowhere", "/api/nowhere"])
def test_every_response_has_the_security_headers_once(make_app: Callable[..., Flask], path: str) -> None:
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
