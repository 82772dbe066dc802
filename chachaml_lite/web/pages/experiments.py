"""The pages of the experiments: which there are, and one with its description, its best run and all of its runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from flask import Response, render_template, url_for

from ...tracking import experiments
from ...tracking.index.run_parts import STATUSES
from ...tracking.query import search
from ...tracking.query.fields import METRICS, Field
from ...tracking.query.grammar import BadQuery
from ...tracking.series import direction
from ..context import for_commands, tracker
from ..query_string import Query, direction_of, metric_of
from ..urls import with_query
from . import runs_table
from .blueprint import pages
from .paging import Paging
from .rendered import render_text
from .runs_url import PAGE_SIZES, RunView

#: Metrics that the best run can be chosen by from a list; another by the URL.
_MOST_CHOICES = 200
#: Of a description, in the list.
_MOST_CHARACTERS = 400


@pages.get("/experiments")
def experiment_list() -> Response:
    """Every experiment, the one with the newest run first."""
    query = Query(("offset",))
    found = experiments.listed_experiments(tracker())
    part = Paging.asked(query, url_for("pages.experiment_list"), len(found))
    page = render_template(
        "experiments.html",
        experiments=[{**each, "path": _path(each["name"]), "words": _words(each)} for each in part.part(found)],
        part=part,
        statuses=STATUSES,
        api=url_for("experiments.list_experiments"),
        **for_commands(),
    )
    return Response(page, mimetype="text/html")


@pages.get("/experiments/<path:name>")
def experiment_page(name: str) -> Response:
    """One experiment."""
    view = RunView.asked(url_for("pages.experiment_page", name=name), within=name, more=("metric", "direction"))
    chosen = dict(view.more)
    metric, less = metric_of(chosen.get("metric")), direction_of(chosen.get("direction"))
    experiment = experiments.get_experiment(tracker(), name)
    fault: BadQuery | None = None
    table = None
    try:
        found, total = search.find_runs(tracker(), view.run_query(tracker().clock.now_ms()))
        table = runs_table.run_table(tracker(), view, found, total)
    except BadQuery as error:
        fault = error
    keys = table.metrics if table else []
    if metric is None and keys and len(found) == experiment["runs"]:  # else runs would be read that aren't shown
        metric = direction.foremost(Counter(key for run in found for key in run.summary))
    if metric is not None:
        experiment = experiments.get_experiment(tracker(), name, metric, less=less)
    text = experiment["description"] or ""
    page = render_template(
        "experiment.html",
        experiment=experiment,
        description=render_text(text, 2),
        description_key=hashlib.blake2b(text.encode(), digest_size=6).hexdigest(),
        view=view,
        table=table,
        fault=fault,
        metrics=[*([] if metric is None or metric in keys else [metric]), *keys][:_MOST_CHOICES],
        less=less,
        chosen_metric=chosen.get("metric"),
        statuses=STATUSES,
        sizes=PAGE_SIZES,
        runs_order=None if metric is None else _ordered_by(view, experiment["best"]),
        api=with_query(url_for("experiments.get_experiment", name=name), view.more),
        to="POST " + url_for("experiments.change_experiment", name=name),
        **for_commands(),
    )
    return Response(page, 400 if fault else 200, mimetype="text/html")


def _ordered_by(view: RunView, best: dict[str, Any]) -> str:
    """The URL of the page with the runs ordered by the metric, the best first."""
    way = "" if best["direction"] == "min" else " desc"
    return view.url(order_by=f"{Field(METRICS, best['metric'])}{way}", offset=0)


def _words(experiment: dict[str, Any]) -> str:
    """The beginning of an experiment's description, without its Markdown."""
    text = experiment["description"] or ""
    return render_text(text[:_MOST_CHARACTERS], 2).striptags() if text else ""


def _path(name: str) -> str:
    """Where an experiment is shown: its page; for names that browsers take for a way up, its runs."""
    if name in (".", "..") or name.startswith("/"):
        return url_for("pages.run_list", experiment=name)
    return url_for("pages.experiment_page", name=name)
