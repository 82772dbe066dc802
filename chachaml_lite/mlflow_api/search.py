"""MLflow's search for runs: its filters as conditions on our runs, its orders, a page at a time."""

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
_DELETED: dict[str, Deleted] = {"ACTIVE_ONLY": "false", "DELETED_ONLY": "true", "ALL": "all"}


@dataclass(frozen=True)
class MlflowCondition:
    """A comparison of MLflow's filter language, as a condition on a run."""

    comparison: filters.Comparison

    def test(self, texts: Texts) -> Test:
        """Whether a run satisfies it."""
        read, holds = reader(self.comparison.kind, self.comparison.key), self.comparison.holds()
        return lambda run: holds(read(run))


@api.post("/runs/search")
def search_runs() -> Response:
    """A page of the runs of some experiments that match, newest first or in the order asked for."""
    fields = requests.fields()
    view = experiments.view_of(fields, "run_view_type")
    conditions = [MlflowCondition(each) for each in filters.parse_filter(fields.maybe_text("filter"), filters.RUNS)]
    orders = filters.parse_orders(fields.texts("order_by"), filters.RUNS)
    names = experiments.names_of(tracker(), fields.texts("experiment_ids"))
    found = _runs_of(tracker(), names, _DELETED[view], conditions)
    page, token = responses.page_of(filters.ordered(found, orders, reader), fields, _DEFAULT_PAGE, _MAX_PAGE)
    gone = tracker().descriptions.deleted()

    def is_deleted(run: Run) -> bool:
        return run.meta.get("deleted_at") is not None or run.meta["experiment"] in gone

    shown_page = [runs.run_to_json(tracker(), run, is_deleted=is_deleted(run)) for run in page]
    return responses.answer(runs=shown_page, **responses.without_none(next_page_token=token))


def _runs_of(of: Tracker, names: list[str], deleted: Deleted, conditions: list[MlflowCondition]) -> list[Run]:
    """The runs of some experiments that satisfy all conditions, newest first; none that only holds a model."""
    each = [of.catalog.newest(name, deleted) for name in names]
    found = each[0] if len(each) == 1 else list(merge(*each, key=_age, reverse=True))
    texts = Texts()
    all_conditions: list[Condition] = [*conditions]
    tests = [condition.test(texts) for condition in all_conditions]
    return [run for run in found if not logged_models.holds_model(run) and all(test(run) for test in tests)]


def _age(run: Run) -> tuple[int, str]:
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


def reader(kind: str, key: str) -> Callable[[Run], Any]:
    """A function that gives a run's value of a field as MLflow compares it; None where it lacks the field."""
    if kind == filters.METRICS:
        return lambda run: series.last if (series := run.summary.get(key)) is not None else None
    if kind == filters.PARAMS:
        return lambda run: vocabulary.text_of(run.params[key]) if key in run.params else None
    if kind == filters.TAGS:
        return lambda run: vocabulary.tag_to_mlflow(run.meta, key)
    if kind == filters.DATASETS:
        return lambda run: inputs.dataset_values(run, key)
    return _ATTRIBUTES[key]
