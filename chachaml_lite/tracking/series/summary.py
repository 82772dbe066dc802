"""The summary of a series: count, and first, last, least and greatest value, updated point by point."""

from __future__ import annotations

import math
from typing import Any

#: The JSON spelling of non-finite values, in the API (the contract, section 1) and on disk.
SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

#: The same values as programs print them, in lower case: nan, -nan, inf, +infinity.
PRINTED = {
    sign + word: math.nan if word == "nan" else -math.inf if sign == "-" else math.inf
    for sign in ("", "+", "-")
    for word in ("nan", "inf", "infinity")
}

Number = int | float


def number_to_json(value: Number) -> Number | str:
    """Return `value` in a form that strict JSON allows: itself, or one of the three spellings."""
    if isinstance(value, int) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def number_from(value: object) -> Number | None:
    """Return the number for a JSON value: itself, or one of the three spellings; None for anything else."""
    if isinstance(value, str):
        return SPELLED.get(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return None


class SeriesSummary:
    """The summary of a series. `last` ("latest") is the value at the greatest step; of several, the last one logged.

    `last_time` is the time of that point, in ms.

    `first` is the value at the least step; of several, the first one logged. `min` and `max` consider finite values
    only, and are None if there are none.
    """

    __slots__ = (
        *("count", "first", "first_step", "last", "last_step", "last_time"),
        *("max", "max_step", "min", "min_step", "nonfinite"),
    )

    def __init__(self, step: int, value: Number, timestamp: int) -> None:
        """Summarize a series of one point."""
        self.count = 0
        self.nonfinite = 0
        self.first: Number = value
        self.last: Number = value
        self.first_step = self.last_step = step
        self.last_time = timestamp
        self.min: Number | None = None
        self.max: Number | None = None
        self.min_step = self.max_step = step
        self.add(step, value, timestamp)

    def add(self, step: int, value: Number, timestamp: int) -> None:
        """Update the summary with a point."""
        self.count += 1
        if step >= self.last_step:
            self.last = value
            self.last_step = step
            self.last_time = timestamp
        elif step < self.first_step:
            self.first = value
            self.first_step = step
        if value - value != 0:  # an infinity or NaN
            self.nonfinite += 1
            return
        if self.min is None or self.max is None:
            self.min = self.max = value
            self.min_step = self.max_step = step
        elif value < self.min:
            self.min = value
            self.min_step = step
        elif value > self.max:
            self.max = value
            self.max_step = step

    def copy(self) -> SeriesSummary:
        """Return a copy."""
        result = SeriesSummary.__new__(SeriesSummary)
        result.count, result.nonfinite = self.count, self.nonfinite
        result.first, result.first_step = self.first, self.first_step
        result.last, result.last_step, result.last_time = self.last, self.last_step, self.last_time
        result.min, result.min_step = self.min, self.min_step
        result.max, result.max_step = self.max, self.max_step
        return result

    def public(self) -> dict[str, Any]:
        """Return the fields of the API (the contract, section 3, `metric_summary`)."""
        return {
            "count": self.count,
            "first": number_to_json(self.first),
            "last": number_to_json(self.last),
            "min": self.min,
            "max": self.max,
            "last_step": self.last_step,
            "nonfinite": self.nonfinite,
        }

    def to_stored(self) -> dict[str, Any]:
        """Return the fields of summary.json."""
        steps = {"first_step": self.first_step, "min_step": self.min_step, "max_step": self.max_step}
        return {**self.public(), **steps, "last_time": self.last_time}


def without_time(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a stored summary as versions up to 0.1 wrote it, without the time of the latest value."""
    return {field: value for field, value in stored.items() if field != "last_time"}


#: The summaries of a run's series by key, in order of first appearance. Entries are added and replaced under the run's
#: lock, and never changed in place after that, so readers need no lock.
Summary = dict[str, SeriesSummary]


def copy_with_points(summary: Summary, points: list[tuple[str, Number, int, int]]) -> Summary:
    """Return a copy of `summary` updated with points of (key, value, step, timestamp in ms)."""
    keys = {point[0] for point in points}
    summary = {key: series.copy() if key in keys else series for key, series in summary.items()}
    add_up(summary, points)
    return summary


def add_up(summary: Summary, points: list[tuple[str, Number, int, int]]) -> None:
    """Update `summary` in place with points; for a summary that no other thread reads yet."""
    for key, value, step, timestamp in points:
        series = summary.get(key)
        if series is None:
            summary[key] = SeriesSummary(step, value, timestamp)
        else:
            series.add(step, value, timestamp)


def from_stored(stored: object) -> Summary | None:
    """Parse the "metrics" of a summary.json; return None if it is not a summary."""
    if not isinstance(stored, dict):
        return None
    summary: Summary = {}
    for key, fields in stored.items():
        series = SeriesSummary.__new__(SeriesSummary)
        for field in SeriesSummary.__slots__:
            value = fields.get(field) if isinstance(fields, dict) else None
            number = number_from(value)
            if number is None and not (field in ("min", "max") and value is None):
                return None
            setattr(series, field, number)
        summary[key] = series
    return summary
