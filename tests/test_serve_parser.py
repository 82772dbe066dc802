"""The request parser on malformed input: a response or a clean close, and no traceback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.servers import PATIENCE_SECONDS, Server, run_server
from support.wire import Connection, head


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with run_server(folder / "store", folder / "scratch") as running_server:
        yield running_server


def exchange(server: Server, content: bytes) -> bytes:
    """Send these bytes and the end of the stream; return the response. Raises AssertionError for a bad response."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        response = b""
        try:
            while piece := connection.recv(65536):
                response += piece
        except ConnectionResetError:
            pass
    assert not response or response.startswith(b"HTTP/1."), response
    assert b" 500 " not in response.partition(b"\r\n")[0]
    return response


@pytest.mark.parametrize(
    "content",
    [
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://a]b/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nHost: [\r\n\r\n",
        b"POST /api/w/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /api/w/runs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 900 + b"\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\xff: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS to a port that speaks HTTP
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /\r\n\r\n",
    ],
    ids=lambda content: repr(content[:60]),
)
def test_malformed_request_is_4xx_without_a_traceback(server: Server, content: bytes) -> None:
    status = int(exchange(server, content).split()[1])
    assert 400 <= status < 500 or content.startswith((b"GET /\r\n", b"GET / HTTP/9.9"))
    assert "Traceback" not in server.log


TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=30).map(lambda text: text.encode("latin-1"))
METHODS = st.one_of(st.sampled_from([b"GET", b"POST", b"HEAD", b"get", b""]), TEXT)
TARGETS = st.one_of(st.sampled_from([b"/api/w/runs", b"/api/w/runs/r/artifacts?name=a", b"*", b"http://[::1]/"]), TEXT)
VERSIONS = st.one_of(st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2"]), TEXT)
NAMES = st.one_of(
    st.sampled_from([b"Host", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Connection", b"Content-Type"]), TEXT
)
VALUES = st.one_of(st.sampled_from([b"localhost", b"3", b"chunked", b"100-continue", b"keep-alive"]), TEXT)
BODIES = st.one_of(
    TEXT,
    st.lists(st.tuples(st.sampled_from([b"0", b"1", b"5", b"A", b"-1", b""]), TEXT), max_size=4).map(
        lambda chunks: b"".join(size + b"\r\n" + text + b"\r\n" for size, text in chunks)
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=METHODS,
    target=TARGETS,
    version=VERSIONS,
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=5),
    body=BODIES,
)
def test_any_bytes_get_a_response_or_a_close_and_the_next_connection_is_served(
    server: Server,
    method: bytes,
    target: bytes,
    version: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    lines = [method + b" " + target + b" " + version, *(name + b": " + value for name, value in headers)]
    exchange(server, b"\r\n".join([*lines, b"", b""]) + body)
    log = server.log
    assert "Traceback" not in log, log[-3000:]
    assert all(character == "\n" or character.isprintable() for character in log)
    next_client = Connection(server.port)
    next_client.send(head("GET /api/health"))
    assert next_client.read_response().status == 200
    next_client.close()


def test_path_of_a_reset_request_is_escaped_in_the_log(server: Server, connect: Callable[..., Connection]) -> None:
    """Waitress itself logs it, decoded, as "Client disconnected while serving"."""
    before = len(server.log)
    for _ in range(20):
        connection = connect(server.port)
        connection.send(head("GET /api/runs/x%0a2026-01-01%20forged%1b%5b2J") * 50)
        connection.reset()
    other_client = connect(server.port)
    other_client.request("GET /api/health")
    assert other_client.read_response().status == 200
    new_log = server.log[before:]
    assert "\x1b" not in new_log
    assert not [line for line in new_log.splitlines() if line.startswith("2026-01-01 forged")]
