"""Values, times, durations and sizes as text for people, on pages, in tables and in reports."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from .. import strict_json

_WEB_ADDRESS = re.compile(r"https?://[^\s\x00-\x20\x7f\"'<>\\]+\Z", re.IGNORECASE)


def format_number(value: Any, digits: int = 5) -> str:
    """Format a value for a table: a float with `digits` significant digits, anything else in full, as JSON."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return value if isinstance(value, str) else strict_json.dumps(value)


def format_time(at_ms: int | None) -> str:
    """Format a time in ms, to the second in UTC; return "" for None and for times beyond the calendar."""
    return "" if at_ms is None else _format_second(at_ms // 1000)


@lru_cache(maxsize=1024)  # points are logged many times a second, and a table of them has a row for each
def _format_second(at_seconds: int) -> str:
    try:
        return datetime.fromtimestamp(at_seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return ""


def format_iso_time(at_ms: int) -> str:
    """Format a time in ms for HTML's <time>, to the millisecond in UTC; return "" for times beyond the calendar."""
    text = format_time(at_ms)
    return f"{text.replace(' ', 'T')}.{at_ms % 1000:03}Z" if text else ""


def is_web_address(value: Any) -> bool:
    """Return whether a value is a URL that is safe to link: http or https, nothing that runs a script."""
    return isinstance(value, str) and _WEB_ADDRESS.match(value) is not None


def format_duration(duration_ms: int | None) -> str:
    """Format a duration: 0.4 s, 12 s, 3 min 20 s, 5 h 12 min, 2 d 3 h."""
    if duration_ms is None:
        return ""
    seconds = duration_ms / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    total_seconds = round(seconds)
    for unit, symbol, next_unit in ((86400, "d", (3600, "h")), (3600, "h", (60, "min")), (60, "min", (1, "s"))):
        if total_seconds >= unit:
            rest = total_seconds % unit // next_unit[0]
            return f"{total_seconds // unit} {symbol}" + (f" {rest} {next_unit[1]}" if rest else "")
    return f"{total_seconds} s"


def format_size(size: int) -> str:
    """Format a number of bytes: 512 B, 1.5 kB, 2.0 GB."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}" if unit != "B" else f"{size} B"
        amount /= 1000
    return f"{amount:.1f} TB"
