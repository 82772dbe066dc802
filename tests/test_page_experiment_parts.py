"""The scatter plot and the parallel coordinates of an experiment's runs."""

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
    """The ids of five runs: learning rates over decades, two optimizers, a loss; the last has no loss and no rate."""
    ids = []
    for number, optimizer in enumerate(["adam", "sgd", "adam", "sgd"]):
        params = {"lr": 10.0**-number, "optimizer": optimizer, "layers": number % 2 + 1, "same": True}
        ids.append(log_run(params=params, metrics={"loss": 1 + number}, name=f"run {number}", id=f"run-{number}"))
    return [*ids, log_run(params={"optimizer": "adam"}, name="bare", id="bare")]


def get_page(client: FlaskClient, part: str, status: int = 200, /, **query: Any) -> str:
    answer = client.get(f"/experiments/iris?{urlencode({'part': part, **query}, doseq=True)}")
    assert answer.status_code == status, answer.text
    return answer.text


def find_dots(page: str) -> dict[str, str]:
    """Return the text of each dot of the scatter plot, by the run that it links to."""
    return {
        run_id: unescape(label)
        for run_id, label in re.findall(r'<a href="/runs/([^"]*)" aria-label="([^"]*)"><g', page)
    }


def find_paths(page: str) -> dict[str, str]:
    """Return the CSS classes of each run's line through the axes."""
    return dict(re.findall(r'<a href="/runs/([^"]*)" class="path ([^"]*)"', page))


def find_row_ids(page: str) -> list[str]:
    return re.findall(r'<tr id="run-([^"]*)"', page)


# -- scatter


def test_scatter_plot_draws_a_metric_against_any_field_coloured_by_a_third(
    client: FlaskClient, sweep: list[str]
) -> None:
    page = get_page(client, "scatter", across="params.lr", color="params.optimizer")
    assert find_dots(page) == {
        "run-0": "run 0: lr 1, loss 1, optimizer adam",
        "run-1": "run 1: lr 0.1, loss 2, optimizer sgd",
        "run-2": "run 2: lr 0.01, loss 3, optimizer adam",
        "run-3": "run 3: lr 0.001, loss 4, optimizer sgd",
    }
    assert "1 of 5 runs have no value" in page
    assert "Log x axis." in page
    assert (
        "Log"
        not in get_page(client, "scatter", across="params.lr", scale_x="linear")
        .partition('id="scatter"')[2]
        .partition("</figure>")[0]
    )
    assert re.findall(r'<g class="series (s\d+)"><circle', page) == ["s2", "s1", "s2", "s1"], "newest first"
    page = get_page(client, "scatter", across="params.optimizer", color="params.lr")
    assert re.findall(r'<g class="series (t\d+)"><circle', page) == ["t1", "t4", "t7", "t10"], "by its logarithm"
    page = get_page(client, "scatter", across="start_time", color="status")
    assert all("started 20" in label for label in find_dots(page).values())


def test_scatter_chooses_a_number_that_differs(client: FlaskClient, sweep: list[str]) -> None:
    page = get_page(client, "scatter")
    assert "loss against layers" in page
    assert "No metric of these runs" in get_page(client, "scatter", q="name = bare")


# -- parallel coordinates


def test_parallel_axes_are_the_params_that_differ_and_the_metric(client: FlaskClient, sweep: list[str]) -> None:
    page = get_page(client, "parallel")
    fields = re.findall(r'class="coordinate" data-field="([^"]*)"', page)
    assert fields == ["params.layers", "params.lr", "params.optimizer", "metrics.loss"]
    lr = page[page.index('data-field="params.lr"') :].partition(">")[0]
    assert "data-log" in lr
    words = re.search(r'data-field="params.optimizer" data-words="([^"]*)"', page)
    assert words is not None
    assert json.loads(unescape(words[1])) == ["adam", "sgd"]
    assert find_paths(page) == {"run-0": "t1", "run-1": "t4", "run-2": "t7", "run-3": "t10", "bare": "t0"}
    assert ">none<" in page, "the run without a rate crosses the axis at its bottom"
    page = get_page(client, "parallel", axes=["params.same", "metrics.loss", "params.lr"])
    assert re.findall(r'data-field="([^"]*)"', page) == ["params.same", "params.lr", "metrics.loss"]


def test_brush_filters_the_table_and_fades_the_other_lines(client: FlaskClient, sweep: list[str]) -> None:
    brushes = ["params.lr >= 0.005 and params.lr <= 0.5", 'params.optimizer in ("adam")']
    page = get_page(client, "parallel", brush=brushes)
    assert find_row_ids(page) == ["run-2"]
    assert {run_id for run_id, classes in find_paths(page).items() if "out" not in classes.split()} == {"run-2"}
    assert len(find_paths(page)) == 5, "all runs that match the filters are drawn"
    assert "1 of 5 runs match the selection" in page
    assert len(re.findall(r'<rect class="selection"', page)) == 2
    links = Page(page).links
    query = next(link for link in links if "q=" in link and "brush=" not in link and "format" not in link)
    assert find_row_ids(client.get(query).text) == ["run-2"]
    without = next(
        link for link in links if link.count("brush=") == 1 and "part=parallel" in link and "order" not in link
    )
    assert find_row_ids(client.get(without).text) == ["bare", "run-2", "run-0"]
    assert "expected" in get_page(client, "parallel", 400, brush="params.lr")


def test_hostile_names_are_displayed_as_text_on_every_axis(client: FlaskClient, log_run: LogRun) -> None:
    for number in range(3):
        log_run(name=HOSTILE, params={HOSTILE: f"{HOSTILE}{number}", "lr": number}, metrics={HOSTILE: number})
    for part in ("scatter", "parallel"):
        for query in ({}, {"across": f'params."{HOSTILE}"'}, {"color": f'params."{HOSTILE}"', "axes": ["params.lr"]}):
            assert "<script>alert" not in get_page(client, part, **query)


def test_parts_can_be_drawn_for_runs_of_any_kind(client: FlaskClient, log_run: LogRun) -> None:
    log_run()
    log_run(params={"a": None, "b": [1, {"c": 2}], "huge": 10**300}, metrics={"loss": "NaN"})
    log_run(params={"a": "x" * 5000, "huge": -1}, metrics={"loss": "Infinity", "acc": 1e308})
    log_run(params={"a": 5, "huge": 1e-300}, metrics={"loss": -1e308, "acc": -1e308})
    for part in ("curves", "scatter", "parallel", "table"):
        for query in ({}, {"metric": "loss"}, {"metric": "acc", "across": "params.huge", "color": "params.a"}):
            get_page(client, part, **query)


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
def test_default_scale_is_logarithmic_for_positive_values_over_two_decades(
    values: list[float | None], is_log: bool
) -> None:
    assert should_use_log(values) is is_log


def test_tones_are_ten_from_the_lowest_to_the_highest_value() -> None:
    scale = Scale(0, 1)
    assert [tone_of(scale, value) for value in (-1, 0, 0.05, 0.1, 0.55, 0.999, 1, 2)] == [0, 0, 0, 1, 5, 9, 9, 9]
