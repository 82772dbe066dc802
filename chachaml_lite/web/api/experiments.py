"""Experiments over HTTP: counted, described, and the best run of one."""

from __future__ import annotations

from flask import Blueprint, Response

from ...text import columns
from ...tracking import experiments
from .. import formats, request_body, responses
from ..context import tracker
from ..query_string import Query, direction_of, metric_of

api = Blueprint("experiments", __name__)

#: Which way a metric is good: its least value, or its greatest.


@api.get("/api/experiments")
def list_experiments() -> Response:
    """Every experiment, the one with the newest run first."""
    form = formats.wanted(Query(formats.FIELDS))
    found = experiments.listed_experiments(tracker())
    return formats.list_answer(form, found, lambda: columns.experiment_table(found))


@api.get("/api/experiments/<path:name>")
def get_experiment(name: str) -> Response:
    """One experiment, with its best run by a metric where one is named."""
    query = Query(("metric", "direction"))
    metric, less = metric_of(query.text("metric")), direction_of(query.text("direction"))
    return responses.json_answer(experiments.get_experiment(tracker(), name, metric, less=less))


@api.post("/api/w/experiments/<path:name>")
def describe_experiment(name: str) -> Response:
    """Replace the description."""
    Query(())
    body = request_body.fields(request_body.json_object(), {"description": str}, {})
    experiments.set_description(tracker(), name, body["description"])
    return responses.ok()
