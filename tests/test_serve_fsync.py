"""Syncing to disk: the system calls of a real server, traced and made to fail by strace."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from support.calls import OCTETS
from support.servers import Server, wait_until

Serve = Callable[..., Server]
_CALL = re.compile(r"\b(?:fsync|fdatasync)\(\d+<([^>]*)>")


def make_strace_command(tool: Callable[[str], str], *options: str) -> list[str]:
    """Return a wrapper of the server's command that traces it and keeps the server's process id."""
    return [tool("strace"), "-D", "-f", "-y", "-qq", "--seccomp-bpf", *options]


def post(server: Server, path: str, body: Any) -> requests.Response:
    if isinstance(body, bytes):
        return requests.post(server.url + path, data=body, headers={"Content-Type": OCTETS})
    return requests.post(server.url + path, json=body)


#: Each kind of write, and the files and folders that have to be synced before the response, relative to the store.
WRITES: list[tuple[str, Any, set[str]]] = [
    ("/api/w/runs", {"experiment": "e", "id": "r"}, {"meta.json", "run~", "runs"}),
    ("/api/w/runs/r/params", {"a": 1}, {"params.json", "runs/r"}),
    ("/api/w/runs/r/tags", {"a": 1}, {"meta.json", "runs/r"}),
    ("/api/w/runs/r/artifacts?name=a", b"bytes", {"upload~", "artifacts.jsonl", "runs/r", "runs/r/blobs"}),
    ("/api/w/runs/r/artifacts?name=deep/a", b"bytes", {"upload~", "artifacts.jsonl", "runs/r/blobs", "blobs/deep"}),
    ("/api/w/models", {"name": "iris", "run_id": "r", "artifact": "a"}, {"history.jsonl", "model~", "models"}),
    ("/api/w/models", {"name": "iris", "run_id": "r", "artifact": "a"}, {"history.jsonl"}),
    ("/api/w/models/iris/promote", {"version": 2, "stage": "production"}, {"history.jsonl"}),
    ("/api/w/runs/r/end", {"status": "failed"}, {"meta.json", "runs/r"}),
]
POINTS = ("/api/w/runs/r/metrics", {"loss": 1, "step": 1})


def read_synced_paths(trace: Path, since: int) -> tuple[list[str], int]:
    """Return the paths synced after the first `since` lines of the trace, and the present number of lines."""
    lines = trace.read_text().splitlines()
    return [match[1] for line in lines[since:] if (match := _CALL.search(line))], len(lines)


@pytest.mark.parametrize("mode", ["always", "everysec", "no"])
def test_each_write_is_synced_before_its_response_as_the_mode_says(
    serve: Serve, tool: Callable[[str], str], data: Path, tmp_path: Path, mode: str
) -> None:
    trace = tmp_path / "trace"
    server = serve("--fsync", mode, wrapper=make_strace_command(tool, "-e", "trace=fsync,fdatasync", "-o", str(trace)))
    line_count = len(trace.read_text().splitlines())
    for path, body, parts in WRITES:
        assert post(server, path, body).status_code == 200
        # A traced call continues only after its line was written, so all calls before the response are in the trace.
        paths, line_count = read_synced_paths(trace, line_count)
        for part in parts if mode != "no" else ():
            assert any(each.endswith(part) or part in Path(each).name for each in paths), (path, part, paths)
        assert mode != "no" or paths == []
        if path == "/api/w/runs":
            assert post(server, *POINTS).status_code == 200
            paths, line_count = read_synced_paths(trace, line_count)
            first_syncs = [each for each in paths if each.endswith("metrics.jsonl")]
            assert post(server, *POINTS).status_code == 200
            paths, line_count = read_synced_paths(trace, line_count)
            names = [Path(each).name for each in paths]
            if mode == "everysec":  # after the responses, at intervals: not yet, or already for both of them
                assert set(names) <= {"metrics.jsonl"}
            else:
                assert (len(first_syncs), names) == {"always": (1, ["metrics.jsonl"]), "no": (0, [])}[mode]
    assert server.stop() == 0


def test_points_are_synced_soon_after_their_response(serve: Serve, tool: Callable[[str], str], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    server = serve(wrapper=make_strace_command(tool, "-e", "trace=fsync,fdatasync", "-o", str(trace)))
    assert post(server, *WRITES[0][:2]).status_code == 200
    for number in range(1, 4):
        assert post(server, *POINTS).status_code == 200
        wait_until(lambda number=number: trace.read_text().count("metrics.jsonl>") >= number)  # type: ignore[misc]


def make_failing_strace_command(tool: Callable[[str], str], path: Path) -> list[str]:
    """Return a wrapper of the server's command with which each fsync of one file fails."""
    return make_strace_command(
        tool, "-P", str(path), "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "-o", "/dev/null"
    )


def test_points_whose_fsync_fails_are_not_stored_in_mode_always(
    serve: Serve, tool: Callable[[str], str], data: Path
) -> None:
    path = data / "runs/r/metrics.jsonl"
    server = serve("--fsync", "always", wrapper=make_failing_strace_command(tool, path))
    assert post(server, *WRITES[0][:2]).status_code == 200
    for _ in range(2):
        answer = post(server, *POINTS)
        assert (answer.status_code, answer.json()["error"]) == (500, "storage fault")
        assert str(data) not in answer.text
        assert not path.exists() or path.read_bytes() == b""
        assert requests.get(f"{server.url}/api/runs/r").json()["metrics"] == {}
    assert post(server, "/api/w/runs/r/params", {"a": 1}).status_code == 200


def test_points_are_refused_until_a_restart_after_a_delayed_fsync_failed(
    serve: Serve, tool: Callable[[str], str], data: Path
) -> None:
    server = serve(wrapper=make_failing_strace_command(tool, data / "runs/r/metrics.jsonl"))
    assert post(server, *WRITES[0][:2]).status_code == 200
    assert post(server, "/api/w/runs", {"experiment": "e", "id": "other"}).status_code == 200
    assert post(server, *POINTS).status_code == 200
    wait_until(lambda: "fsync failed" in server.log)
    content = (data / "runs/r/metrics.jsonl").read_bytes()
    answer = post(server, *POINTS)
    assert (answer.status_code, answer.json()["error"]) == (500, "storage fault")
    assert (data / "runs/r/metrics.jsonl").read_bytes() == content
    assert post(server, "/api/w/runs/other/metrics", {"loss": 1}).status_code == 200
    assert requests.get(f"{server.url}/api/runs/r").json()["metrics"] == {"loss": 1}
    assert requests.delete(f"{server.url}/api/w/runs/r").status_code == 200
    assert post(server, *WRITES[0][:2]).status_code == 200
    assert post(server, *POINTS).status_code == 200  # to a new file of the same name
    assert server.stop() == 0
    server = serve()
    assert post(server, *POINTS).status_code == 200


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("runs/r/.params.json.tmp", "/api/w/runs/r/params", {"a": 1}),
        ("runs/r/.meta.json.tmp", "/api/w/runs/r/end", {"status": "failed"}),
        ("runs/r/artifacts.jsonl", "/api/w/runs/r/artifacts?name=b", b"bytes"),
        ("models/iris/history.jsonl", "/api/w/models", {"name": "iris", "run_id": "r", "artifact": "a"}),
    ],
)
def test_write_whose_fsync_fails_changes_nothing(
    serve: Serve, tool: Callable[[str], str], data: Path, name: str, path: str, body: Any
) -> None:
    server = serve()
    for each, content, _ in [*WRITES[:1], *WRITES[2:4], *WRITES[5:6]]:
        assert post(server, each, content).status_code == 200
    assert server.stop() == 0
    before = {file: file.read_bytes() for file in sorted(data.rglob("*")) if file.is_file() and file.name != ".lock"}
    server = serve(wrapper=make_failing_strace_command(tool, data / name))
    assert post(server, path, body).status_code == 500
    assert server.stop() == 0
    after = {file: file.read_bytes() for file in sorted(data.rglob("*")) if file.is_file() and file.name != ".lock"}
    assert after == before
