"""POST /forms: what a page's form writes without a script goes through the API, its rules and its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

LogRun = Callable[..., str]


@pytest.fixture
def send(shared_client: FlaskClient) -> Callable[..., TestResponse]:
    """Post a form; a list of values is a field that stands several times."""

    def post(to: str, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
        data = {name.replace("__", ":"): value for name, value in fields.items()}
        return shared_client.post("/forms", data={"to": to, **data}, headers=headers)

    return post


@pytest.fixture
def run_id(shared_client: FlaskClient) -> str:
    answer = shared_client.post("/api/w/runs", json={"experiment": "forms"})
    found: str = answer.get_json()["id"]
    return found


def test_a_note_is_written_and_the_browser_goes_on(
    send: Callable[..., TestResponse], shared_client: FlaskClient, run_id: str
) -> None:
    answer = send(f"POST /api/w/runs/{run_id}/note", note="two\r\nlines é", then=f"/runs/{run_id}")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/runs/{run_id}")
    assert shared_client.get(f"/api/runs/{run_id}").get_json()["note"] == "two\nlines é"


def test_a_form_without_fields_of_its_own_sends_no_body(
    send: Callable[..., TestResponse], shared_client: FlaskClient, run_id: str
) -> None:
    assert send(f"POST /api/w/runs/{run_id}/end").status_code == 303
    assert shared_client.get(f"/api/runs/{run_id}").get_json()["status"] == "completed"


def test_several_runs_at_once(send: Callable[..., TestResponse], shared_client: FlaskClient, run_id: str) -> None:
    other = shared_client.post("/api/w/runs", json={"experiment": "forms"}).get_json()["id"]
    assert send("POST /api/tags/{ids}", ids=[run_id, other], key="owner", value="ana").status_code == 303
    assert [shared_client.get(f"/api/tags/{each}").get_json() for each in (run_id, other)] == [{"owner": "ana"}] * 2
    answer = send("DELETE /api/w/runs/{ids}", ids=[run_id, "none", other])
    assert answer.status_code == 404
    assert "(1 of 3 were done before it)" in answer.text
    assert shared_client.get(f"/api/runs/{run_id}").status_code == 404
    assert shared_client.get(f"/api/runs/{other}").status_code == 200


def test_typed_and_optional_fields(send: Callable[..., TestResponse], shared_client: FlaskClient, run_id: str) -> None:
    shared_client.post(f"/api/w/runs/{run_id}/artifacts?name=m", data=b"bytes", content_type="application/octet-stream")
    register = {"name": "forms", "run_id": run_id, "artifact": "m"}
    assert send("POST /api/w/models", description__optional="", **register).status_code == 303
    assert send("POST /api/w/models/forms/promote", version__int="1", stage="staging").status_code == 303
    (version,) = shared_client.get("/api/models/forms").get_json()["versions"]
    assert (version["version"], version["stage"], version["description"]) == (1, "staging", None)


@pytest.mark.parametrize(
    ("to", "fields", "status", "said"),
    [
        ("POST /api/w/runs/none/note", {"note": "x"}, 404, "No such run"),
        ("POST /api/w/runs/RUN/note", {"text": "x"}, 400, "unknown field"),
        ("POST /api/w/models/none/promote", {"version__int": "x", "stage": "staging"}, 400, "whole number"),
        ("POST /api/tags/{ids}", {"key": "a", "value": "b"}, 400, "no run is chosen"),
        ("GET /api/runs", {}, 400, "must be a write of the API"),
        ("POST /login", {"token": "x"}, 400, "must be a write of the API"),
        ("POST /forms", {}, 400, "must be a write of the API"),
        ("POST http://other.example/api/w/runs", {}, 400, "must be a write of the API"),
        ("POST //other.example/api/w/runs", {}, 400, "must be a write of the API"),
        ("POST /api/w/none", {}, 404, "no such route"),
        ("", {}, 400, "must be a write of the API"),
    ],
)
def test_what_is_refused_is_said_on_a_page_in_the_words_of_the_api(
    send: Callable[..., TestResponse], run_id: str, to: str, fields: dict[str, str], status: int, said: str
) -> None:
    answer = send(to.replace("RUN", run_id), then="/runs?status=running", **fields)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert said in answer.text


@pytest.mark.parametrize("then", ["//other.example/", "https://other.example/", "/\\other.example", "x"])
def test_a_form_leads_to_no_other_site(send: Callable[..., TestResponse], run_id: str, then: str) -> None:
    answer = send(f"POST /api/w/runs/{run_id}/note", note="x", then=then)
    assert answer.headers["Location"] == "/runs"


def test_a_page_of_another_site_writes_nothing(
    send: Callable[..., TestResponse], shared_client: FlaskClient, run_id: str
) -> None:
    for headers in ({"Origin": "https://other.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": "null"}):
        assert send(f"POST /api/w/runs/{run_id}/note", headers, note="x").status_code == 403
    assert shared_client.get(f"/api/runs/{run_id}").get_json()["note"] is None


def test_other_bodies_are_refused(shared_client: FlaskClient) -> None:
    assert shared_client.post("/forms", json={"to": "x"}).status_code == 400
    form: dict[str, Any] = {"content_type": "application/x-www-form-urlencoded"}
    assert shared_client.post("/forms", data=b"to=%FF", **form).status_code == 400
    assert shared_client.post("/forms", data=b"a=1&" * 2000, **form).status_code == 400


def test_token_and_read_only_hold_for_forms(make_app: Callable[..., Any]) -> None:
    client = make_app(token="secret").test_client()
    run_id = client.post(
        "/api/w/runs", json={"experiment": "x"}, headers={"Authorization": "Bearer secret"}
    ).get_json()["id"]
    form = {"to": f"POST /api/w/runs/{run_id}/note", "note": "x"}
    assert client.post("/forms", data=form).status_code == 401
    client.post("/login", data={"token": "secret"})
    assert client.post("/forms", data=form).status_code == 303
    client = make_app(read_only=True).test_client()
    assert client.post("/forms", data=form).status_code == 403
