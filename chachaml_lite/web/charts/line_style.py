"""The series of a chart of lines, and the way in which they are drawn."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ...tracking.series.curves import Curve


@dataclass(frozen=True)
class Line:
    """One series of a chart: its name, its points, its place among the colours, and among the dashes, from 0.

    `key`: what the lines of one run or group have in common in all charts of a page, its place in the legend; "" where
    a chart has a legend of its own.
    """

    label: str
    curve: Curve
    color: int = 0
    dash: int = 0
    key: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart as SVG, and what has to be said below it: what isn't shown, and why."""

    svg: Markup
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Style:
    """The way lines are drawn. `x` is one of `curves.AXES`; sizes in CSS pixels.

    `smoothing`: what a view of the series is to ask for (`curves.View`); a curve that has a smooth line shows it.
    """

    x: str = "step"
    log_x: bool = False
    log_y: bool = False
    smoothing: float = 0
    width: int = 480
    height: int = 260
    #: For a README or a report: with its title and legend, its colours in attributes.
    standalone: bool = False
    #: The ends of x, both included, where a range was asked for; None: those of the points.
    start: int | None = None
    stop: int | None = None
    #: Whether thinned lines have bands: of many lines they would cover each other.
    has_bands: bool = True
    #: Lines alone, in a third of the bytes: a page's script reads their values off them, to a pixel (`sketch`).
    is_sketch: bool = False

    def shows_band(self, curve: Curve) -> bool:
        """Whether a line has its band."""
        return self.has_bands and not self.is_sketch and curve.has_band
