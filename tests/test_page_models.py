"""GET /models and /models/:name: versions, stages, history and forms, as a browser receives them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.html_tables import Page

LogRun = Callable[..., str]
HOSTILE = "<script>alert(1)<script>\"'&%"


def get_page(client: FlaskClient, path: str, status: int = 200, /, **query: Any) -> tuple[Page, str]:
    answer = client.get(path, query_string=query or None)
    assert (answer.status_code, answer.mimetype) == (status, "text/html"), answer.text
    return Page(answer.text), answer.text


def register(client: FlaskClient, run_id: str, name: str = "iris", **fields: Any) -> int:
    answer = client.post("/api/w/models", json={"name": name, "run_id": run_id, "artifact": "m.pkl", **fields})
    assert answer.status_code == 200, answer.text
    version: int = answer.get_json()["version"]
    return version


@pytest.fixture
def model(client: FlaskClient, log_run: LogRun) -> list[str]:
    """The ids of the runs of three versions of the model iris: archived, production, none."""
    ids = [log_run(name=f"run {number}", artifacts={"m.pkl": b"%d" % number}) for number in range(3)]
    register(client, ids[0], stage="production", description="the first\none")
    register(client, ids[1])
    register(client, ids[2])
    client.post("/api/w/models/iris/promote", json={"version": 2, "stage": "production"})
    return ids


def test_models_are_listed_with_their_production_version(client: FlaskClient, model: list[str]) -> None:
    register(client, model[0], name="digits", description="d" * 300)
    page, text = get_page(client, "/models")
    assert page.find_row("iris")[:3] == ["iris", "production version 2 latest is 3", "3"]
    assert page.find_row("digits")[1:3] == ["none yet, latest is 1", "1"]
    assert len(page.find_row("digits")[4]) < 200
    assert "/models/iris" in page.links
    assert 'href="/api/models"' in text


def test_model_shows_its_versions_newest_first(client: FlaskClient, model: list[str]) -> None:
    page, text = get_page(client, "/models/iris")
    assert [row[0] for row in page.rows] == ["Version", "3", "2", "1"]
    assert page.find_row("2")[1] == "production"
    assert page.find_row("1")[1] == "archived"
    assert page.find_row("1")[3:5] == ["run 0", "m.pkl"]
    assert page.find_row("1")[7] == "the first one"
    assert page.links.count(f"/runs/{model[0]}") == 2, "from its version and from the history"
    assert "/api/models/iris/1/download" in page.links
    assert 'href="/api/models/iris"' in text


def test_history_describes_each_event_newest_first(client: FlaskClient, model: list[str]) -> None:
    _, text = get_page(client, "/models/iris")
    items = re.findall(r"<li>(.*?)</li>", text, re.DOTALL)
    lines = [" ".join(html.unescape(re.sub("<time.*?</time>|<.*?>", "", each)).split()) for each in items]
    assert lines == [
        "Version 2 was moved from none to production. Version 1 left production and was archived.",
        f"Version 3 was registered: m.pkl of run {model[2]}.",
        f"Version 2 was registered: m.pkl of run {model[1]}.",
        f"Version 1 was registered in production: m.pkl of run {model[0]}.",
    ]


def test_version_of_a_missing_run_is_marked_as_deleted(client: FlaskClient, model: list[str], data: Any) -> None:
    (data / "runs" / model[0]).rename(data / "gone")
    page, _ = get_page(client, "/models/iris")
    assert page.find_row("1")[3] == f"{model[0]} deleted"
    assert "/api/models/iris/1/download" not in page.links


def test_promotion_from_the_page_moves_the_version_or_shows_the_error(client: FlaskClient, model: list[str]) -> None:
    _, text = get_page(client, "/models/iris")
    assert 'action="/models/iris/promote"' in text
    fields = {"version": "3", "stage": "production", "then": "/models/iris"}
    answer = client.post("/models/iris/promote", data=fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/models/iris")
    page, _ = get_page(client, "/models/iris")
    assert [page.find_row(number)[1] for number in "123"] == ["archived", "archived", "production"]
    answer = client.post("/models/iris/promote", data={**fields, "version": "9"})
    assert answer.status_code == 404
    assert "no version or stage" in answer.text


def submit_form(client: FlaskClient, action: str, /, **fields: str) -> int:
    """Submit a form of the model's page; return the status code."""
    return client.post(action, data={"then": "/models/iris", **fields}).status_code


def test_aliases_are_set_and_removed_and_versions_deleted_on_the_page(client: FlaskClient, model: list[str]) -> None:
    base = "/models/iris"
    _, text = get_page(client, "/models/iris")
    for action in (f"{base}/aliases", base, f"{base}/delete", f"{base}/versions/3/delete"):
        assert f'action="{action}"' in text
    assert f'action="{base}/versions/2/delete"' not in text, "it is in production"
    assert submit_form(client, f"{base}/aliases", alias="best", version="3") == 303
    assert submit_form(client, base, description="*flowers*") == 303
    client.post(f"/api/w{base}", json={"tags": {"team": "vision"}})
    page, text = get_page(client, "/models/iris")
    assert page.find_row("3")[1] == "none best"
    assert "Remove alias best" in text
    for words in ("best: version 3", "team: vision", "*flowers*"):
        assert words in text
    assert submit_form(client, f"{base}/aliases", alias="best", remove="true") == 303
    assert submit_form(client, f"{base}/versions/3/delete") == 303
    assert submit_form(client, f"{base}/versions/2/delete") == 409
    page, text = get_page(client, "/models/iris")
    assert [row[0] for row in page.rows] == ["Version", "2", "1"]
    items = re.findall(r"<li>(.*?)</li>", text, re.DOTALL)
    lines = [" ".join(html.unescape(re.sub("<time.*?</time>|<.*?>", "", each)).split()) for each in items]
    assert lines[:5] == [
        "Version 3 was deleted.",
        "The alias best was removed.",
        "The model was tagged: team = vision.",
        "The model was described.",
        "The alias best was set to version 3.",
    ]
    assert submit_form(client, f"{base}/delete") == 409
    client.post(f"/api/w{base}/promote", json={"version": 2, "stage": "none"})
    assert submit_form(client, f"{base}/delete") == 303
    get_page(client, "/models/iris", 404)


def test_folder_is_registered_on_the_page_of_an_artifact_in_it(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(artifacts={"net/a/m.pkl": b"1", "net/b": b"2"})
    _, text = get_page(client, f"/runs/{run_id}/artifacts/net/a/m.pkl")
    assert re.findall(r'<option value="(net.*?)">', text) == ["net/a/m.pkl", "net/a/", "net/"]
    fields = {"name": "iris", "run_id": run_id, "artifact": "net/", "stage": "none"}
    assert submit_form(client, "/models", **fields) == 303
    page, text = get_page(client, "/models/iris")
    assert page.find_row("1")[4] == "net/ 2 files"
    assert "curl -fo net.zip" in text
    assert "/api/models/iris/latest/download" in text
    _, text = get_page(client, f"/runs/{run_id}/artifacts/net/a/m.pkl")
    assert "iris 1" in text


def test_model_without_versions_has_a_page(client: FlaskClient) -> None:
    client.post("/api/w/models/iris", json={})
    _, text = get_page(client, "/models/iris")
    assert "No versions yet" in text
    page, _ = get_page(client, "/models")
    assert page.find_row("iris")[1:3] == ["no version yet", "0"]


def test_read_only_server_offers_no_promotion(
    client: FlaskClient, model: list[str], make_app: Callable[..., Any]
) -> None:
    client = make_app(read_only=True).test_client()
    page, text = get_page(client, "/models/iris")
    assert 'method="post"' not in text
    assert page.find_row("2")[2] == "run 1"


def test_hostile_names_are_displayed_as_text_and_link_to_their_model(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(name=HOSTILE, artifacts={"m.pkl": b"1"})
    client.post(f"/api/w/runs/{run_id}/artifacts?name=-%22%20'%24(reboot)", data=b"1", content_type=OCTETS)
    body = {"name": HOSTILE, "run_id": run_id, "artifact": "-\" '$(reboot)", "description": HOSTILE}
    assert client.post("/api/w/models", json=body).status_code == 200
    page, text = get_page(client, "/models")
    assert "<script>" not in text
    (link,) = (each for each in page.links if each.startswith("/models/"))
    page, text = get_page(client, link)
    assert "<script>alert" not in text
    assert page.find_row("1")[3] == HOSTILE
    assert client.get(f"/api{link}").get_json()["model"]["name"] == HOSTILE
    assert (
        client.get(f"/diff/{link.removeprefix('/models/')}?one=1&other=1").headers["Location"].startswith("/diff/%3C")
    )


OCTETS = "application/octet-stream"


def test_versions_are_paged(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(artifacts={"m.pkl": b"1"})
    for _ in range(101):
        register(client, run_id)
    page, text = get_page(client, "/models/iris")
    assert len(page.rows) == 101
    assert "1 to 100 of 101" in text
    assert "1 earlier events" in text
    page, _ = get_page(client, next(each for each in page.links if "offset" in each))
    assert [row[0] for row in page.rows] == ["Version", "1"]
    assert "/models/iris" in page.links
    assert "There are only 101 versions" in get_page(client, "/models/iris?offset=200")[1]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/nobody", 404),
        ("/models/iris?limit=1", 400),
        ("/models?offset=-1", 400),
        ("/models?offset=x", 400),
        ("/diff/iris", 400),
        ("/diff/iris?one=1&other=", 400),
    ],
)
def test_unknown_model_and_invalid_query_are_error_pages(client: FlaskClient, path: str, status: int) -> None:
    get_page(client, path, status)


def test_selected_versions_redirect_to_their_comparison(client: FlaskClient, model: list[str]) -> None:
    answer = client.get("/diff/iris?one=2&other=production")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/diff/iris/2/production")


def test_page_is_304_until_a_version_is_promoted(client: FlaskClient, model: list[str]) -> None:
    etag = client.get("/models/iris").headers["ETag"]
    assert client.get("/models/iris", headers={"If-None-Match": etag}).status_code == 304
    client.post("/api/w/models/iris/promote", json={"version": 3, "stage": "staging"})
    assert client.get("/models/iris", headers={"If-None-Match": etag}).status_code == 200
