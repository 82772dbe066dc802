"""MLflow's search for runs: filters, orders and pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import merge
from typing import Any

from flask import Blueprint, Response

from ..tracking import logged_models
from ..tracking.index.catalog import Deleted
from ..tracking.index.run_entry import Run
from ..tracking.query.conditions import Condition, Test, Texts
from ..tracking.runs import mlflow_of
from ..tracking.tracker import Tracker
from ..web.context import tracker
from . import experiments, filters, inputs, requests, responses, runs, vocabulary

api = Blueprint("mlflow_search", __name__, url_prefix="/api/2.0/mlflow")

_DEFAULT_PAGE, _MAX_PAGE = 1000, 50_000
_DELETED_BY_VIEW: dict[str, Deleted] = {"ACTIVE_ONLY": "false", "DELETED_ONLY": "true", "ALL": "all"}


@dataclass(frozen=True)
class MlflowCondition:
    """A comparison of MLflow's filter language, as a condition on a run."""

    comparison: filters.Comparison

    def test(self, texts: Texts) -> Test:
        """Return a predicate for runs that satisfy the comparison."""
        read, holds = reader_of(self.comparison.kind, self.comparison.key), self.comparison.predicate()
        return lambda run: holds(read(run))


@api.post("/runs/search")
def search_runs() -> Response:
    """Return a page of the matching runs of some experiments, newest first unless an order is given."""
    fields = requests.parse_fields()
    view = experiments.parse_view(fields, "run_view_type")
    conditions = [MlflowCondition(each) for each in filters.parse_filter(fields.maybe_text("filter"), filters.RUNS)]
    orders = filters.parse_orders(fields.texts("order_by"), filters.RUNS)
    names = experiments.find_names(tracker(), fields.texts("experiment_ids"))
    matches = _find_runs(tracker(), names, _DELETED_BY_VIEW[view], conditions)
    page, token = responses.page_of(filters.sort_items(matches, orders, reader_of), fields, _DEFAULT_PAGE, _MAX_PAGE)
    deleted_experiments = tracker().descriptions.deleted()

    def is_deleted(run: Run) -> bool:
        return run.meta.get("deleted_at") is not None or run.meta["experiment"] in deleted_experiments

    items = [runs.run_to_json(tracker(), run, is_deleted=is_deleted(run)) for run in page]
    return responses.answer(runs=items, **responses.without_none(next_page_token=token))


def _find_runs(tracker: Tracker, names: list[str], deleted: Deleted, conditions: list[MlflowCondition]) -> list[Run]:
    """Find the runs of some experiments that satisfy all conditions, newest first, without holders of a model."""
    runs_by_experiment = [tracker.catalog.newest(name, deleted) for name in names]
    candidates = (
        runs_by_experiment[0]
        if len(runs_by_experiment) == 1
        else list(merge(*runs_by_experiment, key=_sort_key, reverse=True))
    )
    texts = Texts()
    all_conditions: list[Condition] = [*conditions]
    tests = [condition.test(texts) for condition in all_conditions]
    return [run for run in candidates if not logged_models.holds_model(run) and all(test(run) for test in tests)]


def _sort_key(run: Run) -> tuple[int, str]:
    return run.key or (run.meta["start_time"], run.id)


_ATTRIBUTES: dict[str, Callable[[Run], Any]] = {
    "run_id": lambda run: run.id,
    "run_name": lambda run: run.meta.get("name") or run.id,
    "user_id": lambda run: run.meta.get("created_by"),
    "status": lambda run: vocabulary.status_to_mlflow(
        run.meta["status"], run.meta.get("error"), mlflow_of(run.meta).get("status")
    ),
    "start_time": lambda run: run.meta["start_time"],
    "end_time": lambda run: run.meta.get("end_time"),
    "artifact_uri": lambda run: vocabulary.artifact_uri(run.meta["experiment"], run.id),
}


def reader_of(kind: str, key: str) -> Callable[[Run], Any]:
    """Return a function that returns a run's value of a field as MLflow compares it, or None."""
    if kind == filters.METRICS:
        return lambda run: series.last if (series := run.summary.get(key)) is not None else None
    if kind == filters.PARAMS:
        return lambda run: vocabulary.text_of(run.params[key]) if key in run.params else None
    if kind == filters.TAGS:
        return lambda run: vocabulary.tag_to_mlflow(run.meta, key)
    if kind == filters.DATASETS:
        return lambda run: inputs.dataset_values(run, key)
    return _ATTRIBUTES[key]
