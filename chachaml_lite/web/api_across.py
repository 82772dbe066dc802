"""What is asked of many runs at once: compared, searched by a metric, grouped by experiment."""

from __future__ import annotations

from flask import Blueprint, Response

from ..errors import InvalidInput
from ..tracking import compare, conditions, experiments, search
from . import answers, run_lists
from .context import tracker
from .queries import Query

api = Blueprint("across", __name__)


@api.get("/api/compare")
def compare_runs() -> Response:
    """Runs side by side."""
    query = Query(("ids",))
    ids = [run_id.strip() for run_id in (query.text("ids") or "").split(",")]
    found = compare.compare_runs(tracker(), [run_id for run_id in ids if run_id])
    return answers.json_answer(found)


@api.get("/api/diff/<name>/<one>/<other>")
def diff_versions(name: str, one: str, other: str) -> Response:
    """The runs behind two versions of a model, side by side."""
    Query(())
    return answers.json_answer(compare.diff_versions(tracker(), name, one, other))


@api.get("/api/search")
def search_runs() -> Response:
    """The runs whose latest value of a metric satisfies a condition, newest first: all, or the page asked for."""
    query = Query(("metric_key", "op", "metric_value", "experiment", *run_lists.PAGING))
    key, op, value = (query.text(name) for name in ("metric_key", "op", "metric_value"))
    if key is None or op is None or value is None:
        raise InvalidInput("send metric_key, op and metric_value, as in ?metric_key=accuracy&op=ge&metric_value=0.9")
    page = {"limit": None, **run_lists.paging(query)}
    condition = conditions.parse_condition(key, op, value)
    return run_lists.run_list(search.RunQuery(experiment=query.text("experiment"), metric=condition, **page))


@api.get("/api/experiments")
def list_experiments() -> Response:
    """Every experiment, the one with the newest run first."""
    Query(())
    return answers.json_answer(experiments.listed_experiments(tracker()))
