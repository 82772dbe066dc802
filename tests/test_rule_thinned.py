"""The thinned form of a long series: what a chart of it shows is what one of its points would, in a bounded size."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
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


def series_of(
    value: Callable[[int], Number], step: Callable[[int], int] = int, time: Callable[[int], int] = lambda at: at * 10
) -> Series:
    made = Series()
    places = range(COUNT)
    made.extend([value(at) for at in places], [step(at) for at in places], [START_MS + time(at) for at in places])
    return made


def noisy(at: int) -> float:
    return math.sin(at / 3000) + random.Random(at).uniform(-0.1, 0.1)


SERIES = {
    "noisy": series_of(noisy),
    "integers": series_of(lambda at: at % 1000),
    "with a spike": series_of(lambda at: 1e9 if at == 12_345 else noisy(at)),
    "diverging": series_of(lambda at: math.nan if at % 7000 == 6 else -math.inf if at == 20_001 else noisy(at)),
    "all NaN": series_of(lambda at: math.nan),
    "beyond sums": series_of(lambda at: 1.7e308 if at % 2 else 1.6e308),
    "repeated steps": series_of(noisy, step=lambda at: at // 2),
    "few steps": series_of(noisy, step=lambda at: at // 400),
    "logged without steps": series_of(noisy, step=lambda at: 7),
    "with a pause": series_of(noisy, time=lambda at: at + (10**9 if at > 39_000 else 0)),
    "times out of order": series_of(noisy, time=lambda at: at * 10 - (5000 if at % 3 else 0)),
    "steps out of order": series_of(noisy, step=lambda at: at ^ 64),
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


def file_of(series: Series) -> bytes:
    return b"".join(thinned_file({"loss": series}, STAMP, START_MS))


def opened(content: bytes, points: Stamp = STAMP) -> ThinnedRun:
    return ThinnedRun(lambda start, size: content[start : start + size], points)


FILES = {name: file_of(series) for name, series in SERIES.items()}


def interpolated(curve: Curve, x: int) -> float:
    at = min(range(len(curve.xs)), key=lambda place: abs(curve.xs[place] - x))
    return curve.ys[at]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", SERIES)
def test_thinned_curve_shows_what_the_curve_of_all_points_does(name: str, view: str) -> None:
    exact = curve_of(SERIES[name], VIEWS[view], START_MS)
    curves = opened(FILES[name]).curves(None, VIEWS[view], START_MS)
    if curves is None:
        assert view == "half"  # so small a part that its points have to be looked at
        return
    curve = curves["loss"]
    assert (curve.total, curve.is_at_one_step, curve.is_stepless) == (
        *(exact.total, exact.is_at_one_step, exact.is_stepless),
    )
    assert abs(curve.within - exact.within) <= (100 if view == "half" else 0)
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
            assert abs(y - interpolated(exact, x)) < 0.1
    if VIEWS[view].smoothing and name == "noisy":
        assert exact.smooth is not None and curve.smooth is not None
        assert len(curve.smooth) == len(curve.xs)
        assert max(abs(a - b) for a, b in zip(curve.smooth[20:], exact.smooth[20:], strict=False)) < 0.05


@pytest.mark.parametrize("view", [View(buckets=10), View("wall", buckets=10), View(buckets=10, smoothing=0.9)])
def test_points_that_are_no_numbers_count_for_nothing_beside_those_that_are(view: View) -> None:
    """A thousand in a row are several buckets of the thinned form, and a quarter of one of the curve."""
    curves = opened(file_of(series_of(lambda at: math.nan if 15_000 <= at < 16_000 else 1.5))).curves(
        None, view, START_MS
    )
    assert curves is not None
    curve = curves["loss"]
    assert set(curve.ys) == {1.5}
    assert {round(value, 9) for value in curve.smooth or [1.5]} == {1.5}


@pytest.mark.parametrize("name", SERIES)
def test_thinned_form_has_a_bounded_size(name: str) -> None:
    assert len(FILES[name]) < 24 * COUNT
    assert len(FILES[name]) < 1_100_000


def test_series_of_moderate_length_is_kept_as_it_is() -> None:
    series = Series()
    values: list[Number] = [5 if at % 3 else math.nan if at % 7 == 3 else at / 3 for at in range(EXACT_POINTS)]
    series.extend(values, [at // 2 for at in range(EXACT_POINTS)], [START_MS - at for at in range(EXACT_POINTS)])
    run = opened(file_of(series))
    for view in VIEWS.values():
        curves = run.curves(["loss", "none"], view, START_MS)
        assert repr(curves) == repr({"loss": curve_of(series, view, min(START_MS, series.timestamps[0]))})
    selected = run.points(None, 500)
    assert selected is not None
    kept, places, total = selected["loss"]
    expected = series.points(series.thin(series.between(), 500))
    assert (repr(kept.points(places)), total) == (repr(expected), EXACT_POINTS)


@pytest.mark.parametrize("max_points", [1, 3, 50, 400])
@pytest.mark.parametrize("name", SERIES)
def test_thinned_points_are_points_as_they_were_logged_with_the_extremes(name: str, max_points: int) -> None:
    series = SERIES[name]
    selected = opened(FILES[name]).points(["loss"], max_points)
    assert selected is not None
    kept, places, total = selected["loss"]
    points = kept.points(places)
    assert total == len(series) and len(points) <= max_points
    assert {repr(point) for point in points} <= {repr(point) for point in series.points(range(COUNT))}
    assert [point.step for point in points] == sorted({point.step for point in points})
    exact = series.points(series.thin(series.between(), max_points))
    assert len(points) >= len(exact) * 0.9
    if max_points > 3:
        finite = [point.value for point in exact if math.isfinite(point.value)]
        thinned = [point.value for point in points if math.isfinite(point.value)]
        assert (min(finite, default=0), max(finite, default=0)) == (min(thinned, default=0), max(thinned, default=0))
        assert repr((points[0], points[-1])) == repr((exact[0], exact[-1]))


def test_thinned_form_is_not_asked_for_what_it_does_not_hold() -> None:
    run = opened(FILES["noisy"])
    assert run.points(None, 30_000) is None
    assert run.curves(None, View(start=100, stop=400), START_MS) is None
    large = opened(file_of(series_of(lambda at: 2**60 + at)))
    assert large.points(None, 50) is None  # no float holds these
    curves = large.curves(None, View(), START_MS)
    assert curves is not None and curves["loss"].ys[0] == float(2**60)


def test_damaged_or_stale_file_is_refused_wherever_the_damage_is() -> None:
    content = FILES["few steps"]
    places = [*range(60), *random.Random(1).sample(range(len(content)), 300), len(content) - 1]
    for place in places:
        damaged = content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
        with pytest.raises(Damaged):
            opened(damaged).curves(None, View(), START_MS)
    for length in (0, 10, 48, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(Damaged):
            opened(content[:length]).curves(None, View(), START_MS)
    changes: list[dict[str, Any]] = [{"size": 5}, {"mtime_ns": 6}]
    for change in changes:
        with pytest.raises(Damaged):
            opened(content, STAMP._replace(**change))
