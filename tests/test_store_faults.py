"""Damage done by hand to every file of the layout: the rest is served, the damage is counted and named."""

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
from support.calls import OCTETS, LogRun, log_good_and_bad, read_all
from support.servers import Running


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def _of_nothing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("a file in a folder where a file should be")


def _link_out(path: Path) -> None:
    """A link whose target has the expected content isn't followed either."""
    outside = path.parents[3] / "outside"
    path.replace(outside)
    path.symlink_to(outside)


def _loop(path: Path) -> None:
    path.unlink()
    other = path.with_name("loop")
    other.symlink_to(path.name)
    path.symlink_to(other.name)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _huge(path: Path) -> None:
    path.unlink()
    with path.open("wb") as file:
        file.truncate(100_000_000)  # sparse: NULs that take no room


def _written(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": _written(b""),
    "cut": _cut,
    "NULs": _written(bytes(4096)),
    "array": _written(b"[]\n"),
    "null": _written(b"null\n"),
    "object": _written(b"{}\n"),
    "numbers": _written(b'{"name": 1, "key": 2, "event": 3, "experiment": 4, "status": 5}\n'),
    "deep": _written(b'{"a":' + b"[" * 100_000),
    "surrogate": _written(b'{"experiment": "\\ud800", "status": "running", "start_time": 1, "name": "\\udfff"}\n'),
    "not UTF-8": _written(b'{"experiment": "\xff\xfe"}\n'),
    "folder": _folder,
    "link": _link_out,
    "loop": _loop,
    "pipe": _pipe,
    "huge": _huge,
}
FILES = ["meta.json", "params.json", "metrics.jsonl", "artifacts.jsonl", "history.jsonl"]
#: What damage to a file may have refused; everything else goes on.
REFUSED = {
    "meta.json": {"metrics", "params", "artifact", "end"},
    "params.json": {"params"},
    "metrics.jsonl": {"metrics"},
    "artifacts.jsonl": {"artifact"},
    "history.jsonl": {"model"},
}
#: A file of lines without any is a file that nothing was logged to; one object is a good params.json.
NO_DAMAGE = {
    ("metrics.jsonl", "empty"),
    ("artifacts.jsonl", "empty"),
    ("params.json", "object"),
    ("params.json", "numbers"),
}


@pytest.fixture
def bad(client: FlaskClient, log_run: LogRun) -> str:
    """The id of a run that is about to be damaged, beside one that isn't."""
    return log_good_and_bad(client, log_run)


def build_path(data: Path, name: str) -> Path:
    return data / "models/iris" / name if name == "history.jsonl" else data / "runs/bad" / name


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_rest_is_served_and_the_damage_is_counted_and_named(
    client: FlaskClient, bad: str, data: Path, name: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGE[kind](build_path(data, name))
    assert {path: status for path, status in read_all(client).items() if status >= 500} == {}
    listed = [run["id"] for run in client.get("/api/runs").get_json()]
    assert listed == (["good"] if name == "meta.json" else ["bad", "good"])
    assert client.get("/api/artifacts/good/a/download").data == b"good"
    health = client.get("/api/health").get_json()
    assert (health["ok"], health["runs"]) == (True, len(listed))
    if (name, kind) in NO_DAMAGE:
        assert health["damaged"] == 0
        return
    assert health["damaged"] == 1
    named = "'iris' is damaged" if name == "history.jsonl" else "'bad' is damaged"
    warnings = [record.getMessage() for record in caplog.records if named in record.getMessage()]
    assert len(warnings) == 1 and (name in warnings[0] or "history" in warnings[0])
    assert str(data) not in warnings[0]


@pytest.mark.parametrize("name", ["runs/bad/params.json", "models/iris/history.jsonl", "experiments/iris.json"])
def test_damage_is_warned_of_once_until_it_is_mended(
    client: FlaskClient, bad: str, data: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.post("/api/w/experiments/iris", json={"description": "good"}).status_code == 200
    file = data / name
    good = file.read_bytes()

    def warnings() -> int:
        assert client.get("/api/health").get_json()["damaged"] == (file.read_bytes() != good)
        return sum("is damaged" in record.getMessage() for record in caplog.records)

    assert warnings() == 0, "what is sound is not warned of"
    file.write_bytes(b"{\n")
    assert warnings() == 1
    for seconds in (10, 20):  # another stamp, and the same damage
        os.utime(file, (seconds, seconds))
        assert warnings() == 1
    file.write_bytes(good)
    assert warnings() == 1
    file.write_bytes(b"{\n")
    assert warnings() == 2


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_write_to_a_damaged_run_is_refused_or_kept(
    make_app: Callable[..., Flask], client: FlaskClient, bad: str, data: Path, name: str, kind: str
) -> None:
    """Whatever is answered with 200 is read back afterwards: nothing is said to be stored that isn't."""
    DAMAGE[kind](build_path(data, name))
    base = f"/api/w/runs/{bad}"
    answers = {
        "metrics": client.post(f"{base}/metrics", json={"after": 5, "step": 9}),
        "params": client.post(f"{base}/params", json={"after": 5}),
        "artifact": client.post(f"{base}/artifacts?name=after", data=b"5", content_type=OCTETS),
        "model": client.post("/api/w/models", json={"name": "iris", "run_id": "good", "artifact": "a"}),
        "end": client.post(f"{base}/end"),
    }
    stored = {what for what, answer in answers.items() if answer.status_code == 200}
    client = make_app().test_client()  # knows only what is on the disk
    run = client.get(f"/api/runs/{bad}").get_json()
    kept = {
        "metrics": lambda: run["metrics"]["after"] == 5,
        "params": lambda: run["params"]["after"] == 5,
        "artifact": lambda: client.get(f"/api/artifacts/{bad}/after/download").data == b"5",
        "model": lambda: (
            client.get("/api/models/iris").get_json()["model"]["latest"] == answers["model"].get_json()["version"]
        ),
        "end": lambda: run["status"] == "completed",
    }
    assert {what for what in stored if not kept[what]()} == set()
    assert stored >= {"metrics", "params", "artifact", "model", "end"} - REFUSED.get(name, set())
    outside = data.parent / "outside"
    assert not outside.exists() or b"after" not in outside.read_bytes()


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_to_the_summary_costs_nothing_but_time(
    make_app: Callable[..., Flask], log_run: LogRun, data: Path, kind: str
) -> None:
    run_id = log_run(id="bad", metrics={"loss": 2.5}, end="completed")
    DAMAGE[kind](data / "runs/bad/summary.json")
    client = make_app().test_client()
    assert client.get(f"/api/runs/{run_id}").get_json()["metrics"] == {"loss": 2.5}
    assert client.get("/api/health").get_json()["damaged"] == 0


@pytest.mark.parametrize("kind", DAMAGE)
def test_mended_file_is_believed_again_at_once(client: FlaskClient, bad: str, data: Path, kind: str) -> None:
    path = data / "runs/bad/meta.json"
    good = path.read_bytes()
    DAMAGE[kind](path)
    assert client.get("/api/runs/bad").status_code == 404
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    path.write_bytes(good)
    assert client.get("/api/runs/bad").status_code == 200
    assert client.get("/api/health").get_json()["damaged"] == 0


@pytest.mark.parametrize("kind", [*DAMAGE, "gone"])
def test_damaged_blob_is_never_sent_as_the_artifact(client: FlaskClient, bad: str, data: Path, kind: str) -> None:
    {**DAMAGE, "gone": _of_nothing}[kind](data / "runs/bad/blobs/a")
    assert {path: status for path, status in read_all(client).items() if status >= 500} == {}
    for path in ("/api/artifacts/bad/a/download", "/api/models/iris/1/download"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["error"]) == (404, "no such artifact")
    assert client.get("/api/artifacts/good/a/download").data == b"good"


def test_model_s_bytes_that_were_exchanged_by_an_overwrite_of_hand_are_not_sent(
    client: FlaskClient, bad: str, data: Path
) -> None:
    shutil.copy(data / "runs/good/artifacts.jsonl", data / "runs/bad/artifacts.jsonl")
    shutil.copy(data / "runs/good/blobs/a", data / "runs/bad/blobs/a")
    assert client.get("/api/artifacts/bad/a/download").data == b"good"
    assert client.get("/api/models/iris/1/download").status_code == 404


def test_holes_of_a_gigabyte_cost_no_memory_and_hide_nothing(serve: Callable[..., Running], data: Path) -> None:
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
def test_data_set_that_is_none_makes_a_damaged_run_and_breaks_no_list(
    client: FlaskClient, bad: str, data: Path, dataset: object
) -> None:
    """One such run made every search of MLflow's clients an internal error, and its own page."""
    path = data / "runs" / bad / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"datasets": [dataset]}))
    assert [run["id"] for run in client.get("/api/runs").get_json()] == ["good"]
    assert client.get("/api/health").get_json()["damaged"] == 1
    experiment = client.get("/api/2.0/mlflow/experiments/get-by-name?experiment_name=iris").get_json()["experiment"]
    asked = {"experiment_ids": [experiment["experiment_id"]]}
    answer = client.post("/api/2.0/mlflow/runs/search", json=asked)
    assert [run["info"]["run_id"] for run in answer.get_json()["runs"]] == ["good"]
    assert {status for status in read_all(client).values() if status >= 500} == set()
