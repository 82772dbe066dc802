"""Parsing of times and durations in queries, in ms."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone

_UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|min|h|d|w)\Z")
_DATE = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?"
    r"(?:(Z)|([+-])([0-9]{2}):?([0-9]{2}))?)?)?)?\Z",
    re.IGNORECASE,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: The precision of "now" in relative times, so that an answer stays the same for this long.
GRAIN_MS = 60_000


def length_ms(text: str) -> float | None:
    """Parse a duration such as 90s, 10min, 1.5h or 2d (ms, s, min, h, d, w), in ms; return None for anything else."""
    match = _LENGTH.match(text)
    return None if match is None else float(match[1]) * _UNITS_MS[match[2]]


def is_relative(text: str) -> bool:
    """Return whether a text is a time relative to now, such as -24h."""
    return text.startswith("-") and length_ms(text[1:]) is not None


def time_ms(text: str, now_ms: int) -> int | None:
    """Parse a time, in ms since 1970, UTC; return None for anything else.

    A date and time is written 2026, 2026-01, 2026-01-31 or 2026-01-31T12:00, optionally with seconds and a zone (Z,
    +02:00; the default is UTC), and means the beginning of that period. -24h means 24 hours ago, rounded down to the
    minute. A number of 5 or more digits is in ms already.
    """
    if is_relative(text):
        return now_ms // GRAIN_MS * GRAIN_MS - math.ceil(length_ms(text[1:]) or 0)
    if text.isascii() and text.isdigit() and 5 <= len(text) <= 18:
        return int(text)
    match = _DATE.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, zone_h, zone_min = match.groups()
    try:
        at = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0))
        ahead = timedelta(hours=int(zone_h or 0), minutes=int(zone_min or 0))
        passed = at.replace(tzinfo=timezone.utc) - _EPOCH - (-ahead if sign == "-" else ahead)
    except ValueError:
        return None
    return passed // timedelta(milliseconds=1) + int((fraction or "0").ljust(3, "0")[:3])
