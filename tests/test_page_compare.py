"""GET /compare and GET /diff/:name/:one/:other: runs side by side, as a browser receives them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.html_tables import Page

LogRun = Callable[..., str]
HOSTILE = "<script>alert(1)</script>\"'&"


class ComparePage:
    """A page of a comparison, requested and parsed. `rows`: the text of the cells by the name of a param or metric."""

    def __init__(self, client: FlaskClient, url: str, status: int = 200, /, **query: Any) -> None:
        answer = client.get(url, query_string=query or None)
        assert (answer.status_code, answer.mimetype) == (status, "text/html"), answer.text
        self.text = answer.text
        page = Page(re.sub(r'<button class="plain way".*?</button>', "", answer.text))
        self.links = page.links
        self.rows = {row[0]: row[1:] for row in page.rows if row}

    def link(self, text: str) -> str:
        """Return the target of the first link with this text, or this name for screen readers."""
        for attributes, content in re.findall(r"<a ([^>]*)>(.*?)</a>", self.text, re.DOTALL):
            if text in (html.unescape(content), *re.findall(r'aria-label="([^"]*)"', html.unescape(attributes))):
                (href,) = re.findall(r'href="([^"]*)"', attributes)
                return html.unescape(href)
        raise AssertionError(f"no link {text!r}")

    def fields(self, action: str, field: str) -> dict[str, str]:
        """Return the hidden fields of the form that also has a field or button named `field`."""
        for form in re.findall(rf'<form[^>]*action="{re.escape(action)}"[^>]*>.*?</form>', self.text, re.DOTALL):
            if f'name="{field}"' in form:
                hidden_fields = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form)
                return {name: html.unescape(value) for name, value in hidden_fields}
        raise AssertionError(f"no form with {field!r}")


@pytest.fixture
def three_runs(client: FlaskClient, log_run: LogRun) -> list[str]:
    """The ids of three runs with a param and a metric that are the same, and others that differ."""
    return [
        log_run(
            id=f"run-{number}",
            name=["one", "two", None][number],
            params={"lr": lr, "epochs": 10, "text": "x" * 1000, **({"solver": "adam"} if number else {})},
            metrics=[
                {"loss": loss + 1, "acc": 0.1, "fixed": 1, "step": 0},
                {"loss": loss, "acc": acc, "fixed": 1, "step": 1},
            ],
        )
        for number, (lr, loss, acc) in enumerate([(0.1, 0.5, 0.8), (0.2, 0.25, 0.6), (0.1, 1.0, 0.9)])
    ]


def test_differences_are_shown_with_the_best_value_and_the_difference_to_the_first(
    client: FlaskClient, three_runs: list[str]
) -> None:
    page = ComparePage(client, "/compare?ids=run-0,run-1,run-2")
    assert page.rows["loss"] == ["0.5", "★ best 0.25 -0.25 (-50.0 %) better", "1 +0.5 (+100.0 %) worse"]
    assert page.rows["acc"] == ["0.8", "0.6 -0.2 (-25.0 %) worse", "★ best 0.9 +0.1 (+12.5 %) better"]
    assert page.rows["lr"] == ["0.1", "0.2", "0.1"]
    assert page.rows["solver"] == ["–", "adam", "adam"]
    assert not {"epochs", "text", "fixed"} & page.rows.keys()
    assert "3 metrics and params are the same" in page.text
    all_rows = ComparePage(client, page.link("Show all"))
    assert all_rows.rows["epochs"] == ["10", "10", "10"]
    assert all_rows.rows["fixed"] == ["1", "1 ±0", "1 ±0"]
    assert len(all_rows.rows["text"][0]) < 300
    assert "all=" not in all_rows.link("Show only differences")
    assert page.link("JSON") == "/api/compare?ids=run-0,run-1,run-2"
    for form in ("Markdown", "text", "CSV"):
        assert client.get(page.link(form)).status_code == 200


def test_values_that_differ_from_the_baseline_are_marked(client: FlaskClient, three_runs: list[str]) -> None:
    page = ComparePage(client, "/compare?ids=run-0,run-1,run-2&baseline=run-1")
    lr = page.text[page.text.index("<span>lr</span>") :].partition("</tr>")[0]
    assert re.findall(r"<td([^>]*)>", lr) == [' class="other"', "", ' class="other"']


def test_ids_may_be_repeated_or_separated_by_commas(client: FlaskClient, three_runs: list[str]) -> None:
    one = ComparePage(client, "/compare?ids=run-0&ids=run-1")
    other = ComparePage(client, "/compare?ids=run-0,run-1,run-0,")
    assert one.rows == other.rows
    assert "Compare 2 runs" in one.text


def test_any_run_can_be_the_baseline_or_be_removed(client: FlaskClient, three_runs: list[str]) -> None:
    page = ComparePage(client, "/compare?ids=run-0,run-1,run-2&all=true")
    page = ComparePage(client, page.link("Use two as baseline"))
    assert page.rows["loss"] == ["0.5 +0.25 (+100.0 %) worse", "★ best 0.25", "1 +0.75 (+300.0 %) worse"]
    assert "epochs" in page.rows, "all=true is kept"
    page = ComparePage(client, page.link("Remove two from the comparison"))
    assert page.rows["loss"] == ["★ best 0.5", "1 +0.5 (+100.0 %) worse"]
    assert "Remove one" not in page.text, "two runs are the minimum"


def test_direction_of_a_metric_can_be_reversed_and_restored(client: FlaskClient, three_runs: list[str]) -> None:
    page = ComparePage(client, "/compare?ids=run-0,run-1,run-2")
    assert 'aria-label="loss: lower is better, reverse"' in page.text
    assert 'value="most:loss"' in page.text
    reversed_page = ComparePage(client, "/compare", **page.fields("/compare", "best"), best="most:loss")
    assert reversed_page.rows["loss"] == ["0.5", "0.25 -0.25 (-50.0 %) worse", "★ best 1 +0.5 (+100.0 %) better"]
    assert reversed_page.fields("/compare", "best")["best"] == "most:loss"
    back = ComparePage(client, "/compare?ids=run-0,run-1,run-2&best=most:loss&best=least:loss")
    assert back.rows == page.rows
    assert client.get("/compare?ids=run-0,run-1&best=loss").status_code == 400


def test_metric_of_unknown_direction_has_no_best_value_until_one_is_chosen(
    client: FlaskClient, log_run: LogRun
) -> None:
    ids = [log_run(metrics={"grad_norm": value}) for value in (1, 2)]
    page = ComparePage(client, "/compare", ids=",".join(ids))
    assert page.rows["grad_norm"] == ["1", "2 +1 (+100.0 %)"]
    least_page = ComparePage(client, "/compare", ids=",".join(ids), best="least:grad_norm")
    assert least_page.rows["grad_norm"] == ["★ best 1", "2 +1 (+100.0 %) worse"]


def test_curves_have_the_colours_of_the_header_and_metrics_of_one_point_have_no_curve(
    client: FlaskClient, three_runs: list[str], log_run: LogRun
) -> None:
    log_run(id="more", metrics={"once": 1})
    page = ComparePage(client, "/compare?ids=run-0,run-1,more")
    assert re.findall(r'swatch".*?class="line (s\d) dash0"', page.text) == ["s1", "s2", "s3"]
    figures = re.findall(r'<figure id="chart.*?</figure>', page.text, re.DOTALL)
    assert len(figures) == 3, "loss, acc and fixed"
    assert re.findall(r'class="series (s\d)"', figures[0]) == ["s1", "s2"]
    assert re.findall(r'data-line="(\d)"[^>]*><i class="(s\d) dash0">', page.text) == [
        ("0", "s1"),
        ("1", "s2"),
        ("2", "s3"),
    ]
    smooth = ComparePage(client, "/compare?ids=run-0,run-1&smoothing=0.5&x=relative")
    assert smooth.fields("/compare", "best") == {"ids": "run-0,run-1", "x": "relative", "smoothing": "0.5"}


def test_scatter_plot_draws_a_metric_by_a_param_that_differs(client: FlaskClient, three_runs: list[str]) -> None:
    page = ComparePage(client, "/compare?ids=run-0,run-1,run-2")
    assert "acc by lr" in page.text
    fields = page.fields("/compare#scatter", "param")
    assert fields == {"ids": "run-0,run-1,run-2"}
    page = ComparePage(client, "/compare", **fields, metric="loss", param="solver", log_metric="true")
    scatter = page.text[page.text.index('id="scatter"') :]
    assert "loss by solver" in scatter
    assert "adam" in scatter
    assert "1 of 3 runs have no value" in scatter
    assert "/runs/run-1" in scatter


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", 400, "2 to 20 runs, and ids names 0: select some"),
        ("?ids=run-0", 400, "names 1"),
        ("?ids=" + ",".join(f"r{number}" for number in range(21)), 400, "names 21"),
        ("?ids=run-0,nobody", 404, "no run has the id"),
        ("?ids=run-0,run-1&smoothing=2", 400, "smoothing"),
        ("?ids=run-0,run-1&x=no", 400, "x must be one of"),
        ("?ids=run-0,run-1&sort=x", 400, "unknown query parameter"),
    ],
)
def test_invalid_comparison_is_an_error_page_with_the_reason(
    client: FlaskClient, three_runs: list[str], query: str, status: int, message: str
) -> None:
    assert message in ComparePage(client, f"/compare{query}", status).text


def test_empty_runs_and_unknown_baseline_param_and_metric_are_compared(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(), log_run(metrics={"loss": "NaN"}), log_run(params={"none": None})]
    page = ComparePage(client, "/compare", ids=",".join(ids), baseline="other", param="gone", metric="gone")
    assert page.rows["loss"] == ["–", "NaN", "–"]
    assert page.rows["none"] == ["–", "–", "null"]
    assert "Compare 2 runs" in ComparePage(client, "/compare", ids=f"{ids[0]},{log_run()}").text


def test_hostile_names_are_displayed_as_text(client: FlaskClient, log_run: LogRun) -> None:
    ids = [
        log_run(
            experiment=HOSTILE + str(number),
            name=HOSTILE,
            params={HOSTILE: HOSTILE + str(number)},
            metrics=[{HOSTILE: number, "step": step} for step in range(2)],
        )
        for number in range(2)
    ]
    page = ComparePage(client, "/compare", ids=",".join(ids))
    assert "<script>alert" not in page.text
    assert page.rows[HOSTILE] == [HOSTILE + "0", HOSTILE + "1"]
    assert page.rows["Experiment"] == [HOSTILE + "0", HOSTILE + "1"]
    assert f"{HOSTILE} ({ids[0]})" in html.unescape(page.text), (
        "two runs of the same name are distinguished by their ids"
    )
    reversed_page = ComparePage(client, "/compare", **page.fields("/compare", "best"), best=f"least:{HOSTILE}")
    assert reversed_page.fields("/compare", "best")["best"] == f"least:{HOSTILE}"


def test_rows_over_the_limit_of_a_page_are_counted(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(params={f"p{at:03}": at + number for at in range(600)}) for number in range(2)]
    page = ComparePage(client, "/compare", ids=",".join(ids))
    assert page.rows["p224"] == ["224", "225"]
    assert "p225" not in page.rows
    assert page.rows["375 more"] == ["all of them as JSON"]


def test_page_of_many_runs_and_metrics_stays_small(client: FlaskClient, log_run: LogRun) -> None:
    points = [{f"m{number}": step * number for number in range(60)} | {"step": step} for step in range(100)]
    ids = [log_run(metrics=points, name=f"run {number}") for number in range(20)]
    text = client.get(f"/compare?ids={','.join(ids)}").text
    assert text.count("<figure") == 15
    assert "45 more charts" in text
    assert len(text) < 250_000
    assert client.get(f"/compare?ids={','.join(ids[:2])}").text.count("<figure") == 40


def test_legend_hides_a_run_in_every_chart_and_in_the_url(client: FlaskClient, three_runs: list[str]) -> None:
    page = ComparePage(client, "/compare?ids=run-0,run-1,run-2&hide=run-1&from=0&to=1")
    figures = re.findall(r'<figure id="chart.*?</figure>', page.text, re.DOTALL)
    assert figures
    for figure in figures:
        assert 'data-key="1"' not in figure
        assert 'data-x="0 1"' in figure
    assert 'value="run-1" class="plain" aria-pressed="false"' in page.text
    assert "run-1" in page.text.partition("<tbody>")[0], "its column stays"
    assert page.fields("/compare", "best") == {"ids": "run-0,run-1,run-2", "hide": "run-1", "from": "0", "to": "1"}
    assert "Whole range" in page.text
    text = client.get("/compare?ids=run-0,run-1,run-2&hide=run-1&hide=run-1").text
    assert 'data-key="1"' in text


def test_filter_applies_to_rows_and_charts(client: FlaskClient, three_runs: list[str]) -> None:
    page = ComparePage(client, "/compare?ids=run-0,run-1,run-2&filter=/^(loss|lr)$/&all=true")
    assert set(page.rows) <= {
        "Metric or param",
        "Status",
        "Started",
        "Duration",
        "loss",
        "lr",
        "Metrics",
        "Params",
        "Environment",
    }
    assert "loss" in page.rows
    assert page.text.count('<figure id="chart') == 1
    assert client.get("/compare?ids=run-0,run-1&filter=/(/").status_code == 400


def test_filter_reports_what_it_hides_and_is_kept_by_every_link_and_form(
    client: FlaskClient, three_runs: list[str]
) -> None:
    page = ComparePage(client, "/compare?ids=run-0,run-1&filter=ac&all=true")
    assert "Filtered by “ac”: 1 of 3 metrics, 0 of 4 params." in page.text
    assert "loss" in ComparePage(client, page.link("Clear the filter")).rows
    for link in ("Show only differences", "Use two as baseline"):
        assert "filter=ac" in page.link(link)
    for form in re.findall(r'<form[^>]* action="/compare.*?</form>', page.text, re.DOTALL):
        assert 'name="filter" value="ac"' in form, form
    assert (
        "No metric or param matches “nothing”." in ComparePage(client, "/compare?ids=run-0,run-1&filter=nothing").text
    )


# -- sections of the table


class Sections:
    """The sections of a part of the table: their names, the open ones, and the keys of the rows in each."""

    def __init__(self, text: str, part: str) -> None:
        bodies = re.findall(rf'<tbody id="{part}-in-([^"]*)">(.*?)</tbody>', text, re.DOTALL)
        self.names = [name for name, _ in bodies]
        self.open = [name for name, body in bodies if re.search(r"<details [^>]* open>", body)]
        self.rows = {name: re.findall(r'<th scope="row" class="key"><span>([^<]*)<', body) for name, body in bodies}
        self.links = {name: Page(body).links for name, body in bodies}


@pytest.fixture
def forty(log_run: LogRun) -> str:
    """The query string that compares two runs of forty metrics and forty params under prefixes, all of which differ."""
    keys = [f"{part}/{number}" for part in ("grad", "weight", "system") for number in range(12)]
    keys += ["train/loss", "val/loss", "lr", "tokens"]
    params = [f"{part}.{number}" for part in ("model", "optimizer") for number in range(18)] + ["seed", "a", "b", "c"]
    ids = [
        log_run(metrics=dict.fromkeys(keys, number), params=dict.fromkeys(params, number), id=f"run-{number}")
        for number in range(2)
    ]
    return f"ids={','.join(ids)}"


def test_forty_metrics_are_in_sections_and_system_metrics_are_closed(client: FlaskClient, forty: str) -> None:
    page = client.get(f"/compare?{forty}").text
    metrics = Sections(page, "metrics")
    assert metrics.names == ["", "grad", "weight", "system"]
    assert metrics.open == ["", "grad", "weight"]
    assert metrics.rows["grad"] == sorted(f"grad/{number}" for number in range(12))
    assert metrics.rows[""] == ["lr", "tokens", "train/loss", "val/loss"]
    assert metrics.rows["system"] == []
    opened_sections = Sections(client.get(metrics.links["system"][0]).text, "metrics")
    assert opened_sections.open == opened_sections.names
    assert len(opened_sections.rows["system"]) == 12


def test_many_params_are_in_sections_and_few_are_not(client: FlaskClient, forty: str, log_run: LogRun) -> None:
    params = Sections(client.get(f"/compare?{forty}").text, "params")
    assert params.names == params.open == ["params:", "params:model", "params:optimizer"]
    assert set(params.rows["params:model"]) == {f"model.{number}" for number in range(18)}
    few = [log_run(params={f"model.{key}": number for key in range(29)}) for number in range(2)]
    page = client.get(f"/compare?ids={','.join(few)}").text
    assert Sections(page, "params").names == []
    assert "<span>model.28<" in page


def test_filter_opens_the_sections_that_match(client: FlaskClient, forty: str) -> None:
    page = client.get(f"/compare?{forty}&filter=1").text
    metrics = Sections(page, "metrics")
    assert metrics.rows["system"] == ["system/1", "system/10", "system/11"]
    assert "system" in metrics.open
    page = client.get(f"/compare?{forty}&filter=loss").text
    assert Sections(page, "metrics").names == [], "two keys make no sections"
    assert "<span>val/loss<" in page
    assert "<span>system/3<" in client.get(f"/compare?{forty}&filter=system").text, "the only section is open"


def test_sections_of_the_same_name_open_independently(client: FlaskClient, log_run: LogRun) -> None:
    keys = [f"{part}/{number}" for part in ("a", "b", "c") for number in range(25)]
    ids = [log_run(metrics=dict.fromkeys(keys, number), params=dict.fromkeys(keys, number)) for number in range(2)]
    page = client.get(f"/compare?ids={','.join(ids)}&open=params:c").text
    assert Sections(page, "metrics").open == ["a"]
    assert Sections(page, "params").open == ["params:a", "params:c"]


def test_tiny_difference_has_no_percentage(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(metrics={"loss": loss}) for loss in (0.5, 0.5001, 0.6)]
    text = client.get(f"/compare?ids={','.join(ids)}").text
    assert "+0.0001<" in text and "+0.1 (+20.0 %)" in text


def test_page_is_304_until_one_of_its_runs_changes(client: FlaskClient, three_runs: list[str]) -> None:
    etag = client.get("/compare?ids=run-0,run-1").headers["ETag"]
    assert client.get("/compare?ids=run-0,run-1", headers={"If-None-Match": etag}).status_code == 304
    client.post("/api/w/runs/run-0/metrics", json={"loss": 0.1, "step": 2})
    assert client.get("/compare?ids=run-0,run-1", headers={"If-None-Match": etag}).status_code == 200


# -- two versions of a model


def register_versions(client: FlaskClient, log_run: LogRun, name: str = "iris & co") -> list[str]:
    ids = [
        log_run(params={"lr": number}, metrics={"loss": number + 1}, artifacts={"m": b"%d" % number})
        for number in range(2)
    ]
    for run_id in (*ids, ids[0]):
        client.post("/api/w/models", json={"name": name, "run_id": run_id, "artifact": "m", "description": HOSTILE})
    return ids


def test_two_versions_are_compared_by_their_runs(client: FlaskClient, log_run: LogRun) -> None:
    ids = register_versions(client, log_run)
    client.post("/api/w/models/iris%20%26%20co/promote", json={"version": 2, "stage": "production"})
    page = ComparePage(client, "/diff/iris%20%26%20co/production/1")
    assert page.rows["lr"] == ["1", "0"]
    assert page.rows["loss"] == ["2", "★ best 1 -1 (-50.0 %) better"]
    assert page.rows["2"][0] == "production"
    assert "The two artifacts differ." in page.text
    assert {f"/runs/{run_id}" for run_id in ids} <= set(page.links)
    assert page.link("JSON") == "/api/diff/iris%20&%20co/production/1"
    assert client.get(page.link("JSON")).status_code == 200
    assert page.link("Use version 1 as baseline") == f"/diff/iris%20&%20co/production/1?baseline={ids[0]}"
    assert "<script>alert" not in page.text


def test_versions_can_be_filtered(client: FlaskClient, log_run: LogRun) -> None:
    register_versions(client, log_run, "iris")
    page = ComparePage(client, "/diff/iris/1/2?filter=loss")
    assert 'name="filter" value="loss"' in page.text
    assert "loss" in page.rows and "lr" not in page.rows
    assert page.link("Clear the filter") == "/diff/iris/1/2"


def test_versions_of_one_run_are_compared_by_their_bytes_only(client: FlaskClient, log_run: LogRun) -> None:
    register_versions(client, log_run, "iris")
    page = ComparePage(client, "/diff/iris/1/3")
    assert "The two artifacts are identical. Both are artifacts of the same run" in page.text


@pytest.mark.parametrize(
    ("path", "status"), [("nobody/1/2", 404), ("iris/1/9", 404), ("iris/1/staging", 404), ("iris/1/2?ids=a,b", 400)]
)
def test_unknown_version_is_an_error_page(client: FlaskClient, log_run: LogRun, path: str, status: int) -> None:
    register_versions(client, log_run, "iris")
    ComparePage(client, f"/diff/{path}", status)
