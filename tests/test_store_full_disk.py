"""A full disk, and one that turns read-only: a real one, a tmpfs of one megabyte."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from support.calls import OCTETS, LogRun
from support.disks import Disk, mount_read_only, mount_tmpfs
from support.servers import Server
from support.tools import unavailable
from support.zips import build_zip, run_files
from werkzeug.test import TestResponse

from chachaml_lite.errors import StoreUnusable
from chachaml_lite.store.store import Store

Write = Callable[[FlaskClient], TestResponse]
BASE = "/api/w/runs/r"
LONG = "x" * 5000  # more than the free rest of a small file's last page


def upload(name: str, content: bytes, **query: str) -> Write:
    return lambda client: client.post(
        f"{BASE}/artifacts", query_string={"name": name, **query}, data=content, content_type=OCTETS
    )


def post(path: str, body: Any) -> Write:
    return lambda client: client.post(path, json=body)


MODEL = {"run_id": "r", "artifact": "a"}
WRITES: dict[str, Write] = {
    "create a run": post("/api/w/runs", {"experiment": "e", "id": "new"}),
    "first metrics": post("/api/w/runs/empty/metrics", {"loss": 1}),
    "metrics": post(f"{BASE}/metrics", [{"loss": step, "step": step} for step in range(200)]),
    "params": post(f"{BASE}/params", {"new": 1}),
    "first params": post("/api/w/runs/empty/params", {"new": 1}),
    "tags": post(f"{BASE}/tags", {"new": 1}),
    "note": post(f"{BASE}/note", {"note": "new"}),
    "dataset": post(f"{BASE}/datasets", {"role": "train"}),
    "artifact": upload("new", LONG.encode()),
    "small artifact": upload("new", b"1"),
    "artifact in a folder": upload("new/folder", b"1"),
    "overwritten artifact": upload("b", LONG.encode(), overwrite="true"),
    "artifact whose line alone has no room": upload("e" * 200, b""),
    "first artifact, whose line alone has no room": lambda client: client.post(
        "/api/w/runs/empty/artifacts?name=e", data=b"", content_type=OCTETS
    ),
    "model": post("/api/w/models", {**MODEL, "name": "new"}),
    "version": post("/api/w/models", {**MODEL, "name": "iris", "description": LONG}),
    "tag of a model": post("/api/w/models/crowded", {"tags": {"a": LONG}}),
    "alias": post("/api/w/models/crowded/aliases", {"alias": "a" * 200, "version": 1}),
    "promotion": post("/api/w/models/crowded/promote", {"version": 1, "stage": "production"}),
    "import": lambda client: client.post(
        "/api/w/import", data=build_zip(run_files("new") | {"new/large": b"x" * 100_000}), content_type=OCTETS
    ),
    "end": post(f"{BASE}/end", {"status": "completed"}),
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of one megabyte."""
    try:
        mounting = mount_tmpfs(tmp_path / "disk", "1m")
        mounted_disk = mounting.__enter__()
    except OSError as fault:
        unavailable(f"no tmpfs can be mounted: {fault}")
    yield mounted_disk
    mounting.__exit__(None, None, None)


@pytest.fixture
def data(disk: Disk) -> Path:
    """The store is on that disk."""
    return disk.path / "store"


@pytest.fixture
def client_with_run(client: FlaskClient, log_run: LogRun, data: Path) -> FlaskClient:
    """A client of a store with a run r that has one of everything, and lines up to the end of a page."""
    log_run(id="empty")
    log_run(id="r", params={"lr": 1}, metrics={"loss": 1}, artifacts={"a": b"bytes", "b": b"other"})
    for name in ("iris", "crowded"):
        assert client.post("/api/w/models", json={**MODEL, "name": name, "stage": "staging"}).status_code == 200
    crowd(data / "runs/r/artifacts.jsonl", lambda size: upload(f"{size}{'f' * 180}", b"")(client))
    promotions = [post("/api/w/models/crowded/promote", {"version": 1, "stage": s}) for s in ("none", "staging")]
    crowd(data / "models/crowded/history.jsonl", lambda size: promotions[size % 2](client))
    return client


def crowd(path: Path, add: Callable[[int], TestResponse]) -> None:
    """Add lines until the next one needs another page."""
    number = before = 0
    while (size := path.stat().st_size) % 4096 + (size - before) < 4096:
        before, number = size, number + 1
        assert add(number).status_code == 200


def read_files(data: Path) -> dict[str, bytes]:
    """Return every file of a store with its content, temporary files included."""
    return {str(path.relative_to(data)): path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}


def get_run(client: FlaskClient) -> dict[str, Any]:
    """Return the run, but for the time of the last write: to the file system, truncating a file is a write."""
    run: dict[str, Any] = client.get("/api/runs/r").get_json()
    return {**run, "last_write_time": None}


def is_refused(answer: TestResponse | requests.Response, data: Path) -> bool:
    body = answer.get_json() if isinstance(answer, TestResponse) else answer.json()
    assert answer.status_code == 507 and body["error"] == "disk full", answer.text
    return body.keys() == {"error", "detail"} and str(data.parent) not in answer.text


@pytest.mark.parametrize("kind", WRITES)
def test_write_on_a_full_disk_is_507_and_nothing_is_half_written(
    client_with_run: FlaskClient, data: Path, disk: Disk, kind: str
) -> None:
    write = WRITES[kind]
    disk.fill()
    before = read_files(data)
    run_before = get_run(client_with_run)
    for _ in range(2):
        assert is_refused(write(client_with_run), data)
        assert read_files(data) == before
    assert get_run(client_with_run) == run_before
    assert client_with_run.get("/api/artifacts/r/a/download").data == b"bytes"
    assert client_with_run.get("/api/health").get_json()["damaged"] == 0
    disk.free()
    assert write(client_with_run).status_code == 200
    assert read_files(data) != before


@pytest.mark.parametrize(
    ("points", "tag"), [(1000, "a"), (1, "a" * 20_000)], ids=["points without room", "tag without room"]
)
def test_mlflow_batch_is_all_or_nothing_on_a_disk_with_room_for_a_part_of_it(
    client_with_run: FlaskClient, data: Path, disk: Disk, points: int, tag: str
) -> None:
    """Its params used to be stored first, and stayed although the response said that nothing was stored."""
    batch = {
        "run_id": "r",
        "params": [{"key": "new", "value": "1"}],
        "metrics": [{"key": "new", "value": 1, "timestamp": 1, "step": step} for step in range(points)],
        "tags": [{"key": "new", "value": tag}],
    }
    disk.fill()
    os.truncate(disk.path / "filler", (disk.path / "filler").stat().st_size - 4 * 4096)
    files_before, run_before = read_files(data), get_run(client_with_run)
    for _ in range(2):
        answer = client_with_run.post("/api/2.0/mlflow/runs/log-batch", json=batch)
        assert (answer.status_code, answer.get_json()["error_code"]) == (507, "RESOURCE_EXHAUSTED"), answer.text
        assert read_files(data) == files_before
    assert get_run(client_with_run) == run_before
    disk.free()
    assert client_with_run.post("/api/2.0/mlflow/runs/log-batch", json=batch).status_code == 200
    run = get_run(client_with_run)
    assert (run["params"]["new"], run["metrics"]["new"], run["tags"]["new"]) == (1, 1, tag)
    assert run["metric_summary"]["new"]["count"] == points


@pytest.mark.parametrize("kind", WRITES)
def test_disk_turned_read_only_refuses_writes_and_serves_reads(
    client_with_run: FlaskClient, make_app: Callable[..., Flask], data: Path, kind: str
) -> None:
    client = make_app().test_client()  # without an open file, which could still be written to
    with mount_read_only(data):
        before = read_files(data)
        assert is_refused(WRITES[kind](client), data)
        for path in ("/api/runs", "/api/runs/r", "/api/runs/r/metrics", "/api/artifacts/r/a/download", "/api/models"):
            assert client.get(path).status_code == 200
        assert read_files(data) == before
    assert WRITES[kind](client).status_code == 200


@pytest.mark.parametrize("path", ["/api/export", "/api/runs/r/download"])
def test_export_and_zip_need_no_room_on_the_disk_of_the_store(
    client_with_run: FlaskClient, data: Path, disk: Disk, path: str
) -> None:
    before = client_with_run.get(path)
    disk.fill()
    on_full_disk = client_with_run.get(path)
    assert (on_full_disk.status_code, on_full_disk.data) == (200, before.data)
    assert list((data / "runs/.incoming").iterdir()) == []
    disk.free()
    with mount_read_only(data):
        assert client_with_run.get(path).data == before.data


def test_server_starts_on_a_full_disk_and_makes_room_by_deleting(
    serve: Callable[..., Server], data: Path, disk: Disk
) -> None:
    server = serve()
    for run_id in ("kept", "large"):
        assert requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": run_id}).status_code == 200
    url = f"{server.url}/api/w/runs/large/artifacts?name=a"
    assert requests.post(url, data=bytes(100_000), headers={"Content-Type": OCTETS}).status_code == 200
    assert server.stop() == 0
    disk.fill()
    server = serve()
    assert [run["id"] for run in requests.get(f"{server.url}/api/runs").json()] == ["large", "kept"]
    assert is_refused(requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "later"}), data)
    assert requests.delete(f"{server.url}/api/w/runs/large").status_code == 200  # a rename: it needs no room
    assert requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "later"}).status_code == 200
    assert server.stop() == 0


def test_metrics_file_truncated_after_a_failed_write_accepts_further_points(
    client_with_run: FlaskClient, make_app: Callable[..., Flask], data: Path, disk: Disk
) -> None:
    for _ in range(5):
        disk.fill()
        assert is_refused(WRITES["metrics"](client_with_run), data)
        disk.free()
        assert client_with_run.post(f"{BASE}/metrics", json={"loss": 1}).status_code == 200
    for client in (client_with_run, make_app().test_client()):
        assert client.get("/api/runs/r").get_json()["metric_summary"]["loss"]["count"] == 6


@pytest.mark.parametrize("path", [f"{BASE}/artifacts?name=large", "/api/w/import"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_upload_larger_than_the_disk_is_refused_and_leaves_nothing(
    serve: Callable[..., Server], data: Path, is_chunked: bool, path: str
) -> None:
    server = serve()
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"})
    body: Any = iter([bytes(100_000)] * 20) if is_chunked else bytes(2_000_000)
    assert is_refused(requests.post(server.url + path, data=body, headers={"Content-Type": OCTETS}), data)
    assert list((data / "runs/.incoming").iterdir()) == []
    url = f"{server.url}{BASE}/artifacts?name=large"
    assert requests.post(url, data=b"small", headers={"Content-Type": OCTETS}).status_code == 200
    assert server.stop() == 0


def test_server_out_of_file_descriptors_is_503_and_recovers(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    session = requests.Session()
    assert session.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"}).status_code == 200
    pid = server.process.pid
    used_numbers = {int(each) for each in os.listdir(f"/proc/{pid}/fd")}
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (next(n for n in range(1000) if n not in used_numbers), limits[1]))
    answers = [
        session.post(f"{server.url}{BASE}/params", json={"a": 1}),
        session.post(f"{server.url}{BASE}/metrics", json={"a": 1}),
        session.post(f"{server.url}{BASE}/artifacts?name=a", data=b"b", headers={"Content-Type": OCTETS}),
        session.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "other"}),
        session.post(f"{server.url}{BASE}/end"),
    ]
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(503, "overloaded")] * 5
    assert all(answer.headers["Retry-After"] for answer in answers)
    assert session.get(f"{server.url}/api/runs").status_code in (200, 503)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert session.post(f"{server.url}{BASE}/params", json={"a": 1}).status_code == 200
    assert session.get(f"{server.url}/api/runs/r").json()["metrics"] == {}


def test_artifact_deletion_frees_the_space_for_its_own_line(
    client_with_run: FlaskClient, disk: Disk, data: Path
) -> None:
    name = "e" * 180
    assert upload(name, LONG.encode())(client_with_run).status_code == 200
    crowd(data / "runs/r/artifacts.jsonl", lambda size: upload(f"{size}{'g' * 180}", b"")(client_with_run))
    disk.fill()
    assert client_with_run.post(f"{BASE}/params", json={"new": LONG}).status_code == 507
    answer = client_with_run.delete(f"{BASE}/artifacts", query_string={"name": name})
    assert (answer.status_code, answer.get_json()) == (200, {"ok": True, "deleted": 1})
    disk.free()
    assert not (data / "runs/r/blobs" / name).exists()
    assert name not in [each["name"] for each in client_with_run.get("/api/runs/r/artifacts").get_json()]
    assert list((data / "runs/.incoming").iterdir()) == []


def test_artifact_deletion_is_refused_on_a_disk_turned_read_only(
    client_with_run: FlaskClient, make_app: Callable[..., Flask], data: Path
) -> None:
    client = make_app().test_client()
    with mount_read_only(data):
        before = read_files(data)
        assert is_refused(client.delete(f"{BASE}/artifacts?name=b"), data)
        assert read_files(data) == before
    assert client.delete(f"{BASE}/artifacts?name=b").status_code == 200


def test_error_on_a_read_only_disk_suggests_read_only_if_there_is_a_store(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    (disk / "there").mkdir(parents=True)
    with mount_read_only(disk):
        for name in ("there", "not there"):
            with pytest.raises(StoreUnusable) as fault:
                Store(disk / name, "no")
            assert ("--read-only" in str(fault.value)) == (name == "there")
