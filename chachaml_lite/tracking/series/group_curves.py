"""Several runs as one curve: their mean over the steps, with a band. Pure functions.

The rules, for one metric of the runs of a group:

- The curve has a point at every x at which one of the runs has a point; if these are more than the requested number,
  at equally spaced xs from the first to the last.
- Between two of its points, a run has the value on the straight line between them. It has no value before its first
  point, after its last one, or next to a point that is not finite: nothing is extrapolated.
- The curve's value is the mean of the runs that have a value there; `counts` is their number.
- The band extends from the least to the greatest of these values, or one sample standard deviation up and down. Where
  only one run has a value, there is no band.
- For a smoothed curve, the smoothed line is used.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from .curves import BUCKETS, Curve

#: The kinds of band: the least to the greatest value, or the mean plus or minus one standard deviation.
BANDS = ("range", "deviation")


def group_curve(curves: Sequence[Curve], band: str = "range", points: int = BUCKETS, *, log_x: bool = False) -> Curve:
    """Return one curve for several runs' curves of a metric. `log_x` spaces xs by equal ratios if it limits them."""
    tracks = [(curve.xs, curve.ys if curve.smooth is None else curve.smooth) for curve in curves if len(curve.xs)]
    grid = _grid([xs for xs, _ in tracks], points, log_x=log_x)
    columns = [_on_grid(xs, ys, grid) for xs, ys in tracks]
    xs: list[int] = []
    means, lows, highs = array("d"), array("d"), array("d")
    counts: list[int] = []
    for place, x in enumerate(grid):
        values = [value for column in columns if (value := column[place]) is not None]
        if not values:
            if xs and not math.isnan(means[-1]):  # a gap
                _add(xs, (means, lows, highs), x, (math.nan,) * 3)
                counts.append(0)
            continue
        mean = _mean(values)
        _add(xs, (means, lows, highs), x, (mean, *_band(values, mean, band)))
        counts.append(len(values))
    return Curve(xs, means, lows, highs, (), len(xs), len(xs), counts=counts)


def _add(xs: list[int], columns: Sequence[array[float]], x: int, values: Sequence[float]) -> None:
    xs.append(x)
    for column, value in zip(columns, values, strict=True):
        column.append(value)


def _grid(columns: Sequence[Sequence[int]], points: int, *, log_x: bool) -> Sequence[int]:
    """Return the xs of the curve's points."""
    if not columns:
        return []
    if all(xs == columns[0] for xs in columns[1:]) and len(columns[0]) <= points:
        return columns[0]
    every = sorted(set().union(*columns))
    if len(every) <= points:
        return every
    low, high = every[0], every[-1]
    if log_x and high > 0:
        low = next(x for x in every if x > 0)
        ratio = math.log(high) - math.log(low)
        places = (min(high, round(low * math.exp(ratio * number / (points - 1)))) for number in range(points))
        return sorted({*(x for x in every if x <= 0), *places})
    return list(dict.fromkeys(low + (high - low) * number // (points - 1) for number in range(points)))


def _on_grid(xs: Sequence[int], ys: Sequence[float], grid: Sequence[int]) -> list[float | None]:
    """Return a run's value at each x of the grid, None where it has none."""
    if xs is grid or xs == grid:
        return [y if math.isfinite(y) else None for y in ys]
    values: list[float | None] = []
    at, last = 0, len(xs) - 1
    for x in grid:
        while at < last and xs[at + 1] <= x:
            at += 1
        if x < xs[0] or x > xs[last]:
            values.append(None)
        elif x == xs[at]:
            values.append(ys[at] if math.isfinite(ys[at]) else None)
        else:
            before_y, after_y = ys[at], ys[at + 1]
            share = (x - xs[at]) / (xs[at + 1] - xs[at])
            value = before_y * (1 - share) + after_y * share
            values.append(value if math.isfinite(value) else None)
    return values


def _mean(values: Sequence[float]) -> float:
    """Return the mean of finite numbers, within the range of the numbers despite rounding."""
    mean = sum(values) / len(values)
    if not math.isfinite(mean):
        mean = math.fsum(value / len(values) for value in values)
    return min(max(mean, min(values)), max(values))


def _band(values: Sequence[float], mean: float, band: str) -> tuple[float, float]:
    if len(values) < 2:
        return mean, mean
    if band == "range":
        return min(values), max(values)
    squares = sum((value - mean) * (value - mean) for value in values)
    deviation = math.sqrt(squares / (len(values) - 1))
    low, high = mean - deviation, mean + deviation
    return (low, high) if math.isfinite(high - low) else (min(values), max(values))
