"""A long series in bounded size: enough to draw any chart of it without parsing its points again.

A series of up to `EXACT_POINTS` is kept as it is. A longer one is divided into some thousand buckets, much finer than
those of a chart: along its indexes, its steps and its times, evenly and by equal ratios, so that the buckets are fine
enough for every axis that a chart can have. Of each bucket, the points that a chart must show are kept as they were
logged (the first, the least, the greatest, the last, and one of each non-finite kind), together with the number of its
points, their mean and the position of the middle one.

A curve made from the buckets therefore differs from `curve_of` only in where a bucket of the chart begins and ends, by
less than the width of one of these buckets. Ends, extremes, non-finite points and counts are exact; means are weighted
by the number of their points; a smoothed line is computed from the means.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import le

from .curves import Columns, Curve, View, bucket_edges, bucket_ranges, is_drawn_by_step, is_stepless, mean_of
from .points import Series
from .summary import Number

#: A series of up to this many points is kept whole; the buckets of a longer one take about the same space, 400 kB.
EXACT_POINTS = 16_384
#: The number of stretches into which a long series is divided along each axis; half as many on a log axis.
_STRETCHES = 1000


@dataclass(frozen=True)
class Buckets:
    """A series in buckets along one axis. `kept` are points as logged, in the axis's order; the rest are columns."""

    samples: Series
    #: For each bucket: the end of its points in `kept`, the number of its points, and the number of finite ones.
    ends: array[int]
    counts: array[int]
    finite_counts: array[int]
    #: The mean of the finite points (NaN if there are none), and the step and the time of the middle one.
    means: array[float]
    steps: array[int]
    times: array[int]


@dataclass(frozen=True)
class Thinned:
    """A series of `total` points in buckets. `by_time` is set if its times don't rise with its steps."""

    total: int
    first_time: int
    is_at_one_step: bool
    by_step: Buckets
    by_time: Buckets | None

    def curve(self, view: View, since_ms: int = 0) -> Curve | None:
        """Return the curve of the series as `curve_of` does from its points; None if the buckets are too coarse.

        That is the case if the view's range is so small a part of the series that its points must be read.
        """
        is_by_step = view.x == "step"
        buckets = self.by_step if is_by_step or self.by_time is None else self.by_time
        xs = buckets.steps if is_by_step else buckets.times
        offset = since_ms if view.x == "relative" else 0
        first = 0 if view.start is None else bisect.bisect_left(xs, view.start + offset)
        stop = len(xs) if view.stop is None else bisect.bisect_right(xs, view.stop + offset)
        stop = max(first, stop)
        count_in_range = sum(buckets.counts[first:stop])
        is_whole = view.start is None and view.stop is None
        if not is_whole and stop - first < min(view.buckets, count_in_range):
            return None
        columns = Columns()
        smooth = _smooth_buckets(buckets, view.smoothing) if view.smoothing else None
        few = stop - first <= (max(view.buckets, view.whole) if count_in_range == stop - first else view.buckets)
        ranges = zip(range(first, stop), range(first + 1, stop + 1), strict=True)
        for start, end in ranges if few else bucket_ranges(xs, first, stop, view, offset):
            _add(columns, buckets, start, end, offset, view, smooth)
        return Curve(
            *(columns.xs, columns.ys, columns.lows, columns.highs, columns.odd, self.total, count_in_range),
            None if smooth is None else columns.smooth,
            is_at_one_step=self.is_at_one_step,
            is_stepless=is_stepless(self.total, is_at_one_step=self.is_at_one_step),
        )

    def places(self, max_points: int) -> list[int] | None:
        """Return at most `max_points` indexes into `by_step.samples`, as `Series.thinned` chooses them from all points.

        Returns None if `max_points` is so large that the points themselves must be read.
        """
        points, ends, counts = self.by_step.samples, self.by_step.ends, self.by_step.counts
        total = sum(counts)
        if total == len(points) <= max_points:
            return list(range(total))
        stretches = max_points // (5 if points.has_nonfinite else 4)
        if total <= max_points or stretches > _STRETCHES // 2:
            return None
        if not stretches:
            return sorted(points.marks(range(len(points)))[:max_points])
        until = list(accumulate(counts))
        places: list[int] = []
        start = 0
        for number in range(1, stretches + 1):
            end = bisect.bisect_left(until, number * total // stretches) + 1
            if end > start:
                places += sorted(points.marks(range(_start_of(ends, start), ends[end - 1])))
            start = end
        return places


def thin(series: Series, start_ms: int) -> Thinned:
    """Divide a series into buckets. `start_ms` is the approximate origin of relative time."""
    is_at_one_step = series.steps[0] == series.steps[-1]
    steps, values, times = is_drawn_by_step(series)
    has_nonfinite = series.has_nonfinite
    is_in_order = all(map(le, times, times[1:])) and not (is_at_one_step and len(series) > len(times))
    axes = [(steps, 0), *([(times, start_ms)] if is_in_order else [])]
    by_step = _cut(steps, values, times, axes, has_nonfinite=has_nonfinite)
    by_time = None
    if not is_in_order:
        if is_at_one_step:
            steps, values, times = series.steps, series.values, series.timestamps
        order = sorted(range(len(times)), key=times.__getitem__)
        steps, times = array("q", map(steps.__getitem__, order)), array("q", map(times.__getitem__, order))
        values = [values[at] for at in order]
        by_time = _cut(steps, values, times, [(times, start_ms)], has_nonfinite=has_nonfinite)
    return Thinned(len(series), series.timestamps[0], is_at_one_step, by_step, by_time)


def _cut(
    steps: Sequence[int],
    values: Sequence[Number],
    times: Sequence[int],
    axes: Sequence[tuple[Sequence[int], int]],
    *,
    has_nonfinite: bool,
) -> Buckets:
    """Divide columns of points into buckets. `axes`: the xs by which the points are sorted, each with its origin."""
    ends, counts, finite_counts = array("q"), array("q"), array("q")
    means, middle_steps, middle_times = array("d"), array("q"), array("q")
    indexes: list[int] = []
    start = 0
    for stop in _bounds(len(steps), axes):
        places, finite_count, mean, middle = _sum_up(values, start, stop, has_nonfinite=has_nonfinite)
        indexes += places
        ends.append(len(indexes))
        counts.append(stop - start)
        finite_counts.append(finite_count)
        means.append(mean)
        middle_steps.append(steps[middle])
        middle_times.append(times[middle])
        start = stop
    points = Series()
    points.steps, points.timestamps = (array("q", [column[at] for at in indexes]) for column in (steps, times))
    numbers = [values[at] for at in indexes]
    points.values = array("d", numbers) if isinstance(values, array) else numbers
    points.has_nonfinite = has_nonfinite
    return Buckets(points, ends, counts, finite_counts, means, middle_steps, middle_times)


def _bounds(count: int, axes: Sequence[tuple[Sequence[int], int]]) -> list[int]:
    """Return the ends of the buckets. As in a curve, the first and the last point are buckets of their own."""
    bounds = {1, count - 1, *(count * number // _STRETCHES for number in range(1, _STRETCHES))}
    for xs, zero in axes:
        low, high = xs[0] - zero, xs[-1] - zero
        bounds.update(bisect.bisect_right(xs, edge + zero) for edge in bucket_edges(low, high, _STRETCHES))
        positive = bisect.bisect_right(xs, zero)
        if positive < count:
            edges = bucket_edges(xs[positive] - zero, high, _STRETCHES // 2, is_log=True)
            bounds.update(bisect.bisect_right(xs, edge + zero) for edge in edges)
    return sorted({*(bound for bound in bounds if 0 < bound < count), count})


def _sum_up(
    values: Sequence[Number], start: int, stop: int, *, has_nonfinite: bool
) -> tuple[list[int], int, float, int]:
    """Return the indexes kept of points `start` to `stop`, the number of finite ones, their mean, the middle index."""
    piece = values[start:stop]
    at: Sequence[int] = range(start, stop)
    nonfinite: dict[str, int] = {}
    if has_nonfinite and not all(map(math.isfinite, piece)):
        for place in range(start, stop):
            if values[place] - values[place] != 0:
                nonfinite.setdefault(str(values[place]), place)
        at = [place for place in at if values[place] - values[place] == 0]
        piece = [values[place] for place in at]
    ends = {start, stop - 1, *nonfinite.values()}
    if not piece:
        return sorted(ends), 0, math.nan, stop - 1
    least, greatest = piece.index(min(piece)), piece.index(max(piece))
    # Include the last finite one, which a table shows for a bucket.
    places = sorted({*ends, at[least], at[greatest], at[-1]})
    return places, len(piece), mean_of(piece), at[len(at) // 2]


def _start_of(ends: Sequence[int], bucket: int) -> int:
    return ends[bucket - 1] if bucket else 0


def _add(
    columns: Columns,
    buckets: Buckets,
    start: int,
    end: int,
    offset: int,
    view: View,
    smooth: Sequence[float] | None,
) -> None:
    """Add the buckets from `start` to `end` to a curve as a single bucket."""
    points = buckets.samples
    first, stop = _start_of(buckets.ends, start), buckets.ends[end - 1]
    kept_xs = points.steps if view.x == "step" else points.timestamps
    numbers: Sequence[Number] = points.values[first:stop]
    at: Sequence[int] = range(first, stop)
    if points.has_nonfinite and not all(map(math.isfinite, numbers)):
        at = [place for place in at if points.values[place] - points.values[place] == 0]
        numbers = [points.values[place] for place in at]
        nonfinite: dict[str, tuple[int, float]] = {}
        for place in range(first, stop):
            value = points.values[place]
            if value - value != 0:
                nonfinite.setdefault(str(value), (kept_xs[place] - offset, float(value)))
        columns.odd.extend(nonfinite.values())
    if not numbers:
        columns.add(kept_xs[stop - 1] - offset, math.nan, math.nan, math.nan)
    else:
        low, high = float(min(numbers)), float(max(numbers))
        if view.is_sampled:
            x, y = kept_xs[at[-1]], float(numbers[-1])
        else:
            xs = buckets.steps if view.x == "step" else buckets.times
            x, y = xs[(start + end) // 2], _weighted_mean(buckets.means, buckets.finite_counts, start, end)
            y = min(max(y, low), high)
        columns.add(x - offset, y, min(low, y), max(high, y))
    if smooth is not None:
        columns.smooth.append(_weighted_mean(smooth, buckets.finite_counts, start, end))


def _weighted_mean(values: Sequence[float], weights: Sequence[int], start: int, end: int) -> float:
    """Return the mean of some buckets' values weighted by `weights`; NaN if the weights are all zero."""
    if end == start + 1:
        return values[start]
    pairs = [(value, weight) for value, weight in zip(values[start:end], weights[start:end], strict=True) if weight]
    total = sum(weight for _, weight in pairs)
    if not total:
        return math.nan
    mean = sum(value * weight for value, weight in pairs) / total
    return mean if math.isfinite(mean) else math.fsum(value * (weight / total) for value, weight in pairs)


def _smooth_buckets(buckets: Buckets, weight: float) -> list[float]:
    """Return the mean of `curves.smooth_values` per bucket, as if all points of a bucket had its mean."""
    return list(_smooth_steps(buckets, weight))


def _smooth_steps(buckets: Buckets, weight: float) -> Iterator[float]:
    average, weight_sum = math.nan, 0.0
    for mean, count in zip(buckets.means, buckets.finite_counts, strict=True):
        if not count:
            yield math.nan
            continue
        decay = weight**count
        before = mean if math.isnan(average) else average
        # The weight of the previous average in the average over this bucket: the mean of weight, weight², ...
        share = (
            weight
            * (1 - decay)
            / (count * (1 - weight))
            * (weight_sum / (weight_sum * decay + 1 - decay) if weight_sum else 0)
        )
        share = min(1.0, share)
        yield before * share + mean * (1 - share)
        carried = weight_sum * decay
        weight_sum = carried + (1 - decay)
        average = mean if not carried else before * (carried / weight_sum) + mean * ((1 - decay) / weight_sum)
