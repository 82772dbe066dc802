"""MLflow's logged models: creating them with or without a run, finalizing, tagging, searching."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response

from ..errors import InvalidInput, NotFound
from ..tracking import logged_models
from ..tracking.index.logged_models import LoggedModel, ModelMetric
from ..tracking.names import quote_name
from ..tracking.series.summary import number_to_json
from ..web.context import tracker
from . import artifacts, experiments, filters, requests, responses, vocabulary
from .filters import ATTRIBUTES, METRICS, PARAMS, TAGS, Comparison, Order, Subject
from .requests import Fields

api = Blueprint("mlflow_logged_models", __name__, url_prefix="/api/2.0/mlflow")

_DEFAULT_PAGE, _MAX_PAGE = 50, 50_000
_PREFIX = "LOGGED_MODEL_"
#: The numbers of MLflow's statuses.
_STATUS_NUMBERS = {"1": "PENDING", "2": "READY", "3": "UPLOAD_FAILED"}
_ATTRIBUTES: dict[str, Callable[[LoggedModel], Any]] = {
    "name": lambda model: model.name,
    "model_id": lambda model: model.id,
    "model_type": lambda model: model.model_type,
    "status": lambda model: model.status.upper(),
    "source_run_id": lambda model: _source_run_id(model),
    "creation_timestamp": lambda model: model.created_at,
    "last_updated_timestamp": lambda model: model.updated_at,
}
_TEXTS = frozenset({"name", "model_id", "model_type", "status", "source_run_id"})
_ALIASES = {
    "creation_time": "creation_timestamp",
    "creation_timestamp_ms": "creation_timestamp",
    "last_updated_time": "last_updated_timestamp",
    "last_updated_timestamp_ms": "last_updated_timestamp",
}
SUBJECT = Subject(
    frozenset({METRICS, PARAMS, TAGS, ATTRIBUTES}), _TEXTS, frozenset(_ATTRIBUTES) - _TEXTS, _TEXTS, _ALIASES
)


@api.post("/logged-models")
def create_logged_model() -> Response:
    """Add a model to a run. Without a run, one is created to hold it."""
    fields = requests.parse_fields()
    experiment = experiments.find_name(tracker(), fields.text("experiment_id"))
    experiments.refuse_deleted(tracker(), experiment)
    new = logged_models.NewModel(
        fields.maybe_text("name") or f"model-{secrets.token_hex(4)}",
        fields.maybe_text("model_type") or None,
        fields.pairs("params"),
        fields.pairs("tags"),
    )
    run_id = fields.maybe_text("source_run_id") or logged_models.create_holder(tracker(), experiment, new.name)
    return responses.answer(model=to_json(logged_models.create_model(tracker(), run_id, new)))


@api.get("/logged-models/<model_id>")
def get_logged_model(model_id: str) -> Response:
    """Return a model by its id."""
    deleted = requests.parse_fields().flag("allow_deleted")
    return responses.answer(model=to_json(logged_models.get_model(tracker(), model_id, deleted=deleted)))


@api.patch("/logged-models/<model_id>")
def finalize_logged_model(model_id: str) -> Response:
    """Record that a model's files have been uploaded, or that the upload failed."""
    word = str(requests.parse_fields().word("status"))
    status = _STATUS_NUMBERS.get(word, word.removeprefix(_PREFIX))
    if status not in ("READY", "UPLOAD_FAILED"):
        raise InvalidInput("status must be LOGGED_MODEL_READY or LOGGED_MODEL_UPLOAD_FAILED")
    return responses.answer(model=to_json(logged_models.finalize(tracker(), model_id, status.lower())))


@api.delete("/logged-models/<model_id>")
def delete_logged_model(model_id: str) -> Response:
    """Mark a model as deleted."""
    logged_models.delete_model(tracker(), model_id)
    return responses.answer()


@api.post("/logged-models/<model_id>/params")
def log_params(model_id: str) -> Response:
    """Add params. Clients send all params after the first hundred with this request."""
    logged_models.add_params(tracker(), model_id, requests.parse_fields().pairs("params"))
    return responses.answer()


@api.patch("/logged-models/<model_id>/tags")
def set_tags(model_id: str) -> Response:
    """Set tags."""
    logged_models.set_tags(tracker(), model_id, requests.parse_fields().pairs("tags"))
    return responses.answer()


@api.delete("/logged-models/<model_id>/tags/<path:key>")
def delete_tag(model_id: str, key: str) -> Response:
    """Remove a tag, which must exist."""
    if key not in logged_models.get_model(tracker(), model_id).tags:
        raise NotFound("tag", f"the logged model has no tag {quote_name(key)}")
    logged_models.set_tags(tracker(), model_id, {key: None})
    return responses.answer()


@api.get("/logged-models/<model_id>/artifacts/directories")
def list_artifacts(model_id: str) -> Response:
    """List the files and folders of a model by their paths from its root."""
    path = (requests.parse_fields().maybe_text("artifact_directory_path") or "").rstrip("/")
    model = logged_models.get_model(tracker(), model_id)
    run = tracker().run(model.run_id)
    files = artifacts.list_folder(run, artifacts.Place(run.id, model.folder, path), prefix=f"{path}/" if path else "")
    return responses.answer(root_uri=vocabulary.model_uri(run.meta["experiment"], model_id), files=files)


# -- searching


@api.post("/logged-models/search")
def search_logged_models() -> Response:
    """Return a page of the matching models of some experiments, newest first unless an order is given."""
    fields = requests.parse_fields()
    if not fields.texts("experiment_ids"):
        raise InvalidInput("Missing value for required parameter 'experiment_ids'")
    comparisons = [_strip_status_prefix(each) for each in filters.parse_filter(fields.maybe_text("filter"), SUBJECT)]
    datasets = [(each.text("dataset_name"), each.maybe_text("dataset_digest")) for each in fields.objects("datasets")]
    orders = [_parse_order(each) for each in fields.objects("order_by")]
    names = experiments.find_names(tracker(), fields.texts("experiment_ids"))
    models = logged_models.list_models(tracker(), names)
    matches = [model for model in models if _matches(model, comparisons, datasets)]
    for order, dataset in reversed(orders):
        matches = filters.sort_items(matches, [order], lambda kind, key, dataset=dataset: _reader(kind, key, dataset))  # type: ignore[misc]
    page, token = responses.page_of(matches, fields, _DEFAULT_PAGE, _MAX_PAGE)
    return responses.answer(models=[to_json(model) for model in page], **responses.without_none(next_page_token=token))


def _strip_status_prefix(comparison: Comparison) -> Comparison:
    """Return a comparison whose status, if that is its field, has no prefix: READY, not LOGGED_MODEL_READY."""
    if (comparison.kind, comparison.key) != (ATTRIBUTES, "status") or not isinstance(comparison.value, str):
        return comparison
    return replace(comparison, value=comparison.value.removeprefix(_PREFIX))


Dataset = tuple[str | None, str | None]


def _matches(model: LoggedModel, comparisons: list[Comparison], datasets: list[tuple[str, str | None]]) -> bool:
    """Return whether a model satisfies all comparisons: those of a metric by any of its values on the datasets."""
    metrics = [
        each
        for each in list(model.metrics.values())
        if not datasets or any(_is_of(each, dataset) for dataset in datasets)
    ]
    if datasets and not metrics:
        return False
    for each in comparisons:
        holds = each.predicate()
        if each.kind == METRICS:
            if not any(metric.key == each.key and holds(metric.value) for metric in metrics):
                return False
        elif not holds(_reader(each.kind, each.key)(model)):
            return False
    return True


def _is_of(metric: ModelMetric, dataset: Dataset) -> bool:
    name, digest = dataset
    return name in (None, metric.dataset_name) and digest in (None, metric.dataset_digest)


def _parse_order(fields: Fields) -> tuple[Order, Dataset]:
    """Parse an order, and the dataset whose metrics are compared. Raises InvalidInput."""
    name = fields.text("field_name")
    dataset = fields.maybe_text("dataset_name"), fields.maybe_text("dataset_digest")
    descending = "ascending" in fields and not fields.flag("ascending")
    if name.startswith("metrics."):
        return Order(METRICS, name.removeprefix("metrics.").strip("`"), descending), dataset
    if "." in name:
        raise InvalidInput(
            f"order_by {quote_name(name)} can't be used: models are ordered by attributes and metrics.KEY"
        )
    return Order(ATTRIBUTES, SUBJECT.attribute(name), descending), dataset


def _reader(kind: str, key: str, dataset: Dataset = (None, None)) -> Callable[[LoggedModel], Any]:
    if kind == PARAMS:
        return lambda model: model.params.get(key)
    if kind == TAGS:
        return lambda model: model.tags.get(key)
    if kind == METRICS:
        return lambda model: _latest(model, key, dataset)
    return _ATTRIBUTES[key]


def _latest(model: LoggedModel, key: str, dataset: Dataset) -> Any:
    """Return a metric's latest value on a dataset, by time and then step as in MLflow; None if it has none."""
    metrics = [each for each in list(model.metrics.values()) if each.key == key and _is_of(each, dataset)]
    return max(metrics, key=lambda each: (each.timestamp, each.step)).value if metrics else None


# -- metrics, which are logged with a run's


def parse_metrics(run_id: str, points: list[Fields]) -> list[ModelMetric]:
    """Parse the points that are also metrics of a model. Raises InvalidInput, NotFound (for an unknown model)."""
    metrics = [
        ModelMetric(
            each.text("model_id"),
            each.text("key"),
            each.number("value"),
            each.integer("step", 0),
            each.integer("timestamp"),
            run_id,
            each.maybe_text("dataset_name") or None,
            each.maybe_text("dataset_digest") or None,
        )
        for each in points
        if each.maybe_text("model_id")
    ]
    logged_models.check_model_ids(tracker(), (metric.model_id for metric in metrics))
    return metrics


# -- responses


def to_json(model: LoggedModel) -> dict[str, Any]:
    """Return a model as it appears in a response."""
    experiment = tracker().run(model.run_id).meta["experiment"]
    info = responses.without_none(
        model_id=model.id,
        experiment_id=vocabulary.experiment_id(experiment),
        name=model.name,
        creation_timestamp_ms=model.created_at,
        last_updated_timestamp_ms=model.updated_at,
        artifact_uri=vocabulary.model_uri(experiment, model.id),
        status=_PREFIX + model.status.upper(),
        model_type=model.model_type,
        source_run_id=_source_run_id(model),
        tags=responses.pairs_to_json(model.tags),
    )
    metrics = [_metric_to_json(each) for each in list(model.metrics.values())]
    return {"info": info, "data": {"params": responses.pairs_to_json(model.params), "metrics": metrics}}


def _source_run_id(model: LoggedModel) -> str | None:
    """Return the run that logged a model; None if its run was created to hold it."""
    return None if logged_models.holds_model(tracker().run(model.run_id)) else model.run_id


def _metric_to_json(metric: ModelMetric) -> dict[str, Any]:
    return responses.without_none(**{**metric._asdict(), "value": number_to_json(metric.value)})
