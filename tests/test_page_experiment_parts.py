"""The scatter and the parallel coordinates of an experiment's runs, as pages and as drawings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from support.html_tables import Page

from chachaml_lite.web.charts.scales import Scale, should_use_log, tone_of

LogRun = Callable[..., str]
HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
def sweep(log_run: LogRun) -> list[str]:
    """Five runs: rates over decades, two optimizers, a loss; the last has no loss and no rate."""
    ids = []
    for number, optimizer in enumerate(["adam", "sgd", "adam", "sgd"]):
        params = {"lr": 10.0**-number, "optimizer": optimizer, "layers": number % 2 + 1, "same": True}
        ids.append(log_run(params=params, metrics={"loss": 1 + number}, name=f"run {number}", id=f"run-{number}"))
    return [*ids, log_run(params={"optimizer": "adam"}, name="bare", id="bare")]


def page_of(client: FlaskClient, part: str, status: int = 200, /, **query: Any) -> str:
    answer = client.get(f"/experiments/iris?{urlencode({'part': part, **query}, doseq=True)}")
    assert answer.status_code == status, answer.text
    return answer.text


def dots_of(page: str) -> dict[str, str]:
    """Return the text of each dot of the scatter plot, by the run that it links to."""
    return {
        run_id: unescape(told) for run_id, told in re.findall(r'<a href="/runs/([^"]*)" aria-label="([^"]*)"><g', page)
    }


def paths_of(page: str) -> dict[str, str]:
    """The classes of each run's line through the axes."""
    return dict(re.findall(r'<a href="/runs/([^"]*)" class="path ([^"]*)"', page))


def rows_of(page: str) -> list[str]:
    return re.findall(r'<tr id="run-([^"]*)"', page)


# -- scatter


def test_scatter_is_of_any_field_against_a_metric_in_the_colour_of_a_third(
    client: FlaskClient, sweep: list[str]
) -> None:
    page = page_of(client, "scatter", across="params.lr", color="params.optimizer")
    assert dots_of(page) == {
        "run-0": "run 0: lr 1, loss 1, optimizer adam",
        "run-1": "run 1: lr 0.1, loss 2, optimizer sgd",
        "run-2": "run 2: lr 0.01, loss 3, optimizer adam",
        "run-3": "run 3: lr 0.001, loss 4, optimizer sgd",
    }
    assert "1 of 5 runs have no value" in page
    assert "Log across." in page
    assert (
        "Log"
        not in page_of(client, "scatter", across="params.lr", scale_x="linear")
        .partition('id="scatter"')[2]
        .partition("</figure>")[0]
    )
    assert re.findall(r'<g class="series (s\d+)"><circle', page) == ["s2", "s1", "s2", "s1"], "newest first"
    page = page_of(client, "scatter", across="params.optimizer", color="params.lr")
    assert re.findall(r'<g class="series (t\d+)"><circle', page) == ["t1", "t4", "t7", "t10"], "by its logarithm"
    page = page_of(client, "scatter", across="start_time", color="status")
    assert all("started 20" in told for told in dots_of(page).values())


def test_scatter_chooses_a_number_that_differs(client: FlaskClient, sweep: list[str]) -> None:
    page = page_of(client, "scatter")
    assert "loss against layers" in page
    assert "No metric of these runs" in page_of(client, "scatter", q="name = bare")


# -- parallel coordinates


def test_params_that_differ_lead_to_the_metric(client: FlaskClient, sweep: list[str]) -> None:
    page = page_of(client, "parallel")
    fields = re.findall(r'class="coordinate" data-field="([^"]*)"', page)
    assert fields == ["params.layers", "params.lr", "params.optimizer", "metrics.loss"]
    lr = page[page.index('data-field="params.lr"') :].partition(">")[0]
    assert "data-log" in lr
    words = re.search(r'data-field="params.optimizer" data-words="([^"]*)"', page)
    assert words is not None
    assert json.loads(unescape(words[1])) == ["adam", "sgd"]
    assert paths_of(page) == {"run-0": "t1", "run-1": "t4", "run-2": "t7", "run-3": "t10", "bare": "t0"}
    assert ">none<" in page, "the run without a rate meets its axis below it"
    page = page_of(client, "parallel", axes=["params.same", "metrics.loss", "params.lr"])
    assert re.findall(r'data-field="([^"]*)"', page) == ["params.same", "params.lr", "metrics.loss"]


def test_brush_filters_the_table_and_the_other_lines_step_back(client: FlaskClient, sweep: list[str]) -> None:
    brushes = ["params.lr >= 0.005 and params.lr <= 0.5", 'params.optimizer in ("adam")']
    page = page_of(client, "parallel", brush=brushes)
    assert rows_of(page) == ["run-2"]
    assert {run_id for run_id, classes in paths_of(page).items() if "out" not in classes.split()} == {"run-2"}
    assert len(paths_of(page)) == 5, "all runs of the filters are there"
    assert "1 of 5 runs match the selection" in page
    assert len(re.findall(r'<rect class="selection"', page)) == 2
    links = Page(page).links
    query = next(link for link in links if "q=" in link and "brush=" not in link and "format" not in link)
    assert rows_of(client.get(query).text) == ["run-2"]
    without = next(
        link for link in links if link.count("brush=") == 1 and "part=parallel" in link and "order" not in link
    )
    assert rows_of(client.get(without).text) == ["bare", "run-2", "run-0"]
    assert "expected" in page_of(client, "parallel", 400, brush="params.lr")


def test_hostile_names_are_text_on_every_axis(client: FlaskClient, log_run: LogRun) -> None:
    for number in range(3):
        log_run(name=HOSTILE, params={HOSTILE: f"{HOSTILE}{number}", "lr": number}, metrics={HOSTILE: number})
    for part in ("scatter", "parallel"):
        for query in ({}, {"across": f'params."{HOSTILE}"'}, {"color": f'params."{HOSTILE}"', "axes": ["params.lr"]}):
            assert "<script>alert" not in page_of(client, part, **query)


def test_parts_are_there_for_runs_of_any_kind(client: FlaskClient, log_run: LogRun) -> None:
    log_run()
    log_run(params={"a": None, "b": [1, {"c": 2}], "huge": 10**300}, metrics={"loss": "NaN"})
    log_run(params={"a": "x" * 5000, "huge": -1}, metrics={"loss": "Infinity", "acc": 1e308})
    log_run(params={"a": 5, "huge": 1e-300}, metrics={"loss": -1e308, "acc": -1e308})
    for part in ("curves", "scatter", "parallel", "table"):
        for query in ({}, {"metric": "loss"}, {"metric": "acc", "across": "params.huge", "color": "params.a"}):
            page_of(client, part, **query)


@pytest.mark.parametrize(
    ("values", "is_log"),
    [
        ([1, 100], True),
        ([1, 99], False),
        ([0, 1000], False),
        ([-1, 1], False),
        ([], False),
        ([5], False),
        ([None, 1, 1e9], True),
    ],
)
def test_log_axis_by_itself(values: list[float | None], is_log: bool) -> None:
    assert should_use_log(values) is is_log


def test_tones_are_ten_from_the_least_to_the_greatest() -> None:
    scale = Scale(0, 1)
    assert [tone_of(scale, value) for value in (-1, 0, 0.05, 0.1, 0.55, 0.999, 1, 2)] == [0, 0, 0, 1, 5, 9, 9, 9]
