"""Experiments over HTTP: counts, descriptions, and an experiment's best run."""

from __future__ import annotations

from flask import Blueprint, Response

from ...text import columns
from ...tracking import experiments
from ...tracking.query.search import parse_deleted
from .. import formats, request_body, responses
from ..context import tracker
from ..query_string import Query, parse_direction, parse_metric

api = Blueprint("experiments", __name__)


@api.get("/api/experiments")
def list_experiments() -> Response:
    """Return all experiments, the one with the newest run first."""
    query = Query(("deleted", *formats.FIELDS))
    response_format = formats.negotiate(query)
    items = experiments.list_experiments(tracker(), parse_deleted(query.text("deleted") or "false"))
    return formats.list_response(response_format, items, lambda: columns.experiment_table(items))


@api.get("/api/experiments/<path:name>")
def get_experiment(name: str) -> Response:
    """Return an experiment, with its best run by a metric if one is named."""
    query = Query(("metric", "direction"))
    metric, less = parse_metric(query.text("metric")), parse_direction(query.text("direction"))
    return responses.json_response(experiments.get_experiment(tracker(), name, metric, less=less))


@api.post("/api/w/experiments/<path:name>")
def change_experiment(name: str) -> Response:
    """Describe or tag an experiment, move it to the trash or restore it; create it if it doesn't exist."""
    Query(())
    body = request_body.check_fields(
        request_body.parse_object(), {}, {"description": str, "tags": dict, "deleted": bool}
    )
    experiments.change_experiment(tracker(), name, **body)
    return responses.ok()
