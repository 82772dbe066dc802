"""The pages that compare runs side by side: /compare, and the runs of two versions of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import Response, render_template, url_for

from ....tracking import model_versions
from ....tracking.index.run_entry import Run
from ....tracking.runs import latest_metrics
from ....tracking.series.direction import is_finite
from ...charts import Chart, Dot, scatter_chart
from ...context import tracker
from .. import html_file
from ..blueprint import pages
from ..chart import chart_url, figures
from ..sections import sections_of
from ..sweep import curves
from ..sweep.members import Member
from .compare_table import Comparison, compare_runs
from .compare_url import ComparisonView

#: The most metrics, and the most params, to choose from for the scatter chart.
_MOST_CHOICES = 200


@pages.get("/compare")
def compare_page() -> str | Response:
    """Compare the runs in `ids`; with ?format=html as a file."""
    view = ComparisonView.from_request(url_for("pages.compare_page"))
    runs = [tracker().run(run_id) for run_id in view.ids]
    named_runs = figures.name_runs(runs)
    if view.is_file:
        all_sections = frozenset(section.name for section in sections_of(curves.keys_with_curves(runs), frozenset()))
        context = _build_context(replace(view, open_sections=all_sections), runs, [each.label for each in named_runs])
        return html_file.render_comparison_file(view, context["table"], context["sections"])
    api = url_for("compare.compare_runs", ids=",".join(view.ids))
    return render_template("compare.html", api=api, **_build_context(view, runs, [each.label for each in named_runs]))


@pages.get("/diff/<name>/<one>/<other>")
def diff_page(name: str, one: str, other: str) -> str:
    """Compare the runs of two versions of a model."""
    view = ComparisonView.from_request(url_for("pages.diff_page", name=name, one=one, other=other), with_ids=False)
    versions = [model_versions.get_version(tracker(), name, selector) for selector in (one, other)]
    runs = [tracker().run(version.run_id) for version in versions]
    api = url_for("compare.diff_versions", name=name, one=one, other=other)
    context: dict[str, Any] = {"name": name, "versions": versions, "runs": runs, "api": api}
    if versions[0].run_id != versions[1].run_id:
        labels = [f"version {version.version}" for version in versions]
        context.update(_build_context(view, runs, labels))
    return render_template("diff.html", **context)


def _build_context(view: ComparisonView, runs: Sequence[Run], labels: Sequence[str]) -> dict[str, Any]:
    """Return the context of the macros in `_comparison.html`."""
    table = compare_runs(view, runs, labels)
    with_curves = set(curves.keys_with_curves(runs))
    keys = [key for key in table.metric_keys if key in with_curves]
    keys_shown = [key for key in keys if view.key_test is None or view.key_test(key)]
    members = [
        Member(side.run.id, side.label, (side.run,), side.color, side.run.id in view.hidden_ids, False)
        for side in table.sides
    ]

    def page_of(key: str) -> str:
        ids = ",".join(side.run.id for side in table.sides)
        return chart_url.url(url_for("charts.compare_chart"), view.style, [("ids", ids), ("key", key)], with_range=True)

    return {
        "view": view,
        "table": table,
        "members": members,
        "metric_count": len(keys),
        "sections": curves.draw_sections(
            tracker(),
            members,
            keys_shown,
            view.open_sections,
            view.style,
            "range",
            page_of,
            is_filtered=view.key_test is not None,
        ),
        "scatter": _draw_scatter(view, table),
    }


def _draw_scatter(view: ComparisonView, table: Comparison) -> dict[str, Any] | None:
    """Return the context of a scatter chart of the chosen fields, or the first suitable ones; None without any."""
    params, metrics = table.param_keys, table.metric_keys
    if not params or not metrics:
        return None
    param = view.param or _find_numeric_param(table) or params[0]
    metric = view.metric or metrics[0]
    dots = [
        Dot(
            side.label,
            side.run.params.get(param),
            latest_metrics(side.run).get(metric),
            side.color,
            url_for("pages.run_page", run_id=side.run.id),
        )
        for side in table.sides
    ]
    chart: Chart = scatter_chart(
        dots, f"{metric} by {param}", x_name=param, y_name=metric, log_x=view.log_param, log_y=view.log_metric
    )
    return {
        "chart": chart,
        "param": param,
        "metric": metric,
        "params": _limit_choices(params, param),
        "metrics": _limit_choices(metrics, metric),
    }


def _find_numeric_param(table: Comparison) -> str | None:
    """Return the first numeric param that differs between the runs, or None."""
    for key in table.param_keys:
        values = {value for side in table.sides if is_finite(value := side.run.params.get(key))}
        if len(values) > 1:
            return key
    return None


def _limit_choices(keys: list[str], current: str) -> list[str]:
    few = keys[:_MOST_CHOICES]
    return few if current in few else [current, *few]
