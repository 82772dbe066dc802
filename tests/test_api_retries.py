"""Writes repeated because a response was lost: those the contract calls repeatable leave the same state each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.calls import OCTETS, LogRun
from support.snapshots import snapshot

MakeApp = Callable[..., Flask]


@dataclass(frozen=True)
class Write:
    """A write to the run "r" or its model "iris"."""

    path: str
    body: Any = None
    #: The fields in which the second answer differs from the first.
    changing_fields: tuple[str, ...] = ()

    def send(self, client: FlaskClient) -> Any:
        request: dict[str, Any] = {"json": self.body} if self.body is not None else {}
        if isinstance(self.body, bytes):
            request = {"data": self.body, "content_type": OCTETS}
        answer = client.post(self.path, **request)
        assert answer.status_code == 200, answer.text
        body = answer.get_json()
        return {key: value for key, value in body.items() if key not in self.changing_fields}


RUN = "/api/w/runs/r"
#: Each kind of write that may be repeated, once the store has what it needs.
WRITES = {
    "a run with an id": Write(
        "/api/w/runs", {"experiment": "e", "id": "new", "name": "n", "tags": {"a": 1, "b": None}}
    ),
    "a run with a parent": Write("/api/w/runs", {"experiment": "e", "id": "new", "parent_run_id": "r"}),
    "params": Write(f"{RUN}/params", {"lr": 0.1, "layers": [1, {"a": None}], "flag": True, "one": 1.0}),
    "params, some known": Write(f"{RUN}/params", {"known": 1, "lr": 0.1}),
    "no params": Write(f"{RUN}/params", {}),
    "an artifact": Write(f"{RUN}/artifacts?name=deep/m", b"bytes"),
    "an empty artifact": Write(f"{RUN}/artifacts?name=empty", b""),
    "an artifact that replaces one": Write(f"{RUN}/artifacts?name=old&overwrite=true", b"new bytes"),
    "an end": Write(f"{RUN}/end"),
    "an end with a status": Write(f"{RUN}/end", {"status": "failed", "error": "out of memory"}),
    "an end by exit code": Write(f"{RUN}/end?exit_code=3"),
    "tags": Write(f"{RUN}/tags", {"os": "linux", "n": 1.5, "yes": True, "known": None}),
    "a tag in chachaml's spelling": Write("/api/tags/r", {"key": "os", "value": "linux"}),
    "a note": Write(f"{RUN}/note", {"note": "# what I saw"}),
    "no note": Write(f"{RUN}/note", {"note": ""}),
    "a note in chachaml's spelling": Write("/api/note/r", {"note": "# what I saw"}),
    # A repeated promotion can't report again the versions that the first one has moved.
    "a promotion": Write(
        "/api/w/models/iris/promote", {"version": 2, "stage": "production"}, changing_fields=("demoted",)
    ),
    "a promotion to where it is": Write("/api/w/models/iris/promote", {"version": 1, "stage": "production"}),
}


@pytest.fixture
def client_with_run(client: FlaskClient, log_run: LogRun) -> FlaskClient:
    log_run(id="r", params={"known": 1}, tags={"known": "x"}, artifacts={"old": b"old bytes", "m": b"m"})
    for stage in ("production", "staging"):
        body = {"name": "iris", "run_id": "r", "artifact": "m", "stage": stage}
        assert client.post("/api/w/models", json=body).status_code == 200
    return client


def read_state(client: FlaskClient, data: Path) -> tuple[dict[str, Any], dict[str, bytes | None]]:
    """Return everything that the API returns, and the contents of all files."""
    answers: dict[str, Any] = {}
    paths = ["/api/runs?limit=1000", "/api/models", "/api/models/iris", "/api/experiments", "/api/export"]
    for run in client.get(paths[0]).get_json():
        base = f"/api/runs/{run['id']}"
        paths += [base, f"{base}/metrics", f"{base}/artifacts", f"/api/tags/{run['id']}", f"/api/datasets/{run['id']}"]
        for artifact in client.get(f"{base}/artifacts").get_json():
            paths.append(f"/api/artifacts/{artifact['id']}/download")
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, path
        answers[path] = answer.get_data()
    files = snapshot(data)
    del files[".lock"]
    return answers, files


@pytest.mark.parametrize("kind", WRITES)
def test_write_repeated_at_once_leaves_the_same_state(client_with_run: FlaskClient, data: Path, kind: str) -> None:
    write = WRITES[kind]
    first = write.send(client_with_run)
    after = read_state(client_with_run, data)
    for _ in range(2):
        assert write.send(client_with_run) == first
        assert read_state(client_with_run, data) == after


@pytest.mark.parametrize("kind", WRITES)
def test_write_repeated_after_a_restart_leaves_the_same_state(
    client_with_run: FlaskClient, make_app: MakeApp, data: Path, kind: str
) -> None:
    write = WRITES[kind]
    first = write.send(client_with_run)
    after = read_state(client_with_run, data)
    restarted = make_app().test_client()
    assert write.send(restarted) == first
    assert read_state(restarted, data) == after


def test_writes_of_a_script_with_retries_leave_the_same_state(
    client: FlaskClient, make_app: MakeApp, data: Path
) -> None:
    """As by a shell script with `curl --retry` that lost each response once."""
    script = [
        Write("/api/w/runs", {"experiment": "e", "id": "r"}),
        Write(f"{RUN}/params", {"lr": 0.1}),
        Write(f"{RUN}/artifacts?name=m", b"m"),
        Write(f"{RUN}/tags", {"a": 1}),
        Write(f"{RUN}/end"),
        Write(f"{RUN}/note", {"note": "done"}),
    ]
    for write in script:
        write.send(client)
        write.send(client)
    client.post("/api/w/models", json={"name": "iris", "run_id": "r", "artifact": "m"})
    after = read_state(client, data)
    restarted = make_app().test_client()
    for write in (script[0], *script[3:]):
        write.send(restarted)
    assert read_state(restarted, data) == after


def test_point_sent_twice_is_stored_twice_and_shown_once(client_with_run: FlaskClient) -> None:
    """By the contract, every point is kept on disk, and a chart shows the last of several at one step."""
    for _ in range(2):
        client_with_run.post(f"{RUN}/metrics", json={"loss": 0.5, "step": 3})
    series = client_with_run.get("/api/runs/r/metrics?max_points=10").get_json()["loss"]
    assert (series["total"], [point["step"] for point in series["points"]]) == (2, [3])
    assert client_with_run.get("/api/runs/r").get_json()["metrics"] == {"loss": 0.5}
