"""The client of the commands: the same API over HTTP and on a folder."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from support.servers import PATIENCE_SECONDS, Server, free_port
from support.snapshots import snapshot

from chachaml_lite.client.base import OCTETS, ApiError, Client, NoServer, Unreachable, build_path
from chachaml_lite.client.folder import FolderClient
from chachaml_lite.client.http import BadTarget, HttpClient

TOKEN = "schöner token"


@pytest.fixture(params=["http", "folder"])
def client(request: pytest.FixtureRequest, serve: Callable[..., Server], data: Path) -> Iterator[Client]:
    """A client of this test's store, over HTTP or on the folder."""
    if request.param == "http":
        client: Client = HttpClient(serve("--token", TOKEN).url, TOKEN)
    else:
        client = FolderClient(data, writes=True)
    with client:
        yield client


def test_run_is_read_back_and_a_long_body_is_streamed_both_ways(client: Client, tmp_path: Path) -> None:
    run_id = client.post("/api/w/runs", {"experiment": "größe & +", "tags": {"a/b": "x"}})["id"]
    under = ("api", "w", "runs", run_id)
    assert client.post(build_path(*under, "params"), {"lr": 0.1}) == {"ok": True}
    content = bytes(range(256)) * 20_000
    (tmp_path / "model").write_bytes(b"not this" + content)
    with (tmp_path / "model").open("rb") as file:
        file.seek(8)
        query = [("name", "a b/ö?.bin")]
        path = build_path(*under, "artifacts")
        artifact = client.ask("POST", path, query, body=file, length=len(content), content_type=OCTETS).json()
    assert artifact["sha256"] == hashlib.sha256(content).hexdigest()
    (run,) = client.get("/api/runs", [("experiment", "größe & +"), ("tag.a/b", "x")])
    assert (run["id"], run["params"]) == (run_id, {"lr": 0.1})
    download = build_path("api", "artifacts", run_id, "a b", "ö?.bin", "download")
    pieces = list(client.ask("GET", download).pieces())
    assert b"".join(pieces) == content
    assert len(pieces) > 1
    part = client.ask("GET", download, headers={"Range": "bytes=10-19"})
    assert (part.status, part.content()) == (206, content[10:20])
    assert client.ask("POST", build_path(*under, "end")).json() == {"ok": True}


def test_iterator_is_sent_as_one_body_and_nothing_is_stored_if_it_raises(client: Client) -> None:
    run_id = client.post("/api/w/runs", {"experiment": "iris"})["id"]
    path = build_path("api", "w", "runs", run_id, "artifacts")

    def pieces(fault: Exception | None = None) -> Generator[bytes, None, None]:
        yield from (b"one", b"", b"x" * 700_000, b"end")
        if fault is not None:
            raise fault

    artifact = client.ask("POST", path, [("name", "a")], body=pieces(), content_type=OCTETS).json()
    assert artifact["sha256"] == hashlib.sha256(b"".join(pieces())).hexdigest()
    with pytest.raises(LookupError):
        client.ask("POST", path, [("name", "b")], body=pieces(LookupError()), content_type=OCTETS)
    assert [each["name"] for each in client.get(build_path("api", "runs", run_id, "artifacts"))] == ["a"]


def test_response_dropped_midway_does_not_affect_the_next_request(client: Client) -> None:
    run_id = client.post("/api/w/runs", {"experiment": "iris"})["id"]
    path = build_path("api", "w", "runs", run_id, "artifacts")
    client.ask("POST", path, [("name", "a")], body=bytes(5_000_000), content_type=OCTETS)
    response = client.ask("GET", build_path("api", "artifacts", run_id, "a", "download"))
    assert next(response.pieces())
    assert client.get("/api/health")["ok"]
    with client.ask("GET", build_path("api", "artifacts", run_id, "a", "download")):
        pass
    assert client.get(build_path("api", "runs", run_id))["id"] == run_id


def test_api_error_carries_status_error_and_detail(client: Client) -> None:
    with pytest.raises(ApiError) as none:
        client.get("/api/runs/nosuch")
    assert (none.value.status, none.value.error) == (404, "no such run")
    assert "no run has the id" in none.value.detail
    with pytest.raises(ApiError) as bad:
        client.get("/api/runs", [("limitt", "1")])
    assert bad.value.status == 400
    run_id = client.post("/api/w/runs", {"experiment": "iris"})["id"]
    with pytest.raises(ApiError) as check:
        client.get(build_path("api", "runs", run_id, "check"), [("rule", "loss<=1")])
    assert (check.value.status, check.value.body["rules"][0]["passed"]) == (422, False)


def test_client_reconnects_to_a_restarted_server_and_raises_unreachable_without_one(
    serve: Callable[..., Server], data: Path, tmp_path: Path
) -> None:
    port = str(free_port())
    first = serve("--port", port)
    with HttpClient(first.url) as client:
        run_id = client.post("/api/w/runs", {"experiment": "iris"})["id"]
        first.stop()
        serve("--port", port)
        assert client.get(build_path("api", "runs", run_id))["id"] == run_id
    with HttpClient(f"http://localhost:{free_port()}") as client, pytest.raises(Unreachable, match="refused"):
        client.get("/api/health")


def test_missing_or_wrong_token_is_refused(serve: Callable[..., Server]) -> None:
    server = serve("--token", TOKEN)
    for token in (None, "x"):
        with HttpClient(server.url, token) as client, pytest.raises(ApiError) as fault:
            client.get("/api/runs")
        assert fault.value.status == 401


@pytest.mark.parametrize(
    ("response", "kind", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Unreachable, "a chachaml-lite server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{", Unreachable, "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{", Unreachable, "broke off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Unreachable, "not an HTTP server"),
        (b"", Unreachable, "no server responds"),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
            ApiError,
            "HTTP 404: .* a chachaml-lite server",
        ),
        (b'HTTP/1.1 500 X\r\nContent-Length: 11\r\n\r\n{"error":1}', ApiError, "HTTP 500"),
        (b"HTTP/1.1 301 X\r\nLocation: https://x/\r\nContent-Length: 0\r\n\r\n", ApiError, "redirects to https://x/"),
    ],
)
def test_response_of_another_kind_of_server_raises_an_error_that_says_so(
    response: bytes, kind: type[Exception], message: str
) -> None:
    with stranger(response) as port, HttpClient(f"127.0.0.1:{port}/") as client, pytest.raises(kind, match=message):
        client.get("/api/runs")


def test_url_prefix_and_token_are_sent() -> None:
    requests: list[bytes] = []
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    with stranger(response, requests) as port, HttpClient(f"http://127.0.0.1:{port}/team/a%20b/", " tö ") as client:
        assert client.get("/api/runs", [("q", "a b+ö")]) == {}
        assert client.url == f"http://127.0.0.1:{port}/team/a%20b"
    assert requests[0].startswith(b"GET /team/a%20b/api/runs?q=a+b%2B%C3%B6 HTTP/1.1\r\n")
    assert "Authorization: Bearer tö\r\n".encode() in requests[0]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x",
        "http://",
        "http://x:port",
        "http://x:99999",
        "http://u:p@x",
        "http://x/?a=b",
        "http://x/ö",
        "[::1",
    ],
)
def test_invalid_url_raises_bad_target(url: str) -> None:
    with pytest.raises(BadTarget):
        HttpClient(url)


def test_https_requires_a_trusted_certificate(
    tmp_path: Path, tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    files = ["-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
    with (
        stranger(response, context=context) as port,
        HttpClient(f"https://localhost:{port}") as client,
        pytest.raises(NoServer, match="self-signed"),
    ):
        client.get("/api/runs")
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    with stranger(response, context=context) as port, HttpClient(f"https://localhost:{port}") as client:
        assert client.get("/api/runs") == []


@contextmanager
def forwarding_proxy(port: int, refusal: bytes | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that connects one CONNECT to a local port, or refuses it. Yields its port and the received requests."""
    requests: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve_one() -> None:
            client, _ = listener.accept()
            with client:
                requests.append(client.recv(65536))
                if refusal is not None:
                    client.sendall(refusal)
                    return
                with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as server:
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    back = threading.Thread(target=copy, args=(server, client))
                    back.start()
                    copy(client, server)
                    back.join(PATIENCE_SECONDS)

        def copy(one: socket.socket, other: socket.socket) -> None:
            with suppress(OSError):
                while piece := one.recv(65536):
                    other.sendall(piece)
                other.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve_one)
        thread.start()
        yield int(listener.getsockname()[1]), requests
        thread.join(PATIENCE_SECONDS)


def test_https_uses_the_proxy_of_the_environment(
    tmp_path: Path, tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    names = ["-subj", "/CN=tracker.test", "-addext", "subjectAltName=DNS:tracker.test"]
    command = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    monkeypatch.setenv("no_proxy", "localhost,other.test")
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
    with stranger(response, context=context) as port, forwarding_proxy(port) as (proxy, requests):
        monkeypatch.setenv("https_proxy", f"http://user:p%40ss@127.0.0.1:{proxy}")
        with HttpClient("https://tracker.test") as client:  # a name that only the proxy knows
            assert client.get("/api/runs") == []
    assert requests[0].startswith(b"CONNECT tracker.test:443 HTTP/1.")
    assert b"Proxy-Authorization: Basic " + b64encode(b"user:p@ss") + b"\r\n" in requests[0]
    with forwarding_proxy(0, b"HTTP/1.1 403 Forbidden\r\n\r\n") as (proxy, _):
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy}")
        with HttpClient("https://tracker.test") as client, pytest.raises(NoServer, match="proxy.*403 Forbidden"):
            client.get("/api/runs")
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1")
    with pytest.raises(BadTarget, match="https_proxy"):
        HttpClient("https://tracker.test")
    monkeypatch.setenv("no_proxy", "tracker.test")
    HttpClient("https://tracker.test").close()


def test_http_uses_no_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with HttpClient(server.url) as client:
        assert client.get("/api/runs") == []


def test_token_that_is_not_a_header_value_raises_bad_target() -> None:
    with pytest.raises(BadTarget, match="token"):
        HttpClient("http://localhost", "a\r\nb")


def test_folder_owned_by_a_server_can_be_read_and_is_not_changed(server: Server, data: Path) -> None:
    with HttpClient(server.url) as client:
        client.post("/api/w/runs", {"experiment": "iris", "id": "one"})
        before = snapshot(data)
        with FolderClient(data) as reader:
            assert reader.get("/api/runs/one")["status"] == "running"
            with pytest.raises(ApiError) as fault:
                reader.post("/api/w/runs/one/params", {"a": 1})
            assert fault.value.status == 403
            client.post("/api/w/runs/one/params", {"a": 1})
            assert reader.get("/api/runs/one")["params"] == {"a": 1}
        with pytest.raises(Unreachable, match="another server owns this store"):
            FolderClient(data, writes=True)
        assert snapshot(data).keys() >= before.keys()


def test_folder_without_a_store_is_created_for_writing_only(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no store"):
        FolderClient(tmp_path)
    with FolderClient(tmp_path / "new", writes=True) as client:
        assert client.get("/api/runs") == []


def is_complete(request: bytes) -> bool:
    """Whether a request has been received completely."""
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if b"chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


@contextmanager
def stranger(
    response: bytes, requests: list[bytes] | None = None, context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A server that answers one request with fixed bytes. Yields its port; the request is appended to `requests`."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve_one() -> None:
            connection, _ = listener.accept()
            with suppress(OSError), connection:  # a client that doesn't trust the certificate closes the connection
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                with connection:
                    request = b""
                    # Read it completely: closing with unread data resets the connection, and the response may be lost.
                    while not is_complete(request) and (piece := connection.recv(65536)):
                        request += piece
                    if requests is not None:
                        requests.append(request)
                    connection.sendall(response)

        thread = threading.Thread(target=serve_one)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            thread.join(PATIENCE_SECONDS)
