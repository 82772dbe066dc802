"""The page of one experiment, /experiments/NAME: its description, its best run, charts and a table of its runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import render_template, url_for

from ....tracking import experiments
from ....tracking.index.run_entry import Run
from ....tracking.index.run_parts import STATUSES
from ....tracking.query import search
from ....tracking.query.conditions import Condition
from ....tracking.query.fields import METRICS, Field
from ....tracking.query.grammar import BadQuery, parse_query
from ....tracking.series import direction
from ....tracking.series.group_curves import BANDS
from ...context import command_context, tracker
from ...urls import with_query
from ..blueprint import pages
from ..markdown import render_text
from ..query_box import complete_query
from ..runs import runs_table
from ..runs.runs_url import PAGE_SIZES
from . import curves
from .coordinates import draw_coordinates
from .fields import name_of
from .members import Member, group_members, list_group_choices, list_run_members
from .scatter import draw_scatter
from .sweep_url import RUN_LIMITS, SweepView

#: The most metrics in the list for the best run; others can be named in the URL.
_MOST_CHOICES = 200
#: The most runs of an experiment for which the best run is shown by default: finding it reads all of them.
_MOST_RUNS_FOR_BEST = 250


@dataclass(frozen=True)
class Drawing:
    """The runs that are drawn above the table, out of `total` matches, and the number of groups that are omitted."""

    runs: Sequence[Run]
    total: int
    members: list[Member]
    omitted_groups: int


@pages.get("/experiments/<path:name>")
def experiment_page(name: str) -> tuple[str, int]:
    """Show an experiment."""
    view = SweepView.from_request(url_for("pages.experiment_page", name=name), name)
    experiment = experiments.get_experiment(tracker(), name)
    fault: BadQuery | None = None
    requested_view = view.runs
    now_ms = tracker().clock.now_ms()
    try:
        run_query, brushes = _parse_conditions(view, now_ms)
    except BadQuery as error:  # show the page without the query
        fault, view = error, view.without_query()
        run_query, brushes = _parse_conditions(view, now_ms)
    matches, total = search.find_runs(tracker(), replace(run_query, where=(*run_query.where, *brushes)))
    drawing = _choose_drawing(view, run_query)
    table = runs_table.build_run_table(tracker(), view.runs, matches, total, view.key_test)
    suggestion = None if fault is None else complete_query(fault, matches)
    metric = view.metric
    if metric is None:  # one of the drawn runs' metrics, so that no other run is read
        metric = direction.foremost(Counter(key for run in drawing.runs for key in run.summary))
    if view.metric is not None or metric is not None and experiment["runs"] <= _MOST_RUNS_FOR_BEST:
        experiment = experiments.get_experiment(tracker(), name, metric, less=view.less_is_better)
    text = experiment["description"] or ""
    page = render_template(
        "experiment.html",
        experiment=experiment,
        description=render_text(text, 2),
        description_key=hashlib.blake2b(text.encode(), digest_size=6).hexdigest(),
        sweep=view,
        view=requested_view,
        table=_with_swatches(table, drawing.members if view.part == "curves" else []),
        fault=fault,
        suggestion=None if suggestion is None else (suggestion, requested_view.url(q=suggestion, offset=0)),
        metrics=_limit_choices(table.metrics, metric),
        metric=metric,
        statuses=STATUSES,
        page_sizes=PAGE_SIZES,
        run_limits=RUN_LIMITS,
        bands=BANDS,
        field_name=name_of,
        drawing=drawing,
        **_build_part(view, drawing, metric, brushes),
        best_first_url=_best_first_url(view, experiment["best"]) if experiment.get("best") else None,
        api=with_query(url_for("experiments.get_experiment", name=name), _metric_fields(view)),
        **command_context(),
    )
    return page, 400 if fault else 200


def _parse_conditions(view: SweepView, now_ms: int) -> tuple[search.RunQuery, list[Condition]]:
    """Return the query to the store, and the brushes. Raises InvalidInput, BadQuery."""
    return view.runs.run_query(now_ms), [parse_query(text, now_ms) for text in view.brushes]


def _metric_fields(view: SweepView) -> list[tuple[str, str]]:
    return [(name, text) for name, text in view.runs.other_fields if name in ("metric", "direction")]


def _choose_drawing(view: SweepView, run_query: search.RunQuery) -> Drawing:
    """Return the first of the matching runs, in the order of the table."""
    if view.part == "table":
        return Drawing([], 0, [], 0)
    runs, total = search.find_runs(tracker(), replace(run_query, limit=view.run_limit, offset=0, is_folded=False))
    if view.group_by is None or view.part != "curves":
        return Drawing(runs, total, list_run_members(runs, total, view.hidden_keys), 0)
    members, omitted_groups = group_members(runs, view.group_by, view.hidden_keys)
    return Drawing(runs, total, members, omitted_groups)


def _build_part(view: SweepView, drawing: Drawing, metric: str | None, brushes: Sequence[Condition]) -> dict[str, Any]:
    """Return the context of the parts above the table of runs."""
    if view.part == "scatter":
        return {"scatter": None if metric is None else draw_scatter(view, drawing.members, metric)}
    if view.part == "parallel":
        return {"coordinates": draw_coordinates(view, drawing.members, metric, brushes) if drawing.runs else None}
    if view.part == "table":
        return {}
    keys = curves.keys_with_curves(drawing.runs)
    if metric in keys:  # the metric of the best run comes first
        keys = [metric, *(key for key in keys if key != metric)]
    drawn_keys = [key for key in keys if view.draws(key)]
    sections = curves.draw_sections(
        tracker(),
        drawing.members,
        drawn_keys,
        view.open_sections,
        view.style,
        view.band,
        lambda key: view.url(chart=key),
        is_filtered=view.key_test is not None,
    )
    return {"sections": sections, "metric_count": len(keys), "choices": list_group_choices(drawing.runs, view.group_by)}


def _with_swatches(table: runs_table.RunTable, members: Sequence[Member]) -> runs_table.RunTable:
    """Return the table with the colour of each run's line next to its name."""
    classes = {run.id: member.classes for member in members if not member.is_hidden for run in member.runs}
    return replace(table, rows=[replace(row, swatch=classes.get(row.id, "")) for row in table.rows])


def _limit_choices(keys: Sequence[str], current: str | None) -> list[str]:
    few = list(keys[:_MOST_CHOICES])
    return few if current is None or current in few else [current, *few]


def _best_first_url(view: SweepView, best: dict[str, Any]) -> str:
    """Return the URL of the page with the runs ordered by the metric, the best first."""
    way = "" if best["direction"] == "min" else " desc"
    return view.runs.url(order_by=f"{Field(METRICS, best['metric'])}{way}", offset=0)
