"""Scatter charts: one value of each run against another, such as a param against a metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ... import strict_json
from ...text.safe import truncate
from ...tracking.query.conditions import number_in
from . import svg
from .frame import Axis, Frame, heading, wrap_chart
from .line_style import Chart
from .scales import Scale, padded_scale, to_finite
from .svg import Look
from .ticks import Tick, Ticks, number_ticks
from .times import calendar_ticks, duration_ticks

#: The most values of a param that isn't a number whose names are still legible.
_MOST_CATEGORIES = 30
_LONGEST_CATEGORY = 14


@dataclass(frozen=True)
class Dot:
    """One run: `x`, any JSON value, also a number as text, and `y`, a number or its text; None for no value.

    `tone`: its step on the colour scale, instead of a colour. `description`: text about it in place of its two values.
    """

    label: str
    x: Any
    y: Any
    color: int = 0
    href: str = ""
    tone: int | None = None
    description: str = ""


def scatter_chart(
    dots: Sequence[Dot],
    title: str,
    *,
    x_name: str,
    y_name: str,
    log_x: bool = False,
    log_y: bool = False,
    width: int = 480,
    height: int = 300,
    standalone: bool = False,
    x_type: str = "number",
) -> Chart:
    """Draw the dots in one chart. If an x is not a number, each different value gets a position of its own, in order.

    `x_type`: "time" for ms since 1970, "duration" for ms, else "number". Dots that can't be shown (not a number, not
    finite, 0 or less on a log axis) are counted in the notes.
    """
    look = Look(standalone=standalone)
    ys = [to_finite(dot.y) for dot in dots]
    xs = [to_finite(dot.x) for dot in dots]
    by_name = any(x is None and dot.x is not None and not _is_number(dot.x) for x, dot in zip(xs, dots, strict=True))
    if by_name:
        x_axis, places = _categories(dots, x_name)
    else:
        good = [x for x in xs if x is not None and (x > 0 or not log_x)]
        scale = padded_scale(min(good), max(good), is_log=log_x) if good else padded_scale(1, 1, is_log=log_x)
        x_axis = Axis(*_x_ticks(scale, good, max(2, width // 90), x_type), x_name)
        scale = x_axis.scale
        places = [scale.fraction(x) if x is not None and scale.accepts(x) else None for x in xs]
    good = [y for y in ys if y is not None and (y > 0 or not log_y)]
    y_scale = padded_scale(min(good), max(good), is_log=log_y) if good else padded_scale(1, 1, is_log=log_y)
    y_axis = Axis(y_scale, number_ticks(y_scale, max(2, height // 42)), y_name)
    above = 28.0 if standalone else 0.0
    frame = Frame(width, height, x_axis, y_axis, above=above)
    parts = []
    for dot, x_position, y in zip(dots, places, ys, strict=True):
        if x_position is not None and y is not None and y_scale.accepts(y):
            parts.append(_circle(dot, frame.to_x(x_position), frame.to_y(y_scale.fraction(y)), look))
    missing = len(dots) - len(parts)
    notes = (f"{missing} of {len(dots)} runs have no value that can be shown here",) if missing else ()
    top = heading(title, look, width) if standalone else ""
    body = top + frame.axes(look) + "".join(parts)
    summary = f"{y_name} against {x_name} of {len(parts)} runs."
    role = "group" if any(dot.href for dot in dots) else "img"
    return Chart(wrap_chart(frame, look, title=title, summary=summary, body=body, role=role), notes)


def _x_ticks(scale: Scale, values: Sequence[float], most: int, value_type: str) -> tuple[Scale, Ticks]:
    if value_type == "number" or not values:
        return scale, number_ticks(scale, most)
    room = int(max(values) - min(values)) // 25 + 1
    low, high = int(min(values)) - room, int(max(values)) + room
    in_ms = Scale(max(1, low) if scale.is_log else low, high, scale.is_log)
    if value_type == "time":
        return in_ms, calendar_ticks(in_ms, most)
    return in_ms, duration_ticks(in_ms, most)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number, even a non-finite one, rather than a word."""
    return number_in(value) is not None


def _categories(dots: Sequence[Dot], name: str) -> tuple[Axis, list[float | None]]:
    names = [None if dot.x is None else dot.x if isinstance(dot.x, str) else strict_json.dumps(dot.x) for dot in dots]
    unique_names = list(dict.fromkeys(name for name in names if name is not None))
    places = {name: (number + 0.5) / len(unique_names) for number, name in enumerate(unique_names)}
    category_names = unique_names if len(unique_names) <= _MOST_CATEGORIES else []
    ticks = Ticks([Tick(places[name], truncate(name, _LONGEST_CATEGORY)) for name in category_names])
    return Axis(Scale(0, 1), ticks, name), [None if name is None else places[name] for name in names]


def _circle(dot: Dot, x: float, y: float, look: Look) -> str:
    label = svg.escape_xml(f"{dot.label}: {dot.description or f'{dot.x}, {dot.y}'}")
    paint = 'fill="currentColor" fill-opacity=".75" stroke="currentColor"' if look.standalone else 'class="dot"'
    circle = f'<circle cx="{svg.number(x)}" cy="{svg.number(y)}" r="4.5" {paint}><title>{label}</title></circle>'
    series = look.series(dot.color) if dot.tone is None else f'class="series t{dot.tone + 1}"'
    content = f"<g {series}>{circle}</g>"
    if dot.href and not look.standalone:
        return f'<a href="{svg.escape_xml(dot.href)}" aria-label="{label}">{content}</a>'
    return content
