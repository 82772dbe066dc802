"""GET /api/health, and GET / for curl and for a browser."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from support.servers import Server

import chachaml_lite

LogRun = Callable[..., str]


def test_health_counts_runs_and_damaged_files(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    version = chachaml_lite.__version__
    answer = client.get("/api/health")
    assert answer.get_json() == {"ok": True, "version": version, "runs": 0, "damaged": 0}
    run_id = log_run(artifacts={"m": b"1"})
    log_run()
    client.post("/api/w/models", json={"name": "iris", "run_id": run_id, "artifact": "m"})
    assert client.get("/api/health").get_json() == {"ok": True, "version": version, "runs": 2, "damaged": 0}
    (data / "runs" / run_id / "meta.json").write_text("{")
    assert client.get("/api/health").get_json() == {"ok": True, "version": version, "runs": 1, "damaged": 1}
    with (data / "models" / "iris" / "history.jsonl").open("a") as file:
        file.write('{"torn')
    assert client.get("/api/health").get_json()["damaged"] == 2


def test_health_is_not_cached_and_needs_no_token(make_app: Callable[..., Flask]) -> None:
    client = make_app(token="s3cret").test_client()
    answer = client.get("/api/health")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    assert client.head("/api/health").status_code == 200


def test_health_is_ok_as_soon_as_the_server_is_ready(server: Server) -> None:
    assert requests.get(f"{server.url}/api/health", timeout=60).json()["ok"] is True


@pytest.mark.parametrize("accept", ["*/*", None, "", "text/plain", "application/json"])
def test_root_is_a_quickstart_with_the_host_of_the_request(client: FlaskClient, accept: str | None) -> None:
    headers = {"Host": "localhost:4711", **({} if accept is None else {"Accept": accept})}
    answer = client.get("/", headers=headers)
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    assert "http://localhost:4711" in answer.text
    assert "<" not in answer.text.replace("<<", "")
    assert len(answer.text.splitlines()) < 25
    assert max(map(len, answer.text.splitlines())) < 160


@pytest.mark.parametrize(
    "accept", ["text/html", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html;q=0.5"]
)
def test_root_redirects_a_browser_to_the_runs(client: FlaskClient, accept: str) -> None:
    answer = client.get("/", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/runs")
    assert client.get("/runs", headers={"Accept": accept}).mimetype == "text/html"


@pytest.mark.parametrize("token", [None, "s3cret"])
def test_quickstart_can_be_pasted_into_a_shell(
    serve: Callable[..., Server], tool: Callable[[str], str], tmp_path: Path, token: str | None
) -> None:
    server = serve(*(["--token", token] if token else []))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    text = requests.get(server.url, headers={**headers, "Accept": "*/*"}, timeout=60).text
    assert (token or "no token") not in text
    commands = "".join(f"{line}\n" for line in text.splitlines() if line.startswith(("HOST=", "RUN=", "curl ")))
    assert commands.count("\n") >= 5
    tool("curl")
    result = subprocess.run(
        [tool("bash"), "-euo", "pipefail"],
        input=commands,
        cwd=tmp_path,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **({"CHACHAML_TOKEN": token} if token else {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (run,) = requests.get(f"{server.url}/api/runs", headers=headers, timeout=60).json()
    assert run["status"] == "completed"
    assert run["params"]
    assert run["metrics"]
    assert requests.get(f"{server.url}/api/runs/{run['id']}/artifacts", headers=headers, timeout=60).json()


def test_root_accepts_head_but_not_post(client: FlaskClient) -> None:
    assert client.head("/").status_code == 200
    assert client.post("/").status_code == 405
