"""Values, times, durations and sizes as text for people: on pages, in aligned tables, in reports."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from .. import strict_json

_WEB_ADDRESS = re.compile(r"https?://[^\s\x00-\x20\x7f\"'<>\\]+\Z", re.IGNORECASE)


def format_number(value: Any, digits: int = 5) -> str:
    """Return a value as a table shows it: a float with `digits` significant digits; anything else in full, as JSON."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return value if isinstance(value, str) else strict_json.dumps(value)


def format_time(at_ms: int | None) -> str:
    """Return a time in ms as text, to the second, UTC; "" for None, and for one that no calendar has."""
    return "" if at_ms is None else _second_text(at_ms // 1000)


@lru_cache(maxsize=1024)  # points are logged many times a second, and a table of them has a row for each
def _second_text(at_seconds: int) -> str:
    try:
        return datetime.fromtimestamp(at_seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return ""


def iso_time(at_ms: int) -> str:
    """Return a time in ms as HTML's <time> takes it, to the millisecond, UTC; "" for one that no calendar has."""
    text = format_time(at_ms)
    return f"{text.replace(' ', 'T')}.{at_ms % 1000:03}Z" if text else ""


def is_web_address(value: Any) -> bool:
    """Tell whether a value is a URL that a browser may follow: http or https, and nothing that runs a script."""
    return isinstance(value, str) and _WEB_ADDRESS.match(value) is not None


def format_duration(duration_ms: int | None) -> str:
    """Return a duration for people: 0.4 s, 12 s, 3 min 20 s, 5 h 12 min, 2 d 3 h."""
    if duration_ms is None:
        return ""
    seconds = duration_ms / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, below, smaller in ((86400, "d", (3600, "h")), (3600, "h", (60, "min")), (60, "min", (1, "s"))):
        if whole >= unit:
            rest = whole % unit // smaller[0]
            return f"{whole // unit} {below}" + (f" {rest} {smaller[1]}" if rest else "")
    return f"{whole} s"


def format_size(size: int) -> str:
    """Return a number of bytes for people: 512 B, 1.5 kB, 2.0 GB."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}" if unit != "B" else f"{size} B"
        amount /= 1000
    return f"{amount:.1f} TB"
