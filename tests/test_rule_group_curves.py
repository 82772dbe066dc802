"""Several runs as one curve: mean, band and number of runs at each step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chachaml_lite.tracking.series.curves import Curve
from chachaml_lite.tracking.series.group_curves import BANDS, group_curve

NAN, INF = math.nan, math.inf
Points = dict[int, float]


def make_curve(points: Points, smooth: Sequence[float] | None = None) -> Curve:
    xs, ys = list(points), list(points.values())
    return Curve(xs, ys, ys, ys, total=len(xs), count_in_range=len(xs), smooth=smooth)


@pytest.mark.parametrize(
    ("runs", "mean", "low", "high", "counts"),
    [
        ([], {}, [], [], []),
        ([{}], {}, [], [], []),
        # a single run: a line without a band
        ([{0: 4.0, 1: 2.0}], {0: 4, 1: 2}, [4, 2], [4, 2], [1, 1]),
        ([{0: 1.0, 1: 2.0}, {0: 3.0, 1: 6.0}], {0: 2, 1: 4}, [1, 2], [3, 6], [2, 2]),
        # different steps: a run counts between two of its points, but not before the first or after the last
        (
            [{0: 0.0, 10: 10.0}, {5: 7.0, 15: 7.0}],
            {0: 0, 5: 6, 10: 8.5, 15: 7},
            [0, 5, 7, 7],
            [0, 7, 10, 7],
            [1, 2, 2, 1],
        ),
        # a run that ended early no longer counts
        ([{0: 1.0, 1: 1.0, 2: 1.0}, {0: 3.0}], {0: 2, 1: 1, 2: 1}, [1, 1, 1], [3, 1, 1], [2, 1, 1]),
        # a run that diverged doesn't count beside its non-finite values
        ([{0: 1.0, 2: 1.0, 4: 1.0}, {0: 3.0, 2: NAN, 4: 5.0}], {0: 2, 2: 1, 4: 3}, [1, 1, 1], [3, 1, 5], [2, 1, 2]),
        ([{0: 1.0, 1: NAN, 2: 1.0}], {0: 1, 1: NAN, 2: 1}, [1, NAN, 1], [1, NAN, 1], [1, 0, 1]),
        ([{0: NAN, 1: INF, 2: -INF}], {}, [], [], []),
    ],
)
def test_group_curve_table(
    runs: list[Points], mean: Points, low: list[float], high: list[float], counts: list[int]
) -> None:
    group = group_curve([make_curve(points) for points in runs])
    assert list(group.xs) == list(mean)
    for column, expected in ((group.ys, mean.values()), (group.lows, low), (group.highs, high)):
        assert list(column) == pytest.approx(list(expected), nan_ok=True)
    assert list(group.counts) == counts
    assert group.has_band == any(count > 1 for count in counts)


def test_deviation_is_the_sample_deviation_and_zero_for_a_single_run() -> None:
    group = group_curve([make_curve({0: 1.0, 1: 5.0}), make_curve({0: 3.0}), make_curve({0: 5.0})], "deviation")
    assert list(group.ys) == [3, 5]
    assert (list(group.lows), list(group.highs)) == ([1, 5], [5, 5])


def test_group_of_long_curves_has_evenly_spaced_points_also_on_a_log_axis() -> None:
    long = make_curve({step: 2.0 * step for step in range(1001)})
    other = make_curve({step: 2.0 * step for step in range(1, 1001, 7)})
    group = group_curve([long, other], points=11)
    assert list(group.xs) == list(range(0, 1001, 100))
    assert list(group.ys) == pytest.approx([2 * x for x in group.xs])
    assert list(group_curve([long], points=5).ys) == pytest.approx([0, 500, 1000, 1500, 2000])
    by_ratio = group_curve([long, other], points=4, log_x=True)
    assert list(by_ratio.xs) == [0, 1, 10, 100, 1000]


def test_group_curve_uses_the_smoothed_values() -> None:
    group = group_curve([make_curve({0: 1.0, 1: 9.0}, [1.0, 2.0]), make_curve({0: 3.0, 1: 9.0}, [3.0, 4.0])])
    assert list(group.ys) == [2, 3]


FLOATS = st.floats() | st.floats(-10, 10)


@given(
    st.lists(st.dictionaries(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9), FLOATS, max_size=8), max_size=5),
    st.sampled_from(BANDS),
    st.integers(2, 20),
    st.booleans(),
)
def test_mean_lies_within_the_runs_and_within_the_band(runs: list[Points], band: str, points: int, log_x: bool) -> None:
    group = group_curve([make_curve(dict(sorted(points.items()))) for points in runs], band, points, log_x=log_x)
    assert list(group.xs) == sorted(set(group.xs))
    finite = [value for run in runs for value in run.values() if math.isfinite(value)]
    for mean, low, high, count in zip(group.ys, group.lows, group.highs, group.counts, strict=True):
        assert math.isnan(mean) == (count == 0)
        if count:
            assert low <= mean <= high
            assert min(finite) <= mean <= max(finite)
            assert count > 1 or low == mean == high
