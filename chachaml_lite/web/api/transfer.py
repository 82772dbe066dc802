"""Transfer of runs: importing zips, digests that show what is new, manifests, and a run's files exactly as stored."""

from __future__ import annotations

from flask import Blueprint, Response

from ...errors import InvalidInput
from ...tracking.transfer import import_zip, manifest
from .. import request_body, responses
from ..context import services, tracker
from ..query_string import Query, parse_ids

api = Blueprint("transfer", __name__)

#: The most runs of one request: more would keep other clients waiting.
MAX_RUNS = 1000


@api.post("/api/w/import")
def import_runs() -> Response:
    """Import the runs of a zip, such as GET /api/runs/:id/download returns."""
    query = Query(("overwrite",))
    request_body.require_type(request_body.ZIP, request_body.OCTETS)
    stream, size = request_body.open_upload()
    result = import_zip.import_runs(
        tracker(),
        stream,
        size,
        overwrite=query.flag("overwrite"),
        max_file_bytes=services().max_upload_bytes,
    )
    return responses.json_response({"ok": True, **result})


@api.get("/api/digests")
def get_digests() -> Response:
    """Return a digest for each requested run that exists: copies of a run with the same digest are identical."""
    run_ids = parse_ids(Query(("ids",), repeatable=("ids",)))
    if not 1 <= len(run_ids) <= MAX_RUNS:
        raise InvalidInput(f"send ids, as in ?ids=a,b, of 1 to {MAX_RUNS} runs")
    return responses.with_content_etag(responses.json_response(manifest.digests(tracker(), run_ids)))


@api.get("/api/runs/<run_id>/manifest")
def get_manifest(run_id: str) -> Response:
    """Return the contents of a run at one moment."""
    points_bytes = Query(("points_bytes",)).integer("points_bytes")
    if points_bytes is not None and points_bytes < 0:
        raise InvalidInput("points_bytes must be 0 or more")
    return responses.with_content_etag(responses.json_response(manifest.manifest(tracker(), run_id, points_bytes)))


@api.get("/api/runs/<run_id>/files/<path:path>")
def download_file(run_id: str, path: str) -> Response:
    """Return a file of a run exactly as stored."""
    Query(())
    file, version = manifest.open_file(tracker(), run_id, path)
    not_modified = responses.not_modified(version)
    if not_modified is not None:
        file.close()
        return not_modified
    response = responses.generated_file_response(
        file, name=path.rpartition("/")[2], content_type="application/octet-stream"
    )
    response.set_etag(version)
    return response
