"""Points in MLflow's words."""

from __future__ import annotations

from typing import Any

from ..tracking.names import check_name
from ..tracking.series.points import StoredPoint
from .requests import Fields

_INT64 = range(-(2**63), 2**63)


def point_from(fields: Fields) -> StoredPoint:
    """The point that some fields describe. Raises InvalidInput."""
    key = check_name("metric", fields.text("key"))
    return key, fields.number("value"), fields.integer("step", 0), fields.integer("timestamp")


def points_from(fields: Fields, name: str) -> list[StoredPoint]:
    """The points of an array. Raises InvalidInput.

    One with plain numbers, as nearly all are, is taken as it is: field by field it would cost three times as much.
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
            points.append(point_from(Fields(entry, f"{name}[{index}].")))
    return points
