"""The pages that list runs: /runs, and /search, which finds them by a query."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import render_template, url_for

from ....tracking.index.run_parts import STATUSES
from ....tracking.query import search
from ....tracking.query.grammar import BadQuery
from ...context import command_context, tracker
from ..blueprint import pages
from ..query_box import complete_query
from . import runs_table
from .runs_url import PAGE_SIZES, RunView

#: The most experiments in a list to choose from; if there are more, the name is typed.
_MOST_EXPERIMENTS = 100

#: The examples on the search page while the box is empty.
EXAMPLES = (
    ("metrics.accuracy > 0.9 and params.lr <= 0.01", "a metric's latest value, and a param"),
    ('name ~ "base" and not status = failed', "contains, whatever the case"),
    ("status = running and last_write_time < -1h", "running, and silent for an hour"),
    ('tags.author in (maria, "J. Doe") and start_time > 2026-01-01', "one of several; times are UTC"),
    ('metrics."val/loss" < 0.3 or duration > 90min', "quotes around what isn't a plain word"),
)


@pages.get("/runs")
def run_list() -> tuple[str, int]:
    """List the runs, newest first or in the requested order."""
    return _render_list(RunView.from_request(url_for("pages.run_list")))


@pages.get("/search")
def search_page() -> tuple[str, int]:
    """List the runs that match a query, or explain the query language while there is none."""
    view = RunView.from_request(url_for("pages.search_page"))
    return _render_list(view, is_search=True)


def _render_list(view: RunView, is_search: bool = False) -> tuple[str, int]:
    """Render a page of runs; for an invalid query, with a message next to the box, and the runs without the query."""
    fault: BadQuery | None = None
    list_view = view
    now_ms = tracker().clock.now_ms()
    try:
        run_query = view.run_query(now_ms)
    except BadQuery as error:
        fault, list_view = error, replace(view, q=None)
        run_query = list_view.run_query(now_ms)
    matches, total = search.find_runs(tracker(), run_query)
    table = runs_table.build_run_table(tracker(), list_view, matches, total)
    suggestion = None if fault is None else complete_query(fault, matches)
    page = render_template(
        "runs.html",
        is_search=is_search,
        view=view,
        table=table,
        fault=fault,
        suggestion=None if suggestion is None else (suggestion, view.url(q=suggestion, offset=0)),
        examples=EXAMPLES,
        statuses=STATUSES,
        page_sizes=PAGE_SIZES,
        trash_count=tracker().catalog.trash_count(),
        api=view.api_url,
        **_experiments(),
        **command_context(),
    )
    return page, 400 if fault else 200


def _experiments() -> dict[str, Any]:
    names = tracker().catalog.experiments()
    return {"experiments": names[:_MOST_EXPERIMENTS], "has_all_experiments": len(names) <= _MOST_EXPERIMENTS}
