"""Experiments over HTTP: counted, described, and the best run of one."""

from __future__ import annotations

from flask import Blueprint, Response

from ..errors import InvalidInput
from ..tracking import experiments
from ..tracking.names import check_name
from . import answers, bodies, forms, listings
from .context import tracker
from .queries import Query

api = Blueprint("experiments", __name__)

#: Which way a metric is good: its least value, or its greatest.
DIRECTIONS = ("min", "max")


@api.get("/api/experiments")
def list_experiments() -> Response:
    """Every experiment, the one with the newest run first."""
    form = forms.wanted(Query(("format",)))
    found = experiments.listed_experiments(tracker())
    return forms.list_answer(form, found, lambda: listings.experiment_table(found))


@api.get("/api/experiments/<path:name>")
def get_experiment(name: str) -> Response:
    """One experiment, with its best run by a metric where one is named."""
    query = Query(("metric", "direction"))
    metric, less = metric_of(query.text("metric")), direction_of(query.text("direction"))
    return answers.json_answer(experiments.get_experiment(tracker(), name, metric, less=less))


@api.post("/api/w/experiments/<path:name>")
def describe_experiment(name: str) -> Response:
    """Replace the description."""
    Query(())
    body = bodies.fields(bodies.json_object(), {"description": str}, {})
    experiments.set_description(tracker(), name, body["description"])
    return answers.ok()


def metric_of(text: str | None) -> str | None:
    """The metric that `metric` of a query string names; an empty one is none. Raises InvalidInput."""
    return check_name("metric", text) if text else None


def direction_of(text: str | None) -> bool | None:
    """Whether `direction` of a query string says that less is better; None: the metric's name tells. InvalidInput."""
    if text and text not in DIRECTIONS:
        raise InvalidInput(f"direction is min or max, and it is {text[:60]!r}; without it the metric's name tells")
    return text == "min" if text else None
