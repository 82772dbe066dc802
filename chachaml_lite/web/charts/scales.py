"""Scales: a value's position between the two ends of an axis, linear or logarithmic, without overflow at any span."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...tracking.query.conditions import number_in
from ...tracking.series.summary import Number

_LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, which is greater; both are greater than 0 on a log axis."""

    low: Number
    high: Number
    is_log: bool = False

    def accepts(self, value: Number) -> bool:
        """Return whether a value can be shown on this kind of axis at all, in range or not."""
        return math.isfinite(value) and (value > 0 or not self.is_log)

    def fraction(self, value: Number) -> float:
        """Return the position of a value along the axis, from 0 at `low` to 1 at `high`; values outside are clamped."""
        if value <= self.low:
            return 0.0
        if value >= self.high:
            return 1.0
        if self.is_log:
            return min(1.0, _log_ratio(value, self.low) / _log_ratio(self.high, self.low))
        span = self.high - self.low  # exact for integers, also of 64 bits
        if math.isinf(span):
            return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return min(1.0, (value - self.low) / span)


def _log_ratio(value: Number, low: Number) -> float:
    """Return log(value / low), accurate even if the two are almost equal."""
    if value / 2 < low:
        return math.log1p((value - low) / low)
    return math.log(value) - math.log(low)


def to_finite(value: Any) -> float | None:
    """Return a JSON value as a finite number, also if it is text that is a number; None for anything else."""
    number = number_in(value)
    try:
        return float(number) if number is not None and math.isfinite(number) else None
    except OverflowError:
        return None


def integer_scale(low: int, high: int, *, is_log: bool = False) -> Scale:
    """Return the scale of steps or ms from `low` to `high`, without margins unless both are the same."""
    if low == high:
        return Scale(max(1, low - 1) if is_log else low - 1, high + 1, is_log)
    return Scale(low, high, is_log)


def padded_scale(low: float, high: float, *, is_log: bool = False) -> Scale:
    """Return the scale of values from `low` to `high`, which are finite, with a small margin at both ends."""
    if is_log:
        room = _log_ratio(high, low) * 0.04 or 0.05
        below, above = low / math.exp(room) or low, _LARGEST
        if high < _LARGEST / math.exp(room):
            above = high * math.exp(room)
        return Scale(below, above, is_log) if below < above else Scale(low, low * 2, is_log)
    room = high * 0.04 - low * 0.04 or high - low or abs(low) * 0.1 or 1.0  # 4% of 5e-324 is 0
    below, above = max(-_LARGEST, low - room), min(_LARGEST, high + room)
    if low >= 0 > below:
        below = 0.0  # a loss can't be below 0, and an axis that goes below would suggest it
    if high <= 0 < above:
        above = 0.0
    if below < above:
        return Scale(below, above)
    return Scale(low - 1, high + 1)


#: If the greatest value is this many times the least, only a log axis shows the difference of small values.
_DECADES = 100


def should_use_log(values: Iterable[Number | None]) -> bool:
    """Return whether a log axis shows values better: all are greater than 0, and they span two decades or more."""
    finite_values = [value for value in values if value is not None and math.isfinite(value)]
    return bool(finite_values) and min(finite_values) > 0 and max(finite_values) / _DECADES >= min(finite_values)


#: The steps of the colour scale that values between the least and the greatest are mapped to.
TONES = 10


def tone_of(scale: Scale, value: Number) -> int:
    """Return the step of the colour scale for a value, from 0."""
    return min(TONES - 1, int(scale.fraction(value) * TONES))
