"""Charts on pages, with their legends, notes and links; metrics of the same quantity share one.

A page's view calls `draw_run_figures(tracker, run, sections, style)`, with `style` from `chart_url.parse_style(query)`,
and accepts the parameters `chart_url.PAGE_FIELDS`. Its template uses `charts.grid(section_charts, name)` of
_charts.html, `charts.axis_fields(style)` in a form of the class chart-controls, and the script charts.js. The charts of
several runs are drawn by `sweep.curves`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from flask import url_for

from ....errors import InvalidInput, NotFound
from ....text import labels
from ....text.safe import truncate
from ....tracking import metrics
from ....tracking.index.run_entry import Run
from ....tracking.series.curves import BUCKETS, Curve, View
from ....tracking.tracker import Tracker
from ...charts import Chart, Group, Line, Style, group_metrics, line_chart
from ...charts.svg import color_class, dash_class
from .chart_url import url

#: The most charts of a page; further metrics are links to their charts: browsers get slow.
MAX_CHARTS = 40
#: The charts that a section opened by the user may have in any case.
_MAX_CHARTS_OF_OPEN_SECTION = 24
#: About the number of points of all lines of a page, and the fewest of a line; a page should stay near 100 kB.
_PAGE_POINTS, _FEWEST_POINTS = 3000, 80
#: The most points of a series that is drawn completely, however many lines the page has.
_MAX_POINTS_UNTHINNED = 240
#: The most lines of one chart, and about the most points of all of them.
_MAX_LINES, _CHART_POINTS = 200, 20_000
_LONGEST_TITLE = 120
#: The most metrics without a chart that are named; the others are counted.
_MOST_NAMED = 20


@dataclass(frozen=True)
class Entry:
    """A line in a legend: its name, and the classes of its colour and dashes."""

    label: str
    classes: str


@dataclass(frozen=True)
class Figure:
    """A chart with what surrounds it. `page` is the URL of the chart alone: larger, with its values in a table."""

    id: str
    title: str
    chart: Chart
    legend: tuple[Entry, ...]
    page: str
    svg: str
    json: str
    #: The x axis: time, if steps were requested and there are none.
    axis: str


@dataclass(frozen=True)
class SectionCharts:
    """The charts of a section, links to further ones with their titles, and the number of those that have no link."""

    figures: list[Figure]
    links: list[tuple[str, str]]
    unlisted_count: int = 0


@dataclass(frozen=True)
class NamedRun:
    """A run with its label in a legend."""

    id: str
    label: str


def name_runs(runs: Sequence[Run]) -> list[NamedRun]:
    """Return the runs with their labels: their names, or their ids if they have none."""
    return [NamedRun(run.id, label) for run, label in zip(runs, label_runs(runs), strict=True)]


def label_runs(runs: Sequence[Run]) -> list[str]:
    """Return unique labels for runs that are shown side by side."""
    return labels.label_runs([(run.id, run.meta.get("name")) for run in runs])


def view_of(style: Style, buckets: int, whole: int = 0) -> View:
    """Return the view of series that a style needs."""
    return View(style.x, style.log_x, style.start, style.stop, buckets, whole, style.smoothing)


def draw_run_figures(
    tracker: Tracker, run: Run, sections: Sequence[tuple[Sequence[str], bool]], style: Style
) -> list[SectionCharts]:
    """Return the charts of a run's metrics by section; metrics of the same quantity share a chart.

    A section is given as its metrics and whether the user opened it; of an opened one some charts are always drawn.
    """
    remaining = MAX_CHARTS
    plans = []
    for keys, is_open in sections:
        groups = group_metrics(keys)
        most = max(remaining, _MAX_CHARTS_OF_OPEN_SECTION) if is_open else remaining
        plans.append((groups[:most], groups[most:]))
        remaining = max(0, remaining - len(plans[-1][0]))
    keys_to_load = [key for drawn_groups, _ in plans for group in drawn_groups for key in group.keys]
    curves = (
        metrics.get_curves(tracker, run, keys_to_load, _view_of_page(style, len(keys_to_load))) if keys_to_load else {}
    )

    def build_group_figure(group: Group) -> Figure:
        lines = [Line(key, curves[key], place) for place, key in enumerate(group.keys) if key in curves]
        axis_style = _axis_of(lines, style)
        if axis_style != style:
            time_curves = metrics.get_curves(tracker, run, group.keys, _view_of_page(axis_style, len(keys_to_load)))
            lines = [replace(line, curve=time_curves[line.label]) for line in lines]
        return _build_figure(_links_of_run(run.id, group.keys), group.title, lines, style)

    return [
        SectionCharts(
            [build_group_figure(group) for group in drawn_groups],
            [(group.title, _page_of_run(run.id, group.keys, style)) for group in rest[:_MOST_NAMED]],
            max(0, len(rest) - _MOST_NAMED),
        )
        for drawn_groups, rest in plans
    ]


def _page_of_run(run_id: str, keys: Sequence[str], style: Style) -> str:
    return url(url_for("charts.run_chart", run_id=run_id), style, [("key", key) for key in keys])


def draw_run_chart(tracker: Tracker, run: Run, keys: Sequence[str], style: Style) -> Figure:
    """Return one chart of some metrics of a run, at full detail.

    Raises NotFound for a metric that the run doesn't have.
    """
    buckets = _bucket_count(style, len(keys))
    lines = load_run_lines(tracker, run, keys, view_of(style, buckets))
    axis_style = _axis_of(lines, style)
    if axis_style != style:
        lines = load_run_lines(tracker, run, keys, view_of(axis_style, buckets))
    return _build_figure(_links_of_run(run.id, keys), title_of(keys), lines, style)


def load_run_lines(tracker: Tracker, run: Run, keys: Sequence[str], view: View) -> list[Line]:
    """Return some metrics of a run as lines. Raises NotFound for a metric that the run doesn't have."""
    curves = metrics.get_curves(tracker, run, keys, view)
    _refuse_unknown(keys, curves, url_for("runs.get_run", run_id=run.id))
    return [Line(key, curves[key], place) for place, key in enumerate(keys)]


def draw_comparison_chart(tracker: Tracker, runs: Sequence[NamedRun], keys: Sequence[str], style: Style) -> Figure:
    """Return one chart of some metrics of some runs. Raises NotFound for a metric that none of them has."""
    buckets = _bucket_count(style, len(keys) * len(runs))
    lines = load_comparison_lines(tracker, runs, keys, view_of(style, buckets))
    axis_style = _axis_of(lines, style)
    if axis_style != style:
        lines = load_comparison_lines(tracker, runs, keys, view_of(axis_style, buckets))
    return _build_figure(_links_of_runs(runs, keys), title_of(keys), lines, style)


def load_comparison_lines(tracker: Tracker, runs: Sequence[NamedRun], keys: Sequence[str], view: View) -> list[Line]:
    """Return some metrics of some runs as lines. Raises NotFound for a metric that none of them has."""
    curves = [metrics.get_curves(tracker, run.id, keys, view) for run in runs]
    _refuse_unknown(keys, {key for each in curves for key in each}, url_for("compare.compare_runs"))
    return _build_lines(runs, curves, keys)


def title_of(keys: Sequence[str]) -> str:
    """Return the title of a chart of some metrics: their common name, else all of their names."""
    groups = group_metrics(keys)
    title = groups[0].title if len(groups) == 1 else ", ".join(keys)
    return truncate(title, _LONGEST_TITLE)


def _axis_of(lines: Sequence[Line], style: Style) -> Style:
    return axis_of([line.curve for line in lines], style)


def axis_of(curves: Sequence[Curve], style: Style) -> Style:
    """Return `style`, over time instead of steps if all points have the same step and would be a single dot."""
    is_dot = all(curve.is_at_one_step for curve in curves) and any(curve.is_stepless for curve in curves)
    return replace(style, x="relative") if style.x == "step" and is_dot else style


def _view_of_page(style: Style, lines: int) -> View:
    """Return a view with a bucket per pixel, fewer for many lines; a short series is drawn whole, without a band."""
    buckets = max(_FEWEST_POINTS, min(BUCKETS, _PAGE_POINTS // max(1, lines)))
    return view_of(style, buckets, max(_MAX_POINTS_UNTHINNED, min(BUCKETS, 2 * buckets)))


def _bucket_count(style: Style, lines: int) -> int:
    """Return the number of buckets: one per pixel, fewer for many lines. Raises InvalidInput for too many lines."""
    if lines > _MAX_LINES:
        raise InvalidInput(f"{lines} lines are too many for a chart; it holds {_MAX_LINES}: ask for fewer runs or keys")
    return min(style.width, max(_FEWEST_POINTS, _CHART_POINTS // max(1, lines)))


def _build_lines(runs: Sequence[NamedRun], curves: Sequence[dict[str, Curve]], keys: Sequence[str]) -> list[Line]:
    """Return a line for each run and metric: the colour identifies the run, the dashes one of several metrics."""
    return [
        Line(run.label if len(keys) == 1 else f"{run.label} {key}", curves[place][key], place, dash)
        for place, run in enumerate(runs)
        for dash, key in enumerate(keys)
        if key in curves[place]
    ]


def _refuse_unknown(keys: Sequence[str], existing: dict[str, Curve] | set[str], where: str) -> None:
    missing = next((key for key in keys if key not in existing), None)
    if missing is not None:
        raise NotFound("metric", f"nothing was logged as {missing[:250]!r} here; GET {where} names what was")


Fields = list[tuple[str, str]]


class _Links(NamedTuple):
    """The URLs of one chart: its page, its file, its points; `fields` are the query fields of the first two."""

    page: str
    svg: str
    json: str
    fields: Fields


def _links_of_run(run_id: str, keys: Sequence[str]) -> _Links:
    return _Links(
        url_for("charts.run_chart", run_id=run_id),
        url_for("charts.run_svg", run_id=run_id),
        url_for("runs.get_metrics", run_id=run_id, key=keys, max_points=_CHART_POINTS),
        [("key", key) for key in keys],
    )


def _run_fields(runs: Sequence[NamedRun], keys: Sequence[str]) -> Fields:
    return [("ids", ",".join(run.id for run in runs)), *(("key", key) for key in keys)]


def _links_of_runs(runs: Sequence[NamedRun], keys: Sequence[str]) -> _Links:
    fields = _run_fields(runs, keys)
    return _Links(
        url_for("charts.compare_chart"),
        url_for("charts.compare_svg"),
        url_for("compare.compare_runs", ids=fields[0][1]),
        fields,
    )


def _build_figure(links: _Links, title: str, lines: list[Line], style: Style) -> Figure:
    digest = hashlib.blake2b("\n".join(value for _, value in links.fields).encode("utf-8", "replace"), digest_size=6)
    axis = _axis_of(lines, style)
    legend = [Entry(line.label, f"{color_class(line.color)} {dash_class(line.color, line.dash)}") for line in lines]
    return Figure(
        f"chart-{digest.hexdigest()}",
        title,
        line_chart(lines, title, axis),
        tuple(legend),
        url(links.page, style, links.fields, with_range=True),
        url(links.svg, style, links.fields, with_range=True),
        links.json,
        axis.x,
    )
