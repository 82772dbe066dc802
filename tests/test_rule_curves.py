"""Curves: over steps or time, a range, few points with their extremes, smoothed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chachaml_lite.tracking.series.curves import View, curve_of, smooth_values
from chachaml_lite.tracking.series.points import Series
from chachaml_lite.tracking.series.summary import Number
from chachaml_lite.web.charts.groups import group_metrics

NAN, INF = math.nan, math.inf


def make_series(values: list[Number], steps: list[int] | None = None, times: list[int] | None = None) -> Series:
    series = Series()
    series.extend(values, list(range(len(values))) if steps is None else steps, times or [1000] * len(values))
    return series


def test_few_points_are_all_shown() -> None:
    curve = curve_of(make_series([3, 1, 2], [5, -1, 9]), View())
    assert (list(curve.xs), list(curve.ys)) == ([-1, 5, 9], [1, 3, 2])
    assert (curve.lows, curve.highs) == (curve.ys, curve.ys)
    assert (curve.total, curve.count_in_range, curve.is_thinned) == (3, 3, False)


@pytest.mark.parametrize(
    ("view", "since", "xs", "ys"),
    [
        (View("wall"), 0, [100, 200, 300, 400], [10, 20, 40, 30]),  # the third and fourth arrived in reverse order
        (View("relative"), 50, [50, 150, 250, 350], [10, 20, 40, 30]),
        (View("relative"), 500, [-400, -300, -200, -100], [10, 20, 40, 30]),
        (View("step"), 0, [0, 1, 2, 3], [10, 20, 30, 40]),
        (View("step", start=1, stop=2), 0, [1, 2], [20, 30]),
        (View("step", start=1), 0, [1, 2, 3], [20, 30, 40]),
        (View("step", stop=-1), 0, [], []),
        (View("step", start=3, stop=1), 0, [], []),
        (View("relative", start=150, stop=250), 50, [150, 250], [20, 40]),
    ],
)
def test_curve_is_over_steps_or_time_within_a_range(view: View, since: int, xs: list[int], ys: list[float]) -> None:
    curve = curve_of(make_series([10, 20, 30, 40], times=[100, 200, 400, 300]), view, since)
    assert (list(curve.xs), list(curve.ys)) == (xs, ys)


def test_last_of_several_points_at_a_step_counts_on_every_axis() -> None:
    series = make_series([1, 2, 3], [0, 0, 1], [10, 20, 30])
    for view in (View("step"), View("wall")):
        curve = curve_of(series, view)
        assert (list(curve.ys), curve.total, curve.count_in_range) == ([2, 3], 3, 2)


def test_bucket_has_its_mean_and_extremes_and_the_ends_are_points() -> None:
    values: list[Number] = [float(at % 10) for at in range(1000)]
    curve = curve_of(make_series(values), View(buckets=10))
    assert len(curve.xs) == 12 and curve.is_thinned
    assert [(curve.xs[at], curve.ys[at]) for at in (0, -1)] == [(0, 0), (999, 9)]
    assert list(curve.ys[1:-1]) == pytest.approx([4.5] * 10, abs=0.1)
    assert set(curve.lows[1:-1]) == {0} and set(curve.highs[1:-1]) == {9}


@pytest.mark.parametrize("buckets", [5, 81, 400])
def test_spike_is_in_the_band_and_not_the_line_at_any_width(buckets: int) -> None:
    spikes = range(17, 10_000, 401)
    curve = curve_of(make_series([100.0 if at in spikes else 1.0 for at in range(10_000)]), View(buckets=buckets))
    assert max(curve.ys) < 10 and max(curve.highs) == 100
    assert sum(high == 100 for high in curve.highs) == min(len(spikes), buckets)


def test_buckets_are_as_wide_on_both_sides_of_zero() -> None:
    steps = list(range(-500, 500))
    curve = curve_of(make_series([1.0] * 1000, steps), View(buckets=10))
    assert len(curve.xs) == 12
    assert all(80 <= after - before <= 120 for before, after in zip(curve.xs[1:-2], curve.xs[2:-1], strict=True))


def test_mean_of_values_whose_sum_overflows_lies_among_them() -> None:
    for value in (1.7e308, 17 * 10**307, -1.7e308):
        curve = curve_of(make_series([value] * 1000), View(buckets=10))
        assert list(curve.ys) == pytest.approx([value] * len(curve.ys))


def test_sampled_curve_has_only_logged_values() -> None:
    values: list[Number] = [float(at**2) for at in range(1000)]
    curve = curve_of(make_series(values), View(buckets=10, is_sampled=True))
    assert len(curve.xs) == 12 and [values[x] for x in curve.xs] == list(curve.ys)


def test_smoothed_line_is_the_same_at_every_width_and_in_every_range() -> None:
    noisy = make_series([1 / (at + 1) + (at * 7919 % 100) / 100 for at in range(20_000)])
    wide = curve_of(noisy, View(buckets=20_000, smoothing=0.99))
    for view in (View(buckets=80), View(buckets=400), View(start=5000, stop=15_000, buckets=80)):
        curve = curve_of(noisy, view._replace(smoothing=0.99))
        assert wide.smooth is not None and curve.smooth is not None
        for x, value in zip(curve.xs[1:], curve.smooth[1:], strict=True):
            near = wide.smooth[max(0, x - 125) : x + 126]
            assert min(near) <= value <= max(near)


def test_buckets_are_of_equal_width_not_of_equal_count() -> None:
    steps = [*range(1000), *range(1000, 101_000, 1000)]
    curve = curve_of(make_series([1.0] * len(steps), steps), View(buckets=100))
    assert len([x for x in curve.xs if x >= 1000]) >= 98  # where points are few, each is in the curve


def test_buckets_of_a_log_axis_are_of_equal_ratio() -> None:
    curve = curve_of(make_series([1.0] * 10_000), View(log_x=True, buckets=40))
    counts = [len([x for x in curve.xs if low <= x < low * 10]) for low in (1, 10, 100, 1000)]
    assert counts[0] >= 5 and all(9 <= count <= 12 for count in counts[1:])
    assert len(curve.xs) <= 42


def test_non_finite_values_leave_a_gap_only_in_a_bucket_without_others() -> None:
    values: list[Number] = [1.0] * 1000
    values[100:120] = [NAN] * 20
    values[500] = INF
    curve = curve_of(make_series(values), View(buckets=100))
    assert [kind for _, kind in curve.odd if not math.isnan(kind)] == [INF]
    gaps = [x for x, y in zip(curve.xs, curve.ys, strict=True) if math.isnan(y)]
    assert gaps and all(100 <= x < 120 for x in gaps)


@given(st.lists(st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1))), st.booleans())
def test_no_extreme_is_lost(points: list[tuple[float, int]], log_x: bool) -> None:
    series = make_series([value for value, _ in points], [step for _, step in points])
    by_step = dict(sorted(points, key=lambda point: point[1]) and {step: value for value, step in points})
    finite = [value for value in by_step.values() if math.isfinite(value)]
    curve = curve_of(series, View(log_x=log_x, buckets=5))
    assert len(curve.xs) <= 8 and curve.count_in_range == len(by_step)
    finite_lows = [low for low in curve.lows if math.isfinite(low)]
    assert (min(finite_lows, default=0), max((high for high in curve.highs if math.isfinite(high)), default=0)) == (
        min(finite, default=0),
        max(finite, default=0),
    )
    assert {str(value) for _, value in curve.odd} == {str(v) for v in by_step.values() if not math.isfinite(v)}


@pytest.mark.parametrize(
    ("values", "weight", "expected"),
    [
        ([1, 1, 1], 0.9, [1, 1, 1]),  # no pull towards zero
        ([0, 1], 0.5, [0, 2 / 3]),
        ([4, 0, 0], 0.5, [4, 4 / 3, 4 / 7]),
        ([1, NAN, 3], 0.5, [1, NAN, 7 / 3]),
        ([INF, 5], 0.9, [INF, 5]),
        ([1.5, 2.5], 0, [1.5, 2.5]),
        ([], 0.5, []),
    ],
)
def test_smoothing_matches_tensorboard(values: list[float], weight: float, expected: list[float]) -> None:
    assert smooth_values(values, weight) == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.floats(0, 0.99))
def test_smoothed_value_lies_among_the_values(values: list[float], weight: float) -> None:
    slack = max(map(abs, values)) * 1e-12
    assert all(min(values) - slack <= value <= max(values) + slack for value in smooth_values(values, weight))


GROUPS = [
    (["train/loss", "val/loss", "train/acc", "val/acc", "lr"], {"loss": 2, "acc": 2, "lr": 1}),
    (["loss", "val_loss", "accuracy", "val_accuracy"], {"loss": 2, "accuracy": 2}),
    (["loss/train", "loss/test", "loss/val"], {"loss": 3}),
    (["train_loss", "test_loss"], {"loss": 2}),
    (["train.loss", "eval.loss"], {"loss": 2}),
    (["Train/Loss", "Val/Loss"], {"Loss": 2}),
    (["layer1/grad", "layer2/grad"], {"layer1/grad": 1, "layer2/grad": 1}),
    (["train/layer1/grad", "val/layer1/grad"], {"layer1/grad": 2}),
    (["train", "val"], {"train": 1, "val": 1}),
    (["train/"], {"train/": 1}),
    (["/train"], {"/train": 1}),
    (["val_f1_score"], {"val_f1_score": 1}),
    (["train_steps_per_second", "eval_steps_per_second", "train/loss"], {"steps_per_second": 2, "train/loss": 1}),
    ([], {}),
]


@pytest.mark.parametrize(("keys", "expected"), GROUPS)
def test_metrics_of_the_same_quantity_share_a_chart(keys: list[str], expected: dict[str, int]) -> None:
    groups = group_metrics(keys)
    assert {group.title: len(group.keys) for group in groups} == expected
    assert sorted(key for group in groups for key in group.keys) == sorted(keys)
