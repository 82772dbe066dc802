"""Changes behind the server's back are noticed at the next request, with inotify and without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from chachaml_lite.store import reading, scan, watch
from chachaml_lite.store.run_files import RunFiles

LogRun = Callable[..., str]


@pytest.fixture(params=["watched", "scanned each time", "more runs than watches", "runs/ unwatched"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The ways of noticing changes to runs; scans, where they are used, without a pause between them."""
    monkeypatch.setattr(scan, "LOOK_SECONDS", 0.0)
    if request.param == "scanned each time":
        monkeypatch.setattr(watch, "_LOCAL", frozenset())
    elif request.param == "runs/ unwatched":
        monkeypatch.setattr(watch.EntryWatch, "start", lambda self: None)
    elif request.param == "more runs than watches":
        add = watch.Watch.add
        monkeypatch.setattr(watch.Watch, "add", lambda self, name, path: len(self._names) < 1 and add(self, name, path))
    yield request.param


def list_ids(client: FlaskClient, query: str = "") -> list[str]:
    """Return the ids in a list, after checking that a repeated request with its ETag is a 304."""
    first = client.get(f"/api/runs{query}")
    again = client.get(f"/api/runs{query}", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    return [run["id"] for run in first.get_json()]


def test_each_change_by_hand_shows_in_the_next_list_and_in_its_etag(
    client: FlaskClient, log_run: LogRun, data: Path
) -> None:
    runs = data / "runs"
    for run_id in ("a", "b", "c"):
        log_run(id=run_id, params={"lr": 1}, metrics={"loss": 1.0}, end="completed")
    assert list_ids(client) == ["c", "b", "a"]
    etags = {client.get("/api/runs").headers["ETag"]}

    def assert_new_etag() -> str:
        etag: str = client.get("/api/runs").headers["ETag"]
        assert etag not in etags
        etags.add(etag)
        return etag

    shutil.copytree(runs / "a", runs / "z")
    assert list_ids(client, "?limit=1000") == ["c", "b", "z", "a"]  # it has the start time of a, so the id decides
    assert_new_etag()
    meta = json.loads((runs / "a/meta.json").read_text())
    (runs / "a/meta.json").write_text(
        json.dumps({**meta, "start_time": meta["start_time"] + 10**9, "status": "failed"})
    )
    assert list_ids(client) == ["a", "c", "b", "z"]
    assert list_ids(client, "?status=failed") == ["a"]
    assert_new_etag()
    (runs / "b/params.json").write_text('{"lr": 2}')
    assert list_ids(client, "?param.lr=2") == ["b"]
    assert_new_etag()
    with (runs / "c/metrics.jsonl").open("a") as file:
        file.write('{"key":"loss","value":0.1,"step":5,"timestamp":1}\n')
    assert list_ids(client, "?order_by=metrics.loss")[0] == "c"
    assert_new_etag()
    temporary = runs / "b/.mine"
    temporary.write_text((runs / "b/meta.json").read_text().replace('"iris"', '"tulip"'))
    temporary.rename(runs / "b/meta.json")
    assert list_ids(client, "?experiment=tulip") == ["b"]
    assert_new_etag()
    shutil.rmtree(runs / "c")
    assert list_ids(client) == ["a", "b", "z"]
    assert_new_etag()
    (runs / "z").rename(runs / "y")
    assert list_ids(client) == ["a", "b", "y"]
    assert_new_etag()
    (runs / "y/meta.json").write_text("{")
    assert list_ids(client) == ["a", "b"]
    assert client.get("/api/health").get_json()["damaged"] == 1
    assert_new_etag()
    (runs / "y/meta.json").write_text(json.dumps(meta))
    assert list_ids(client) == ["a", "b", "y"]
    assert_new_etag()


def test_overflow_of_the_kernels_event_queue_loses_no_change(
    client: FlaskClient, log_run: LogRun, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    events = int(limit.read_text()) if limit.exists() else 0
    for run_id in ("a", "b"):
        log_run(id=run_id)
    assert list_ids(client) == ["b", "a"]
    paths = [data / "runs" / run_id / "notes.txt" for run_id in ("a", "b")]
    for number in range(events // 2 + 100):  # alternating, since the kernel merges equal successive events
        with paths[number % 2].open("a") as file:
            file.write("x")
    meta = json.loads((data / "runs/a/meta.json").read_text())
    (data / "runs/a/meta.json").write_text(json.dumps({**meta, "experiment": "tulip"}))
    assert list_ids(client, "?experiment=tulip") == ["a"]


def test_list_of_ended_runs_never_parses_their_points(
    make_app: Callable[..., Flask], log_run: LogRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        log_run(metrics=[{"loss": 1.0 / (step + 1), "step": step} for step in range(number + 1)], end="completed")

    def refuse(*_: object) -> Iterator[bytes]:
        raise AssertionError("metrics.jsonl was read")

    monkeypatch.setattr(RunFiles, "read_lines", refuse)
    client = make_app().test_client()  # another server, which has read nothing yet
    runs = client.get("/api/runs?order_by=metrics.loss").get_json()
    assert [run["metrics"]["loss"] for run in runs] == [1 / 3, 0.5, 1.0]
    assert client.get("/api/health").get_json()["damaged"] == 0


def test_unchanged_list_reads_no_file(client: FlaskClient, log_run: LogRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        log_run(params={"lr": 1}, metrics={"loss": 1.0}, end="completed")
    first = client.get("/api/runs")
    opened_files: list[str] = []
    open_regular = reading.open_regular
    monkeypatch.setattr(reading, "open_regular", lambda path: opened_files.append(path) or open_regular(path))  # type: ignore[func-returns-value]
    again = client.get("/api/runs")
    assert (again.data, opened_files) == (first.data, [])
    assert client.get("/api/runs", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert opened_files == []


@pytest.mark.parametrize("kernel", ["watched"], indirect=True)
def test_watched_file_is_not_stamped_again(
    client: FlaskClient, log_run: LogRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = log_run(params={"lr": 1}, metrics={"loss": 1.0}, artifacts={"a": b"bytes"}, end="completed")
    stamped_names: list[str] = []
    stamp, stamps = RunFiles.stamp, RunFiles.stamps

    def record_stamp(files: RunFiles, run_id: str, name: str) -> reading.Stamp:
        stamped_names.append(name)
        return stamp(files, run_id, name)

    def record_stamps(files: RunFiles, run_id: str, names: Iterable[str]) -> list[reading.Stamp]:
        stamped_names.extend(names)
        return stamps(files, run_id, names)

    monkeypatch.setattr(RunFiles, "stamp", record_stamp)
    monkeypatch.setattr(RunFiles, "stamps", record_stamps)
    client.get("/api/runs")
    for path in (f"runs/{run_id}", f"runs/{run_id}/metrics", f"runs/{run_id}/download"):
        assert client.get(f"/api/{path}").status_code == 200
    stamped_names.clear()
    assert [run["id"] for run in client.get("/api/runs").get_json()] == [run_id]
    assert stamped_names == []
