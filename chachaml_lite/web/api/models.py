"""Models over HTTP: registering, promoting, tagging, deleting, listing and downloading versions."""

from __future__ import annotations

from flask import Blueprint, Response

from ...errors import InvalidInput
from ...text import columns
from ...tracking import model_versions, models
from .. import formats, request_body, responses
from ..context import tracker
from ..query_string import Query

api = Blueprint("models", __name__)

#: The fields of a request that describes or tags a model or a version.
_DESCRIPTION_FIELDS = {"description": str, "tags": dict}


@api.post("/api/w/models")
def register_version() -> Response:
    """Register an artifact, or a folder of artifacts, as the next version of a model."""
    Query(())
    body = request_body.check_fields(
        request_body.parse_object(), {"name": str, "run_id": str, "artifact": str}, {"stage": str, "description": str}
    )
    return responses.json_response(model_versions.register_version(tracker(), **body).as_registered())


@api.post("/api/w/models/<name>")
def change_model(name: str) -> Response:
    """Describe or tag a model; create it if it doesn't exist."""
    Query(())
    body = request_body.check_fields(request_body.parse_object(), {}, _DESCRIPTION_FIELDS)
    return responses.json_response(models.model_to_json(models.change_model(tracker(), name, **body)))


@api.delete("/api/w/models/<name>")
def delete_model(name: str) -> Response:
    """Delete a model with all its versions."""
    Query(())
    models.delete_model(tracker(), name)
    return responses.ok()


@api.post("/api/w/models/<name>/promote")
def promote_version(name: str) -> Response:
    """Move a version to a stage."""
    Query(())
    body = request_body.check_fields(request_body.parse_object(), {"version": int, "stage": str}, {})
    version, demoted = model_versions.promote_version(tracker(), name, body["version"], body["stage"])
    return responses.json_response({**version.public(), "demoted": demoted})


@api.post("/api/w/models/<name>/aliases")
def set_alias(name: str) -> Response:
    """Point an alias to a version, or remove it."""
    Query(())
    raw_body = request_body.parse_object()
    body = request_body.check_fields(raw_body, {"alias": str}, {"version": int})
    if "version" not in raw_body:
        raise InvalidInput("the field 'version' is missing; null removes the alias")
    models.set_alias(tracker(), name, body["alias"], body.get("version"))
    return responses.ok()


@api.post("/api/w/models/<name>/versions/<version>")
def change_version(name: str, version: str) -> Response:
    """Describe or tag a version."""
    Query(())
    body = request_body.check_fields(request_body.parse_object(), {}, _DESCRIPTION_FIELDS)
    changed = model_versions.change_version(tracker(), name, _parse_number(name, version), **body)
    return responses.json_response(changed.public())


@api.delete("/api/w/models/<name>/versions/<version>")
def delete_version(name: str, version: str) -> Response:
    """Delete a version."""
    Query(())
    model_versions.delete_version(tracker(), name, _parse_number(name, version))
    return responses.ok()


def _parse_number(name: str, version: str) -> int:
    """Return the version number in a path. Writes take no selector, which may refer to another version tomorrow."""
    if not model_versions.is_number(version):
        raise models.unknown_version_error(models.get_model(tracker(), name), version)
    return int(version)


@api.get("/api/models")
def list_models() -> Response:
    """Return all models, by name."""
    response_format = formats.negotiate(Query(formats.FIELDS))
    items = [models.model_to_json(model) for model in tracker().registry.models()]
    return formats.list_response(response_format, items, lambda: columns.model_table(items))


@api.get("/api/models/<name>")
def get_model(name: str) -> Response:
    """Return a model, its versions and its history."""
    Query(())
    return responses.json_response(models.model_details(models.get_model(tracker(), name)))


@api.get("/api/models/<name>/<selector>/download")
def download(name: str, selector: str) -> Response:
    """Return the bytes of a version, or a folder's as a zip, by its number, `latest`, an alias or a stage."""
    Query(())
    not_modified = responses.not_modified(model_versions.get_version(tracker(), name, selector).sha256)
    if not_modified is not None:
        return not_modified
    content = model_versions.open_version(tracker(), name, selector)
    return responses.file_response(
        content.file,
        name=content.file_name,
        size=content.size,
        sha256=content.version.sha256,
        content_type=content.content_type,
    )
