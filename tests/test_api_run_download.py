"""GET /api/runs/:id/download: the run's folder as a zip that is the same run wherever it is unpacked."""

from __future__ import annotations

import calendar
import errno
import hashlib
import io
import json
import os
import resource
import socket
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from flask.testing import FlaskClient
from support.servers import PATIENCE_SECONDS, Server, run_server

from chachaml_lite.app import create_app
from chachaml_lite.config import Config
from chachaml_lite.store.layout import Layout
from chachaml_lite.store.store import Store
from chachaml_lite.store.zip_run import zip_run
from chachaml_lite.tracking.tracker import Tracker

LogRun = Callable[..., str]


@pytest.fixture
def full_run_id(log_run: LogRun, client: FlaskClient) -> str:
    run_id = log_run(
        name="naïve ☃",
        tags={"author": "maria"},
        params={"lr": 0.01, "layers": [1, 2]},
        metrics=[{"loss": "NaN", "step": 0}, {"loss": 0.5, "step": 1}, {"metrics": {"a": 1}, "timestamp": 5}],
        artifacts={"model.pkl": b"bytes", "checkpoints/step:1?.pt": b"x" * 3_000_000, "empty": b"", "☃.txt": b"1"},
        end="completed",
    )
    client.post(f"/api/note/{run_id}", json={"note": "*fine*"})
    return run_id


def download(client: FlaskClient, run_id: str) -> zipfile.ZipFile:
    answer = client.get(f"/api/runs/{run_id}/download")
    assert (answer.status_code, answer.content_type) == (200, "application/zip")
    return zipfile.ZipFile(io.BytesIO(answer.data))


def read_everything(client: FlaskClient, run_id: str) -> list[Any]:
    run = client.get(f"/api/runs/{run_id}").get_json()
    run.pop("last_write_time")  # the time of the files, which have been written again
    names = [artifact["name"] for artifact in run["artifacts"]]
    blobs = [client.get(f"/api/artifacts/{run_id}/{name.replace('?', '%3F')}/download").data for name in names]
    return [run, client.get(f"/api/runs/{run_id}/metrics").get_json(), blobs]


def test_zip_unpacked_into_another_store_is_the_same_run(
    client: FlaskClient, full_run_id: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    (tmp_path / "run.zip").write_bytes(client.get(f"/api/runs/{full_run_id}/download").data)
    store = Store(tmp_path / "other", "no")
    try:
        config = Config(data=tmp_path / "other", quiet=True)
        app = create_app(config, Tracker.on(store, config.series_cache_bytes))
        app.test_client_class = type(client)
        other = app.test_client()
        assert other.get("/api/runs").get_json() == []
        command = [tool("unzip"), "-q", str(tmp_path / "run.zip"), "-d", str(tmp_path / "other" / "runs")]
        subprocess.run(command, check=True, timeout=PATIENCE_SECONDS)
        assert read_everything(other, full_run_id) == read_everything(client, full_run_id)
        assert other.get("/api/health").get_json()["damaged"] == 0
        assert [run["id"] for run in other.get("/api/runs").get_json()] == [full_run_id]
    finally:
        store.close()


def test_zip_contains_exactly_the_files_of_the_folder(client: FlaskClient, full_run_id: str, data: Path) -> None:
    folder = data / "runs" / full_run_id
    (folder / "mine.txt").write_text("kept")
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "deep" / "mine.txt").write_text("kept too")
    archive = download(client, full_run_id)
    on_disk = {
        f"{full_run_id}/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert {name: archive.read(name) for name in archive.namelist()} == on_disk
    assert archive.testzip() is None


def test_links_pipes_dot_files_and_undecodable_names_are_left_out(
    client: FlaskClient, log_run: LogRun, data: Path, tmp_path: Path
) -> None:
    run_id = log_run(artifacts={"real": b"1"})
    folder = data / "runs" / run_id
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret" / "key")
    (folder / "blobs" / "folder").symlink_to(tmp_path / "secret")
    (folder / ".hidden").write_text("1")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("1")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"\xff.txt")).write_text("1")
    names = {name.partition("/")[2] for name in download(client, run_id).namelist()}
    assert names == {"meta.json", "artifacts.jsonl", "blobs/real"}


def test_zip_contains_more_large_files_than_may_be_open_at_once(client: FlaskClient, log_run: LogRun) -> None:
    sizes = {f"{number}.bin": 1024 * 1024 + 1 + number for number in range(40)}
    run_id = log_run(artifacts={name: b"\1" * size for name, size in sizes.items()})
    archive = download(client, run_id)
    found_sizes = {
        info.filename.rpartition("/")[2]: info.file_size for info in archive.infolist() if "blobs" in info.filename
    }
    assert found_sizes == sizes
    assert archive.testzip() is None


def test_download_of_many_files_uses_few_descriptors(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run()
    for number in range(80):
        for name, size in ((f"large-{number}", 1024 * 1024 + 1), (f"small-{number}", number)):
            with (data / "runs" / run_id / name).open("wb") as file:
                file.truncate(size)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        free = [os.open(os.devnull, os.O_RDONLY) for _ in range(48)]  # whose numbers need not be consecutive
        for each in free:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, limits[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        archive = download(client, run_id)
    assert len(archive.namelist()) == 1 + 2 * 80
    assert archive.testzip() is None


@pytest.mark.parametrize(
    ("number", "status"), [(errno.EMFILE, 503), (errno.ENOMEM, 503), (errno.EIO, 500), (errno.EACCES, 500)]
)
def test_file_that_cannot_be_opened_fails_the_download(
    client: FlaskClient, full_run_id: str, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    open_file = os.open

    def fail(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == "metrics.jsonl" and "dir_fd" in kwargs:
            raise OSError(number, os.strerror(number))
        return open_file(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        assert client.get(f"/api/runs/{full_run_id}/download").status_code == status
    assert "metrics.jsonl" in " ".join(download(client, full_run_id).namelist())


def test_run_is_unlocked_while_its_large_files_are_copied(log_run: LogRun, data: Path) -> None:
    """Small files are copied under the lock, since each would otherwise keep a descriptor open."""
    run_id = log_run(params={"lr": 1}, artifacts={"large": b"x" * 3_000_000, "small": b"y" * 900_000})
    is_locked = False
    pieces: dict[bool, bytes] = {True: b"", False: b""}

    @contextmanager
    def hold_lock() -> Iterator[None]:
        nonlocal is_locked
        is_locked = True
        yield
        is_locked = False

    class Sink(io.BytesIO):
        def write(self, piece: Any) -> int:
            pieces[is_locked] += bytes(piece)
            return super().write(piece)

    zip_run(Layout(str(data)), run_id, hold_lock, Sink())
    assert b"y" * 900_000 in pieces[True]
    assert b"x" * 3_000_000 in pieces[False]


@pytest.mark.parametrize("mtime", [-1, 0, 10, 2**31 - 1, 2**31, 2**32 + 5])
def test_files_with_any_modification_time_can_be_downloaded(
    client: FlaskClient, log_run: LogRun, data: Path, mtime: int
) -> None:
    run_id = log_run(params={"lr": 1})
    os.utime(data / "runs" / run_id / "params.json", (mtime, mtime))
    archive = download(client, run_id)
    assert archive.read(f"{run_id}/params.json") == (data / "runs" / run_id / "params.json").read_bytes()
    assert archive.testzip() is None


def test_unzip_restores_the_modification_times(
    client: FlaskClient, log_run: LogRun, data: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    run_id = log_run(params={"lr": 1})
    os.utime(data / "runs" / run_id / "params.json", (1_700_000_001, 1_700_000_001))
    os.utime(data / "runs" / run_id / "meta.json", (10, 10))  # before 1980, where the times of a zip begin
    (tmp_path / "run.zip").write_bytes(client.get(f"/api/runs/{run_id}/download").data)
    subprocess.run(
        [tool("unzip"), "-q", str(tmp_path / "run.zip"), "-d", str(tmp_path / "out")],
        check=True,
        env={**os.environ, "TZ": "Asia/Tokyo"},
        timeout=PATIENCE_SECONDS,
    )
    assert (tmp_path / "out" / run_id / "params.json").stat().st_mtime == 1_700_000_001


def test_download_leaves_no_temporary_file(client: FlaskClient, full_run_id: str, data: Path) -> None:
    download(client, full_run_id)
    assert client.head(f"/api/runs/{full_run_id}/download").status_code == 200
    assert os.listdir(data / "runs" / ".incoming") == []


@pytest.mark.parametrize("run_id", ["nobody", ".incoming", "..", "a%2Fb"])
def test_download_404_for_unknown_or_invalid_id(client: FlaskClient, run_id: str) -> None:
    answer = client.get(f"/api/runs/{run_id}/download")
    assert answer.status_code == 404
    assert set(answer.get_json()) == {"error", "detail"}


def test_download_during_writes_has_complete_lines_and_the_blobs_they_name(
    client: FlaskClient, log_run: LogRun
) -> None:
    run_id = log_run(artifacts={"model": b"0" * 2_000_000})
    is_done = threading.Event()
    faults: list[str] = []

    def write(send: FlaskClient) -> None:
        number = 0
        while not is_done.is_set():
            number += 1
            answers = [
                send.post(f"/api/w/runs/{run_id}/metrics", json={"loss": number, "acc": number, "step": number}),
                send.post(
                    f"/api/w/runs/{run_id}/artifacts?name=model&overwrite=true",
                    data=b"%d" % number * 200_000,
                    content_type="application/octet-stream",
                ),
            ]
            faults.extend(answer.text for answer in answers if answer.status_code != 200)

    writer = threading.Thread(target=write, args=(client.application.test_client(),))
    writer.start()
    try:
        for _ in range(20):
            check_consistent(download(client, run_id), run_id)
    finally:
        is_done.set()
        writer.join()
    assert faults == []


def check_consistent(archive: zipfile.ZipFile, run_id: str) -> None:
    uploads = [json.loads(line) for line in archive.read(f"{run_id}/artifacts.jsonl").splitlines()]
    assert hashlib.sha256(archive.read(f"{run_id}/blobs/model")).hexdigest() == uploads[-1]["sha256"]
    name = f"{run_id}/metrics.jsonl"
    points = archive.read(name) if name in archive.namelist() else b""
    assert points == b"" or points.endswith(b"\n")
    assert len([json.loads(line) for line in points.splitlines()]) % 2 == 0  # both points of a request, or neither


def test_clients_that_read_nothing_do_not_block_others(server: Server) -> None:
    run_id = requests.post(f"{server.url}/api/w/runs", json={"experiment": "a"}, timeout=PATIENCE_SECONDS).json()["id"]
    upload = requests.post(
        f"{server.url}/api/w/runs/{run_id}/artifacts?name=big",
        data=os.urandom(1024) * 20_000,
        headers={"Content-Type": "application/octet-stream"},
        timeout=PATIENCE_SECONDS,
    )
    assert upload.status_code == 200
    address = (urlsplit(server.url).hostname, server.port)
    idle_connections = [socket.create_connection(address, PATIENCE_SECONDS) for _ in range(8)]
    try:
        for each in idle_connections:
            each.sendall(f"GET /api/runs/{run_id}/download HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        for each in idle_connections:
            assert each.recv(12) == b"HTTP/1.1 200"  # each response has begun, and is larger than what will be read
        assert requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS).json()["ok"]
        whole = requests.get(f"{server.url}/api/runs/{run_id}/download", timeout=PATIENCE_SECONDS)
        assert int(whole.headers["Content-Length"]) == len(whole.content)
        assert zipfile.ZipFile(io.BytesIO(whole.content)).testzip() is None
    finally:
        for each in idle_connections:
            each.close()


def test_download_of_a_large_run_takes_little_memory(tmp_path: Path) -> None:
    with run_server(tmp_path / "store", tmp_path / "scratch") as server:
        run_id = requests.post(f"{server.url}/api/w/runs", json={"experiment": "a"}, timeout=PATIENCE_SECONDS).json()[
            "id"
        ]
        blob = tmp_path / "store" / "runs" / run_id / "large.bin"
        with blob.open("wb") as file:
            file.truncate(300_000_000)
        size = 0
        with requests.get(f"{server.url}/api/runs/{run_id}/download", stream=True, timeout=PATIENCE_SECONDS) as answer:
            for chunk in answer.iter_content(1024 * 1024):
                size += len(chunk)
        assert size > 300_000_000
        assert peak_bytes(server.process.pid) < 150_000_000


def peak_bytes(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status")
    if not status.exists():
        pytest.skip("this system doesn't tell a process's peak memory in /proc")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("year", [2108, 2500, 9999])
def test_file_time_after_the_last_year_of_zip_is_clamped_to_it(
    client: FlaskClient, log_run: LogRun, data: Path, year: int
) -> None:
    """A wrong clock once made the zip of the run, and that of a folder version, an internal error."""
    run_id = log_run(artifacts={"model/a": b"bytes"})
    seconds = calendar.timegm((year, 1, 2, 0, 0, 0))
    assert client.post("/api/w/models", json={"name": "m", "run_id": run_id, "artifact": "model/"}).status_code == 200
    lines = data / "runs" / run_id / "artifacts.jsonl"
    lines.write_text(json.dumps(json.loads(lines.read_text()) | {"timestamp": seconds * 1000}) + "\n")
    os.utime(data / "runs" / run_id / "meta.json", (seconds, seconds))
    times = {entry.filename: entry.date_time for entry in download(client, run_id).infolist()}
    assert times[f"{run_id}/meta.json"][0] == 2107
    version = client.get("/api/models/m/1/download")
    assert (version.status_code, zipfile.ZipFile(io.BytesIO(version.data)).read("a")) == (200, b"bytes")
