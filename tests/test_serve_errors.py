"""Errors that need a real server: a range that can't be met, a full disk, too large a body, what is no request."""

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
from support.servers import Running, running
from support.snapshots import files_of
from support.tools import unavailable

OCTETS = {"Content-Type": "application/octet-stream"}
TIMEOUT = 60


def assert_error(answer: Response, status: int, error: str, server: Running) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json()) == {"error", "detail"}
    assert answer.json()["error"] == error
    for told in (str(server.data), "Traceback", "site-packages", "/tmp"):
        assert told not in answer.text


def raw(server: Running, request: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send bytes as they are; the status, headers and body of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.headers, answer.read()


# -- 416 and 206

CONTENT = bytes(range(256)) * 5000
SIZE = len(CONTENT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server for the tests that change nothing of it."""
    folder = tmp_path_factory.mktemp("errors")
    with running(folder / "store", folder / "scratch") as started:
        yield started


@pytest.fixture(scope="module")
def uploaded(server: Running) -> str:
    """The URL of a download."""
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "x", "id": "r"}, timeout=TIMEOUT).raise_for_status()
    for name, content in (("m", CONTENT), ("empty", b"")):
        url = f"{server.url}/api/w/runs/r/artifacts?name={name}"
        requests.post(url, data=content, headers=OCTETS, timeout=TIMEOUT).raise_for_status()
    return f"{server.url}/api/artifacts/r/m/download"


@pytest.mark.parametrize(
    "asked", [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0", "bytes=99999999999-", f"bytes={'9' * 30}-"]
)
def test_range_that_cannot_be_met_is_416(server: Running, uploaded: str, asked: str) -> None:
    answer = requests.get(uploaded, headers={"Range": asked}, timeout=TIMEOUT)
    assert_error(answer, 416, "requested range not satisfiable", server)
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


def test_no_range_of_nothing_can_be_met(server: Running, uploaded: str) -> None:
    url = uploaded.replace("/m/", "/empty/")
    assert_error(
        requests.get(url, headers={"Range": "bytes=0-"}, timeout=TIMEOUT),
        416,
        "requested range not satisfiable",
        server,
    )
    whole = requests.get(url, timeout=TIMEOUT)
    assert (whole.status_code, whole.content, whole.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
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
def test_range_is_that_part(uploaded: str, asked: str, start: int, stop: int) -> None:
    answer = requests.get(uploaded, headers={"Range": asked}, timeout=TIMEOUT)
    assert answer.status_code == 206
    assert answer.content == CONTENT[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=9-5", "bytes=a-b", "bytes=", "lines=1-2", "bytes=0-1,5-6", "nonsense"])
def test_range_that_says_nothing_or_too_much_is_passed_over(uploaded: str, asked: str) -> None:
    answer = requests.get(uploaded, headers={"Range": asked}, timeout=TIMEOUT)
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_range_holds_only_for_the_bytes_that_the_client_has_begun_with(uploaded: str) -> None:
    etag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    for condition, status in ((etag, 206), ('"another"', 200), ("Mon, 23 Nov 2026 18:00:00 GMT", 200)):
        headers = {"Range": "bytes=5-9", "If-Range": condition}
        assert requests.get(uploaded, headers=headers, timeout=TIMEOUT).status_code == status, condition


def test_download_can_be_resumed(uploaded: str) -> None:
    with requests.get(uploaded, stream=True, timeout=TIMEOUT) as answer:
        begun = answer.raw.read(100_000)
        etag = answer.headers["ETag"]
        assert answer.headers["Accept-Ranges"] == "bytes"
    rest = requests.get(uploaded, headers={"Range": f"bytes={len(begun)}-", "If-Range": etag}, timeout=TIMEOUT)
    assert rest.status_code == 206
    assert begun + rest.content == CONTENT


def test_head_tells_the_size_and_sends_nothing(uploaded: str) -> None:
    answer = requests.head(uploaded, timeout=TIMEOUT)
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", str(SIZE))


# -- 413


def test_body_over_the_limit_is_413_by_a_real_server_too(serve: Callable[..., Running]) -> None:
    server = serve("--max-json", "1000", "--max-upload", "5000")
    base = f"{server.url}/api/w/runs"
    requests.post(base, json={"experiment": "x", "id": "r"}, timeout=TIMEOUT).raise_for_status()
    before = files_of(server.data)
    as_json = {"Content-Type": "application/json"}

    def pieces(count: int) -> Iterator[bytes]:  # sent in chunks, without a Content-Length
        for _ in range(count):
            yield b" " * 1000

    for answer in (
        requests.post(f"{base}/r/params", data=b" " * 1001, headers=as_json, timeout=TIMEOUT),
        requests.post(f"{base}/r/metrics", data=pieces(50), headers=as_json, timeout=TIMEOUT),
        requests.post(f"{base}/r/artifacts?name=m", data=b" " * 5001, headers=OCTETS, timeout=TIMEOUT),
        requests.post(f"{base}/r/artifacts?name=m", data=pieces(50), headers=OCTETS, timeout=TIMEOUT),
    ):
        assert_error(answer, 413, "body too large", server)
    assert files_of(server.data) == before
    fits = requests.post(f"{base}/r/artifacts?name=m", data=pieces(5), headers=OCTETS, timeout=TIMEOUT)
    assert (fits.status_code, fits.json()["size"]) == (200, 5000)


# -- 507


def writes(url: str, mark: str) -> dict[str, Callable[[], Response]]:
    """A request for each way to write, larger than what a full disk has left in a block that is begun."""
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


def fill(url: str) -> None:
    """The store that the writes above need."""
    for run_id in ("open", "pinned", "ending-full", "ending-after", "doomed"):
        run = {"experiment": "iris", "id": run_id}
        requests.post(f"{url}/api/w/runs", json=run, timeout=TIMEOUT).raise_for_status()
    for path, body in (("params", {"lr": 1}), ("metrics", {"loss": 1})):
        requests.post(f"{url}/api/w/runs/open/{path}", json=body, timeout=TIMEOUT).raise_for_status()
    upload = f"{url}/api/w/runs/pinned/artifacts?name=m"
    requests.post(upload, data=b"bytes", headers=OCTETS, timeout=TIMEOUT).raise_for_status()
    model = {"name": "iris", "run_id": "pinned", "artifact": "m"}
    requests.post(f"{url}/api/w/models", json=model, timeout=TIMEOUT).raise_for_status()


def shown(url: str) -> Any:
    """All that the API tells of the runs and models, but for the time of the last write."""
    runs = requests.get(f"{url}/api/runs", timeout=TIMEOUT).json()
    details = [requests.get(f"{url}/api/runs/{run['id']}", timeout=TIMEOUT).json() for run in runs]
    for run in details:
        del run["last_write_time"]
    points = requests.get(f"{url}/api/runs/open/metrics", timeout=TIMEOUT).json()
    return details, points, requests.get(f"{url}/api/models/iris", timeout=TIMEOUT).json()


def assert_full_then_free(server: Running, be_full: Callable[[], None], be_free: Callable[[], None]) -> None:
    """Assert that each write is rejected completely while the disk is full, and accepted afterwards."""
    fill(server.url)
    before, seen = files_of(server.data), shown(server.url)
    be_full()
    for name, write in writes(server.url, "full").items():
        answer = write()
        assert answer.status_code == 507, (name, answer.text)
        assert_error(answer, 507, "disk full", server)
        assert "nothing was stored" in answer.json()["detail"]
        assert {path: content for path, content in files_of(server.data).items() if path != "filler"} == before, name
    assert shown(server.url) == seen
    assert requests.get(f"{server.url}/api/health", timeout=TIMEOUT).json()["damaged"] == 0
    assert requests.delete(f"{server.url}/api/w/runs/doomed", timeout=TIMEOUT).status_code == 200
    be_free()
    for name, write in writes(server.url, "after").items():
        answer = write()
        assert answer.status_code == 200, (name, answer.text)
    runs, points, model = shown(server.url)
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
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode:
        unavailable(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run([*as_root, tool("umount"), str(place)], check=True)


def test_full_disk_is_507_and_nothing_is_half_written(small_disk: Path, tmp_path: Path) -> None:
    filler = small_disk / "store" / "filler"

    def be_full() -> None:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    with running(small_disk / "store", tmp_path / "server") as server:
        assert_full_then_free(server, be_full, filler.unlink)


def test_write_that_the_system_refuses_half_way_is_507_and_nothing_is_half_written(
    serve: Callable[..., Running],
) -> None:
    server = serve()
    # A limit on the size of files is met in the middle of a write, as a disk's end is, and wants no right to mount.
    _, most = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, most))

    # What the files have by then fits; what is to be written to them does not.
    assert_full_then_free(server, lambda: limit(1500), lambda: limit(most))


# -- requests that are none


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
def test_what_is_no_request_is_answered_in_the_same_shape(server: Running, request_bytes: bytes, status: int) -> None:
    found, headers, body = raw(server, request_bytes)
    assert (found, headers["Content-Type"]) == (status, "application/json")
    assert set(json.loads(body)) == {"error", "detail"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] is None
    assert requests.get(f"{server.url}/api/health", timeout=TIMEOUT).status_code == 200


# -- a path that is no text


def test_path_that_is_not_utf_8_is_400(uploaded: str, server: Running) -> None:
    """Each such byte was read as U+FFFD: files of two names became one, without a word."""
    before = files_of(server.data)
    for method, path in (
        ("POST", "/api/w/models/{}"),
        ("POST", "/api/w/experiments/{}"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/r/artifacts/{}"),
        ("GET", "/api/models/{}"),
        ("GET", "/api/artifacts/r/{}/download"),
        ("GET", "/models/{}"),
        ("GET", "/none/{}"),
    ):
        for sent in ("%FF", "a%C3", "%ED%A0%80", "%C0%AF", "%F5%80%80%80"):
            url = server.url + path.format(sent)
            answer = requests.request(method, url, data=b"{}", headers={"Content-Type": "application/json"}, timeout=60)
            assert answer.status_code == 400, (method, url, answer.text)
            assert "the path is not percent-encoded UTF-8" in answer.text
    assert files_of(server.data) == before
