"""The thinned form of a long series: its charts match those of all points, and its size is bounded."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from chachaml_lite.store.reading import Damaged, Stamp
from chachaml_lite.tracking.series.curves import Curve, View, curve_of
from chachaml_lite.tracking.series.points import Series
from chachaml_lite.tracking.series.summary import Number
from chachaml_lite.tracking.series.thinned import EXACT_POINTS
from chachaml_lite.tracking.series.thinned_file import ThinnedRun, thinned_file

STAMP = Stamp(inode=1, size=2, mtime_ns=3, changed_ns=4)
COUNT = 40_000
START_MS = 1_700_000_000_000


def make_series(
    value: Callable[[int], Number], step: Callable[[int], int] = int, time: Callable[[int], int] = lambda at: at * 10
) -> Series:
    series = Series()
    places = range(COUNT)
    series.extend([value(at) for at in places], [step(at) for at in places], [START_MS + time(at) for at in places])
    return series


def noisy(at: int) -> float:
    return math.sin(at / 3000) + random.Random(at).uniform(-0.1, 0.1)


#: Made when a test needs them: all of them take seconds, and each process of the tests reads this file.
SERIES: dict[str, Callable[[], Series]] = {
    "noisy": lambda: make_series(noisy),
    "integers": lambda: make_series(lambda at: at % 1000),
    "with a spike": lambda: make_series(lambda at: 1e9 if at == 12_345 else noisy(at)),
    "diverging": lambda: make_series(
        lambda at: math.nan if at % 7000 == 6 else -math.inf if at == 20_001 else noisy(at)
    ),
    "all NaN": lambda: make_series(lambda at: math.nan),
    "beyond sums": lambda: make_series(lambda at: 1.7e308 if at % 2 else 1.6e308),
    "repeated steps": lambda: make_series(noisy, step=lambda at: at // 2),
    "few steps": lambda: make_series(noisy, step=lambda at: at // 400),
    "logged without steps": lambda: make_series(noisy, step=lambda at: 7),
    "with a pause": lambda: make_series(noisy, time=lambda at: at + (10**9 if at > 39_000 else 0)),
    "times out of order": lambda: make_series(noisy, time=lambda at: at * 10 - (5000 if at % 3 else 0)),
    "steps out of order": lambda: make_series(noisy, step=lambda at: at ^ 64),
}
VIEWS = {
    "step": View(),
    "wall": View("wall"),
    "relative": View("relative"),
    "log": View(log_x=True),
    "log relative": View("relative", log_x=True),
    "wide": View(buckets=960, whole=960),
    "narrow": View(buckets=40),
    "table": View(buckets=100, is_sampled=True),
    "half": View(start=10_000, stop=30_000, buckets=200),
    "smoothed": View(smoothing=0.99),
}


def make_file(series: Series) -> bytes:
    return b"".join(thinned_file({"loss": series}, STAMP, START_MS))


def open_thinned(content: bytes, points: Stamp = STAMP) -> ThinnedRun:
    return ThinnedRun(lambda start, size: content[start : start + size], points)


@cache
def load_series(name: str) -> Series:
    return SERIES[name]()


@cache
def load_file(name: str) -> bytes:
    return make_file(load_series(name))


def find_nearest_value(curve: Curve, x: int) -> float:
    at = min(range(len(curve.xs)), key=lambda place: abs(curve.xs[place] - x))
    return curve.ys[at]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", SERIES)
def test_thinned_curve_matches_the_curve_of_all_points(name: str, view: str) -> None:
    exact = curve_of(load_series(name), VIEWS[view], START_MS)
    curves = open_thinned(load_file(name)).curves(None, VIEWS[view], START_MS)
    if curves is None:
        assert view == "half"  # so small a part that its points have to be read
        return
    curve = curves["loss"]
    assert (curve.total, curve.is_at_one_step, curve.is_stepless) == (
        *(exact.total, exact.is_at_one_step, exact.is_stepless),
    )
    assert abs(curve.count_in_range - exact.count_in_range) <= (100 if view == "half" else 0)
    assert len(curve.xs) <= VIEWS[view].buckets + 3
    assert list(curve.xs) == sorted(curve.xs)
    if view != "half":
        assert (curve.xs[0], curve.xs[-1]) == (exact.xs[0], exact.xs[-1])
        assert repr((curve.ys[0], curve.ys[-1])) == repr((exact.ys[0], exact.ys[-1]))
    finite = [low for low in exact.lows if math.isfinite(low)]
    assert [low for low in curve.lows if math.isfinite(low)] or not finite
    if finite and not VIEWS[view].is_sampled and view != "half":
        assert min(filter(math.isfinite, curve.lows)) == min(finite)
        assert max(filter(math.isfinite, curve.highs)) == max(filter(math.isfinite, exact.highs))
    assert {repr(value) for _, value in curve.odd} == {repr(value) for _, value in exact.odd}
    for low, y, high in zip(curve.lows, curve.ys, curve.highs, strict=True):
        assert low <= y <= high or math.isnan(y)
    if name == "noisy" and view not in ("log", "log relative", "table"):  # a bucket there holds few points: noise
        for x, y in zip(curve.xs[1:-1], curve.ys[1:-1], strict=True):
            assert abs(y - find_nearest_value(exact, x)) < 0.1
    if VIEWS[view].smoothing and name == "noisy":
        assert exact.smooth is not None and curve.smooth is not None
        assert len(curve.smooth) == len(curve.xs)
        assert max(abs(a - b) for a, b in zip(curve.smooth[20:], exact.smooth[20:], strict=False)) < 0.05


@pytest.mark.parametrize("view", [View(buckets=10), View("wall", buckets=10), View(buckets=10, smoothing=0.9)])
def test_nan_points_do_not_affect_the_curve_of_the_others(view: View) -> None:
    """A thousand in a row are several buckets of the thinned form, but a quarter of a bucket of the curve."""
    curves = open_thinned(make_file(make_series(lambda at: math.nan if 15_000 <= at < 16_000 else 1.5))).curves(
        None, view, START_MS
    )
    assert curves is not None
    curve = curves["loss"]
    assert set(curve.ys) == {1.5}
    assert {round(value, 9) for value in curve.smooth or [1.5]} == {1.5}


@pytest.mark.parametrize("name", SERIES)
def test_thinned_form_has_a_bounded_size(name: str) -> None:
    assert len(load_file(name)) < 24 * COUNT
    assert len(load_file(name)) < 1_100_000


def test_series_of_moderate_length_is_not_thinned() -> None:
    series = Series()
    values: list[Number] = [5 if at % 3 else math.nan if at % 7 == 3 else at / 3 for at in range(EXACT_POINTS)]
    series.extend(values, [at // 2 for at in range(EXACT_POINTS)], [START_MS - at for at in range(EXACT_POINTS)])
    run = open_thinned(make_file(series))
    for view in VIEWS.values():
        curves = run.curves(["loss", "none"], view, START_MS)
        assert repr(curves) == repr({"loss": curve_of(series, view, min(START_MS, series.timestamps[0]))})
    selection = run.points(None, 500)
    assert selection is not None
    selected_series, places, total = selection["loss"]
    expected = series.points(series.thin(series.between(), 500))
    assert (repr(selected_series.points(places)), total) == (repr(expected), EXACT_POINTS)


@pytest.mark.parametrize("max_points", [1, 3, 50, 400])
@pytest.mark.parametrize("name", SERIES)
def test_thinned_points_are_logged_points_and_include_the_extremes(name: str, max_points: int) -> None:
    series = load_series(name)
    selection = open_thinned(load_file(name)).points(["loss"], max_points)
    assert selection is not None
    selected_series, places, total = selection["loss"]
    points = selected_series.points(places)
    assert total == len(series) and len(points) <= max_points
    assert {repr(point) for point in points} <= {repr(point) for point in series.points(range(COUNT))}
    assert [point.step for point in points] == sorted({point.step for point in points})
    exact = series.points(series.thin(series.between(), max_points))
    assert len(points) >= len(exact) * 0.9
    if max_points > 3:
        finite = [point.value for point in exact if math.isfinite(point.value)]
        finite_values = [point.value for point in points if math.isfinite(point.value)]
        assert (min(finite, default=0), max(finite, default=0)) == (
            min(finite_values, default=0),
            max(finite_values, default=0),
        )
        assert repr((points[0], points[-1])) == repr((exact[0], exact[-1]))


def test_thinned_form_returns_none_for_more_detail_than_it_has() -> None:
    run = open_thinned(load_file("noisy"))
    assert run.points(None, 30_000) is None
    assert run.curves(None, View(start=100, stop=400), START_MS) is None
    large = open_thinned(make_file(make_series(lambda at: 2**60 + at)))
    assert large.points(None, 50) is None  # no float can represent these
    curves = large.curves(None, View(), START_MS)
    assert curves is not None and curves["loss"].ys[0] == float(2**60)


def test_damaged_or_stale_file_is_refused() -> None:
    content = load_file("few steps")
    places = [*range(60), *random.Random(1).sample(range(len(content)), 300), len(content) - 1]
    for place in places:
        damaged_content = content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
        with pytest.raises(Damaged):
            open_thinned(damaged_content).curves(None, View(), START_MS)
    for length in (0, 10, 48, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(Damaged):
            open_thinned(content[:length]).curves(None, View(), START_MS)
    changes: list[dict[str, Any]] = [{"size": 5}, {"mtime_ns": 6}]
    for change in changes:
        with pytest.raises(Damaged):
            open_thinned(content, STAMP._replace(**change))
