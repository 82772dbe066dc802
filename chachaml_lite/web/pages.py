"""The pages for people: server-rendered, and whole without JavaScript."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, render_template, request

from ..tracking import runs, search
from .application import ETAG
from .context import for_commands, tracker
from .queries import Query
from .shown import is_web_address, iso_time, shown_duration, shown_number, shown_size, shown_time

pages = Blueprint("pages", __name__)

_FILTERS = ("experiment", "status", "name")
#: Columns of params and metrics each; the run's own page has them all.
_MAX_COLUMNS = 6


def install(app: Flask) -> None:
    """Add the pages to `app`, and how they show numbers and times."""
    app.register_blueprint(pages)
    app.jinja_env.filters.update(
        number=shown_number, time=shown_time, iso_time=iso_time, duration=shown_duration, size=shown_size
    )
    app.jinja_env.tests.update(web_address=is_web_address)
    app.jinja_env.globals.update(static=lambda name: f"/static/{name}")
    app.context_processor(_of_every_page)


def _of_every_page() -> dict[str, Any]:
    """What the base of all pages needs: the path that is shown, and the ETag that its script asks again with."""
    return {"here": request.path, "etag": request.environ.get(ETAG)}


@pages.get("/runs")
def run_list() -> Response:
    """The runs, newest first, with their params and metrics."""
    query = Query((*_FILTERS, "offset"), ("tag.",))
    filters: dict[str, Any] = {name: query.text(name) for name in _FILTERS if query.text(name)}
    tags = query.under("tag.")
    asked = search.RunQuery(**filters, tags=tags, offset=query.integer("offset") or 0)
    found, total = search.find_runs(tracker(), asked)
    shown = [runs.shown_run(run) for run in found]
    kept = {**filters, **{f"tag.{key}": value for key, value in tags.items()}}
    return _page(
        "runs.html",
        runs=shown,
        total=total,
        offset=asked.offset,
        filters=filters,
        tags=tags,
        previous=_offset_link(kept, max(0, asked.offset - search.DEFAULT_LIMIT)) if asked.offset else None,
        following=_offset_link(kept, asked.offset + search.DEFAULT_LIMIT)
        if asked.offset + search.DEFAULT_LIMIT < total
        else None,
        param_columns=_columns(run["params"] for run in shown),
        metric_columns=_columns(run["metrics"] for run in shown),
        api=f"/api/runs?{urlencode(kept)}" if kept else "/api/runs",
        **for_commands(),
    )


@pages.get("/runs/<run_id>")
def run_page(run_id: str) -> Response:
    """One run."""
    Query(())
    run = runs.detailed_run(tracker(), run_id)
    return _page("run.html", run=run, api=f"/api/runs/{run_id}", **for_commands())


def _page(template: str, **context: Any) -> Response:
    return Response(render_template(template, **context), mimetype="text/html")


def _offset_link(kept: dict[str, str], offset: int) -> str:
    fields = {**kept, **({"offset": str(offset)} if offset else {})}
    return f"/runs?{urlencode(fields)}" if fields else "/runs"


def _columns(parts: Any) -> list[str]:
    seen: dict[str, int] = {}
    for part in parts:
        for key in part:
            seen[key] = seen.get(key, 0) + 1
    return sorted(seen, key=lambda key: (-seen[key], key))[:_MAX_COLUMNS]
