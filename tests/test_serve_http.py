"""HTTP at its limits: every method on every route, names in paths, oversized bodies, wrong Content-Length headers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient
from support.calls import OCTETS, LogRun, log_good_and_bad, upload
from support.servers import PATIENCE_SECONDS, Server
from support.snapshots import snapshot
from support.wire import Connection, head
from test_error_shape import build_call, iterate_rules

JSON = "Content-Type: application/json"


# -- methods


@pytest.fixture
def populated_client(client: FlaskClient, log_run: LogRun) -> FlaskClient:
    run_id = log_good_and_bad(client, log_run)
    assert upload(client, run_id, "m", b"bytes") == 200
    assert upload(client, run_id, "m.gif", b"GIF89a") == 200
    return client


def list_urls(client: FlaskClient) -> list[tuple[str, set[str]]]:
    """Return a valid URL for each rule, and the methods that it allows."""
    by_path: dict[str, tuple[str, set[str]]] = {}
    for method, rule, _ in iterate_rules(client):
        if rule not in ("/login", "/logout", "/docs/<name>"):
            url = build_call(method, rule).url(run_id="bad").replace("open,ended", "good,bad")
            url = url.replace("runs/open", "runs/bad")
            earlier_url, methods = by_path.get(url.partition("?")[0], (url, set()))
            by_path[url.partition("?")[0]] = (url if method == "GET" else earlier_url, methods | {method})
    return list(by_path.values())


def test_head_response_equals_get_without_the_body(populated_client: FlaskClient) -> None:
    for url, methods in list_urls(populated_client):
        head_answer = populated_client.head(url)
        assert head_answer.get_data() == b""
        if "GET" in methods:
            answer = populated_client.get(url)
            assert (url, head_answer.status_code) == (url, answer.status_code)
            assert answer.status_code in (200, 302, 303), url
            names = {"Content-Type", "Content-Length", "ETag", "Content-Disposition", "Content-Security-Policy"}
            if not url.endswith(("/api/health", "/runs/bad/download")):  # generated for each request
                assert {n: head_answer.headers.get(n) for n in names} == {n: answer.headers.get(n) for n in names}, url
        else:
            assert head_answer.status_code == 405


def test_options_lists_the_methods_and_changes_nothing(populated_client: FlaskClient, data: Path) -> None:
    before = snapshot(data)
    for url, methods in list_urls(populated_client):
        answer = populated_client.options(url)
        assert answer.status_code == 200, url
        allowed_methods = set(answer.headers["Allow"].replace(" ", "").split(","))
        forms = set() if url.startswith("/api/") else {"POST"}  # the pages' forms, which are not in this table
        assert allowed_methods - forms == methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()), url
    assert snapshot(data) == before


def test_response_never_allows_another_site_to_read_it(populated_client: FlaskClient) -> None:
    """Not even in response to a preflight request."""
    preflight_headers = {
        "Origin": "https://attacker.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    for url, _ in [*list_urls(populated_client), ("/api/none", set()), ("/login", set())]:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE"):
            answer = populated_client.open(url, method=method, headers=preflight_headers)
            assert not [name for name in dict(answer.headers) if name.lower().startswith("access-control-")]
            if method in ("POST", "PUT", "DELETE"):
                assert answer.status_code in (403, 405)


# -- names in paths


NAMES = {
    "parent": "..",
    "parent encoded": "%2e%2e",
    "parent encoded twice": "%252e%252e",
    "slash": "..%2f..%2fetc%2fpasswd",
    "slash encoded twice": "..%252f..%252fetc%252fpasswd",
    "backslash": "..%5c..%5cetc",
    "NUL": "bad%00",
    "CR LF": "bad%0d%0aSet-Cookie:%20a=b",
    "absolute": "%2fetc%2fpasswd",
    "device": "NUL",
    "hidden": ".incoming",
    "long": "a" * 1_000_000,
    "right to left": "%e2%80%ae",
    "combining": "bad%cc%81",
    "another case": "BAD",
    "full width": "%ef%bd%82ad",
    "not UTF-8": "%ff%fe",
    "a percent sign": "bad%",
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/{}", "/api/runs/{}/metrics", "/api/runs/{}/download", "/runs/{}", "/api/tags/{}",
        "/api/artifacts/{}/m/download", "/api/artifacts/bad/{}/download", "/api/models/{}", "/api/models/{}/1/download",
        "/api/models/iris/{}/download", "/static/{}",
    ],
)  # fmt: skip
def test_name_in_a_path_never_leads_out_of_the_store(
    populated_client: FlaskClient, data: Path, path: str, kind: str
) -> None:
    (data.parent / "outside").write_text("secret")
    answer = populated_client.get(path.format(NAMES[kind]))
    assert answer.status_code in (400, 404)
    assert "Set-Cookie" not in answer.headers and "root:" not in answer.text and "secret" not in answer.text
    assert str(data) not in answer.text
    if path.startswith("/api/"):
        assert answer.get_json().keys() == {"error", "detail"} and len(answer.data) < 2000


@pytest.mark.parametrize("path", ["/api/w/runs/{}/tags", "/api/w/runs/{}/end", "/api/note/{}"])
@pytest.mark.parametrize("kind", NAMES)
def test_write_to_hostile_name_in_a_path_stores_nothing(
    populated_client: FlaskClient, data: Path, path: str, kind: str
) -> None:
    before = snapshot(data)
    answer = populated_client.post(
        path.format(NAMES[kind]), json={"note": "x"} if "note" in path else {"status": "completed"}
    )
    assert answer.status_code in (400, 404)
    assert snapshot(data) == before


def test_artifact_name_is_percent_decoded_exactly_once(populated_client: FlaskClient) -> None:
    assert (
        populated_client.post("/api/w/runs/bad/artifacts?name=100%2525", data=b"1", content_type=OCTETS).status_code
        == 200
    )
    assert [each["name"] for each in populated_client.get("/api/runs/bad/artifacts").get_json()] == [
        "100%25",
        "a",
        "m",
        "m.gif",
    ]
    assert populated_client.get("/api/artifacts/bad/100%2525/download").get_data() == b"1"
    assert populated_client.get("/api/artifacts/bad/100%25/download").status_code == 404


@pytest.mark.parametrize("name", ["meta.json", "artifacts.jsonl", "metrics.jsonl", "summary.json", "blobs/meta.json"])
def test_artifact_named_like_a_file_of_the_store_does_not_replace_it(
    populated_client: FlaskClient, data: Path, name: str
) -> None:
    before = snapshot(data)
    assert upload(populated_client, "bad", name, b"mine") == 200
    after = snapshot(data)
    assert after.pop(f"runs/bad/blobs/{name}") == b"mine"
    changed_paths = {path for path in after if path not in before or (after[path] != before[path])}
    assert changed_paths - {"runs/bad/artifacts.jsonl", "runs/bad/blobs/blobs"} == set()
    assert populated_client.get(f"/api/artifacts/bad/{name}/download").get_data() == b"mine"
    assert populated_client.get("/api/runs/bad").get_json()["experiment"] == "iris"


@pytest.mark.parametrize("name", ["../meta.json", "/meta.json", "a/../../meta.json", "..\\meta.json", "./meta.json"])
def test_artifact_name_never_leads_out_of_the_store(populated_client: FlaskClient, data: Path, name: str) -> None:
    before = snapshot(data)
    assert upload(populated_client, "bad", name, b"mine") == 400
    assert snapshot(data) == before


# -- bodies


@pytest.fixture
def server_with_run(server: Server) -> Server:
    response = requests.post(f"{server.url}/api/w/runs", json={"experiment": "e", "id": "r"}, timeout=PATIENCE_SECONDS)
    assert response.status_code == 200
    return server


def test_200_000_params_are_stored_and_returned(server_with_run: Server) -> None:
    params = {f"p{number}": number for number in range(200_000)}
    url = f"{server_with_run.url}/api/w/runs/r/params"
    assert requests.post(url, json=params, timeout=PATIENCE_SECONDS).status_code == 200
    assert requests.get(f"{server_with_run.url}/api/runs/r", timeout=PATIENCE_SECONDS).json()["params"] == params


def test_params_of_30_mb_are_413_naming_the_option(server_with_run: Server, connect: Callable[..., Connection]) -> None:
    connection = connect(server_with_run.port)
    connection.request("POST /api/w/runs/r/params", b'{"a":"' + b"x" * 30_000_000 + b'"}', JSON)
    answer = connection.read_response()
    assert (answer.status, answer.headers["content-type"]) == (413, "application/json")
    assert answer.json()["error"] == "body too large" and "--max-json" in answer.json()["detail"]
    assert requests.get(f"{server_with_run.url}/api/runs/r", timeout=PATIENCE_SECONDS).json()["params"] == {}


@pytest.mark.parametrize("path", ["params", "metrics", "tags", "datasets", "end"])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_of_100_000_levels_is_400_and_the_server_survives(
    server_with_run: Server, path: str, opening: bytes
) -> None:
    for body in (opening * 100_000, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"):
        url = f"{server_with_run.url}/api/w/runs/r/{path}"
        answer = requests.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=PATIENCE_SECONDS)
        assert (answer.status_code, answer.json()["error"]) == (400, "bad request")
    assert requests.get(f"{server_with_run.url}/api/health", timeout=PATIENCE_SECONDS).json()["damaged"] == 0


# -- wrong Content-Length headers, and slow readers


def test_too_small_content_length_makes_the_rest_a_bad_request(
    server_with_run: Server, connect: Callable[..., Connection], data: Path
) -> None:
    connection = connect(server_with_run.port)
    body = b'{"loss": 1}' + b'{"loss": 2}'
    connection.send(head("POST /api/w/runs/r/metrics", JSON, "Content-Length: 11") + body + b"\r\n\r\n")
    assert connection.read_response().status == 200
    assert connection.read_response().status == 400  # {"loss": 2} is not a request
    assert connection.is_closed()
    assert len((data / "runs/r/metrics.jsonl").read_text().splitlines()) == 1


def test_too_large_content_length_stores_nothing(
    server_with_run: Server, connect: Callable[..., Connection], data: Path
) -> None:
    before = snapshot(data)
    connection = connect(server_with_run.port)
    connection.send(head("POST /api/w/runs/r/metrics", JSON, "Content-Length: 1000") + b'{"loss": 1}')
    connection.reset()
    assert requests.get(f"{server_with_run.url}/api/runs/r", timeout=PATIENCE_SECONDS).json()["metrics"] == {}
    assert snapshot(data) == before


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "11, 12", "٣", "", "99999999999999999999999"])
def test_invalid_content_length_is_4xx(
    server_with_run: Server, connect: Callable[..., Connection], data: Path, length: str
) -> None:
    before = snapshot(data)
    connection = connect(server_with_run.port)
    connection.send(head("POST /api/w/runs/r/metrics", JSON, f"Content-Length: {length}") + b'{"loss": 1}\r\n\r\n')
    connection.send(head("GET /api/health"))
    if length != "99999999999999999999999":  # the server waits for the rest of the body
        assert 400 <= connection.read_response().status < 500
    assert requests.get(f"{server_with_run.url}/api/runs/r", timeout=PATIENCE_SECONDS).json()["metrics"] == {}
    assert snapshot(data) == before


def test_two_content_lengths_smuggle_no_request(
    server_with_run: Server, connect: Callable[..., Connection], data: Path
) -> None:
    before = snapshot(data)
    hidden_request = head("POST /api/w/runs/r/metrics", JSON, "Content-Length: 11") + b'{"loss": 2}'
    for headers in (
        ("Content-Length: 4", f"Content-Length: {len(hidden_request)}"),
        (f"Content-Length: {len(hidden_request)}", "Content-Length: 4"),
    ):
        connection = connect(server_with_run.port)
        connection.send(head("GET /api/health", *headers) + hidden_request)
        assert connection.read_response().status in (200, 400)
    assert snapshot(data) == before


def test_20_slow_readers_of_a_large_download_do_not_block_others(
    server_with_run: Server, connect: Callable[..., Connection]
) -> None:
    response = requests.post(
        f"{server_with_run.url}/api/w/runs/r/artifacts?name=model",
        data=bytes(30_000_000),
        headers={"Content-Type": OCTETS},
        timeout=PATIENCE_SECONDS,
    )
    assert response.status_code == 200
    readers = [connect(server_with_run.port, receive_bytes=4096) for _ in range(20)]
    for number, reader in enumerate(readers):
        reader.request(f"GET /api/{'runs/r' if number % 2 else 'artifacts/r/model'}/download")
    for number in range(20):
        answer = requests.post(
            f"{server_with_run.url}/api/w/runs/r/metrics",
            json={"loss": number, "step": number},
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code == 200
    run = requests.get(f"{server_with_run.url}/api/runs/r", timeout=PATIENCE_SECONDS).json()
    assert run["metric_summary"]["loss"]["count"] == 20
