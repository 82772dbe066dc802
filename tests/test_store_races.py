"""Races inside one process: many threads on one app, switched as often as the interpreter can."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.calls import OCTETS

from chachaml_lite.store.reading import Stamp
from chachaml_lite.store.store import Store
from chachaml_lite.tracking import params, runs
from chachaml_lite.tracking.index import run_entry, run_parts
from chachaml_lite.tracking.tracker import Tracker

THREADS = 16
Act = Callable[[FlaskClient, int], Any]


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Iterator[Flask]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield make_app()
    sys.setswitchinterval(before)


def run_concurrently(app: Flask, *acts: Act, threads: int = THREADS) -> list[Any]:
    """Run the acts in threads that start together, each with a client and a number; return all results."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> list[Any]:
        client = app.test_client()
        barrier.wait(60)
        return [act(client, number) for act in acts]

    with ThreadPoolExecutor(threads) as pool:
        return [each for results in pool.map(run, range(threads)) for each in results]


def create_run(app: Flask, **fields: Any) -> str:
    run_id: str = app.test_client().post("/api/w/runs", json={"experiment": "e", **fields}).get_json()["id"]
    return run_id


def test_created_run_is_visible_to_all_once_its_id_is_returned(app: Flask) -> None:
    def create_and_read(client: FlaskClient, number: int) -> list[int]:
        statuses = []
        for _ in range(8):
            answer = client.post("/api/w/runs", json={"experiment": "e"})
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                run_id = answer.get_json()["id"]
                statuses.append(client.get(f"/api/runs/{run_id}").status_code)
                statuses.append(run_id in {run["id"] for run in client.get("/api/runs?limit=1000").get_json()})
        return statuses

    assert run_concurrently(app, create_and_read) == [[200, 200, True] * 8] * THREADS
    assert app.test_client().get("/api/health").get_json()["runs"] == 8 * THREADS


def test_concurrent_params_and_tags_are_never_lost(app: Flask) -> None:
    run_id = create_run(app)

    def write(client: FlaskClient, number: int) -> set[int]:
        statuses = set()
        for turn in range(10):
            key = f"k{number}-{turn}"
            if number % 4 == 0:
                statuses.add(client.get("/api/runs").status_code)
                statuses.add(client.get(f"/api/runs/{run_id}").status_code)
            else:
                statuses.add(client.post(f"/api/w/runs/{run_id}/params", json={key: turn}).status_code)
                statuses.add(client.post(f"/api/w/runs/{run_id}/tags", json={key: turn}).status_code)
        return statuses

    assert run_concurrently(app, write) == [{200}] * THREADS
    run = app.test_client().get(f"/api/runs/{run_id}").get_json()
    keys = {f"k{number}-{turn}" for number in range(THREADS) if number % 4 for turn in range(10)}
    assert (run["params"].keys(), run["tags"].keys()) == (keys, keys)


def test_concurrent_points_are_all_counted(app: Flask, make_app: Callable[..., Flask]) -> None:
    run_id = create_run(app)

    def log(client: FlaskClient, number: int) -> None:
        for step in range(20):
            body = [{"shared": step, f"own{number}": step, "step": step}] * 2
            assert client.post(f"/api/w/runs/{run_id}/metrics", json=body).get_json()["logged"] == 4
            if number % 4 == 0:
                assert client.get(f"/api/runs/{run_id}").status_code == 200

    run_concurrently(app, log)
    counts = {"shared": 40 * THREADS, **{f"own{number}": 40 for number in range(THREADS)}}
    for client in (app.test_client(), make_app().test_client()):  # as summed up in memory, and as stored on the disk
        summary = client.get(f"/api/runs/{run_id}").get_json()["metric_summary"]
        assert {key: series["count"] for key, series in summary.items()} == counts


def test_param_with_concurrent_values_has_one_winner(app: Flask) -> None:
    run_id = create_run(app)

    def set_value(client: FlaskClient, number: int) -> tuple[int, int]:
        return client.post(f"/api/w/runs/{run_id}/params", json={"lr": number}).status_code, number

    answers = run_concurrently(app, set_value)
    winners = [number for status, number in answers if status == 200]
    assert sorted(status for status, _ in answers) == [200] + [409] * (THREADS - 1)
    assert app.test_client().get(f"/api/runs/{run_id}").get_json()["params"] == {"lr": winners[0]}


def test_artifact_with_concurrent_contents_has_one_winner(app: Flask) -> None:
    run_id = create_run(app)

    def send(client: FlaskClient, number: int) -> tuple[int, int]:
        answer = client.post(f"/api/w/runs/{run_id}/artifacts?name=m", data=b"%d" % number, content_type=OCTETS)
        return answer.status_code, number

    answers = run_concurrently(app, send)
    winners = [number for status, number in answers if status == 200]
    assert sorted(status for status, _ in answers) == [200] + [409] * (THREADS - 1)
    assert app.test_client().get(f"/api/artifacts/{run_id}/m/download").data == b"%d" % winners[0]


def test_overwritten_artifact_is_always_one_complete_upload(app: Flask) -> None:
    run_id = create_run(app)
    contents = {b"%d" % number * (number + 1) * 100 for number in range(THREADS)}

    def overwrite_and_read(client: FlaskClient, number: int) -> None:
        for _ in range(5):
            body = b"%d" % number * (number + 1) * 100
            url = f"/api/w/runs/{run_id}/artifacts?name=m&overwrite=true"
            assert client.post(url, data=body, content_type=OCTETS).status_code == 200
            answer = client.get(f"/api/artifacts/{run_id}/m/download")
            assert answer.status_code == 200 and answer.data in contents

    run_concurrently(app, overwrite_and_read)
    (artifact,) = app.test_client().get(f"/api/runs/{run_id}/artifacts").get_json()
    assert len(app.test_client().get(f"/api/artifacts/{run_id}/m/download").data) == artifact["size"]


def test_id_chosen_by_many_clients_is_one_run(app: Flask) -> None:
    def create(client: FlaskClient, number: int) -> tuple[int, str]:
        answer = client.post("/api/w/runs", json={"experiment": "e", "id": "ci-1"})
        return answer.status_code, answer.get_json()["id"]

    assert run_concurrently(app, create) == [(200, "ci-1")] * THREADS

    def create_another(client: FlaskClient, number: int) -> int:
        return client.post("/api/w/runs", json={"experiment": f"e{number}", "id": "Ci-2"}).status_code

    assert sorted(run_concurrently(app, create_another)) == [200] + [409] * (THREADS - 1)
    assert app.test_client().get("/api/health").get_json()["runs"] == 2


def test_ids_differing_only_in_case_have_one_winner(app: Flask) -> None:
    def create(client: FlaskClient, number: int) -> int:
        run_id = "".join(c.upper() if number >> at & 1 else c for at, c in enumerate("abcd"))
        return client.post("/api/w/runs", json={"experiment": "e", "id": run_id}).status_code

    assert sorted(run_concurrently(app, create)) == [200] + [409] * (THREADS - 1)


def test_versions_have_no_gaps_and_models_differing_only_in_case_get_distinct_folders(app: Flask, data: Path) -> None:
    run_id = create_run(app)
    app.test_client().post(f"/api/w/runs/{run_id}/artifacts?name=m", data=b"bytes", content_type=OCTETS)
    names = ["iris", "Iris", "IRIS", "iriS"]

    def register(client: FlaskClient, number: int) -> tuple[str, int]:
        body = {"name": names[number % 4], "run_id": run_id, "artifact": "m", "stage": "production"}
        return names[number % 4], client.post("/api/w/models", json=body).get_json()["version"]

    versions = run_concurrently(app, register, register)
    assert sorted(versions) == sorted((name, number) for name in names for number in range(1, 9))
    assert len({folder.name.casefold() for folder in (data / "models").iterdir()}) == len(names)


def test_run_ends_once(app: Flask) -> None:
    run_id = create_run(app)

    def end(client: FlaskClient, number: int) -> tuple[int, str]:
        status = ("completed", "failed")[number % 2]
        return client.post(f"/api/w/runs/{run_id}/end", json={"status": status}).status_code, status

    answers = run_concurrently(app, end)
    final_status = app.test_client().get(f"/api/runs/{run_id}").get_json()["status"]
    assert set(answers) == {(200, final_status), (409, {"completed": "failed", "failed": "completed"}[final_status])}


def test_points_are_not_acknowledged_after_the_end(app: Flask, make_app: Callable[..., Flask]) -> None:
    run_id = create_run(app)

    def log(client: FlaskClient, number: int) -> int:
        stored_count = 0
        for step in range(30):
            if number == 0 and step == 5:
                assert client.post(f"/api/w/runs/{run_id}/end").status_code == 200
            stored_count += (
                client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1, "step": step}).status_code == 200
            )
        return stored_count

    acknowledged_count = sum(run_concurrently(app, log))
    summary = make_app().test_client().get(f"/api/runs/{run_id}").get_json()["metric_summary"]
    assert summary["loss"]["count"] == acknowledged_count


def test_deleted_run_is_404_while_others_are_written(app: Flask) -> None:
    def log_and_delete(client: FlaskClient, number: int) -> list[int]:
        statuses = []
        for _ in range(5):
            run_id = client.post("/api/w/runs", json={"experiment": "e", "id": f"r{number}"}).get_json()["id"]
            statuses.append(client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1}).status_code)
            statuses.append(client.get("/api/runs").status_code)
            statuses.append(client.delete(f"/api/w/runs/{run_id}").status_code)
            statuses.append(client.get(f"/api/runs/{run_id}").status_code)
        return statuses

    assert run_concurrently(app, log_and_delete) == [[200, 200, 200, 404] * 5] * THREADS
    assert app.test_client().get("/api/runs").get_json() == []


def test_run_deleted_and_written_concurrently_gives_only_200_404_or_409(app: Flask) -> None:
    def write_or_delete(client: FlaskClient, number: int) -> set[int]:
        statuses = set()
        for turn in range(8):
            run = "/api/w/runs/shared"
            if number % 4 == 0:
                statuses.add(client.post("/api/w/runs", json={"experiment": "e", "id": "shared"}).status_code)
                statuses.add(client.delete(run).status_code)
            elif number % 4 == 1:
                statuses.add(client.post(f"{run}/params", json={f"k{number}-{turn}": 1}).status_code)
                statuses.add(client.post(f"{run}/artifacts?name=m", data=b"b", content_type=OCTETS).status_code)
            elif number % 4 == 2:
                statuses.add(client.post(f"{run}/metrics", json={"loss": 1}).status_code)
                statuses.add(client.get("/api/runs/shared/metrics").status_code)
            else:
                statuses.add(client.get("/api/runs").status_code)
                statuses.add(client.get("/api/runs/shared").status_code)
        return statuses

    assert set().union(*run_concurrently(app, write_or_delete)) <= {200, 404, 409}
    assert app.test_client().get("/api/health").get_json()["damaged"] == 0


def test_stale_read_never_overwrites_newer_write(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader reads the file before one write, and caches it right after the next write has checked the file."""
    store = Store(data, "no")
    tracker = Tracker.on(store, 0)
    run_id = runs.create_run(tracker, runs.NewRun("e"))["id"]
    path = data / "runs" / run_id / "params.json"
    path.write_text('{"first": 1}')
    has_read, may_keep = threading.Event(), threading.Event()
    read_part, look = run_parts.read_part, run_entry.Run.look
    reader = threading.Thread(target=lambda: tracker.run(run_id).params)

    def read_slowly(of: Store, the_run: str, number: int, stamp: Stamp) -> run_parts.Kept:
        result = read_part(of, the_run, number, stamp)
        if threading.current_thread() is reader and number == run_parts.PARAMS:
            has_read.set()
            assert may_keep.wait(60)
        return result

    def look_and_wait(the_run: run_entry.Run, numbers: tuple[int, ...]) -> bool:
        result = look(the_run, numbers)
        if threading.current_thread() is not reader:
            may_keep.set()
            reader.join(60)
        return result

    monkeypatch.setattr(run_entry, "read_part", read_slowly)
    reader.start()
    assert has_read.wait(60)
    params.set_params(tracker, run_id, {"second": 2})
    monkeypatch.setattr(run_entry.Run, "look", look_and_wait)
    params.set_params(tracker, run_id, {"third": 3})
    store.close()
    assert json.loads(path.read_text()) == {"first": 1, "second": 2, "third": 3}
