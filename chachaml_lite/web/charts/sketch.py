"""Hundreds of lines in few bytes and little time: only paths, in quarters of a unit, without their values.

60 runs with 5 metrics are 300 lines: with values, dots and bands they take 800 kB and 190 ms, as sketches 110 kB and 20
ms. A page's script reads a value from the path, to a quarter of a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...tracking.series.curves import Curve
from . import svg
from .frame import Frame
from .scales import Scale

#: The number of units of a path in a unit of the view box.
PARTS = 4


def sketch(lines: Sequence[tuple[str, Curve, int, int]], frame: Frame) -> str:
    """Draw lines, each given as its key in the page's legend, its curve, and its indexes of the colours and dashes."""
    parts = []
    for key, curve, color, dash in lines:
        ys = curve.ys if curve.smooth is None else curve.smooth
        x_positions = _places(frame.x.scale, curve.xs, frame.left, frame.right)
        y_positions = _places(frame.y.scale, ys, frame.bottom, frame.top)
        dashes = svg.dash_class(color, dash)
        kind = "line" if dashes == "dash0" else f"line {dashes}"
        path = "".join(_path(x_positions, y_positions))
        mark_path = "".join(_marks(curve, frame))
        marks = f'<path class="odd" d="{mark_path}"/>' if mark_path else ""
        parts.append(
            f'<g class="series {svg.color_class(color)}" data-key="{svg.escape_xml(key)}">'
            f'<path class="{kind}" d="{path}"/>{marks}</g>'
        )
    return f'<g class="sketch" transform="scale({1 / PARTS:g})">{"".join(parts)}</g>'


def _places(scale: Scale, values: Sequence[float], start: float, end: float) -> list[int | None]:
    """Return the places of values between two ends of an axis, as fractions; None for what it can't show."""
    first, size = start * PARTS, (end - start) * PARTS
    low, high, span = scale.low, scale.high, scale.high - scale.low
    if scale.is_log or not span or span - span != 0:  # a span beyond a double
        accepts, fraction = scale.accepts, scale.fraction
        return [round(first + fraction(value) * size) if accepts(value) else None for value in values]
    factor = size / span
    return [
        round(first + (min(max(value, low), high) - low) * factor) if value - value == 0 else None for value in values
    ]


def _path(x_positions: Sequence[int | None], y_positions: Sequence[int | None]) -> Iterator[str]:
    """Yield the stretches of a line as distances from point to point; a single point is drawn as a dot."""
    count = 0
    last_x = last_y = 0
    for x, y in zip(x_positions, y_positions, strict=True):
        if x is None or y is None:
            if count == 1:
                yield "h0"
            count = 0
        elif count:
            down = y - last_y
            start = "l" if count == 1 else ""
            yield f"{start}{x - last_x}{down} " if down < 0 else f"{start}{x - last_x},{down} "
            count, last_x, last_y = 2, x, y
        else:
            yield f"M{x},{y}"
            count, last_x, last_y = 1, x, y
    if count == 1:
        yield "h0"


def _marks(curve: Curve, frame: Frame) -> Iterator[str]:
    """Yield a cross at the bottom for a run's first NaN, and a triangle for its first infinity of each sign."""
    marked_kinds = set()
    for at, value in curve.odd:
        kind = str(value)
        if kind in marked_kinds or not frame.x.scale.accepts(at):
            continue
        marked_kinds.add(kind)
        x = round(frame.to_x(frame.x.scale.fraction(at)) * PARTS)
        if kind == "nan":
            yield f"M{x - 12},{round(frame.bottom * PARTS) - 32}l24,24m0-24l-24,24"
        elif kind == "inf":
            yield f"M{x - 14},{round(frame.top * PARTS) + 28}l14-24 14,24z"
        else:
            yield f"M{x - 14},{round(frame.bottom * PARTS) - 28}l14,24 14-24z"
