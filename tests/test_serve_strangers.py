"""Uploads without permission are never stored: the headers are checked before the body is received."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support.servers import PATIENCE_SECONDS, Server, wait_until
from support.wire import Connection, head

from chachaml_lite.waitress_chunks import FREE_CHUNKS, MIN_CHUNK_BYTES

Serve = Callable[..., Server]
Connect = Callable[..., Connection]

TOKEN = "Authorization: Bearer secret\r\n"


@pytest.mark.parametrize(
    ("headers", "status", "is_stored"),
    [
        (f"Host: localhost\r\n{TOKEN}", 404, True),
        ("Host: localhost\r\n", 401, False),
        ("Host: localhost\r\nAuthorization: Bearer wrong\r\n", 401, False),
        (f"Host: evil.example\r\n{TOKEN}", 403, False),
        (f"Host: localhost\r\n{TOKEN}Origin: http://evil.example\r\n", 403, False),
        (f"Host: localhost\r\n{TOKEN}Sec-Fetch-Site: cross-site\r\n", 403, False),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_incoming_upload_is_stored_only_if_its_sender_may_write(
    serve: Callable[..., Server],
    connect: Callable[..., Connection],
    headers: str,
    status: int,
    is_stored: bool,
    is_chunked: bool,
) -> None:
    server = serve("--token", "secret")
    half = b"x" * 100_000
    half_body = b"%x\r\n%b\r\n" % (len(half), half) if is_chunked else half
    length = "Transfer-Encoding: chunked\r\n" if is_chunked else f"Content-Length: {2 * len(half)}\r\n"
    target = "/api/w/runs/none/artifacts?name=a"
    request = f"POST {target} HTTP/1.1\r\n{headers}Content-Type: application/octet-stream\r\n{length}\r\n"
    stranger, other = connect(server.port), connect(server.port)
    stranger.send(request.encode() + half_body)

    def count_stored_bytes() -> int:
        return sum(path.stat().st_size for path in (server.data / "runs/.incoming").iterdir())

    if is_stored:
        wait_until(lambda: count_stored_bytes() == len(half))
    # The server reads what was sent so far before it answers a later request of another client.
    other.send(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert other.read_response().status == 200
    assert (count_stored_bytes() > 0) == is_stored
    stranger.send(half_body + (b"0\r\n\r\n" if is_chunked else b""))
    assert stranger.read_response().status == status
    wait_until(lambda: count_stored_bytes() == 0)


# -- resources that strangers can use up


def read_memory_bytes(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        pytest.skip("this system does not report the memory of a process")
    return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) * 1024  # type: ignore[index]


def list_temporary_files(server: Server) -> list[str]:
    """Return the server's open files in the system's folder for temporary files."""
    paths = []
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            paths.append(str(link.readlink()))
    return [
        path
        for path in paths
        if path.startswith(tempfile.gettempdir()) and not path.startswith(str(server.data.parent))
    ]


@pytest.mark.parametrize("size", [2_000_000, 9_000_000])
def test_body_of_a_stranger_is_stored_neither_in_memory_nor_on_the_disk(
    serve: Serve, connect: Connect, size: int
) -> None:
    server = serve()
    requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS)
    before = read_memory_bytes(server)
    strangers = [connect(server.port) for _ in range(20)]
    for stranger in strangers:
        stranger.send(f"POST /api/w/runs HTTP/1.1\r\nHost: evil.example\r\nContent-Length: {size}\r\n\r\n".encode())
        stranger.send(bytes(size - 1))
    assert {stranger.read_response().status for stranger in strangers} == {403}
    assert not list_temporary_files(server)
    assert read_memory_bytes(server) - before < 10_000_000


CHUNKED_HEADER = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"1" * 2_000_000, "too long"),
        (b"5;" + b"x" * 2_000_000, "too long"),
        (b"0\r\n" + b"X: y\r\n" * 300_000, "trailers are too long"),
        (b"0\r\nX: " + b"y" * 2_000_000, "too long"),
        (b"1\r\nx\r\n" * 300_000, "chunks are too small"),
        (b"\r\n" * 1_000_000, "Invalid chunk size"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_endless_chunked_body_is_refused_early_and_the_rest_discarded(
    server: Server, connect: Connect, body: bytes, detail: str
) -> None:
    requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS)
    before = read_memory_bytes(server)
    connection = connect(server.port)
    connection.send(head("POST /api/w/runs", "Content-Type: application/json", CHUNKED_HEADER) + body)
    answer = connection.read_response()
    assert answer.status == 400 and detail in answer.json()["detail"]
    connection.send(bytes(5_000_000))
    assert connection.is_closed()
    assert read_memory_bytes(server) - before < 10_000_000
    assert requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS).status_code == 200


def test_chunked_body_over_its_limit_is_413_before_its_end(serve: Serve, connect: Connect) -> None:
    server = serve("--max-json", "1000")
    connection = connect(server.port)
    connection.send(
        head("POST /api/w/runs", "Content-Type: application/json", CHUNKED_HEADER) + b"7d0\r\n" + b" " * 2000
    )
    assert connection.read_response().status == 413  # before the end of the body
    assert connection.is_closed()


def test_chunks_of_any_size_sent_in_pieces_of_any_size_are_the_same_artifact(server: Server, connect: Connect) -> None:
    content = bytes(range(256)) * 30
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"}, timeout=PATIENCE_SECONDS)
    for number, (chunk, piece) in enumerate([(1, 1000), (7, 3), (1000, 1), (5000, 4096), (20_000, 100_000)]):
        parts = [content[at : at + chunk] for at in range(0, len(content), chunk)]
        body = b"".join(b"%X;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"
        connection = connect(server.port)
        type_ = "Content-Type: application/octet-stream"
        connection.send(head(f"POST /api/w/runs/r/artifacts?name=a{number}", type_, CHUNKED_HEADER))
        for at in range(0, len(body), piece):
            connection.send(body[at : at + piece])
        assert connection.read_response().json()["sha256"] == hashlib.sha256(content).hexdigest()


def test_chunks_of_the_smallest_size_are_accepted_in_any_number(server: Server, connect: Connect) -> None:
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"}, timeout=PATIENCE_SECONDS)
    count = 2 * FREE_CHUNKS
    body = (b"%x\r\n%b\r\n" % (MIN_CHUNK_BYTES, bytes(MIN_CHUNK_BYTES))) * count + b"0\r\n\r\n"
    connection = connect(server.port)
    type_ = "Content-Type: application/octet-stream"
    connection.send(head("POST /api/w/runs/r/artifacts?name=a", type_, CHUNKED_HEADER) + body)
    assert connection.read_response().json()["size"] == count * MIN_CHUNK_BYTES


def test_flood_of_line_ends_is_ignored(server: Server, connect: Connect) -> None:
    connection = connect(server.port)
    connection.send(b"\r\n" * 3_000_000)
    connection.request("GET /api/health")
    assert connection.read_response().status == 200


def test_login_form_over_4_kb_is_refused(serve: Serve, connect: Connect) -> None:
    server = serve("--token", "secret")
    for headers in ("Content-Length: 9000000", CHUNKED_HEADER):
        connection = connect(server.port)
        body = b"a=&" * 3_000_000
        framed_body = b"%x\r\n%b" % (len(body), body) if headers == CHUNKED_HEADER else body
        connection.send(head("POST /login", "Content-Type: application/x-www-form-urlencoded", headers) + framed_body)
        assert connection.read_response().status in (401, 413)
        assert connection.is_closed()


def test_connection_without_headers_is_closed_after_ten_seconds(server: Server, connect: Connect) -> None:
    client = connect(server.port)
    client.request("GET /api/health")
    assert client.read_response().status == 200
    start = time.monotonic()
    strangers = [connect(server.port) for _ in range(3)]
    for stranger, first_bytes in zip(strangers, (b"", b"\r\n", b"GET /api/health HTTP/1.1\r\nHost: loc"), strict=True):
        stranger.send(first_bytes)
    for stranger in strangers:
        assert stranger.is_closed()  # waits for the server to close it
        assert time.monotonic() - start > 9
    client.request("GET /api/health")  # idle for as long, between two requests
    assert client.read_response().status == 200
