"""Clients that are slow, idle, many, or disconnect: the others are served, and nothing of theirs is left behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from support.calls import OCTETS
from support.servers import Server, wait_until
from support.wire import Connection, head

Serve = Callable[..., Server]
Connect = Callable[..., Connection]
UPLOAD = "POST /api/w/runs/r/artifacts?name=model"


@pytest.fixture
def server_with_run(server: Server) -> Server:
    """A server with the run r."""
    create_run(server)
    return server


def create_run(server: Server, run_id: str = "r") -> None:
    assert requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": run_id}).status_code == 200


def list_incoming(data: Path) -> list[str]:
    return os.listdir(data / "runs/.incoming")


#: A wrapper of the server's command that gives clients an hour for their headers instead of ten seconds.
PATIENT = """
import runpy, sys
from chachaml_lite import waitress_channel
waitress_channel.HEADER_SECONDS = 3600
sys.argv[1:] = sys.argv[4:]
runpy.run_module("chachaml_lite", run_name="__main__", alter_sys=True)
"""


def test_idle_and_slow_clients_do_not_block_others(serve: Serve, connect: Connect) -> None:
    server = serve(wrapper=[sys.executable, "-c", PATIENT])
    create_run(server)
    idle = [connect(server.port) for _ in range(400)]
    slow = [connect(server.port) for _ in range(100)]
    for number, connection in enumerate(slow):
        if number % 2:
            connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", "Content-Length: 1000000") + b"begun")
        else:
            connection.send(b"GET /api/runs HTTP/1.1\r\nHost: loc")
    for number in range(20):
        create_run(server, f"run-{number}")
        slow[number].send(b"a")
    assert len(requests.get(f"{server.url}/api/runs").json()) == 21
    for connection in idle:  # and each of them gets a response once it sends a request
        connection.request("GET /api/health")
    assert {connection.read_response().status for connection in idle} == {200}
    for connection in slow:
        connection.close()


def test_connection_limit_closes_the_longest_idle_stranger_and_keeps_a_client_with_requests(
    serve: Serve, tool: Callable[[str], str], connect: Connect
) -> None:
    server = serve(wrapper=[tool("prlimit"), "--nofile=700:700"])
    client = connect(server.port)
    client.request("GET /api/health")
    assert client.read_response().status == 200
    strangers = [connect(server.port) for _ in range(200)]
    assert strangers[0].is_closed()  # the longest idle of those that have sent no request
    client.request("POST /api/w/runs", b'{"experiment": "e"}', "Content-Type: application/json")
    assert client.read_response().status == 200
    for connection in strangers:
        connection.close()
    assert requests.get(f"{server.url}/api/runs").status_code == 200
    assert "connection limit" not in server.log
    assert "Too many open files" not in server.log and "Traceback" not in server.log


@pytest.mark.parametrize("disconnect", ["close", "reset"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_client_disconnecting_during_an_upload_leaves_nothing(
    server_with_run: Server, data: Path, disconnect: str, framing: str, connect: Connect
) -> None:
    connection = connect(server_with_run.port)
    piece = b"x" * 300_000
    body = piece if "Length" in framing else b"%x\r\n%s\r\n" % (len(piece), piece)
    connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", framing) + body)
    wait_until(lambda: len(list_incoming(data)) == 1)
    getattr(connection, disconnect)()
    wait_until(lambda: list_incoming(data) == [])
    assert requests.get(f"{server_with_run.url}/api/runs/r/artifacts").json() == []
    assert not (data / "runs/r/blobs").exists()


def test_client_disconnecting_during_a_download_leaks_no_descriptor(server_with_run: Server, connect: Connect) -> None:
    url = f"{server_with_run.url}/api/w/runs/r/artifacts?name=model"
    assert requests.post(url, data=bytes(20_000_000), headers={"Content-Type": OCTETS}).status_code == 200
    files = f"/proc/{server_with_run.process.pid}/fd"

    def count_open_blobs() -> int:
        count = 0
        for name in os.listdir(files):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(f"{files}/{name}").endswith("/model")
        return count

    connections = [connect(server_with_run.port, receive_bytes=16_384) for _ in range(10)]
    for connection in connections:
        connection.send(head("GET /api/artifacts/r/model/download"))
    wait_until(lambda: count_open_blobs() == 10)
    assert requests.get(f"{server_with_run.url}/api/health").status_code == 200  # they block no thread
    for connection in connections:
        connection.reset()
    wait_until(lambda: count_open_blobs() == 0)


def generate_pieces() -> Iterator[bytes]:
    for number in range(50):
        yield b"%d " % number * 10_000


def test_chunked_upload_is_stored_completely(server_with_run: Server) -> None:
    url = f"{server_with_run.url}/api/w/runs/r/artifacts?name=model"
    answer = requests.post(url, data=generate_pieces(), headers={"Content-Type": OCTETS})
    content = b"".join(generate_pieces())
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()
    assert requests.get(f"{server_with_run.url}/api/artifacts/r/model/download").content == content


@pytest.mark.parametrize("chunk", [b"zz\r\nxx\r\n", b"-5\r\nxx\r\n", b"5\r\nxxxxxxxxxxx\r\n0\r\n\r\n"])
def test_broken_chunk_is_400_and_nothing_is_stored(
    server_with_run: Server, data: Path, chunk: bytes, connect: Connect
) -> None:
    connection = connect(server_with_run.port)
    connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", "Transfer-Encoding: chunked") + chunk)
    assert connection.read_response().status == 400
    wait_until(lambda: list_incoming(data) == [])
    assert requests.get(f"{server_with_run.url}/api/runs/r/artifacts").json() == []


def test_expect_100_continue_gets_100_before_the_body(server_with_run: Server, connect: Connect) -> None:
    connection = connect(server_with_run.port)
    connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", "Content-Length: 5", "Expect: 100-continue"))
    assert connection.read_response(has_body=False).status == 100
    connection.send(b"bytes")
    assert (connection.read_response().status, server_with_run.log.count(" 200 ")) == (200, 2)
    assert requests.get(f"{server_with_run.url}/api/artifacts/r/model/download").content == b"bytes"


def test_expect_100_continue_over_the_limit_is_413_at_once(serve: Serve, data: Path, connect: Connect) -> None:
    server = serve("--max-upload", "4")
    create_run(server)
    connection = connect(server.port)
    connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", "Content-Length: 5", "Expect: 100-continue"))
    answer = connection.read_response()
    assert (answer.status, answer.json()["error"]) == (413, "body too large")
    assert list_incoming(data) == []


def test_pipelined_requests_are_answered_in_order(server_with_run: Server, connect: Connect) -> None:
    connection = connect(server_with_run.port)
    metric = b'{"loss": 1}'
    post_head = head("POST /api/w/runs/r/metrics", "Content-Type: application/json", f"Content-Length: {len(metric)}")
    connection.send((post_head + metric + head("GET /api/runs/r")) * 10)
    for number in range(1, 11):
        assert connection.read_response().json()["ok"] is True
        assert connection.read_response().json()["metric_summary"]["loss"]["count"] == number


@pytest.mark.parametrize(
    "line",
    [
        b"GET /api/runs/%0d%0aforged%1b%5b2J HTTP/1.1",
        b"GET /api/runs/\x1b[2J\x9b31m HTTP/1.1",
        b"GET /api/runs/\xe2\x80\xae HTTP/1.1",
        b"GET /api/runs/a\rb HTTP/1.1",
        b"\x1b[31mGET /api/runs HTTP/1.1",
        b"GET /api/runs?\x07=\x08 HTTP/1.1",
        b"GET /api/models/%E2%80%A8/%C2%85 HTTP/1.1",
    ],
)
def test_request_never_puts_a_control_character_or_a_second_line_into_the_log(
    server_with_run: Server, line: bytes, connect: Connect
) -> None:
    log_before = server_with_run.log
    connection = connect(server_with_run.port)
    connection.send(line + b"\r\nHost: localhost\r\nUser-Agent: \x1b[2J\r\nConnection: close\r\n\r\n")
    assert 400 <= connection.read_response().status < 500
    requests.get(f"{server_with_run.url}/api/health")
    wait_until(lambda: "/api/health" in server_with_run.log[len(log_before) :])
    new_log = server_with_run.log[len(log_before) :]
    assert all(character == "\n" or character.isprintable() for character in new_log), new_log
    assert new_log.count("\n") <= 2
