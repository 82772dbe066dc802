"""Damage to every file of the store: the rest is served, and the damage is counted and named."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from support.calls import OCTETS, LogRun, get_statuses, log_good_and_bad
from support.servers import Server


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def _remove(path: Path) -> None:
    path.unlink()


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("a file in a folder where a file should be")


def _replace_by_link(path: Path) -> None:
    """Even a link whose target has the expected content isn't followed."""
    outside = path.parents[3] / "outside"
    path.replace(outside)
    path.symlink_to(outside)


def _replace_by_loop(path: Path) -> None:
    path.unlink()
    other = path.with_name("loop")
    other.symlink_to(path.name)
    path.symlink_to(other.name)


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_by_huge(path: Path) -> None:
    path.unlink()
    with path.open("wb") as file:
        file.truncate(100_000_000)  # sparse: NULs that take no room


def _overwrite(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": _overwrite(b""),
    "cut": _cut,
    "NULs": _overwrite(bytes(4096)),
    "array": _overwrite(b"[]\n"),
    "null": _overwrite(b"null\n"),
    "object": _overwrite(b"{}\n"),
    "numbers": _overwrite(b'{"name": 1, "key": 2, "event": 3, "experiment": 4, "status": 5}\n'),
    "deep": _overwrite(b'{"a":' + b"[" * 100_000),
    "surrogate": _overwrite(b'{"experiment": "\\ud800", "status": "running", "start_time": 1, "name": "\\udfff"}\n'),
    "not UTF-8": _overwrite(b'{"experiment": "\xff\xfe"}\n'),
    "folder": _replace_by_folder,
    "link": _replace_by_link,
    "loop": _replace_by_loop,
    "pipe": _replace_by_pipe,
    "huge": _replace_by_huge,
}
FILES = ["meta.json", "params.json", "metrics.jsonl", "artifacts.jsonl", "history.jsonl"]
#: The writes that may be refused when a file is damaged; all others still work.
REFUSABLE_WRITES = {
    "meta.json": {"metrics", "params", "artifact", "end"},
    "params.json": {"params"},
    "metrics.jsonl": {"metrics"},
    "artifacts.jsonl": {"artifact"},
    "history.jsonl": {"model"},
}
#: A file of lines may be empty, because nothing was logged to it; any object is a valid params.json.
NO_DAMAGE = {
    ("metrics.jsonl", "empty"),
    ("artifacts.jsonl", "empty"),
    ("params.json", "object"),
    ("params.json", "numbers"),
}


@pytest.fixture
def bad_run_id(client: FlaskClient, log_run: LogRun) -> str:
    """The id of a run to damage, beside one that stays intact."""
    return log_good_and_bad(client, log_run)


def build_path(data: Path, name: str) -> Path:
    return data / "models/iris" / name if name == "history.jsonl" else data / "runs/bad" / name


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_rest_is_served_and_the_damage_is_counted_and_named(
    client: FlaskClient, bad_run_id: str, data: Path, name: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGE[kind](build_path(data, name))
    assert {path: status for path, status in get_statuses(client).items() if status >= 500} == {}
    run_ids = [run["id"] for run in client.get("/api/runs").get_json()]
    assert run_ids == (["good"] if name == "meta.json" else ["bad", "good"])
    assert client.get("/api/artifacts/good/a/download").data == b"good"
    health = client.get("/api/health").get_json()
    assert (health["ok"], health["runs"]) == (True, len(run_ids))
    if (name, kind) in NO_DAMAGE:
        assert health["damaged"] == 0
        return
    assert health["damaged"] == 1
    phrase = "'iris' is damaged" if name == "history.jsonl" else "'bad' is damaged"
    warnings = [record.getMessage() for record in caplog.records if phrase in record.getMessage()]
    assert len(warnings) == 1 and (name in warnings[0] or "history" in warnings[0])
    assert str(data) not in warnings[0]


@pytest.mark.parametrize("name", ["runs/bad/params.json", "models/iris/history.jsonl", "experiments/iris.json"])
def test_damage_is_warned_of_once_until_it_is_repaired(
    client: FlaskClient, bad_run_id: str, data: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.post("/api/w/experiments/iris", json={"description": "good"}).status_code == 200
    file = data / name
    good = file.read_bytes()

    def count_warnings() -> int:
        assert client.get("/api/health").get_json()["damaged"] == (file.read_bytes() != good)
        return sum("is damaged" in record.getMessage() for record in caplog.records)

    assert count_warnings() == 0, "intact files are not warned of"
    file.write_bytes(b"{\n")
    assert count_warnings() == 1
    for seconds in (10, 20):  # another stamp, and the same damage
        os.utime(file, (seconds, seconds))
        assert count_warnings() == 1
    file.write_bytes(good)
    assert count_warnings() == 1
    file.write_bytes(b"{\n")
    assert count_warnings() == 2


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_write_to_a_damaged_run_is_refused_or_kept(
    make_app: Callable[..., Flask], client: FlaskClient, bad_run_id: str, data: Path, name: str, kind: str
) -> None:
    """Every write answered with 200 can be read back: no response claims to have stored something that it hasn't."""
    DAMAGE[kind](build_path(data, name))
    base = f"/api/w/runs/{bad_run_id}"
    answers = {
        "metrics": client.post(f"{base}/metrics", json={"after": 5, "step": 9}),
        "params": client.post(f"{base}/params", json={"after": 5}),
        "artifact": client.post(f"{base}/artifacts?name=after", data=b"5", content_type=OCTETS),
        "model": client.post("/api/w/models", json={"name": "iris", "run_id": "good", "artifact": "a"}),
        "end": client.post(f"{base}/end"),
    }
    acknowledged_writes = {name_of_write for name_of_write, answer in answers.items() if answer.status_code == 200}
    client = make_app().test_client()  # knows only the files on the disk
    run = client.get(f"/api/runs/{bad_run_id}").get_json()
    is_kept = {
        "metrics": lambda: run["metrics"]["after"] == 5,
        "params": lambda: run["params"]["after"] == 5,
        "artifact": lambda: client.get(f"/api/artifacts/{bad_run_id}/after/download").data == b"5",
        "model": lambda: (
            client.get("/api/models/iris").get_json()["model"]["latest"] == answers["model"].get_json()["version"]
        ),
        "end": lambda: run["status"] == "completed",
    }
    assert {name_of_write for name_of_write in acknowledged_writes if not is_kept[name_of_write]()} == set()
    assert acknowledged_writes >= {"metrics", "params", "artifact", "model", "end"} - REFUSABLE_WRITES.get(name, set())
    outside = data.parent / "outside"
    assert not outside.exists() or b"after" not in outside.read_bytes()


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_summary_is_rebuilt(make_app: Callable[..., Flask], log_run: LogRun, data: Path, kind: str) -> None:
    run_id = log_run(id="bad", metrics={"loss": 2.5}, end="completed")
    DAMAGE[kind](data / "runs/bad/summary.json")
    client = make_app().test_client()
    assert client.get(f"/api/runs/{run_id}").get_json()["metrics"] == {"loss": 2.5}
    assert client.get("/api/health").get_json()["damaged"] == 0


@pytest.mark.parametrize("kind", DAMAGE)
def test_repaired_file_is_read_again_at_once(client: FlaskClient, bad_run_id: str, data: Path, kind: str) -> None:
    path = data / "runs/bad/meta.json"
    good = path.read_bytes()
    DAMAGE[kind](path)
    assert client.get("/api/runs/bad").status_code == 404
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    path.write_bytes(good)
    assert client.get("/api/runs/bad").status_code == 200
    assert client.get("/api/health").get_json()["damaged"] == 0


@pytest.mark.parametrize("kind", [*DAMAGE, "gone"])
def test_damaged_blob_is_never_sent_as_the_artifact(
    client: FlaskClient, bad_run_id: str, data: Path, kind: str
) -> None:
    {**DAMAGE, "gone": _remove}[kind](data / "runs/bad/blobs/a")
    assert {path: status for path, status in get_statuses(client).items() if status >= 500} == {}
    for path in ("/api/artifacts/bad/a/download", "/api/models/iris/1/download"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["error"]) == (404, "no such artifact")
    assert client.get("/api/artifacts/good/a/download").data == b"good"


def test_model_bytes_replaced_by_hand_are_not_sent(client: FlaskClient, bad_run_id: str, data: Path) -> None:
    shutil.copy(data / "runs/good/artifacts.jsonl", data / "runs/bad/artifacts.jsonl")
    shutil.copy(data / "runs/good/blobs/a", data / "runs/bad/blobs/a")
    assert client.get("/api/artifacts/bad/a/download").data == b"good"
    assert client.get("/api/models/iris/1/download").status_code == 404


def test_holes_of_a_gigabyte_cost_no_memory_and_hide_nothing(serve: Callable[..., Server], data: Path) -> None:
    server = serve()
    for run_id in ("good", "bad"):
        base = f"{server.url}/api/w/runs"
        assert requests.post(base, json={"experiment": "e", "id": run_id}).status_code == 200
        assert requests.post(f"{base}/{run_id}/metrics", json={"loss": 1}).status_code == 200
    (data / "models/iris").mkdir()
    for path in [*(data / "runs/bad" / name for name in FILES[:4]), data / "models/iris/history.jsonl"]:
        if path.name != "meta.json":
            with path.open("ab") as file:
                file.truncate(1_000_000_000)
    for route in ("/api/runs", "/api/runs/bad", "/api/runs/bad/metrics", "/api/models", "/api/health"):
        assert requests.get(server.url + route).status_code == 200
    assert {run["id"]: run["metrics"] for run in requests.get(f"{server.url}/api/runs").json()} == {
        "good": {"loss": 1},
        "bad": {"loss": 1},
    }
    assert requests.post(f"{server.url}/api/w/runs/bad/metrics", json={"loss": 2, "step": 1}).status_code == 200
    assert requests.get(f"{server.url}/api/runs/bad").json()["metrics"] == {"loss": 2}
    assert requests.get(f"{server.url}/api/health").json()["damaged"] == 2
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert peak is not None and int(peak[1]) < 300_000


@pytest.mark.parametrize(
    "dataset",
    [5, {"hash": 5}, {"schema": 5}, {"profile": [1]}, {"name": 5}, {"source": {}}, {"tags": "x"}],
    ids=["number", "hash", "schema", "profile", "name", "source", "tags"],
)
def test_invalid_dataset_makes_a_damaged_run_and_breaks_no_list(
    client: FlaskClient, bad_run_id: str, data: Path, dataset: object
) -> None:
    """One such run used to make every search of MLflow's clients, and its own page, an internal error."""
    path = data / "runs" / bad_run_id / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"datasets": [dataset]}))
    assert [run["id"] for run in client.get("/api/runs").get_json()] == ["good"]
    assert client.get("/api/health").get_json()["damaged"] == 1
    experiment = client.get("/api/2.0/mlflow/experiments/get-by-name?experiment_name=iris").get_json()["experiment"]
    search = {"experiment_ids": [experiment["experiment_id"]]}
    answer = client.post("/api/2.0/mlflow/runs/search", json=search)
    assert [run["info"]["run_id"] for run in answer.get_json()["runs"]] == ["good"]
    assert {status for status in get_statuses(client).values() if status >= 500} == set()
