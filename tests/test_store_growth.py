"""The cost of a request depends on what it asks for and on changes, not on the store's size; no change is missed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.calls import OCTETS, register
from support.servers import wait_until

from chachaml_lite.store import point_files, scan, watch
from chachaml_lite.store.model_files import ModelFiles
from chachaml_lite.tracking.index.run_entry import ALL_PARTS, Run
from chachaml_lite.tracking.index.run_parts import ARTIFACTS, META, PARAMS, SUMMARY
from chachaml_lite.tracking.tracker import Tracker

LogRun = Callable[..., str]
DEADLINE = 60


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders listed so far, a list that grows."""
    names: list[str] = []
    listing = scan.list_folder

    def record(path: str) -> scan.Folders:
        names.append(Path(path).name)
        return listing(path)

    monkeypatch.setattr(scan, "list_folder", record)
    return names


@pytest.fixture
def no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """No change events from the kernel."""
    monkeypatch.setattr(watch, "_LOCAL", frozenset())


def list_ids(client: FlaskClient, query: str = "") -> set[str]:
    return {run["id"] for run in client.get(f"/api/runs?limit=1000{query}").get_json()}


def log_complete_run(client: FlaskClient, run_id: str) -> None:
    """Log a complete run with requests that concern only this run."""
    assert client.post("/api/w/runs", json={"experiment": "e", "id": run_id}).status_code == 200
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1}).status_code == 200
    assert client.post(f"/api/w/runs/{run_id}/params", json={"lr": 1}).status_code == 200
    assert client.get(f"/api/runs/{run_id}").status_code == 200
    assert client.post(f"/api/w/runs/{run_id}/end").status_code == 200


def test_new_runs_are_listed_without_reading_the_folder_again(client: FlaskClient, listings: list[str]) -> None:
    assert_new_runs_show_at_once(client, listings)


def assert_new_runs_show_at_once(client: FlaskClient, listings: list[str]) -> None:
    assert list_ids(client) == set()
    listings.clear()
    for number in range(20):
        log_complete_run(client, f"run-{number}")
        assert len(list_ids(client, "&experiment=e")) == number + 1
    client.delete("/api/w/runs/run-3")
    assert "run-3" not in list_ids(client)
    assert listings.count("runs") == 0


@pytest.mark.usefixtures("no_events")
def test_own_runs_are_listed_at_once_without_kernel_events(
    client: FlaskClient, listings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "LOOK_SECONDS", 3600.0)
    assert_new_runs_show_at_once(client, listings)


@pytest.mark.usefixtures("no_events")
def test_copied_run_is_listed_soon_without_kernel_events_and_found_at_once_by_id(
    client: FlaskClient, log_run: LogRun, data: Path
) -> None:
    log_run(id="a", end="completed")
    assert list_ids(client) == {"a"}
    shutil.copytree(data / "runs/a", data / "runs/b")
    assert client.get("/api/runs/b").status_code == 200
    shutil.copytree(data / "runs/a", data / "runs/c")
    shutil.rmtree(data / "runs/a")
    assert client.get("/api/runs/a").status_code == 404
    deadline = time.monotonic() + DEADLINE
    while list_ids(client) != {"b", "c"}:
        assert time.monotonic() < deadline


def test_folder_with_an_mtime_in_the_future_is_not_listed_more_often(
    client: FlaskClient, log_run: LogRun, data: Path, listings: list[str]
) -> None:
    run_id = log_run(id="a", artifacts={"m": b"m"}, end="completed")
    client.post("/api/w/models", json={"name": "iris", "run_id": run_id, "artifact": "m"})
    for name in ("runs", "models"):
        os.utime(data / name, (4e9, 4e9))
    deadline = time.monotonic() + DEADLINE
    while True:
        listings.clear()
        assert list_ids(client) == {"a"}
        assert client.get("/api/models").status_code == 200
        if not listings:
            break
        assert time.monotonic() < deadline
    for _ in range(5):
        client.get("/api/models")
    assert listings == []


def test_create_run_409_for_id_differing_only_in_case_from_a_copied_run(
    client: FlaskClient, log_run: LogRun, data: Path
) -> None:
    log_run(id="first", end="completed")
    assert list_ids(client) == {"first"}
    shutil.copytree(data / "runs/first", data / "runs/Second")
    body = {"experiment": "e", "id": "sECOND"}
    assert client.post("/api/w/runs", json=body).status_code == 409
    assert client.post("/api/w/runs", json={**body, "id": "FIRST"}).status_code == 409
    shutil.rmtree(data / "runs/Second")
    assert client.post("/api/w/runs", json=body).status_code == 200
    assert client.post("/api/w/runs", json={**body, "id": "second"}).status_code == 409
    assert client.delete("/api/w/runs/sECOND").status_code == 200
    assert client.post("/api/w/runs", json={**body, "id": "second"}).status_code == 200
    assert list_ids(client) == {"first", "second"}


def test_run_created_again_under_its_id_is_the_new_one(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    for turn in range(5):
        assert client.post("/api/w/runs", json={"experiment": f"e{turn}", "id": "a"}).status_code == 200
        client.post("/api/w/runs/a/params", json={"turn": turn})
        if turn % 2:
            assert list_ids(client, f"&experiment=e{turn}") == {"a"}
            assert client.delete("/api/w/runs/a").status_code == 200
        else:
            shutil.rmtree(data / "runs/a")
        assert list_ids(client, f"&experiment=e{turn}") == set()
    log_run(id="b", experiment="other")
    log_run(id="a", experiment="mine")
    (data / "runs/a").rename(data / "runs/.a")
    (data / "runs/b").rename(data / "runs/a")
    assert [run["experiment"] for run in client.get("/api/runs").get_json()] == ["other"]
    assert client.get("/api/runs/a").get_json()["experiment"] == "other"


def test_run_replaced_by_a_link_is_404(client: FlaskClient, log_run: LogRun, data: Path, tmp_path: Path) -> None:
    log_run(id="a")
    assert list_ids(client) == {"a"}
    shutil.move(data / "runs/a", tmp_path / "elsewhere")
    (data / "runs/a").symlink_to(tmp_path / "elsewhere")
    assert client.get("/api/runs/a").status_code == 404
    assert client.post("/api/w/runs/a/metrics", json={"loss": 1}).status_code == 404
    assert list_ids(client) == set()


def test_overflow_of_the_kernels_event_queue_misses_no_folder(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    log_run(id="a")
    log_run(id="b")
    assert list_ids(client) == {"a", "b"}
    for number in range(int(limit.read_text()) // 2 + 100 if limit.exists() else 0):
        (data / f"runs/x{number % 7}").mkdir()
        (data / f"runs/x{number % 7}").rmdir()
    shutil.copytree(data / "runs/a", data / "runs/c")
    shutil.rmtree(data / "runs/b")
    assert list_ids(client) == {"a", "c"}


def test_writes_between_lists_never_lose_changes_of_others(
    client: FlaskClient, log_run: LogRun, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chachaml_lite.tracking.index.pending_looks._WRITES", 10)
    for run_id in ("a", "b"):
        log_run(id=run_id)
    assert list_ids(client) == {"a", "b"}
    meta = json.loads((data / "runs/a/meta.json").read_text())
    (data / "runs/a/meta.json").write_text(json.dumps({**meta, "experiment": "tulip"}))
    for step in range(25):
        client.post("/api/w/runs/b/metrics", json={"loss": 1, "step": step})
    assert list_ids(client, "&experiment=tulip") == {"a"}


_OTHER_PROCESS = """
import os, random, shutil, sys
runs, source = sys.argv[1:]
random.seed(7)
for turn in range(400):
    name = f"r{random.randrange(12)}"
    path = f"{runs}/{name}"
    act = random.randrange(3)
    try:
        if act == 0:
            shutil.copytree(source, f"{runs}/.new")
            os.rename(f"{runs}/.new", path)
        elif act == 1:
            os.rename(path, f"{runs}/s{random.randrange(12)}")
        else:
            shutil.rmtree(path)
    except OSError:
        shutil.rmtree(f"{runs}/.new", ignore_errors=True)
"""


@pytest.mark.parametrize("has_no_events", [False, True])
def test_lists_match_the_disk_after_changes_by_another_process_and_many_threads(
    make_app: Callable[..., Flask],
    log_run: LogRun,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_no_events: bool,
) -> None:
    if has_no_events:
        monkeypatch.setattr(watch, "_LOCAL", frozenset())
        monkeypatch.setattr(scan, "LOOK_SECONDS", 0.0)
    app = make_app()
    client = app.test_client()
    client.post("/api/w/runs", json={"experiment": "e", "id": "source"})
    shutil.copytree(data / "runs/source", tmp_path / "source")
    statuses: set[int] = set()
    stop = threading.Event()

    def work(number: int) -> None:
        own_client = app.test_client()
        turn = 0
        while not stop.is_set():
            turn += 1
            run_id = f"r{(number + turn) % 12}"
            answers: list[Any] = [
                own_client.post("/api/w/runs", json={"experiment": "e", "id": run_id}),
                own_client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": turn}),
                own_client.get("/api/runs?limit=5&experiment=e"),
                own_client.get("/api/runs?limit=1000"),
                own_client.delete(f"/api/w/runs/{run_id}"),
            ]
            statuses.update(answer.status_code for answer in answers)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        subprocess.run(
            [sys.executable, "-c", _OTHER_PROCESS, data / "runs", tmp_path / "source"], check=True, timeout=DEADLINE
        )
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE)
    ids_on_disk = {each.name for each in (data / "runs").iterdir() if (each / "meta.json").exists()}
    assert list_ids(client) == list_ids(client, "&experiment=e") == ids_on_disk
    assert client.get("/api/health").get_json()["runs"] == len(ids_on_disk)
    for run_id in ids_on_disk:
        assert client.get(f"/api/runs/{run_id}").status_code == 200
    assert statuses <= {200, 404, 409}


@pytest.mark.parametrize("move", ["renamed", "removed"])
@pytest.mark.parametrize("write", ["params", "tags", "metrics", "artifacts", "end", "delete"])
def test_run_moved_or_removed_during_a_write_is_404(
    client: FlaskClient, log_run: LogRun, data: Path, monkeypatch: pytest.MonkeyPatch, write: str, move: str
) -> None:
    log_run(id="a", artifacts={"m": b"first"})
    lines = (data / "runs/a/artifacts.jsonl").read_bytes()
    lock_run = Tracker.run
    calls = 0

    def move_run(self: Tracker, run_id: str, parts: tuple[int, ...] = ALL_PARTS) -> Run:
        nonlocal calls
        run = lock_run(self, run_id, parts)
        run.part(META), run.part(PARAMS), run.part(SUMMARY), run.part(ARTIFACTS)
        calls += 1
        if calls == (2 if write == "artifacts" else 1):
            if move == "renamed":
                (data / "runs/a").rename(data / "runs/.a")
            else:
                shutil.rmtree(data / "runs/a")
        return run

    monkeypatch.setattr(Tracker, "run", move_run)
    url = f"/api/w/runs/a/{write}"
    if write == "artifacts":
        answer = client.post(f"{url}?name=m&overwrite=true", data=b"second", content_type=OCTETS)
    elif write == "delete":
        answer = client.delete("/api/w/runs/a")
    else:
        answer = client.post(url, json={"status": "completed"} if write == "end" else {"x": 1})
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")
    assert sorted(each.name for each in (data / "runs").iterdir() if each.name != ".incoming") == (
        [".a"] if move == "renamed" else []
    )
    if move == "renamed":
        assert (data / "runs/.a/artifacts.jsonl").read_bytes() == lines
    assert list((data / "runs/.incoming").iterdir()) == []


def test_upload_whose_run_is_renamed_between_its_line_and_its_bytes_leaves_no_line(
    client: FlaskClient, log_run: LogRun, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_run(id="a", artifacts={"m": b"first"})
    lines = (data / "runs/a/artifacts.jsonl").read_bytes()
    rename = os.rename

    def rename_late(source: str, target: str) -> None:
        if str(target).endswith("/a/blobs/m"):
            rename(data / "runs/a", data / "runs/b")
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_late)
    answer = client.post("/api/w/runs/a/artifacts?name=m&overwrite=true", data=b"second", content_type=OCTETS)
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")
    assert (data / "runs/b/artifacts.jsonl").read_bytes() == lines
    assert (data / "runs/b/blobs/m").read_bytes() == b"first"
    assert list((data / "runs/.incoming").iterdir()) == []


def test_history_is_not_read_again_after_writes_of_this_server(
    client: FlaskClient, log_run: LogRun, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = log_run(artifacts={"a": b"bytes"})
    register(client, run_id)
    assert client.get("/api/models/iris").status_code == 200
    reads: list[str] = []
    events = ModelFiles.events
    monkeypatch.setattr(ModelFiles, "events", lambda files, folder: reads.append(folder) or events(files, folder))  # type: ignore[func-returns-value]
    for number in (2, 3):
        assert register(client, run_id)["version"] == number
        assert len(client.get("/api/models/iris").get_json()["versions"]) == number
    assert reads == []
    with (data / "models/iris/history.jsonl").open("a") as file:
        file.write("\n")
    assert register(client, run_id)["version"] == 4
    assert reads == ["iris"]


# -- metrics.jsonl stays open after a write, but not for long and not for all runs


def list_runs_with_open_points(data: Path) -> set[str]:
    """Return the ids of the runs whose metrics.jsonl this process has open."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("this system doesn't list a process's descriptors in /proc")
    run_ids = set()
    for descriptor in descriptors.iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            target = Path(os.readlink(descriptor))
            if target.name == "metrics.jsonl" and target.is_relative_to(data):
                run_ids.add(target.parent.name)
    return run_ids


def test_metrics_file_is_closed_when_idle(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    """It is opened again for the next point, which is written once."""
    run_id = log_run(metrics={"loss": 1})
    wait_until(lambda: list_runs_with_open_points(data) == set())
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 2, "step": 1}).status_code == 200
    assert (data / "runs" / run_id / "metrics.jsonl").read_bytes().count(b"\n") == 2


def test_number_of_open_metrics_files_is_limited(
    client: FlaskClient, log_run: LogRun, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(point_files, "MAX_OPEN", 3)
    run_ids = [log_run() for _ in range(8)]
    for step in range(2):
        for run_id in run_ids:
            assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1, "step": step}).status_code == 200
            assert len(list_runs_with_open_points(data)) <= 3
    for run_id in run_ids:
        assert (data / "runs" / run_id / "metrics.jsonl").read_bytes().count(b"\n") == 2
