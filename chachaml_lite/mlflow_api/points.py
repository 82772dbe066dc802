"""Parsing of the points in MLflow's requests."""

from __future__ import annotations

from typing import Any

from ..tracking.names import check_name
from ..tracking.series.points import StoredPoint
from .requests import Fields

_INT64 = range(-(2**63), 2**63)


def parse_point(fields: Fields) -> StoredPoint:
    """Parse a point. Raises InvalidInput."""
    key = check_name("metric", fields.text("key"))
    return key, fields.number("value"), fields.integer("step", 0), fields.integer("timestamp")


def parse_points(fields: Fields, name: str) -> list[StoredPoint]:
    """Parse an array of points. Raises InvalidInput.

    A point with plain numbers, as nearly all are, is used as it is: parsing each field takes three times as long.
    """
    points: list[StoredPoint] = []
    for index, entry in enumerate(fields.dicts(name)):
        step: Any = entry.get("step", 0)
        timestamp: Any = entry.get("timestamp")
        value = entry.get("value")
        is_whole = type(step) is type(timestamp) is int and step in _INT64 and timestamp in _INT64
        if is_whole and type(value) is float and value - value == 0 and entry.get("key"):
            points.append((check_name("metric", entry["key"]), value, step, timestamp))
        else:
            points.append(parse_point(Fields(entry, f"{name}[{index}].")))
    return points
