"""Imports by a real server: killed in the middle, without a token, too large, interrupted, in little memory."""

from __future__ import annotations

import os
import socket
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from support.servers import PATIENCE_SECONDS, Server, run_server, wait_until
from support.snapshots import snapshot
from support.verifying import list_problems
from support.zips import POINT, build_zip, meta, run_files, upload_line
from test_api_run_download import peak_bytes

Serve = Callable[..., Server]
ZIP = {"Content-Type": "application/zip"}


def send_import(server: Server, body: Any, **headers: str) -> requests.Response:
    return requests.post(f"{server.url}/api/w/import", data=body, headers={**ZIP, **headers}, timeout=PATIENCE_SECONDS)


def list_incoming(data: Path) -> list[str]:
    return os.listdir(data / "runs/.incoming")


#: A run as first imported, and as updated later.
BEFORE = run_files(status="running", end_time=None) | {
    "r/artifacts.jsonl": upload_line("m", b"bytes") + upload_line("n", b"n"),
    "r/blobs/n": b"n",
}
AFTER = BEFORE | {
    "r/meta.json": meta(tags={"a": 1}),
    "r/params.json": b'{"lr": 0.1, "epochs": 3}',
    "r/metrics.jsonl": POINT * 3,
    "r/artifacts.jsonl": BEFORE["r/artifacts.jsonl"] + upload_line("m", b"better", 2) + upload_line("o", b"o"),
    "r/blobs/m": b"better",
    "r/blobs/o": b"o",
    "r/mine.txt": b"mine",
}


#: A wrapper of the server's command that kills the server just before its n-th call of a function of `os`.
KILL_AT_CALL = """
import os, runpy, signal, sys
call, calls_left = sys.argv[1], int(sys.argv[2])
original = getattr(os, call)
def count_call(*arguments, **options):
    global calls_left
    if os.path.basename(str(arguments[-1])) == "ready":  # the file that reports that the server listens
        return original(*arguments, **options)
    calls_left -= 1
    if not calls_left:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
setattr(os, call, count_call)
sys.argv[1:] = sys.argv[6:]
runpy.run_module("chachaml_lite", run_name="__main__", alter_sys=True)
"""


def kill_at(call: str, number: int) -> list[str]:
    """Return a wrapper of the server's command that kills the server at its n-th call of a function of `os`."""
    return [sys.executable, "-c", KILL_AT_CALL, call, str(number)]


@pytest.mark.parametrize(("call", "number"), [("fsync", 1), ("fsync", 3), ("fsync", 8), ("rename", 1)])
def test_server_killed_during_an_import_has_no_part_of_the_run(
    serve: Serve, data: Path, call: str, number: int
) -> None:
    server = serve(wrapper=kill_at(call, number))
    with pytest.raises(requests.ConnectionError):
        send_import(server, build_zip(AFTER))
    wait_until(lambda: server.process.poll() is not None)
    assert not (data / "runs/r").exists()
    server = serve()
    assert list_incoming(data) == []
    assert requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS).json() == []
    assert send_import(server, build_zip(AFTER)).json()["imported"] == ["r"]
    assert list_problems(data) == []


def test_server_killed_during_an_update_has_a_valid_run_and_the_next_import_completes_it(
    serve: Serve, data: Path
) -> None:
    server = serve()
    assert send_import(server, build_zip(BEFORE)).json()["imported"] == ["r"]
    assert server.stop() == 0
    states, number = set(), 0
    while True:
        number += 1
        server = serve(wrapper=kill_at("rename", number))
        try:
            result = send_import(server, build_zip(AFTER)).json()
        except requests.ConnectionError:
            wait_until(lambda: server.process.poll() is not None)  # noqa: B023
            server = serve()
            assert list_problems(data) == []
            assert list_incoming(data) == []
            run = requests.get(f"{server.url}/api/runs/r", timeout=PATIENCE_SECONDS).json()
            states.add((len(run["artifacts"]), run["metric_summary"]["loss"]["count"], run["status"]))
            assert server.stop() == 0
            continue
        break
    assert result["updated"] == ["r"] or result["unchanged"] == ["r"]
    assert len(states) > 2  # it was killed in distinguishable states
    assert send_import(server, build_zip(AFTER)).json()["unchanged"] == ["r"]
    files = {f"r/{path}": content for path, content in snapshot(data / "runs/r").items() if content is not None}
    files.pop("r/summary.json", None)
    same = {"r/params.json", "r/metrics.jsonl", "r/mine.txt", "r/blobs/m", "r/blobs/n", "r/blobs/o"}
    assert files.keys() == AFTER.keys()
    assert {path: files[path] for path in same} == {path: AFTER[path] for path in same}
    assert requests.get(f"{server.url}/api/runs/r", timeout=PATIENCE_SECONDS).json()["status"] == "completed"


def test_import_without_permission_or_over_the_limit_stores_no_byte(tmp_path: Path) -> None:
    body = build_zip(run_files() | {"r/large": os.urandom(200_000)})
    with run_server(tmp_path / "store", tmp_path / "scratch", "--token", "t", "--max-upload", "100000") as server:
        incoming = tmp_path / "store/runs/.incoming"
        before = incoming.stat().st_mtime_ns
        assert send_import(server, body).status_code == 401
        assert send_import(server, body, Authorization="Bearer t").status_code == 413
        assert incoming.stat().st_mtime_ns == before  # nothing was created in it, not even for a moment
        answer = send_import(server, build_zip(run_files()), Authorization="Bearer t")
        assert (answer.status_code, answer.json()["imported"]) == (200, ["r"])
        answer = send_import(server, build_zip(run_files()), Authorization="Bearer t", Origin="http://evil.example")
        assert answer.status_code == 403


def test_client_disconnecting_during_an_import_leaves_nothing(server: Server, data: Path) -> None:
    body = build_zip(run_files() | {"r/large": os.urandom(200_000)})
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as sender:
        head = "POST /api/w/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/zip\r\n"
        sender.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:100_000])
        wait_until(lambda: list_incoming(data) != [])
    wait_until(lambda: list_incoming(data) == [])
    assert requests.get(f"{server.url}/api/runs", timeout=PATIENCE_SECONDS).json() == []


def test_large_run_is_imported_in_little_memory(server: Server, tmp_path: Path) -> None:
    zip_path, content = tmp_path / "run.zip", bytes(range(256)) * 4096
    with zipfile.ZipFile(zip_path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("r/meta.json", meta())
        with archive.open("r/large.bin", "w") as file:
            for _ in range(200):
                file.write(content)
        archive.writestr("r/metrics.jsonl", POINT * 300_000)
    with zip_path.open("rb") as body:
        assert send_import(server, body).json()["imported"] == ["r"]
    assert (server.data / "runs/r/large.bin").stat().st_size == 200 * len(content)
    assert requests.get(f"{server.url}/api/runs/r", timeout=PATIENCE_SECONDS).json()["metric_summary"]["loss"]["count"]
    assert peak_bytes(server.process.pid) < 150_000_000
