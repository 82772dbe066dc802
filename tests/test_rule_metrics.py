"""Summaries of points in any order, compared with a plain implementation of a few lines."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import open_app
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from chachaml_lite.tracking.series.summary import number_from, number_to_json

NON_FINITE = {"NaN", "Infinity", "-Infinity"}
VALUES = st.integers(-3, 3) | st.sampled_from(["NaN", "Infinity", "-Infinity", 0.5, -0.5, 1e308, -1e308, 2**70])
#: A key, a value, a step, in the order of arrival.
POINTS = st.lists(st.tuples(st.sampled_from("ab"), VALUES, st.integers(-3, 3)), min_size=1, max_size=40)
client_for_all_examples = settings(deadline=None, max_examples=60)


def log_points(client: FlaskClient, points: list[tuple[str, Any, int]], cut: int) -> str:
    """Log a run with these points in two requests and return its id."""
    run_id: str = client.post("/api/w/runs", json={"experiment": "x"}).get_json()["id"]
    for part in (points[:cut], points[cut:]):
        batch = [{key: value, "step": step} for key, value, step in part]
        answer = client.post(f"/api/w/runs/{run_id}/metrics", json=batch)
        assert answer.get_json() == {"ok": True, "logged": len(part)}
    return run_id


def summarize(series: list[tuple[Any, int]]) -> dict[str, Any]:
    """Return the summary of values and steps in the order of arrival, as the contract defines it."""
    steps = [step for _, step in series]
    finite = [value for value, _ in series if value not in NON_FINITE]
    return {
        "count": len(series),
        "first": next(value for value, step in series if step == min(steps)),
        "last": next(value for value, step in reversed(series) if step == max(steps)),
        "min": min(finite, default=None),
        "max": max(finite, default=None),
        "last_step": max(steps),
        "nonfinite": len(series) - len(finite),
    }


def test_summary_is_that_of_all_points_in_any_order(tmp_path: Path) -> None:
    expected = {}
    with open_app(tmp_path / "store") as app:
        client = app.test_client()

        @client_for_all_examples
        @given(POINTS, st.integers(0, 40))
        def check_points(points: list[tuple[str, Any, int]], cut: int) -> None:
            run_id = log_points(client, points, cut)
            keys = dict.fromkeys(key for key, _, _ in points)
            summary = {key: summarize([(value, step) for name, value, step in points if name == key]) for key in keys}
            assert client.get(f"/api/runs/{run_id}").get_json()["metric_summary"] == summary
            client.post(f"/api/w/runs/{run_id}/end")
            expected[run_id] = summary

        check_points()
    with open_app(tmp_path / "store") as app:  # from the summary files written at the runs' ends
        client = app.test_client()
        summaries = {run_id: client.get(f"/api/runs/{run_id}").get_json()["metric_summary"] for run_id in expected}
        assert summaries == expected
        assert client.get("/api/health").get_json()["damaged"] == 0


@client_for_all_examples
@given(POINTS, st.integers(0, 40), st.integers(-4, 4), st.integers(1, 30))
def test_series_has_all_points_and_a_thinned_one_a_part_of_them(
    shared_client: FlaskClient, points: list[tuple[str, Any, int]], cut: int, since: int, max_points: int
) -> None:
    client = shared_client
    run_id = log_points(client, points, cut)
    for query in ({}, {"since_step": since}):
        series = client.get(f"/api/runs/{run_id}/metrics", query_string=query).get_json()
        thinned_series = client.get(
            f"/api/runs/{run_id}/metrics", query_string={**query, "max_points": max_points}
        ).get_json()
        for key in {key for key, _, _ in points}:
            key_points = [(step, value) for name, value, step in points if name == key]
            expected = [
                point for point in sorted(key_points, key=lambda point: point[0]) if not query or point[0] > since
            ]
            assert series[key]["total"] == thinned_series[key]["total"] == len(key_points)
            assert [(point["step"], point["value"]) for point in series[key]["points"]] == expected
            last = sorted(dict(expected).items())
            thinned_points = [(point["step"], point["value"]) for point in thinned_series[key]["points"]]
            assert len(thinned_points) <= max_points
            assert thinned_points == [point for point in last if point in thinned_points]
            if len(last) <= max_points:
                assert thinned_points == last
            finite = [value for _, value in last if value not in NON_FINITE]
            if max_points >= 5 and finite:
                assert {min(finite), max(finite)} <= {value for _, value in thinned_points}
                assert (thinned_points[0], thinned_points[-1]) == (last[0], last[-1])


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (1.5, 1.5), (2**70, 2**70)]
)
def test_number_unknown_to_json_is_a_string_and_read_back(value: float, text: object) -> None:
    assert number_to_json(value) == text
    assert json.loads(json.dumps(text, allow_nan=False)) == text
    assert repr(number_from(text)) == repr(value)


@pytest.mark.parametrize("value", [None, True, False, "nan", "inf", "1", "", [1], {"a": 1}])
def test_number_from_is_none_for_anything_else(value: object) -> None:
    assert number_from(value) is None
