"""Parallel coordinates: an axis for each param and metric, and a line for each run through its values on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ... import strict_json
from ...text.safe import truncate
from ...tracking.query.conditions import number_in, text_of
from . import svg
from .line_style import Chart
from .scales import Scale, padded_scale, should_use_log, to_finite
from .svg import Look
from .ticks import number_ticks

#: Stands for a value that a run doesn't have.
MISSING: Any = object()
#: The most different words on one axis whose names are still legible.
_MOST_WORDS = 24
_TOP, _BELOW, _NONE = 34.0, 34.0, 16.0
_CHARACTER, _LONGEST_NAME = 6.2, 20
#: The width of the widest character: values to the left of the first axis must not extend beyond the view box.
_WIDEST_CHARACTER = 11.0
_WIDTH, _LEAST_WIDTH = 1200, 118


@dataclass(frozen=True)
class Coordinate:
    """An axis: its field as in a query, its name, each run's value (any JSON value, or MISSING), and the brushed part.

    `brush`: the ends of a range, or the chosen words.
    """

    field: str
    name: str
    values: Sequence[Any]
    brush: tuple[float, float] | frozenset[str] | None = None


@dataclass(frozen=True)
class Path:
    """A run: its name, its page, its step on the colour scale, and whether it is outside the brushed part."""

    label: str
    href: str
    tone: int | None
    is_outside: bool = False


@dataclass(frozen=True)
class _Placement:
    """An axis at its position: the place of each run on it, its ticks, and the data for the page's script."""

    ticks: list[tuple[float, str]]
    places: list[float]
    data: str
    brush_range: tuple[float, float] | None


def parallel_chart(axes: Sequence[Coordinate], paths: Sequence[Path], title: str, height: int = 380) -> Chart:
    """Draw the axes side by side, in their order, with a line for each run.

    Runs without a value cross an axis below it, at "none". A numeric axis is logarithmic if its values span decades.
    Data of an axis: data-field, data-low, data-high and data-log, or data-words, from the top down; of the chart:
    data-plot, the top and bottom of the axes.
    """
    look = Look(standalone=False)
    width = max(_WIDTH, 60 + _LEAST_WIDTH * len(axes))
    bottom = height - _BELOW
    placements = [_place(axis, bottom) for axis in axes]
    longest = max((len(label) for _, label in placements[0].ticks), default=0) if placements else 0
    left_edge, right_edge = max(84.0, longest * _WIDEST_CHARACTER + 10), width - 84.0
    distance = (right_edge - left_edge) / max(1, len(axes) - 1)
    xs = [left_edge + distance * number for number in range(len(axes))]
    lines = [
        _line(path, [(x, axis.places[number]) for x, axis in zip(xs, placements, strict=True)])
        for number, path in sorted(enumerate(paths), key=lambda pair: not pair[1].is_outside)
    ]
    parts = [_axis(axis, at, x, bottom, look, distance) for axis, at, x in zip(axes, placements, xs, strict=True)]
    name = svg.escape_xml(title)
    summary = svg.escape_xml(f"{len(paths)} runs on {len(axes)} axes: {', '.join(axis.name for axis in axes)}.")
    return Chart(
        svg.markup(
            f'<svg class="chart parallel" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="group" aria-label="{name}" data-ends="{_TOP:g} {bottom:g}"><desc>{summary}</desc>'
            f"{''.join(lines)}{''.join(parts)}</svg>"
        )
    )


def _place(axis: Coordinate, bottom: float) -> _Placement:
    present = [value for value in axis.values if value is not MISSING]
    numbers = [number_in(value) for value in present]
    if present and all(number is not None for number in numbers):
        return _numeric(axis, bottom)
    return _words(axis, bottom)


def _numeric(axis: Coordinate, bottom: float) -> _Placement:
    numbers = [to_finite(value) for value in axis.values]
    finite_values = [number for number in numbers if number is not None]
    is_log = should_use_log(finite_values)
    scale = padded_scale(min(finite_values), max(finite_values), is_log=is_log) if finite_values else Scale(0, 1)

    def to_y(value: float) -> float:
        return bottom - scale.fraction(value) * (bottom - _TOP)

    ticks = number_ticks(scale, 6)
    labels = [(bottom - tick.fraction * (bottom - _TOP), tick.label) for tick in ticks.ticks]
    if ticks.caption and labels:
        labels[-1] = (labels[-1][0], f"{ticks.caption} {labels[-1][1]}")
    places = [bottom + _NONE if number is None else to_y(number) for number in numbers]
    data = f'data-low="{float(scale.low)!r}" data-high="{float(scale.high)!r}"{" data-log" if is_log else ""}'
    brush_range = (to_y(axis.brush[1]), to_y(axis.brush[0])) if isinstance(axis.brush, tuple) else None
    return _Placement(labels, places, data, brush_range)


def _words(axis: Coordinate, bottom: float) -> _Placement:
    texts = [None if value is MISSING else text_of(value) for value in axis.values]
    words = sorted({text for text in texts if text is not None})
    step = (bottom - _TOP) / max(1, len(words))
    at = {word: _TOP + step * (number + 0.5) for number, word in enumerate(words)}
    labels = [(at[word], truncate(word, 14)) for word in words] if len(words) <= _MOST_WORDS else []
    data = f'data-words="{svg.escape_xml(strict_json.dumps(words))}"'
    brush_range = None
    if isinstance(axis.brush, frozenset) and (positions := [at[word] for word in axis.brush if word in at]):
        brush_range = (min(positions) - step / 2, max(positions) + step / 2)
    return _Placement(labels, [bottom + _NONE if text is None else at[text] for text in texts], data, brush_range)


def _line(path: Path, points: Sequence[tuple[float, float]]) -> str:
    label = svg.escape_xml(path.label)
    tone = "t0" if path.tone is None else f"t{path.tone + 1}"
    out_class = " out" if path.is_outside else ""
    return (
        f'<a href="{svg.escape_xml(path.href)}" class="path {tone}{out_class}" aria-label="{label}">'
        f'<path class="line" d="{svg.polyline(points)}"/><title>{label}</title></a>'
    )


def _axis(axis: Coordinate, placement: _Placement, x: float, bottom: float, look: Look, distance: float) -> str:
    most = max(6, min(_LONGEST_NAME, int(distance / _CHARACTER) - 1))
    parts = [svg.path(f"M{svg.number(x)},{_TOP:g}V{bottom:g}", look.of("axis"))]
    parts.append(svg.text(x, _TOP - 18, truncate(axis.name, most), look.of("label", "name"), "middle"))
    parts += [svg.text(x - 5, y + 3.8, label, look.of("label"), "end") for y, label in placement.ticks]
    if any(place > bottom for place in placement.places):
        parts.append(svg.text(x - 5, bottom + _NONE + 3.8, "none", look.of("label"), "end"))
    if placement.brush_range is not None:
        top, end = placement.brush_range
        place = f'x="{svg.number(x - 8)}" y="{svg.number(top)}"'
        parts.append(f'<rect class="selection" {place} width="16" height="{svg.number(end - top)}"/>')
    hit = f'<rect class="hit" x="{svg.number(x - 14)}" y="{_TOP - 6:g}" width="28" height="{bottom - _TOP + 12:g}"/>'
    return (
        f'<g class="coordinate" data-field="{svg.escape_xml(axis.field)}" {placement.data}>'
        f"<title>{svg.escape_xml(axis.name)}: drag along it to choose runs</title>{''.join(parts)}{hit}</g>"
    )
