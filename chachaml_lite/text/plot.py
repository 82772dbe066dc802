"""Series plotted as text: sparklines for tables, and xycharts for Mermaid on GitHub."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from decimal import Decimal

from .safe import printable

_BARS = "▁▂▃▄▅▆▇█"
#: Characters that might be Mermaid syntax, even in a quoted title.
_NOT_PLAIN = re.compile(r"[^\w .,:=()/+-]")


def sparkline(values: Sequence[float]) -> str:
    """Return one bar for each value, scaled to their range; equal values are at half height. Values are finite."""
    if not values:
        return ""
    values = list(map(float, values))  # integers further apart than a double's range can't be divided
    least, greatest = min(values), max(values)
    if least == greatest:
        return _BARS[3] * len(values)
    span = greatest - least
    if math.isinf(span):  # beyond a double's range
        return sparkline([value / 2 for value in values])
    return "".join(_BARS[min(7, int((value - least) / span * 8))] for value in values)


def render_mermaid(title: str, steps: Sequence[int], values: Sequence[float]) -> list[str]:
    """Return the lines of a Markdown block with a chart of two or more points; values are finite.

    Mermaid distributes the points evenly between the first and the last step.
    """
    values = list(map(float, values))
    least, greatest = min(values), max(values)
    if least == greatest:  # Mermaid can't draw an empty range
        least, greatest = least - (abs(least) / 2 or 1), greatest + (abs(greatest) / 2 or 1)
    return [
        "```mermaid",
        "xychart-beta",
        f'    title "{_NOT_PLAIN.sub("_", printable(title))}"',
        f'    x-axis "step" {steps[0]} --> {steps[-1]}',
        f"    y-axis {_format_plain(least)} --> {_format_plain(greatest)}",
        f"    line [{', '.join(map(_format_plain, values))}]",
        "```",
    ]


def _format_plain(value: float) -> str:
    """Format a number with six significant digits, without an exponent, which Mermaid can't parse."""
    if not math.isfinite(value):
        value = math.copysign(sys.float_info.max, value)
    text = f"{Decimal(f'{value:.6g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
