"""Charts as SVG: pure functions from what is to be shown to Markup. Nothing here knows Flask, a store or a request.

- `line_chart([Line(label, curve, color), ...], title, Style(x="step", log_y=True, smoothing=.6, ...)) -> Chart`:
  series over steps or time. A `Line`'s `curve` comes from `tracking.curves.curve_of(series, View(...))`, those of a run
  from `tracking.metrics.get_curves`: thinned, and the range taken. `color`: its place among the colours, from 0.
- `scatter_chart([Dot(label, x, y, color, href), ...], title, x_name=, y_name=, log_x=, log_y=) -> Chart`: a param (any
  JSON value; words get places of their own) against a metric, a dot a run.
- `parallel_chart([Coordinate(field, name, values), ...], [Path(label, href, tone), ...], title) -> Chart`: an axis a
  param or metric, a line a run.
- `sparkline(values, color=0, label="") -> Markup`: for a cell of a table; values may be NaN or infinite.
- `group_metrics(keys) -> [Group(title, keys), ...]`: which metrics share a chart.

A `Chart` is `svg`, Markup for a page, and `notes`, sentences that belong below it ("300 of 1,000,000 points, min to
max shaded"). Any user's text may go in. Nothing raises, whatever the points are; all is drawn within the view box.

On a page, style.css colours series by the classes s1 to s10 (`color_class(color)` is it), as `--series-1` to
`--series-10`; from the 11th on they begin again, dashed. `standalone=True` makes a file that needs no style.

A chart's scripts find in the svg element: data-axis (step, wall, relative), data-plot (left, top, right, bottom in the
view box), data-x and data-y (the ends of the axes), data-log (which are log: "", "x", "y", "xy"); in each g.series:
data-label, data-at (the first x, then distances), data-values, and data-smooth where it is smoothed.
"""

from .groups import Group, group_metrics
from .line_style import Chart, Line, Style
from .lines import line_chart
from .parallel import Coordinate, Path, parallel_chart
from .scatter import Dot, scatter_chart
from .sparks import sparkline
from .svg import color_class, series_class

__all__ = [
    "Chart",
    "Coordinate",
    "Dot",
    "Group",
    "Line",
    "Path",
    "Style",
    "color_class",
    "group_metrics",
    "line_chart",
    "parallel_chart",
    "scatter_chart",
    "series_class",
    "sparkline",
]
