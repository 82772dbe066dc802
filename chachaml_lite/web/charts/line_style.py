"""The series of a line chart, and their style."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ...tracking.series.curves import Curve


@dataclass(frozen=True)
class Line:
    """One series of a chart: its name, its points, and its indexes of the colours and of the dashes, from 0.

    `key` identifies a run or group in all charts of a page, for the page's legend; "" if the chart has its own legend.
    """

    label: str
    curve: Curve
    color: int = 0
    dash: int = 0
    key: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart as SVG, and the notes to be shown below it: the parts that aren't shown, and the reasons."""

    svg: Markup
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Style:
    """The style of a line chart. `x` is one of `curves.AXES`; sizes are in CSS pixels.

    `smoothing` is that of the view of the series (`curves.View`): a curve's smoothed line is drawn if it has one.
    """

    x: str = "step"
    log_x: bool = False
    log_y: bool = False
    smoothing: float = 0
    width: int = 480
    height: int = 260
    #: For a README or a report: with a title and a legend, and colours in attributes.
    standalone: bool = False
    #: The requested range of x, both ends included. None: that of the points.
    start: int | None = None
    stop: int | None = None
    #: Whether thinned lines have bands: those of many lines would cover each other.
    has_bands: bool = True
    #: Draw lines only, in a third of the bytes: a page's script reads their values from them, to a pixel (`sketch`).
    is_sketch: bool = False

    def shows_band(self, curve: Curve) -> bool:
        """Return whether a line is drawn with its band."""
        return self.has_bands and not self.is_sketch and curve.has_band
