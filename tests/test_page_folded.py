"""Lists of runs with children folded under their parents: `children=folded` in the URL of a page, and of the API."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

LogRun = Callable[..., str]


def get_row_names(client: FlaskClient, path: str, **query: str) -> list[str]:
    """Return the names of the runs in the table's rows."""
    answer = client.get(path, query_string=query or None)
    assert answer.status_code == 200, answer.text
    return re.findall(r'<tr id="run-[^>]*>.*?<a href="[^"]*">([^<]*)</a>', answer.text)


@pytest.fixture
def sweep(client: FlaskClient, log_run: LogRun) -> str:
    """The id of a sweep with three folds, one of which has a child, between two other runs."""
    log_run(name="before")
    run_id = log_run(name="sweep", metrics={"loss": 9})
    for number in range(3):
        fold = log_run(name=f"fold {number}", parent_run_id=run_id, metrics={"loss": number})
    log_run(name="grandchild", parent_run_id=fold)
    log_run(name="after", parent_run_id="elsewhere")
    return run_id


@pytest.mark.parametrize("path", ["/runs", "/experiments/iris"])
def test_folded_children_are_counted_in_the_row_of_their_parent(client: FlaskClient, sweep: str, path: str) -> None:
    part = {"part": "table"} if path != "/runs" else {}
    assert len(get_row_names(client, path, **part)) == 7, "not folded by default"
    query = {**part, "children": "folded"}
    assert get_row_names(client, path, **query) == ["after", "sweep", "before"]
    text = client.get(path, query_string=query).text
    assert "1 to 3 of 3" in text
    (link,) = re.findall(r'<a class="quiet" href="([^"]*)">3 children</a>', text)
    assert get_row_names(client, link) == ["fold 2", "fold 1", "fold 0"]
    assert get_row_names(client, path, **query, limit="2", offset="2") == ["before"]


def test_folding_is_switched_on_and_off_by_a_link(client: FlaskClient, sweep: str) -> None:
    def follow(path: str, label: str) -> str:
        (href,) = re.findall(rf'<a href="([^"]*)">{label}</a>', client.get(path).text)
        return html.unescape(href)

    folded_url = follow("/runs?status=running", "Fold children under their parents")
    assert get_row_names(client, folded_url) == ["after", "sweep", "before"]
    assert len(get_row_names(client, follow(folded_url, "Show them as rows"))) == 7
    client.post("/api/w/runs", json={"experiment": "alone", "id": "one"})
    assert "Fold children" not in client.get("/runs?experiment=alone").text


def test_child_of_a_parent_that_does_not_match_has_its_own_row(client: FlaskClient, sweep: str) -> None:
    assert get_row_names(client, "/runs", children="folded", q="metrics.loss < 2") == ["fold 1", "fold 0"]
    client.post("/runs/trash", data={"ids": sweep}, headers={"Origin": "http://localhost"})
    assert get_row_names(client, "/runs", children="folded") == ["after", "fold 2", "fold 1", "fold 0", "before"]
    assert get_row_names(client, "/runs", children="folded", deleted="true") == ["sweep"]


def test_selected_runs_and_runs_in_a_cycle_are_not_folded(client: FlaskClient, sweep: str) -> None:
    assert len(get_row_names(client, "/runs", children="folded", ids=f"{sweep},none")) == 1
    for one, other in (("a", "b"), ("b", "a"), ("self", "self")):
        client.post("/api/w/runs", json={"experiment": "circle", "id": one, "name": one, "parent_run_id": other})
    assert sorted(get_row_names(client, "/runs", children="folded", experiment="circle")) == ["a", "b", "self"]


@pytest.mark.parametrize("path", ["/runs", "/search", "/api/runs"])
def test_children_parameter_400_for_any_value_but_folded(client: FlaskClient, path: str) -> None:
    answer = client.get(f"{path}?children=none")
    assert answer.status_code == 400 and "children must be folded" in answer.text


def test_api_folds_children(client: FlaskClient, sweep: str) -> None:
    answer = client.get("/api/runs?children=folded&limit=2")
    assert [run["name"] for run in answer.json or []] == ["after", "sweep"]
    assert answer.headers["X-Total-Count"] == "3"
    assert "children=folded" in answer.headers["Link"]
    matching = client.get("/api/runs?children=folded&q=metrics.loss < 2&order_by=metrics.loss")
    assert [run["name"] for run in matching.json or []] == ["fold 0", "fold 1"]
    trash = client.get("/api/runs?children=folded&deleted=true")
    assert trash.json == []
    assert client.get("/api/runs?children=").status_code == 400


@pytest.mark.parametrize(
    "page",
    [
        "/runs?children=folded",
        "/runs?children=folded&order_by=name&limit=2&offset=1",
        "/runs?children=folded&q=metrics.loss+<+2",
        "/search?children=folded&q=status+%3D+running",
        "/experiments/iris?children=folded&part=table",
        "/experiments/iris?children=folded&brush=metrics.loss+>%3D+1&brush=metrics.loss+<%3D+2",
        "/experiments/iris?children=folded&brush=metrics.loss+>%3D+1&q=name+~+fold",
    ],
)
def test_json_and_csv_of_a_page_have_the_rows_of_its_table(client: FlaskClient, sweep: str, page: str) -> None:
    rows = get_row_names(client, page)
    anchors = re.findall(r'href="([^"]*)"[^>]*>(JSON|CSV)</a>', client.get(page).text)
    links = {label: html.unescape(url) for url, label in anchors}  # the last ones, beside the links to other pages
    assert rows and [run["name"] for run in client.get(links["JSON"]).json or []] == rows
    assert [row["name"] for row in csv.DictReader(client.get(links["CSV"]).text.splitlines())] == rows


@pytest.mark.parametrize("part", ["curves", "scatter", "parallel"])
def test_charts_draw_children_that_the_table_folds(client: FlaskClient, sweep: str, part: str) -> None:
    for number, run in enumerate(client.get("/api/runs?q=name ~ fold").json or []):
        client.post(f"/api/w/runs/{run['id']}/metrics", json={"loss": number, "step": 1})
    folded_page, plain_page = (
        client.get("/experiments/iris", query_string={"part": part, **more}).text
        for more in ({"children": "folded"}, {})
    )

    def find_folds(text: str) -> set[str]:
        return set(re.findall(r"fold \d", text.partition('id="table"')[0]))

    assert find_folds(folded_page) == find_folds(plain_page) == {"fold 0", "fold 1", "fold 2"}
    assert "the charts draw parents and children alike" in folded_page
    assert "the charts draw" not in plain_page
    table = client.get("/experiments/iris?part=table&children=folded").text
    assert "Children are folded under their parents." in table
