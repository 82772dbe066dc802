"""Models over HTTP: versions registered, promoted, listed, and their bytes downloaded by number or stage."""

from __future__ import annotations

from flask import Blueprint, Response

from ...text import columns
from ...tracking import artifacts, models
from .. import formats, request_body, responses
from ..context import tracker
from ..query_string import Query

api = Blueprint("models", __name__)


@api.post("/api/w/models")
def register_version() -> Response:
    """Make an artifact the next version of a model."""
    Query(())
    body = request_body.fields(
        request_body.json_object(), {"name": str, "run_id": str, "artifact": str}, {"stage": str, "description": str}
    )
    return responses.json_answer(models.register_version(tracker(), **body).public())


@api.post("/api/w/models/<name>/promote")
def promote_version(name: str) -> Response:
    """Move a version to a stage."""
    Query(())
    body = request_body.fields(request_body.json_object(), {"version": int, "stage": str}, {})
    version, demoted = models.promote_version(tracker(), name, body["version"], body["stage"])
    return responses.json_answer({**version.public(), "demoted": demoted})


@api.get("/api/models")
def list_models() -> Response:
    """Every model, by name."""
    form = formats.wanted(Query(formats.FIELDS))
    shown = [models.shown_model(model) for model in tracker().registry.models()]
    return formats.list_answer(form, shown, lambda: columns.model_table(shown))


@api.get("/api/models/<name>")
def get_model(name: str) -> Response:
    """A model, its versions and its history."""
    Query(())
    return responses.json_answer(models.detailed_model(models.get_model(tracker(), name)))


@api.get("/api/models/<name>/<selector>/download")
def download(name: str, selector: str) -> Response:
    """The bytes of a version, by its number or its stage."""
    Query(())
    kept = responses.not_modified(models.get_version(tracker(), name, selector).sha256)
    if kept is not None:
        return kept
    version, artifact, file = models.open_version(tracker(), name, selector)
    return responses.file_answer(
        file,
        name=artifact.name,
        size=artifact.size,
        sha256=version.sha256,
        content_type=artifacts.content_type(artifact.name),
    )
