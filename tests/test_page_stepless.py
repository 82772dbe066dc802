"""Series logged without steps are drawn over time, and the chart says so; a point sent twice is not such a series."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.drawings import Drawing

LogRun = Callable[..., str]
NOTE = "logged without steps, so drawn over time"


def points(values: list[Any], key: str = "loss", step: int | None = None) -> list[dict[str, Any]]:
    at_ms = 1_800_000_000_000
    entries: list[dict[str, Any]] = [
        {"metrics": {key: value}, "timestamp": at_ms + at * 1000} for at, value in enumerate(values)
    ]
    return entries if step is None else [{**entry, "step": step} for entry in entries]


def get_drawing(client: FlaskClient, run_id: str, **query: Any) -> Drawing:
    answer = client.get(f"/runs/{run_id}/charts.svg", query_string={"key": "loss", **query})
    assert answer.status_code == 200
    return Drawing(answer.text)


@pytest.mark.parametrize("step", [None, 7])
@pytest.mark.parametrize("count", [3, 40, 1000])
def test_series_without_steps_is_a_line_over_time_with_a_caption(
    client: FlaskClient, log_run: LogRun, count: int, step: int | None
) -> None:
    run_id = log_run(metrics=points([float(at % 7) for at in range(count)], step=step))
    assert "since the start" in get_drawing(client, run_id).texts()
    for path in (f"/runs/{run_id}", f"/runs/{run_id}/charts?key=loss"):
        page = client.get(path).text
        assert NOTE in page
        chart = re.search(r'<svg class="chart".*?</svg>', page, re.DOTALL)
        assert chart is not None and 'data-axis="relative"' in chart[0]
        assert len(Drawing(chart[0]).paths("line")[0]) == min(count, 400) or count > 400
    assert '<option value="relative" selected>' in page and "Since the start" in page
    other = log_run(metrics=points([1.0, 2.0, 3.0]))
    for path in (f"/compare?ids={run_id},{other}", f"/compare/charts?ids={run_id},{other}&key=loss"):
        assert NOTE in client.get(path).text


def test_range_of_a_series_without_steps_is_a_range_of_times(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics=points([float(at) for at in range(20)]))
    page = client.get(f"/runs/{run_id}/charts?key=loss&from=-9000000000000&to=9000000000000").text
    assert NOTE in page and "Whole range" in page


def test_point_sent_twice_is_one_point_at_its_step(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics=points([0.9, 0.9], step=5))
    assert NOTE not in client.get(f"/runs/{run_id}").text
    assert "step" in get_drawing(client, run_id).texts()


def test_series_without_steps_beside_one_with_steps_is_named_in_a_note(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics=[*points([1, 2, 3]), *({"acc": at, "step": at} for at in range(5))])
    page = client.get(f"/runs/{run_id}/charts?key=loss&key=acc").text
    assert "logged without steps, and a line over time only: loss" in page
    over_time = client.get(f"/runs/{run_id}/charts?key=loss&key=acc&x=relative").text
    assert "logged without steps" not in over_time
