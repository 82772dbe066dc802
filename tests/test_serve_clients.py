"""Clients that are slow, silent, rude or many: the others are served, and nothing of them is left behind."""

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
from support.servers import Running, eventually
from support.wire import Connection, head

Serve = Callable[..., Running]
Connect = Callable[..., Connection]
UPLOAD = "POST /api/w/runs/r/artifacts?name=model"


@pytest.fixture
def started(server: Running) -> Running:
    """A server with the run r."""
    start(server)
    return server


def start(server: Running, run_id: str = "r") -> None:
    assert requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": run_id}).status_code == 200


def incoming(data: Path) -> list[str]:
    return os.listdir(data / "runs/.incoming")


#: Becomes the server that is named behind it, which gives its clients an hour for their headers, not ten seconds.
PATIENT = """
import runpy, sys
from chachaml_lite import waitress_channel
waitress_channel.HEADER_SECONDS = 3600
sys.argv[1:] = sys.argv[4:]
runpy.run_module("chachaml_lite", run_name="__main__", alter_sys=True)
"""


def test_idle_and_trickling_clients_don_t_keep_others_waiting(serve: Serve, connect: Connect) -> None:
    started = serve(wrapper=[sys.executable, "-c", PATIENT])
    start(started)
    idle = [connect(started.port) for _ in range(400)]
    slow = [connect(started.port) for _ in range(100)]
    for number, connection in enumerate(slow):
        if number % 2:
            connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", "Content-Length: 1000000") + b"begun")
        else:
            connection.send(b"GET /api/runs HTTP/1.1\r\nHost: loc")
    for number in range(20):
        start(started, f"run-{number}")
        slow[number].send(b"a")
    assert len(requests.get(f"{started.url}/api/runs").json()) == 21
    for connection in idle:  # and each of them is answered when it asks after all
        connection.request("GET /api/health")
    assert {connection.answer().status for connection in idle} == {200}
    for connection in slow:
        connection.close()


def test_at_the_limit_the_longest_idle_stranger_makes_room_and_a_known_client_stays(
    serve: Serve, tool: Callable[[str], str], connect: Connect
) -> None:
    server = serve(wrapper=[tool("prlimit"), "--nofile=700:700"])
    known = connect(server.port)
    known.request("GET /api/health")
    assert known.answer().status == 200
    many = [connect(server.port) for _ in range(200)]
    assert many[0].at_end()  # the longest idle of those that have asked for nothing
    known.request("POST /api/w/runs", b'{"experiment": "e"}', "Content-Type: application/json")
    assert known.answer().status == 200
    for connection in many:
        connection.close()
    assert requests.get(f"{server.url}/api/runs").status_code == 200
    assert "connection limit" not in server.log
    assert "Too many open files" not in server.log and "Traceback" not in server.log


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_client_that_hangs_up_in_mid_upload_leaves_nothing(
    started: Running, data: Path, how: str, framing: str, connect: Connect
) -> None:
    connection = connect(started.port)
    piece = b"x" * 300_000
    sent = piece if "Length" in framing else b"%x\r\n%s\r\n" % (len(piece), piece)
    connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", framing) + sent)
    eventually(lambda: len(incoming(data)) == 1)
    getattr(connection, how)()
    eventually(lambda: incoming(data) == [])
    assert requests.get(f"{started.url}/api/runs/r/artifacts").json() == []
    assert not (data / "runs/r/blobs").exists()


def test_client_that_hangs_up_in_mid_download_costs_no_descriptor(started: Running, connect: Connect) -> None:
    url = f"{started.url}/api/w/runs/r/artifacts?name=model"
    assert requests.post(url, data=bytes(20_000_000), headers={"Content-Type": OCTETS}).status_code == 200
    files = f"/proc/{started.process.pid}/fd"

    def open_blobs() -> int:
        count = 0
        for name in os.listdir(files):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(f"{files}/{name}").endswith("/model")
        return count

    connections = [connect(started.port, receive_bytes=16_384) for _ in range(10)]
    for connection in connections:
        connection.send(head("GET /api/artifacts/r/model/download"))
    eventually(lambda: open_blobs() == 10)
    assert requests.get(f"{started.url}/api/health").status_code == 200  # no thread is held by them
    for connection in connections:
        connection.reset()
    eventually(lambda: open_blobs() == 0)


def pieces() -> Iterator[bytes]:
    for number in range(50):
        yield b"%d " % number * 10_000


def test_chunked_upload_is_stored_whole(started: Running) -> None:
    url = f"{started.url}/api/w/runs/r/artifacts?name=model"
    answer = requests.post(url, data=pieces(), headers={"Content-Type": OCTETS})
    content = b"".join(pieces())
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()
    assert requests.get(f"{started.url}/api/artifacts/r/model/download").content == content


@pytest.mark.parametrize("chunk", [b"zz\r\nxx\r\n", b"-5\r\nxx\r\n", b"5\r\nxxxxxxxxxxx\r\n0\r\n\r\n"])
def test_broken_chunk_is_400_and_nothing_is_stored(
    started: Running, data: Path, chunk: bytes, connect: Connect
) -> None:
    connection = connect(started.port)
    connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", "Transfer-Encoding: chunked") + chunk)
    assert connection.answer().status == 400
    eventually(lambda: incoming(data) == [])
    assert requests.get(f"{started.url}/api/runs/r/artifacts").json() == []


def test_client_that_waits_for_a_word_before_it_sends_gets_it(started: Running, connect: Connect) -> None:
    connection = connect(started.port)
    connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", "Content-Length: 5", "Expect: 100-continue"))
    assert connection.answer(has_body=False).status == 100
    connection.send(b"bytes")
    assert (connection.answer().status, started.log.count(" 200 ")) == (200, 2)
    assert requests.get(f"{started.url}/api/artifacts/r/model/download").content == b"bytes"


def test_client_that_waits_for_a_word_hears_at_once_that_it_is_too_much(
    serve: Serve, data: Path, connect: Connect
) -> None:
    server = serve("--max-upload", "4")
    start(server)
    connection = connect(server.port)
    connection.send(head(UPLOAD, f"Content-Type: {OCTETS}", "Content-Length: 5", "Expect: 100-continue"))
    answer = connection.answer()
    assert (answer.status, answer.json()["error"]) == (413, "body too large")
    assert incoming(data) == []


def test_requests_in_one_piece_are_answered_in_their_order(started: Running, connect: Connect) -> None:
    connection = connect(started.port)
    metric = b'{"loss": 1}'
    posted = head("POST /api/w/runs/r/metrics", "Content-Type: application/json", f"Content-Length: {len(metric)}")
    connection.send((posted + metric + head("GET /api/runs/r")) * 10)
    for number in range(1, 11):
        assert connection.answer().json()["ok"] is True
        assert connection.answer().json()["metric_summary"]["loss"]["count"] == number


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
def test_nothing_that_a_client_sends_puts_a_control_character_or_a_second_line_into_the_log(
    started: Running, line: bytes, connect: Connect
) -> None:
    before = started.log
    connection = connect(started.port)
    connection.send(line + b"\r\nHost: localhost\r\nUser-Agent: \x1b[2J\r\nConnection: close\r\n\r\n")
    assert 400 <= connection.answer().status < 500
    requests.get(f"{started.url}/api/health")
    eventually(lambda: "/api/health" in started.log[len(before) :])
    added = started.log[len(before) :]
    assert all(character == "\n" or character.isprintable() for character in added), added
    assert added.count("\n") <= 2
