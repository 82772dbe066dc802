"""The boundary between requests: nothing that a client sends as a body is interpreted as a request."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.servers import PATIENCE_SECONDS, Server, free_port, wait_until
from support.tools import unavailable
from support.wire import Connection, Response, head

Serve = Callable[..., Server]
Connect = Callable[..., Connection]

HIDDEN_REQUEST = head("GET /api/health", "X-Smuggled: yes")
EXPECT = "Expect: 100-continue"
ZIP = "Content-Type: application/zip"
TOKEN, JSON = "Authorization: Bearer secret", "Content-Type: application/json"
KEEP, CHUNKED_HEADER = "Connection: keep-alive", "Transfer-Encoding: chunked"
LENGTH = f"Content-Length: {len(HIDDEN_REQUEST)}"


def to_chunks(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from support.servers import run_server

    folder = tmp_path_factory.mktemp("server")
    with run_server(folder / "store", folder / "scratch", "--token", "secret", "--max-json", "1000") as running_server:
        yield running_server


def count_requests(server: Server) -> int:
    """Return the number of requests in the server's log."""
    return server.log.count(" INFO ")


@pytest.mark.parametrize("after", [b"", b"0" * 300_000 + HIDDEN_REQUEST], ids=["alone", "with more behind"])
@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("POST /api/w/import", (ZIP, EXPECT, LENGTH), 401),
        ("POST /api/w/import", (ZIP, LENGTH), 401),
        ("POST /api/w/runs/r/artifacts?name=a", (EXPECT, "Content-Length: 100000"), 401),
        ("POST /api/w/runs", (TOKEN, JSON, EXPECT, "Content-Length: 2000"), 413),
        ("POST /api/w/runs", (TOKEN, JSON, "Content-Length: 2000"), 413),
        ("POST /login", (EXPECT, "Content-Length: 5000"), 413),
        ("POST /login", ("Content-Length: 5000",), 413),
        ("GET /api/runs", (EXPECT, "Content-Length: 100000"), 401),
        ("POST /nowhere", (EXPECT, "Content-Length: 100000"), 401),
    ],
)
def test_rejected_body_is_never_read_as_a_request(
    server: Server, connect: Connect, line: str, headers: tuple[str, ...], status: int, after: bytes
) -> None:
    before = count_requests(server)
    connection = connect(server.port)
    connection.send(head(line, *headers) + HIDDEN_REQUEST + after)
    answer = connection.read_response()
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert connection.is_closed()
    wait_until(lambda: count_requests(server) == before + 1)
    assert b"X-Smuggled" not in server.log.encode()


@pytest.mark.parametrize(
    "request_bytes",
    [
        head("POST /api/w/runs", TOKEN, LENGTH, "Transfer-Encoding: chunked") + to_chunks(HIDDEN_REQUEST),
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding: chunked", "Content-Length: 0") + to_chunks(HIDDEN_REQUEST),
        head("POST /api/w/runs", TOKEN, "Content-Length: 5", LENGTH) + HIDDEN_REQUEST,
        head("POST /api/w/runs", TOKEN, f"Content-Length: +{len(HIDDEN_REQUEST)}") + HIDDEN_REQUEST,
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding: xchunked") + to_chunks(HIDDEN_REQUEST),
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding: chunked, identity") + to_chunks(HIDDEN_REQUEST),
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding:\r\n chunked") + to_chunks(HIDDEN_REQUEST),
        head("POST /api/w/runs", TOKEN, "X: y\r\n Transfer-Encoding: chunked", LENGTH) + HIDDEN_REQUEST,
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding : chunked") + to_chunks(HIDDEN_REQUEST),
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding: chunked") + b"0x5\r\nhello\r\n0\r\n\r\n" + HIDDEN_REQUEST,
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding: chunked") + b"5\nhello\n0\n\n" + HIDDEN_REQUEST,
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding: chunked") + b"\r\n\r\n" + to_chunks(HIDDEN_REQUEST),
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding: chunked") + b"5\r\nhelloX\r\n0\r\n\r\n" + HIDDEN_REQUEST,
        head("POST /api/w/runs", TOKEN, KEEP, CHUNKED_HEADER).replace(b"1.1", b"1.0", 1) + to_chunks(HIDDEN_REQUEST),
        head("POST /api/w/runs", TOKEN, KEEP, CHUNKED_HEADER).replace(b"1.1", b"1.2", 1) + to_chunks(HIDDEN_REQUEST),
        head("POST /api/w/runs", TOKEN, "Transfer-Encoding: chunked").replace(b"1.1", b"2.0", 1)
        + to_chunks(HIDDEN_REQUEST),
    ],
    ids=lambda content: repr(content[:110])[2:-1],
)
def test_request_with_ambiguous_end_is_400_and_closes_its_connection(
    server: Server, connect: Connect, request_bytes: bytes
) -> None:
    before = server.log
    connection = connect(server.port)
    connection.send(request_bytes + HIDDEN_REQUEST)
    answer = connection.read_response()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert set(answer.json()) == {"error", "detail"}
    assert connection.is_closed()
    requests.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS)
    new_log = server.log[len(before) :]
    assert "Traceback" not in new_log and new_log.count("/api/health") == 1


def test_expect_header_without_a_body_leaves_the_next_request_intact(server: Server, connect: Connect) -> None:
    connection = connect(server.port)
    for headers in (("Content-Length: 0",), ()):
        connection.send(head("GET /api/health", EXPECT, *headers))
        assert connection.read_response().status == 200
        connection.send(head("GET /nowhere", "Authorization: Bearer secret"))
        assert connection.read_response().status == 404


def test_client_still_sending_receives_the_error(server: Server, connect: Connect) -> None:
    """Closing with unread bytes would reset the connection, and the response would be lost."""
    connection = connect(server.port)
    connection.send(head("POST /api/w/import", ZIP, "Content-Length: 20000000"))
    for _ in range(20):
        connection.send(bytes(1_000_000))
    assert connection.read_response().status == 401
    assert connection.is_closed()


# -- behind a proxy that reuses its connections

CONFIG = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    retries 0
frontend everybody
    bind 127.0.0.1:{front}
    default_backend tracker
backend tracker
    server tracker 127.0.0.1:{back} maxconn 4
"""


@pytest.fixture
def proxy(server: Server, tmp_path: Path) -> Iterator[int]:
    """The port of a HAProxy in front of the server."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        unavailable("haproxy is not installed")
    front, config = free_port(), tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.format(front=front, back=server.port))
    with (tmp_path / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", str(config)], stdout=log, stderr=log)
    try:
        wait_until(lambda: accepts_connections(front))
        yield front
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_proxy_client_never_gets_the_response_to_another_request(server: Server, proxy: int, connect: Connect) -> None:
    """300 clients: with a token, without, and attackers whose bodies are requests; each requests another run."""
    lock = threading.Lock()

    def send(number: int) -> tuple[int, Response]:
        request = head(f"GET /api/runs/run-{number}", *(["Authorization: Bearer secret"] if number % 3 == 0 else []))
        if number % 3 == 2:
            hidden_request = head(f"GET /api/runs/hidden-{number}", "Authorization: Bearer secret")
            length = f"Content-Length: {len(hidden_request)}"
            request = head("POST /api/w/import", ZIP, length, *([EXPECT] if number % 2 else [])) + hidden_request
        with lock:
            connection = connect(proxy)
        connection.send(request)
        return number, connection.read_response()

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(send, range(300)))
    for number, answer in results:
        if number % 3 == 0:
            assert answer.status == 404 and f"run-{number}'" in json.loads(answer.body)["detail"], (number, answer)
        else:
            assert answer.status == 401, (number, answer)
    assert "hidden-" not in server.log
