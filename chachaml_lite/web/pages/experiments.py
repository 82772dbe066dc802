"""The list of experiments, /experiments."""

from __future__ import annotations

from typing import Any

from flask import render_template, url_for

from ...tracking import experiments
from ...tracking.index.run_parts import STATUSES
from ..context import command_context, tracker
from ..query_string import Query
from .blueprint import pages
from .markdown import render_text
from .paging import Paging

#: The most characters of a description in the list.
_MOST_CHARACTERS = 400


@pages.get("/experiments")
def experiment_list() -> str:
    """Show all experiments, the one with the newest run first."""
    query = Query(("offset",))
    items = experiments.list_experiments(tracker())
    paging = Paging.from_request(query, url_for("pages.experiment_list"), len(items))
    return render_template(
        "experiments.html",
        experiments=[
            {**each, "url": _page_url(each["name"]), "summary": _summarize(each)} for each in paging.select(items)
        ],
        paging=paging,
        statuses=STATUSES,
        api=url_for("experiments.list_experiments"),
        **command_context(),
    )


def _summarize(experiment: dict[str, Any]) -> str:
    """Return the beginning of an experiment's description, without its Markdown."""
    text = experiment["description"] or ""
    return render_text(text[:_MOST_CHARACTERS], 2).striptags() if text else ""


def _page_url(name: str) -> str:
    """Return the URL of an experiment's page, or of its list of runs if clients would resolve its name as a path."""
    if name in (".", "..") or name.startswith("/"):
        return url_for("pages.run_list", experiment=name)
    return url_for("pages.experiment_page", name=name)
