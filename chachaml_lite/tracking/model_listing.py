"""The logged models of a run in the form that the API and the run's page use."""

from __future__ import annotations

from typing import Any

from .index.logged_models import LoggedModel
from .index.run_entry import Run
from .series.summary import number_to_json
from .tracker import Tracker


def list_models_of(tracker: Tracker, run: Run) -> list[dict[str, Any]]:
    """Return the models that a run logged, in order of logging, without deleted ones."""
    models = sorted(tracker.logged_models.of(run).models.values(), key=lambda model: model.number)
    return [model_to_json(model) for model in models if not model.is_deleted]


def model_to_json(model: LoggedModel) -> dict[str, Any]:
    """Return a logged model in the API's form. Its files are the run's artifacts below `folder`."""
    return {
        "id": model.id,
        "name": model.name,
        "model_type": model.model_type,
        "status": model.status,
        "folder": model.folder,
        "created_at": model.created_at,
        "params": model.params,
        "metrics": latest_metrics(model),
        "tags": model.tags,
    }


def latest_metrics(model: LoggedModel) -> dict[str, Any]:
    """Return the latest value of each metric of a model, by step and then time, with non-finite values as text."""
    by_time = sorted(model.metrics.values(), key=lambda each: (each.step, each.timestamp))
    latest = {each.key: each for each in by_time}
    return {key: number_to_json(each.value) for key, each in latest.items()}
