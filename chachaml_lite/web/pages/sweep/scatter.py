"""An experiment's runs as dots: any param, metric or field against a metric, coloured by a third."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import url_for

from ....tracking.index.run_entry import Run
from ....tracking.query.fields import METRICS, MISSING, OWN, PARAMS, Field, FieldType
from ...charts import Chart, Dot, scatter_chart
from ...charts.scales import should_use_log, to_finite
from .fields import Coloring, color_by, format_field, list_field_choices, name_of, values_of, varies
from .members import Member
from .sweep_url import SweepView

_X_TYPES = {FieldType.TIME: "time", FieldType.DURATION: "duration"}


@dataclass(frozen=True)
class Scatter:
    """A scatter chart, its fields, and the fields to choose from."""

    chart: Chart
    x_field: Field
    metric: str
    color: Field | None
    coloring: Coloring
    choices: list[tuple[str, list[tuple[str, str]]]]
    #: The log axes: "x", "y", "xy" or "".
    log: str


def draw_scatter(view: SweepView, members: Sequence[Member], metric: str) -> Scatter:
    """Draw the scatter chart that the URL requests, with `metric` on the vertical axis."""
    runs = [run for member in members for run in member.runs]
    x_field = view.x_field or _find_differing_param(runs) or Field(OWN, "start_time")
    metric_field = Field(METRICS, metric)
    xs, ys = values_of(runs, x_field), values_of(runs, metric_field)
    color_values = values_of(runs, view.color) if view.color else [MISSING] * len(runs)
    coloring = color_by(view.color, color_values)
    log_x, log_y = _is_log(view.scale_x, xs, x_field), _is_log(view.scale_y, ys, metric_field)
    dots = []
    for place, member in enumerate(members):
        label = (
            f"{name_of(x_field)} {format_field(x_field, xs[place])}, {metric} {format_field(metric_field, ys[place])}"
        )
        if view.color:
            label += f", {name_of(view.color)} {format_field(view.color, color_values[place])}"
        dots.append(
            Dot(
                member.label,
                _value(xs[place]),
                _value(ys[place]),
                coloring.colors[place],
                url_for("pages.run_page", run_id=member.key),
                coloring.tones[place],
                label,
            )
        )
    chart = scatter_chart(
        dots,
        f"{metric} by {name_of(x_field)}",
        x_name=name_of(x_field),
        y_name=metric,
        log_x=log_x,
        log_y=log_y,
        width=1200,
        height=400,
        x_type=_X_TYPES.get(x_field.holds, "number"),
    )
    choices = list_field_choices(runs, x_field, view.color)
    return Scatter(chart, x_field, metric, view.color, coloring, choices, "x" * log_x + "y" * log_y)


def _value(value: Any) -> Any:
    return None if value is MISSING else value


def _is_log(requested: str, values: Sequence[Any], field: Field) -> bool:
    if requested != "auto":
        return requested == "log"
    return field.holds is not FieldType.TIME and should_use_log(map(to_finite, values))


def _find_differing_param(runs: Sequence[Run]) -> Field | None:
    """Return the first numeric param that differs between runs, else the first of any kind that differs."""
    differing = []
    for key in sorted({key for run in runs for key in run.params}):
        field = Field(PARAMS, key)
        values = values_of(runs, field)
        if varies(values):
            if all(value is MISSING or to_finite(value) is not None for value in values):
                return field
            differing.append(field)
    return differing[0] if differing else None
