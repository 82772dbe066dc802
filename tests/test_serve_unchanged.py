"""A 304 response on a real connection leaves it open, so that a client that polls each second connects only once."""

from __future__ import annotations

from http.client import HTTPConnection

import pytest
from support.servers import PATIENCE_SECONDS, Server


@pytest.mark.parametrize(("connection_header", "stays"), [("keep-alive", True), ("", True), ("close", False)])
def test_connection_stays_open_after_a_304_unless_the_client_closes_it(
    server: Server, connection_header: str, stays: bool
) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/api/runs")
    first = connection.getresponse()
    first.read()
    socket_before = connection.sock
    headers = {
        "If-None-Match": first.headers["ETag"],
        **({"Connection": connection_header} if connection_header else {}),
    }
    connection.request("GET", "/api/runs", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (304, b"")
    assert (answer.headers["Connection"] != "close") is stays
    assert (connection.sock is socket_before) is stays
    connection.request("GET", "/api/health")
    assert connection.getresponse().status == 200
    connection.close()


def test_http_1_0_connection_is_closed_after_a_304(server: Server) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/api/runs")
    first = connection.getresponse()
    first.read()
    assert connection.sock is not None
    head = f"GET /api/runs HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\nIf-None-Match: {first.headers['ETag']}\r\n\r\n"
    connection.sock.sendall(head.encode())
    response = b""
    while piece := connection.sock.recv(4096):
        response += piece
    assert response.startswith(b"HTTP/1.0 304 ")
    connection.close()
