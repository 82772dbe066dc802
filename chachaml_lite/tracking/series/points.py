"""The points of a run: fast parsing of the stored lines into compact columns (the contract, sections 3 and 4)."""

from __future__ import annotations

import bisect
import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from ... import strict_json
from ...store import layout
from ...store.store import Store
from .summary import Number, Summary, add_up, number_from, number_to_json

#: key, value, step, timestamp in ms
StoredPoint = tuple[str, Number, int, int]

# A line as format_points writes it, with a float as its value: JSON's grammar of numbers, and integers within 64 bits.
_PLAIN = re.compile(
    rb'^\{"key":"([^"\\\x00-\x1f]*)",'
    rb'"value":(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:e[+-]?[0-9]+)?|e[+-]?[0-9]+)),'
    rb'"step":(-?(?:0|[1-9][0-9]{0,17})),"timestamp":(-?(?:0|[1-9][0-9]{0,17}))\}$',
    re.MULTILINE,
)
_VALUE = itemgetter(1)
_FIELDS = itemgetter("key", "value", "step", "timestamp")
_FAST = json.JSONDecoder()
_INT64 = range(-(2**63), 2**63)
#: The bytes that a point takes in a `Series` whose values are all floats.
POINT_BYTES = 24


class Point(NamedTuple):
    """One point of a series: a step (a 64-bit integer), a value that may be non-finite, the time in ms since 1970."""

    step: int
    value: Number
    timestamp: int

    def public(self) -> dict[str, Any]:
        """Return the fields of the API."""
        return {"step": self.step, "value": number_to_json(self.value), "timestamp": self.timestamp}


def format_points(points: Iterable[StoredPoint]) -> str:
    """Return the lines of metrics.jsonl for points (the contract, section 4). This is the only writer of such lines."""
    return "".join(map(_format_point, points))


def _format_point(point: StoredPoint) -> str:
    key, value, step, timestamp = point
    text = repr(value) if value - value == 0 else f'"{number_to_json(value)}"'
    return f'{_line_start(key)}{text},"step":{step},"timestamp":{timestamp}}}\n'


@lru_cache(maxsize=4096)  # saves a third of the time per line
def _line_start(key: str) -> str:
    return '{"key":' + json.dumps(key, ensure_ascii=False) + ',"value":'


def parse_points(lines: bytes) -> tuple[list[StoredPoint], int]:
    """Return the points in whole lines of metrics.jsonl, in their order, and the number of damaged lines.

    Lines in the form of `format_points` are parsed by a regular expression, in a third of the time of one JSON parse
    per line. If any line has another form, all are parsed at once as a JSON array; if any is no point or its value is
    spelled out ("NaN"), each line is parsed by itself.
    """
    text = lines.rstrip(b"\n")
    if not text:
        return [], 0
    try:
        plain = _PLAIN.findall(text)
        if len(plain) == text.count(b"\n") + 1:
            keys = {key: key.decode() for key in {line[0] for line in plain}}
            points = [(keys[key], float(value), int(step), int(at)) for key, value, step, at in plain]
            if all(map(math.isfinite, map(_VALUE, points))):
                return points, 0
        records = _FAST.decode("[" + text.decode().replace("\n", ",") + "]")
        if len(records) == text.count(b"\n") + 1:
            points = list(map(_FIELDS, records))
            columns = list(zip(*points, strict=True))
            kinds = [set(map(type, column)) for column in columns]
            if kinds[0] == {str} and kinds[1] <= {float, int} and kinds[2] == kinds[3] == {int}:
                bounds = (min(columns[2]), max(columns[2]), min(columns[3]), max(columns[3]))
                if all(bound in _INT64 for bound in bounds) and all(map(math.isfinite, columns[1])):
                    return points, 0
    except (ValueError, RecursionError, TypeError, KeyError, OverflowError):
        pass
    parsed_lines = [_parse_point(line) for line in text.split(b"\n") if line.strip()]
    good = [point for point in parsed_lines if point is not None]
    return good, len(parsed_lines) - len(good)


def _parse_point(line: bytes) -> StoredPoint | None:
    try:
        key, value, step, timestamp = _FIELDS(strict_json.loads(line))
    except (ValueError, TypeError, KeyError):
        return None
    number = number_from(value)
    if number is None or not isinstance(key, str) or type(step) is not int or type(timestamp) is not int:
        return None
    return (key, number, step, timestamp) if step in _INT64 and timestamp in _INT64 else None


def summarize(store: Store, run_id: str, end: int) -> tuple[Summary, int]:
    """Return the summary of the points in the first `end` bytes of metrics.jsonl, and the number of damaged lines.

    The memory used does not grow with their number. Raises Damaged, OSError.
    """
    summary: Summary = {}
    damaged = 0
    for lines in store.runs.read_lines(run_id, layout.METRICS, 0, end):
        points, bad = parse_points(lines)
        add_up(summary, points)
        damaged += bad
    return summary, damaged


class Series:
    """A metric's points by step and then by arrival, in columns. It is appended to or replaced, never edited."""

    __slots__ = ("has_nonfinite", "one_a_step", "steps", "timestamps", "values")

    def __init__(self) -> None:
        self.steps: array[int] = array("q")
        self.timestamps: array[int] = array("q")
        #: Becomes a list as soon as it contains an integer, so that 5 doesn't turn into 5.0.
        self.values: array[float] | list[Number] = array("d")
        self.one_a_step = True
        self.has_nonfinite = False

    def __len__(self) -> int:
        return len(self.timestamps)

    def extend(self, values: list[Number], steps: list[int], timestamps: list[int]) -> None:
        """Add points in order of arrival."""
        if isinstance(self.values, array) and int in set(map(type, values)):
            self.values = list(self.values)
        self.has_nonfinite = self.has_nonfinite or not all(map(math.isfinite, values))
        steps_on = [*self.steps[-1:], *steps]
        one_a_step = all(map(int.__lt__, steps_on, steps_on[1:]))
        in_order = one_a_step or all(map(int.__le__, steps_on, steps_on[1:]))
        self.steps.extend(steps)
        self.values.extend(values)
        self.timestamps.extend(timestamps)
        self.one_a_step = self.one_a_step and one_a_step
        if not in_order:
            self._sort()

    def _sort(self) -> None:
        order = sorted(range(len(self.steps)), key=self.steps.__getitem__)  # stable: arrival decides within a step
        self.steps = array("q", map(self.steps.__getitem__, order))
        self.timestamps = array("q", map(self.timestamps.__getitem__, order))
        values = map(self.values.__getitem__, order)
        self.values = array("d", values) if isinstance(self.values, array) else list(values)
        self.one_a_step = all(map(int.__lt__, self.steps, self.steps[1:]))

    def points(self, places: Iterable[int]) -> list[Point]:
        """Return the points at the given indexes."""
        return [Point(self.steps[at], self.values[at], self.timestamps[at]) for at in places]

    def between(self, after: int | None = None, until: int | None = None) -> range:
        """Return the indexes of the points with steps > `after` and <= `until`; None means no bound."""
        start = 0 if after is None else bisect.bisect_right(self.steps, after)
        return range(start, len(self) if until is None else max(start, bisect.bisect_right(self.steps, until)))

    def thin(self, places: Sequence[int], max_points: int) -> list[int]:
        """Return at most `max_points` of `places`, one per step, that preserve the look of a chart of all of them.

        Of several points at one step, the last one logged is used. The rest are divided into stretches of equal length,
        and of each the first, least, greatest and last point are kept, and one non-finite point if there is any.
        """
        selection = places
        if not self.one_a_step:
            last = len(self) - 1
            selection = [at for at in places if at == last or self.steps[at] != self.steps[at + 1]]
        if len(selection) <= max_points:
            return list(selection)
        each = 5 if self.has_nonfinite else 4
        stretches = max_points // each
        if not stretches:
            return sorted(self.marks(selection)[:max_points])
        result: list[int] = []
        for number in range(stretches):
            stretch = selection[number * len(selection) // stretches : (number + 1) * len(selection) // stretches]
            result.extend(sorted(self.marks(stretch)))
        return result

    def marks(self, places: Sequence[int]) -> list[int]:
        """Return the indexes that must stay visible, most important first, without duplicates."""
        if isinstance(places, range) and not self.has_nonfinite:
            start, stop = places.start, places.stop
            stretch = self.values[start:stop]  # the builtins process a slice without a Python loop
            least, greatest = stretch.index(min(stretch)) + start, stretch.index(max(stretch)) + start
            return list(dict.fromkeys((least, greatest, places[-1], places[0])))
        values = self.values
        finite_places = [at for at in places if values[at] - values[at] == 0]
        nonfinite_places = [at for at in places if values[at] - values[at] != 0][:1]
        extremes = (
            [min(finite_places, key=values.__getitem__), max(finite_places, key=values.__getitem__)]
            if finite_places
            else []
        )
        return list(dict.fromkeys([*extremes, *nonfinite_places, places[-1], places[0]]))


class RunSeries:
    """The series of a run by key, up to the point to which its file was read."""

    def __init__(self) -> None:
        self.by_key: dict[str, Series] = {}
        self.read_bytes = 0

    def read_on(self, store: Store, run_id: str, end: int) -> None:
        """Read the lines between the last read and `end`, in bytes. Raises Damaged, OSError."""
        for lines in store.runs.read_lines(run_id, layout.METRICS, self.read_bytes, end):
            points, _ = parse_points(lines)
            for key, columns in _by_key(points):
                series = self.by_key.get(key)
                if series is None:
                    series = self.by_key[key] = Series()
                series.extend(*columns)
        self.read_bytes = end

    @property
    def held_bytes(self) -> int:
        """The approximate memory use in bytes."""
        return 500 + sum(500 + POINT_BYTES * len(series) for series in self.by_key.values())


def _by_key(points: list[StoredPoint]) -> Iterator[tuple[str, tuple[list[Number], list[int], list[int]]]]:
    grouped: dict[str, list[StoredPoint]] = {}  # in order of first appearance
    for point in points:
        grouped.setdefault(point[0], []).append(point)
    for key, key_points in grouped.items():
        yield (
            key,
            (
                [point[1] for point in key_points],
                [point[2] for point in key_points],
                [point[3] for point in key_points],
            ),
        )
