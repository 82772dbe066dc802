"""Every error of every route: its status, its shape, nothing revealed of the machine, nothing stored."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import open_app
from flask import Flask
from flask.testing import FlaskClient
from support.routes import native_rules
from support.snapshots import snapshot
from support.zips import build_zip, run_files
from werkzeug.test import TestResponse

SOURCE = Path(__file__).resolve().parents[1]
JSON, NDJSON, OCTETS = "application/json", "application/x-ndjson", "application/octet-stream"
ZIP = "application/zip"
TOKEN = "s3cret"
#: The stable values of the field `error`, by status (the contract, section 1).
ERRORS = {
    400: {"bad request"},
    401: {"unauthorized"},
    403: {"forbidden"},
    404: {"no such run", "no such model", "no such artifact", "no such experiment", "no such file", "not found"},
    405: {"method not allowed"},
    409: {"conflict"},
    413: {"body too large"},
    422: {"check failed"},
}
OTHER_HOST = {"Host": "evil.example"}


class Call(NamedTuple):
    """A valid request, answered with 200."""

    path: str
    query: str = ""
    body: Any = None
    content_type: str | None = None

    def url(self, **values: str) -> str:
        parts = {"run_id": "open", "name": "iris", "version": "1", **values}
        return self.path.format(**parts) + (f"?{self.query}" if self.query else "")

    def request_body(self) -> dict[str, Any]:
        if self.body is None:
            return {}
        data = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return {"data": data, "content_type": self.content_type or JSON}


#: A valid request for each route that writes, by method and rule.
WRITES = {
    "POST /api/w/runs": Call("/api/w/runs", body={"experiment": "new"}),
    "POST /api/w/runs/<run_id>/params": Call("/api/w/runs/{run_id}/params", body={"epochs": 3}),
    "POST /api/w/runs/<run_id>/metrics": Call("/api/w/runs/{run_id}/metrics", body={"loss": 0.1, "step": 2}),
    "POST /api/w/runs/<run_id>/artifacts": Call("/api/w/runs/{run_id}/artifacts", "name=new", b"new", OCTETS),
    "DELETE /api/w/runs/<run_id>/artifacts": Call("/api/w/runs/{run_id}/artifacts", "name=deep/file"),
    "POST /api/w/runs/<run_id>/end": Call("/api/w/runs/{run_id}/end", body={"status": "failed"}),
    "POST /api/w/runs/<run_id>/tags": Call("/api/w/runs/{run_id}/tags", body={"os": "new"}),
    "POST /api/tags/<run_id>": Call("/api/tags/{run_id}", body={"key": "os", "value": "new"}),
    "POST /api/w/runs/<run_id>/note": Call("/api/w/runs/{run_id}/note", body={"note": "new"}),
    "POST /api/note/<run_id>": Call("/api/note/{run_id}", body={"note": "new"}),
    "POST /api/w/runs/<run_id>/datasets": Call("/api/w/runs/{run_id}/datasets", body={"role": "new"}),
    "POST /api/w/import": Call("/api/w/import", "overwrite=true", build_zip(run_files()), ZIP),
    "POST /api/w/runs/<run_id>/name": Call("/api/w/runs/{run_id}/name", body={"name": "new"}),
    "POST /api/w/runs/<run_id>/resume": Call("/api/w/runs/{run_id}/resume"),
    "POST /api/w/runs/<run_id>/trash": Call("/api/w/runs/{run_id}/trash"),
    "POST /api/w/runs/<run_id>/restore": Call("/api/w/runs/{run_id}/restore"),
    "DELETE /api/w/runs/<run_id>": Call("/api/w/runs/{run_id}"),
    "POST /api/w/experiments/<path:name>": Call("/api/w/experiments/{name}", body={"description": "new"}),
    "POST /api/w/models": Call("/api/w/models", body={"name": "iris", "run_id": "open", "artifact": "m"}),
    "POST /api/w/models/<name>": Call("/api/w/models/{name}", body={"tags": {"team": "new"}}),
    "DELETE /api/w/models/<name>": Call("/api/w/models/{name}"),
    "POST /api/w/models/<name>/aliases": Call("/api/w/models/{name}/aliases", body={"alias": "best", "version": 1}),
    "POST /api/w/models/<name>/versions/<version>": Call(
        "/api/w/models/{name}/versions/{version}", body={"description": "new"}
    ),
    "DELETE /api/w/models/<name>/versions/<version>": Call("/api/w/models/{name}/versions/{version}"),
    "POST /api/w/models/<name>/promote": Call("/api/w/models/{name}/promote", body={"version": 2, "stage": "staging"}),
}
#: The required query string of routes that read, by rule.
QUERY_STRINGS = {
    "/api/runs/<run_id>/check": "rule=loss<9",
    "/api/compare": "ids=open,ended",
    "/api/digests": "ids=open,ended",
    "/compare": "ids=open,ended",
    "/compare/charts": "ids=open,ended&key=loss",
    "/compare/charts.svg": "ids=open,ended&key=loss",
    "/diff/<name>": "one=1&other=2",
    "/runs/<run_id>/charts": "key=loss",
    "/runs/<run_id>/charts.svg": "key=loss",
    "/api/search": "metric_key=loss&op=lt&metric_value=9",
}


@pytest.fixture(scope="module")
def template_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which every rule can be broken: runs, artifacts and a model. Tests work on copies."""
    place = tmp_path_factory.mktemp("filled") / "store"
    with open_app(place) as app:
        client = app.test_client()
        upload = {"data": b"bytes", "content_type": OCTETS}
        for run_id in ("open", "ended"):
            base = f"/api/w/runs/{run_id}"
            client.post("/api/w/runs", json={"experiment": "iris", "id": run_id, "tags": {"os": "linux"}})
            client.post(f"{base}/params", json={"lr": 0.1})
            client.post(f"{base}/metrics", json=[{"loss": 0.5, "step": 1}, {"acc": "NaN"}])
            for name in ("m", "deep/file"):
                assert client.post(f"{base}/artifacts?name={name}", **upload).status_code == 200
        assert client.post("/api/w/runs/ended/end").status_code == 200
        for run_id in ("ended", "open"):
            response = client.post(
                "/api/w/models", json={"name": "iris", "run_id": run_id, "artifact": "m", "stage": "production"}
            )
            assert response.status_code == 200
    return place


@pytest.fixture
def make_client(template_store: Path, data: Path, make_app: Callable[..., Flask]) -> Callable[..., FlaskClient]:
    """A function that takes settings and returns a test client of an app on a copy of that store."""
    shutil.copytree(template_store, data)
    return lambda **settings: make_app(**settings).test_client()


@pytest.fixture(scope="module")
def shared_client(template_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FlaskClient, Path]]:
    """A client for the requests that change nothing, so that they can share one store, and the path of that store."""
    place = tmp_path_factory.mktemp("refusing") / "store"
    shutil.copytree(template_store, place)
    with open_app(place) as app:
        yield app.test_client(), place


def iterate_rules(client: FlaskClient) -> Iterator[tuple[str, str, set[str]]]:
    """Yield each method and rule of the app, with the names in the rule. The forms' rules have a table of their own."""
    for rule in native_rules(client.application):
        if rule.endpoint.startswith("writes."):
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, rule.rule, set(rule.arguments)


def build_call(method: str, rule: str) -> Call:
    """Build a valid request for a rule."""
    call = WRITES.get(f"{method} {rule}")
    if call is not None:
        return call
    assert method == "GET", f"{method} {rule} writes: add a valid request for it to WRITES"
    path = rule.replace("<path:", "<").replace("<", "{").replace(">", "}")
    values = {"selector": "1", "v1": "1", "v2": "2", "one": "1", "other": "2", "filename": "style.css"}
    values["path"] = "metrics.jsonl"
    if "artifacts/" in path:
        values["name"] = "m"
    if "images/" in path:
        values["name"] = "m.gif"
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    return Call(path, QUERY_STRINGS.get(rule, ""))


def assert_error(
    response: TestResponse, status: int, error: str | None, data: Path, more: frozenset[str] = frozenset()
) -> None:
    """Assert that a response is an error in the common form, which reveals nothing of the machine."""
    assert response.status_code == status, response.text
    assert response.mimetype == JSON
    body = response.get_json()
    assert set(body) == {"error", "detail", *more}
    assert body["error"] in ERRORS[status]
    assert error in (None, body["error"])
    assert body["detail"]
    assert body["detail"].isprintable()
    assert_reveals_nothing(response, data)


def assert_reveals_nothing(response: TestResponse, data: Path) -> None:
    text = response.text
    for secret in (str(data), str(SOURCE), "Traceback", 'File "', "site-packages", "werkzeug", "Flask"):
        assert secret not in text
    assert ("<html" in text.lower()) == (response.mimetype == "text/html")


def list_api_calls(client: FlaskClient) -> list[tuple[str, str, set[str], Call]]:
    return [
        (method, rule, names, build_call(method, rule))
        for method, rule, names in iterate_rules(client)
        if rule.startswith("/api/")
    ]


# -- errors of every route


def test_table_has_every_route_that_writes(make_client: Callable[..., FlaskClient]) -> None:
    writes = {f"{method} {rule}" for method, rule, _ in iterate_rules(make_client()) if method != "GET"}
    assert writes == {*WRITES, "POST /login", "POST /logout"}


@pytest.mark.parametrize("key", WRITES)
def test_valid_write_is_200_and_stores_something(make_client: Callable[..., FlaskClient], data: Path, key: str) -> None:
    client = make_client()
    for run_id, path in {"unpinned": None, "finished": "end", "trashed": "trash"}.items():
        client.post("/api/w/runs", json={"experiment": "x", "id": run_id})
        if path is not None:
            assert client.post(f"/api/w/runs/{run_id}/{path}").status_code == 200
    client.post("/api/w/models", json={"name": "unused", "run_id": "open", "artifact": "deep/file"})
    client.post("/api/w/runs/unpinned/artifacts?name=deep/file", data=b"bytes", content_type=OCTETS)
    before = snapshot(data)
    call = WRITES[key]
    acts_on = {"DELETE": "unpinned", "resume": "finished", "restore": "trashed"}
    run_id = next((acts_on[word] for word in re.split(r"[ /]", key) if word in acts_on), "open")
    url = call.url(run_id=run_id, **({"name": "unused"} if "DELETE" in key else {}))
    response = client.open(url, method=key.split()[0], **call.request_body())
    assert response.status_code == 200, response.text
    assert snapshot(data) != before


def test_valid_read_is_200_on_every_route(make_client: Callable[..., FlaskClient], data: Path) -> None:
    client = make_client()
    before = snapshot(data)
    for method, rule, _, call in list_api_calls(client):
        if method == "GET":
            response = client.get(call.url())
            assert response.status_code == 200, (rule, response.text)
            assert client.head(call.url()).status_code == 200, rule
    after = snapshot(data)
    assert {name: after.get(name) for name in before} == before
    assert {Path(name).name for name in after.keys() - before.keys()} <= {"summary.json"}


def test_another_host_is_403_on_every_route(make_client: Callable[..., FlaskClient], data: Path) -> None:
    client = make_client()
    before = snapshot(data)
    for method, _, _, call in list_api_calls(client):
        assert_error(
            client.open(call.url(), method=method, headers=OTHER_HOST, **call.request_body()), 403, "forbidden", data
        )
    assert snapshot(data) == before


def test_another_origin_is_403_on_every_write(make_client: Callable[..., FlaskClient], data: Path) -> None:
    client = make_client()
    before = snapshot(data)
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        for key, call in WRITES.items():
            response = client.open(call.url(), method=key.split()[0], headers=headers, **call.request_body())
            assert_error(response, 403, "forbidden", data)
    assert snapshot(data) == before


def test_missing_or_wrong_token_is_401_on_every_route_but_health(
    make_client: Callable[..., FlaskClient], data: Path
) -> None:
    client = make_client(token=TOKEN)
    before = snapshot(data)
    for method, rule, _, call in list_api_calls(client):
        if rule != "/api/health":
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                response = client.open(call.url(), method=method, headers=headers, **call.request_body())
                assert_error(response, 401, "unauthorized", data)
    assert snapshot(data) == before


def test_another_method_is_405_and_allow_lists_the_valid_ones(
    make_client: Callable[..., FlaskClient], data: Path
) -> None:
    client = make_client()
    before = snapshot(data)
    allowed_methods: dict[str, set[str]] = {}
    for each in client.application.url_map.iter_rules():
        allowed_methods.setdefault(each.rule, set()).update(each.methods or ())
    for method, rule, _, call in list_api_calls(client):
        for other in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - allowed_methods[rule]:
            response = client.open(call.url(), method=other, **({} if method == "GET" else call.request_body()))
            assert response.status_code == 405, (other, rule)
            assert set(response.headers["Allow"].split(", ")) == allowed_methods[rule]
            if other != "HEAD":
                assert_error(response, 405, "method not allowed", data)
    assert snapshot(data) == before


def test_unknown_run_model_or_artifact_is_404(make_client: Callable[..., FlaskClient], data: Path) -> None:
    client = make_client()
    before = snapshot(data)
    errors = set()
    for method, rule, names, call in list_api_calls(client):
        cases = []
        if "run_id" in names:
            cases += [("no such run", call.url(run_id=unknown)) for unknown in ("unknown", "Open", "%F0%9F", "a%20b")]
        elif method == "POST" and rule in ("/api/w/experiments/<path:name>", "/api/w/models/<name>"):
            continue  # it creates the experiment or the model
        elif "name" in names and "experiments" in call.path:
            cases += [("no such experiment", call.url(name=unknown)) for unknown in ("unknown", "Iris", "a/b")]
        elif "name" in names:
            cases += [("no such model", call.url(name=unknown)) for unknown in ("unknown", "Iris", "%FF")]
        for error, url in cases:
            errors.add(error)
            assert_error(client.open(url, method=method, **call.request_body()), 404, error, data)
    assert errors == {"no such run", "no such model", "no such experiment"}
    assert_error(client.get("/api/artifacts/open/unknown/download"), 404, "no such artifact", data)
    assert_error(client.get("/api/artifacts/open/../meta.json/download"), 404, None, data)
    assert snapshot(data) == before


@pytest.mark.parametrize(
    "path",
    [
        *[
            "/api",
            "/api/",
            "/api/w",
            "/api/none",
            "/api/runs/",
            "/api//runs",
            "/api/w/runs/open",
            "/api/w/runs//params",
        ],
        *["/api/runs/open/none", "/api/runs/a/b/c", "/api/models/", "/api/models//1/download", "/api/artifacts/open/m"],
        *["/api/runs/%2e%2e/%2e%2e", "/api/%00", "/api/<script>", "/api/" + "x" * 5000],
    ],
)
def test_unknown_route_is_404_or_405(shared_client: tuple[FlaskClient, Path], path: str) -> None:
    client, data = shared_client
    before = snapshot(data)
    for method in ("GET", "POST", "PUT"):
        response = client.open(path, method=method, headers={"Accept": "text/html"})
        assert_error(response, 405 if path == "/api/w/runs/open" else 404, None, data)
    assert snapshot(data) == before


def test_unknown_or_repeated_query_parameter_is_400(make_client: Callable[..., FlaskClient], data: Path) -> None:
    client = make_client()
    before = snapshot(data)
    for method, _, _, call in list_api_calls(client):
        joint = "&" if call.query else "?"
        for wrong in ("nmae=x", "nmae=", "%FF=1", "a=%FF"):
            response = client.open(f"{call.url()}{joint}{wrong}", method=method, **call.request_body())
            assert_error(response, 400, "bad request", data)
        if call.query and not call.query.startswith(("rule=", "ids=")):
            response = client.open(f"{call.url()}&{call.query}", method=method, **call.request_body())
            assert_error(response, 400, "bad request", data)
    assert snapshot(data) == before


NOT_OBJECTS = [
    b"",
    b"{",
    b"[]",
    b"1",
    b"null",
    b'"x"',
    b'{"a": 1, "a": 2}',
    b"\xff",
    b'{"a": "\\ud800"}',
    b"[" * 100_000,
]


def test_body_that_is_not_an_object_is_400_on_every_write(make_client: Callable[..., FlaskClient], data: Path) -> None:
    client = make_client()
    before = snapshot(data)
    for key, call in WRITES.items():
        if call.body is None or call.content_type in (OCTETS, ZIP):
            continue
        for body in NOT_OBJECTS:
            if (key.endswith("/end") and not body) or (key.endswith("/metrics") and body == b"[]"):
                continue  # an empty body ends a run, and an empty list is a valid batch
            response = client.post(call.url(), data=body, content_type=JSON)
            assert_error(response, 400, "bad request", data)
    assert snapshot(data) == before


def test_another_content_type_is_400_on_every_write(make_client: Callable[..., FlaskClient], data: Path) -> None:
    client = make_client()
    before = snapshot(data)
    for key, call in WRITES.items():
        if call.body is None:
            continue
        accepted_types = {call.content_type or JSON} | ({NDJSON} if key.endswith("/metrics") else set())
        accepted_types |= {OCTETS} if call.content_type == ZIP else set()
        for kind in {
            JSON,
            NDJSON,
            OCTETS,
            ZIP,
            "application/x-www-form-urlencoded",
            "text/plain",
            "x",
            None,
        } - accepted_types:
            response = client.post(call.url(), data=call.request_body()["data"], content_type=kind)
            assert_error(response, 400, "bad request", data)
            assert "Content-Type: " in response.get_json()["detail"]
    assert snapshot(data) == before


def test_body_over_the_limit_is_413_on_every_write(make_client: Callable[..., FlaskClient], data: Path) -> None:
    client = make_client(max_json_bytes=1000, max_upload_bytes=2000)
    before = snapshot(data)
    for call in WRITES.values():
        if call.body is None:
            continue
        limit = 2000 if call.content_type in (OCTETS, ZIP) else 1000
        fits = client.post(call.url(), data=b" " * limit, content_type=call.content_type or JSON)
        assert fits.status_code == (200 if call.content_type == OCTETS else 400)
        if fits.status_code == 200:
            before = snapshot(data)
        response = client.post(call.url(), data=b" " * (limit + 1), content_type=call.content_type or JSON)
        assert_error(response, 413, "body too large", data)
        assert str(limit) in response.get_json()["detail"]
    assert snapshot(data) == before


# -- errors of one route

W = "/api/w/runs"
BAD_REQUESTS: list[tuple[int, str, str, Any]] = [
    # status, method, path, body
    (400, "POST", "/api/w/runs", {}),
    (400, "POST", "/api/w/runs", {"experiment": ""}),
    (400, "POST", "/api/w/runs", {"experiment": 5}),
    (400, "POST", "/api/w/runs", {"experiment": "x", "name": ""}),
    (400, "POST", "/api/w/runs", {"experiment": "x", "tags": {"a": []}}),
    (400, "POST", "/api/w/runs", {"experiment": "x", "tags": {"": 1}}),
    (400, "POST", "/api/w/runs", {"experiment": "x", "parent_run_id": "a/b"}),
    (400, "POST", "/api/w/runs", {"experiment": "x", "id": "../x"}),
    (400, "POST", "/api/w/runs", {"experiment": "x", "id": "nul"}),
    (400, "POST", "/api/w/runs", {"experiment": "x", "extra": 1}),
    (400, "POST", "/api/w/runs?format=xml", {"experiment": "x"}),
    (409, "POST", "/api/w/runs", {"experiment": "other", "id": "open"}),
    (409, "POST", "/api/w/runs", {"experiment": "iris", "id": "OPEN", "tags": {"os": "linux"}}),
    (400, "POST", f"{W}/open/params", {"": 1}),
    (400, "POST", f"{W}/open/params", {"good": 1, "bad\n": 1}),
    (400, "POST", f"{W}/open/params", b'{"good": 1, "bad": nano}'),
    (409, "POST", f"{W}/open/params", {"lr": 0.2}),
    (409, "POST", f"{W}/open/params", {"new": 1, "lr": "0.1"}),
    (404, "POST", f"{W}/ended/params", {"lr": 0.1}),
    (400, "POST", f"{W}/open/metrics", {}),
    (400, "POST", f"{W}/open/metrics", {"step": 1}),
    (400, "POST", f"{W}/open/metrics", {"loss": True}),
    (400, "POST", f"{W}/open/metrics", {"metrics": None}),
    (400, "POST", f"{W}/open/metrics", {"loss": "0.5"}),
    (400, "POST", f"{W}/open/metrics", {"loss": [1]}),
    (400, "POST", f"{W}/open/metrics", {"loss": 1, "step": 1.5}),
    (400, "POST", f"{W}/open/metrics", {"loss": 1, "step": 2**63}),
    (400, "POST", f"{W}/open/metrics", [{"loss": 1}, {"loss": "x"}]),
    (400, "POST", f"{W}/open/metrics", [{"loss": 1}, 5]),
    (400, "POST", f"{W}/open/metrics", {"metrics": {"loss": 1}, "other": 1}),
    (400, "POST", f"{W}/open/metrics", {"metrics": {"loss": 1}, "timestamp": "now"}),
    (400, "POST", f"{W}/open/metrics", b'{"loss": 1e400}'),
    (404, "POST", f"{W}/ended/metrics", {"loss": 1}),
    (400, "POST", f"{W}/open/artifacts", b"x"),
    (400, "POST", f"{W}/open/artifacts?name=", b"x"),
    (400, "POST", f"{W}/open/artifacts?name=../x", b"x"),
    (400, "POST", f"{W}/open/artifacts?name=/etc/passwd", b"x"),
    (400, "POST", f"{W}/open/artifacts?name=a%00b", b"x"),
    (400, "POST", f"{W}/open/artifacts?name=" + "a" * 256, b"x"),
    (400, "POST", f"{W}/open/artifacts?name=x&overwrite=maybe", b"x"),
    (409, "POST", f"{W}/open/artifacts?name=m", b"other bytes"),
    (409, "POST", f"{W}/open/artifacts?name=m&overwrite=true", b"other bytes"),
    (409, "POST", f"{W}/open/artifacts?name=m/inside", b"x"),
    (409, "POST", f"{W}/open/artifacts?name=deep", b"x"),
    (409, "POST", f"{W}/open/artifacts?name=deep&overwrite=true", b"x"),
    (404, "POST", f"{W}/ended/artifacts?name=m", b"bytes"),
    (400, "POST", f"{W}/open/end", {}),
    (400, "POST", f"{W}/open/end", {"status": "running"}),
    (400, "POST", f"{W}/open/end", {"status": "completed", "reason": "x"}),
    (400, "POST", f"{W}/open/end?exit_code=x", None),
    (400, "POST", f"{W}/open/end?exit_code=0", {"status": "completed"}),
    (409, "POST", f"{W}/ended/end", {"status": "failed"}),
    (409, "POST", f"{W}/ended/end?exit_code=1", None),
    (400, "POST", f"{W}/open/tags", {"a": 1, "b": {}}),
    (400, "POST", f"{W}/open/tags", {"a": 1, "": 1}),
    (400, "POST", "/api/tags/open", {"key": "a"}),
    (400, "POST", "/api/tags/open", {"value": "a"}),
    (400, "POST", "/api/tags/open", {"key": "a", "value": []}),
    (400, "POST", "/api/tags/open", {"key": 5, "value": 1}),
    (400, "POST", "/api/tags/open", {"key": "a", "value": 1, "extra": 1}),
    (400, "POST", f"{W}/open/note", {}),
    (400, "POST", f"{W}/open/note", {"note": None}),
    (400, "POST", f"{W}/open/note", {"note": "x", "extra": 1}),
    (400, "POST", "/api/note/open", {"note": 5}),
    (400, "POST", f"{W}/open/datasets", {}),
    (400, "POST", f"{W}/open/datasets", {"role": None}),
    (400, "POST", f"{W}/open/datasets", {"role": 5}),
    (400, "POST", f"{W}/open/datasets", {"n_rows": -1}),
    (400, "POST", f"{W}/open/datasets", {"n_rows": 1.5}),
    (400, "POST", f"{W}/open/datasets", {"features": "a,b"}),
    (400, "POST", f"{W}/open/datasets", {"rows": 5}),
    (409, "DELETE", f"{W}/open", None),
    (409, "DELETE", f"{W}/ended", None),
    (400, "POST", "/api/w/models", {"name": "iris", "run_id": "open"}),
    (400, "POST", "/api/w/models", {"name": "a/b", "run_id": "open", "artifact": "m"}),
    (400, "POST", "/api/w/models", {"name": "iris", "run_id": "open", "artifact": "m", "stage": "live"}),
    (404, "POST", "/api/w/models", {"name": "iris", "run_id": "unknown", "artifact": "m"}),
    (404, "POST", "/api/w/models", {"name": "iris", "run_id": "open", "artifact": "unknown"}),
    (404, "POST", "/api/w/models", {"name": "iris", "run_id": "open", "artifact": "deep"}),
    (400, "POST", "/api/w/models/iris/promote", {"version": 1, "stage": "live"}),
    (400, "POST", "/api/w/models/iris/promote", {"version": "1", "stage": "staging"}),
    (404, "POST", "/api/w/models/iris/promote", {"version": 3, "stage": "staging"}),
    (400, "POST", "/api/w/import", b"no zip"),
    (400, "POST", "/api/w/import", build_zip({})),
    (400, "POST", "/api/w/import", build_zip({"../r/meta.json": b"{}"})),
    (400, "POST", "/api/w/import?overwrite=maybe", build_zip(run_files())),
    (409, "POST", "/api/w/import", build_zip(run_files("open"))),
    (409, "POST", "/api/w/import", build_zip(run_files("new") | run_files("OPEN"))),
    (400, "GET", "/api/runs?limit=0", None),
    (400, "GET", "/api/runs?limit=1001", None),
    (400, "GET", "/api/runs?offset=-1", None),
    (400, "GET", "/api/runs?status=done", None),
    (400, "GET", "/api/runs?order_by=loss", None),
    (400, "GET", "/api/runs?tag.=x", None),
    (400, "GET", "/api/runs/open/metrics?max_points=0", None),
    (400, "GET", "/api/runs/open/metrics?max_points=many", None),
    (400, "GET", "/api/runs/open/metrics?since_step=x", None),
    (400, "GET", "/api/runs/open/check", None),
    (400, "GET", "/api/runs/open/check?rule=loss", None),
    (400, "GET", "/api/runs/open/check?rule=loss<baseline", None),
    (400, "GET", "/api/runs/open/check?rule=loss<1&baseline=best:iris", None),
    (404, "GET", "/api/runs/open/check?rule=loss<1&baseline=unknown", None),
    (404, "GET", "/api/runs/open/check?rule=loss<1&baseline=production:unknown", None),
    (404, "GET", "/api/runs/ended/check?rule=loss<1&baseline=latest:iris", None),
    (404, "GET", "/api/models/iris/3/download", None),
    (404, "GET", "/api/models/iris/staging/download", None),
    (404, "GET", "/api/artifacts/open/deep/download", None),
    (404, "GET", "/api/artifacts/open/M/download", None),
]  # fmt: skip


def name_case(value: object) -> str:
    """Return a part of a test's id. Bytes by their number, since those of a zip include the time of the collection."""
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)[:70]


@pytest.mark.parametrize(("status", "method", "path", "body"), BAD_REQUESTS, ids=name_case)
def test_refused_request_has_the_common_error_shape_and_stores_nothing(
    shared_client: tuple[FlaskClient, Path], status: int, method: str, path: str, body: Any
) -> None:
    client, data = shared_client
    before = snapshot(data)
    kind = OCTETS if "/artifacts" in path or "/import" in path else JSON
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request_body: dict[str, Any] = {} if body is None else {"data": content, "content_type": kind}
    for headers in ({}, {"Accept": "text/html"}):  # an error of the API is JSON, whatever Accept says
        assert_error(client.open(path, method=method, headers=headers, **request_body), status, None, data)
    assert snapshot(data) == before


def test_failed_check_is_422_with_its_report(make_client: Callable[..., FlaskClient], data: Path) -> None:
    client = make_client()
    before = snapshot(data)
    for rule in ("loss<0.1", "acc>=0", "unknown>0", "loss<baseline"):
        response = client.get("/api/runs/open/check", query_string={"rule": rule, "baseline": "ended"})
        assert_error(response, 422, "check failed", data, frozenset({"passed", "rules"}))
        assert response.get_json()["passed"] is False
    after = snapshot(data)
    assert {name: after[name] for name in before} == before


def test_every_status_of_the_contract_is_tested_in_this_file() -> None:
    statuses = {status for status, *_ in BAD_REQUESTS} | {401, 403, 405, 413, 422}
    assert statuses == set(ERRORS)
    assert {416, 507}.isdisjoint(statuses), "these two need a real server: test_serve_errors.py"


# -- pages


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/none", 404),
        ("GET", "/runs/unknown", 404),
        ("GET", "/runs/", 404),
        ("GET", "/runs/a/b", 404),
        ("GET", "/runs/<script>alert(1)</script>", 404),
        ("GET", "/runs?status=done", 400),
        ("GET", "/runs?offset=x", 400),
        ("GET", "/runs?<script>alert(1)</script>=x", 400),
        ("GET", "/static/none.css", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("GET", "/%00", 404),
        ("POST", "/runs", 405),
        ("DELETE", "/", 405),
        ("PUT", "/login", 405),
    ],
)
def test_error_of_a_page_is_an_html_page(
    shared_client: tuple[FlaskClient, Path], method: str, path: str, status: int
) -> None:
    client, data = shared_client
    before = snapshot(data)
    response = client.open(path, method=method)
    assert (response.status_code, response.mimetype) == (status, "text/html")
    assert str(status) in response.text
    assert "<script>" not in response.text
    assert ("Allow" in response.headers) == (status == 405)
    assert_reveals_nothing(response, data)
    assert snapshot(data) == before


def test_error_for_another_host_is_an_html_page(make_client: Callable[..., FlaskClient], data: Path) -> None:
    response = make_client().get("/runs", headers=OTHER_HOST)
    assert (response.status_code, response.mimetype) == (403, "text/html")
    assert_reveals_nothing(response, data)


# -- internal errors


def test_internal_error_is_logged_in_full_and_the_response_is_brief(
    make_app: Callable[..., Flask], data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    @app.get("/api/broken")
    def broken() -> str:
        raise RuntimeError(f"a secret of {data}")

    @app.get("/broken")
    def broken_page() -> str:
        raise RuntimeError(f"a secret of {data}")

    for path, mimetype in (("/api/broken", JSON), ("/broken", "text/html")):
        response = app.test_client().get(path)
        assert (response.status_code, response.mimetype) == (500, mimetype)
        assert "internal error" in response.text.lower()
        assert_reveals_nothing(response, data)
    assert "a secret of" in caplog.text
    assert "Traceback" in caplog.text
