"""Sparklines: a series in a table cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from ...tracking.series.summary import Number
from . import svg
from .scales import padded_scale

_WIDTH, _HEIGHT, _EDGE = 96, 22, 3


def sparkline(values: Sequence[Number], color: int = 0, label: str = "") -> Markup:
    """Draw a line through the values at equal distances, with gaps at non-finite ones and a dot at the last one.

    Returns an empty Markup if there is no finite value. `label` is the name for screen readers; without it they skip
    the line.
    """
    floats = [float(value) for value in values]
    finite_values = [value for value in floats if math.isfinite(value)]
    if not finite_values:
        return Markup("")
    scale = padded_scale(min(finite_values), max(finite_values))
    step = (_WIDTH - 2 * _EDGE) / max(1, len(floats) - 1)
    stretches: list[list[tuple[float, float]]] = [[]]
    last = (0.0, 0.0)
    for place, value in enumerate(floats):
        if math.isfinite(value):
            last = (_EDGE + place * step, _HEIGHT - _EDGE - scale.fraction(value) * (_HEIGHT - 2 * _EDGE))
            stretches[-1].append(last)
        else:
            stretches.append([])
    line = svg.path("".join(svg.polyline(s) for s in stretches if len(s) > 1), 'class="line"')
    dot = svg.path(f"M{svg.number(last[0])},{svg.number(last[1])}h0", 'class="dots"')
    attributes = f'role="img" aria-label="{svg.escape_xml(label)}"' if label else 'aria-hidden="true"'
    return Markup(
        f'<svg class="spark {svg.color_class(color)}" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" {attributes}>{line}{dot}</svg>'
    )
