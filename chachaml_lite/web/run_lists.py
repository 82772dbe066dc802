"""A list of runs as an answer: its page, how many there are in all, and where the next page is."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from ..tracking import runs, search
from . import answers
from .context import tracker
from .queries import Query

#: What every list of runs takes beside its own conditions.
PAGING = ("order_by", "limit", "offset")


def paging(query: Query) -> dict[str, Any]:
    """The order and the page that a query string asks for, where it does. Raises InvalidInput."""
    asked: dict[str, Any] = {
        "order_by": query.text("order_by"),
        "limit": query.integer("limit"),
        "offset": query.integer("offset"),
    }
    return {name: value for name, value in asked.items() if value is not None}


def run_list(asked: search.RunQuery) -> Response:
    """The runs on the page that is asked for."""
    found, total = search.find_runs(tracker(), asked)
    answer = answers.json_answer([runs.shown_run(run) for run in found])
    answer.headers["X-Total-Count"] = str(total)
    following = asked.offset + len(found)
    if found and following < total:
        answer.headers["Link"] = f'<{_same_with_offset(following)}>; rel="next"'
    return answer


def _same_with_offset(offset: int) -> str:
    pairs = [(name, value) for name, value in request.args.items(multi=True) if name != "offset"]
    return f"{request.path}?{urlencode([*pairs, ('offset', offset)])}"
