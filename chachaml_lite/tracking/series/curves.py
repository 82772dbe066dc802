"""Curves: a series prepared for a chart, by step or time, limited to a range, thinned and smoothed. Pure functions."""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import le
from typing import NamedTuple

from .points import Series
from .summary import Number

#: The x axes of a chart: step, time of the point, and time since the run's start. Times are in ms.
AXES = ("step", "wall", "relative")
#: The number of buckets that a chart of usual width can show, one per pixel.
BUCKETS = 400
#: At one step, this many points are a series in time; fewer are a point that was sent again.
_MANY = 3


class View(NamedTuple):
    """A view of a series. `start` and `stop` bound the range of x, both inclusive; None leaves that end open."""

    x: str = "step"
    log_x: bool = False
    start: int | None = None
    stop: int | None = None
    #: The number of equally wide buckets into which a longer series is divided.
    buckets: int = BUCKETS
    #: A series of up to this many points is not divided, even if it has more points than buckets, because the band of a
    #: divided series takes as much space again.
    whole: int = 0
    #: The weight of an exponential moving average over the whole series, from 0 (no smoothing) to less than 1.
    smoothing: float = 0
    #: Whether a bucket is represented by its last point as logged, for tables, where a mean would be taken for a value.
    is_sampled: bool = False


@dataclass(frozen=True)
class Curve:
    """The points of a series that a chart shows, by x, as columns of equal length.

    If there are more points than buckets, each bucket is represented by the mean of its points, at the x of the middle
    one, and `lows` and `highs` are their extremes; otherwise both are the value itself. The first and the last point
    are always shown as logged. A value is NaN if a bucket has no finite one, which leaves a gap in the line. Of several
    points at one step, the last one logged is shown (the contract, section 2).
    """

    xs: Sequence[int]
    ys: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    #: Points that are NaN or infinite, at most one of each kind per bucket.
    odd: Sequence[tuple[int, float]] = ()
    #: The number of points in the series, and the number of those within the range, counting one per step.
    total: int = 0
    count_in_range: int = 0
    #: The smoothed series at the same xs, if the view has smoothing.
    smooth: Sequence[float] | None = None

    #: Whether all points of the series are at one step, and whether they are so many that it was logged without steps.
    is_at_one_step: bool = False
    is_stepless: bool = False

    #: For a curve of several runs (`group_curves`), the number of runs that have a value at each x.
    counts: Sequence[int] = ()

    @property
    def is_thinned(self) -> bool:
        """Whether points are combined into buckets."""
        return self.count_in_range > len(self.xs)

    @property
    def has_band(self) -> bool:
        """Whether `lows` and `highs` differ from the line, because of buckets or of several runs."""
        return self.is_thinned or any(count > 1 for count in self.counts)


@dataclass
class Columns:
    """The columns of a curve under construction."""

    xs: list[int] = field(default_factory=list)  # a list because a relative x may exceed 64 bits
    ys: array[float] = field(default_factory=lambda: array("d"))
    lows: array[float] = field(default_factory=lambda: array("d"))
    highs: array[float] = field(default_factory=lambda: array("d"))
    smooth: array[float] = field(default_factory=lambda: array("d"))
    odd: list[tuple[int, float]] = field(default_factory=list)

    def add(self, x: int, y: float, low: float, high: float) -> None:
        self.xs.append(x)
        self.ys.append(y)
        self.lows.append(low)
        self.highs.append(high)


def curve_of(series: Series, view: View, since_ms: int = 0) -> Curve:
    """Return the curve of a series. `since_ms` is the origin of relative time, in ms since 1970."""
    xs, values = _by_x(series, view.x)
    offset = since_ms if view.x == "relative" else 0
    first = 0 if view.start is None else bisect.bisect_left(xs, view.start + offset)
    stop = len(xs) if view.stop is None else bisect.bisect_right(xs, view.stop + offset)
    count_in_range = max(0, stop - first)
    # Smooth the whole series, not the range: a narrow chart or a section must show the same line as a wide chart.
    smooth = smooth_values(values, view.smoothing) if view.smoothing else None
    columns = Columns()
    if count_in_range <= max(view.buckets, view.whole):
        for at in range(first, stop):
            value = float(values[at])
            y = value if math.isfinite(value) else math.nan
            columns.add(xs[at] - offset, y, y, y)
            if not math.isfinite(value):
                columns.odd.append((xs[at] - offset, value))
        columns.smooth.extend(smooth[first:stop] if smooth is not None else ())
    else:
        for start, end in bucket_ranges(xs, first, stop, view, offset):
            _add_bucket(columns, xs, values, start, end, offset, series.has_nonfinite, is_sampled=view.is_sampled)
            if smooth is not None:
                columns.smooth.append(mean_of([value for value in smooth[start:end] if math.isfinite(value)]))
    shown_smooth = None if smooth is None else columns.smooth
    is_at_one_step = _is_at_one_step(series)
    return Curve(
        *(columns.xs, columns.ys, columns.lows, columns.highs, columns.odd, len(series), count_in_range, shown_smooth),
        is_at_one_step=is_at_one_step,
        is_stepless=is_stepless(len(series), is_at_one_step=is_at_one_step),
    )


def _is_at_one_step(series: Series) -> bool:
    return len(series) > 0 and series.steps[0] == series.steps[-1]


def is_stepless(count: int, *, is_at_one_step: bool) -> bool:
    """Return whether a series of `count` points was logged without steps. Fewer at one step are a repeated point."""
    return count >= _MANY and is_at_one_step


def is_drawn_by_step(series: Series) -> tuple[Sequence[int], Sequence[Number], Sequence[int]]:
    """Return the steps, values and times of the points to draw by step: the last one logged at each step."""
    steps, values, timestamps = series.steps, series.values, series.timestamps
    if series.one_a_step:
        return steps, values, timestamps
    last = len(series) - 1
    places = [at for at in range(len(series)) if at == last or steps[at] != steps[at + 1]]
    columns = (array("q", [column[at] for at in places]) for column in (steps, timestamps))
    steps, timestamps = columns
    step_values = [values[at] for at in places]
    return steps, array("d", step_values) if isinstance(values, array) else step_values, timestamps


def _by_x(series: Series, x: str) -> tuple[Sequence[int], Sequence[Number]]:
    """Return the x and the value of each point that may be shown, sorted by x."""
    x_values: Sequence[Number] = series.values
    steps: Sequence[int] = series.steps
    xs: Sequence[int] = series.timestamps
    if x == "step" or not is_stepless(len(series), is_at_one_step=_is_at_one_step(series)):
        steps, x_values, xs = is_drawn_by_step(series)
    if x == "step":
        return steps, x_values
    if not all(map(le, xs, xs[1:])):  # timestamps sent by clients, or a clock that was set back
        order = sorted(range(len(xs)), key=xs.__getitem__)
        return array("q", map(xs.__getitem__, order)), [x_values[at] for at in order]
    return xs, x_values


def bucket_ranges(xs: Sequence[int], first: int, stop: int, view: View, offset: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each bucket with points: the first and last point alone, and equally wide buckets between.

    They are equally wide as drawn, so on a log axis their ends have equal ratios; points at 0 or less form one bucket
    there, which is not drawn.
    """
    yield first, first + 1
    start, last = first + 1, stop - 1
    if start < last:
        yield from _inner_buckets(xs, start, last, view, offset)
    yield last, stop


def _inner_buckets(xs: Sequence[int], start: int, stop: int, view: View, offset: int) -> Iterator[tuple[int, int]]:
    low, high = xs[start], xs[stop - 1]
    if view.log_x:
        positive = bisect.bisect_right(xs, offset, start, stop)
        if positive > start:
            yield start, positive
            start = positive
        if start == stop:
            return
        low = xs[start]
    for edge in bucket_edges(low - offset, high - offset, view.buckets, is_log=view.log_x):
        end = bisect.bisect_right(xs, edge + offset, start, stop)
        if end > start:
            yield start, end
            start = end
    if start < stop:  # left over after rounding
        yield start, stop


def bucket_edges(low: int, high: int, count: int, *, is_log: bool = False) -> Iterator[int]:
    """Yield the last x of each of `count` intervals that divide `low` to `high`, both inclusive."""
    if is_log:
        ratio = math.log(high) - math.log(low)
        for number in range(1, count):
            yield min(high, math.floor(low * math.exp(ratio * number / count)))
        yield high
    else:
        for number in range(1, count + 1):
            yield low + (high - low) * number // count


def _add_bucket(
    columns: Columns,
    xs: Sequence[int],
    values: Sequence[Number],
    start: int,
    end: int,
    offset: int,
    has_odd: bool,
    *,
    is_sampled: bool,
) -> None:
    finite_places = [at for at in range(start, end) if values[at] - values[at] == 0] if has_odd else range(start, end)
    # A slice where possible, since the builtins process it without a Python loop.
    numbers = [values[at] for at in finite_places] if has_odd else values[start:end]
    if numbers:
        low, high = float(min(numbers)), float(max(numbers))
        at, y = (
            (finite_places[-1], float(numbers[-1]))
            if is_sampled
            else (finite_places[len(finite_places) // 2], mean_of(numbers))
        )
        columns.add(xs[at] - offset, y, min(low, y), max(high, y))
    else:
        columns.add(xs[end - 1] - offset, math.nan, math.nan, math.nan)
    if len(finite_places) < end - start:
        kinds: dict[str, tuple[int, float]] = {}
        for at in range(start, end):
            value = values[at]
            if value - value != 0:
                kinds.setdefault(str(value), (xs[at] - offset, float(value)))
        columns.odd.extend(kinds.values())


def mean_of(numbers: Sequence[Number]) -> float:
    """Return the mean of finite numbers, within the range of the numbers despite rounding; NaN if there are none."""
    count = len(numbers)
    if not count:
        return math.nan
    try:
        mean = sum(numbers) / count
    except OverflowError:  # the sum of integers is too large for a float
        mean = math.inf
    if not math.isfinite(mean):
        mean = math.fsum(number / count for number in numbers)
    return min(max(mean, float(min(numbers))), float(max(numbers)))


def smooth_values(values: Sequence[float], weight: float) -> list[float]:
    """Return the exponential moving average: `weight` (0 to less than 1) for the past, 1 - `weight` for each value.

    It is corrected for the bias towards zero at the start, like Adam's averages and TensorBoard's curves. Values that
    are not finite are passed through and have no influence on the average.
    """
    result: list[float] = []
    average, weight_sum = 0.0, 0.0
    for value in values:
        if not math.isfinite(value):
            result.append(value)
            continue
        weight_sum = weight_sum * weight + (1 - weight)
        # This form stays within the range of the values; computing their difference first could overflow.
        share = (1 - weight) / weight_sum
        average = average * (1 - share) + value * share
        result.append(average)
    return result
