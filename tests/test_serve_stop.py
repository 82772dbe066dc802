"""Stopping: requests in flight when the signal arrives get their complete responses, and the process exits with 0."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support.calls import OCTETS
from support.servers import PATIENCE_SECONDS, Server, wait_until
from support.wire import Connection, head

Serve = Callable[..., Server]
Connect = Callable[..., Connection]
SIGNALS = [signal.SIGTERM, signal.SIGINT]
UNFINISHED_MESSAGE = "requests unfinished"


@pytest.fixture
def run_path(server: Server) -> str:
    """The path for writes to the run r."""
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"})
    return "/api/w/runs/r"


def ends_cleanly(server: Server) -> bool:
    """Whether the process exits with 0 and has finished every request."""
    return server.process.wait(PATIENCE_SECONDS) == 0 and UNFINISHED_MESSAGE not in server.log


def refuses_connections(port: int) -> bool:
    """Whether no process listens on the port any more."""
    try:
        Connection(port).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


@pytest.mark.parametrize("number", SIGNALS)
def test_slow_upload_in_flight_is_stored_and_answered(
    server: Server, run_path: str, data: Path, number: signal.Signals, connect: Connect
) -> None:
    content = b"0123456789" * 100_000
    connection = connect(server.port)
    line = f"POST {run_path}/artifacts?name=model"
    connection.send(head(line, f"Content-Type: {OCTETS}", f"Content-Length: {len(content)}") + content[:300_000])
    wait_until(lambda: any((data / "runs/.incoming").iterdir()))
    server.process.send_signal(number)
    wait_until(lambda: refuses_connections(server.port))
    for start in range(300_000, len(content), 50_000):
        connection.send(content[start : start + 50_000])
    answer = connection.read_response()
    assert (answer.status, answer.json()["size"]) == (200, len(content))
    assert connection.is_closed()
    assert ends_cleanly(server)
    assert (data / "runs/r/blobs/model").read_bytes() == content
    assert list((data / "runs/.incoming").iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_slow_reader_gets_a_large_download_completely(
    server: Server, run_path: str, number: signal.Signals, connect: Connect
) -> None:
    content = b"0123456789" * 800_000
    url = f"{server.url}{run_path}/artifacts?name=model"
    assert requests.post(url, data=content, headers={"Content-Type": OCTETS}).status_code == 200
    connection = connect(server.port, receive_bytes=16_384)
    connection.send(head("GET /api/artifacts/r/model/download"))
    wait_until(lambda: "GET /api/artifacts/r/model/download" in server.log)
    server.process.send_signal(number)
    wait_until(lambda: refuses_connections(server.port))
    answer = connection.read_response()
    assert (answer.status, answer.body == content) == (200, True)
    assert ends_cleanly(server)


@pytest.mark.parametrize("number", SIGNALS)
def test_queued_requests_are_all_answered(serve: Serve, data: Path, number: signal.Signals, connect: Connect) -> None:
    server = serve("--threads", "1")
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"})
    body = b"[" + b",".join(b'{"loss":%d,"step":%d}' % (step, step) for step in range(3_000)) + b"]"
    connections = [connect(server.port) for _ in range(12)]
    for connection in connections:  # the server has accepted each before the signal
        connection.request("GET /api/health")
        assert connection.read_response().status == 200
    for connection in connections:
        connection.request("POST /api/w/runs/r/metrics", body, "Content-Type: application/json")
        connection.request("GET /api/health")  # and a second one right behind it
    server.process.send_signal(number)
    for connection in connections:
        answer = connection.read_response()
        assert (answer.status, answer.json()["logged"]) == (200, 3_000)
        assert connection.read_response().status == 200
        assert connection.is_closed()
    assert ends_cleanly(server)
    assert (data / "runs/r/metrics.jsonl").read_bytes().count(b"\n") == 12 * 3_000


def test_idle_connections_and_incomplete_headers_do_not_delay_the_stop(server: Server, connect: Connect) -> None:
    idle = [connect(server.port) for _ in range(20)]
    keep_alive = [connect(server.port) for _ in range(20)]
    half_sent = [connect(server.port) for _ in range(20)]
    for connection in keep_alive:
        connection.request("GET /api/health")
        assert connection.read_response().status == 200
    for connection in half_sent:
        connection.send(b"GET /api/health HTT")
    server.process.send_signal(signal.SIGTERM)
    assert all(connection.is_closed() for connection in [*idle, *keep_alive])
    for connection in half_sent:
        connection.close()
    assert ends_cleanly(server)


def test_second_signal_interrupts_no_request(server: Server, run_path: str, data: Path, connect: Connect) -> None:
    connection = connect(server.port)
    line = f"POST {run_path}/artifacts?name=model"
    connection.send(head(line, f"Content-Type: {OCTETS}", "Content-Length: 10") + b"01234")
    wait_until(lambda: any((data / "runs/.incoming").iterdir()))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        server.process.send_signal(number)
        wait_until(lambda: refuses_connections(server.port))
    connection.send(b"56789")
    assert connection.read_response().status == 200
    assert ends_cleanly(server)


def test_signals_during_the_shutdown_change_nothing(serve: Serve) -> None:
    for _ in range(3):
        server = serve()
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        assert ends_cleanly(server)
        assert "Traceback" not in server.log


def test_clean_stop_unlocks_the_store(serve: Serve, data: Path) -> None:
    server = serve()
    requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"})
    requests.post(f"{server.url}/api/w/runs/r/metrics", json={"loss": 1})
    assert server.stop() == 0
    assert (data / ".lock").read_bytes() == b""
