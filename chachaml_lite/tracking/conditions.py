"""A condition on a run's metric (the contract, section 3, GET /api/search)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import InvalidInput
from .checks import COMPARE, NUMBER, SPELLED_OUT
from .names import check_name, shown
from .summary import SPELLED, Summary

_NUMBER = re.compile(rf"{NUMBER}\Z")


@dataclass(frozen=True)
class Condition:
    """What the latest value of a metric has to satisfy."""

    key: str
    op: str
    threshold: float

    def holds(self, summary: Summary) -> bool:
        """Whether a run's series satisfy it: never without the metric, and a NaN satisfies nothing but `!=`."""
        series = summary.get(self.key)
        return series is not None and COMPARE[self.op](series.last, self.threshold)


def parse_condition(key: str, op: str, value: str) -> Condition:
    """A condition from a query string's three texts. Raises InvalidInput."""
    check_name("metric", key)
    op = op.strip()
    op = SPELLED_OUT.get(op.lower(), op)
    if op not in COMPARE:
        known = ", ".join(dict.fromkeys([*COMPARE, *SPELLED_OUT]))
        raise InvalidInput(f"op {shown(op)} is unknown; it is one of {known} (in a URL, < > = are sent as %3C %3E %3D)")
    return Condition(key, op, _number(value))


def _number(text: str) -> float:
    # A space where a sign may stand is what is left of a + that was not sent as %2B: 1e 5, or " 3".
    plain = re.sub(r"(?<=[eE]) (?=\d)", "+", text).strip()
    if plain in SPELLED:
        return SPELLED[plain]
    number = float(plain) if _NUMBER.match(plain) else math.inf
    if math.isinf(number):
        raise InvalidInput(f"metric_value must be a number, NaN, Infinity or -Infinity, and it is {shown(text)}")
    return number
