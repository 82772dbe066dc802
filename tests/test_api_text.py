"""Lists as text for curl: an aligned table, CSV, NDJSON or Markdown, chosen by Accept or ?format=."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import cmarkgfm
import pytest
from flask.testing import FlaskClient

LogRun = Callable[..., str]

TYPES = {
    "json": "application/json",
    "txt": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "md": "text/markdown; charset=utf-8",
}


@pytest.fixture
def lists(client: FlaskClient, log_run: LogRun) -> dict[str, str]:
    """The URL of each list, in a store where none is empty."""
    one = log_run(params={"lr": 0.1}, metrics={"loss": 1}, artifacts={"m": b"1"}, tags={"a": "b"})
    other = log_run(params={"lr": 0.2}, metrics={"loss": 2})
    for _ in range(2):
        client.post("/api/w/models", json={"name": "net", "run_id": one, "artifact": "m"})
    return {
        "runs": "/api/runs?",
        "search": "/api/search?metric_key=loss&op=ge&metric_value=0&",
        "artifacts": f"/api/runs/{one}/artifacts?",
        "experiments": "/api/experiments?",
        "models": "/api/models?",
        "metrics": f"/api/runs/{one}/metrics?",
        "compare": f"/api/compare?ids={one},{other}&",
        "diff": "/api/diff/net/1/2?",
    }


LISTS = ("runs", "search", "artifacts", "experiments", "models", "metrics", "compare", "diff")


@pytest.mark.parametrize("name", LISTS)
def test_list_is_available_in_every_format_by_name_and_by_accept(
    client: FlaskClient, lists: dict[str, str], name: str
) -> None:
    url = lists[name]
    for form, media_type in TYPES.items():
        by_name = client.get(f"{url}format={form}")
        assert (by_name.status_code, by_name.content_type) == (200, media_type)
        by_header = client.get(url.rstrip("?&"), headers={"Accept": media_type.partition(";")[0]})
        assert (by_header.content_type, by_header.data) == (media_type, by_name.data)
        assert "Accept" in by_name.headers["Vary"] and "Accept" in by_header.headers["Vary"]
        not_modified = client.get(f"{url}format={form}", headers={"If-None-Match": by_name.headers["ETag"]})
        assert (not_modified.status_code, not_modified.data) == (304, b"")
        assert "Accept" in not_modified.headers["Vary"]
        assert by_name.text.endswith("\n")


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("form", ["xml", "", "JSON", "text/plain", "html"])
def test_unknown_format_is_400_and_names_the_known_ones(
    client: FlaskClient, lists: dict[str, str], name: str, form: str
) -> None:
    answer = client.get(f"{lists[name]}format={form}")
    assert answer.status_code == 400
    assert "json, txt, csv, jsonl, md" in answer.get_json()["detail"]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("", "json"),
        ("application/*", "json"),
        ("text/*", "txt"),
        ("text/plain, */*", "txt"),
        ("application/json, text/plain, */*", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("image/png", "json"),
        ("text/csv;q=0.9, text/markdown", "md"),
        ("text/csv, text/markdown;q=0.9", "csv"),
        ("text/plain;q=0.5, application/json;q=0.4", "txt"),
        ("text/plain;q=0, */*", "json"),
        ("application/json;q=0, text/csv;q=0.1", "csv"),
        ("TEXT/PLAIN", "txt"),
        ("application/x-ndjson; q=1.0", "jsonl"),
    ],
)
def test_accept_header_is_negotiated_by_its_weights(
    client: FlaskClient, log_run: LogRun, accept: str | None, form: str
) -> None:
    log_run()
    answer = client.get("/api/runs", headers={} if accept is None else {"Accept": accept})
    assert answer.content_type == TYPES[form]


def test_format_wins_over_accept(client: FlaskClient) -> None:
    answer = client.get("/api/runs?format=csv", headers={"Accept": "text/plain"})
    assert answer.content_type == TYPES["csv"]


@pytest.mark.parametrize("form", list(TYPES))
def test_page_links_to_the_next_one_in_every_format(client: FlaskClient, log_run: LogRun, form: str) -> None:
    ids = [log_run() for _ in range(5)]
    answer = client.get(f"/api/runs?limit=2&format={form}")
    seen_ids = []
    while True:
        assert answer.headers["X-Total-Count"] == "5"
        seen_ids += [run_id for run_id in reversed(ids) if run_id in answer.text]
        if "Link" not in answer.headers:
            break
        link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers["Link"])
        assert link is not None
        answer = client.get(link[1])
        assert answer.content_type == TYPES[form]
    assert seen_ids == ids[::-1]


def test_error_is_json_whatever_is_accepted(client: FlaskClient) -> None:
    answer = client.get("/api/runs?limit=0", headers={"Accept": "text/plain"})
    assert (answer.status_code, set(answer.get_json())) == (400, {"error", "detail"})


# -- NDJSON


def test_ndjson_lines_are_the_elements_of_the_json_array(client: FlaskClient, lists: dict[str, str]) -> None:
    for name in ("runs", "search", "artifacts", "experiments", "models"):
        lines = client.get(f"{lists[name]}format=jsonl").text.splitlines()
        assert [json.loads(line) for line in lines] == client.get(lists[name].rstrip("?&")).get_json()


def test_ndjson_lines_of_points_are_those_of_metrics_jsonl(client: FlaskClient, log_run: LogRun) -> None:
    entries = [{"metrics": {"b": "NaN", "a": 1}, "step": step, "timestamp": 5} for step in (3, 1)]
    run_id = log_run(metrics=entries)
    lines = client.get(f"/api/runs/{run_id}/metrics?format=jsonl").text.splitlines()
    assert sorted(map(json.loads, lines), key=lambda point: (point["key"], point["step"])) == [
        {"key": key, "value": value, "step": step, "timestamp": 5}
        for key, value in (("a", 1), ("b", "NaN"))
        for step in (1, 3)
    ]


def test_series_are_in_the_order_in_which_they_were_first_logged(client: FlaskClient, log_run: LogRun) -> None:
    names = [f"{letter}{number}" for number in range(5) for letter in "zxy"]
    run_id = log_run()
    body = json.dumps(
        [dict.fromkeys(names, 1), dict.fromkeys(reversed(names), 2)]
    )  # Flask's own client would sort the keys
    client.post(f"/api/w/runs/{run_id}/metrics", data=body, content_type="application/json")
    lines = client.get(f"/api/runs/{run_id}/metrics?format=jsonl").text.splitlines()
    assert [json.loads(line)["key"] for line in lines[::2]] == names
    markdown = client.get(f"/api/runs/{run_id}?format=md").text
    assert re.findall(r"^\| `([zxy]\d)` \|", markdown, re.MULTILINE) == names


def test_ndjson_lines_of_a_comparison_begin_with_the_differences(client: FlaskClient, lists: dict[str, str]) -> None:
    lines = client.get(f"{lists['compare']}format=jsonl").text.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"kind": "metric", "key": "loss", "group": "differ", "values": [1, 2]},
        {"kind": "param", "key": "lr", "group": "differ", "values": [0.1, 0.2]},
    ]


# -- the aligned table


def measure_width(line: str) -> int:
    """Return the columns that a line takes in a terminal, counted independently of the program."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in line
    )


def get_table(client: FlaskClient, url: str = "/api/runs", **query: Any) -> list[str]:
    answer = client.get(url, query_string=query, headers={"Accept": "text/plain"})
    assert answer.status_code == 200, answer.text
    return answer.text.splitlines()


def test_table_of_runs_is_aligned(client: FlaskClient, log_run: LogRun) -> None:
    log_run(name="first", metrics={"accuracy": 0.123456789, "loss": 12}, end="completed", id="run-1")
    log_run(name="the second one", metrics={"accuracy": "NaN"}, params={"lr": 0.001}, id="run-2")
    lines = get_table(client)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "YYYY-MM-DD HH:MM", "\n".join(lines))
    assert re.sub(r"\d\.\d s", "0.0 s", text) == (
        "id     experiment  name            status          started (UTC)   took     lr  accuracy  loss\n"
        "run-2  iris        the second one  … running    YYYY-MM-DD HH:MM         0.001       NaN\n"
        "run-1  iris        first           ✓ completed  YYYY-MM-DD HH:MM  0.0 s          0.12346    12\n"
        "\n"
        "2 runs"
    )


def test_numbers_are_aligned_right_and_text_left(client: FlaskClient, log_run: LogRun) -> None:
    for name, value in (("a", 1), ("b", 100), ("c", "Infinity"), ("d", -0.5)):
        log_run(name=name, metrics={"m": value})
    heading, *rows = get_table(client)[:5]
    end = heading.index("  m") + 3 if "  m" in heading else heading.index(" m") + 2
    assert [row[:end].split()[-1] for row in rows] == ["-0.5", "Infinity", "100", "1"]
    assert len({row[:end].rstrip() == row[:end] for row in rows}) == 1  # each value ends where its heading ends
    names = heading.index("name")
    assert [row[names] for row in rows] == ["d", "c", "b", "a"]


@pytest.mark.parametrize("count", [0, 1, 30])
def test_table_fits_a_terminal_whatever_is_logged(client: FlaskClient, log_run: LogRun, count: int) -> None:
    for number in range(3):
        log_run(
            experiment="an experiment with a rather long name " * 3,
            name="名前" * 40 + str(number),
            created_by="somebody" * 10,
            params={f"a param that is called {n}": "x" * 300 for n in range(count)},
            metrics={f"metric/{n}": n * 1.123456789e-20 for n in range(count)} or None,
            tags={f"tag {n}": "y\u0301" * 50 for n in range(count)},
        )
    lines = get_table(client)
    assert max(map(measure_width, lines)) <= 120
    starts = {line.index("… running") for line in lines[1:4]}
    columns = {measure_width(line[: line.index("… running")]) for line in lines[1:4]}
    assert len(columns) == 1, starts  # wide characters are counted as two columns


def test_ids_in_a_table_are_complete(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(), log_run(id="m" * 128), log_run(id="short")]
    lines = get_table(client)
    assert [line.split()[0] for line in lines[1:4]] == ids[::-1]
    for line in lines[1:4]:
        assert client.get(f"/api/runs/{line.split()[0]}").status_code == 200


def test_artifact_id_in_a_table_is_the_path_of_its_download(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(artifacts={"checkpoints/" + "n" * 150 + ".pt": b"1"})
    line = get_table(client, f"/api/runs/{run_id}/artifacts")[1]
    assert client.get(f"/api/artifacts/{line.split()[0]}/download").data == b"1"


def test_table_names_the_columns_that_do_not_fit(client: FlaskClient, log_run: LogRun) -> None:
    log_run(params={f"param_{n}": n for n in range(40)}, metrics={f"metric_{n}": n for n in range(40)})
    lines = get_table(client)
    assert lines[-1].startswith("not shown: ")
    assert "metric" in lines[0]


def test_columns_with_differences_come_before_those_without(client: FlaskClient, log_run: LogRun) -> None:
    for number in range(3):
        log_run(params={f"alike_{n}": 1 for n in range(20)} | {"z_differs": number})
    assert "z_differs" in get_table(client)[0]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_line_below_the_table_counts_the_runs(client: FlaskClient, log_run: LogRun, number: int) -> None:
    for _ in range(number):
        log_run()
    lines = get_table(client)
    assert lines[-1] == {0: "no runs here; curl http://localhost shows how to log one", 1: "1 run", 2: "2 runs"}[number]


def test_comparison_of_many_runs_is_split_into_several_tables(client: FlaskClient, log_run: LogRun) -> None:
    ids = [log_run(params={"lr": number}) for number in range(5)]
    lines = get_table(client, "/api/compare", ids=",".join(ids))
    assert max(map(measure_width, lines)) <= 120
    headings = [line for line in lines if line.startswith("kind")]
    assert [run_id for line in headings for run_id in line.split()[3:]] == ids
    assert len(headings) > 1


# -- hostile text

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2066\u200f\r\n\u2028\x7f\ufeff\ud7ff\U000e0041"
COMMANDS = ("::error::owned", " ::set-output name=a::b", "##[error]owned", "a ##[add-mask]b")


def log_hostile_runs(client: FlaskClient, log_run: LogRun) -> list[str]:
    visible = "".join(c for c in HOSTILE if unicodedata.category(c) != "Cc")
    run_id = log_run(
        experiment="::error::" + visible,
        name=COMMANDS[0] + visible,
        tags={f"k{visible}{n}": text for n, text in enumerate((HOSTILE, *COMMANDS))},
        params={f"p{visible}": HOSTILE, "list": [HOSTILE, {HOSTILE: COMMANDS[2]}], COMMANDS[2]: COMMANDS[0]},
        metrics={COMMANDS[0] + visible: 1, COMMANDS[2]: 2},
        artifacts={"::error::" + visible: b"1"},
        created_by=COMMANDS[0],
    )
    client.post(f"/api/w/runs/{run_id}/note", json={"note": f"{HOSTILE}\n::error::x\n##[error]y"})
    error = f"{HOSTILE}\n::error::x\n  ::error::x\n##[error]y\r::error::z"
    client.post(f"/api/w/runs/{run_id}/end", json={"status": "failed", "error": error})
    body = {"name": "::error::" + visible, "run_id": run_id, "artifact": "::error::" + visible, "description": HOSTILE}
    assert client.post("/api/w/models", json=body).status_code == 200
    other = log_run()
    run_list = f"/api/runs/{run_id}?"
    return [
        "/api/runs?",
        "/api/experiments?",
        "/api/models?",
        f"/api/compare?ids={run_id},{other}&",
        f"/api/runs/{run_id}/artifacts?",
        f"/api/runs/{run_id}/metrics?",
        run_list,
    ]


def acts_on_terminal(character: str) -> bool:
    return character not in "\r\n\t" and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs")


@pytest.mark.parametrize("form", ["txt", "md", "csv", "jsonl", "json"])
def test_answer_contains_no_characters_that_a_terminal_acts_on(client: FlaskClient, log_run: LogRun, form: str) -> None:
    for url in log_hostile_runs(client, log_run):
        answer = client.get(f"{url}format={form}")
        if answer.status_code == 400:
            assert "/api/runs/" in url and form in ("csv", "jsonl")
            continue
        acting_characters = {character for character in answer.text if acts_on_terminal(character)}
        assert acting_characters <= {"\U000e0041"} if form in ("csv", "jsonl", "json") else acting_characters == set()
        if form in ("txt", "md"):
            assert "\r" not in answer.text and "\t" not in answer.text


@pytest.mark.parametrize("form", ["txt", "md", "jsonl", "json"])
def test_line_is_never_a_command_to_github_actions(client: FlaskClient, log_run: LogRun, form: str) -> None:
    for url in log_hostile_runs(client, log_run):
        answer = client.get(f"{url}format={form}")
        for line in answer.text.splitlines() if answer.status_code == 200 else ():
            assert not line.lstrip().startswith("::"), line
            assert "##[" not in line, line


def test_escapes_in_json_keep_the_text(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(params={"p": HOSTILE, "q": "##[error]x", "plain": "Grüße, 日本語 ☃"})
    for text in (client.get(f"/api/runs/{run_id}").text, client.get("/api/runs?format=jsonl").text):
        assert json.loads(text)["params"] == {"p": HOSTILE, "q": "##[error]x", "plain": "Grüße, 日本語 ☃"}
        assert "Grüße, 日本語 ☃" in text


@pytest.mark.parametrize(
    "text",
    [
        "a|b",
        "a\\|b",
        "a\\\\|b\\",
        "`",
        "``a` b```",
        " ` ",
        " both ends ",
        "<script>alert(1)</script>",
        "&lt;b&gt; &amp;",
        "[a](javascript:alert(1))",
        "![a](http://evil/x.png)",
        "https://evil.example www.evil.example me@evil.example",
        "@somebody #1 ~~x~~ **b** _i_ $x$",
        "| --- |",
        "# heading",
    ],
)
def test_text_in_a_markdown_table_is_displayed_literally(client: FlaskClient, log_run: LogRun, text: str) -> None:
    log_run(experiment="e", name="n", params={text: text}, tags={"t": text})
    html = cmarkgfm.github_flavored_markdown_to_html(client.get("/api/runs?format=md").text)
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    assert len(rows) == 2  # the heading's and the run's: no text has ended or begun a row
    codes = [unescape(code) for code in re.findall(r"<code>(.*?)</code>", html, re.DOTALL)]
    assert codes.count(text) == 3
    outside = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    tags = set(re.findall(r"</?(\w+)", outside))
    assert tags == {"table", "thead", "tbody", "tr", "th", "td", "p"}
    assert len(re.findall(r"<t[hd]\b", rows[0])) == len(re.findall(r"<t[hd]\b", rows[1]))


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


# -- CSV


def parse_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_of_runs_has_the_fields_and_then_params_metrics_and_tags(client: FlaskClient, log_run: LogRun) -> None:
    log_run(params={"b": 1, "a": [1, "x"]}, metrics={"m": "NaN"}, tags={"t": True})
    log_run(params={"c": None, "d": 'say "hi", twice\nor more'}, metrics={"m": "-Infinity"})
    text = client.get("/api/runs?format=csv").text
    newest, oldest = parse_rows(text)
    assert list(newest) == [
        *("id", "experiment", "name", "status", "start_time", "end_time", "duration_ms", "error"),
        *("parent_run_id", "created_by", "last_write_time"),
        *("param.a", "param.b", "param.c", "param.d", "metric.m", "tag.t"),
    ]
    assert [oldest[f"param.{key}"] for key in "abcd"] == ['[1, "x"]', "1", "", ""]
    assert [newest[f"param.{key}"] for key in "abcd"] == ["", "", "null", 'say "hi", twice\nor more']
    assert (oldest["metric.m"], newest["metric.m"], oldest["tag.t"]) == ("NaN", "-Infinity", "true")
    assert text.count("\r\n") == 3


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x", "-", "::error::x"]
)
def test_text_cell_is_never_a_formula(client: FlaskClient, log_run: LogRun, text: str) -> None:
    log_run(params={"p": text, "neighbour": f"a;{text}"}, tags={"t": text})
    for url in ("/api/runs?format=csv", "/api/export"):
        (row,) = parse_rows(client.get(url).text)
        assert row["param.p"] == row["tag.t"] and row["param.p"][0] == "'"
        assert row["param.p"].replace("'", "") == text.replace("\r", "\\r")
        assert '"a;' in client.get(url).text  # in one cell, even where a semicolon is the separator


@pytest.mark.parametrize("value", [-1, -0.5, 1e-300, 2**100, 0.1, -1e300])
def test_number_in_csv_stays_a_number(client: FlaskClient, log_run: LogRun, value: float) -> None:
    log_run(params={"p": value}, metrics={"m": value})
    (row,) = parse_rows(client.get("/api/runs?format=csv").text)
    assert float(row["param.p"]) == float(row["metric.m"]) == value


@pytest.mark.parametrize("text", ["-1", "-0.5", "-1e-5", "+1", "-.5", "-Infinity"])
def test_text_that_is_a_negative_number_gets_no_apostrophe(client: FlaskClient, log_run: LogRun, text: str) -> None:
    log_run(params={"p": text}, tags={"t": text})
    (row,) = parse_rows(client.get("/api/runs?format=csv").text)
    assert row["param.p"] == row["tag.t"] == text


@pytest.mark.parametrize(
    "text", ["x;=1+1", "x; =1+1", "a\n=1", "a\r\n@SUM(1)", "a\t+1+1", "a|-1+1", "a;::error::x", "=1;=2"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_text_cell_is_never_a_formula_for_any_separator(
    client: FlaskClient, log_run: LogRun, text: str, separator: str
) -> None:
    log_run(
        params={"p": text, "q": "x"},
        tags={"t": text},
        name=text.replace("\n", " ").replace("\r", "").replace("\t", " "),
    )
    for url in ("/api/runs?format=csv", "/api/export"):
        content = client.get(url).text
        for cells in csv.reader(io.StringIO(content, newline=""), delimiter=separator):
            assert not [cell for cell in cells if cell.lstrip(" ").startswith(("=", "+", "-", "@", "::"))], cells
        (row,) = parse_rows(content)
        assert row["param.p"].replace("'", "").replace("\\r", "\r") == text


def test_csv_for_excel_begins_with_a_byte_order_mark(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(params={"größe": "groß"}, metrics={"loss": 1})
    other = log_run(params={"größe": "klein"}, metrics={"loss": 2})
    paths = ("runs", f"runs/{run_id}/metrics", f"runs/{run_id}/artifacts", "experiments", "models", "search?q=id != x",
             f"compare?ids={run_id},{other}")  # fmt: skip
    for path in paths:
        url = f"/api/{path}{'&' if '?' in path else '?'}"
        plain, with_bom = client.get(f"{url}format=csv").data, client.get(f"{url}format=csv&bom=1")
        assert (with_bom.content_type, with_bom.data) == (TYPES["csv"], "\ufeff".encode() + plain)
        assert client.get(f"{url}format=csv&bom=0").data == plain
        error = client.get(f"{url}format=md&bom=1")
        assert error.status_code == 400 and "format=csv" in error.get_json()["detail"]
    assert client.get("/api/export?bom=1").data == "\ufeff".encode() + client.get("/api/export").data
    assert client.get("/api/runs?bom=1", headers={"Accept": "text/csv"}).data.startswith("\ufeff".encode())


def test_export_has_every_run_of_an_experiment(client: FlaskClient, log_run: LogRun) -> None:
    mine = [log_run(experiment="a", params={f"p{number}": number}) for number in range(3)]
    log_run(experiment="b", params={"other": 1})
    answer = client.get("/api/export?experiment=a")
    assert answer.content_type == TYPES["csv"]
    assert [row["id"] for row in parse_rows(answer.text)] == mine[::-1]
    assert "param.other" not in answer.text
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert len(parse_rows(client.get("/api/export").text)) == 4
    assert parse_rows(client.get("/api/export?experiment=nobody").text) == []


def test_export_is_not_paged(client: FlaskClient, log_run: LogRun) -> None:
    for _ in range(101):
        log_run()
    assert len(parse_rows(client.get("/api/export").text)) == 101


def test_export_is_the_list_as_csv_with_an_etag(client: FlaskClient, log_run: LogRun) -> None:
    log_run(params={"a": 1}, metrics={"m": 1}, tags={"t": 1})
    answer = client.get("/api/export")
    assert answer.data == client.get("/api/runs?format=csv").data
    not_modified = client.get("/api/export", headers={"If-None-Match": answer.headers["ETag"]})
    assert (not_modified.status_code, not_modified.data) == (304, b"")
    log_run()
    assert client.get("/api/export", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 200
