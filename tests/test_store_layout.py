"""The store's folder, as section 4 of the contract defines it: its tree, its file formats, and edits by hand."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

LogRun = Callable[..., str]
#: What NTFS and GitHub's artifact upload refuse in a name.
FORBIDDEN_CHARACTERS = set('":<>|*?\\')


def list_files(folder: Path) -> list[str]:
    """Return the sorted relative paths of the files below a folder, without hidden files and folders."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.parts))


def read_lines(path: Path) -> list[Any]:
    """Return the values in the lines of a file, each of which must end with a newline."""
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def upload(client: FlaskClient, run_id: str, name: str, content: bytes = b"bytes") -> int:
    query = {"name": name}
    response = client.post(
        f"/api/w/runs/{run_id}/artifacts", query_string=query, data=content, content_type="application/octet-stream"
    )
    return response.status_code


def edit(path: Path, content: str, by: str) -> None:
    """Give a file other content as an editor does: in place, or by a rename."""
    if by == "rename":
        other = path.with_name("other")
        other.write_text(content)
        other.replace(path)
    else:
        path.write_text(content)


@pytest.fixture
def how_to(client: FlaskClient, data: Path) -> str:
    """The id of a run that the how-to's calls logged, ended and registered."""
    run_id: str = client.post(
        "/api/w/runs", json={"experiment": "iris", "name": "from-python", "tags": {"author": "maria"}}
    ).get_json()["id"]
    base = f"/api/w/runs/{run_id}"
    answers = [client.post(f"{base}/params", json={"lr": 0.01, "epochs": 100})]
    answers += [client.post(f"{base}/metrics", json={"accuracy": 0.94})]
    answers += [client.post(f"{base}/metrics", json={"loss": 1.0 / (step + 1), "step": step}) for step in range(3)]
    assert upload(client, run_id, "model.pkl") == 200
    answers += [client.post(f"{base}/end", json={"status": "completed"})]
    model = {"name": "iris-classifier", "run_id": run_id, "artifact": "model.pkl", "stage": "staging"}
    answers += [client.post("/api/w/models", json={**model, "description": "first cut"})]
    answers += [client.post("/api/w/models/iris-classifier/promote", json={"version": 1, "stage": "production"})]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    return run_id


def test_how_to_calls_create_exactly_the_tree_of_the_contract(how_to: str, data: Path) -> None:
    run = f"runs/{how_to}"
    assert list_files(data) == [
        "models/iris-classifier/history.jsonl",
        f"{run}/artifacts.jsonl",
        f"{run}/blobs/model.pkl",
        f"{run}/meta.json",
        f"{run}/metrics.jsonl",
        f"{run}/params.json",
        f"{run}/summary.json",
    ]


def test_files_have_the_formats_of_the_contract(how_to: str, client: FlaskClient, data: Path) -> None:
    folder = data / "runs" / how_to
    meta = json.loads((folder / "meta.json").read_text())
    details = client.get(f"/api/runs/{how_to}").get_json()
    assert meta == {
        "id": how_to,
        "experiment": "iris",
        "name": "from-python",
        "status": "completed",
        "start_time": details["start_time"],
        "end_time": details["end_time"],
        "error": None,
        "tags": {"author": "maria"},
        "note": None,
        "datasets": [],
        "parent_run_id": None,
        "created_by": None,
    }
    assert json.loads((folder / "params.json").read_text()) == {"lr": 0.01, "epochs": 100}
    (artifact,) = read_lines(folder / "artifacts.jsonl")
    sha256 = hashlib.sha256(b"bytes").hexdigest()
    assert list(artifact) == ["name", "sha256", "size", "timestamp"]
    assert {**artifact, "timestamp": 0} == {"name": "model.pkl", "sha256": sha256, "size": 5, "timestamp": 0}
    assert (folder / "blobs/model.pkl").read_bytes() == b"bytes"
    summary = json.loads((folder / "summary.json").read_text())
    status = (folder / "metrics.jsonl").stat()
    assert (summary["size"], summary["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
    registration, promotion = read_lines(data / "models/iris-classifier/history.jsonl")
    assert {**registration, "timestamp": 0} == {
        "event": "registered",
        "model": "iris-classifier",
        "version": 1,
        "run_id": how_to,
        "artifact": "model.pkl",
        "sha256": sha256,
        "stage": "staging",
        "description": "first cut",
        "timestamp": 0,
    }
    assert {**promotion, "timestamp": 0} == {"event": "promoted", "version": 1, "stage": "production", "timestamp": 0}


def test_metrics_file_has_one_compact_point_per_line(how_to: str, data: Path) -> None:
    text = (data / "runs" / how_to / "metrics.jsonl").read_text()
    points = [json.loads(line) for line in text.splitlines()]
    assert [list(point) for point in points] == [["key", "value", "step", "timestamp"]] * 4
    assert text == "".join(json.dumps(point, separators=(",", ":")) + "\n" for point in points)
    assert [(point["key"], point["value"], point["step"]) for point in points] == [
        ("accuracy", 0.94, 0),
        ("loss", 1.0, 0),
        ("loss", 0.5, 1),
        ("loss", 1 / 3, 2),
    ]


def test_non_finite_value_is_strict_json_on_disk(client: FlaskClient, data: Path) -> None:
    run_id = client.post("/api/w/runs", json={"experiment": "e"}).get_json()["id"]
    body = '{"a": NaN, "b": "Infinity", "c": -Infinity, "d": -0.0, "e": 1e300}'
    assert client.post(f"/api/w/runs/{run_id}/metrics", data=body, content_type="application/json").status_code == 200

    def refuse(token: str) -> float:
        raise AssertionError(token)

    text = (data / "runs" / run_id / "metrics.jsonl").read_text()
    values = [json.loads(line, parse_constant=refuse)["value"] for line in text.splitlines()]
    assert str(values) == "['NaN', 'Infinity', '-Infinity', -0.0, 1e+300]"


def test_files_contain_no_absolute_path(how_to: str, data: Path) -> None:
    content = {name: (data / name).read_bytes() for name in list_files(data)}
    names_with_paths = [name for name, each in content.items() if str(data).encode() in each or b"/tmp" in each]
    assert (len(content), names_with_paths) == (7, [])


NAMES = [
    "Model.pkl",
    "model.pkl",
    "MODEL.PKL",
    "CON",
    "con.txt",
    "nul",
    "lpt1.log",
    "a: b.txt",
    'what?*"<>|.txt',
    "ends with dot.",
    "ends with space ",
    "100%.txt",
    "%41",
    ".hidden",
    "caf\u00e9",
    "cafe\u0301",
    "stra\u00dfe",
    "STRASSE",
    "checkpoints/step_50.pt",
    "Checkpoints/step_51.pt",
    "meta.json",
    "artifacts.jsonl",
    "dir./file",
    "aux/file",
]


def test_every_artifact_name_is_portable_on_disk_and_read_back(
    client: FlaskClient, log_run: LogRun, data: Path
) -> None:
    run_id = log_run(artifacts={name: name.encode() for name in NAMES})
    for name in NAMES:
        assert client.get(f"/api/artifacts/{run_id}/{_percent_encode(name)}/download").data == name.encode(), name
    assert _count_portable(list_files(data / "runs" / run_id / "blobs")) == len(NAMES)
    assert {run["name"] for run in client.get(f"/api/runs/{run_id}/artifacts").get_json()} == set(NAMES)


def test_every_model_name_is_portable_on_disk_and_read_back(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    names = [name for name in NAMES if "/" not in name]
    run_id = log_run(artifacts={"m": b"bytes"})
    for name in names:
        answer = client.post("/api/w/models", json={"name": name, "run_id": run_id, "artifact": "m"})
        assert (answer.status_code, answer.get_json()["version"]) == (200, 1), name
    for name in names:
        assert client.get(f"/api/models/{_percent_encode(name)}").get_json()["model"]["name"] == name
    assert _count_portable(list_files(data / "models")) == len(names)


def _percent_encode(name: str) -> str:
    return "".join(f"%{byte:02x}" for byte in name.encode()).replace("%2f", "/")


def _count_portable(paths: list[str]) -> int:
    """Return the number of paths; none is invalid on NTFS, and no two differ only by case."""
    devices = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
    for path in paths:
        for part in path.split("/"):
            assert not FORBIDDEN_CHARACTERS & set(part) and part[-1] not in ". ", path
            assert part.split(".")[0].lower() not in devices, path
    return len({path.casefold() for path in paths})


def test_unknown_files_and_keys_are_kept(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run()
    folder = data / "runs" / run_id
    (folder / "notes.txt").write_text("mine")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "x_cluster": {"node": 7}}))
    base = f"/api/w/runs/{run_id}"
    assert client.post(f"{base}/tags", json={"a": 1}).status_code == 200
    assert client.post(f"{base}/note", json={"note": "n"}).status_code == 200
    assert client.post(f"{base}/datasets", json={"role": "train"}).status_code == 200
    assert client.post(f"{base}/end").status_code == 200
    after = json.loads((folder / "meta.json").read_text())
    assert (after["x_cluster"], after["status"]) == ({"node": 7}, "completed")
    assert (folder / "notes.txt").read_text() == "mine"


# -- changes by hand to the folder of a live server


def test_copied_renamed_or_removed_run_shows_on_the_next_request(
    client: FlaskClient, log_run: LogRun, data: Path
) -> None:
    first, runs = log_run(params={"lr": 1}, metrics={"loss": 2.0}, artifacts={"a": b"bytes"}), data / "runs"
    assert [run["id"] for run in client.get("/api/runs").get_json()] == [first]
    for number in range(20):  # each change right after a request, within a tick of the file system's clock
        copy = f"copy-{number}"
        shutil.copytree(runs / first, runs / copy)
        details = client.get(f"/api/runs/{copy}").get_json()
        assert (details["id"], details["params"], details["metrics"]) == (copy, {"lr": 1}, {"loss": 2.0})
        assert client.get(f"/api/artifacts/{copy}/a/download").data == b"bytes"
        assert client.get("/api/runs").headers["X-Total-Count"] == "2"
        (runs / copy).rename(runs / "renamed")
        assert client.get(f"/api/runs/{copy}").status_code == 404
        assert client.get("/api/runs/renamed").status_code == 200
        shutil.rmtree(runs / "renamed")
        assert client.get("/api/runs/renamed").status_code == 404
        assert client.get("/api/runs").headers["X-Total-Count"] == "1"


def test_run_moved_out_and_back_accepts_writes(make_app: Callable[..., Flask], data: Path) -> None:
    client = make_app().test_client()
    run_id = client.post("/api/w/runs", json={"experiment": "e", "id": "ci-1"}).get_json()["id"]
    shutil.move(data / "runs" / run_id, data.parent / "aside")
    assert client.get("/api/runs").get_json() == []
    shutil.move(data.parent / "aside", data / "runs" / run_id)
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1}).status_code == 200
    assert client.get(f"/api/runs/{run_id}").get_json()["metrics"] == {"loss": 1}


@pytest.mark.parametrize("by", ["write", "rename"])
def test_edited_meta_json_shows_on_the_next_request(client: FlaskClient, log_run: LogRun, data: Path, by: str) -> None:
    run_id = log_run(name="before", tags={"n": 1})
    path = data / "runs" / run_id / "meta.json"
    for power in range(1, 15):  # each of another size, to tell them apart where the file system's clock is coarse
        assert client.get(f"/api/runs/{run_id}").get_json()["tags"] == {"n": 10 ** (power - 1)}
        edit(path, path.read_text().replace(f'"n": {10 ** (power - 1)}', f'"n": {10**power}'), by)
    assert client.get(f"/api/runs?tag.n={10**14}").headers["X-Total-Count"] == "1"
    edit(path, path.read_text().replace('"running"', '"completed"'), by)
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 1}).status_code == 404


@pytest.mark.parametrize("by", ["write", "rename"])
def test_edited_params_json_shows_on_the_next_request(
    client: FlaskClient, log_run: LogRun, data: Path, by: str
) -> None:
    run_id = log_run(params={"lr": 0.01})
    assert client.get(f"/api/runs/{run_id}").get_json()["params"] == {"lr": 0.01}
    edit(data / "runs" / run_id / "params.json", '{"lr": 0.5, "by hand": true}', by)
    assert client.get(f"/api/runs/{run_id}").get_json()["params"] == {"lr": 0.5, "by hand": True}
    assert client.post(f"/api/w/runs/{run_id}/params", json={"lr": 0.5}).status_code == 200
    assert client.post(f"/api/w/runs/{run_id}/params", json={"lr": 0.01}).status_code == 409


@pytest.mark.parametrize("by", ["append", "write", "rename"])
@pytest.mark.parametrize("end", [None, "completed"])
def test_point_added_by_hand_shows_on_the_next_request(
    client: FlaskClient, log_run: LogRun, data: Path, by: str, end: str | None
) -> None:
    run_id = log_run(metrics=[{"loss": 1.0, "step": 0}], end=end)
    assert client.get(f"/api/runs/{run_id}").get_json()["metrics"] == {"loss": 1.0}
    path = data / "runs" / run_id / "metrics.jsonl"
    line = '{"key": "loss", "value": 0.25, "step": 7, "timestamp": 1}\n'
    if by == "append":
        with path.open("a") as file:
            file.write(line)
    else:
        edit(path, path.read_text() + line, by)
    details = client.get(f"/api/runs/{run_id}").get_json()
    assert (details["metrics"], details["metric_summary"]["loss"]["count"]) == ({"loss": 0.25}, 2)
    assert client.get(f"/api/runs/{run_id}/metrics").get_json()["loss"]["points"][1]["step"] == 7
    if end is None:
        assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 0.1, "step": 8}).status_code == 200
        assert client.get(f"/api/runs/{run_id}").get_json()["metric_summary"]["loss"]["count"] == 3


def test_run_replaced_by_hand_is_still_watched(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run(name="before")
    folder, backup = data / "runs" / run_id, data.parent / "saved"
    shutil.copytree(folder, backup)
    for name in ("restored", "edited", "moved back"):  # only lists are requested, which check no quiet run
        assert len(client.get("/api/runs").get_json()) == 1
        if name == "restored":
            shutil.rmtree(folder)
            shutil.copytree(backup, folder)
        elif name == "moved back":
            folder.rename(data.parent / "aside")
            backup.rename(folder)
        path = folder / "meta.json"
        for number in range(3):
            assert len(client.get("/api/runs").get_json()) == 1
            meta = json.loads(path.read_text())
            path.write_text(json.dumps({**meta, "name": f"{name} {'x' * number}"}))
            assert [run["name"] for run in client.get("/api/runs").get_json()] == [f"{name} {'x' * number}"]


def test_runs_that_swapped_folders_are_still_watched(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    runs = data / "runs"
    for run_id in ("one", "two"):
        log_run(id=run_id, name=run_id)
    assert [run["name"] for run in client.get("/api/runs").get_json()] == ["two", "one"]
    (runs / "one").rename(data.parent / "aside")
    (runs / "two").rename(runs / "one")
    (data.parent / "aside").rename(runs / "two")
    assert {run["id"]: run["name"] for run in client.get("/api/runs").get_json()} == {"one": "two", "two": "one"}
    names = {"one": "two", "two": "one"}
    for run_id in ("one", "two"):
        path = runs / run_id / "meta.json"
        path.write_text(path.read_text().replace('"name": "', '"name": "new '))
        names[run_id] = f"new {names[run_id]}"
        assert {run["id"]: run["name"] for run in client.get("/api/runs").get_json()} == names


def test_history_edited_by_hand_shows_on_the_next_request(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run(artifacts={"m": b"bytes"})
    client.post("/api/w/models", json={"name": "iris", "run_id": run_id, "artifact": "m"})
    assert client.get("/api/models/iris").get_json()["model"]["production"] is None
    with (data / "models/iris/history.jsonl").open("a") as file:
        file.write('{"event": "promoted", "version": 1, "stage": "production", "timestamp": 1}\n')
    assert client.get("/api/models/iris").get_json()["model"]["production"] == 1
    shutil.rmtree(data / "models/iris")
    assert client.get("/api/models").get_json() == []


# -- summary.json


def test_deleted_summary_is_rebuilt(make_app: Callable[..., Flask], log_run: LogRun, data: Path) -> None:
    run_id = log_run(metrics=[{"loss": 1.0, "step": 0}, {"loss": "NaN", "step": 1}], end="completed")
    before = make_app().test_client().get(f"/api/runs/{run_id}").get_json()
    (data / "runs" / run_id / "summary.json").unlink()
    assert make_app().test_client().get(f"/api/runs/{run_id}").get_json() == before


def test_summary_of_an_older_version_is_rebuilt_with_the_time_of_the_latest_value(
    make_app: Callable[..., Flask], log_run: LogRun, data: Path
) -> None:
    points = [{"metrics": {"loss": step / 2}, "step": step, "timestamp": 1000 + step} for step in (0, 7, 3)]
    run_id = log_run(metrics=points, end="completed")
    path = data / "runs" / run_id / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["metrics"]["loss"].pop("last_time") == 1007
    path.write_text(
        json.dumps(summary).replace("3.5", "99.5")
    )  # the values of a summary without that field are not used
    details = make_app().test_client().get(f"/api/runs/{run_id}").get_json()
    assert details["metrics"] == {"loss": 3.5}
    assert json.loads(path.read_text())["metrics"]["loss"]["last_time"] == 1007


@pytest.mark.parametrize("field", ["size", "mtime_ns"])
def test_summary_with_another_size_or_mtime_is_ignored(
    make_app: Callable[..., Flask], log_run: LogRun, data: Path, field: str
) -> None:
    run_id = log_run(metrics={"loss": 1.0}, end="completed")
    path = data / "runs" / run_id / "summary.json"
    wrong_summary = json.loads(path.read_text().replace("1.0", "99.0"))
    path.write_text(json.dumps(wrong_summary))
    # It is used while it has the size and mtime of its source: otherwise this test would prove nothing.
    assert make_app().test_client().get(f"/api/runs/{run_id}").get_json()["metrics"] == {"loss": 99.0}
    path.write_text(json.dumps({**wrong_summary, field: wrong_summary[field] + 1}))
    assert make_app().test_client().get(f"/api/runs/{run_id}").get_json()["metrics"] == {"loss": 1.0}


def test_replaced_metrics_file_is_read_again(make_app: Callable[..., Flask], log_run: LogRun, data: Path) -> None:
    run_id = log_run(metrics={"loss": 1.5}, end="completed")
    path = data / "runs" / run_id / "metrics.jsonl"
    before = path.stat()
    path.write_text(path.read_text().replace("1.5", "2.5"))  # the same size: only the mtime differs
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    assert make_app().test_client().get(f"/api/runs/{run_id}").get_json()["metrics"] == {"loss": 2.5}
