"""The page of an experiment: its runs as curves, each by itself or in groups, as its URL says and without a script."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from support.html_tables import Page

LogRun = Callable[..., str]


@pytest.fixture
def sweep(log_run: LogRun) -> list[str]:
    """Six runs of two optimizers and one of a third, newest last."""
    ids = []
    for number, optimizer in enumerate(["adam", "sgd"] * 3 + ["lion"]):
        points = [{"loss": 10 - number - step / 10, "acc": step / 10, "step": step} for step in range(5)]
        params = {"optimizer": optimizer, "lr": 10.0**-number}
        ids.append(log_run(params=params, metrics=points, name=f"{optimizer} {number}", id=f"run-{number}"))
    return ids


def page_of(client: FlaskClient, status: int = 200, /, **query: Any) -> str:
    answer = client.get(f"/experiments/iris?{urlencode(query, doseq=True)}", headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    return answer.text


def lines_of(page: str, metric: str = "loss") -> dict[str, str]:
    """The lines of a metric's chart: the element of each by its key."""
    chart = re.search(rf'<svg class="chart"[^>]* aria-label="{re.escape(metric)}".*?</svg>', page, re.DOTALL)
    assert chart is not None, page
    keys = list(legend_of(page))
    return {keys[int(at)]: tag for tag, at in re.findall(r'(<g class="series [^>]*data-key="([^"]*)"[^>]*>)', chart[0])}


def legend_of(page: str) -> dict[str, tuple[str, str]]:
    """Return the legend: by key, whether a line is shown, and its text."""
    found = re.findall(r'<button name="hide" value="([^"]*)"[^>]*aria-pressed="(\w+)".*?</i>(.*?)</button>', page)
    return {key: (pressed, re.sub(r"<[^>]*>", "", words)) for key, pressed, words in found}


def test_newest_runs_are_a_line_each_in_the_colour_that_the_table_and_the_legend_show(
    client: FlaskClient, sweep: list[str]
) -> None:
    page = page_of(client)
    assert list(lines_of(page)) == list(legend_of(page)) == sweep[::-1]
    assert set(lines_of(page, "acc")) == set(sweep)
    colors = {key: re.search(r"s\d+", tag) for key, tag in lines_of(page).items()}
    for run_id, color in colors.items():
        row = page[page.index(f'<tr id="run-{run_id}"') :].partition("</tr>")[0]
        assert color is not None
        assert f'<i class="{color[0]} dash0">' in row
    assert "The newest 7 of 7 runs." in page
    page = page_of(client, drawn=2)
    assert list(lines_of(page)) == sweep[:4:-1]
    assert "The newest 2 of 7 runs." in page
    assert lines_of(page)["run-6"] == lines_of(page_of(client))["run-6"], "the colour stays, whatever else is drawn"


def test_lines_are_of_the_runs_that_the_table_is_of_in_its_order(client: FlaskClient, sweep: list[str]) -> None:
    page = page_of(client, q="params.optimizer = sgd", order_by="metrics.loss", drawn=2)
    assert list(lines_of(page)) == ["run-5", "run-3"]
    assert "The first 2 of 3 runs." in page
    assert list(lines_of(page_of(client, limit=1, offset=3))) == sweep[::-1]


def test_groups_are_the_mean_of_their_runs_with_a_band_and_their_number(client: FlaskClient, sweep: list[str]) -> None:
    page = page_of(client, by="params.optimizer")
    assert legend_of(page) == {
        "adam": ("true", "adam 3 runs"),
        "lion": ("true", "lion 1 run"),
        "sgd": ("true", "sgd 3 runs"),
    }
    lines = lines_of(page)
    assert 'data-values="8 7.9 7.8 7.7 7.6"' in lines["adam"], "the mean of 10, 8 and 6"
    assert 'data-counts="3 3 3 3 3"' in lines["adam"]
    chart = page[page.index('aria-label="loss"') :].partition("</svg>")[0]
    banded = [key for key, body in re.findall(r'data-key="(\w+)"[^>]*>(.*?)</g>', chart) if 'class="band"' in body]
    assert [list(legend_of(page))[int(place)] for place in banded] == ["adam", "sgd"], "one seed alone has no band"
    assert "shaded from the least to the greatest. 7 runs in 3 groups." in re.sub(r"\s+", " ", page)
    deviating = page_of(client, by="params.optimizer", band="deviation")
    assert "one standard deviation up and down" in deviating
    assert "of 7 runs" not in page
    assert "2 of 7 runs in 2 groups" in page_of(client, by="params.optimizer", drawn=2)


def test_runs_can_be_grouped_by_params_tags_and_fields_with_few_values(client: FlaskClient, log_run: LogRun) -> None:
    for number in range(3):
        params = {"layers": 10 - number, "same": 1, "list": [1, number]}
        log_run(params=params, tags={"stage": "ab"[number % 2]}, metrics=[{"loss": 1}, {"loss": 2, "step": 1}])
    log_run(metrics=[{"loss": 1}, {"loss": 2, "step": 1}])
    page = page_of(client)
    choices = dict(re.findall(r'<option value="([^"]*)">(param [^<]*|tag [^<]*|name|status)</option>', page))
    assert choices == {"params.layers": "param layers", "params.list": "param list", "tags.stage": "tag stage"}
    assert list(legend_of(page_of(client, by="params.layers"))) == ["8", "9", "10", "none"]
    assert "param same" in page_of(client, by="params.same"), "what was asked for is among the choices"
    assert list(legend_of(page_of(client, by="tags.stage"))) == ["a", "b", "none"]


def test_hidden_lines_stand_in_the_url_and_are_not_drawn(client: FlaskClient, sweep: list[str]) -> None:
    page = page_of(client, hide="run-3")
    assert "run-3" not in lines_of(page)
    assert legend_of(page)["run-3"] == ("false", "sgd 3")
    low, high = map(float, re.findall(r'data-y="(\S+) (\S+)"', page)[1])
    hidden = page_of(client, hide=["run-0", "run-1"])
    assert max(float(each) for each in re.findall(r'data-y="\S+ (\S+)"', hidden)) < high, "axes are for what is left"
    # the button of a hidden line, pressed without a script, says it once more
    assert "run-3" in lines_of(page_of(client, hide=["run-3", "run-3"]))
    assert '<input type="hidden" name="hide" value="run-3">' in page
    page = page_of(client, by="params.optimizer", hide="sgd")
    assert set(lines_of(page)) == {"adam", "lion"}
    assert low < high


def test_url_keeps_everything_in_links_and_forms(client: FlaskClient, sweep: list[str]) -> None:
    asked = {"by": "params.optimizer", "hide": "sgd", "filter": "loss", "smoothing": "0.5", "order_by": "name"}
    page = Page(page_of(client, **asked))
    orders = [link for link in page.links if "order_by=metrics.loss" in link]
    assert orders
    for name, text in asked.items():
        if name != "order_by":
            assert urlencode({name: text}) in orders[0]


def test_filter_is_text_or_an_expression(client: FlaskClient, sweep: list[str]) -> None:
    page = page_of(client, filter="LOS")
    assert 'aria-label="loss"' in page
    assert 'aria-label="acc"' not in page
    page = page_of(client, filter="/^acc$/")
    assert 'aria-label="loss"' not in page
    assert "large" in page, "a chart alone is large"
    assert "No metric&#39;s name matches" in page_of(client, filter="nothing") or "No metric's name matches" in page_of(
        client, filter="nothing"
    )
    assert "a ) is missing" in page_of(client, 400, filter="/(/")


def test_range_of_steps_is_that_of_all_charts(client: FlaskClient, sweep: list[str]) -> None:
    page = page_of(client, 200, **{"from": "1", "to": "3"})
    assert re.findall(r'data-x="([^"]*)"', page) == ["1 3", "1 3"]
    assert "Whole range" in page
    assert "Whole range" not in page_of(client)


def test_many_keys_are_in_sections_of_which_the_machine_is_closed(client: FlaskClient, log_run: LogRun) -> None:
    keys = [f"{part}/{number}" for part in ("grad", "system", "weights") for number in range(5)] + [
        "train/loss",
        "val/loss",
    ]
    log_run(metrics=[{"metrics": dict.fromkeys(keys, 0.5), "step": step} for step in range(3)])
    page = page_of(client)
    sections = re.findall(r'data-section="([^"]*)"( open)?>', page)
    assert sections == [("", " open"), ("grad", " open"), ("weights", " open"), ("system", "")]
    assert 'aria-label="grad/0"' in page
    assert 'aria-label="system/0"' not in page
    link = next(link for link in Page(page).links if "open=system" in link)
    assert 'aria-label="system/0"' in client.get(link).text


def test_sixty_runs_of_five_metrics_stay_within_the_weight_of_a_page(client: FlaskClient, log_run: LogRun) -> None:
    for number in range(60):
        points = [
            {"metrics": {f"metric {key}": ((step * 37 + number) % 101) / 7 for key in range(5)}, "step": step}
            for step in range(200)
        ]
        log_run(params={"lr": number, "optimizer": "ab"[number % 2]}, metrics=points, name=f"run number {number}")
    for query in ({"drawn": 60}, {}, {"by": "params.optimizer"}, {"by": "params.lr"}):
        page = page_of(client, **query)
        assert len(page) < 200_000, query
        assert len(re.findall(r'<svg class="chart"', page)) >= 4
    assert len(lines_of(page_of(client, drawn=60), "metric 0")) == 60


def test_runs_of_the_same_name_are_told_apart_by_the_ends_of_their_ids(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(name="base", metrics=[{"loss": 1}, {"loss": 2, "step": 1}]) for _ in range(2)]
    labels = [words for _, words in legend_of(page_of(client)).values()]
    assert sorted(labels) == sorted(f"…{run_id[-4:]} base" for run_id in ids)


def test_hostile_names_are_text(client: FlaskClient, log_run: LogRun) -> None:
    hostile = '"><script>alert(1)</script>'
    for number in range(2):
        log_run(name=hostile, params={hostile: f"{hostile}{number}"}, metrics=[{hostile: 1}, {hostile: 2, "step": 1}])
    for query in ({}, {"by": f"params.{hostile}"}, {"filter": hostile, "hide": hostile}, {"drawn": 100}):
        assert "<script>alert" not in page_of(client, **query)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"part": "pie"}, "part must be one of curves"),
        ({"band": "wide"}, "band must be one of range, deviation"),
        ({"drawn": 101}, "1 to 100"),
        ({"by": "nothing"}, "by: "),
        ({"smoothing": 2}, "smoothing must be a number"),
        ({"hidden": 1}, "unknown query parameter"),
    ],
)
def test_what_the_page_cannot_show_is_named(
    client: FlaskClient, sweep: list[str], query: dict[str, Any], reason: str
) -> None:
    assert reason in page_of(client, 400, **query)


# -- the one box for names


def columns_of(page: str) -> list[str]:
    """The metrics and params that are columns of the table."""
    return re.findall(r'<th [^>]*title="(?:metric|param) ([^"]*)" data-part', page)


def test_filter_chooses_the_columns_of_metrics_and_params(client: FlaskClient, log_run: LogRun) -> None:
    metrics = {f"{part}/{number}": number for part in ("grad", "weight") for number in range(16)} | {"loss": 1}
    for number in range(2):
        log_run(metrics={key: value + number for key, value in metrics.items()}, params={"lr": number, "grad.clip": 1})
    assert len(columns_of(page_of(client))) == 8, "the six that tell most, and the params"
    page = page_of(client, filter="GRAD")
    assert len(columns_of(page)) == 13
    assert columns_of(page)[-1] == "grad.clip"
    assert all("grad" in key for key in columns_of(page))
    assert "Columns filtered by “GRAD”: 17 of 35 metrics and params, 13 of them shown." in page
    assert columns_of(page_of(client, filter="/^(loss|lr)$/")) == ["loss", "lr"]
    assert "Started</a>" in page_of(client, filter="nothing")
    assert "No metric or param of these runs matches “nothing”." in page_of(client, filter="nothing")
    assert 'id="filtered-columns" class="rest quiet" data-live></p>' in page_of(client)


def test_filter_hides_columns_that_were_chosen_and_says_so(client: FlaskClient, sweep: list[str]) -> None:
    asked = {"columns": "status,metrics.loss,metrics.acc,params.lr", "spark": "acc", "filter": "loss"}
    page = page_of(client, **asked)
    assert columns_of(page) == ["loss"]
    assert 'class="sparkline"' not in page
    assert "2 of your columns are hidden." in page
    link = next(
        link
        for link in Page(page).links
        if link.endswith("columns=status,metrics.loss,metrics.acc,params.lr&spark=acc")
    )
    assert columns_of(client.get(link).text) == ["acc", "loss", "acc", "lr"], "without the filter they are back"
    assert re.search(r'value="params.lr" checked', page), "the chooser has them still"
    assert columns_of(page_of(client, columns="metrics.acc", filter="l")) == ["loss", "lr"], (
        "none of the chosen matches"
    )
    page = page_of(client, columns="metrics.acc,params.lr", filter="l")
    assert columns_of(page) == ["lr"]
    assert "2 of 4 metrics and params, 1 of them shown. 1 of your columns is hidden." in page
    link = next(link for link in Page(page).links if link.endswith("/experiments/iris?filter=l"))
    assert columns_of(client.get(link).text) == ["loss", "lr"]


@pytest.mark.parametrize("part", ["curves", "scatter", "parallel", "table"])
def test_box_is_on_every_part_and_kept_by_links_and_forms(client: FlaskClient, sweep: list[str], part: str) -> None:
    page = page_of(client, part=part, filter="loss")
    assert page.count('data-key="f"') == 1
    assert columns_of(page) == ["loss"]
    tabs = re.search(r'<nav id="parts".*?</nav>', page, re.DOTALL)
    assert tabs is not None
    assert all("filter=loss" in link for link in Page(tabs[0]).links)
    forms = re.findall(r'<form[^>]* action="/experiments/iris".*?</form>', page, re.DOTALL)
    forms = [form for form in forms if 'method="post"' not in form]
    assert len(forms) >= 4
    for form in forms:
        assert 'name="filter" value="loss"' in form


def test_filter_is_of_the_axes_too(client: FlaskClient, sweep: list[str]) -> None:
    def axes(**query: Any) -> list[str]:
        return re.findall(r'data-field="([^"]*)"', page_of(client, part="parallel", **query))

    assert axes() == ["params.lr", "params.optimizer", "metrics.acc"]
    assert axes(filter="opt") == ["params.optimizer", "metrics.acc"]
    assert axes(filter="lr", axes=["params.lr", "metrics.loss"]) == ["params.lr", "metrics.acc"]
    assert axes(filter="nothing") == axes()
    assert "Axes that match “opt”" in page_of(client, part="parallel", filter="opt")
    assert "No axis matches “nothing”" in page_of(client, part="parallel", filter="nothing")


def test_one_chart_alone_leaves_the_table_as_it_is(client: FlaskClient, sweep: list[str]) -> None:
    page = page_of(client)
    link = next(link for link in Page(page).links if link.endswith("chart=loss"))
    alone = client.get(link).text
    assert re.findall(r'<svg class="chart"[^>]* aria-label="([^"]*)"', alone) == ["loss"]
    assert 'class="charts large"' in alone
    assert columns_of(alone) == columns_of(page)
    assert "All 2 charts" in alone
    assert "No metric of these runs is called “gone”" in page_of(client, chart="gone")


def test_machine_is_drawn_where_it_is_all_there_is_and_where_a_filter_asks_for_it(
    client: FlaskClient, log_run: LogRun
) -> None:
    log_run(metrics=[{"system/cpu": step, "step": step} for step in range(3)])
    assert 'aria-label="system/cpu"' in page_of(client)
    log_run(metrics=[{"cost": step, "loss": step, "step": step} for step in range(3)])
    assert 'aria-label="system/cpu"' not in page_of(client)
    assert 'aria-label="system/cpu"' in page_of(client, filter="c")
