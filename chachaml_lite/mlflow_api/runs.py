"""MLflow's runs: creating, ending and deleting them, and logging to them, before and after their end."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from .. import strict_json
from ..errors import Conflict, InvalidInput, NotFound
from ..tracking import batches, metrics, runs, trash
from ..tracking import logged_models as tracked_models
from ..tracking.index.run_entry import Run
from ..tracking.names import quote_name
from ..tracking.series.points import StoredPoint
from ..tracking.series.summary import number_to_json
from ..tracking.tags import TagValue
from ..tracking.tracker import Tracker
from ..web import metrics_fast_path
from ..web.context import tracker
from . import experiments, inputs, logged_models, requests, responses, vocabulary
from .points import parse_point, parse_points

api = Blueprint("mlflow_runs", __name__, url_prefix="/api/2.0/mlflow")

#: The tag in which MLflow 2 records the models that a run logged.
_MODELS_TAG = "mlflow.log-model.history"
_MAX_PAGE = 25_000_000
#: The user that MLflow's client sends if it can't determine one.
_NOBODY = "unknown"


@api.post("/runs/create")
def create_run() -> Response:
    """Start a run."""
    fields = requests.parse_fields()
    name = experiments.find_name(tracker(), fields.maybe_text("experiment_id") or vocabulary.DEFAULT_EXPERIMENT_ID)
    experiments.refuse_deleted(tracker(), name)
    tags = _with_name(fields.pairs("tags"), fields.maybe_text("run_name"))
    user = fields.maybe_text("user_id")
    if user and user != _NOBODY and vocabulary.USER not in tags:
        tags[vocabulary.USER] = user
    own, others = vocabulary.tags_from_mlflow(tags)
    others = {key: value for key, value in others.items() if value is not None}
    new = runs.NewRun(name, tags=dict(others), start_time=fields.maybe_integer("start_time"), **dict[str, Any](own))
    try:
        run_id = runs.create_run(tracker(), new)["id"]
    except Conflict as fault:
        raise responses.InvalidState(fault.detail) from fault
    return responses.answer(run=run_to_json(tracker(), tracker().run(run_id)))


def _with_name(tags: dict[str, str], run_name: str | None) -> dict[str, str]:
    """Add the run's name to `tags`. Raises InvalidInput if the tag and run_name differ."""
    if not run_name:
        return tags
    if tags.get(vocabulary.RUN_NAME, run_name) != run_name:
        raise InvalidInput(
            f"run_name is {quote_name(run_name)}, and the tag {vocabulary.RUN_NAME} "
            f"{quote_name(tags[vocabulary.RUN_NAME])}; send one of them"
        )
    return {**tags, vocabulary.RUN_NAME: run_name}


@api.get("/runs/get")
def get_run() -> Response:
    """Return a run, including one in the trash."""
    return responses.answer(run=run_to_json(tracker(), tracker().run(requests.parse_fields().text("run_id"))))


@api.post("/runs/update")
def update_run() -> Response:
    """Set a run's status and name. An end_time is used with a status that ends the run."""
    fields = requests.parse_fields()
    run_id, end_time = fields.text("run_id"), fields.maybe_integer("end_time")
    name = fields.maybe_text("run_name")
    status = vocabulary.status_from_mlflow(fields.word("status")) if "status" in fields else None
    own, others = vocabulary.tags_from_mlflow({vocabulary.RUN_NAME: name} if name else {})
    if status is not None:
        runs.set_status(tracker(), run_id, *status[:2], end_time, mlflow_status=status[2])
    runs.change_run(tracker(), run_id, others, **own)
    return responses.answer(run_info=_info_to_json(tracker(), tracker().run(run_id)))


@api.post("/runs/delete")
def delete_run() -> Response:
    """Move a run to the trash."""
    trash.trash_run(tracker(), requests.parse_fields().text("run_id"))
    return responses.answer()


@api.post("/runs/restore")
def restore_run() -> Response:
    """Restore a run from the trash."""
    try:
        trash.restore_run(tracker(), requests.parse_fields().text("run_id"))
    except Conflict as fault:
        raise responses.InvalidState(fault.detail) from fault
    return responses.answer()


# -- logging


@api.post("/runs/log-metric")
def log_metric() -> Response:
    """Add a point. Most requests are handled by `fast_path`."""
    metrics_fast_path.raise_unexpected(request.environ)
    fields = requests.parse_fields()
    run_id = fields.text("run_id")
    point, model_metrics = parse_point(fields), logged_models.parse_metrics(run_id, [fields])
    metrics.add_points(tracker(), run_id, [point], even_ended=True)
    tracked_models.log_metrics(tracker(), model_metrics)
    return responses.answer()


@api.post("/runs/log-parameter")
def log_parameter() -> Response:
    """Set a param."""
    fields = requests.parse_fields()
    params = {fields.text("key"): fields.text("value", may_be_empty=True)}
    _log(fields.text("run_id"), params=params)
    return responses.answer()


@api.post("/runs/set-tag")
def set_tag() -> Response:
    """Set a tag."""
    fields = requests.parse_fields()
    _log(fields.text("run_id"), tags={fields.text("key"): fields.text("value", may_be_empty=True)})
    return responses.answer()


@api.post("/runs/delete-tag")
def delete_tag() -> Response:
    """Remove a tag, which must exist."""
    fields = requests.parse_fields()
    run_id, key = fields.text("run_id"), fields.text("key")
    with tracker().writable_run(run_id) as run:
        if key not in vocabulary.tags_to_mlflow(run.meta):
            raise NotFound("tag", f"the run has no tag {quote_name(key)}")
        own = {field: None for tag, field in vocabulary.FIELD_OF_TAG.items() if tag == key}
        runs.change_run(tracker(), run_id, {key: None}, **own)
    return responses.answer()


@api.post("/runs/log-batch")
def log_batch() -> Response:
    """Add points, params and tags: all or none."""
    fields = requests.parse_fields()
    run_id, points = fields.text("run_id"), parse_points(fields, "metrics")
    model_metrics = logged_models.parse_metrics(run_id, fields.objects("metrics", having="model_id"))
    _log(run_id, points, fields.pairs("params"), fields.pairs("tags"))
    tracked_models.log_metrics(tracker(), model_metrics)
    return responses.answer()


def _log(
    run_id: str,
    points: list[StoredPoint] | None = None,
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    own, others = vocabulary.tags_from_mlflow(tags or {})
    values = {key: vocabulary.parse_value(text) for key, text in (params or {}).items()}
    set_tags: dict[str, TagValue | None] = {**others}
    try:
        batches.log_batch(tracker(), run_id, points or [], values, set_tags, own, is_same=vocabulary.is_same_param)
    except Conflict as fault:
        raise responses.InvalidState(fault.detail) from fault


@api.post("/runs/log-model")
def log_model() -> Response:
    """Add MLflow 2's description of a model to the tag in which it records them."""
    fields = requests.parse_fields()
    run_id, text = fields.text("run_id"), fields.text("model_json")
    try:
        model = strict_json.loads(text.encode())
    except strict_json.NotJson as fault:
        raise InvalidInput(f"model_json is not JSON: {fault}") from fault
    if not isinstance(model, dict) or not {"artifact_path", "flavors"} <= model.keys():
        raise InvalidInput("model_json must be an object with artifact_path and flavors")
    with tracker().writable_run(run_id) as run:
        try:
            models_before = strict_json.loads(
                vocabulary.text_of(run.meta.get("tags", {}).get(_MODELS_TAG, [])).encode()
            )
        except strict_json.NotJson:
            models_before = []
        models = [*(models_before if isinstance(models_before, list) else []), model]
        runs.change_run(tracker(), run_id, {_MODELS_TAG: strict_json.dumps(models)})
    return responses.answer()


@api.get("/metrics/get-history")
def get_history() -> Response:
    """Return the points of a metric, sorted by time, step and arrival."""
    fields = requests.parse_fields()
    run_id, key = fields.text("run_id"), fields.text("metric_key")
    selection = metrics.select_series(tracker(), run_id, [key]).get(key)
    if selection is None:
        responses.page_of([], fields, _MAX_PAGE, _MAX_PAGE)
        return responses.answer(metrics=[])
    times = selection.series.timestamps
    places = sorted(selection.places, key=times.__getitem__)  # stable: step and arrival decide within a time
    page, token = responses.page_of(places, fields, _MAX_PAGE, _MAX_PAGE)
    points = [
        {"key": key, "value": number_to_json(point.value), "timestamp": point.timestamp, "step": point.step}
        for point in selection.series.points(page)
    ]
    return responses.answer(metrics=points, **responses.without_none(next_page_token=token))


# -- responses


def run_to_json(tracker: Tracker, run: Run, *, is_deleted: bool | None = None) -> dict[str, Any]:
    """Return a run as it appears in a response. Its points are not read, only their summary.

    `is_deleted` says whether the run is in the trash, if the caller knows.
    """
    return {
        "info": _info_to_json(tracker, run, is_deleted=is_deleted),
        "data": {
            "metrics": [
                {
                    "key": key,
                    "value": number_to_json(series.last),
                    "timestamp": series.last_time,
                    "step": series.last_step,
                }
                for key, series in run.summary.items()
            ],
            "params": [{"key": key, "value": vocabulary.text_of(value)} for key, value in run.params.items()],
            "tags": responses.pairs_to_json(vocabulary.tags_to_mlflow(run.meta)),
        },
        **inputs.links_to_json(tracker, run),
    }


def _info_to_json(tracker: Tracker, run: Run, *, is_deleted: bool | None = None) -> dict[str, Any]:
    meta = run.meta
    mlflow_status = runs.mlflow_of(meta).get("status")
    if is_deleted is None:
        is_deleted = tracker.is_trashed(run)
    return responses.without_none(
        run_id=run.id,
        run_uuid=run.id,
        run_name=meta.get("name") or run.id,
        experiment_id=vocabulary.experiment_id(meta["experiment"]),
        user_id=meta.get("created_by"),
        status=vocabulary.status_to_mlflow(meta["status"], meta.get("error"), mlflow_status),
        start_time=meta["start_time"],
        end_time=meta.get("end_time"),
        lifecycle_stage="deleted" if is_deleted else "active",
        artifact_uri=vocabulary.artifact_uri(meta["experiment"], run.id),
    )
