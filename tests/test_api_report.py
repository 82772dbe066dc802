"""GET /api/runs/:id as a report: Markdown for a job's summary on GitHub, text for a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cmarkgfm
import pytest
from flask.testing import FlaskClient

LogRun = Callable[..., str]


def get_report(client: FlaskClient, run_id: str, form: str = "md") -> str:
    answer = client.get(f"/api/runs/{run_id}?format={form}")
    assert answer.status_code == 200, answer.text
    return answer.text


def parse_charts(text: str) -> list[dict[str, Any]]:
    """Return the charts of a report, each with its title, its axes and its points."""
    charts = []
    for block in re.findall(r"^```mermaid\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        match = re.fullmatch(
            r'xychart-beta\n    title "([^"]*)"\n    x-axis "step" (-?\d+) --> (-?\d+)\n'
            r"    y-axis (-?[\d.]+) --> (-?[\d.]+)\n    line \[(.*)\]\n",
            block,
        )
        assert match, block
        numbers = [float(number) for number in match[6].split(", ")]
        charts.append(
            {
                "title": match[1],
                "x": (int(match[2]), int(match[3])),
                "y": (float(match[4]), float(match[5])),
                "line": numbers,
            }
        )
        assert not re.search(r"\d[eE]", match[6]), "Mermaid reads no exponent"
    return charts


def test_report_contains_everything_about_the_run(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(
        name="first",
        experiment="iris",
        tags={"author": "maria"},
        params={"lr": 0.01, "layers": [4, 2]},
        metrics=[{"loss": 1 / (step + 1), "step": step} for step in range(10)],
        artifacts={"model.pkl": b"bytes"},
        end="completed",
    )
    client.post(f"/api/note/{run_id}", json={"note": "a *note*\nof two lines"})
    dataset = {"name": "iris", "role": "train", "n_rows": 1500, "hash": "d1", "source": "s3://x"}
    client.post(f"/api/w/runs/{run_id}/datasets", json=dataset)
    client.post(f"/api/w/runs/{run_id}/datasets", json={"features": ["a"]})
    (artifact,) = client.get(f"/api/runs/{run_id}/artifacts").get_json()
    text = get_report(client, run_id)
    assert text.startswith("## ✅ `first` completed\n")
    for line in (
        f"| run | `{run_id}` |",
        "| experiment | `iris` |",
        "| tags | `author=maria` |",
        "| `lr` | `0.01` |",
        "| `layers` | `[4, 2]` |",
        "| metric | first | last | min | max | points | trend |",
        "| `loss` | 1 | 0.1 | 0.1 | 1 | 10 | █▄▃▂▁▁▁▁▁▁ |",
        f"| `model.pkl` | 5 B | `{artifact['sha256']}` |",
        "| dataset | role | rows | hash | source |",
        "| `iris` | `train` | `1500` | `d1` | `s3://x` |",
        "> a *note*",
        "> of two lines",
    ):
        assert line in text.splitlines(), line
    (chart,) = parse_charts(text)
    assert (chart["title"], chart["x"], chart["y"]) == ("loss", (0, 9), (0.1, 1.0))
    assert chart["line"] == [float(f"{1 / (step + 1):.6g}") for step in range(10)]


def test_text_report_has_the_same_content_within_its_width(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(
        name="first",
        params={"lr": 0.01, "long": "x" * 500},
        metrics=[
            {"loss": 1 / (step + 1), "a metric with a very long name indeed " * 3: 1, "step": step}
            for step in range(10)
        ],
        artifacts={"model.pkl": b"bytes"},
        end="failed",
    )
    client.post(f"/api/w/runs/{run_id}/datasets", json={"name": "iris" * 100, "role": "train", "n_rows": 1500})
    text = get_report(client, run_id, "txt")
    assert text.startswith("first  failed\n")
    assert re.search(r"^irisiris.*…  train  1500", text, re.MULTILINE)
    assert f"run         {run_id}" in text.splitlines()
    assert "█▄▃▂▁▁▁▁▁▁" in text and "model.pkl" in text and "0.01" in text
    assert max(map(len, text.splitlines())) <= 120
    assert text.splitlines()[-1] == f"http://localhost/runs/{run_id}"


def test_empty_run_has_a_report(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    text = get_report(client, run_id)
    assert text.startswith(f"## ⏳ `{run_id}` running\n")
    assert "###" not in text
    assert run_id in get_report(client, run_id, "txt")


def test_error_of_the_run_is_displayed_literally(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    error = "Traceback:\n  File x, line 1\n```\n::error::no\nValueError: <b>"
    client.post(f"/api/w/runs/{run_id}/end", json={"status": "failed", "error": error})
    html = cmarkgfm.github_flavored_markdown_to_html(get_report(client, run_id))
    assert "❌" in html
    (code,) = re.findall(r"<blockquote>\s*<pre.*?><code.*?>(.*?)</code></pre>\s*</blockquote>", html, re.DOTALL)
    assert code == "Traceback:\n  File x, line 1\n```\n\\x3a:error::no\nValueError: &lt;b&gt;\n"


def test_chart_has_at_most_fifty_points_and_keeps_spikes(client: FlaskClient, log_run: LogRun) -> None:
    points = [
        {"loss": 1000.0 if step == 617 else -7.5 if step == 333 else step % 3, "step": step} for step in range(2000)
    ]
    (chart,) = parse_charts(get_report(client, log_run(metrics=points)))
    assert 10 < len(chart["line"]) <= 50
    assert {1000.0, -7.5} <= set(chart["line"])
    assert chart["y"] == (-7.5, 1000.0)


def test_nonfinite_values_are_listed_but_not_drawn(client: FlaskClient, log_run: LogRun) -> None:
    values = ["NaN", 1, "Infinity", 2, "-Infinity", 3, "NaN"]
    run_id = log_run(metrics=[{"loss": value, "step": step} for step, value in enumerate(values)])
    text = get_report(client, run_id)
    assert "| `loss` | NaN | NaN | 1 | 3 | 7 | ▁▅█ |" in text.splitlines()
    (chart,) = parse_charts(text)
    assert (chart["x"], chart["line"]) == ((1, 5), [1, 2, 3])


@pytest.mark.parametrize("values", [[], ["NaN"], [1], ["NaN", 1, "NaN"], ["NaN", "Infinity"]])
def test_series_with_fewer_than_two_finite_points_has_no_chart(
    client: FlaskClient, log_run: LogRun, values: list[Any]
) -> None:
    run_id = log_run(metrics=[{"m": value, "step": step} for step, value in enumerate(values)] or None)
    assert parse_charts(get_report(client, run_id)) == []


@pytest.mark.parametrize(
    "values",
    [
        [5, 5, 5],
        [0, 0],
        [-3, -3],
        [1e-300, 2e-300],
        [-1.7e308, 1.7e308],
        [1.79e308, 1.79e308],
        [5e-324, 0],
        [1e22, 1e21],
        [2**1000, 1],
        [0.1, 0.30000000000000004],
        [-0.0, 0.0],
    ],
)
def test_chart_has_a_nonempty_range_for_any_values(client: FlaskClient, log_run: LogRun, values: list[float]) -> None:
    run_id = log_run(metrics=[{"m": value, "step": step} for step, value in enumerate(values)])
    (chart,) = parse_charts(get_report(client, run_id))
    least, greatest = chart["y"]
    assert least < greatest
    assert all(least <= value <= greatest for value in chart["line"])
    assert parse_charts(get_report(client, run_id, "md")) == [chart]


def test_report_draws_fifty_series_and_counts_the_others(client: FlaskClient, log_run: LogRun) -> None:
    names = [f"m{number:03}" for number in range(60)]
    text = get_report(client, log_run(metrics=[{**dict.fromkeys(names, step), "step": step} for step in range(3)]))
    assert len(parse_charts(text)) == 50
    assert "10 more charts are left out." in text
    assert all(f"| `{name}` |" in text for name in names)


HOSTILE = (
    "a|b",
    "`` ` ```",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1)) ![](http://evil.example/p.png)",
    "https://evil.example www.evil.example a@evil.example @somebody #1",
    '"] title "x',
    "%%{init: {'theme':'x'}}%%",
    "::error::owned",
    "  ::set-output name=a::b",
    "##[error]owned",
    "```",
    "~~~",
    "---",
    "# heading",
    "\\",
    "$x$",
    "\u202eevil",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_users_is_displayed_literally(client: FlaskClient, log_run: LogRun, text: str) -> None:
    block = f"one\n{text}\n\n{text}\n> {text}"
    run_id = log_run(
        experiment=text,
        name=text,
        created_by=text,
        tags={text: text},
        params={text: text, "lines": block},
        metrics=[{text: step, "step": step} for step in range(3)],
        artifacts={text.replace("/", "|").replace("\\", "|"): b"1"},
    )
    client.post(f"/api/note/{run_id}", json={"note": block})
    client.post(f"/api/w/runs/{run_id}/end", json={"status": "failed", "error": block})
    markdown = get_report(client, run_id)
    html = cmarkgfm.github_flavored_markdown_to_html(markdown)
    outside = re.sub(r"<code[^>]*>.*?</code>", "", html, flags=re.DOTALL)
    expected_tags = {"h2", "h3", "table", "thead", "tbody", "tr", "th", "td", "p", "strong", "pre", "blockquote"}
    assert set(re.findall(r"</?(\w+)", outside)) == expected_tags
    plain = re.sub(r"<[^>]*>", "", outside)
    assert "evil" not in plain and "alert" not in plain and "::" not in plain
    assert html.count("<h2>") == 1 and html.count("<h3>") == 4
    assert (
        html.count("<table>") == 4 and html.count("<tr>") == 4 + 6 + 2 + 1 + 1
    )  # heads, facts, params, metrics, artifacts
    assert len(parse_charts(markdown)) == 1
    for line in (*markdown.splitlines(), *get_report(client, run_id, "txt").splitlines()):
        assert not line.lstrip().startswith("::") and "##[" not in line and "\u202e" not in line


@pytest.mark.parametrize("form", ["csv", "jsonl", "html", ""])
def test_format_of_lists_is_400_for_a_single_run(client: FlaskClient, log_run: LogRun, form: str) -> None:
    answer = client.get(f"/api/runs/{log_run()}?format={form}")
    assert answer.status_code == 400
    assert "json, txt, md" in answer.get_json()["detail"]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/markdown", "text/markdown; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/csv", "application/json"),
        ("*/*", "application/json"),
        ("text/html,*/*;q=0.8", "application/json"),
    ],
)
def test_accept_header_selects_the_format_of_a_run(
    client: FlaskClient, log_run: LogRun, accept: str, media_type: str
) -> None:
    answer = client.get(f"/api/runs/{log_run()}", headers={"Accept": accept})
    assert answer.content_type == media_type
    assert "Accept" in answer.headers["Vary"]


@pytest.mark.parametrize("form", ["md", "txt"])
def test_report_of_unknown_run_is_404_in_json(client: FlaskClient, form: str) -> None:
    answer = client.get(f"/api/runs/nobody?format={form}")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "no such run")
