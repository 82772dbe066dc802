"""The option --read-only: every write is refused, nothing is written, and a store on a read-only disk can be served."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from support.calls import OCTETS, LogRun, get_statuses, log_good_and_bad
from support.disks import mount_read_only, mount_tmpfs
from support.servers import PATIENCE_SECONDS, Server, environment, run_server
from support.snapshots import snapshot
from support.tools import unavailable
from test_error_shape import WRITES, build_call, iterate_rules

Serve = Callable[..., Server]


@pytest.fixture
def run_id(client: FlaskClient, log_run: LogRun) -> str:
    return log_good_and_bad(client, log_run)


def test_every_write_is_403_and_stores_nothing(run_id: str, make_app: Callable[..., Flask], data: Path) -> None:
    client = make_app(read_only=True).test_client()
    before = snapshot(data)
    calls = set()
    for method, rule, _ in iterate_rules(client):
        if method == "GET" or rule in ("/login", "/logout"):
            continue
        call = build_call(method, rule)
        answer = client.open(call.url(run_id=run_id), method=method, **call.request_body())
        assert (answer.status_code, answer.get_json()["error"]) == (403, "forbidden")
        assert "--read-only" in answer.get_json()["detail"]
        assert answer.get_json().keys() == {"error", "detail"}
        calls.add(f"{method} {rule}")
    assert calls == set(WRITES)
    assert snapshot(data) == before


def test_every_read_has_the_same_response(run_id: str, client: FlaskClient, make_app: Callable[..., Flask]) -> None:
    before = get_statuses(client)
    assert get_statuses(make_app(read_only=True).test_client()) == before


def test_browser_can_log_in_to_read(run_id: str, make_app: Callable[..., Flask]) -> None:
    client = make_app(read_only=True, token="t").test_client()
    assert client.post("/login", data={"token": "t"}).status_code == 303
    assert client.get("/runs").status_code == 200
    assert client.post("/api/w/runs", json={"experiment": "x"}).status_code == 403


def test_write_without_the_token_is_401(run_id: str, make_app: Callable[..., Flask]) -> None:
    response = make_app(read_only=True, token="t").test_client().post("/api/w/runs", json={"experiment": "x"})
    assert response.status_code == 401
    assert "read-only" not in response.text


def test_missing_summary_is_rebuilt_in_memory_only(
    run_id: str, client: FlaskClient, make_app: Callable[..., Flask], data: Path
) -> None:
    assert client.post(f"/api/w/runs/{run_id}/end").status_code == 200
    (data / "runs" / run_id / "summary.json").unlink()
    reader = make_app(read_only=True).test_client()
    before = snapshot(data)
    run = reader.get(f"/api/runs/{run_id}").get_json()
    assert run["metric_summary"]["loss"]["count"] == 2
    assert snapshot(data) == before


def test_leftover_of_a_killed_server_is_not_removed(run_id: str, make_app: Callable[..., Flask], data: Path) -> None:
    leftover = data / "runs/.incoming/upload~0123456789abcdef"
    leftover.write_bytes(b"half")
    make_app(read_only=True)
    assert leftover.read_bytes() == b"half"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_upload_to_a_real_server_is_discarded_as_it_arrives(serve: Serve, data: Path, is_chunked: bool) -> None:
    owner = serve()
    response = requests.post(
        f"{owner.url}/api/w/runs", json={"experiment": "iris", "id": "r"}, timeout=PATIENCE_SECONDS
    )
    assert response.status_code == 200 and owner.stop() == 0
    before = snapshot(data)
    reader = serve("--read-only")
    body = io.BytesIO(bytes(3_000_000))
    answer = requests.post(
        f"{reader.url}/api/w/runs/r/artifacts?name=m",
        data=iter(lambda: body.read(100_000), b"") if is_chunked else body,
        headers={"Content-Type": OCTETS},
        timeout=PATIENCE_SECONDS,
    )
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    assert requests.get(f"{reader.url}/api/runs/r", timeout=PATIENCE_SECONDS).status_code == 200
    assert reader.stop() == 0
    assert snapshot(data) == before


@contextlib.contextmanager
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """A store with a run "r" on a read-only disk."""
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(mount_tmpfs(tmp_path / "disk", "4m"))
        except OSError as fault:
            unavailable(f"can't mount a tmpfs: {fault}")
        with run_server(disk.path, tmp_path / "owner") as owner:
            base = f"{owner.url}/api/w/runs"
            responses = [
                requests.post(base, json={"experiment": "iris", "id": "r"}, timeout=PATIENCE_SECONDS),
                requests.post(f"{base}/r/metrics", json={"loss": 1}, timeout=PATIENCE_SECONDS),
                requests.post(f"{base}/r/end", timeout=PATIENCE_SECONDS),
            ]
            assert [answer.status_code for answer in responses] == [200] * 3
        (disk.path / "runs/r/summary.json").unlink()
        stack.enter_context(mount_read_only(disk.path))
        yield disk.path


def test_store_on_a_read_only_disk_is_served(tmp_path: Path) -> None:
    with read_only_disk(tmp_path) as data, run_server(data, tmp_path / "reader", "--read-only") as server:
        for path in ("/runs", "/api/runs", "/api/runs/r", "/api/runs/r/metrics", "/api/export", "/api/health"):
            assert requests.get(server.url + path, timeout=PATIENCE_SECONDS).status_code == 200
        download = requests.get(f"{server.url}/api/runs/r/download", timeout=PATIENCE_SECONDS)
        assert {"r/meta.json", "r/metrics.jsonl"} <= set(zipfile.ZipFile(io.BytesIO(download.content)).namelist())
        response = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris"}, timeout=PATIENCE_SECONDS)
        assert response.status_code == 403
        assert "read-only file system" not in server.log.lower()
        assert server.stop() == 0


def get_start_error(data: Path) -> str:
    command = [sys.executable, "-m", "chachaml_lite", "serve", "--port", "0", "--read-only", "--data", str(data)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=environment())
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_missing_folder_is_not_created(data: Path) -> None:
    assert "can't be read" in get_start_error(data)
    assert not data.exists()


def test_store_with_a_link_to_elsewhere_is_not_served(data: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    data.mkdir()
    (data / "runs").symlink_to(tmp_path / "elsewhere")
    assert "is a link" in get_start_error(data)
