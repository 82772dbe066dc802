"""GET /runs and GET /search: the table of runs as a browser receives it, complete without JavaScript."""

from __future__ import annotations

import html
import os
import re
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from conftest import open_app, run_logger
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.html_tables import Page

from chachaml_lite.web.pages.runs.runs_url import FIELDS as QUERY_FIELDS

LogRun = Callable[..., str]
HOSTILE = "<script>alert(1)</script>\"'&"


class Forms(HTMLParser):
    """The forms of a page: the action of each, its fields as a browser submits them, and the names of its controls."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self._select = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name, value = attributes.get("name") or "", attributes.get("value") or ""
        if tag == "form":
            self.forms.append(
                {
                    "action": attributes.get("action"),
                    "method": attributes.get("method", "get"),
                    "sent": [],
                    "names": set(),
                }
            )
        elif tag == "input" and name:
            self.forms[-1]["names"].add(name)
            if attributes.get("type") != "checkbox" or "checked" in attributes:
                self.forms[-1]["sent"].append((name, value))
        elif tag == "select":
            self._select = name
            self.forms[-1]["names"].add(name)
        elif tag == "option" and "selected" in attributes and self._select:
            self.forms[-1]["sent"].append((self._select, value))

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""

    def with_field(self, name: str) -> dict[str, Any]:
        return next(form for form in self.forms if name in form["names"])


class RunsPage:
    """A page with a table of runs, requested and parsed."""

    def __init__(self, client: FlaskClient, url: str, status: int = 200, /, **query: Any) -> None:
        answer = client.get(url, query_string=query or None)
        assert (answer.status_code, answer.mimetype) == (status, "text/html"), answer.text
        self.text = answer.text
        self.content = Page(answer.text)
        boxes = 1 if self.content.rows and self.content.rows[0][0] == "Selected" else 0
        self.head = self.content.rows[0][boxes:] if self.content.rows else []
        self.rows = [dict(zip(self.head, row[boxes:], strict=True)) for row in self.content.rows[1:]]
        self.names = [row["Run"] for row in self.rows]
        self.forms = Forms(answer.text)

    def link(self, label: str) -> str:
        """Return the target of the only link with this text."""
        (target,) = re.findall(rf'<a [^>]*href="([^"]*)"[^>]*>{re.escape(label)}</a>', self.text)
        return html.unescape(target)

    def find_sort_directions(self) -> dict[str, str]:
        """Return the values of aria-sort, by column."""
        target = re.findall(r'<th [^>]*aria-sort="(\w+)"[^>]*><a [^>]*>(.*?)</a>', self.text)
        return {heading: way for way, heading in target}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of a store with runs of two experiments, each with its own params, metrics and tags."""
    data = tmp_path_factory.mktemp("pages") / "store"
    with open_app(data) as app:
        log_run = run_logger(app.test_client())
        log_run(
            id="a", name="baseline", params={"lr": 0.1, "opt": "sgd"}, metrics=make_series(1.0, 0.5), end="completed"
        )
        log_run(id="b", name="wide", params={"lr": 0.01}, metrics=make_series(1.0, 0.123456789), tags={"os": "linux"})
        log_run(id="c", params={"lr": 0.01}, metrics={"loss": "NaN"}, artifacts={"m": b"1", "n": b"2"}, end="failed")
        log_run(experiment="digits", id="d", name="base", metrics={"accuracy": 0.9}, tags={"os": "mac", "n": 3})
        set_start_times(data, "abcd")
        yield app.test_client()


def make_series(*values: float) -> list[dict[str, float]]:
    return [{"loss": value, "step": step} for step, value in enumerate(values)]


def set_start_times(data: Path, ids: str) -> None:
    """Set start times a second apart, so that newest first is unambiguous."""
    for place, run_id in enumerate(ids):
        meta = data / "runs" / run_id / "meta.json"
        start, stamp = 1_760_000_000_000 + place * 1000, meta.stat()
        meta.write_text(re.sub(r'"start_time": ?\d+', f'"start_time": {start}', meta.read_text()))
        os.utime(meta, ns=(stamp.st_mtime_ns + 1, stamp.st_mtime_ns + 1))


# -- columns


def test_table_has_the_columns_of_its_runs_with_their_values(client: FlaskClient) -> None:
    page = RunsPage(client, "/runs")
    own = ["Run", "Experiment", "Status", "Started", "Duration"]
    assert page.head == [*own, "accuracy", "loss", "lr", "opt", "Tags", "Artifacts", "Last write"]
    assert page.names == ["base", "c", "wide", "baseline"]
    by_name = {row["Run"]: row for row in page.rows}
    assert by_name["baseline"]["loss"] == "0.5" and by_name["baseline"]["opt"] == "sgd"
    assert by_name["c"]["Artifacts"] == "2" and by_name["base"]["Artifacts"] == "0"
    assert by_name["base"]["Tags"] == "n: 3 os: mac"
    assert by_name["c"]["loss"] == "NaN" and by_name["base"]["loss"] == ""
    assert re.fullmatch(r"2025-10-09 \d\d:53:2\d", by_name["wide"]["Started"])
    # rounded, with the full value on hover
    assert '<td class="number" title="0.123456789">0.12346</td>' in page.text
    assert RunsPage(client, "/runs", experiment="digits").head == [*own, "accuracy", "Tags", "Artifacts", "Last write"]


def test_columns_are_chosen_by_the_url_and_kept_in_every_link_and_form(client: FlaskClient) -> None:
    columns = 'metrics.loss,created_by,tags.os,params.no,metrics."a,b",duration'
    page = RunsPage(client, "/runs", columns=columns, spark="loss", q="id != x", limit=2)
    assert page.head == ["Run", "loss", "loss", "By", "os", "no", "a,b", "Duration"]
    for label in ("Run", "By", "next"):
        query = dict(parse_qsl(urlsplit(page.link(label)).query))
        assert query["q"] == "id != x" and query["limit"] == "2" and query["spark"] == "loss"
        assert RunsPage(client, page.link(label)).head == page.head
    form = page.forms.with_field("status")
    assert {"columns", "spark", "tag", "q", "experiment"} <= form["names"]
    assert RunsPage(client, "/runs", **dict(form["sent"])).head == page.head
    # the chooser submits one field for each column
    chooser = page.forms.with_field("spark") if "columns" not in form["names"] else page.forms.forms[1]
    checked_columns = [value for name, value in chooser["sent"] if name == "columns"]
    assert checked_columns == ["duration_ms", "created_by", "metrics.loss", 'metrics."a,b"', "params.no", "tags.os"]
    again = RunsPage(client, "/runs?" + "&".join(f"columns={name}" for name in ("status", "metrics.loss")))
    assert again.head == ["Run", "Status", "loss"]
    assert RunsPage(client, "/runs?columns=&columns=").head == RunsPage(client, "/runs").head


def test_chooser_groups_columns_by_prefix_and_counts_the_omitted_ones(
    make_app: Callable[..., Any],
) -> None:
    client = make_app().test_client()
    metrics = {f"{part}/{number}": number for part in ("grad", "time") for number in range(5)}
    run_logger(client)(metrics=metrics, params={f"p{number:03}": number for number in range(203)})
    page = RunsPage(client, "/runs", columns="status,metrics.time/3")
    groups = re.findall(r"<details( open)?><summary>(\w+) <span class=\"quiet\">(\d+)", page.text)
    assert groups == [("", "grad", "5"), (" open", "time", "5")]
    column_names = re.findall(r'name="columns" value="([^"]*)"', page.text)
    assert {f"metrics.{key}" for key in metrics} <= set(column_names) and "params.p199" in column_names
    assert "params.p200" not in column_names and "and 3 more, by name" in page.text


@pytest.mark.parametrize("columns", ["loss", "metrics.", "tags.", "status,nothing", "metrics.a\x01"])
def test_unknown_column_is_400_and_names_the_parameter(client: FlaskClient, columns: str) -> None:
    assert "columns: " in RunsPage(client, "/runs", 400, columns=columns).text


# -- order


@pytest.mark.parametrize(
    ("heading", "first", "second"),
    [
        ("Run", ["base", "baseline", "wide", "c"], ["wide", "baseline", "base", "c"]),
        ("Experiment", ["base", "c", "wide", "baseline"], ["c", "wide", "baseline", "base"]),
        ("loss", ["wide", "baseline", "base", "c"], ["baseline", "wide", "base", "c"]),  # the best first
        ("lr", ["c", "wide", "baseline", "base"], ["baseline", "c", "wide", "base"]),
        ("Artifacts", ["c", "base", "wide", "baseline"], ["base", "wide", "baseline", "c"]),
    ],
)
def test_heading_orders_by_its_column_and_reverses_on_the_second_click(
    client: FlaskClient, heading: str, first: list[str], second: list[str]
) -> None:
    once = RunsPage(client, RunsPage(client, "/runs").link(heading))
    # Ties go by id, descending, as in the API; missing and NaN last, either way.
    assert once.names == first
    twice = RunsPage(client, once.link(heading))
    assert twice.names == second
    assert {once.find_sort_directions()[heading], twice.find_sort_directions()[heading]} == {"ascending", "descending"}
    assert len(once.find_sort_directions()) == len(twice.find_sort_directions()) == 1
    assert RunsPage(client, twice.link(heading)).names == first


@pytest.mark.parametrize(
    ("key", "order"),
    [("val/loss", "metrics.val/loss"), ("accuracy", "metrics.accuracy desc"), ("thing", "metrics.thing desc")],
)
def test_heading_of_a_metric_orders_the_best_first(make_app: Callable[..., Any], key: str, order: str) -> None:
    client = make_app().test_client()
    run_logger(client)(metrics={key: 1})
    assert dict(parse_qsl(urlsplit(RunsPage(client, "/runs").link(key)).query)) == {"order_by": order}


def test_default_order_is_newest_first(client: FlaskClient) -> None:
    page = RunsPage(client, "/runs")
    assert page.find_sort_directions() == {"Started": "descending"}
    oldest_first = RunsPage(client, page.link("Started"))
    assert oldest_first.names == page.names[::-1] and oldest_first.find_sort_directions() == {"Started": "ascending"}
    assert oldest_first.link("Started") == "/runs"


# -- filters


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"experiment": "digits"}, ["base"]),
        ({"status": "running"}, ["base", "wide"]),
        ({"tag": "os=linux"}, ["wide"]),
        ({"tag": " n = 3 "}, ["base"]),
        ({"tag.os": "mac"}, ["base"]),
        ({"param.lr": "0.01"}, ["c", "wide"]),
        ({"name": "base"}, ["base"]),
        ({"q": 'metrics.loss < 1 and params.lr <= 0.01 and name ~ "WID"'}, ["wide"]),
        ({"q": "not tags.os = linux", "status": "running"}, ["base"]),
        ({"ids": "a,d"}, ["base", "baseline"]),
        ({"ids": ["a", "b"]}, ["wide", "baseline"]),
        ({"ids": "b", "q": "id != b"}, []),
        ({"experiment": "", "status": "", "tag": "", "q": "", "limit": "", "spark": "", "order_by": ""}, None),
    ],
)
def test_filters_select_the_same_runs_as_in_json(
    client: FlaskClient, query: dict[str, Any], names: list[str] | None
) -> None:
    page = RunsPage(client, "/runs", **query)
    names = ["base", "c", "wide", "baseline"] if names is None else names
    assert page.names == names
    runs = client.get(page.link("JSON")).get_json()
    assert [run["name"] or run["id"] for run in runs] == names
    if not names:
        assert "No run matches" in page.text


def test_form_contains_the_filters_and_those_without_a_field_are_chips(client: FlaskClient) -> None:
    page = RunsPage(client, "/runs", experiment="iris", status="failed", name="x", q="id = c", **{"tag.os": "mac"})
    form = page.forms.with_field("status")
    assert {("experiment", "iris"), ("q", "id = c"), ("tag.os", "mac"), ("name", "x")} <= set(form["sent"])
    assert re.search(r"<option selected>failed</option>", page.text)
    (without,) = re.findall(r'href="([^"]*)" aria-label="Remove name = x"', page.text)
    assert "name=" not in without and "tag.os=mac" in without
    assert page.link("Clear filters") == "/runs"


def test_list_is_paged_and_links_to_the_pages_around(client: FlaskClient) -> None:
    first = RunsPage(client, "/runs", limit=3, status="")
    assert first.names == ["base", "c", "wide"] and "1 to 3 of 4" in first.text
    second = RunsPage(client, first.link("next"))
    assert second.names == ["baseline"] and "4 to 4 of 4" in second.text
    assert RunsPage(client, second.link("previous")).names == first.names
    assert "next" not in second.content.links and "There are only 4 runs" in RunsPage(client, "/runs?offset=9").text
    for limit in ("0", "1001", "x"):
        assert "limit must be" in RunsPage(client, "/runs", 400, limit=limit).text


@pytest.mark.parametrize("path", ["/runs", "/search"])
def test_invalid_query_is_shown_with_the_error_marked(client: FlaskClient, path: str) -> None:
    page = RunsPage(client, path, 400, q="metrics.loss > <b>high")
    assert re.search(r'role="alert"[\s\S]*<pre>metrics.loss &gt; <mark>&lt;</mark>b&gt;high</pre>', page.text)
    assert "expected a value for metrics.loss" in page.text and "(character 16)" in page.text
    assert ("q", "metrics.loss > <b>high") in page.forms.with_field("q")["sent"]
    assert 'aria-invalid="true"' in page.text and "without this query" in page.text
    filtered_page = RunsPage(
        client, path, 400, q="x >", status="running", order_by="metrics.loss"
    )  # the other parameters still apply
    assert filtered_page.names == ["wide", "base"] and "q=" not in filtered_page.link("Started")
    assert "(character 4)" in RunsPage(client, path, 400, q="id ").text


@pytest.mark.parametrize(
    ("text", "query", "names"),
    [
        ("wide", 'name ~ "wide"', ["wide"]),
        (" BASE ", 'name ~ "BASE"', ["base", "baseline"]),
        ("'wide'", 'name ~ "wide"', ["wide"]),
        ('wide "x"', 'name ~ "wide \\"x\\""', []),
        ("v1.2", 'name ~ "v1.2"', []),
        ("loss", 'name ~ "loss"', []),
    ],
)
@pytest.mark.parametrize("path", ["/runs", "/search", "/experiments/iris"])
def test_bare_word_is_searched_in_names_and_the_page_says_so(
    client: FlaskClient, path: str, text: str, query: str, names: list[str]
) -> None:
    page = RunsPage(client, path, q=text)
    assert page.names == [name for name in names if path != "/experiments/iris" or name != "base"]
    assert ("q", query) in page.forms.with_field("q")["sent"]
    assert f"read as <code>{html.escape(query)}".replace("&quot;", "&#34;") in page.text
    assert "read as" not in RunsPage(client, path, q=query).text


@pytest.mark.parametrize("text", ["wide =", "(wide", "wide and", "status", "metrics.loss", "()", "lr in"])
def test_incomplete_comparison_is_not_read_as_a_name(client: FlaskClient, text: str) -> None:
    assert "read as" not in RunsPage(client, "/runs", 400, q=text).text


@pytest.mark.parametrize(
    ("text", "suggestion", "names"),
    [
        ("loss < 0.2", "metrics.loss < 0.2", ["wide"]),
        ("id = a or loss<0.2", "id = a or metrics.loss<0.2", ["wide", "baseline"]),
        ("lr > 0.05", "params.lr > 0.05", ["baseline"]),
    ],
)
@pytest.mark.parametrize("path", ["/runs", "/experiments/iris"])
def test_key_without_its_prefix_is_suggested_with_it(
    client: FlaskClient, path: str, text: str, suggestion: str, names: list[str]
) -> None:
    page = RunsPage(client, path, 400, q=text, limit=25)
    assert page.rows
    link = page.link(f"<code>{html.escape(suggestion)}</code>")
    assert "limit=25" in link and RunsPage(client, link).names == names
    assert "Did you mean" not in RunsPage(client, path, 400, q=text.replace("l", "k")).text


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["a", "metrics.loss", "metrics.loss desc", 'tags."', ",", "0", "-1", "9" * 20, "id = a", "(", "loss", '"', "\\"]
    ),
)
FIELDS = st.sampled_from([*QUERY_FIELDS, "tag.x", "tag.", "param.x", "ids", "columns", "other"])


@given(path=st.sampled_from(["/runs", "/search"]), query=st.lists(st.tuples(FIELDS, TEXTS), max_size=5))
@settings(max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_any_query_string_gets_a_page(client: FlaskClient, path: str, query: list[tuple[str, str]]) -> None:
    answer = client.get(f"{path}?{urlencode(query)}")
    assert answer.status_code in (200, 400) and answer.mimetype == "text/html", answer.text
    if answer.status_code == 200:  # and so is each page that it links to
        for link in Page(answer.text).links:
            if link.startswith(path):
                assert client.get(link).status_code == 200, link


def test_other_mistakes_in_the_url_are_error_pages(client: FlaskClient) -> None:
    for query in (
        {"tag": "os"},
        {"tag": "=x"},
        {"status": "done"},
        {"order_by": "loss"},
        {"no": "1"},
        {"offset": "-1"},
    ):
        assert "<h1>" in RunsPage(client, "/runs", 400, **query).text


# -- selected runs


def test_runs_are_selected_by_checkboxes_and_compared_tagged_or_deleted(client: FlaskClient) -> None:
    page = RunsPage(client, "/runs")
    assert re.findall(r'<input type="checkbox" name="ids" value="(\w)"', page.text) == list("dcba")
    assert re.findall(r'<button formaction="([^"]*)"', page.text) == ["/compare", "/runs"]
    assert page.link("Select all 4 on this page") == "/runs?ids=d,c,b,a"
    selection = RunsPage(client, "/runs?ids=a&ids=c")
    assert selection.names == ["c", "baseline"]
    assert 'type="checkbox" name="ids"' not in selection.text, "selected runs have no checkboxes"
    assert selection.link("Compare") == "/compare?ids=c,a"
    tag, delete = (
        selection.forms.with_field("key"),
        next(form for form in selection.forms.forms if form["action"] == "/runs/trash"),
    )
    for form in (tag, delete):
        assert form["method"] == "post"
        assert [value for name, value in form["sent"] if name == "ids"] == ["c", "a"]
    assert tag["action"] == "/runs/tags"
    assert "No run matches" in RunsPage(client, "/runs?ids=nobody").text


def test_several_runs_are_tagged_and_deleted_without_javascript(make_app: Callable[..., Any]) -> None:
    client = make_app().test_client()
    log_run = run_logger(client)
    ids = [log_run(name=name) for name in ("one", "two", "three")]
    selection = RunsPage(client, "/runs", ids=ids[:2])
    form = selection.forms.with_field("key")
    fields = [pair for pair in form["sent"] if pair[0] not in ("key", "value")]
    answer = client.post(form["action"], data=to_form_data([*fields, ("key", "keep"), ("value", "no & yes")]))
    assert (answer.status_code, answer.headers["Location"]) == (303, dict(fields)["then"])
    assert RunsPage(client, answer.headers["Location"]).names == ["two", "one"]
    assert RunsPage(client, "/runs", tag="keep=no & yes").names == ["two", "one"]
    delete = next(form for form in selection.forms.forms if form["action"] == "/runs/trash")
    location = client.post("/runs/trash", data=to_form_data(delete["sent"])).headers["Location"]
    assert RunsPage(client, "/runs").names == ["three"]
    assert RunsPage(client, location).names == ["two", "one"]
    undo = next(form for form in RunsPage(client, location).forms.forms if form["action"] == "/runs/restore")
    assert client.post("/runs/restore", data=to_form_data(undo["sent"])).status_code == 303
    assert RunsPage(client, "/runs").names == ["three", "two", "one"]


def to_form_data(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


# -- how a run is displayed


def test_running_run_without_writes_for_an_hour_is_marked_as_silent(make_app: Callable[..., Any], data: Path) -> None:
    client = make_app().test_client()
    log_run = run_logger(client)
    for run_id, minutes, end in (("dead", 61, None), ("thinks", 59, None), ("done", 300, "completed")):
        log_run(id=run_id, metrics={"m": 1}, end=end)
        at = time.time() - minutes * 60
        meta = data / "runs" / run_id / "meta.json"
        text = re.sub(r'"(start|end)_time": ?\d+', rf'"\1_time": {int(at * 1000)}', meta.read_text())
        meta.write_text(text)
        for file in meta.parent.iterdir():
            os.utime(file, (at, at))
    statuses = {row["Run"]: row["Status"] for row in RunsPage(client, "/runs").rows}
    assert statuses == {"dead": "running silent for 1 h 1 min", "thinks": "running", "done": "completed"}
    assert RunsPage(client, "/runs", q="status = running and last_write_time < -1h").names == ["dead"]
    assert [name for name in statuses if "silent for 1 h 1 min" in client.get(f"/runs/{name}").text] == ["dead"]


def test_sparkline_of_a_metric_is_drawn_for_each_run(client: FlaskClient) -> None:
    page = RunsPage(client, "/runs", spark="loss")
    sparklines = dict(zip(page.names, re.findall(r'<td class="sparkline">(.*?)</td>', page.text), strict=True))
    assert sparklines["base"] == "" and sparklines["c"] == ""  # without the metric, and with a NaN only
    assert all("<svg" in sparklines[name] and "<path" in sparklines[name] for name in ("wide", "baseline"))
    assert 'style="' not in page.text
    assert not re.findall("<svg", RunsPage(client, "/runs").text)
    assert "<svg" not in RunsPage(client, "/runs", spark="no such").text


def test_hostile_and_long_names_are_displayed_as_text(make_app: Callable[..., Any]) -> None:
    client = make_app().test_client()
    log_run = run_logger(client)
    for name in (HOSTILE, "実験 🚀 größe", "n" * 250, "a,b", 'metrics."x"'):
        log_run(experiment=name, name=name, params={name[:200] + "p": name}, metrics={name: 1.5}, tags={name: name})
    log_run(params={"text": "x" * 100_000, "lines": "a\nb\u202ec", "list": [1, {"a": None}]}, created_by=HOSTILE)
    page = RunsPage(client, "/runs", columns="experiment,created_by,tags,params.text,params.lines,params.list")
    assert "<script>alert" not in page.text and "onerror" not in page.text
    assert len(page.text) < 60_000
    assert {HOSTILE, "n" * 59 + "…", "実験 🚀 größe"} <= {row["Experiment"] for row in page.rows}
    assert f'title="{"n" * 250}"' in page.text
    everything = RunsPage(client, "/runs")
    for heading in ("a,b", 'metrics."x"'):
        assert heading in everything.head
        ordered_page = RunsPage(
            client,
            next(
                link for link in everything.content.links if html.escape(link) and find_ordering_metric(link) == heading
            ),
        )
        assert ordered_page.rows[0][heading] == "1.5"
    for name in (HOSTILE, "実験 🚀 größe"):
        assert RunsPage(client, "/runs", experiment=name).names == [name]
        assert RunsPage(client, "/runs", tag=f"{name}={name}").names == [name]


def find_ordering_metric(link: str) -> str | None:
    """Return the metric that a link orders by."""
    from chachaml_lite.tracking.query.search import parse_order

    text = dict(parse_qsl(urlsplit(link).query)).get("order_by", "")
    return parse_order(text)[0].name if text.startswith("metrics.") else None


def test_read_only_server_says_so_and_offers_no_writes(make_app: Callable[..., Any]) -> None:
    log_run = run_logger(make_app().test_client())
    ids = [log_run(name=name) for name in ("one", "two")]
    client = make_app(read_only=True).test_client()
    for path in ("/runs", f"/runs?ids={','.join(ids)}", "/experiments/iris"):
        text = client.get(path).text
        assert "read-only</span>" in text, path
        assert "Tag or delete" not in text and 'method="post"' not in text, path
    assert "Compare" in client.get("/runs").text


def test_empty_store_shows_the_quickstart(make_app: Callable[..., Any]) -> None:
    client = make_app().test_client()
    page = RunsPage(client, "/runs")
    (block,) = re.findall(r'<pre class="command">([\s\S]*?)</pre>', page.text)
    assert html.unescape(block).strip() == client.get("/").text.strip()
    assert not page.rows and "Filter" not in page.text
    # not so for a filter that matches nothing
    assert "No run matches" in RunsPage(client, "/runs?experiment=x").text


# -- /search


def test_search_page_shows_the_query_help_with_working_examples(client: FlaskClient) -> None:
    page = RunsPage(client, "/search")
    assert page.names == RunsPage(client, "/runs").names and 'id="query-help" open' in page.text
    assert 'id="query-help"' in RunsPage(client, "/runs").text
    assert 'id="query-help" open' not in RunsPage(client, "/search", q="id = a").text
    assert "<option selected>failed</option>" in RunsPage(client, "/search", status="failed").text
    examples = [link for link in page.content.links if link.startswith("/search?q=")]
    assert len(examples) >= 4
    for link in examples:
        RunsPage(client, html.unescape(link))


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ({"metric_key": "loss", "op": "lt", "metric_value": "1"}, "metrics.loss < 1"),
        ({"metric_key": "loss", "op": "<=", "metric_value": " .5e0 "}, "metrics.loss <= 0.5"),
        ({"metric_key": "val loss", "op": "ge", "metric_value": "NaN"}, 'metrics."val loss" >= NaN'),
        ({"metric_key": "loss", "op": "<", "metric_value": "1", "q": "id = a or id = b"},
         "(id = a or id = b) and metrics.loss < 1"),
        ({"metric_key": "", "op": "", "metric_value": "", "q": "id = a"}, "id = a"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/search", "/runs"])
def test_search_accepts_a_condition_on_a_metric_and_shows_it_as_a_query(
    client: FlaskClient, path: str, fields: dict[str, str], query: str
) -> None:
    page = RunsPage(client, path, **fields)
    assert ("q", query) in page.forms.with_field("q")["sent"]
    assert page.names == RunsPage(client, path, q=query).names
    if path == "/search":
        api = client.get("/api/search", query_string={name: text for name, text in fields.items() if text})
        assert [run["id"] for run in api.get_json()] == [run["id"] for run in client.get(page.link("JSON")).get_json()]


@pytest.mark.parametrize("fields", [{"metric_key": "loss"}, {"metric_key": "a", "op": "lt"}, {"op": "lt"},
                                    {"metric_key": "a", "op": "~", "metric_value": "1"},
                                    {"metric_key": "a", "op": "<", "metric_value": "x"}])  # fmt: skip
def test_incomplete_condition_is_400_on_the_page_as_in_the_api(client: FlaskClient, fields: dict[str, str]) -> None:
    for path in ("/search", "/api/search"):
        assert client.get(path, query_string=fields).status_code == 400


def test_search_results_are_the_same_table_as_on_runs(client: FlaskClient) -> None:
    page = RunsPage(client, "/search", q="metrics.loss < 1", order_by="metrics.loss")
    assert page.names == ["wide", "baseline"]
    assert page.head == RunsPage(client, "/runs", q="metrics.loss < 1").head
    assert page.link("loss").startswith("/search?q=")
    assert page.link("JSON").startswith("/api/search?q=")
    assert RunsPage(client, "/search", q="id != a", status="running").link("JSON").startswith("/api/runs?")
    assert [run["id"] for run in client.get(page.link("JSON")).get_json()] == ["b", "a"]
    assert ("q", "metrics.loss < 1") in page.forms.with_field("q")["sent"]
    assert "No run matches" in RunsPage(client, "/search", q="id = x").text
