"""Stopping: what is in flight when the signal comes gets its answer whole, and the process ends with 0."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support.calls import OCTETS
from support.servers import PATIENCE_SECONDS, Running, eventually
from support.wire import Connection, head

Serve = Callable[..., Running]
Connect = Callable[..., Connection]
SIGNALS = [signal.SIGTERM, signal.SIGINT]
UNFINISHED = "requests unfinished"


@pytest.fixture
def run(server: Running) -> str:
    """The path under which the run r is written to."""
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"})
    return "/api/w/runs/r"


def ended(server: Running) -> bool:
    """Whether the process ended well, and without giving up on anybody."""
    return server.process.wait(PATIENCE_SECONDS) == 0 and UNFINISHED not in server.log


def refuses(port: int) -> bool:
    """Whether nobody listens there any more."""
    try:
        Connection(port).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


@pytest.mark.parametrize("number", SIGNALS)
def test_upload_that_trickles_in_is_stored_and_answered(
    server: Running, run: str, data: Path, number: signal.Signals, connect: Connect
) -> None:
    content = b"0123456789" * 100_000
    connection = connect(server.port)
    line = f"POST {run}/artifacts?name=model"
    connection.send(head(line, f"Content-Type: {OCTETS}", f"Content-Length: {len(content)}") + content[:300_000])
    eventually(lambda: any((data / "runs/.incoming").iterdir()))
    server.process.send_signal(number)
    eventually(lambda: refuses(server.port))
    for start in range(300_000, len(content), 50_000):
        connection.send(content[start : start + 50_000])
    answer = connection.answer()
    assert (answer.status, answer.json()["size"]) == (200, len(content))
    assert connection.at_end()
    assert ended(server)
    assert (data / "runs/r/blobs/model").read_bytes() == content
    assert list((data / "runs/.incoming").iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_slow_reader_gets_the_whole_of_a_large_download(
    server: Running, run: str, number: signal.Signals, connect: Connect
) -> None:
    content = b"0123456789" * 800_000
    url = f"{server.url}{run}/artifacts?name=model"
    assert requests.post(url, data=content, headers={"Content-Type": OCTETS}).status_code == 200
    connection = connect(server.port, receive_bytes=16_384)
    connection.send(head("GET /api/artifacts/r/model/download"))
    eventually(lambda: "GET /api/artifacts/r/model/download" in server.log)
    server.process.send_signal(number)
    eventually(lambda: refuses(server.port))
    answer = connection.answer()
    assert (answer.status, answer.body == content) == (200, True)
    assert ended(server)


@pytest.mark.parametrize("number", SIGNALS)
def test_requests_that_wait_in_the_queue_are_all_answered(
    serve: Serve, data: Path, number: signal.Signals, connect: Connect
) -> None:
    server = serve("--threads", "1")
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"})
    body = b"[" + b",".join(b'{"loss":%d,"step":%d}' % (step, step) for step in range(3_000)) + b"]"
    connections = [connect(server.port) for _ in range(12)]
    for connection in connections:  # each is known to the server before the signal
        connection.request("GET /api/health")
        assert connection.answer().status == 200
    for connection in connections:
        connection.request("POST /api/w/runs/r/metrics", body, "Content-Type: application/json")
        connection.request("GET /api/health")  # and a second one right behind it
    server.process.send_signal(number)
    for connection in connections:
        answer = connection.answer()
        assert (answer.status, answer.json()["logged"]) == (200, 3_000)
        assert connection.answer().status == 200
        assert connection.at_end()
    assert ended(server)
    assert (data / "runs/r/metrics.jsonl").read_bytes().count(b"\n") == 12 * 3_000


def test_idle_connections_and_half_sent_heads_don_t_hold_up_the_end(server: Running, connect: Connect) -> None:
    idle = [connect(server.port) for _ in range(20)]
    kept = [connect(server.port) for _ in range(20)]
    half = [connect(server.port) for _ in range(20)]
    for connection in kept:
        connection.request("GET /api/health")
        assert connection.answer().status == 200
    for connection in half:
        connection.send(b"GET /api/health HTT")
    server.process.send_signal(signal.SIGTERM)
    assert all(connection.at_end() for connection in [*idle, *kept])
    for connection in half:
        connection.close()
    assert ended(server)


def test_second_signal_cuts_nothing_off(server: Running, run: str, data: Path, connect: Connect) -> None:
    connection = connect(server.port)
    line = f"POST {run}/artifacts?name=model"
    connection.send(head(line, f"Content-Type: {OCTETS}", "Content-Length: 10") + b"01234")
    eventually(lambda: any((data / "runs/.incoming").iterdir()))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        server.process.send_signal(number)
        eventually(lambda: refuses(server.port))
    connection.send(b"56789")
    assert connection.answer().status == 200
    assert ended(server)


def test_signals_that_come_while_everything_is_closed_change_nothing(serve: Serve) -> None:
    for _ in range(3):
        server = serve()
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        assert ended(server)
        assert "Traceback" not in server.log


def test_points_are_synced_and_the_store_given_back_at_the_end(serve: Serve, data: Path) -> None:
    server = serve()
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"})
    requests.post(f"{server.url}/api/w/runs/r/metrics", json={"loss": 1})
    assert server.stop() == 0
    assert (data / ".lock").read_bytes() == b""
