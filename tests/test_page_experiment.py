"""The page of an experiment without JavaScript: its runs as curves, one by one or in groups, by the URL."""

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
    """The ids of six runs of two optimizers and one of a third, newest last."""
    ids = []
    for number, optimizer in enumerate(["adam", "sgd"] * 3 + ["lion"]):
        points = [{"loss": 10 - number - step / 10, "acc": step / 10, "step": step} for step in range(5)]
        params = {"optimizer": optimizer, "lr": 10.0**-number}
        ids.append(log_run(params=params, metrics=points, name=f"{optimizer} {number}", id=f"run-{number}"))
    return ids


def get_page(client: FlaskClient, status: int = 200, /, **query: Any) -> str:
    answer = client.get(f"/experiments/iris?{urlencode(query, doseq=True)}", headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    return answer.text


def find_lines(page: str, metric: str = "loss") -> dict[str, str]:
    """Return the lines in the chart of a metric: their start tags by key."""
    chart = re.search(rf'<svg class="chart"[^>]* aria-label="{re.escape(metric)}".*?</svg>', page, re.DOTALL)
    assert chart is not None, page
    keys = list(read_legend(page))
    return {keys[int(at)]: tag for tag, at in re.findall(r'(<g class="series [^>]*data-key="([^"]*)"[^>]*>)', chart[0])}


def read_legend(page: str) -> dict[str, tuple[str, str]]:
    """Return the legend: by key, whether a line is shown ("true" or "false"), and its text."""
    matches = re.findall(r'<button name="hide" value="([^"]*)"[^>]*aria-pressed="(\w+)".*?</i>(.*?)</button>', page)
    return {key: (is_pressed, re.sub(r"<[^>]*>", "", words)) for key, is_pressed, words in matches}


def test_newest_runs_are_a_line_each_in_the_colour_of_table_and_legend(client: FlaskClient, sweep: list[str]) -> None:
    page = get_page(client)
    assert list(find_lines(page)) == list(read_legend(page)) == sweep[::-1]
    assert set(find_lines(page, "acc")) == set(sweep)
    colors = {key: re.search(r"s\d+", tag) for key, tag in find_lines(page).items()}
    for run_id, color in colors.items():
        row = page[page.index(f'<tr id="run-{run_id}"') :].partition("</tr>")[0]
        assert color is not None
        assert f'<i class="{color[0]} dash0">' in row
    assert "The newest 7 of 7 runs." in page
    page = get_page(client, drawn=2)
    assert list(find_lines(page)) == sweep[:4:-1]
    assert "The newest 2 of 7 runs." in page
    assert find_lines(page)["run-6"] == find_lines(get_page(client))["run-6"], (
        "the colour does not depend on the other lines"
    )


def test_lines_are_those_of_the_runs_in_the_table_in_its_order(client: FlaskClient, sweep: list[str]) -> None:
    page = get_page(client, q="params.optimizer = sgd", order_by="metrics.loss", drawn=2)
    assert list(find_lines(page)) == ["run-5", "run-3"]
    assert "The first 2 of 3 runs." in page
    assert list(find_lines(get_page(client, limit=1, offset=3))) == sweep[::-1]


def test_group_is_the_mean_of_its_runs_with_a_band_and_their_number(client: FlaskClient, sweep: list[str]) -> None:
    page = get_page(client, by="params.optimizer")
    assert read_legend(page) == {
        "adam": ("true", "adam 3 runs"),
        "lion": ("true", "lion 1 run"),
        "sgd": ("true", "sgd 3 runs"),
    }
    lines = find_lines(page)
    assert 'data-values="8 7.9 7.8 7.7 7.6"' in lines["adam"], "the mean of 10, 8 and 6"
    assert 'data-counts="3 3 3 3 3"' in lines["adam"]
    chart = page[page.index('aria-label="loss"') :].partition("</svg>")[0]
    keys_with_band = [
        key for key, body in re.findall(r'data-key="(\w+)"[^>]*>(.*?)</g>', chart) if 'class="band"' in body
    ]
    assert [list(read_legend(page))[int(place)] for place in keys_with_band] == ["adam", "sgd"], (
        "one seed alone has no band"
    )
    assert "shaded from the minimum to the maximum. 7 runs in 3 groups." in re.sub(r"\s+", " ", page)
    deviation_page = get_page(client, by="params.optimizer", band="deviation")
    assert "one standard deviation up and down" in deviation_page
    assert "of 7 runs" not in page
    assert "2 of 7 runs in 2 groups" in get_page(client, by="params.optimizer", drawn=2)


def test_runs_can_be_grouped_by_params_tags_and_fields_with_few_values(client: FlaskClient, log_run: LogRun) -> None:
    for number in range(3):
        params = {"layers": 10 - number, "same": 1, "list": [1, number]}
        log_run(params=params, tags={"stage": "ab"[number % 2]}, metrics=[{"loss": 1}, {"loss": 2, "step": 1}])
    log_run(metrics=[{"loss": 1}, {"loss": 2, "step": 1}])
    page = get_page(client)
    choices = dict(re.findall(r'<option value="([^"]*)">(param [^<]*|tag [^<]*|name|status)</option>', page))
    assert choices == {"params.layers": "param layers", "params.list": "param list", "tags.stage": "tag stage"}
    assert list(read_legend(get_page(client, by="params.layers"))) == ["8", "9", "10", "none"]
    assert "param same" in get_page(client, by="params.same"), "the current choice is always offered"
    assert list(read_legend(get_page(client, by="tags.stage"))) == ["a", "b", "none"]


def test_lines_hidden_by_the_url_are_not_drawn(client: FlaskClient, sweep: list[str]) -> None:
    page = get_page(client, hide="run-3")
    assert "run-3" not in find_lines(page)
    assert read_legend(page)["run-3"] == ("false", "sgd 3")
    low, high = map(float, re.findall(r'data-y="(\S+) (\S+)"', page)[1])
    partly_hidden_page = get_page(client, hide=["run-0", "run-1"])
    assert max(float(each) for each in re.findall(r'data-y="\S+ (\S+)"', partly_hidden_page)) < high, (
        "axes fit the remaining lines"
    )
    # without JavaScript, the button of a hidden line repeats its key
    assert "run-3" in find_lines(get_page(client, hide=["run-3", "run-3"]))
    assert '<input type="hidden" name="hide" value="run-3">' in page
    page = get_page(client, by="params.optimizer", hide="sgd")
    assert set(find_lines(page)) == {"adam", "lion"}
    assert low < high


def test_links_keep_all_settings_of_the_url(client: FlaskClient, sweep: list[str]) -> None:
    query = {"by": "params.optimizer", "hide": "sgd", "filter": "loss", "smoothing": "0.5", "order_by": "name"}
    page = Page(get_page(client, **query))
    orders = [link for link in page.links if "order_by=metrics.loss" in link]
    assert orders
    for name, text in query.items():
        if name != "order_by":
            assert urlencode({name: text}) in orders[0]


def test_filter_is_text_or_an_expression(client: FlaskClient, sweep: list[str]) -> None:
    page = get_page(client, filter="LOS")
    assert 'aria-label="loss"' in page
    assert 'aria-label="acc"' not in page
    page = get_page(client, filter="/^acc$/")
    assert 'aria-label="loss"' not in page
    assert "large" in page, "a single chart is large"
    assert "No metric&#39;s name matches" in get_page(
        client, filter="nothing"
    ) or "No metric's name matches" in get_page(client, filter="nothing")
    assert "a ) is missing" in get_page(client, 400, filter="/(/")


def test_range_of_steps_applies_to_all_charts(client: FlaskClient, sweep: list[str]) -> None:
    page = get_page(client, 200, **{"from": "1", "to": "3"})
    assert re.findall(r'data-x="([^"]*)"', page) == ["1 3", "1 3"]
    assert "Whole range" in page
    assert "Whole range" not in get_page(client)


def test_many_keys_are_in_sections_and_system_metrics_are_closed(client: FlaskClient, log_run: LogRun) -> None:
    keys = [f"{part}/{number}" for part in ("grad", "system", "weights") for number in range(5)] + [
        "train/loss",
        "val/loss",
    ]
    log_run(metrics=[{"metrics": dict.fromkeys(keys, 0.5), "step": step} for step in range(3)])
    page = get_page(client)
    sections = re.findall(r'data-section="([^"]*)"( open)?>', page)
    assert sections == [("", " open"), ("grad", " open"), ("weights", " open"), ("system", "")]
    assert 'aria-label="grad/0"' in page
    assert 'aria-label="system/0"' not in page
    link = next(link for link in Page(page).links if "open=system" in link)
    assert 'aria-label="system/0"' in client.get(link).text


def test_page_of_sixty_runs_with_five_metrics_stays_small(client: FlaskClient, log_run: LogRun) -> None:
    for number in range(60):
        points = [
            {"metrics": {f"metric {key}": ((step * 37 + number) % 101) / 7 for key in range(5)}, "step": step}
            for step in range(200)
        ]
        log_run(params={"lr": number, "optimizer": "ab"[number % 2]}, metrics=points, name=f"run number {number}")
    for query in ({"drawn": 60}, {}, {"by": "params.optimizer"}, {"by": "params.lr"}):
        page = get_page(client, **query)
        assert len(page) < 200_000, query
        assert len(re.findall(r'<svg class="chart"', page)) >= 4
    assert len(find_lines(get_page(client, drawn=60), "metric 0")) == 60


def test_runs_of_the_same_name_are_distinguished_by_the_ends_of_their_ids(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(name="base", metrics=[{"loss": 1}, {"loss": 2, "step": 1}]) for _ in range(2)]
    labels = [words for _, words in read_legend(get_page(client)).values()]
    assert sorted(labels) == sorted(f"…{run_id[-4:]} base" for run_id in ids)


def test_hostile_names_are_displayed_as_text(client: FlaskClient, log_run: LogRun) -> None:
    hostile = '"><script>alert(1)</script>'
    for number in range(2):
        log_run(name=hostile, params={hostile: f"{hostile}{number}"}, metrics=[{hostile: 1}, {hostile: 2, "step": 1}])
    for query in ({}, {"by": f"params.{hostile}"}, {"filter": hostile, "hide": hostile}, {"drawn": 100}):
        assert "<script>alert" not in get_page(client, **query)


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
def test_invalid_parameter_is_400_with_the_reason(
    client: FlaskClient, sweep: list[str], query: dict[str, Any], reason: str
) -> None:
    assert reason in get_page(client, 400, **query)


# -- the filter


def find_columns(page: str) -> list[str]:
    """Return the metrics and params that are columns of the table."""
    return re.findall(r'<th [^>]*title="(?:metric|param) ([^"]*)" data-part', page)


def test_filter_selects_the_columns_of_metrics_and_params(client: FlaskClient, log_run: LogRun) -> None:
    metrics = {f"{part}/{number}": number for part in ("grad", "weight") for number in range(16)} | {"loss": 1}
    for number in range(2):
        log_run(metrics={key: value + number for key, value in metrics.items()}, params={"lr": number, "grad.clip": 1})
    assert len(find_columns(get_page(client))) == 8, "the six most important metrics, and the params"
    page = get_page(client, filter="GRAD")
    assert len(find_columns(page)) == 13
    assert find_columns(page)[-1] == "grad.clip"
    assert all("grad" in key for key in find_columns(page))
    assert "Columns filtered by “GRAD”: 17 of 35 metrics and params, 13 of them shown." in page
    assert find_columns(get_page(client, filter="/^(loss|lr)$/")) == ["loss", "lr"]
    assert "Started</a>" in get_page(client, filter="nothing")
    assert "No metric or param of these runs matches “nothing”." in get_page(client, filter="nothing")
    assert 'id="filtered-columns" class="rest quiet" data-live></p>' in get_page(client)


def test_filter_hides_chosen_columns_and_says_so(client: FlaskClient, sweep: list[str]) -> None:
    query = {"columns": "status,metrics.loss,metrics.acc,params.lr", "spark": "acc", "filter": "loss"}
    page = get_page(client, **query)
    assert find_columns(page) == ["loss"]
    assert 'class="sparkline"' not in page
    assert "2 of your columns are hidden." in page
    link = next(
        link
        for link in Page(page).links
        if link.endswith("columns=status,metrics.loss,metrics.acc,params.lr&spark=acc")
    )
    assert find_columns(client.get(link).text) == ["acc", "loss", "acc", "lr"], "all of them without the filter"
    assert re.search(r'value="params.lr" checked', page), "the chooser still has them"
    assert find_columns(get_page(client, columns="metrics.acc", filter="l")) == ["loss", "lr"], (
        "no chosen column matches"
    )
    page = get_page(client, columns="metrics.acc,params.lr", filter="l")
    assert find_columns(page) == ["lr"]
    assert "2 of 4 metrics and params, 1 of them shown. 1 of your columns is hidden." in page
    link = next(link for link in Page(page).links if link.endswith("/experiments/iris?filter=l"))
    assert find_columns(client.get(link).text) == ["loss", "lr"]


@pytest.mark.parametrize("part", ["curves", "scatter", "parallel", "table"])
def test_filter_is_on_every_part_and_kept_by_links_and_forms(client: FlaskClient, sweep: list[str], part: str) -> None:
    page = get_page(client, part=part, filter="loss")
    assert page.count('data-key="f"') == 1
    assert find_columns(page) == ["loss"]
    tabs = re.search(r'<nav id="parts".*?</nav>', page, re.DOTALL)
    assert tabs is not None
    assert all("filter=loss" in link for link in Page(tabs[0]).links)
    forms = re.findall(r'<form[^>]* action="/experiments/iris".*?</form>', page, re.DOTALL)
    forms = [form for form in forms if 'method="post"' not in form]
    assert len(forms) >= 4
    for form in forms:
        assert 'name="filter" value="loss"' in form


def test_filter_applies_to_the_axes_too(client: FlaskClient, sweep: list[str]) -> None:
    def find_axes(**query: Any) -> list[str]:
        return re.findall(r'data-field="([^"]*)"', get_page(client, part="parallel", **query))

    assert find_axes() == ["params.lr", "params.optimizer", "metrics.acc"]
    assert find_axes(filter="opt") == ["params.optimizer", "metrics.acc"]
    assert find_axes(filter="lr", axes=["params.lr", "metrics.loss"]) == ["params.lr", "metrics.acc"]
    assert find_axes(filter="nothing") == find_axes()
    assert "Axes that match “opt”" in get_page(client, part="parallel", filter="opt")
    assert "No axis matches “nothing”" in get_page(client, part="parallel", filter="nothing")


def test_single_chart_leaves_the_table_unchanged(client: FlaskClient, sweep: list[str]) -> None:
    page = get_page(client)
    link = next(link for link in Page(page).links if link.endswith("chart=loss"))
    single_chart_page = client.get(link).text
    assert re.findall(r'<svg class="chart"[^>]* aria-label="([^"]*)"', single_chart_page) == ["loss"]
    assert 'class="charts large"' in single_chart_page
    assert find_columns(single_chart_page) == find_columns(page)
    assert "All 2 charts" in single_chart_page
    assert "No metric of these runs is called “gone”" in get_page(client, chart="gone")


def test_system_metrics_are_drawn_if_they_are_the_only_ones_or_match_a_filter(
    client: FlaskClient, log_run: LogRun
) -> None:
    log_run(metrics=[{"system/cpu": step, "step": step} for step in range(3)])
    assert 'aria-label="system/cpu"' in get_page(client)
    log_run(metrics=[{"cost": step, "loss": step, "step": step} for step in range(3)])
    assert 'aria-label="system/cpu"' not in get_page(client)
    assert 'aria-label="system/cpu"' in get_page(client, filter="c")
