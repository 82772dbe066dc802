"""The index: a starting server reads only the runs that changed while it was down, and gets the rest from the index."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from support.servers import Server, wait_until

from chachaml_lite.cli import main
from chachaml_lite.store import reading, scan, watch

MakeApp = Callable[..., Flask]
#: More runs than a server reads without an index.
RUNS = 520


@pytest.fixture(autouse=True)
def many_runs(data: Path) -> Path:
    """A store of `RUNS` ended runs, r-000 to r-519, of the experiments even and odd. Returns its folder."""
    (data / "runs").mkdir(parents=True)
    for number in range(RUNS):
        drop_in(data, f"r-{number:03}", number)
    return data


def drop_in(data: Path, run_id: str, number: int, **fields: Any) -> Path:
    """Put a run's folder into the store and return its meta.json."""
    start_time = 1_735_689_600_000 + number * 60_000
    meta = {
        "id": run_id,
        "experiment": ("even", "odd")[number % 2],
        "name": None,
        "status": "completed",
        "start_time": start_time,
        "end_time": start_time + 5_000,
        "parent_run_id": "r-000" if number == 7 else None,
    }
    folder = data / "runs" / run_id
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps({**meta, **fields}))
    return folder / "meta.json"


def list_ids(client: FlaskClient, query: str = "") -> list[str]:
    answer = client.get(f"/api/runs?limit=1000{query}")
    assert answer.status_code == 200
    run_ids = [run["id"] for run in answer.get_json()]
    assert answer.headers["X-Total-Count"] == str(len(run_ids))
    return run_ids


def list_newest_ids(start: int = RUNS - 1, step: int = -1) -> list[str]:
    return [f"r-{number:03}" for number in range(start, -1, step)]


@pytest.fixture
def opened_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files opened for reading, a list that grows as they are opened."""
    paths: list[str] = []
    open_regular = reading.open_regular

    def record(path: str) -> int:
        paths.append(path)
        return open_regular(path)

    monkeypatch.setattr(reading, "open_regular", record)
    return paths


def list_opened_metas(opened_files: list[str]) -> list[str]:
    return [Path(path).parent.name for path in opened_files if path.endswith("/meta.json")]


def test_start_reads_no_unchanged_run_but_those_listed(make_app: MakeApp, data: Path, opened_files: list[str]) -> None:
    first = make_app().test_client().get("/api/runs?limit=5")
    assert len(list_opened_metas(opened_files)) >= RUNS
    assert (data / ".index").is_file()
    client = make_app().test_client()
    opened_files.clear()
    again = client.get("/api/runs?limit=5")
    assert (again.data, again.headers["X-Total-Count"]) == (first.data, str(RUNS))
    assert list_opened_metas(opened_files) == list_newest_ids()[:5]
    assert len(opened_files) < 20
    assert list_ids(client) == list_newest_ids()
    assert list_ids(client, "&experiment=even") == list_newest_ids(RUNS - 2, -2)
    assert [child["id"] for child in client.get("/api/runs/r-000").get_json()["children"]] == ["r-007"]


def test_first_list_of_many_runs_opens_each_once_and_those_listed_again(
    make_app: MakeApp, opened_files: list[str]
) -> None:
    client = make_app().test_client()
    assert client.get("/api/runs?limit=5").status_code == 200
    assert sorted(list_opened_metas(opened_files)) == sorted([*list_newest_ids(), *list_newest_ids()[:5]])


def edit(meta: Path) -> None:
    content = json.loads(meta.read_text())
    meta.write_text(json.dumps({**content, "experiment": "tulip"}))


def edit_keeping_size_and_time(meta: Path) -> None:
    before = meta.stat()
    meta.write_text(meta.read_text().replace('"odd"', '"new"').replace('"even"', '"new1"'))
    os.utime(meta, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (meta.stat().st_size, meta.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def replace_by_rename(meta: Path) -> None:
    temporary = meta.with_name(".mine")
    temporary.write_text(meta.read_text().replace('"experiment": "', '"experiment": "tulip-'))
    temporary.rename(meta)


def change_start_time(meta: Path) -> None:
    content = json.loads(meta.read_text())
    meta.write_text(json.dumps({**content, "start_time": content["start_time"] + 10**10}))


def trash(meta: Path) -> None:
    content = json.loads(meta.read_text())
    meta.write_text(json.dumps({**content, "deleted_at": 1}))


def make_invalid(meta: Path) -> None:
    meta.write_text("{")


def remove(meta: Path) -> None:
    shutil.rmtree(meta.parent)


def replace_by_another_run(meta: Path) -> None:
    shutil.rmtree(meta.parent)
    drop_in(meta.parents[2], meta.parent.name, 900)


CHANGES: dict[Callable[[Path], None], tuple[str, str, bool]] = {
    edit: ("r-100", "&experiment=even", True),
    edit_keeping_size_and_time: ("r-100", "&experiment=even", True),
    replace_by_rename: ("r-101", "&experiment=odd", True),
    change_start_time: ("r-102", "", False),
    trash: ("r-103", "", True),
    make_invalid: ("r-104", "", True),
    remove: ("r-105", "", True),
    replace_by_another_run: ("r-106", "", False),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_change_while_the_server_is_down_is_seen_by_the_next_one(
    make_app: MakeApp, data: Path, opened_files: list[str], change: Callable[[Path], None]
) -> None:
    run_id, query, is_gone = CHANGES[change]
    assert run_id in list_ids(make_app().test_client(), query)
    make_app()  # stops it and starts another one, which has read nothing yet
    change(data / "runs" / run_id / "meta.json")
    drop_in(data, "dropped", 950)
    opened_files.clear()
    client = make_app().test_client()
    assert client.get("/api/runs?limit=1").get_json()[0]["id"] in ("dropped", run_id)
    assert len(list_opened_metas(opened_files)) <= 5
    run_ids = list_ids(client, query)
    if is_gone:
        assert run_id not in run_ids
    else:
        assert run_ids[:2] == [run_id, "dropped"] if change is change_start_time else run_ids[:2] == ["dropped", run_id]


def test_experiment_deleted_while_the_server_is_down_hides_its_runs(make_app: MakeApp, data: Path) -> None:
    client = make_app().test_client()
    assert client.post("/api/w/runs/r-002/trash").status_code == 200
    assert len(list_ids(client)) == RUNS - 1
    (data / "experiments").mkdir()
    (data / "experiments/odd.json").write_text('{"name": "odd", "deleted_at": 5}')
    client = make_app().test_client()
    assert list_ids(client) == [run_id for run_id in list_newest_ids(RUNS - 2, -2) if run_id != "r-002"]
    assert len(list_ids(client, "&deleted=true")) == RUNS // 2 + 1
    (data / "experiments/odd.json").unlink()
    assert len(list_ids(make_app().test_client())) == RUNS - 1


def cut(index: Path) -> None:
    index.write_bytes(index.read_bytes()[:-40])


def flip_bit(index: Path) -> None:
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)


def set_another_version(index: Path) -> None:
    index.write_bytes(index.read_bytes().replace(b"form 1", b"form 9", 1))


def replace_by_link(index: Path) -> None:
    index.rename(index.with_name("elsewhere"))
    index.symlink_to("elsewhere")


def replace_by_folder(index: Path) -> None:
    index.unlink()
    index.mkdir()


def replace_by_pipe(index: Path) -> None:
    index.unlink()
    os.mkfifo(index)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "empty": lambda index: index.write_bytes(b""),
    "cut": cut,
    "flipped": flip_bit,
    "noise": lambda index: index.write_bytes(b"\0" * 5000),
    "of another version": set_another_version,
    "a link": replace_by_link,
    "a folder": replace_by_folder,
    "a pipe": replace_by_pipe,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_index_is_ignored_and_rebuilt(
    make_app: MakeApp, data: Path, opened_files: list[str], damage: str
) -> None:
    make_app().test_client().get("/api/runs?limit=1")
    make_app()
    index = data / ".index"
    content = index.read_bytes()
    DAMAGES[damage](index)
    opened_files.clear()
    client = make_app().test_client()
    assert list_ids(client) == list_newest_ids()
    assert client.get("/api/health").get_json()["damaged"] == 0
    assert len(list_opened_metas(opened_files)) >= RUNS
    make_app()
    assert damage == "a folder" or (index.read_bytes() == content and not index.is_symlink())


def test_index_half_written_by_a_killed_server_is_ignored(serve: Callable[..., Server], data: Path) -> None:
    server = serve()
    assert len(requests.get(f"{server.url}/api/runs?limit=5", timeout=60).json()) == 5
    server.kill()
    assert (data / ".index").is_file()  # it was written with the first list, not only by a clean stop
    (data / "..index.tmp").write_bytes(b"half an ind")
    edit(data / "runs/r-519/meta.json")
    server = serve()
    assert not (data / "..index.tmp").exists()
    answer = requests.get(f"{server.url}/api/runs?limit=1", timeout=60)
    assert [run["experiment"] for run in answer.json()] == ["tulip"]
    assert answer.headers["X-Total-Count"] == str(RUNS)


def test_read_only_server_uses_the_index_and_writes_none(
    make_app: MakeApp, data: Path, opened_files: list[str]
) -> None:
    assert list_ids(make_app(read_only=True).test_client()) == list_newest_ids()
    make_app().test_client().get("/api/runs?limit=1")
    make_app(read_only=True)
    content = (data / ".index").read_bytes()
    for number in range(RUNS):
        drop_in(data, f"s-{number:03}", number)
    opened_files.clear()
    client = make_app(read_only=True).test_client()
    assert client.get("/api/runs?limit=1").headers["X-Total-Count"] == str(2 * RUNS)
    assert set(list_opened_metas(opened_files)) == {f"s-{number:03}" for number in range(RUNS)}
    make_app(read_only=True)
    assert (data / ".index").read_bytes() == content
    shutil.rmtree(data / "runs")
    (data / "runs").mkdir()
    (data / ".index").unlink()
    for number in range(RUNS):
        drop_in(data, f"r-{number:03}", number)
    assert list_ids(make_app(read_only=True).test_client()) == list_newest_ids()
    assert not (data / ".index").exists()


def test_small_store_has_no_index(make_app: MakeApp, data: Path) -> None:
    for run_id in list_newest_ids()[:-20]:
        shutil.rmtree(data / "runs" / run_id)
    assert len(list_ids(make_app().test_client())) == 20
    make_app()
    assert sorted(each.name for each in data.iterdir()) == [".lock", "models", "runs"]


def test_index_is_neither_verified_nor_downloaded(make_app: MakeApp, data: Path) -> None:
    client = make_app().test_client()
    client.get("/api/runs?limit=1")
    names = zipfile.ZipFile(BytesIO(client.get("/api/runs/r-000/download").data)).namelist()
    assert [name for name in names if "index" in name] == []
    assert (data / ".index").is_file()
    result = CliRunner().invoke(main, ["verify", "--data", str(data)])
    assert (result.exit_code, "index" in result.output) == (0, False)


@pytest.fixture
def no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """No change events from the kernel, and no scan but the first."""
    monkeypatch.setattr(watch, "_LOCAL", frozenset())
    monkeypatch.setattr(scan, "LOOK_SECONDS", 3600.0)


@pytest.mark.usefixtures("no_events")
def test_run_changed_or_removed_before_its_first_read_is_listed_as_it_is(make_app: MakeApp, data: Path) -> None:
    client = make_app().test_client()
    assert client.get("/api/runs?limit=1").headers["X-Total-Count"] == str(RUNS)
    (data / "runs/r-010/meta.json").unlink()
    edit(data / "runs/r-011/meta.json")
    change_start_time(data / "runs/r-012/meta.json")
    runs = client.get("/api/runs?limit=1000").get_json()
    assert sorted(run["id"] for run in runs) == sorted(set(list_newest_ids()) - {"r-010"})
    assert {run["id"]: run for run in runs}["r-011"]["experiment"] == "tulip"
    assert list_ids(client)[0] == "r-012"
    assert list_ids(client, "&experiment=tulip") == ["r-011"]
    older = client.get("/runs/r-009")
    assert older.status_code == 200


@pytest.mark.usefixtures("no_events")
def test_scan_stamps_one_file_of_each_run_never_read(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_app().test_client()
    client.get("/api/runs?limit=1")
    stamped_paths: list[str] = []
    stamp = reading.stamp
    monkeypatch.setattr(reading, "stamp", lambda path: stamped_paths.append(path) or stamp(path))  # type: ignore[func-returns-value]
    client.get("/api/runs?limit=1")
    assert len([path for path in stamped_paths if "/r-" in path]) < 20  # the time of the next scan hasn't come
    monkeypatch.setattr(scan, "LOOK_SECONDS", 0.0)
    stamped_paths.clear()
    client.get("/api/runs?limit=1")
    names = [Path(path).name for path in stamped_paths if "/r-" in path]
    scans = names.count("meta.json") // RUNS  # of one request, for its ETag and for its list
    assert scans >= 1
    assert len(names) <= (RUNS + 3) * scans


def test_change_is_listed_soon_without_kernel_events_however_frequent_the_requests(
    make_app: MakeApp, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_LOCAL", frozenset())
    client = make_app().test_client()
    assert client.get("/api/runs?limit=1").get_json()[0]["experiment"] == "odd"
    edit(data / "runs/r-519/meta.json")
    wait_until(lambda: client.get("/api/runs?limit=1").get_json()[0]["experiment"] == "tulip")
