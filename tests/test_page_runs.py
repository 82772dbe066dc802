"""GET /runs and GET /search: the table of runs as a browser gets it, whole without a script."""

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
from conftest import opened, run_logger
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.html_tables import Page

from chachaml_lite.web.pages.runs.runs_url import FIELDS as QUERY_FIELDS

LogRun = Callable[..., str]
HOSTILE = "<script>alert(1)</script>\"'&"


class Forms(HTMLParser):
    """The forms of a page: for each its action, its fields as a browser sends them, and what can be chosen or typed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self._select = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        got = dict(attrs)
        name, value = got.get("name") or "", got.get("value") or ""
        if tag == "form":
            self.forms.append(
                {"action": got.get("action"), "method": got.get("method", "get"), "sent": [], "names": set()}
            )
        elif tag == "input" and name:
            self.forms[-1]["names"].add(name)
            if got.get("type") != "checkbox" or "checked" in got:
                self.forms[-1]["sent"].append((name, value))
        elif tag == "select":
            self._select = name
            self.forms[-1]["names"].add(name)
        elif tag == "option" and "selected" in got and self._select:
            self.forms[-1]["sent"].append((self._select, value))

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""

    def with_field(self, name: str) -> dict[str, Any]:
        return next(form for form in self.forms if name in form["names"])


class Shown:
    """A page of runs that was read."""

    def __init__(self, client: FlaskClient, url: str, status: int = 200, /, **query: Any) -> None:
        answer = client.get(url, query_string=query or None)
        assert (answer.status_code, answer.mimetype) == (status, "text/html"), answer.text
        self.text = answer.text
        self.page = Page(answer.text)
        boxes = 1 if self.page.rows and self.page.rows[0][0] == "Selected" else 0
        self.head = self.page.rows[0][boxes:] if self.page.rows else []
        self.rows = [dict(zip(self.head, row[boxes:], strict=True)) for row in self.page.rows[1:]]
        self.names = [row["Run"] for row in self.rows]
        self.forms = Forms(answer.text)

    def link(self, label: str) -> str:
        """Return the target of the only link with this text."""
        (found,) = re.findall(rf'<a [^>]*href="([^"]*)"[^>]*>{re.escape(label)}</a>', self.text)
        return html.unescape(found)

    def sorted(self) -> dict[str, str]:
        """aria-sort, by column."""
        found = re.findall(r'<th [^>]*aria-sort="(\w+)"[^>]*><a [^>]*>(.*?)</a>', self.text)
        return {heading: way for way, heading in found}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of a store with runs of two experiments, each with its own params, metrics and tags."""
    data = tmp_path_factory.mktemp("pages") / "store"
    with opened(data) as app:
        log_run = run_logger(app.test_client())
        log_run(id="a", name="baseline", params={"lr": 0.1, "opt": "sgd"}, metrics=series(1.0, 0.5), end="completed")
        log_run(id="b", name="wide", params={"lr": 0.01}, metrics=series(1.0, 0.123456789), tags={"os": "linux"})
        log_run(id="c", params={"lr": 0.01}, metrics={"loss": "NaN"}, artifacts={"m": b"1", "n": b"2"}, end="failed")
        log_run(experiment="digits", id="d", name="base", metrics={"accuracy": 0.9}, tags={"os": "mac", "n": 3})
        spread(data, "abcd")
        yield app.test_client()


def series(*values: float) -> list[dict[str, float]]:
    return [{"loss": value, "step": step} for step, value in enumerate(values)]


def spread(data: Path, ids: str) -> None:
    """Start times a second apart, so that newest first is one order."""
    for place, run_id in enumerate(ids):
        meta = data / "runs" / run_id / "meta.json"
        start, stamp = 1_760_000_000_000 + place * 1000, meta.stat()
        meta.write_text(re.sub(r'"start_time": ?\d+', f'"start_time": {start}', meta.read_text()))
        os.utime(meta, ns=(stamp.st_mtime_ns + 1, stamp.st_mtime_ns + 1))


# -- columns


def test_columns_of_this_set_of_runs_and_their_values(client: FlaskClient) -> None:
    shown = Shown(client, "/runs")
    own = ["Run", "Experiment", "Status", "Started", "Duration"]
    assert shown.head == [*own, "accuracy", "loss", "lr", "opt", "Tags", "Artifacts", "Last write"]
    assert shown.names == ["base", "c", "wide", "baseline"]
    by_name = {row["Run"]: row for row in shown.rows}
    assert by_name["baseline"]["loss"] == "0.5" and by_name["baseline"]["opt"] == "sgd"
    assert by_name["c"]["Artifacts"] == "2" and by_name["base"]["Artifacts"] == "0"
    assert by_name["base"]["Tags"] == "n: 3 os: mac"
    assert by_name["c"]["loss"] == "NaN" and by_name["base"]["loss"] == ""
    assert re.fullmatch(r"2025-10-09 \d\d:53:2\d", by_name["wide"]["Started"])
    # sensible digits, the full value on hover
    assert '<td class="number" title="0.123456789">0.12346</td>' in shown.text
    assert Shown(client, "/runs", experiment="digits").head == [*own, "accuracy", "Tags", "Artifacts", "Last write"]


def test_columns_are_chosen_by_the_url_and_kept_in_every_link_and_form(client: FlaskClient) -> None:
    wanted = 'metrics.loss,created_by,tags.os,params.no,metrics."a,b",duration'
    shown = Shown(client, "/runs", columns=wanted, spark="loss", q="id != x", limit=2)
    assert shown.head == ["Run", "loss", "loss", "By", "os", "no", "a,b", "Duration"]
    for label in ("Run", "By", "next"):
        query = dict(parse_qsl(urlsplit(shown.link(label)).query))
        assert query["q"] == "id != x" and query["limit"] == "2" and query["spark"] == "loss"
        assert Shown(client, shown.link(label)).head == shown.head
    form = shown.forms.with_field("status")
    assert {"columns", "spark", "tag", "q", "experiment"} <= form["names"]
    assert Shown(client, "/runs", **dict(form["sent"])).head == shown.head
    # the chooser sends each column by itself
    chooser = shown.forms.with_field("spark") if "columns" not in form["names"] else shown.forms.forms[1]
    chosen = [value for name, value in chooser["sent"] if name == "columns"]
    assert chosen == ["duration_ms", "created_by", "metrics.loss", 'metrics."a,b"', "params.no", "tags.os"]
    again = Shown(client, "/runs?" + "&".join(f"columns={name}" for name in ("status", "metrics.loss")))
    assert again.head == ["Run", "Status", "loss"]
    assert Shown(client, "/runs?columns=&columns=").head == Shown(client, "/runs").head


def test_chooser_folds_columns_that_begin_alike_and_counts_those_it_leaves_out(
    make_app: Callable[..., Any],
) -> None:
    client = make_app().test_client()
    metrics = {f"{part}/{number}": number for part in ("grad", "time") for number in range(5)}
    run_logger(client)(metrics=metrics, params={f"p{number:03}": number for number in range(203)})
    shown = Shown(client, "/runs", columns="status,metrics.time/3")
    folded = re.findall(r"<details( open)?><summary>(\w+) <span class=\"quiet\">(\d+)", shown.text)
    assert folded == [("", "grad", "5"), (" open", "time", "5")]
    named = re.findall(r'name="columns" value="([^"]*)"', shown.text)
    assert {f"metrics.{key}" for key in metrics} <= set(named) and "params.p199" in named
    assert "params.p200" not in named and "and 3 more, by name" in shown.text


@pytest.mark.parametrize("columns", ["loss", "metrics.", "tags.", "status,nothing", "metrics.a\x01"])
def test_column_that_is_none_is_400_and_named(client: FlaskClient, columns: str) -> None:
    assert "columns: " in Shown(client, "/runs", 400, columns=columns).text


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
def test_heading_orders_by_its_column_and_again_the_other_way_round(
    client: FlaskClient, heading: str, first: list[str], second: list[str]
) -> None:
    once = Shown(client, Shown(client, "/runs").link(heading))
    # Ties go by id, descending, as in the API; missing and NaN last, either way.
    assert once.names == first
    twice = Shown(client, once.link(heading))
    assert twice.names == second
    assert {once.sorted()[heading], twice.sorted()[heading]} == {"ascending", "descending"}
    assert len(once.sorted()) == len(twice.sorted()) == 1
    assert Shown(client, twice.link(heading)).names == first


@pytest.mark.parametrize(
    ("key", "order"),
    [("val/loss", "metrics.val/loss"), ("accuracy", "metrics.accuracy desc"), ("thing", "metrics.thing desc")],
)
def test_metrics_heading_orders_the_best_first(make_app: Callable[..., Any], key: str, order: str) -> None:
    client = make_app().test_client()
    run_logger(client)(metrics={key: 1})
    assert dict(parse_qsl(urlsplit(Shown(client, "/runs").link(key)).query)) == {"order_by": order}


def test_order_as_it_stands_is_that_of_the_start(client: FlaskClient) -> None:
    shown = Shown(client, "/runs")
    assert shown.sorted() == {"Started": "descending"}
    oldest = Shown(client, shown.link("Started"))
    assert oldest.names == shown.names[::-1] and oldest.sorted() == {"Started": "ascending"}
    assert oldest.link("Started") == "/runs"


# -- which runs


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
def test_filters_and_the_same_runs_as_json(client: FlaskClient, query: dict[str, Any], names: list[str] | None) -> None:
    shown = Shown(client, "/runs", **query)
    names = ["base", "c", "wide", "baseline"] if names is None else names
    assert shown.names == names
    found = client.get(shown.link("JSON")).get_json()
    assert [run["name"] or run["id"] for run in found] == names
    if not names:
        assert "No run matches" in shown.text


def test_boxes_hold_what_was_asked_and_what_has_none_is_a_chip(client: FlaskClient) -> None:
    shown = Shown(client, "/runs", experiment="iris", status="failed", name="x", q="id = c", **{"tag.os": "mac"})
    form = shown.forms.with_field("status")
    assert {("experiment", "iris"), ("q", "id = c"), ("tag.os", "mac"), ("name", "x")} <= set(form["sent"])
    assert re.search(r"<option selected>failed</option>", shown.text)
    (without,) = re.findall(r'href="([^"]*)" aria-label="Remove name = x"', shown.text)
    assert "name=" not in without and "tag.os=mac" in without
    assert shown.link("Clear filters") == "/runs"


def test_pages_of_runs(client: FlaskClient) -> None:
    first = Shown(client, "/runs", limit=3, status="")
    assert first.names == ["base", "c", "wide"] and "1 to 3 of 4" in first.text
    second = Shown(client, first.link("next"))
    assert second.names == ["baseline"] and "4 to 4 of 4" in second.text
    assert Shown(client, second.link("previous")).names == first.names
    assert "next" not in second.page.links and "There are only 4 runs" in Shown(client, "/runs?offset=9").text
    for limit in ("0", "1001", "x"):
        assert "limit must be" in Shown(client, "/runs", 400, limit=limit).text


@pytest.mark.parametrize("path", ["/runs", "/search"])
def test_query_that_can_not_be_read_is_shown_with_the_place_marked(client: FlaskClient, path: str) -> None:
    shown = Shown(client, path, 400, q="metrics.loss > <b>high")
    assert re.search(r'role="alert"[\s\S]*<pre>metrics.loss &gt; <mark>&lt;</mark>b&gt;high</pre>', shown.text)
    assert "expected a value for metrics.loss" in shown.text and "(character 16)" in shown.text
    assert ("q", "metrics.loss > <b>high") in shown.forms.with_field("q")["sent"]
    assert 'aria-invalid="true"' in shown.text and "without this query" in shown.text
    listed = Shown(client, path, 400, q="x >", status="running", order_by="metrics.loss")  # the rest still holds
    assert listed.names == ["wide", "base"] and "q=" not in listed.link("Started")
    assert "(character 4)" in Shown(client, path, 400, q="id ").text


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
    shown = Shown(client, path, q=text)
    assert shown.names == [name for name in names if path != "/experiments/iris" or name != "base"]
    assert ("q", query) in shown.forms.with_field("q")["sent"]
    assert f"read as <code>{html.escape(query)}".replace("&quot;", "&#34;") in shown.text
    assert "read as" not in Shown(client, path, q=query).text


@pytest.mark.parametrize("text", ["wide =", "(wide", "wide and", "status", "metrics.loss", "()", "lr in"])
def test_half_a_comparison_is_no_name(client: FlaskClient, text: str) -> None:
    assert "read as" not in Shown(client, "/runs", 400, q=text).text


@pytest.mark.parametrize(
    ("text", "meant", "names"),
    [
        ("loss < 0.2", "metrics.loss < 0.2", ["wide"]),
        ("id = a or loss<0.2", "id = a or metrics.loss<0.2", ["wide", "baseline"]),
        ("lr > 0.05", "params.lr > 0.05", ["baseline"]),
    ],
)
@pytest.mark.parametrize("path", ["/runs", "/experiments/iris"])
def test_key_without_its_kind_is_offered_with_it(
    client: FlaskClient, path: str, text: str, meant: str, names: list[str]
) -> None:
    shown = Shown(client, path, 400, q=text, limit=25)
    assert shown.rows
    link = shown.link(f"<code>{html.escape(meant)}</code>")
    assert "limit=25" in link and Shown(client, link).names == names
    assert "Did you mean" not in Shown(client, path, 400, q=text.replace("l", "k")).text


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["a", "metrics.loss", "metrics.loss desc", 'tags."', ",", "0", "-1", "9" * 20, "id = a", "(", "loss", '"', "\\"]
    ),
)
FIELDS = st.sampled_from([*QUERY_FIELDS, "tag.x", "tag.", "param.x", "ids", "columns", "other"])


@given(path=st.sampled_from(["/runs", "/search"]), query=st.lists(st.tuples(FIELDS, TEXTS), max_size=5))
@settings(max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_is_a_page(client: FlaskClient, path: str, query: list[tuple[str, str]]) -> None:
    answer = client.get(f"{path}?{urlencode(query)}")
    assert answer.status_code in (200, 400) and answer.mimetype == "text/html", answer.text
    if answer.status_code == 200:  # and so is each page that it leads to
        for link in Page(answer.text).links:
            if link.startswith(path):
                assert client.get(link).status_code == 200, link


def test_other_mistakes_in_the_url_are_pages_too(client: FlaskClient) -> None:
    for query in (
        {"tag": "os"},
        {"tag": "=x"},
        {"status": "done"},
        {"order_by": "loss"},
        {"no": "1"},
        {"offset": "-1"},
    ):
        assert "<h1>" in Shown(client, "/runs", 400, **query).text


# -- the runs that are chosen


def test_runs_are_chosen_by_boxes_that_go_to_the_comparison_or_to_what_is_done_with_them(client: FlaskClient) -> None:
    shown = Shown(client, "/runs")
    assert re.findall(r'<input type="checkbox" name="ids" value="(\w)"', shown.text) == list("dcba")
    assert re.findall(r'<button formaction="([^"]*)"', shown.text) == ["/compare", "/runs"]
    assert shown.link("Select all 4 on this page") == "/runs?ids=d,c,b,a"
    chosen = Shown(client, "/runs?ids=a&ids=c")
    assert chosen.names == ["c", "baseline"]
    assert 'type="checkbox" name="ids"' not in chosen.text, "there is nothing that a box would be for"
    assert chosen.link("Compare") == "/compare?ids=c,a"
    tag, delete = (
        chosen.forms.with_field("key"),
        next(form for form in chosen.forms.forms if form["action"] == "/runs/trash"),
    )
    for form in (tag, delete):
        assert form["method"] == "post"
        assert [value for name, value in form["sent"] if name == "ids"] == ["c", "a"]
    assert tag["action"] == "/runs/tags"
    assert "No run matches" in Shown(client, "/runs?ids=nobody").text


def test_several_runs_are_tagged_and_deleted_without_a_script(make_app: Callable[..., Any]) -> None:
    client = make_app().test_client()
    log_run = run_logger(client)
    ids = [log_run(name=name) for name in ("one", "two", "three")]
    chosen = Shown(client, "/runs", ids=ids[:2])
    form = chosen.forms.with_field("key")
    fields = [pair for pair in form["sent"] if pair[0] not in ("key", "value")]
    sent = client.post(form["action"], data=multi([*fields, ("key", "keep"), ("value", "no & yes")]))
    assert (sent.status_code, sent.headers["Location"]) == (303, dict(fields)["then"])
    assert Shown(client, sent.headers["Location"]).names == ["two", "one"]
    assert Shown(client, "/runs", tag="keep=no & yes").names == ["two", "one"]
    delete = next(form for form in chosen.forms.forms if form["action"] == "/runs/trash")
    trashed = client.post("/runs/trash", data=multi(delete["sent"])).headers["Location"]
    assert Shown(client, "/runs").names == ["three"]
    assert Shown(client, trashed).names == ["two", "one"]
    undo = next(form for form in Shown(client, trashed).forms.forms if form["action"] == "/runs/restore")
    assert client.post("/runs/restore", data=multi(undo["sent"])).status_code == 303
    assert Shown(client, "/runs").names == ["three", "two", "one"]


def multi(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


# -- what is seen of a run


def test_run_that_is_running_and_silent_for_an_hour_says_so(make_app: Callable[..., Any], data: Path) -> None:
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
    shown = {row["Run"]: row["Status"] for row in Shown(client, "/runs").rows}
    assert shown == {"dead": "running silent for 1 h 1 min", "thinks": "running", "done": "completed"}
    assert Shown(client, "/runs", q="status = running and last_write_time < -1h").names == ["dead"]
    assert [name for name in shown if "silent for 1 h 1 min" in client.get(f"/runs/{name}").text] == ["dead"]


def test_line_is_drawn_of_one_metric_of_each_run(client: FlaskClient) -> None:
    shown = Shown(client, "/runs", spark="loss")
    drawn = dict(zip(shown.names, re.findall(r'<td class="sparkline">(.*?)</td>', shown.text), strict=True))
    assert drawn["base"] == "" and drawn["c"] == ""  # without the metric, and with nothing but a NaN of it
    assert all("<svg" in drawn[name] and "<path" in drawn[name] for name in ("wide", "baseline"))
    assert 'style="' not in shown.text
    assert not re.findall("<svg", Shown(client, "/runs").text)
    assert "<svg" not in Shown(client, "/runs", spark="no such").text


def test_names_of_any_kind_are_text_and_keep_their_place(make_app: Callable[..., Any]) -> None:
    client = make_app().test_client()
    log_run = run_logger(client)
    for name in (HOSTILE, "実験 🚀 größe", "n" * 250, "a,b", 'metrics."x"'):
        log_run(experiment=name, name=name, params={name[:200] + "p": name}, metrics={name: 1.5}, tags={name: name})
    log_run(params={"text": "x" * 100_000, "lines": "a\nb\u202ec", "list": [1, {"a": None}]}, created_by=HOSTILE)
    shown = Shown(client, "/runs", columns="experiment,created_by,tags,params.text,params.lines,params.list")
    assert "<script>alert" not in shown.text and "onerror" not in shown.text
    assert len(shown.text) < 60_000
    assert {HOSTILE, "n" * 59 + "…", "実験 🚀 größe"} <= {row["Experiment"] for row in shown.rows}
    assert f'title="{"n" * 250}"' in shown.text
    everything = Shown(client, "/runs")
    for heading in ("a,b", 'metrics."x"'):
        assert heading in everything.head
        ordered = Shown(
            client, next(link for link in everything.page.links if html.escape(link) and order_of(link) == heading)
        )
        assert ordered.rows[0][heading] == "1.5"
    for name in (HOSTILE, "実験 🚀 größe"):
        assert Shown(client, "/runs", experiment=name).names == [name]
        assert Shown(client, "/runs", tag=f"{name}={name}").names == [name]


def order_of(link: str) -> str | None:
    """The metric that a link orders by."""
    from chachaml_lite.tracking.query.search import parse_order

    text = dict(parse_qsl(urlsplit(link).query)).get("order_by", "")
    return parse_order(text)[0].name if text.startswith("metrics.") else None


def test_server_that_only_reads_says_so_and_offers_no_write(make_app: Callable[..., Any]) -> None:
    log_run = run_logger(make_app().test_client())
    ids = [log_run(name=name) for name in ("one", "two")]
    client = make_app(read_only=True).test_client()
    for path in ("/runs", f"/runs?ids={','.join(ids)}", "/experiments/iris"):
        page = client.get(path).text
        assert "read-only</span>" in page, path
        assert "Tag or delete" not in page and 'method="post"' not in page, path
    assert "Compare" in client.get("/runs").text


def test_without_runs_there_is_what_to_paste(make_app: Callable[..., Any]) -> None:
    client = make_app().test_client()
    shown = Shown(client, "/runs")
    (block,) = re.findall(r'<pre class="command">([\s\S]*?)</pre>', shown.text)
    assert html.unescape(block).strip() == client.get("/").text.strip()
    assert not shown.rows and "Filter" not in shown.text
    # what was asked for is there no less, should a filter find none
    assert "No run matches" in Shown(client, "/runs?experiment=x").text


# -- /search


def test_search_shows_how_to_ask_and_each_example_can_be_asked(client: FlaskClient) -> None:
    shown = Shown(client, "/search")
    assert shown.names == Shown(client, "/runs").names and 'id="query-help" open' in shown.text
    assert 'id="query-help"' in Shown(client, "/runs").text
    assert 'id="query-help" open' not in Shown(client, "/search", q="id = a").text
    assert "<option selected>failed</option>" in Shown(client, "/search", status="failed").text
    examples = [link for link in shown.page.links if link.startswith("/search?q=")]
    assert len(examples) >= 4
    for link in examples:
        Shown(client, html.unescape(link))


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
def test_search_takes_a_condition_on_a_metric_and_shows_it_as_a_query(
    client: FlaskClient, path: str, fields: dict[str, str], query: str
) -> None:
    shown = Shown(client, path, **fields)
    assert ("q", query) in shown.forms.with_field("q")["sent"]
    assert shown.names == Shown(client, path, q=query).names
    if path == "/search":
        api = client.get("/api/search", query_string={name: text for name, text in fields.items() if text})
        assert [run["id"] for run in api.get_json()] == [run["id"] for run in client.get(shown.link("JSON")).get_json()]


@pytest.mark.parametrize("fields", [{"metric_key": "loss"}, {"metric_key": "a", "op": "lt"}, {"op": "lt"},
                                    {"metric_key": "a", "op": "~", "metric_value": "1"},
                                    {"metric_key": "a", "op": "<", "metric_value": "x"}])  # fmt: skip
def test_half_a_condition_is_400_on_the_page_as_in_the_api(client: FlaskClient, fields: dict[str, str]) -> None:
    for path in ("/search", "/api/search"):
        assert client.get(path, query_string=fields).status_code == 400


def test_what_the_search_finds_is_the_same_table(client: FlaskClient) -> None:
    shown = Shown(client, "/search", q="metrics.loss < 1", order_by="metrics.loss")
    assert shown.names == ["wide", "baseline"]
    assert shown.head == Shown(client, "/runs", q="metrics.loss < 1").head
    assert shown.link("loss").startswith("/search?q=")
    assert shown.link("JSON").startswith("/api/search?q=")
    assert Shown(client, "/search", q="id != a", status="running").link("JSON").startswith("/api/runs?")
    assert [run["id"] for run in client.get(shown.link("JSON")).get_json()] == ["b", "a"]
    assert ("q", "metrics.loss < 1") in shown.forms.with_field("q")["sent"]
    assert "No run matches" in Shown(client, "/search", q="id = x").text
