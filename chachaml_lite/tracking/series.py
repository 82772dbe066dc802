"""The points of a run as they are stored, series by series (the contract, sections 3 and 4)."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..store import layout
from ..store.reading import Stamp
from ..store.store import Store
from .summary import Number, number_from, spelled

#: key, value, step, timestamp in ms
StoredPoint = tuple[str, Number, int, int]


class Point(NamedTuple):
    """One point of a series: a step (a 64-bit integer), a value that may be non-finite, the time in ms since 1970."""

    step: int
    value: Number
    timestamp: int

    def public(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"step": self.step, "value": spelled(self.value), "timestamp": self.timestamp}


def read_points(store: Store, run_id: str) -> tuple[list[StoredPoint], int, Stamp]:
    """All points in the order of their arrival, the number of damaged lines, the file's stamp. Damaged; OSError."""
    records, damaged, stamp = store.runs.read_records(run_id, layout.METRICS)
    points: list[StoredPoint] = []
    for record in records:
        key, step, timestamp = record.get("key"), record.get("step"), record.get("timestamp")
        value = number_from(record.get("value"))
        if value is None or not isinstance(key, str) or type(step) is not int or type(timestamp) is not int:
            damaged += 1
        else:
            points.append((key, value, step, timestamp))
    return points, damaged, stamp


def by_key(points: list[StoredPoint]) -> dict[str, list[Point]]:
    """The series of a run, each by step and then arrival."""
    found: dict[str, list[Point]] = {}
    for key, value, step, timestamp in points:
        found.setdefault(key, []).append(Point(step, value, timestamp))
    for points_of_key in found.values():
        points_of_key.sort(key=lambda point: point.step)
    return found


def last_of_each_step(points: list[Point]) -> list[Point]:
    """Of several points at one step the last logged, for points by step and then arrival."""
    return list({point.step: point for point in points}.values())


def thinned(points: list[Point], max_points: int) -> list[Point]:
    """At most `max_points` of `points`, one at a step, that show what a chart of all would: extremes and all.

    The points are cut into runs of equal length, and of each the first, the least, the greatest and the last are kept,
    and the first that is no finite number, as far as `max_points` go.
    """
    points = last_of_each_step(points)
    if len(points) <= max_points:
        return points
    buckets = max(1, max_points // 5)
    kept: list[Point] = []
    for bucket in range(buckets):
        start, end = bucket * len(points) // buckets, (bucket + 1) * len(points) // buckets
        kept.extend(_of_bucket(points[start:end]))
    return kept[:max_points]


def _of_bucket(points: list[Point]) -> list[Point]:
    finite = [point for point in points if point.value - point.value == 0]
    odd = [point for point in points if point.value - point.value != 0]
    wanted = {points[0].step: points[0], points[-1].step: points[-1]}
    for point in (min(finite, key=_value), max(finite, key=_value)) if finite else ():
        wanted[point.step] = point
    for point in odd[:1]:
        wanted[point.step] = point
    return [wanted[step] for step in sorted(wanted)]


def _value(point: Point) -> Number:
    return point.value
