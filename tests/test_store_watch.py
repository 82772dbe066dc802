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


@pytest.fixture(params=["watched", "looked at each time", "more runs than watches", "runs/ unwatched"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The ways in which the runs are known to be unchanged; where looking is one, with no pause between two looks."""
    monkeypatch.setattr(scan, "LOOK_SECONDS", 0.0)
    if request.param == "looked at each time":
        monkeypatch.setattr(watch, "_LOCAL", frozenset())
    elif request.param == "runs/ unwatched":
        monkeypatch.setattr(watch.EntryWatch, "start", lambda self: None)
    elif request.param == "more runs than watches":
        add = watch.Watch.add
        monkeypatch.setattr(watch.Watch, "add", lambda self, name, path: len(self._names) < 1 and add(self, name, path))
    yield request.param


def ids(client: FlaskClient, query: str = "") -> list[str]:
    """The ids of a list whose answer is not taken from a cache when its ETag says that it is the same."""
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
    assert ids(client) == ["c", "b", "a"]
    seen = {client.get("/api/runs").headers["ETag"]}

    def changed() -> str:
        etag: str = client.get("/api/runs").headers["ETag"]
        assert etag not in seen
        seen.add(etag)
        return etag

    shutil.copytree(runs / "a", runs / "z")
    assert ids(client, "?limit=1000") == ["c", "b", "z", "a"]  # started when a was, and then by id
    changed()
    meta = json.loads((runs / "a/meta.json").read_text())
    (runs / "a/meta.json").write_text(
        json.dumps({**meta, "start_time": meta["start_time"] + 10**9, "status": "failed"})
    )
    assert ids(client) == ["a", "c", "b", "z"]
    assert ids(client, "?status=failed") == ["a"]
    changed()
    (runs / "b/params.json").write_text('{"lr": 2}')
    assert ids(client, "?param.lr=2") == ["b"]
    changed()
    with (runs / "c/metrics.jsonl").open("a") as file:
        file.write('{"key":"loss","value":0.1,"step":5,"timestamp":1}\n')
    assert ids(client, "?order_by=metrics.loss")[0] == "c"
    changed()
    prepared = runs / "b/.mine"
    prepared.write_text((runs / "b/meta.json").read_text().replace('"iris"', '"tulip"'))
    prepared.rename(runs / "b/meta.json")
    assert ids(client, "?experiment=tulip") == ["b"]
    changed()
    shutil.rmtree(runs / "c")
    assert ids(client) == ["a", "b", "z"]
    changed()
    (runs / "z").rename(runs / "y")
    assert ids(client) == ["a", "b", "y"]
    changed()
    (runs / "y/meta.json").write_text("{")
    assert ids(client) == ["a", "b"]
    assert client.get("/api/health").get_json()["damaged"] == 1
    changed()
    (runs / "y/meta.json").write_text(json.dumps(meta))
    assert ids(client) == ["a", "b", "y"]
    changed()


def test_more_events_than_the_kernel_keeps_lose_none(
    client: FlaskClient, log_run: LogRun, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    events = int(limit.read_text()) if limit.exists() else 0
    for run_id in ("a", "b"):
        log_run(id=run_id)
    assert ids(client) == ["b", "a"]
    paths = [data / "runs" / run_id / "notes.txt" for run_id in ("a", "b")]
    for number in range(events // 2 + 100):  # in turns, for the kernel keeps equal neighbours as one
        with paths[number % 2].open("a") as file:
            file.write("x")
    meta = json.loads((data / "runs/a/meta.json").read_text())
    (data / "runs/a/meta.json").write_text(json.dumps({**meta, "experiment": "tulip"}))
    assert ids(client, "?experiment=tulip") == ["a"]


def test_list_of_ended_runs_never_parses_their_points(
    make_app: Callable[..., Flask], log_run: LogRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        log_run(metrics=[{"loss": 1.0 / (step + 1), "step": step} for step in range(number + 1)], end="completed")

    def refuse(*_: object) -> Iterator[bytes]:
        raise AssertionError("metrics.jsonl was read")

    monkeypatch.setattr(RunFiles, "read_lines", refuse)
    client = make_app().test_client()  # another server, which knows nothing yet
    listed = client.get("/api/runs?order_by=metrics.loss").get_json()
    assert [run["metrics"]["loss"] for run in listed] == [1 / 3, 0.5, 1.0]
    assert client.get("/api/health").get_json()["damaged"] == 0


def test_list_that_nothing_has_changed_reads_no_file(
    client: FlaskClient, log_run: LogRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        log_run(params={"lr": 1}, metrics={"loss": 1.0}, end="completed")
    first = client.get("/api/runs")
    opened: list[str] = []
    open_regular = reading.open_regular
    monkeypatch.setattr(reading, "open_regular", lambda path: opened.append(path) or open_regular(path))  # type: ignore[func-returns-value]
    again = client.get("/api/runs")
    assert (again.data, opened) == (first.data, [])
    assert client.get("/api/runs", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert opened == []


@pytest.mark.parametrize("kernel", ["watched"], indirect=True)
def test_file_that_was_read_is_not_looked_at_again(
    client: FlaskClient, log_run: LogRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = log_run(params={"lr": 1}, metrics={"loss": 1.0}, artifacts={"a": b"bytes"}, end="completed")
    looked: list[str] = []
    stamp, stamps = RunFiles.stamp, RunFiles.stamps

    def counted_stamp(files: RunFiles, run_id: str, name: str) -> reading.Stamp:
        looked.append(name)
        return stamp(files, run_id, name)

    def counted_stamps(files: RunFiles, run_id: str, names: Iterable[str]) -> list[reading.Stamp]:
        looked.extend(names)
        return stamps(files, run_id, names)

    monkeypatch.setattr(RunFiles, "stamp", counted_stamp)
    monkeypatch.setattr(RunFiles, "stamps", counted_stamps)
    client.get("/api/runs")
    for path in (f"runs/{run_id}", f"runs/{run_id}/metrics", f"runs/{run_id}/download"):
        assert client.get(f"/api/{path}").status_code == 200
    looked.clear()
    assert [run["id"] for run in client.get("/api/runs").get_json()] == [run_id]
    assert looked == []
