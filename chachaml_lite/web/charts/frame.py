"""The frame of line and scatter charts: margins, axes with a thin grid and labels, the heading, a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ...text.safe import cells, truncate
from . import svg
from .scales import Scale
from .svg import Look
from .ticks import Ticks

#: The approximate width of a label's character, at a height of 11 units.
_CHARACTER = 6.2
#: The same for a heading, in bold at 13 units.
_WIDE_CHARACTER = 8.0
_LONGEST_LABEL = 48


@dataclass(frozen=True)
class Axis:
    """An axis: its scale, its ticks, and what it shows, in words."""

    scale: Scale
    ticks: Ticks
    name: str = ""

    @property
    def caption(self) -> str:
        """Return the unit or name at the end of the axis."""
        return ", ".join(part for part in (self.ticks.caption, self.name) if part)


class Frame:
    """A chart's size and the position of its plot: `left`, `top`, `right`, `bottom`, in units of the view box."""

    def __init__(self, width: int, height: int, x: Axis, y: Axis, *, above: float) -> None:
        """Lay out the plot, with space for the labels and `above` units over it."""
        self.width, self.height, self.x, self.y = width, height, x, y
        widest = max((cells(tick.label) for tick in y.ticks.ticks), default=1)
        self.left = min(widest * _CHARACTER + 10, width * 0.4)
        self.right = width - 14.0
        self.top = above + (20.0 if y.caption else 8.0)
        self.bottom = height - (36.0 if x.caption else 22.0)

    def to_x(self, fraction: float) -> float:
        """Return the x coordinate of a fraction of the x axis."""
        return self.left + fraction * (self.right - self.left)

    def to_y(self, fraction: float) -> float:
        """Return the y coordinate of a fraction of the y axis."""
        return self.bottom - fraction * (self.bottom - self.top)

    def axes(self, look: Look) -> str:
        """Return the grid, the axis at the bottom and the labels."""
        left_edge, right_edge = svg.number(self.left), svg.number(self.right)
        grid, labels = [], []
        for tick in self.y.ticks.ticks:
            y = self.to_y(tick.fraction)
            grid.append(f"M{left_edge},{svg.number(y)}H{right_edge}")
            labels.append(svg.text(self.left - 6, y + 3.8, tick.label, look.of("label"), "end"))
        ends = []
        free = 0.0  # the end of the last label
        for tick in self.x.ticks.ticks:
            x = self.to_x(tick.fraction)
            half = cells(tick.label) * _CHARACTER / 2
            middle = min(max(x, half), self.width - half)
            ends.append(f"M{svg.number(x)},{svg.number(self.bottom)}v4")
            if middle - half >= free:
                labels.append(svg.text(middle, self.bottom + 16, tick.label, look.of("label"), "middle"))
                free = middle + half + 5
        if self.x.caption:
            labels.append(svg.text(self.right, self.bottom + 31, self.x.caption, look.of("label"), "end"))
        if self.y.caption:
            labels.append(svg.text(4, self.top - 9, self.y.caption, look.of("label")))
        base = f"M{left_edge},{svg.number(self.bottom)}H{right_edge}"
        return (
            svg.path("".join(grid), look.of("grid")) + svg.path(base + "".join(ends), look.of("axis")) + "".join(labels)
        )


def heading(title: str, look: Look, width: int) -> str:
    """Return the title, truncated to the width."""
    return svg.text(10, 20, truncate(title, int((width - 20) / _WIDE_CHARACTER)), look.of("heading"))


def legend(entries: Sequence[tuple[str, int, int]], look: Look, width: int, top: float) -> tuple[str, float]:
    """Return a legend of labels and colours from `top` on, in as many rows as it takes, and its height."""
    parts, x, y = [], 10.0, top + 10
    for name, color, dash in entries:
        label = truncate(name, _LONGEST_LABEL)
        entry_width = 22 + cells(label) * _CHARACTER + 14
        if x > 10 and x + entry_width > width:
            x, y = 10.0, y + 17
        stroke = svg.path(f"M{svg.number(x)},{svg.number(y - 4)}h16", look.of("line", svg.dash_class(color, dash)))
        parts.append(f"<g {look.series(color)}>{stroke}</g>{svg.text(x + 22, y, label, look.of('label'))}")
        x += entry_width
    return "".join(parts), y - top + 8 if entries else 0.0


def wrap_chart(
    frame: Frame, look: Look, *, title: str, summary: str, body: str, data: str = "", role: str = "img"
) -> Markup:
    """Return the svg element, with a name and a description.

    `data`: attributes for the page's scripts. `role`: "group" for a chart that contains links, which an image can't
    have.
    """
    size = f'viewBox="0 0 {frame.width} {frame.height}" width="{frame.width}" height="{frame.height}"'
    name, description = svg.escape_xml(title), f"<desc>{svg.escape_xml(summary)}</desc>"
    if look.standalone:
        font = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, Helvetica, Arial, sans-serif"'
        opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {font}><title>{name}</title>'
    else:  # a title element would cover the chart with a tooltip
        opening = f'<svg class="chart" {size} role="{role}" aria-label="{name}"{data}>'
    return Markup(opening + description + body + "</svg>")  # all text in it was escaped by svg.escape_xml
