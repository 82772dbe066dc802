"""POST requests of the pages' forms: the rules and messages of the API, then a redirect; errors as a page or JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import run_logger
from flask.testing import FlaskClient
from support.snapshots import snapshot

LogRun = Callable[..., str]
Fields = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """A valid form. `api_path`: the path of the API to read the result from; `shows`: whether it is there."""

    path: str
    fields: Fields
    api_path: str
    shows: Callable[[Any], bool]
    #: Paths of the API that are posted to first.
    first: tuple[str, ...] = field(default=())


#: Every form, by its route.
FORMS = {
    "/runs/tags": Form(
        "/runs/tags", {"ids": "r", "key": "a", "value": "b"}, "runs/r", lambda it: it["tags"] == {"a": "b"}
    ),
    "/runs/trash": Form("/runs/trash", {"ids": ["r", "pinned"]}, "runs", lambda it: it == []),
    "/runs/restore": Form("/runs/restore", {"ids": "r"}, "runs", lambda it: len(it) == 2, ("runs/r/trash",)),
    "/runs/delete": Form("/runs/delete", {"ids": "r"}, "runs?deleted=all", lambda it: len(it) == 1),
    "/runs/<run_id>/note": Form(
        "/runs/r/note", {"note": "two\r\nlines é"}, "runs/r", lambda it: it["note"] == "two\nlines é"
    ),
    "/runs/<run_id>/name": Form("/runs/r/name", {"name": "other"}, "runs/r", lambda it: it["name"] == "other"),
    "/runs/<run_id>/end": Form(
        "/runs/r/end",
        {"status": "failed", "error": "why"},
        "runs/r",
        lambda it: (it["status"], it["error"]) == ("failed", "why"),
    ),
    "/runs/<run_id>/resume": Form(
        "/runs/r/resume", {}, "runs/r", lambda it: it["status"] == "running", ("runs/r/end",)
    ),
    "/runs/<run_id>/artifacts/delete": Form(
        "/runs/r/artifacts/delete", {"name": "old/"}, "runs/r", lambda it: [a["name"] for a in it["artifacts"]] == ["b"]
    ),
    "/experiments/<path:name>": Form(
        "/experiments/forms", {"description": "# D"}, "experiments/forms", lambda it: it["description"] == "# D"
    ),
    "/models": Form(
        "/models",
        {"name": "m", "run_id": "pinned", "artifact": "a", "stage": "staging", "description": ""},
        "models/m",
        lambda it: (it["versions"][0]["stage"], it["versions"][0]["description"]) == ("staging", None),
    ),
    "/models/<name>": Form("/models/m", {"description": "D"}, "models/m", lambda it: it["model"]["description"] == "D"),
    "/models/<name>/delete": Form("/models/m/delete", {}, "models", lambda it: it == []),
    "/models/<name>/promote": Form(
        "/models/m/promote",
        {"version": "1", "stage": "production"},
        "models/m",
        lambda it: it["model"]["production"] == 1,
    ),
    "/models/<name>/aliases": Form(
        "/models/m/aliases",
        {"version": "1", "alias": "best"},
        "models/m",
        lambda it: it["versions"][0]["aliases"] == ["best"],
    ),
    "/models/<name>/versions/<int:version>/delete": Form(
        "/models/m/versions/2/delete", {}, "models/m", lambda it: len(it["versions"]) == 1
    ),
}
VERSIONS = {"/models": 0, "/models/<name>/versions/<int:version>/delete": 2}


def set_up(client: FlaskClient, rule: str) -> Form:
    """Log the runs and models that the form of a route needs."""
    log_run = run_logger(client)
    log_run(id="r", experiment="forms", artifacts={"b": b"bytes", "old/a": b"bytes"})
    log_run(id="pinned", experiment="other", artifacts={"a": b"bytes"})
    for _ in range(VERSIONS.get(rule, 1)):
        client.post("/api/w/models", json={"name": "m", "run_id": "pinned", "artifact": "a"})
    form = FORMS[rule]
    for path in form.first:
        assert client.post(f"/api/w/{path}").status_code == 200
    return form


def test_every_form_is_in_the_table_of_forms(client: FlaskClient) -> None:
    rules = {rule.rule for rule in client.application.url_map.iter_rules() if rule.endpoint.startswith("writes.")}
    assert rules == FORMS.keys()


@pytest.mark.parametrize("rule", FORMS)
def test_form_writes_and_redirects_to_the_next_page(client: FlaskClient, rule: str) -> None:
    form = set_up(client, rule)
    before = client.get(f"/api/{form.api_path}")
    assert before.status_code == 404 or not form.shows(before.get_json())
    answer = client.post(form.path, data={**form.fields, "then": "/runs?status=running"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/runs?status=running"), answer.text
    assert form.shows(client.get(f"/api/{form.api_path}").get_json())


@pytest.mark.parametrize("rule", FORMS)
def test_refused_form_stores_nothing(client: FlaskClient, data: Any, rule: str) -> None:
    form = set_up(client, rule)
    before = snapshot(data)
    elsewhere = ({"Origin": "https://other.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": "null"})
    for headers in elsewhere:
        assert client.post(form.path, data=form.fields, headers=headers).status_code == 403
    assert client.post(form.path, json=form.fields).status_code == 400
    assert client.post(form.path, data={**form.fields, "unknown": "x"}).status_code == 400
    for name in form.fields.keys() - {"stage", "description", "error"} - ({"stage"} if rule == "/models" else set()):
        missing = {key: value for key, value in form.fields.items() if key != name}
        assert client.post(form.path, data=missing).status_code == 400, name
    assert snapshot(data) == before


@pytest.mark.parametrize("rule", FORMS)
def test_token_and_read_only_apply_to_forms(make_app: Callable[..., Any], data: Any, rule: str) -> None:
    form = set_up(make_app().test_client(), rule)
    before = snapshot(data)
    assert make_app(read_only=True).test_client().post(form.path, data=form.fields).status_code == 403
    client = make_app(token="secret").test_client()
    assert client.post(form.path, data=form.fields).status_code == 401
    assert snapshot(data) == before
    client.post("/login", data={"token": "secret"})
    assert client.post(form.path, data={**form.fields, "then": "/runs"}).status_code == 303


# -- single forms


@pytest.fixture
def run_id(shared_client: FlaskClient) -> str:
    answer = shared_client.post("/api/w/runs", json={"experiment": "forms"})
    run_id: str = answer.get_json()["id"]
    return run_id


def test_form_for_several_runs_stops_at_the_first_error(shared_client: FlaskClient, run_id: str) -> None:
    other = shared_client.post("/api/w/runs", json={"experiment": "forms"}).get_json()["id"]
    tag = {"ids": [run_id, other], "key": "owner", "value": "ana"}
    assert shared_client.post("/runs/tags", data=tag).status_code == 303
    assert [shared_client.get(f"/api/tags/{each}").get_json() for each in (run_id, other)] == [{"owner": "ana"}] * 2
    answer = shared_client.post("/runs/delete", data={"ids": [run_id, "none", other]})
    assert answer.status_code == 404
    assert "(1 of 3 were done before it)" in answer.text
    assert shared_client.get(f"/api/runs/{run_id}").status_code == 404
    assert shared_client.get(f"/api/runs/{other}").status_code == 200


def test_tag_and_alias_are_removed(client: FlaskClient) -> None:
    set_up(client, "/runs/tags")
    client.post("/api/w/runs/r/tags", json={"a": "b", "c": "d"})
    assert client.post("/runs/tags", data={"ids": "r", "key": "a", "remove": "true"}).status_code == 303
    assert client.get("/api/tags/r").get_json() == {"c": "d"}
    client.post("/api/w/models/m/aliases", json={"alias": "best", "version": 1})
    assert client.post("/models/m/aliases", data={"alias": "best", "remove": "true"}).status_code == 303
    assert client.get("/api/models/m").get_json()["versions"][0]["aliases"] == []


def test_run_with_the_name_of_an_action_has_its_page(client: FlaskClient, log_run: LogRun) -> None:
    for run_id in ("trash", "tags"):
        log_run(id=run_id)
        assert f"<bdi>{run_id}</bdi>" in client.get(f"/runs/{run_id}").text
    assert client.post("/runs/trash", data={"ids": "tags"}).status_code == 303


@pytest.mark.parametrize(
    ("path", "fields", "status", "message"),
    [
        ("/runs/none/note", {"note": "x"}, 404, "No such run"),
        ("/runs/RUN/note", {"text": "x"}, 400, "unknown field"),
        ("/runs/RUN/note", {}, 400, "missing"),
        ("/runs/RUN/end", {"status": "over"}, 400, "status"),
        ("/models/none/promote", {"version": "x", "stage": "staging"}, 400, "integer"),
        ("/models/none/promote", {"version": "1", "stage": "staging"}, 404, "No such model"),
        ("/runs/tags", {"key": "a", "value": "b"}, 400, "no run is selected"),
        ("/runs/RUN", {}, 405, "Allow header"),
        ("/runs/RUN/none", {}, 404, "no such route"),
    ],
)
def test_error_is_a_page_with_the_way_back_or_json_for_a_script(
    shared_client: FlaskClient, run_id: str, path: str, fields: Fields, status: int, message: str
) -> None:
    data = {**fields, "then": "/runs?status=running"}
    answer = shared_client.post(path.replace("RUN", run_id), data=data, headers={"Accept": "text/html,*/*;q=0.8"})
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert message in answer.text
    if status != 405 and path != "/runs/RUN/none" and message != "unknown field":
        assert '<a href="/runs?status=running">Back</a>' in answer.text
    answer = shared_client.post(path.replace("RUN", run_id), data=data, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert answer.get_json().keys() == {"error", "detail"}


@pytest.mark.parametrize("then", ["//other.example/", "https://other.example/", "/\\other.example", "x", None])
def test_form_never_redirects_to_another_site(shared_client: FlaskClient, run_id: str, then: str | None) -> None:
    fields = {"note": "x"} if then is None else {"note": "x", "then": then}
    assert shared_client.post(f"/runs/{run_id}/note", data=fields).headers["Location"] == "/runs"


def test_invalid_form_body_is_400(shared_client: FlaskClient, run_id: str) -> None:
    form: dict[str, Any] = {"content_type": "application/x-www-form-urlencoded"}
    path = f"/runs/{run_id}/note"
    assert shared_client.post(path, data=b"note=%FF", **form).status_code == 400
    assert shared_client.post(path, data=b"note=1&" * 2000, **form).status_code == 400
    assert shared_client.post(path, data=b"note=1&note=2", **form).status_code == 400
    assert shared_client.get(f"/api/runs/{run_id}").get_json()["note"] is None
