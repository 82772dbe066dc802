"""Experiments over HTTP and as pages: lists, descriptions, best runs, and their files on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from support.html_tables import Page

from chachaml_lite.store.store import Store
from chachaml_lite.tracking.verify.verify import Verification

LogRun = Callable[..., str]
NAMES = ["iris", "a/b", "Iris", "..x", "con", "50%", 'q"<>?', "naïve 日本", "<script>alert(1)</script>"]


def describe(client: FlaskClient, name: str, text: str, status: int = 200) -> Any:
    answer = client.post(f"/api/w/experiments/{quote(name, safe='')}", json={"description": text})
    assert answer.status_code == status, answer.text
    return answer.get_json()


def get_experiment(client: FlaskClient, name: str, **query: str) -> Any:
    answer = client.get(f"/api/experiments/{quote(name, safe='')}", query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_any_name_has_its_own_description_and_page(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    for name in NAMES:
        log_run(name)
        describe(client, name, f"of {name}")
        describe(client, name, f"of {name}")
    assert {each["name"]: each["description"] for each in client.get("/api/experiments").get_json()} == {
        name: f"of {name}" for name in NAMES
    }
    files = [path.name for path in (data / "experiments").iterdir()]
    assert len({file.casefold() for file in files}) == len(NAMES)
    links = [link for link in Page(client.get("/experiments").text).links if link.startswith("/experiments/")]
    assert len(links) == len(NAMES)
    for link in links:
        page = client.get(link)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert client.get(f"/api{link}").get_json()["name"] in NAMES


def test_changes_by_hand_are_read_and_damage_hides_nothing_else(
    client: FlaskClient, log_run: LogRun, data: Path
) -> None:
    log_run("iris")
    log_run("digits")
    etag = client.get("/api/experiments").headers["ETag"]
    (data / "experiments").mkdir()
    file = data / "experiments" / "iris.json"
    file.write_text('{"name": "iris", "description": "by hand", "owner": "maria"}')
    answer = client.get("/api/experiments", headers={"If-None-Match": etag})
    assert (answer.status_code, get_experiment(client, "iris")["description"]) == (200, "by hand")
    describe(client, "iris", "by a page")
    fields = json.loads(file.read_text())
    assert fields.pop("updated_at") > 0
    assert fields == {"name": "iris", "description": "by a page", "owner": "maria"}
    describe(client, "iris", "")
    assert get_experiment(client, "iris")["description"] is None
    for content in ("", "[]", '{"description": 1}', '{"name": "other"}'):
        file.write_text(content)
        assert get_experiment(client, "iris")["description"] is None, content
        assert client.get("/experiments").status_code == 200
        assert client.get("/api/health").get_json()["damaged"] == 1, content
    describe(client, "digits", "fine")
    file.write_text("{")
    describe(client, "iris", "x", 500)
    assert file.read_text() == "{"
    (data / "experiments" / "folder").mkdir()
    (data / "experiments" / ".left.json.tmp").touch()
    store = Store(data, "no", read_only=True)
    problems = {(problem.where, problem.kind) for problem in Verification(store).report().problems}
    assert {("experiments/iris.json", "damaged file"), ("experiments/folder", "stray")} <= problems
    file.unlink()
    assert get_experiment(client, "iris")["description"] is None


def test_description_400_for_name_too_long_for_a_file(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    for name in ("日" * 100, "日" * 83 + "ee"):  # with .json it would be longer than a file name may be
        log_run(name)
        assert "too long" in describe(client, name, "x", 400)["detail"]
    log_run("iris")
    describe(client, "iris", "x" * 100_001, 400)
    assert not (data / "experiments").exists()
    log_run("e" * 250)
    describe(client, "e" * 250, "x" * 100_000)
    assert [path.name for path in (data / "experiments").iterdir()] == ["e" * 250 + ".json"]


def test_best_run_depends_on_the_requested_metric_and_direction(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(metrics={"loss": loss}, name=f"run {loss}") for loss in (0.5, 0.25, 1, 0.25, "NaN")]
    best = get_experiment(client, "iris", metric="loss")["best"]
    assert best == {
        "metric": "loss",
        "direction": "min",
        "runs": 4,
        "run_id": ids[1],
        "name": "run 0.25",
        "value": 0.25,
    }
    assert get_experiment(client, "iris", metric="loss", direction="max")["best"]["run_id"] == ids[2]
    assert get_experiment(client, "iris", metric="none")["best"]["run_id"] is None
    assert get_experiment(client, "iris")["best"] is None
    assert "lowest loss" in client.get("/experiments/iris").text
    page = client.get("/experiments/iris?metric=loss&direction=max&limit=1").text
    assert "highest loss" in page
    assert "order_by=metrics.loss+desc" in page
    assert "select a metric" in client.get("/experiments/iris?part=table").text, (
        "no runs are read that aren't displayed"
    )


def test_best_run_is_by_the_most_important_metric_by_default(client: FlaskClient, log_run: LogRun) -> None:
    log_run(metrics={"gpu": 99, "a": 1, "val/loss": 0.5, "train/loss": 0.1})
    log_run(metrics={"val/loss": 0.25, "train/loss": 0.2})
    page = client.get("/experiments/iris").text
    assert "lowest val/loss" in page
    assert ">0.25</span></strong>" in page


def test_list_shows_descriptions_without_their_markdown(client: FlaskClient, log_run: LogRun) -> None:
    log_run()
    describe(client, "iris", "Petals **and** sepals\n\n- <b>a & b</b>")
    page = client.get("/experiments").text
    assert ">Petals and sepals &lt;b&gt;a &amp; b&lt;/b&gt;</span>" in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/experiments/nobody", 404),
        ("/experiments/iris?direction=up", 400),
        ("/experiments/iris?q=%3C", 400),
        ("/experiments?offset=-1", 400),
        ("/experiments/iris?experiment=x", 400),
    ],
)
def test_unknown_experiment_and_invalid_query_are_error_pages(
    client: FlaskClient, log_run: LogRun, path: str, status: int
) -> None:
    log_run()
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")


def test_read_only_server_shows_the_description_but_no_form(
    client: FlaskClient, log_run: LogRun, make_app: Callable[..., Any]
) -> None:
    log_run()
    describe(client, "iris", "# Flowers\n\n<script>alert(1)</script>")
    assert 'action="/experiments/iris"' in client.get("/experiments/iris").text
    page = make_app(read_only=True).test_client().get("/experiments/iris").text
    assert "Flowers</h2>" in page
    assert "<script>alert" not in page
    assert 'method="post"' not in page


def test_experiment_without_runs_says_so(client: FlaskClient, log_run: LogRun) -> None:
    describe(client, "empty", "nothing here")
    page = client.get("/experiments/empty").text
    assert "This experiment has no runs yet." in page
    assert "By status" not in page and "No run matches" not in page
    log_run("iris")
    page = client.get("/experiments/iris?status=failed").text
    assert "No run matches" in page and "By status" in page
