"""Series: parsed from their file, thinned without losing extremes, and cached within a limit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from chachaml_lite.tracking.series.points import Point, Series, parse_points
from chachaml_lite.tracking.series.summary import Number

LogRun = Callable[..., str]

NUMBERS = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=True, allow_infinity=True))


def make_series(values: list[Number], steps: list[int] | None = None) -> Series:
    series = Series()
    series.extend(values, list(range(len(values))) if steps is None else steps, [0] * len(values))
    return series


def thin(series: Series, max_points: int, since_step: int | None = None) -> list[Point]:
    return series.points(series.thin(series.between(since_step), max_points))


def format_line(key: str, value: object, step: object = 0, timestamp: object = 1) -> str:
    return json.dumps({"key": key, "value": value, "step": step, "timestamp": timestamp})


@pytest.mark.parametrize(
    ("text", "points", "damaged_count"),
    [
        ("", [], 0),
        ("\n\n", [], 0),
        (format_line("a", 1.5, 3, 9), [("a", 1.5, 3, 9)], 0),
        (format_line("a", 5) + "\n" + format_line("b", -0.5) + "\n", [("a", 5, 0, 1), ("b", -0.5, 0, 1)], 0),
        ("\n" + format_line("a", 1), [("a", 1, 0, 1)], 0),
        (
            format_line("a", "Infinity") + "\n" + format_line("a", "-Infinity"),
            [("a", math.inf, 0, 1), ("a", -math.inf, 0, 1)],
            0,
        ),
        (format_line("a", 1) + '\n{"key":"a","va', [("a", 1, 0, 1)], 1),
        ('{"key":"a","va\n' + format_line("a", 1), [("a", 1, 0, 1)], 1),
        (format_line("a", 1) + "," + format_line("b", 2), [], 1),
        (format_line("a", 1)[:-1] + "\n" + '"x":1}', [], 2),
        (format_line("a", "1"), [], 1),
        (format_line("a", True), [], 1),
        (format_line("a", None), [], 1),
        (format_line("a", 1, 1.0), [], 1),
        (format_line("a", 1, True), [], 1),
        (format_line("a", 1, 2**63), [], 1),
        (format_line("a", 1, 2**63, 2**63), [], 1),
        (format_line("a", 1, -(2**63) - 1, -(2**63) - 1), [], 1),
        (format_line("a", 1, -(2**63)), [("a", 1, -(2**63), 1)], 0),
        (format_line("a", 1, 0, None), [], 1),
        ('{"key":7,"value":1,"step":0,"timestamp":1}', [], 1),
        ("[1]\nnull\n7\n" + format_line("a", 1), [("a", 1, 0, 1)], 3),
        ('{"key":"a","value":1e400,"step":0,"timestamp":1}', [], 1),
    ],
)
def test_line_is_a_point_or_damage(text: str, points: list[object], damaged_count: int) -> None:
    assert parse_points(text.encode()) == (points, damaged_count)


def test_line_that_is_not_utf_8_affects_no_other_line() -> None:
    good = format_line("ü", 1).encode()
    assert parse_points(good + b'\n{"key":"\xff"}\n' + good) == ([("ü", 1, 0, 1)] * 2, 1)


def test_spike_in_a_million_points_is_shown() -> None:
    values: list[Number] = [0.5] * 1_000_000
    values[654_321], values[123_456] = 9.0, -9.0
    points = thin(make_series(values), 1000)
    assert len(points) <= 1000
    values_by_step = {(point.step, point.value) for point in points}
    assert values_by_step >= {(654_321, 9.0), (123_456, -9.0), (0, 0.5), (999_999, 0.5)}


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_non_finite_value_is_shown_and_hides_no_extreme(odd: float) -> None:
    values: list[Number] = [float(number % 7) for number in range(10_000)]
    values[5_000], values[7_000] = odd, 99.0
    points = thin(make_series(values), 100)
    assert len(points) <= 100
    assert [point.step for point in points if not math.isfinite(point.value)] == [5_000]
    assert max(point.value for point in points if math.isfinite(point.value)) == 99.0


@given(st.lists(NUMBERS, min_size=1, max_size=200), st.integers(1, 50))
def test_thinned_series_is_an_ordered_part_of_it_with_its_extremes(values: list[Number], max_points: int) -> None:
    points = thin(make_series(values), max_points)
    assert 0 < len(points) <= max_points
    steps = [point.step for point in points]
    assert steps == sorted(set(steps))
    assert all(repr(point.value) == repr(values[point.step]) for point in points)
    finite = [value for value in values if math.isfinite(value)]
    if max_points >= 5 and finite:
        values_left = [point.value for point in points if math.isfinite(point.value)]
        assert (min(values_left), max(values_left)) == (min(finite), max(finite))
        assert (steps[0], steps[-1]) == (0, len(values) - 1)


@given(st.lists(st.tuples(st.integers(-3, 12), NUMBERS), max_size=60), st.integers(1, 60))
def test_points_are_ordered_by_step_and_then_by_arrival(pairs: list[tuple[int, Number]], cut: int) -> None:
    series = Series()
    for part in (pairs[:cut], pairs[cut:]):
        if part:
            series.extend([value for _, value in part], [step for step, _ in part], [0] * len(part))
    expected = sorted(pairs, key=lambda pair: pair[0])
    points_in_order = [(point.step, repr(point.value)) for point in series.points(series.between())]
    assert points_in_order == [(step, repr(value)) for step, value in expected]
    last = dict(expected)
    points = thin(series, 1000)
    assert {point.step: repr(point.value) for point in points} == {step: repr(value) for step, value in last.items()}
    assert [p.step for p in series.points(series.between(5))] == [step for step, _ in expected if step > 5]
    assert [p.step for p in series.points(series.between(2, 7))] == [step for step, _ in expected if 2 < step <= 7]
    assert not series.between(7, 2)


def test_integers_stay_integers(client: FlaskClient, log_run: LogRun) -> None:
    run_id = log_run(metrics=[{"n": 5, "step": 0}, {"n": 2.5, "step": 1}, {"n": 2**60 + 1, "step": 2}])
    answer = client.get(f"/api/runs/{run_id}/metrics").text
    assert [json.dumps(point["value"]) for point in json.loads(answer)["n"]["points"]] == ["5", "2.5", str(2**60 + 1)]


def test_grown_series_is_read_further_and_an_edited_one_again(client: FlaskClient, log_run: LogRun, data: Path) -> None:
    run_id = log_run(metrics=[{"loss": 1.0, "step": 0}])
    path = data / "runs" / run_id / "metrics.jsonl"

    def get_values() -> list[float]:
        series = client.get(f"/api/runs/{run_id}/metrics?key=loss").get_json()
        return [point["value"] for point in series["loss"]["points"]]

    assert get_values() == [1.0]
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 2.0, "step": 1}).status_code == 200
    assert get_values() == [1.0, 2.0]
    path.write_text(path.read_text().replace('"value":1.0', '"value":7.0'))
    assert get_values() == [7.0, 2.0]
    with path.open("a") as file:
        file.write(format_line("loss", 3.0, 2) + "\n")
    assert get_values() == [7.0, 2.0, 3.0]
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 4.0, "step": 3}).status_code == 200
    assert get_values() == [7.0, 2.0, 3.0, 4.0]
    path.unlink()
    assert client.get(f"/api/runs/{run_id}/metrics").get_json() == {}
    assert client.post(f"/api/w/runs/{run_id}/metrics", json={"loss": 5.0}).status_code == 200
    assert get_values() == [5.0]


def test_cached_series_stay_within_their_limit(data: Path) -> None:
    from chachaml_lite.store.store import Store
    from chachaml_lite.tracking import metrics, runs
    from chachaml_lite.tracking.tracker import Tracker

    store = Store(data, "no")
    tracker = Tracker.on(store, series_cache_bytes=60_000)
    ids = [runs.create_run(tracker, runs.NewRun("e"))["id"] for _ in range(5)]
    for run_id in ids:
        metrics.log_points(tracker, run_id, [{"loss": float(step), "step": step} for step in range(1000)])
    for run_id in ids * 2:
        assert metrics.select_series(tracker, run_id)["loss"].total == 1000
        assert tracker.series.held_bytes <= 60_000
    assert tracker.series.held_bytes > 24_000
    # A series that grows, and one whose file changes each time, are counted once.
    for step in range(1000, 1050):
        metrics.log_points(tracker, ids[0], [{"loss": 1.0, "step": step}])
        path = data / "runs" / ids[1] / "metrics.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"loss"', b'"cost"' if step % 2 else b'"loss"'))
        assert metrics.select_series(tracker, ids[0])["loss"].total == step + 1
        assert len(metrics.select_series(tracker, ids[1])) == 1
    assert 48_000 < tracker.series.held_bytes <= 60_000
    store.close()
