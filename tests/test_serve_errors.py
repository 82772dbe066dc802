"""Errors that need a real server: unsatisfiable ranges, a full disk, oversized bodies, malformed requests."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests import Response
from support.servers import Server, run_server
from support.snapshots import snapshot
from support.tools import unavailable

OCTETS = {"Content-Type": "application/octet-stream"}
TIMEOUT = 60


def assert_error(answer: Response, status: int, error: str, server: Server) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json()) == {"error", "detail"}
    assert answer.json()["error"] == error
    for leak in (str(server.data), "Traceback", "site-packages", "/tmp"):
        assert leak not in answer.text


def send_raw(server: Server, request: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send bytes as they are; return the status, headers and body of the response."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.headers, answer.read()


# -- 416 and 206

CONTENT = bytes(range(256)) * 5000
SIZE = len(CONTENT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests that change nothing in its store."""
    folder = tmp_path_factory.mktemp("errors")
    with run_server(folder / "store", folder / "scratch") as running_server:
        yield running_server


@pytest.fixture(scope="module")
def download_url(server: Server) -> str:
    """The URL of a download."""
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "x", "id": "r"}, timeout=TIMEOUT).raise_for_status()
    for name, content in (("m", CONTENT), ("empty", b"")):
        url = f"{server.url}/api/w/runs/r/artifacts?name={name}"
        requests.post(url, data=content, headers=OCTETS, timeout=TIMEOUT).raise_for_status()
    return f"{server.url}/api/artifacts/r/m/download"


@pytest.mark.parametrize(
    "range_header",
    [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0", "bytes=99999999999-", f"bytes={'9' * 30}-"],
)
def test_unsatisfiable_range_is_416(server: Server, download_url: str, range_header: str) -> None:
    answer = requests.get(download_url, headers={"Range": range_header}, timeout=TIMEOUT)
    assert_error(answer, 416, "requested range not satisfiable", server)
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


def test_range_of_an_empty_file_is_416(server: Server, download_url: str) -> None:
    url = download_url.replace("/m/", "/empty/")
    assert_error(
        requests.get(url, headers={"Range": "bytes=0-"}, timeout=TIMEOUT),
        416,
        "requested range not satisfiable",
        server,
    )
    whole = requests.get(url, timeout=TIMEOUT)
    assert (whole.status_code, whole.content, whole.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize(
    ("range_header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=5-9", 5, 10),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
        (f"bytes={SIZE - 1}-{SIZE * 2}", SIZE - 1, SIZE),
        (f"bytes=5-{'9' * 30}", 5, SIZE),
    ],
)
def test_range_returns_that_part(download_url: str, range_header: str, start: int, stop: int) -> None:
    answer = requests.get(download_url, headers={"Range": range_header}, timeout=TIMEOUT)
    assert answer.status_code == 206
    assert answer.content == CONTENT[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("range_header", ["bytes=9-5", "bytes=a-b", "bytes=", "lines=1-2", "bytes=0-1,5-6", "nonsense"])
def test_invalid_or_multiple_ranges_are_ignored(download_url: str, range_header: str) -> None:
    answer = requests.get(download_url, headers={"Range": range_header}, timeout=TIMEOUT)
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_range_applies_only_if_the_etag_of_if_range_matches(download_url: str) -> None:
    etag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    for condition, status in ((etag, 206), ('"another"', 200), ("Mon, 23 Nov 2026 18:00:00 GMT", 200)):
        headers = {"Range": "bytes=5-9", "If-Range": condition}
        assert requests.get(download_url, headers=headers, timeout=TIMEOUT).status_code == status, condition


def test_download_can_be_resumed(download_url: str) -> None:
    with requests.get(download_url, stream=True, timeout=TIMEOUT) as answer:
        first_part = answer.raw.read(100_000)
        etag = answer.headers["ETag"]
        assert answer.headers["Accept-Ranges"] == "bytes"
    rest = requests.get(download_url, headers={"Range": f"bytes={len(first_part)}-", "If-Range": etag}, timeout=TIMEOUT)
    assert rest.status_code == 206
    assert first_part + rest.content == CONTENT


def test_head_returns_the_size_without_a_body(download_url: str) -> None:
    answer = requests.head(download_url, timeout=TIMEOUT)
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", str(SIZE))


# -- 413


def test_body_over_the_limit_is_413_on_a_real_server(serve: Callable[..., Server]) -> None:
    server = serve("--max-json", "1000", "--max-upload", "5000")
    base = f"{server.url}/api/w/runs"
    requests.post(base, json={"experiment": "x", "id": "r"}, timeout=TIMEOUT).raise_for_status()
    before = snapshot(server.data)
    as_json = {"Content-Type": "application/json"}

    def generate_chunks(count: int) -> Iterator[bytes]:  # sent in chunks, without a Content-Length
        for _ in range(count):
            yield b" " * 1000

    for answer in (
        requests.post(f"{base}/r/params", data=b" " * 1001, headers=as_json, timeout=TIMEOUT),
        requests.post(f"{base}/r/metrics", data=generate_chunks(50), headers=as_json, timeout=TIMEOUT),
        requests.post(f"{base}/r/artifacts?name=m", data=b" " * 5001, headers=OCTETS, timeout=TIMEOUT),
        requests.post(f"{base}/r/artifacts?name=m", data=generate_chunks(50), headers=OCTETS, timeout=TIMEOUT),
    ):
        assert_error(answer, 413, "body too large", server)
    assert snapshot(server.data) == before
    fits = requests.post(f"{base}/r/artifacts?name=m", data=generate_chunks(5), headers=OCTETS, timeout=TIMEOUT)
    assert (fits.status_code, fits.json()["size"]) == (200, 5000)


# -- 507


def make_writes(url: str, mark: str) -> dict[str, Callable[[], Response]]:
    """Return a request for each kind of write, larger than the free rest of a file's last block on a full disk."""
    base = f"{url}/api/w/runs"
    large = {f"{mark} {number}": "x" * 100 for number in range(100)}

    def post(path: str, body: Any) -> Callable[[], Response]:
        return lambda: requests.post(f"{base}{path}", json=body, timeout=TIMEOUT)

    return {
        "run": post("", {"experiment": mark, "id": mark, "tags": large}),
        "params": post("/open/params", large),
        "metrics": post("/open/metrics", [{f"{mark} {n}": n / 3, "step": n} for n in range(500)]),
        "artifact": lambda: requests.post(
            f"{base}/open/artifacts?name={mark}", data=b"x" * 100_000, headers=OCTETS, timeout=TIMEOUT
        ),
        "tags": post("/open/tags", large),
        "note": post("/open/note", {"note": mark * 1000}),
        "dataset": post("/open/datasets", {"role": mark, "features": large}),
        "model": lambda: requests.post(
            f"{url}/api/w/models",
            json={"name": "iris", "run_id": "pinned", "artifact": "m", "description": mark * 5000},
            timeout=TIMEOUT,
        ),
        "new model": lambda: requests.post(
            f"{url}/api/w/models",
            json={"name": mark, "run_id": "pinned", "artifact": "m", "description": mark * 5000},
            timeout=TIMEOUT,
        ),
        "end": post(f"/ending-{mark}/end", {"status": "failed", "error": mark * 1000}),
    }


def populate(url: str) -> None:
    """Log the runs and the model that the writes above need."""
    for run_id in ("open", "pinned", "ending-full", "ending-after", "doomed"):
        run = {"experiment": "iris", "id": run_id}
        requests.post(f"{url}/api/w/runs", json=run, timeout=TIMEOUT).raise_for_status()
    for path, body in (("params", {"lr": 1}), ("metrics", {"loss": 1})):
        requests.post(f"{url}/api/w/runs/open/{path}", json=body, timeout=TIMEOUT).raise_for_status()
    upload = f"{url}/api/w/runs/pinned/artifacts?name=m"
    requests.post(upload, data=b"bytes", headers=OCTETS, timeout=TIMEOUT).raise_for_status()
    model = {"name": "iris", "run_id": "pinned", "artifact": "m"}
    requests.post(f"{url}/api/w/models", json=model, timeout=TIMEOUT).raise_for_status()


def load_all(url: str) -> Any:
    """Return all that the API reports of the runs and models, except for the time of the last write."""
    runs = requests.get(f"{url}/api/runs", timeout=TIMEOUT).json()
    details = [requests.get(f"{url}/api/runs/{run['id']}", timeout=TIMEOUT).json() for run in runs]
    for run in details:
        del run["last_write_time"]
    points = requests.get(f"{url}/api/runs/open/metrics", timeout=TIMEOUT).json()
    return details, points, requests.get(f"{url}/api/models/iris", timeout=TIMEOUT).json()


def assert_full_then_free(server: Server, fill_disk: Callable[[], None], free_disk: Callable[[], None]) -> None:
    """Assert that each write is rejected completely while the disk is full, and accepted afterwards."""
    populate(server.url)
    before, responses_before = snapshot(server.data), load_all(server.url)
    fill_disk()
    for name, write in make_writes(server.url, "full").items():
        answer = write()
        assert answer.status_code == 507, (name, answer.text)
        assert_error(answer, 507, "disk full", server)
        assert "nothing was stored" in answer.json()["detail"]
        assert {path: content for path, content in snapshot(server.data).items() if path != "filler"} == before, name
    assert load_all(server.url) == responses_before
    assert requests.get(f"{server.url}/api/health", timeout=TIMEOUT).json()["damaged"] == 0
    assert requests.delete(f"{server.url}/api/w/runs/doomed", timeout=TIMEOUT).status_code == 200
    free_disk()
    for name, write in make_writes(server.url, "after").items():
        answer = write()
        assert answer.status_code == 200, (name, answer.text)
    runs, points, model = load_all(server.url)
    assert len(points) == 501
    assert [version["version"] for version in model["versions"]] == [2, 1]
    assert {run["id"]: run["status"] for run in runs}["ending-after"] == "failed"


@pytest.fixture
def small_disk(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    as_root = [] if os.geteuid() == 0 else [tool("sudo"), "-n"]
    mount = [*as_root, tool("mount"), "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", str(place)]
    result = subprocess.run(mount, capture_output=True, text=True, check=False)
    if result.returncode:
        unavailable(f"no file system can be mounted here: {result.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run([*as_root, tool("umount"), str(place)], check=True)


def test_full_disk_is_507_and_nothing_is_half_written(small_disk: Path, tmp_path: Path) -> None:
    filler = small_disk / "store" / "filler"

    def fill_disk() -> None:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    with run_server(small_disk / "store", tmp_path / "server") as server:
        assert_full_then_free(server, fill_disk, filler.unlink)


def test_write_that_fails_halfway_is_507_and_nothing_is_half_written(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    # A limit on the size of files is reached in the middle of a write, like a disk's end, and needs no right to mount.
    _, most = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, most))

    # The files are below this limit so far; the writes to come are not.
    assert_full_then_free(server, lambda: limit(1500), lambda: limit(most))


# -- malformed requests


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /api/runs HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\n continued\r\nX\r\n\r\n", 400),
        (b"POST /api/w/runs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
        (b"POST /api/w/runs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"get /api/runs HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000 + b"\r\n\r\n", 431),
        (b"GET /api/runs?name=" + b"x" * 300_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
    ],
    ids=lambda value: str(value)[:60],
)
def test_malformed_request_gets_a_json_error(server: Server, request_bytes: bytes, status: int) -> None:
    response_status, headers, body = send_raw(server, request_bytes)
    assert (response_status, headers["Content-Type"]) == (status, "application/json")
    assert set(json.loads(body)) == {"error", "detail"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] is None
    assert requests.get(f"{server.url}/api/health", timeout=TIMEOUT).status_code == 200


# -- paths that are not UTF-8


def test_path_that_is_not_utf_8_is_400(download_url: str, server: Server) -> None:
    """Each such byte used to be read as U+FFFD, so that two names silently became one file."""
    before = snapshot(server.data)
    for method, path in (
        ("POST", "/api/w/models/{}"),
        ("POST", "/api/w/experiments/{}"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/r/artifacts/{}"),
        ("GET", "/api/models/{}"),
        ("GET", "/api/artifacts/r/{}/download"),
        ("GET", "/models/{}"),
        ("GET", "/none/{}"),
    ):
        for encoded in ("%FF", "a%C3", "%ED%A0%80", "%C0%AF", "%F5%80%80%80"):
            url = server.url + path.format(encoded)
            answer = requests.request(method, url, data=b"{}", headers={"Content-Type": "application/json"}, timeout=60)
            assert answer.status_code == 400, (method, url, answer.text)
            assert "the path is not percent-encoded UTF-8" in answer.text
    assert snapshot(server.data) == before
