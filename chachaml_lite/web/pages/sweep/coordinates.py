"""An experiment's runs as lines through parallel axes: the params that differ, and the resulting metric.

A brush on an axis is a condition of a query, as the page's script writes it: `params.lr >= 0.01 and params.lr <= 0.1`,
or `params.optimizer in ("adam", "sgd")`. The table lists the runs that satisfy all of them; the lines of the others are
dimmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import url_for

from ....tracking.index.run_entry import Run
from ....tracking.query.conditions import All, Comparison, Condition, Texts
from ....tracking.query.fields import METRICS, PARAMS, Field
from ....tracking.query.fields import MISSING as NO_VALUE
from ...charts import Chart, Coordinate, Path, parallel_chart
from ...charts.parallel import MISSING
from .fields import Coloring, color_by, format_field, name_of, values_of, varies
from .members import Member
from .sweep_url import SweepView

#: The default number of axes for params, and the most axes of all.
_PARAMS, _MOST = 7, 16


@dataclass(frozen=True)
class Coordinates:
    """The chart, the fields of its axes, the fields to choose from, and the number of runs that the brushes select."""

    chart: Chart
    axes: list[Field]
    choices: list[tuple[str, str, bool]]
    coloring: Coloring
    selected_count: int
    #: Whether the axes are those that match the filter of names; if none match, all are drawn.
    is_filtered: bool


def draw_coordinates(
    view: SweepView, members: Sequence[Member], metric: str | None, brushes: Sequence[Condition]
) -> Coordinates:
    """Draw the axes that the URL requests, or those of the params that differ, and of the metric."""
    runs = [run for member in members for run in member.runs]
    params = [Field(PARAMS, key) for key in sorted({key for run in runs for key in run.params})]
    differing = [field for field in params if varies(values_of(runs, field))]
    metric_field = None if metric is None else Field(METRICS, metric)
    axis_fields: Sequence[Field] = view.axes[:_MOST] or differing
    matching = [axis for axis in axis_fields if view.key_test is not None and view.key_test(axis.name)]
    axes = list(dict.fromkeys((matching or axis_fields)[: _MOST if view.axes else _PARAMS]))
    if metric_field is not None:
        axes = [*(axis for axis in axes if axis != metric_field), metric_field]
    coloring = color_by(metric_field, values_of(runs, metric_field) if metric_field else [NO_VALUE] * len(runs))
    tests = [brush.test(Texts()) for brush in brushes]
    is_selected = [all(test(run) for test in tests) for run in runs]
    paths = [
        Path(
            f"{member.label}{_describe_run(run, metric_field)}",
            url_for("pages.run_page", run_id=run.id),
            coloring.tones[place],
            not is_selected[place],
        )
        for place, (member, run) in enumerate(zip(members, runs, strict=True))
    ]
    coordinates = [
        Coordinate(
            str(axis),
            name_of(axis),
            [MISSING if value is NO_VALUE else value for value in values_of(runs, axis)],
            next((brush_range for brush in brushes if (brush_range := _brush_range(brush, axis)) is not None), None),
        )
        for axis in axes
    ]
    metrics = [Field(METRICS, key) for key in sorted({key for run in runs for key in run.summary})]
    options = list(dict.fromkeys([*differing, *axes, *params, *metrics]))
    choices = [
        (str(field), f"{field.kind[:-1]} {name_of(field)}", field in axes) for field in options if field != metric_field
    ]
    title = f"Params to {metric}" if metric else "Params"
    chart = parallel_chart(coordinates, paths, title)
    return Coordinates(chart, axes, choices, coloring, sum(is_selected), bool(matching))


def _describe_run(run: Run, metric_field: Field | None) -> str:
    return (
        ""
        if metric_field is None
        else f": {metric_field.name} {format_field(metric_field, values_of([run], metric_field)[0])}"
    )


def _brush_range(brush: Condition, axis: Field) -> tuple[float, float] | frozenset[str] | None:
    """Return the part of an axis that a brush selects, or None if it is for another axis or not a brush of the page."""
    comparisons = brush.conditions if isinstance(brush, All) else (brush,)
    if not all(isinstance(each, Comparison) and each.field == axis for each in comparisons):
        return None
    by_op = {each.op: each.values for each in comparisons if isinstance(each, Comparison)}
    if "in" in by_op:
        return frozenset(literal.text for literal in by_op["in"])
    low, high = by_op.get(">="), by_op.get("<=")
    if low and high and low[0].number is not None and high[0].number is not None:
        return float(low[0].number), float(high[0].number)
    return None
