"""Elements of SVG: paths in few bytes, escaped text, and styling by classes or by presentation attributes.

On our pages a chart's parts have classes, to which style.css gives colours, light and dark. A standalone chart has
everything in attributes (SVG 2, "presentation attributes"), because a README or a report doesn't have our stylesheet,
and a policy may forbid inline styles. Its colours must be legible on white and on black: all of them have a contrast of
at least 3:1 to both, the text of more than 4:1.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

#: The colours of series in standalone charts. Beyond them they repeat, and lines are dashed.
STANDALONE_COLORS = (
    "#2f7fc1",
    "#ae3a13",
    "#09a57e",
    "#a8387a",
    "#b88d0a",
    "#775c40",
    "#796ef7",
    "#f54772",
    "#6b9640",
    "#7299a1",
)
_GREY = "#768089"
_THIN = 'fill="none" stroke="currentColor" stroke-linejoin="round" stroke-linecap="round"'
_STANDALONE = {
    "grid": f'stroke="{_GREY}" stroke-opacity=".25" shape-rendering="crispEdges"',
    "axis": f'stroke="{_GREY}" stroke-opacity=".7" shape-rendering="crispEdges"',
    "label": f'fill="{_GREY}" font-size="11"',
    "heading": f'fill="{_GREY}" font-size="13" font-weight="600"',
    "line": f'{_THIN} stroke-width="1.6"',
    "raw": f'{_THIN} stroke-width="1" stroke-opacity=".35"',
    "band": 'fill="currentColor" fill-opacity=".18" stroke="currentColor" stroke-opacity=".18"',
    "dots": 'fill="none" stroke="currentColor" stroke-width="6" stroke-linecap="round"',
    "odd": 'fill="none" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round"',
    "dash0": "",
    "dash1": 'stroke-dasharray="6 3"',
    "dash2": 'stroke-dasharray="2 3"',
    "dash3": 'stroke-dasharray="9 3 2 3"',
}


class Look:
    """The styling of a chart's parts: classes on a page, attributes in a standalone file."""

    def __init__(self, *, standalone: bool) -> None:
        self.standalone = standalone

    def of(self, *parts: str) -> str:
        """Return the attributes of a part."""
        if self.standalone:
            return " ".join(filter(None, (_STANDALONE[part] for part in parts)))
        return f'class="{" ".join(parts)}"'

    def series(self, color: int) -> str:
        """Return the attributes of the series with this index of the colours."""
        if self.standalone:
            return f'color="{STANDALONE_COLORS[color % len(STANDALONE_COLORS)]}"'
        return f'class="series {color_class(color)}"'


def color_class(color: int) -> str:
    """Return the class by which style.css colours the series with this index."""
    return f"s{color % len(STANDALONE_COLORS) + 1}"


def dash_class(color: int, dash: int) -> str:
    """Return the class of a line's dashes: those of `dash`, and more where the colours repeat."""
    return f"dash{(color // len(STANDALONE_COLORS) + dash) % 4}"


def series_class(color: int) -> str:
    """Return the classes of a line, for parts of a page outside a chart that belong to its series."""
    return f"{color_class(color)} {dash_class(color, 0)}"


def number(value: float) -> str:
    """Format a coordinate to a tenth."""
    return _tenths(round(value * 10))


def _tenths(count: int) -> str:
    sign, count = ("-", -count) if count < 0 else ("", count)
    units, rest = divmod(count, 10)
    if not rest:
        return f"{sign}{units}"
    return f"{sign}{units or ''}.{rest}"


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return a path through points, in relative coordinates: half as long as absolute ones, and errors don't add up."""
    parts: list[str] = []
    last: tuple[int, int] | None = None
    for x, y in points:
        point = (round(x * 10), round(y * 10))
        if last is None:
            parts.append(f"M{_tenths(point[0])},{_tenths(point[1])}l")
        else:
            dx, dy = _tenths(point[0] - last[0]), _tenths(point[1] - last[1])
            parts.append(f"{dx}{dy} " if dy.startswith("-") else f"{dx},{dy} ")
        last = point
    return "".join(parts).rstrip(" l")


def text(x: float, y: float, content: str, attributes: str, anchor: str = "start") -> str:
    """Return a line of text."""
    side = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{number(x)}" y="{number(y)}"{side} {attributes}>{escape_xml(content)}</text>'


def path(d: str, attributes: str) -> str:
    """Return a path, or "" for an empty one."""
    return f'<path {attributes} d="{d}"/>' if d else ""


def escape_xml(content: str) -> str:
    """Escape any text for an element or an attribute; characters that XML doesn't allow are replaced by U+FFFD."""
    return str(escape("".join(c if _in_xml(c) else "�" for c in content)))


def _in_xml(character: str) -> bool:
    """Return whether XML 1.0 allows a character (its production 2, "Char")."""
    code = ord(character)
    return code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code >= 0x10000


def markup(content: str) -> Markup:
    """Mark SVG that was built by this module as safe: all text in it went through `escape_xml`."""
    return Markup(content)
