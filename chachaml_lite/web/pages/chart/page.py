"""One chart: as an SVG file for a README or a report, and as a large one on a page, with its values in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, render_template, url_for

from ....errors import InvalidInput
from ....tracking.compare import MAX_RUNS
from ....tracking.index.run_parts import META
from ....tracking.series.curves import View
from ...charts import Line, Style
from ...charts.line_texts import format_x
from ...charts.lines import digits_of
from ...context import tracker
from ...query_string import Query, parse_ids
from . import chart_url, figures
from .figures import Figure, NamedRun

charts = Blueprint("charts", __name__)

#: The sizes, in CSS pixels, of the chart on its page and in a file.
_PAGE_SIZE, _FILE_SIZE = (960, 400), (720, 360)
#: The rows of the table of values.
_ROWS = 100


@charts.get("/runs/<run_id>/charts.svg")
def run_svg(run_id: str) -> Response:
    """Return a chart of metrics of one run as a file."""
    query = Query(chart_url.CHART_FIELDS, repeatable=("key",))
    keys, style = chart_url.parse_keys(query), chart_url.parse_style(query, *_FILE_SIZE, standalone=True)
    return _svg_response(figures.draw_run_chart(tracker(), tracker().run(run_id, (META,)), keys, style))


@charts.get("/compare/charts.svg")
def compare_svg() -> Response:
    """Return a chart of metrics of several runs as a file."""
    query = Query(("ids", *chart_url.CHART_FIELDS), repeatable=("ids", "key"))
    keys, style = chart_url.parse_keys(query), chart_url.parse_style(query, *_FILE_SIZE, standalone=True)
    return _svg_response(figures.draw_comparison_chart(tracker(), load_runs(query), keys, style))


@charts.get("/runs/<run_id>/charts")
def run_chart(run_id: str) -> str:
    """Show a large chart of metrics of one run."""
    query = Query(chart_url.CHART_FIELDS, repeatable=("key",))
    keys, style = chart_url.parse_keys(query), chart_url.parse_style(query, *_PAGE_SIZE)
    run = tracker().run(run_id, (META,))
    figure = figures.draw_run_chart(tracker(), run, keys, style)
    style = replace(style, x=figure.axis)
    table = figures.load_run_lines(tracker(), run, keys, _view_of_table(style, len(keys)))
    breadcrumbs = [(url_for("pages.run_page", run_id=run_id), run.meta.get("name") or run_id)]
    return _render_page(figure, table, style, keys, breadcrumbs)


@charts.get("/compare/charts")
def compare_chart() -> str:
    """Show a large chart of metrics of several runs."""
    query = Query(("ids", *chart_url.CHART_FIELDS), repeatable=("ids", "key"))
    keys, style = chart_url.parse_keys(query), chart_url.parse_style(query, *_PAGE_SIZE)
    runs = load_runs(query)
    figure = figures.draw_comparison_chart(tracker(), runs, keys, style)
    style = replace(style, x=figure.axis)
    table = figures.load_comparison_lines(tracker(), runs, keys, _view_of_table(style, len(runs) * len(keys)))
    ids = ",".join(run.id for run in runs)
    return _render_page(figure, table, style, keys, [(url_for("pages.compare_page", ids=ids), "Compare")], ids)


def load_runs(query: Query) -> list[NamedRun]:
    """Return the runs in `ids`, in order, each labelled with its name, or with its id if two share a name.

    Raises InvalidInput, NotFound.
    """
    ids = parse_ids(query)
    if not 1 <= len(ids) <= MAX_RUNS:
        raise InvalidInput(f"ids must name 1 to {MAX_RUNS} runs, separated by commas; this names {len(ids)}")
    return figures.name_runs([tracker().run(run_id, (META,)) for run_id in ids])


def _svg_response(figure: Figure) -> Response:
    return Response(str(figure.chart.svg) + "\n", mimetype="image/svg+xml")


def _view_of_table(style: Style, lines: int) -> View:
    """Return a view with as many points as a table has rows, with the values as logged."""
    buckets = max(10, _ROWS // max(1, lines))
    return figures.view_of(style, buckets)._replace(smoothing=0, is_sampled=True)


def _render_page(
    figure: Figure,
    table: Sequence[Line],
    style: Style,
    keys: list[str],
    breadcrumbs: list[tuple[str, str]],
    ids: str = "",
) -> str:
    fields = [*([("ids", ids)] if ids else []), *(("key", key) for key in keys)]
    context: dict[str, Any] = {
        "figure": figure,
        "style": style,
        "breadcrumbs": breadcrumbs,
        "fields": fields,
        "whole_range_url": figure.page if style.start is style.stop is None else _full_range_url(figure, style, fields),
        "labels": [line.label for line in table],
        "rows": _build_rows(table, style.x),
        "digits": _count_digits(table),
        "api": figure.json,
    }
    return render_template("chart.html", **context)


def _full_range_url(figure: Figure, style: Style, fields: list[tuple[str, str]]) -> str:
    return chart_url.url(figure.page.partition("?")[0], replace(style, start=None, stop=None), fields)


def _count_digits(lines: Sequence[Line]) -> int:
    """Return the number of digits that distinguish the values of the table."""
    values = [y for line in lines for y in line.curve.ys if math.isfinite(y)]
    return digits_of(min(values), max(values)) if values else 5


def _build_rows(lines: Sequence[Line], axis: str) -> list[tuple[str, list[float | str | None]]]:
    """Return each x at which any line has a point, with the value of each line there."""
    columns: list[dict[int, float | str]] = []
    for line in lines:
        column: dict[int, float | str] = {
            x: y for x, y in zip(line.curve.xs, line.curve.ys, strict=True) if math.isfinite(y)
        }
        for x, value in line.curve.odd:
            column.setdefault(x, "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity")
        columns.append(column)
    all_xs = sorted({x for column in columns for x in column})
    return [(f"{x:,}" if axis == "step" else format_x(x, axis), [column.get(x) for column in columns]) for x in all_xs]
