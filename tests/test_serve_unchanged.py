"""A 304 on a real connection: the connection goes on, so that who asks each second pays for one, once."""

from __future__ import annotations

from http.client import HTTPConnection

import pytest
from support.servers import PATIENCE_SECONDS, Running


@pytest.mark.parametrize(("sent", "stays"), [("keep-alive", True), ("", True), ("close", False)])
def test_connection_goes_on_behind_a_304_unless_the_client_ends_it(server: Running, sent: str, stays: bool) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/api/runs")
    first = connection.getresponse()
    first.read()
    opened = connection.sock
    headers = {"If-None-Match": first.headers["ETag"], **({"Connection": sent} if sent else {})}
    connection.request("GET", "/api/runs", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (304, b"")
    assert (answer.headers["Connection"] != "close") is stays
    assert (connection.sock is opened) is stays
    connection.request("GET", "/api/health")
    assert connection.getresponse().status == 200
    connection.close()


def test_http_1_0_client_is_left_behind_a_304(server: Running) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/api/runs")
    first = connection.getresponse()
    first.read()
    assert connection.sock is not None
    head = f"GET /api/runs HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\nIf-None-Match: {first.headers['ETag']}\r\n\r\n"
    connection.sock.sendall(head.encode())
    received = b""
    while piece := connection.sock.recv(4096):
        received += piece
    assert received.startswith(b"HTTP/1.0 304 ")
    connection.close()
