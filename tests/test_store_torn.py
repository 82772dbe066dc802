"""Torn last lines, which are ignored, and leftovers of a killed server, which are finished or removed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from support.calls import LogRun, log_good_and_bad, register, upload
from support.servers import Server, wait_until

from chachaml_lite.errors import StoreUnusable
from chachaml_lite.store.store import Store


@pytest.fixture
def bad_run_id(client: FlaskClient, log_run: LogRun) -> str:
    """The id of a run to damage, beside one that stays intact."""
    return log_good_and_bad(client, log_run)


@pytest.mark.parametrize(
    "torn", [b'{"key":"loss","va', b"\x00\x00\x00", b"\xc3", b'{"key":"loss","value":0.5,"step":7,"timestamp":1}']
)
def test_torn_last_metrics_line_is_ignored_and_never_joined_to_the_next(
    client: FlaskClient, log_run: LogRun, data: Path, torn: bytes
) -> None:
    run_id = log_run(metrics={"loss": 1, "step": 1})
    path = data / "runs" / run_id / "metrics.jsonl"
    with path.open("ab") as file:
        file.write(torn)
    whole = torn.endswith(b"}")
    assert client.get(f"/api/runs/{run_id}").get_json()["metrics"] == {"loss": 0.5 if whole else 1}
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 3, "step": 8}).status_code == 200
    summary = client.get(f"/api/runs/{run_id}").get_json()["metric_summary"]["loss"]
    assert (summary["count"], summary["last"]) == (2 + whole, 3)
    lines = path.read_bytes().split(b"\n")
    assert lines[1] == torn and json.loads(lines[2])["value"] == 3 and lines[3] == b""


def test_torn_last_artifacts_line_is_ignored_and_never_joined_to_the_next(
    make_app: Callable[..., Flask], log_run: LogRun, client: FlaskClient, data: Path
) -> None:
    run_id = log_run(artifacts={"a": b"bytes"})
    path = data / "runs" / run_id / "artifacts.jsonl"
    with path.open("ab") as file:
        file.write(b'{"name":"b","sha2')
    assert [artifact["name"] for artifact in client.get(f"/api/runs/{run_id}/artifacts").get_json()] == ["a"]
    assert upload(client, run_id, "b", b"again") == 200
    assert upload(client, run_id, "c", b"more") == 200
    client = make_app().test_client()
    for name, content in (("a", b"bytes"), ("b", b"again"), ("c", b"more")):
        assert client.get(f"/api/artifacts/{run_id}/{name}/download").data == content
    assert len(path.read_bytes().split(b"\n")) == 5


def test_torn_last_history_line_is_ignored_and_never_joined_to_the_next(
    make_app: Callable[..., Flask], client: FlaskClient, bad_run_id: str, data: Path
) -> None:
    path = data / "models/iris/history.jsonl"
    with path.open("ab") as file:
        file.write(b'{"event":"registered","ver')
    assert client.get("/api/models/iris").get_json()["model"]["latest"] == 2
    assert register(client, "good")["version"] == 3
    assert client.post("/api/w/models/iris/promote", json={"version": 3, "stage": "production"}).status_code == 200
    model = make_app().test_client().get("/api/models/iris").get_json()["model"]
    assert (model["latest"], model["production"]) == (3, 3)
    assert len(path.read_bytes().split(b"\n")) == 6


def test_unreadable_history_is_never_started_again(client: FlaskClient, bad_run_id: str, data: Path) -> None:
    path = data / "models/iris/history.jsonl"
    path.write_bytes(b"\x00" * len(path.read_bytes()))
    before = path.read_bytes()
    assert register(client, "good", status=500)["error"] == "storage fault"
    assert path.read_bytes() == before


# -- leftovers of a killed server


def test_leftovers_of_a_killed_server_are_removed_at_the_next_start(serve: Callable[..., Server], data: Path) -> None:
    server = serve()
    run_id = requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "kept"}).json()["id"]
    server.kill()
    incoming = data / "runs/.incoming"
    (incoming / "upload~0123").write_bytes(b"half an upload")
    (incoming / "run~0123").mkdir()
    (incoming / "run~0123/meta.json").write_text('{"id":')
    (incoming / "removed~0123/blobs").mkdir(parents=True)
    (incoming / "removed~0123/blobs/a").write_bytes(b"bytes of a run on its way out")
    (incoming / f"{run_id}~{'0' * 64}~0123").write_bytes(b"an upload whose line was not written")
    (incoming / "link").symlink_to(data.parent)
    leftovers = [data / "runs/kept" / f".{name}.tmp" for name in ("meta.json", "params.json", "summary.json")]
    for leftover in leftovers:
        leftover.write_text('{"half')
    server = serve()
    assert list(incoming.iterdir()) == [] and not any(leftover.exists() for leftover in leftovers)
    assert data.parent.is_dir() and (data / "runs/kept/meta.json").is_file()
    assert [run["id"] for run in requests.get(f"{server.url}/api/runs").json()] == ["kept"]
    assert requests.get(f"{server.url}/api/health").json()["damaged"] == 0


def test_start_after_a_kill_checks_only_runs_changed_since_the_previous_start(
    make_app: Callable[..., Flask], serve: Callable[..., Server], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    for run_id in ("rested", "changed"):
        requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": run_id})
    server.kill()
    unchanged_ns, leftover = (data / "runs/rested").stat().st_ctime_ns, data / "runs/changed/.params.json.tmp"
    os.utime(
        data / ".lock", ns=(unchanged_ns + 1, unchanged_ns + 1)
    )  # as if the server had started after that run's last write

    def is_later() -> bool:
        leftover.unlink(missing_ok=True)
        leftover.write_text('{"half')
        return leftover.parent.stat().st_ctime_ns > unchanged_ns + 1

    wait_until(is_later)
    unlinked_paths: list[str] = []
    unlink = os.unlink

    def record_unlink(path: Any, **options: Any) -> None:
        unlinked_paths.append(str(path))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", record_unlink)
    client = make_app().test_client()
    assert not leftover.exists()
    assert [path for path in unlinked_paths if "/rested/" in path] == []
    assert len(client.get("/api/runs").get_json()) == 2


def test_start_after_a_kill_removes_only_temporary_files_from_experiments(
    make_app: Callable[..., Flask], data: Path
) -> None:
    folder = data / "experiments"
    folder.mkdir(parents=True)
    for name in (".iris.json.tmp", ".gitignore", "notes.json.tmp", ".iris.json", ".iris.tmp"):
        (folder / name).write_text("{}")
    (data / ".lock").write_text("process 1\n")  # as a killed server leaves it
    make_app()
    assert sorted(each.name for each in folder.iterdir()) == [".gitignore", ".iris.json", ".iris.tmp", "notes.json.tmp"]


def test_leftovers_are_ignored_by_a_live_server(client: FlaskClient, bad_run_id: str, data: Path) -> None:
    (data / "runs/bad/.meta.json.tmp").write_text('{"half')
    (data / "runs/.incoming/run~0123").mkdir()
    assert client.post("/api/w/runs/bad/tags", json={"a": 1}).status_code == 200
    assert not (data / "runs/bad/.meta.json.tmp").exists()
    assert client.get("/api/health").get_json()["damaged"] == 0
    assert len(client.get("/api/runs").get_json()) == 2


def interrupt_upload(data: Path, run_id: str, name: str, content: bytes, *, line: str | None = None) -> Path:
    """Create the state of a server killed between an upload's line and its rename; return the path of the bytes."""
    sha256 = hashlib.sha256(content).hexdigest()
    pending_blob = data / "runs/.incoming" / f"{run_id}~{sha256}~0123456789abcdef"
    pending_blob.write_bytes(content)
    record = {"name": name, "sha256": sha256, "size": len(content), "timestamp": 1}
    with (data / "runs" / run_id / "artifacts.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n" if line is None else line)
    return pending_blob


@pytest.mark.parametrize("name", ["a", "b", "A", "inner/deep/b", "NUL", "\u00e4: ?"])
def test_upload_interrupted_between_its_line_and_its_rename_is_finished_at_the_next_start(
    make_app: Callable[..., Flask], bad_run_id: str, data: Path, name: str
) -> None:
    pending_blob = interrupt_upload(data, bad_run_id, name, b"other bytes")
    client = make_app().test_client()
    assert not pending_blob.exists()
    names = {artifact["name"] for artifact in client.get("/api/runs/bad/artifacts").get_json()}
    assert names == {"a", name}
    for each in names:
        content = client.get(f"/api/artifacts/bad/{quote(each)}/download").data
        assert content == (b"other bytes" if each == name else b"the bytes")
    assert client.get("/api/health").get_json()["damaged"] == 0


@pytest.mark.parametrize(
    "line",
    [
        "",
        '{"name":"b","sha2',
        "[]\n",
        '{"sha256": 1}\n',
        '{"name": 7, "sha256": "SHA"}\n',
        '{"sha256": "SHA"}\n',
        '{"name": "", "sha256": "SHA"}\n',
        '{"name": "/etc/x", "sha256": "SHA"}\n',
    ],
)
def test_upload_without_its_line_is_removed(
    make_app: Callable[..., Flask], bad_run_id: str, data: Path, line: str
) -> None:
    sha256 = hashlib.sha256(b"other bytes").hexdigest()
    pending_blob = interrupt_upload(data, bad_run_id, "b", b"other bytes", line=line.replace("SHA", sha256))
    client = make_app().test_client()
    assert not pending_blob.exists()
    assert client.get("/api/artifacts/bad/a/download").data == b"the bytes"
    assert client.get("/api/artifacts/bad/b/download").status_code == 404


@pytest.mark.parametrize("name", ["..~00~11", "a~b~c", "no such run~00~11", ".~.~.", "~~"])
def test_leftover_of_any_name_is_removed(
    make_app: Callable[..., Flask], bad_run_id: str, data: Path, name: str
) -> None:
    (data / "runs/.incoming" / name).write_bytes(b"whatever")
    make_app()
    assert list((data / "runs/.incoming").iterdir()) == []


def test_upload_that_cannot_be_finished_is_kept_for_the_next_start(
    make_app: Callable[..., Flask], bad_run_id: str, data: Path
) -> None:
    pending_blob = interrupt_upload(data, bad_run_id, "inner/b", b"other bytes")
    obstacle = data / "runs/bad/blobs/inner"
    obstacle.symlink_to(data.parent)
    client = make_app().test_client()
    assert client.get("/api/artifacts/bad/inner/b/download").status_code == 404
    assert pending_blob.read_bytes() == b"other bytes"
    obstacle.unlink()
    assert make_app().test_client().get("/api/artifacts/bad/inner/b/download").data == b"other bytes"


@pytest.mark.parametrize("name", ["runs", "runs/.incoming", "models"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_store_with_folders_that_lead_elsewhere_is_not_served_and_nothing_there_is_removed(
    data: Path, name: str, kind: str
) -> None:
    outside = data.parent / "outside"
    outside.mkdir()
    (outside / "mine").write_text("not the store's")
    (data / name).parent.mkdir(parents=True)
    (data / name).symlink_to(outside) if kind == "link" else (data / name).write_text("a file")
    with pytest.raises(StoreUnusable) as excinfo:
        Store(data, "no").close()
    assert name in excinfo.value.detail
    assert (outside / "mine").read_text() == "not the store's"
