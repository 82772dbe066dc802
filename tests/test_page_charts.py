"""Charts over HTTP: SVG files and pages of one run and of several, their parameters and errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from support.drawings import Drawing
from werkzeug.test import TestResponse

LogRun = Callable[..., str]
HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"


@pytest.fixture
def client(shared_client: FlaskClient) -> FlaskClient:
    return shared_client


def make_points(key: str, values: list[Any], first: int = 0) -> list[dict[str, Any]]:
    return [
        {"metrics": {key: value}, "step": first + at, "timestamp": 1_763_985_600_000 + at * 60_000}
        for at, value in enumerate(values)
    ]


@pytest.fixture
def run_id(client: FlaskClient, log_run: LogRun) -> str:
    """The id of a run with a loss on two splits, and a metric with a hostile name."""
    all_points = [
        *make_points("train/loss", [5 / (at + 1) for at in range(2000)]),
        *make_points("val/loss", [6 / (at + 1) for at in range(20)]),
        *make_points(HOSTILE, [1, "NaN", 3]),
    ]
    return log_run(metrics=all_points, name=HOSTILE)


def get_drawing(client: FlaskClient, path: str, **query: Any) -> Drawing:
    answer = client.get(path, query_string=query)
    assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml"), answer.text
    assert answer.headers["ETag"] and answer.headers["Content-Security-Policy"]
    return Drawing(answer.text)


def test_chart_is_an_svg_file_with_the_requested_settings(client: FlaskClient, run_id: str) -> None:
    path = f"/runs/{run_id}/charts.svg"
    drawing = get_drawing(client, path, key=["train/loss", "val/loss"])
    assert drawing.texts()[0] == "loss" and {"train/loss", "val/loss"} <= set(drawing.texts())
    assert (drawing.width, drawing.height) == (720, 360)
    assert "2,020 points, drawn as 742: means" in (
        drawing.root.findtext("desc") or ""
    )  # one a pixel, the first, and all of val
    drawing = get_drawing(client, path, key="val/loss", x="relative", width=300, height=200, log_y="1", smoothing="0.6")
    assert (drawing.width, drawing.height) == (300, 200)
    assert drawing.texts()[0] == "val/loss"
    drawing = get_drawing(client, path, key=HOSTILE)
    assert drawing.root.findtext("title") == HOSTILE and "NaN at step 1" in (drawing.root.findtext("desc") or "")


def test_range_is_shown_at_full_detail(client: FlaskClient, run_id: str) -> None:
    path = f"/runs/{run_id}/charts.svg"
    drawing = get_drawing(client, path, key="train/loss", **{"from": 1000, "to": 1200})
    assert "201 of 2,000 points in this range" in (drawing.root.findtext("desc") or "")
    assert {"1,000", "1,200"} <= set(drawing.x_ticks())
    drawing = get_drawing(
        client, path, key="train/loss", x="wall", **{"from": 1_763_985_600_000, "to": 1_763_985_900_000}
    )
    assert "6 of 2,000 points in this range" in (drawing.root.findtext("desc") or "")
    drawing = get_drawing(client, path, key="train/loss", **{"from": 5000, "to": 2**63 - 1})
    assert "no finite value here" in drawing.texts()


def test_compared_runs_share_a_chart_each_in_its_colour(client: FlaskClient, log_run: LogRun) -> None:
    one, other = (
        log_run(name=name, metrics=make_points("loss", [3, 2, at])) for at, name in enumerate(("base", "wide"))
    )
    drawing = get_drawing(client, "/compare/charts.svg", ids=f"{one},{other}", key="loss")
    assert {"base", "wide"} <= set(drawing.texts())
    colors = [group.get("color") for group in drawing.root.iter("g")]
    assert len(set(colors)) == 2
    swapped_drawing = get_drawing(client, "/compare/charts.svg", ids=f"{other},{one}", key="loss")
    assert [
        group.get("color") for group in swapped_drawing.root.iter("g")
    ] == colors  # the colour depends on the place in ids
    log_run(id="third", name="base", metrics=make_points("acc", [1]))
    drawing = get_drawing(client, "/compare/charts.svg", ids=f"{one},third", key="acc")
    assert "third base" in drawing.texts()
    assert f"…{one[-4:]} base" not in drawing.texts()  # which has no acc
    assert [group.get("color") for group in drawing.root.iter("g")] == colors[1:2] * 2  # its legend, its line


BAD = {
    "no key": {},
    "x": {"key": "train/loss", "x": "epoch"},
    "smoothing": {"key": "train/loss", "smoothing": "1"},
    "smoothing nan": {"key": "train/loss", "smoothing": "nan"},
    "smoothing text": {"key": "train/loss", "smoothing": "much"},
    "log": {"key": "train/loss", "log_y": "maybe"},
    "calendar": {"key": "train/loss", "x": "wall", "log_x": "true"},
    "range": {"key": "train/loss", "from": "5", "to": "4"},
    "end": {"key": "train/loss", "from": "1.5"},
    "64 bits": {"key": "train/loss", "to": 2**63},
    "width": {"key": "train/loss", "width": "5000"},
    "height": {"key": "train/loss", "height": "0"},
    "unknown": {"key": "train/loss", "colour": "red"},
}


@pytest.mark.parametrize("query", BAD.values(), ids=BAD)
@pytest.mark.parametrize("kind", ["charts.svg", "charts"])
def test_invalid_chart_parameter_is_400(client: FlaskClient, run_id: str, kind: str, query: dict[str, str]) -> None:
    for path in (f"/runs/{run_id}/{kind}?", f"/compare/{kind}?ids={run_id}&"):
        assert client.get(path + urlencode(query)).status_code == 400


def test_unknown_run_or_metric_is_404(client: FlaskClient, run_id: str) -> None:
    for kind in ("charts.svg", "charts"):
        assert client.get(f"/runs/nobody/{kind}?key=loss").status_code == 404
        assert client.get(f"/runs/{run_id}/{kind}?key=nothing").status_code == 404
        assert client.get(f"/runs/{run_id}/{kind}?key=train/loss&key=nothing").status_code == 404
        assert client.get(f"/compare/{kind}?ids={run_id},nobody&key=train/loss").status_code == 404
        assert client.get(f"/compare/{kind}?ids={run_id}&key=nothing").status_code == 404
        assert client.get(f"/compare/{kind}?ids=&key=loss").status_code == 400


def get_page(client: FlaskClient, path: str, **query: Any) -> TestResponse:
    answer = client.get(path, query_string=query)
    assert (answer.status_code, answer.mimetype) == (200, "text/html"), answer.text
    assert not re.search(r"style=|<script(?! (type=\"module\" )?src=)", answer.text)
    return answer


def test_chart_page_has_a_large_chart_and_a_table_of_its_values(client: FlaskClient, run_id: str) -> None:
    text = get_page(client, f"/runs/{run_id}/charts", key=["train/loss", "val/loss"]).text
    drawing = Drawing(re.findall(r"<svg class=\"chart\".*?</svg>", text, re.DOTALL)[0])
    assert drawing.width == 960 and len(list(drawing.root.iter("g"))) == 2
    assert text.count('<button type="button" class="plain s') == 2
    rows = re.findall(r"<tr><th scope=\"row\" class=\"number\">([\d,]+)</th>", text)
    assert rows[0] == "0" and rows[-1] == "1,999" and 50 < len(rows) < 110
    assert 'name="key" value="train/loss"' in text
    answer = get_page(client, f"/runs/{run_id}/charts", key="train/loss", **{"from": 3, "to": 9})
    assert re.findall(r"<a href=\"([^\"]*)\">Whole range", answer.text) == [f"/runs/{run_id}/charts?key=train/loss"]


def test_page_of_many_charts_stays_small_and_links_to_the_omitted_ones(client: FlaskClient, log_run: LogRun) -> None:
    many = [f"metric {at}" for at in range(70)]
    all_points = [{"metrics": dict.fromkeys(many[:20], step * 7919 % 1000 / 7), "step": step} for step in range(1000)]
    run_id = log_run(metrics=all_points)
    text = get_page(client, f"/runs/{run_id}").text
    assert text.count('<svg class="chart"') == 20 and len(text) < 160_000
    client.post(f"/api/w/runs/{run_id}/metrics", json=dict.fromkeys(many, 1))
    text = get_page(client, f"/runs/{run_id}").text
    assert text.count('<svg class="chart"') == 40 and "30 more charts" in text
    assert f'<a href="/runs/{run_id}/charts?key=metric+59">metric 59</a>' in text


def test_number_of_lines_in_a_chart_is_limited(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics={f"m{at}": 1 for at in range(60)})
    keys = [f"m{at}" for at in range(60)]
    ids = ",".join([run_id] * 3)
    assert get_drawing(client, "/compare/charts.svg", ids=ids, key=keys)
    answer = client.get("/compare/charts.svg", query_string={"ids": f"{ids},{run_id}", "key": keys})
    assert answer.status_code == 400 and "240 lines are too many" in answer.text


def test_hostile_names_are_text_on_every_page(client: FlaskClient, run_id: str, log_run: LogRun) -> None:
    other = log_run(name=HOSTILE, metrics=make_points(HOSTILE, [1, 2]))
    for path, query in ((f"/runs/{run_id}/charts", {}), ("/compare/charts", {"ids": f"{run_id},{other}"})):
        text = get_page(client, path, key=HOSTILE, **query).text
        assert "<script>alert" not in text and "{{7*7}}" in text


def test_chart_is_304_until_the_run_is_written_to(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics=make_points("loss", [3, 2, 1]))
    for path in (f"/runs/{run_id}/charts.svg?key=loss", f"/compare/charts.svg?ids={run_id}&key=loss"):
        etag = client.get(path).headers["ETag"]
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
        client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 0.5, "step": 9})
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 200


def test_metrics_api_returns_several_metrics_up_to_a_step(client: FlaskClient, run_id: str) -> None:
    path = f"/api/runs/{run_id}/metrics"
    answer = client.get(path, query_string={"key": ["val/loss", "train/loss"], "since_step": 3, "until_step": 5})
    steps = {key: [point["step"] for point in one["points"]] for key, one in answer.get_json().items()}
    assert steps == {"train/loss": [4, 5], "val/loss": [4, 5]}
    series = client.get(path, query_string={"key": "train/loss", "until_step": 1000, "max_points": 50}).get_json()
    assert max(point["step"] for point in series["train/loss"]["points"]) == 1000
    assert client.get(path, query_string={"key": "val/loss", "until_step": "5.5"}).status_code == 400
