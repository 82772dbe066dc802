"""MLflow's inputs and outputs of a run: datasets as inputs, logged models as either."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from ..errors import InvalidInput
from ..tracking import datasets, logged_models
from ..tracking.index.run_entry import Run
from ..tracking.tracker import Tracker
from ..web.context import tracker
from . import requests, responses
from .requests import Fields
from .vocabulary_datasets import Dataset, dataset_from_mlflow, dataset_to_mlflow

api = Blueprint("mlflow_inputs", __name__, url_prefix="/api/2.0/mlflow")


@api.post("/runs/log-inputs")
def log_inputs() -> Response:
    """Add datasets and models that a run uses. Datasets with the same name and digest are stored once."""
    fields = requests.parse_fields()
    run_id = fields.text("run_id")
    new_datasets = [dataset_from_mlflow(_parse_dataset(each)) for each in fields.objects("datasets")]
    model_ids = logged_models.check_links(each.text("model_id") for each in fields.objects("models"))
    with tracker().writable_run(run_id) as run:
        logged_keys = {(each.name, each.digest) for each in map(dataset_to_mlflow, run.meta.get("datasets", []))}
        missing = []
        for each in new_datasets:
            dataset = dataset_to_mlflow(each)
            if (dataset.name, dataset.digest) not in logged_keys:
                logged_keys.add((dataset.name, dataset.digest))
                missing.append(each)
        datasets.log_datasets(tracker(), run_id, missing)
        if model_ids:
            logged_models.link_inputs(tracker(), run_id, model_ids)
    return responses.answer()


def _parse_dataset(fields: Fields) -> Dataset:
    """Parse an element of `datasets`. Raises InvalidInput."""
    dataset = fields.object("dataset")
    return Dataset(
        name=dataset.text("name"),
        digest=dataset.text("digest"),
        source_type=dataset.text("source_type"),
        source=dataset.text("source", may_be_empty=True),
        schema=dataset.maybe_text("schema"),
        profile=dataset.maybe_text("profile"),
        tags=fields.pairs("tags"),
    )


@api.post("/runs/outputs")
def log_outputs() -> Response:
    """Add models that a run has produced."""
    fields = requests.parse_fields()
    run_id = fields.text("run_id")
    models = [(each.text("model_id"), each.integer("step", 0)) for each in fields.objects("models")]
    if not models:
        raise InvalidInput("models is empty; name at least one {model_id, step}")
    logged_models.link_outputs(tracker(), run_id, models)
    return responses.answer()


# -- responses


def dataset_values(run: Run, key: str) -> list[str | None]:
    """Return the name, the digest or the context of each of a run's datasets."""
    return [getattr(dataset_to_mlflow(each), key) for each in run.meta.get("datasets", [])]


def links_to_json(tracker: Tracker, run: Run) -> dict[str, dict[str, Any]]:
    """Return the inputs and outputs of a run as they appear in a response, without empty lists."""
    datasets = [_dataset_to_json(dataset_to_mlflow(each)) for each in run.meta.get("datasets", [])]
    models = logged_models.of_run(tracker, run)
    inputs = [{"model_id": model_id} for model_id in models.inputs]
    outputs = [{"model_id": model_id, "step": step} for model_id, step in models.outputs.items()]
    return {
        "inputs": {
            **({"dataset_inputs": datasets} if datasets else {}),
            **({"model_inputs": inputs} if inputs else {}),
        },
        "outputs": {"model_outputs": outputs} if outputs else {},
    }


def _dataset_to_json(dataset: Dataset) -> dict[str, Any]:
    attributes = responses.without_none(
        name=dataset.name,
        digest=dataset.digest,
        source_type=dataset.source_type,
        source=dataset.source,
        schema=dataset.schema,
        profile=dataset.profile,
    )
    return {"dataset": attributes, "tags": responses.pairs_to_json(dataset.tags)}
