"""The page of one run: header, metrics, params, artifacts, relatives, note and links."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.html_tables import Page

LogRun = Callable[..., str]


def get_page(client: FlaskClient, run_id: str, query: str = "", status: int = 200) -> str:
    answer = client.get(f"/runs/{run_id}{query}")
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    return answer.text


def extract_text(html: str) -> str:
    """Return the visible text of a page, on one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


# -- the header


def test_header_has_author_times_and_related_runs(client: FlaskClient, log_run: LogRun) -> None:
    parent = log_run(name="sweep")
    before = log_run(name="before", experiment="other")
    run_id = log_run(
        name="try 1", experiment="other", created_by="ci", parent_run_id=parent, tags={"a": "b"}, end="failed"
    )
    html = get_page(client, run_id)
    assert re.search(r"<h1><bdi>try 1</bdi> .*failed", html)
    assert f'<a href="/runs/{parent}" title="{parent}">sweep</a>' in html
    assert f'href="/runs/{before}"' in html and "← older" in html and "newer →" not in html
    assert f"/compare?ids={run_id},{before}" in html
    assert f"/compare?ids={run_id},{parent}" in html
    assert f'href="/api/runs/{run_id}/download"' in html
    assert f'href="/api/runs/{run_id}?format=md"' in html
    for part in ("Started", "Ended", "Duration", "By ci", "a: b"):
        assert part in extract_text(html), part
    assert "Last write" not in extract_text(html)
    assert "newer →" in get_page(client, before)


def test_parent_in_another_store_is_not_a_link(client: FlaskClient, log_run: LogRun) -> None:
    html = get_page(client, log_run(parent_run_id="elsewhere"))
    assert "Parent elsewhere (not in this store)" in extract_text(html)
    assert '"/runs/elsewhere"' not in html


def test_only_tags_and_params_that_are_http_urls_are_links(client: FlaskClient, log_run: LogRun) -> None:
    urls = {"good": "https://example.com/a?b=c&d", "script": "javascript:alert(1)", "data": "data:text/html,x", "n": 1}
    html = get_page(client, log_run(tags=urls, params=urls))
    links = re.findall(r'<a href="([^"/]+:[^"]*)" rel="noopener noreferrer">', html)
    assert links == ["https://example.com/a?b=c&amp;d"] * 2


def test_error_of_a_failed_run_is_displayed_literally(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    client.post(f"/api/w/runs/{run_id}/end", json={"status": "failed", "error": "<b>out</b>\n  of memory"})
    assert "&lt;b&gt;out&lt;/b&gt;\n  of memory</pre>" in get_page(client, run_id)


def test_model_versions_are_listed_with_their_stage(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(artifacts={"m": b"x"})
    for stage in ("production", "none"):
        client.post("/api/w/models", json={"name": "iris", "run_id": run_id, "artifact": "m", "stage": stage})
    assert "Model versions iris 1 production , iris 2" in extract_text(get_page(client, run_id))


# -- metrics and params


def test_metric_has_its_last_min_and_max_value_with_their_steps(client: FlaskClient, log_run: LogRun) -> None:
    points = [{"loss": value, "step": step} for step, value in enumerate([0.5, 0.123456789, 2, "NaN", 1])]
    html = get_page(client, log_run(metrics=[*points, {"only": "Infinity"}]))
    rows = Page(html).rows
    assert ["loss 5 points, 1 NaN or ∞", "1 step 4", "0.12346 step 1", "2 step 2"] in rows
    assert ["only 1 point, 1 NaN or ∞", "Infinity step 0", "", ""] in rows
    assert 'title="0.123456789"' in html


def test_min_and_max_cover_points_logged_again_and_the_page_says_so(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics=[{"loss": 9.0, "step": 0}, {"loss": 0.1, "step": 1}])
    client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 0.5, "step": 1})  # a resumed run repeats a step
    html = get_page(client, run_id)
    assert Page(html).find_row("loss")[1:] == ["0.5 step 1", "0.1 step 1", "9 step 0"]
    assert "Min and Max cover every finite point, including points logged again at the same step." in extract_text(html)


def test_long_param_is_collapsible_and_a_short_one_is_not(client: FlaskClient, log_run: LogRun) -> None:
    params = {
        "lr": 0.1,
        "none": None,
        "list": [1, 2, 3],
        "text": "x" * 500,
        "lines": "a\nb",
        "tree": {"layers": [{"kind": "conv", "width": 64}, {"kind": "pool"}]},
        "book": "w" * 30_000,
    }
    html = get_page(client, log_run(params=params))
    rows = {row[0]: row[1] for row in Page(html).rows if len(row) == 2}
    assert (rows["lr"], rows["none"], rows["list"]) == ("0.1", "null", "[1, 2, 3]")
    assert html.count("<details><summary>") == 4
    assert "x" * 500 + "</pre>" in html
    assert "    {\n      &#34;kind&#34;: &#34;conv&#34;" in html
    assert "10,000 more characters" in extract_text(html)
    assert "w" * 20_001 not in html


def test_long_tables_are_truncated_and_shown_completely_on_request(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(
        params={f"p{number}": number for number in range(201)}, metrics={f"m{number}": 1 for number in range(101)}
    )
    html = get_page(client, run_id, "?x=relative")
    assert "100 of 101 metrics." in extract_text(html) and "200 of 201 params." in extract_text(html)
    assert "m99" not in [row[0].split()[0] for row in Page(html).rows if row and row[0]]
    link = re.findall(r'href="([^"]+)">Show all', html)[0].replace("&amp;", "&")
    all_metrics_page = client.get(link).text
    assert "100 of 101 metrics" not in extract_text(all_metrics_page) and "200 of 201 params." in extract_text(
        all_metrics_page
    )
    assert "m99" in [row[0].split()[0] for row in Page(all_metrics_page).rows if row and row[0]]
    assert '<option value="relative" selected>' in all_metrics_page, "the settings of charts are kept"
    links = [each.replace("&amp;", "&") for each in re.findall(r'href="([^"]+)">Show all', all_metrics_page)]
    assert "Show all" not in client.get(links[0]).text


# -- artifacts, relatives, the note


def test_artifacts_have_a_size_a_hash_a_page_and_a_download(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(artifacts={"plots/a & b.png": b"x" * 1500, "empty": b""})
    html = get_page(client, run_id)
    rows = Page(html).rows
    assert next(row[:2] for row in rows if row and row[0] == "empty") == ["empty", "0 B"]
    assert "1.5 kB" in next(row[1] for row in rows if row and row[0] == "plots/a & b.png")
    links = Page(html).links
    assert f"/runs/{run_id}/artifacts/plots/a%20%26%20b.png" in links
    download = f"/api/artifacts/{run_id}/plots/a%20%26%20b.png/download"
    assert download in links and client.get(download).data == b"x" * 1500
    assert client.get(f"/runs/{run_id}/artifacts/plots/a%20%26%20b.png").status_code == 200


def test_children_and_datasets_are_tables(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    child = log_run(name="fold", parent_run_id=run_id, end="completed")
    dataset = {"role": "train", "n_rows": 12345, "n_cols": 4, "features": ["a"], "source": "https://example.com/x"}
    client.post(f"/api/w/runs/{run_id}/datasets", json=dataset)
    html = get_page(client, run_id)
    assert f'<tr id="run-{child}">' in html
    assert ["train", "12,345", "4", '["a"]', "https://example.com/x", ""] in Page(html).rows
    more = {"name": "iris", "source_type": "http", "source": "x", "schema": "{}", "tags": {"kind": "raw"}}
    client.post(f"/api/w/runs/{run_id}/datasets", json=more)
    html = get_page(client, run_id)
    assert ["iris", "", "", "", "", "x http", "", "kind: raw schema: {}"] in Page(html).rows
    assert ["", "train", "12,345", "4", '["a"]', "https://example.com/x", "", ""] in Page(html).rows


def test_children_have_metrics_differing_params_and_checkboxes(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    folds = [
        log_run(
            name=f"fold {number}",
            parent_run_id=run_id,
            params={"fold": number, "lr": 0.1},
            metrics={"loss": 0.5 + number, **({"only_once": 1} if number == 0 else {})},
        )
        for number in range(3)
    ]
    html = get_page(client, run_id)
    table = html[html.index('id="relatives"') :]
    heads = re.findall(r"<th scope=\"col\"[^>]*>(?:<a [^>]*>)?([^<]+)", table)
    assert heads[:6] == ["Run", "Status", "Started", "Duration", "loss", "fold"], "neither only_once nor lr"
    rows = [row for row in Page(html).rows if len(row) == 7]
    assert [(row[-2], row[-1]) for row in rows[1:]] == [("0.5", "0"), ("1.5", "1"), ("2.5", "2")]
    assert re.findall(r'name="ids" value="([^"]+)"', table) == folds, "in the order of their start"
    for path in ("/compare", "/runs"):
        assert f'<button formaction="{path}"' in table
        assert "fold 2" in client.get(path, query_string={"ids": folds[1:]}).text
    heading_link = re.search(r'<a href="([^"]+)">loss</a>', table)
    assert heading_link is not None
    ordered_list = client.get(heading_link[1].replace("&amp;", "&")).text
    assert re.findall(r'name="ids" value="([^"]+)"', ordered_list) == folds, "the best loss first"


def test_children_beyond_fifty_are_shown_on_request(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run()
    for _ in range(51):
        log_run(parent_run_id=run_id)
    boxes = [get_page(client, run_id, query).count('type="checkbox" name="ids"') for query in ("", "?all=children")]
    assert boxes == [50, 51]


def test_note_is_rendered_as_safe_markdown(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(artifacts={"plot.png": b"x"})
    note = "# Title\n\n**bold** ![](plot.png) <script>alert(1)</script> [x](javascript:alert(1))"
    client.post(f"/api/w/runs/{run_id}/note", json={"note": note})
    html = get_page(client, run_id)
    note_html = html[html.index('class="rendered"') : html.index("edit-note")]
    assert "<strong>bold</strong>" in note_html
    assert f'src="/runs/{run_id}/images/plot.png"' in note_html
    assert "<script" not in note_html and 'href="javascript' not in note_html
    assert "# Title\n\n**bold**" in html, "the editor has the Markdown source"


# -- errors, and what a run's status allows


@pytest.mark.parametrize(
    ("query", "message"),
    [("?all=points", "all must be one of"), ("?x=time", "x"), ("?smoothing=2", "smoothing"), ("?typo=1", "typo")],
)
def test_mistake_in_the_url_is_an_error_page(client: FlaskClient, log_run: LogRun, query: str, message: str) -> None:
    assert message in extract_text(get_page(client, log_run(), query, status=400))


def test_unknown_run_is_404_and_an_empty_one_has_a_page(client: FlaskClient, log_run: LogRun) -> None:
    assert "no such run" in get_page(client, "nobody", status=404)
    assert "None yet." in get_page(client, log_run())
    assert "No metrics were logged." in get_page(client, log_run(end="completed"))


def test_only_a_running_run_can_be_ended_and_only_an_ended_one_resumed(client: FlaskClient, log_run: LogRun) -> None:
    running_page, ended_page = get_page(client, log_run()), get_page(client, log_run(end="completed"))
    assert (
        '/end"' in running_page
        and '/end"' not in ended_page
        and 'id="end"' in running_page
        and 'id="end"' not in ended_page
    )
    assert "Log to this run" in running_page and "Log to this run" not in ended_page
    assert 'id="resume"' in ended_page and 'id="resume"' not in running_page
    assert "/trash" in running_page and "/trash" in ended_page


def test_read_only_server_offers_no_writes(log_run: LogRun, make_app: Callable[..., Any]) -> None:
    run_id = log_run(tags={"a": "b"})
    html = get_page(make_app(read_only=True).test_client(), run_id)
    assert "a: b" in extract_text(html)
    assert 'method="post"' not in html and "<textarea" not in html and "Log to this run" not in html


# -- many metrics


@pytest.fixture
def many(client: FlaskClient, log_run: LogRun) -> str:
    """The id of a run of 3,000 metrics: 2,800 under prefixes, 200 without one."""
    names = [f"{'train' if at % 4 else 'val'}/m{at}" for at in range(2800)] + [f"plain {at}" for at in range(200)]
    return log_run(metrics=[{"metrics": dict.fromkeys(names, step), "step": step} for step in range(3)])


def test_pages_stay_small_for_3000_metrics(client: FlaskClient, many: str) -> None:
    page = get_page(client, many)
    assert len(page.encode()) < 150_000
    assert "2,960 more charts" in page and "and 2,940 that are not listed" in page
    assert "100 of 3,000 metrics" in extract_text(page)
    runs = client.get("/runs", headers={"Accept": "text/html"}).text
    assert len(runs.encode()) < 100_000
    assert "and 2,800 more, by name" in extract_text(runs)


def test_filter_by_part_of_a_name_applies_to_table_and_charts(client: FlaskClient, many: str) -> None:
    page = get_page(client, many, "?filter=M279&smoothing=0.5&all=params")
    names = re.findall(r'<th scope="row" class="name" title="([^"]*)">', page)
    assert set(names) == {f"{'train' if at % 4 else 'val'}/m{at}" for at in (279, *range(2790, 2800))}
    assert page.count("<figure") == len(names)
    assert 'name="filter" value="M279"' in page
    assert 'name="all" value="params"' in page
    assert f'href="/runs/{many}?all=params&amp;smoothing=0.5">All 3,000 metrics</a>' in page
    assert "No metric's name matches" in get_page(client, many, "?filter=nothing")
    page = get_page(client, many, "?filter=/^train.m279.$/")
    names = re.findall(r'<th scope="row" class="name" title="([^"]*)">', page)
    assert set(names) == {f"train/m{at}" for at in range(2790, 2800) if at % 4}
    get_page(client, many, "?filter=/(/", status=400)


def test_sections_are_rendered_when_they_are_opened(client: FlaskClient, log_run: LogRun) -> None:
    names = [f"group{at // 100}/m{at}" for at in range(5000)] + ["loss", "system/cpu", "system/gpu0/power"]
    run_id = log_run(metrics=[{"metrics": dict.fromkeys(names, step), "step": step} for step in range(3)])
    page = get_page(client, run_id)
    assert len(page.encode()) < 150_000
    find_sections = re.findall(r'id="metrics-(\w*)" data-section="\w*"( open)?>', page)
    assert len(find_sections) == 22
    assert [name for name, is_open in find_sections if is_open] == ["group0"]
    assert "system" in [name for name, _ in find_sections]
    assert page.count("<figure") == 40
    assert 'title="system/cpu"' not in page
    opened_page = get_page(client, run_id, "?open=system")
    assert 'title="system/cpu"' in opened_page
    assert 'aria-label="system/gpu0/power"' in get_page(client, run_id, "?open=system&filter=system")
    assert f'href="/runs/{run_id}?open=system&amp;open=group1"' in opened_page


def test_system_metrics_are_shown_if_they_are_the_only_ones_or_match_a_filter(
    client: FlaskClient, log_run: LogRun
) -> None:
    points = [{"system/cpu": step, "step": step} for step in range(3)]
    page = get_page(client, log_run(metrics=points))
    assert 'title="system/cpu"' in page and 'aria-label="system/cpu"' in page
    run_id = log_run(metrics=[{**point, "cost": 1} for point in points])
    assert 'title="system/cpu"' not in get_page(client, run_id)
    for text in ("c", "cpu"):
        page = get_page(client, run_id, f"?filter={text}")
        assert 'title="system/cpu"' in page and 'aria-label="system/cpu"' in page


def test_many_params_are_in_sections_by_prefix(client: FlaskClient, log_run: LogRun) -> None:
    def find_sections(run_id: str, query: str = "") -> list[tuple[str, str]]:
        html = get_page(client, run_id, query)
        matches = re.findall(r'<details class="section" id="params-in-([^"]*)"( open)?>', html)
        return [(name, "open" if is_open else "closed") for name, is_open in matches]

    params = {f"{prefix}{number}": number for prefix in ("model/", "optimizer.", "data.") for number in range(20)}
    run_id = log_run(params={"seed": 1, **params})
    assert len(find_sections(run_id)) == 4
    assert {state for _, state in find_sections(run_id)} == {"open", "closed"}
    rows = [row for row in Page(get_page(client, run_id)).rows if len(row) == 2]
    assert {key: value for key, value in rows if key in params} == {key: str(number) for key, number in params.items()}
    assert find_sections(run_id, "?filter=/5|6|7/") == []
    assert {state for _, state in find_sections(run_id, "?filter=/[0-9]/")} == {"open"}
    assert find_sections(log_run(params=dict(list(params.items())[:29]))) == []
    assert find_sections(log_run(params={f"p{number}": number for number in range(40)})) == []


def test_filter_applies_to_params_as_well(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(params={"model.layers": 3, "optim.lr": 0.1}, metrics={"loss": 1, "lr": 2})
    page = extract_text(get_page(client, run_id, "?filter=lr"))
    assert "optim.lr" in page
    assert "model.layers" not in page
    assert "No param's name matches “loss”. All 2 params" in extract_text(get_page(client, run_id, "?filter=loss"))


def test_note_and_artifacts_come_before_metrics_and_charts(client: FlaskClient, log_run: LogRun) -> None:
    page = get_page(client, log_run(metrics={"loss": 1}, artifacts={"model.pt": b"x"}))
    places = [page.index(f'id="{part}"') for part in ("note", "artifacts", "metrics", "curves")]
    assert places == sorted(places)


def test_list_of_runs_shows_any_metric_named_in_the_url(client: FlaskClient, many: str) -> None:
    page = client.get("/runs?columns=metrics.%22plain+199%22&columns=&spark=val/m2000").text
    assert "plain 199" in page and 'name="spark" size="24" list="spark-metrics" value="val/m2000"' in page
    assert 'class="sparkline"' in page
