"""Artifacts over HTTP: uploads as raw bytes, lists, and downloads in whole or in part."""

from __future__ import annotations

from flask import Blueprint, Response

from ...errors import InvalidInput
from ...text import columns
from ...tracking import artifact_deletion, artifacts
from .. import formats, request_body, responses
from ..artifact_bytes import send_artifact
from ..context import tracker
from ..query_string import Query

api = Blueprint("artifacts", __name__)


@api.post("/api/w/runs/<run_id>/artifacts")
def store_artifact(run_id: str) -> Response:
    """Store the request body as an artifact."""
    query = Query(("name", "overwrite"))
    request_body.require_type(request_body.OCTETS)
    name = query.text("name")
    if not name:
        raise InvalidInput("the artifact's name is missing; send it as ?name=model.pkl")
    stream, size = request_body.open_upload()
    artifact = artifacts.store_artifact(tracker(), run_id, name, stream, size, overwrite=query.flag("overwrite"))
    return responses.json_response(
        {"ok": True, "name": artifact.name, "sha256": artifact.sha256, "size": artifact.size}
    )


@api.delete("/api/w/runs/<run_id>/artifacts")
def delete_artifacts(run_id: str) -> Response:
    """Delete an artifact, or all artifacts of a folder."""
    name = Query(("name",)).text("name")
    if name is None:
        raise InvalidInput("name the artifact as ?name=model.pkl, or a folder of them with a slash, ?name=checkpoints/")
    deleted = artifact_deletion.delete_artifacts(tracker(), run_id, name)
    return responses.json_response({"ok": True, "deleted": deleted})


@api.get("/api/runs/<run_id>/artifacts")
def list_artifacts(run_id: str) -> Response:
    """Return the artifacts of a run."""
    response_format = formats.negotiate(Query(formats.FIELDS))
    items = artifacts.list_artifacts(tracker().run(run_id))
    return formats.list_response(response_format, items, lambda: columns.artifact_table(items))


@api.get("/api/artifacts/<run_id>/<path:name>/download")
def download(run_id: str, name: str) -> Response:
    """Return the bytes of an artifact; its id is the part of the path between "artifacts/" and "/download"."""
    Query(())
    return send_artifact(run_id, name)
