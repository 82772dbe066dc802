"""Series as lines over steps or time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from ...tracking.series.curves import Curve
from . import svg
from .frame import Axis, Frame, heading, legend, wrap_chart
from .line_style import Chart, Line, Style
from .line_texts import explain_emptiness, format_notes, format_summary
from .scales import Scale, integer_scale, padded_scale
from .sketch import sketch
from .svg import Look
from .ticks import Ticks, number_ticks
from .times import calendar_ticks, duration_ticks

#: Lines of up to this many points get a dot at each.
_FEW = 15
#: Whole numbers below this are written in full.
_WHOLE = 1e12
#: The least distance, in units, between two markers of the same kind.
_MARKERS_APART = 4


def line_chart(lines: Sequence[Line], title: str, style: Style | None = None) -> Chart:
    """Draw lines in one chart. There may be any number of lines and points: the notes describe what can't be shown."""
    style = style or Style()
    look = Look(standalone=style.standalone)
    x_scale, y_scale = _scale_of_x(lines, style), _scale_of_y(lines, style)
    top, above = "", 0.0
    if style.standalone:
        key, key_height = legend([(line.label, line.color, line.dash) for line in lines], look, style.width, 26)
        top, above = heading(title, look, style.width) + key, 28 + key_height
    x_axis = Axis(x_scale, _x_ticks(x_scale, style), "" if style.x == "wall" else _NAMES[style.x])
    y_axis = Axis(y_scale, number_ticks(y_scale, max(2, int((style.height - above) / 42))))
    frame = Frame(style.width, style.height, x_axis, y_axis, above=above)
    if style.is_sketch:
        parts = [sketch([(line.key, line.curve, line.color, line.dash) for line in lines], frame)]
    else:
        parts = [_Drawing(line, frame, look, style).render() for line in lines]
    notes = format_notes(lines, style)
    if not any(_points(line.curve, x_scale, y_scale) for line in lines):
        middle = frame.to_x(0.5), (frame.top + frame.bottom) / 2
        parts.append(svg.text(*middle, explain_emptiness(lines, style), look.of("label"), "middle"))
    plot = " ".join(map(svg.number, (frame.left, frame.top, frame.right, frame.bottom)))
    data = (
        f' data-axis="{style.x}" data-plot="{plot}"'
        f' data-x="{x_scale.low} {x_scale.high}" data-y="{float(y_scale.low)!r} {float(y_scale.high)!r}"'
        f' data-log="{"x" * style.log_x}{"y" * style.log_y}" data-digits="{digits_of(y_scale.low, y_scale.high)}"'
    )
    body = top + frame.axes(look) + "".join(parts)
    summary = format_summary(lines, style)
    return Chart(wrap_chart(frame, look, title=title, summary=summary, body=body, data=data), notes)


_NAMES = {"step": "step", "relative": "since the start", "wall": "time"}


def _x_ticks(scale: Scale, style: Style) -> Ticks:
    most = max(2, style.width // (75 if style.x == "step" else 85))
    if style.x == "wall":
        return calendar_ticks(scale, most)
    if style.x == "relative":
        return duration_ticks(scale, most)
    return number_ticks(scale, most, is_whole=True)


def _scale_of_x(lines: Sequence[Line], style: Style) -> Scale:
    is_log = style.log_x and style.x != "wall"
    values = [x for line in lines for x in (*line.curve.xs, *(x for x, _ in line.curve.odd)) if x > 0 or not is_log]
    low, high = (min(values), max(values)) if values else (1, 1)
    low = low if style.start is None else style.start
    high = high if style.stop is None else style.stop
    if is_log:
        low = max(1, low)
    return integer_scale(low, max(low, high), is_log=is_log)


def _scale_of_y(lines: Sequence[Line], style: Style) -> Scale:
    values = [
        value
        for line in lines
        for column in _columns_to_draw(line.curve, style)
        for value in column
        if math.isfinite(value) and (value > 0 or not style.log_y)
    ]
    low, high = (min(values), max(values)) if values else (1.0, 1.0)
    return padded_scale(low, high, is_log=style.log_y)


def _columns_to_draw(curve: Curve, style: Style) -> tuple[Sequence[float], ...]:
    """Return the values of a curve that are drawn: its band, or its line; in a sketch only the smoothed one."""
    if style.shows_band(curve):
        return curve.lows, curve.highs
    return (curve.smooth,) if style.is_sketch and curve.smooth is not None else (curve.ys,)


def _points(curve: Curve, x: Scale, y: Scale) -> bool:
    return any(x.accepts(at) and y.accepts(value) for at, value in zip(curve.xs, curve.ys, strict=True))


class _Drawing:
    """One line in its frame."""

    def __init__(self, line: Line, frame: Frame, look: Look, style: Style) -> None:
        self._line, self._frame, self._look, self._style = line, frame, look, style
        self._digits = digits_of(frame.y.scale.low, frame.y.scale.high)

    def render(self) -> str:
        curve, look = self._line.curve, self._look
        stretches = list(self._stretches(curve.ys))
        smooth = curve.smooth
        dash = svg.dash_class(self._line.color, self._line.dash)
        line = look.of("line", *([dash] if dash != "dash0" else []))
        raw = svg.path(self._path(stretches, curve.ys), line if smooth is None else look.of("raw"))
        parts = [self._band(stretches) if self._style.shows_band(curve) else "", raw]
        if smooth is not None:
            parts.append(svg.path(self._path(list(self._stretches(smooth)), smooth), line))
        few = len(curve.xs) <= _FEW
        isolated_places = [place for stretch in stretches for place in stretch if few or len(stretch) == 1]
        dots = "".join(f"M{svg.number(x)},{svg.number(y)}h0" for x, y in self._places(isolated_places, curve.ys))
        parts += [svg.path(dots, look.of("dots")), svg.path(self._draw_nonfinite(), look.of("odd"))]
        return f"<g {look.series(self._line.color)}{self._data(smooth)}>{''.join(parts)}</g>"

    def _stretches(self, ys: Sequence[float]) -> Iterator[range]:
        """Yield the ranges of points without a gap."""
        x_holds, y_holds = self._frame.x.scale.accepts, self._frame.y.scale.accepts
        start = None
        for place, (x, y) in enumerate(zip(self._line.curve.xs, ys, strict=True)):
            if y_holds(y) and x_holds(x):
                start = place if start is None else start
            elif start is not None:
                yield range(start, place)
                start = None
        if start is not None:
            yield range(start, len(ys))

    def _places(self, places: Sequence[int], ys: Sequence[float]) -> Iterator[tuple[float, float]]:
        frame, xs = self._frame, self._line.curve.xs
        for at in places:
            yield frame.to_x(frame.x.scale.fraction(xs[at])), frame.to_y(frame.y.scale.fraction(ys[at]))

    def _path(self, stretches: list[range], ys: Sequence[float]) -> str:
        return "".join(svg.polyline(self._places(stretch, ys)) for stretch in stretches if len(stretch) > 1)

    def _band(self, stretches: list[range]) -> str:
        curve = self._line.curve
        outlines = []
        for stretch in stretches:
            # Whole units suffice for a band, and take a fifth less space.
            upper, lower = ([(x, round(y)) for x, y in self._places(stretch, ys)] for ys in (curve.highs, curve.lows))
            if upper != lower:
                outlines.append(svg.polyline([*upper, *reversed(lower)]) + "z")
        return svg.path("".join(outlines), self._look.of("band"))

    def _draw_nonfinite(self) -> str:
        """Return a cross at the bottom for NaN, and a triangle at the top or the bottom for an infinity."""
        frame, last = self._frame, dict[str, float]()
        marks = []
        for at, value in self._line.curve.odd:
            x = frame.to_x(frame.x.scale.fraction(at))
            kind = str(value)
            if frame.x.scale.accepts(at) and abs(x - last.get(kind, -math.inf)) >= _MARKERS_APART:
                last[kind] = x
                marks.append(_MARKS[kind](x, frame))
        return "".join(marks)

    def _data(self, smooth: Sequence[float] | None) -> str:
        """Return the crosshair's data: the first x, the distances to the next ones, the values in the axis's digits."""
        if self._look.standalone:
            return ""
        xs = self._line.curve.xs
        distances = (str(x - before) for before, x in zip(xs, xs[1:], strict=False))
        attribute = f' data-key="{svg.escape_xml(self._line.key)}"' if self._line.key else ""
        attribute += (
            f' data-label="{svg.escape_xml(self._line.label)}" data-at="{" ".join([*map(str, xs[:1]), *distances])}"'
        )
        attribute += f' data-values="{self._describe_values(self._line.curve.ys)}"'
        if self._line.curve.is_thinned:
            attribute += ' data-means=""'
        if self._line.curve.counts:
            attribute += f' data-counts="{" ".join(map(str, self._line.curve.counts))}"'
        return attribute if smooth is None else f'{attribute} data-smooth="{self._describe_values(smooth)}"'

    def _describe_values(self, values: Sequence[float]) -> str:
        return " ".join(_short(value, self._digits) for value in values)


def _cross(x: float, frame: Frame) -> str:
    return f"M{svg.number(x - 3)},{svg.number(frame.bottom - 8)}l6,6m0-6l-6,6"


def _triangle_up(x: float, frame: Frame) -> str:
    return f"M{svg.number(x - 3.5)},{svg.number(frame.top + 7)}l3.5-6 3.5,6z"


def _triangle_down(x: float, frame: Frame) -> str:
    return f"M{svg.number(x - 3.5)},{svg.number(frame.bottom - 7)}l3.5,6 3.5-6z"


_MARKS: dict[str, Callable[[float, Frame], str]] = {"nan": _cross, "inf": _triangle_up, "-inf": _triangle_down}


def digits_of(low: float, high: float) -> int:
    """Return the number of digits, 5 to 17, that distinguish values to a ten-thousandth of the axis."""
    size, extent = max(abs(low), abs(high)), float(high) - float(low)
    if not (extent > 0 and math.isfinite(extent) and size > 0):
        return 5
    return max(5, min(17, math.ceil(math.log10(size / extent)) + 5))


def _short(value: float, digits: int) -> str:
    if abs(value) < _WHOLE and value == int(value):  # rounded, it would look exact
        return str(int(value))
    text = f"{value:.{digits}g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
