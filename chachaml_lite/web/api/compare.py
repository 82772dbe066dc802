"""Requests for many runs at once: comparisons, searches by a metric, exports."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from ...errors import InvalidInput
from ...text import columns, table
from ...text.labels import head_runs
from ...text.table import Table
from ...tracking import compare, runs
from ...tracking.index.run_parts import META
from ...tracking.query import search
from ...tracking.transfer import archive
from .. import formats, query_string, responses
from ..context import tracker
from ..query_string import Query, parse_ids
from . import run_list

#: The width of a run's name above its values, in columns of a terminal.
_HEADING_WIDTH = 30

api = Blueprint("compare", __name__)


@api.get("/api/compare")
def compare_runs() -> Response:
    """Compare runs side by side."""
    query = Query(("ids", *formats.FIELDS), repeatable=("ids",))
    response_format = formats.negotiate(query)
    return _comparison_response(response_format, compare.compare_runs(tracker(), parse_ids(query)))


@api.get("/api/diff/<name>/<one>/<other>")
def diff_versions(name: str, one: str, other: str) -> Response:
    """Compare the runs of two versions of a model side by side."""
    response_format = formats.negotiate(Query(formats.FIELDS))
    return _comparison_response(response_format, compare.diff_versions(tracker(), name, one, other))


def _comparison_response(response_format: formats.Format, comparison: dict[str, Any]) -> Response:
    return formats.list_response(
        response_format,
        comparison,
        lambda: columns.comparison_table(comparison, _list_headings(comparison)),
        lambda: columns.comparison_text(comparison, _list_headings(comparison)),
    )


def _list_headings(comparison: dict[str, Any]) -> list[str]:
    runs = [tracker().run(run_id, (META,)) for run_id in comparison["runs"]]
    return head_runs([(run.id, run.meta.get("name")) for run in runs], _HEADING_WIDTH)


@api.get("/api/search")
def search_runs() -> Response:
    """Return the runs that match a query, a condition on a metric, or both, newest first: all of them, or one page."""
    query = Query(("q", *query_string.METRIC_CONDITION, "experiment", *run_list.PAGING))
    condition = query_string.parse_metric_condition(query)
    where = run_list.parse_where(query) + (() if condition is None else (condition,))
    if not where:
        raise InvalidInput(query_string.CONDITION_HINT)
    page = {"limit": None, **run_list.parse_paging(query)}
    return run_list.run_list(query, search.RunQuery(experiment=query.text("experiment"), where=where, **page))


@api.get("/api/export")
def export_runs() -> Response:
    """Return runs as rows of CSV, newest first: all of them, those of an experiment, or those that match a query."""
    query = Query(("experiment", "q", "bom"))
    run_query = search.RunQuery(experiment=query.text("experiment"), where=run_list.parse_where(query), limit=None)
    matches, _ = search.find_runs(tracker(), run_query)
    keys: tuple[set[str], set[str], set[str]] = (set(), set(), set())
    for run in matches:
        for kind_keys, names in zip(keys, (run.params, run.summary, run.meta.get("tags", {})), strict=True):
            kind_keys.update(names)
    mark = formats.CSV_WITH_MARK.mark if query.flag("bom") else ""
    titles = columns.run_columns(*map(sorted, keys))
    file = archive.collect_lines(tracker(), lambda: table.as_csv(Table(titles, map(runs.run_to_json, matches)), mark))
    return responses.generated_file_response(file, name="runs.csv", content_type="text/csv")
