"""Lists of runs as responses: one page, the total count, and a link to the next page."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from ...text import columns
from ...tracking import runs
from ...tracking.query import search
from ...tracking.query.conditions import Condition
from ...tracking.query.grammar import parse_query
from .. import formats
from ..context import base_url, is_served, tracker
from ..query_string import Query
from ..urls import with_query

#: The fields that every list of runs takes, besides its own conditions.
PAGING = ("order_by", "limit", "offset", *formats.FIELDS)


def parse_where(query: Query) -> tuple[Condition, ...]:
    """Return the condition in a query string's `q`, if there is one. Raises InvalidInput."""
    text = query.text("q")
    return () if text is None else (parse_query(text, tracker().clock.now_ms()),)


def parse_paging(query: Query) -> dict[str, Any]:
    """Return the order and the page in a query string, as far as they are given. Raises InvalidInput."""
    requested: dict[str, Any] = {
        "order_by": query.text("order_by"),
        "limit": query.integer("limit"),
        "offset": query.integer("offset"),
    }
    return {name: value for name, value in requested.items() if value is not None}


def run_list(query: Query, run_query: search.RunQuery) -> Response:
    """Return the requested page of runs in the requested format."""
    response_format = formats.negotiate(query)
    matches, total = search.find_runs(tracker(), run_query)
    items = [runs.run_to_json(run) for run in matches]
    if query.flag("env"):  # up to 64 kB for each run: only included on request
        items = [{**each, "env": run.meta.get("env")} for each, run in zip(items, matches, strict=True)]
    next_offset = run_query.offset + len(matches)
    more = bool(matches) and next_offset < total
    response = formats.list_response(
        response_format, items, lambda: columns.run_table(items, _format_footer(len(matches), total, more, next_offset))
    )
    response.headers["X-Total-Count"] = str(total)
    response.headers["X-Unreadable-Count"] = str(tracker().catalog.unreadable())
    if more:
        response.headers["Link"] = f'<{_same_with_offset(next_offset)}>; rel="next"'
    return response


def _format_footer(count: int, total: int, more: bool, next_offset: int) -> list[str]:
    """Return the lines below a table of runs."""
    if not count:
        if total:
            return [f"no runs here, of {total}"]
        return [f"no runs here; curl {base_url()} shows how to log one" if is_served() else "no runs here"]
    count_text = f"{count} of {total} runs" if count < total else "1 run" if total == 1 else f"{total} runs"
    return [f"{count_text}; the next are at offset={next_offset}" if more else count_text]


def _same_with_offset(offset: int) -> str:
    pairs = [(name, value) for name, value in request.args.items(multi=True) if name != "offset"]
    path = request.script_root + request.path
    return with_query(path, [*pairs, ("offset", str(offset))])
