"""Series drawn with nothing but text: a sparkline for a line of a table, an xychart that Mermaid draws on GitHub."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from decimal import Decimal

from .safe import printable

_BARS = "▁▂▃▄▅▆▇█"
#: What Mermaid's own syntax has no part in, in a title's quotes.
_NOT_PLAIN = re.compile(r"[^\w .,:=()/+-]")


def sparkline(values: Sequence[float]) -> str:
    """A bar a value, from the least to the greatest; all at half height where they are alike. Values are finite."""
    if not values:
        return ""
    values = list(map(float, values))  # integers further apart than a double can say have no quotient
    least, greatest = min(values), max(values)
    if least == greatest:
        return _BARS[3] * len(values)
    span = greatest - least
    if math.isinf(span):  # further apart than a double can say
        return sparkline([value / 2 for value in values])
    return "".join(_BARS[min(7, int((value - least) / span * 8))] for value in values)


def mermaid(title: str, steps: Sequence[int], values: Sequence[float]) -> list[str]:
    """The lines of a chart in a Markdown block, for two points or more; values are finite.

    Mermaid spreads the points evenly between the first and the last step, wherever they are in between.
    """
    values = list(map(float, values))
    least, greatest = min(values), max(values)
    if least == greatest:  # a range of nothing can't be drawn
        least, greatest = least - (abs(least) / 2 or 1), greatest + (abs(greatest) / 2 or 1)
    return [
        "```mermaid",
        "xychart-beta",
        f'    title "{_NOT_PLAIN.sub("_", printable(title))}"',
        f'    x-axis "step" {steps[0]} --> {steps[-1]}',
        f"    y-axis {_plain(least)} --> {_plain(greatest)}",
        f"    line [{', '.join(map(_plain, values))}]",
        "```",
    ]


def _plain(value: float) -> str:
    """A number with six digits that count and no exponent, for Mermaid reads none."""
    if not math.isfinite(value):
        value = math.copysign(sys.float_info.max, value)
    text = f"{Decimal(f'{value:.6g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
