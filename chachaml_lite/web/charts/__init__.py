"""Charts as SVG: pure functions from data to Markup. Nothing here depends on Flask, a store or a request.

- `line_chart([Line(label, curve, color), ...], title, Style(x="step", log_y=True, smoothing=.6, ...)) -> Chart`:
  series over steps or time. A `Line`'s `curve` comes from `tracking.series.curves.curve_of(series, View(...))`, a run's
  curves from `tracking.metrics.get_curves`: thinned, with the range applied. `color`: its index of the colours, from 0.
- `scatter_chart([Dot(label, x, y, color, href), ...], title, x_name=, y_name=, log_x=, log_y=) -> Chart`: a param (any
  JSON value; words get positions of their own) against a metric, with a dot per run.
- `parallel_chart([Coordinate(field, name, values), ...], [Path(label, href, tone), ...], title) -> Chart`: an axis per
  param or metric, and a line per run.
- `sparkline(values, color=0, label="") -> Markup`: for a table cell; values may be NaN or infinite.
- `group_metrics(keys) -> [Group(title, keys), ...]`: the metrics that share a chart.

A `Chart` has `svg`, Markup for a page, and `notes`, sentences to be shown below it ("300 of 1,000,000 points, min to
max shaded"). Any user's text is accepted. Nothing raises, whatever the points are, and everything is drawn within the
view box.

On a page, style.css colours series by the classes s1 to s10 (see `color_class(color)`), as `--series-1` to
`--series-10`; from the 11th on they repeat, with dashes. `standalone=True` makes a file that needs no stylesheet.

Scripts find in the svg element: data-axis (step, wall, relative), data-plot (left, top, right, bottom in the view box),
data-x and data-y (the ends of the axes), data-log (the log axes: "", "x", "y", "xy"); in each g.series: data-label,
data-at (the first x, then distances), data-values, and data-smooth if it is smoothed.
"""

from .groups import Group, group_metrics
from .line_style import Chart, Line, Style
from .lines import line_chart
from .parallel import Coordinate, Path, parallel_chart
from .scatter import Dot, scatter_chart
from .sparklines import sparkline
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
