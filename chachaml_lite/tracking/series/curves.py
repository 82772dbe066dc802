"""A series as a chart shows it: over steps or time, a range of it, few enough points, smoothed. Pure functions."""

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

#: What a chart's x can be: the steps; the time of each point; that time since the run's start. Times are in ms.
AXES = ("step", "wall", "relative")
#: Buckets that a chart of usual width shows: one for each of its pixels.
BUCKETS = 400
#: Points at one step that are a series in time, not a point and its repetition.
_MANY = 3


class View(NamedTuple):
    """A view of series. `start` and `stop` are the ends of a range of x, both included, None: open."""

    x: str = "step"
    log_x: bool = False
    start: int | None = None
    stop: int | None = None
    #: Into how many stretches of equal width a series of more points is cut.
    buckets: int = BUCKETS
    #: A series of so many points is not cut, though there are fewer buckets: a band takes as much room again.
    whole: int = 0
    #: The weight of an exponential moving average over the whole series, 0 to less than 1; 0: none is made.
    smoothing: float = 0
    #: A bucket's last point stands for it, as it was logged: for tables, where a mean would pass for a value.
    is_sampled: bool = False


@dataclass(frozen=True)
class Curve:
    """The points of one series that a chart shows, by x. Columns of equal length.

    Where there are more points than buckets, the mean of a bucket's points stands for it, at the middle one, and `lows`
    and `highs` are their extremes; else they are the value itself. The first and the last point are shown as they are.
    A value is NaN where a bucket has no finite one: the line has a gap there. Of several points at one step the last
    logged is shown (the contract, section 2).
    """

    xs: Sequence[int]
    ys: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    #: Points that are NaN or infinite, at most one of each kind a bucket.
    odd: Sequence[tuple[int, float]] = ()
    #: How many points the series has, and how many of them, one a step, lie within the range.
    total: int = 0
    within: int = 0
    #: The smoothed series at the same places, where a view asks for it.
    smooth: Sequence[float] | None = None

    #: Whether all points of the series are at one step, and whether they are so many that it was logged without steps.
    is_at_one_step: bool = False
    is_stepless: bool = False

    #: Of a curve that stands for several runs (`group_curves`): how many of them have a value at each x.
    counts: Sequence[int] = ()

    @property
    def is_thinned(self) -> bool:
        """Whether buckets stand for several points."""
        return self.within > len(self.xs)

    @property
    def has_band(self) -> bool:
        """Whether `lows` and `highs` are apart from the line: of buckets, or of several runs."""
        return self.is_thinned or any(count > 1 for count in self.counts)


@dataclass
class Columns:
    """The points of a curve, as it grows."""

    xs: list[int] = field(default_factory=list)  # relative to anything, it may be beyond 64 bits
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
    """The curve of a series. `since_ms`: where relative time begins, in ms since 1970."""
    xs, values = _by_x(series, view.x)
    offset = since_ms if view.x == "relative" else 0
    first = 0 if view.start is None else bisect.bisect_left(xs, view.start + offset)
    stop = len(xs) if view.stop is None else bisect.bisect_right(xs, view.stop + offset)
    within = max(0, stop - first)
    # All of it, not what is shown: a narrow chart and a part of it are to have the line that a wide one has.
    smooth = smooth_values(values, view.smoothing) if view.smoothing else None
    columns = Columns()
    if within <= max(view.buckets, view.whole):
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
        *(columns.xs, columns.ys, columns.lows, columns.highs, columns.odd, len(series), within, shown_smooth),
        is_at_one_step=is_at_one_step,
        is_stepless=is_stepless(len(series), is_at_one_step=is_at_one_step),
    )


def _is_at_one_step(series: Series) -> bool:
    return len(series) > 0 and series.steps[0] == series.steps[-1]


def is_stepless(count: int, *, is_at_one_step: bool) -> bool:
    """Whether a series of `count` points was logged without steps; fewer at one step are one that was sent again."""
    return count >= _MANY and is_at_one_step


def is_drawn_by_step(series: Series) -> tuple[Sequence[int], Sequence[Number], Sequence[int]]:
    """The steps, values and times of the points that may be shown, one a step: the last of several."""
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
    """The x and the value of each point that may be shown, by x."""
    x_values: Sequence[Number] = series.values
    steps: Sequence[int] = series.steps
    xs: Sequence[int] = series.timestamps
    if x == "step" or not is_stepless(len(series), is_at_one_step=_is_at_one_step(series)):
        steps, x_values, xs = is_drawn_by_step(series)
    if x == "step":
        return steps, x_values
    if not all(map(le, xs, xs[1:])):  # clients' own timestamps, or a clock that was set back
        order = sorted(range(len(xs)), key=xs.__getitem__)
        return array("q", map(xs.__getitem__, order)), [x_values[at] for at in order]
    return xs, x_values


def bucket_ranges(xs: Sequence[int], first: int, stop: int, view: View, offset: int) -> Iterator[tuple[int, int]]:
    """The bounds of each bucket that has points: stretches of equal width, the first and last point alone.

    Equal as they are drawn, so of equal ratio on a log axis; what is 0 or less there is one bucket, and not drawn.
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
    if start < stop:  # by a rounding
        yield start, stop


def bucket_edges(low: int, high: int, count: int, *, is_log: bool = False) -> Iterator[int]:
    """The last x of each of `count` stretches from `low` to `high`, both included."""
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
    # A slice, where it is one: the builtins run over it without a step of ours.
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
    """The mean of finite numbers, never beyond the greatest or the least; NaN of none."""
    count = len(numbers)
    if not count:
        return math.nan
    try:
        mean = sum(numbers) / count
    except OverflowError:  # integers
        mean = math.inf
    if not math.isfinite(mean):
        mean = math.fsum(number / count for number in numbers)
    return min(max(mean, float(min(numbers))), float(max(numbers)))


def smooth_values(values: Sequence[float], weight: float) -> list[float]:
    """An exponential moving average: each value counts (1 - weight), what went before weight (0 to less than 1).

    Corrected for the bias towards zero at the start, as Adam's averages are and TensorBoard's curves. What isn't finite
    stays as it is, and does not count.
    """
    result: list[float] = []
    average, weight_sum = 0.0, 0.0
    for value in values:
        if not math.isfinite(value):
            result.append(value)
            continue
        weight_sum = weight_sum * weight + (1 - weight)
        # As a step towards the value it never leaves the range of the values; their difference could be too large.
        share = (1 - weight) / weight_sum
        average = average * (1 - share) + value * share
        result.append(average)
    return result
