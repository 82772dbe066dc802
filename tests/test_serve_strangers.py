"""What somebody who may not write sends is not kept for a moment: an upload's headers are judged before its body."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.servers import Running, eventually
from support.wire import Connection

Serve = Callable[..., Running]
Connect = Callable[..., Connection]

TOKEN = "Authorization: Bearer secret\r\n"


@pytest.mark.parametrize(
    ("headers", "status", "is_kept"),
    [
        (f"Host: localhost\r\n{TOKEN}", 404, True),
        ("Host: localhost\r\n", 401, False),
        ("Host: localhost\r\nAuthorization: Bearer wrong\r\n", 401, False),
        (f"Host: evil.example\r\n{TOKEN}", 403, False),
        (f"Host: localhost\r\n{TOKEN}Origin: http://evil.example\r\n", 403, False),
        (f"Host: localhost\r\n{TOKEN}Sec-Fetch-Site: cross-site\r\n", 403, False),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_is_kept_while_it_comes_in_only_if_its_sender_may_write(
    serve: Callable[..., Running],
    connect: Callable[..., Connection],
    headers: str,
    status: int,
    is_kept: bool,
    chunked: bool,
) -> None:
    server = serve("--token", "secret")
    half = b"x" * 100_000
    framed = b"%x\r\n%b\r\n" % (len(half), half) if chunked else half
    length = "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {2 * len(half)}\r\n"
    target = "/api/w/runs/none/artifacts?name=a"
    head = f"POST {target} HTTP/1.1\r\n{headers}Content-Type: application/octet-stream\r\n{length}\r\n"
    stranger, other = connect(server.port), connect(server.port)
    stranger.send(head.encode() + framed)

    def received() -> int:
        return sum(path.stat().st_size for path in (server.data / "runs/.incoming").iterdir())

    if is_kept:
        eventually(lambda: received() == len(half))
    # What was sent before somebody else asks is read before that is answered.
    other.send(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert other.answer().status == 200
    assert (received() > 0) == is_kept
    stranger.send(framed + (b"0\r\n\r\n" if chunked else b""))
    assert stranger.answer().status == status
    eventually(lambda: received() == 0)
