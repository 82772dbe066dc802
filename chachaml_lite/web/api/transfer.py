"""POST /api/w/import: runs that come as a zip."""

from __future__ import annotations

from flask import Blueprint, Response

from ...tracking.transfer import import_zip
from .. import request_body, responses
from ..context import services, tracker
from ..query_string import Query

api = Blueprint("imports", __name__)


@api.post("/api/w/import")
def import_runs() -> Response:
    """Import the runs of a zip, as GET /api/runs/:id/download gives one."""
    query = Query(("overwrite",))
    request_body.require_type(request_body.ZIP, request_body.OCTETS)
    stream, size = request_body.upload()
    done = import_zip.import_runs(
        tracker(),
        stream,
        size,
        overwrite=query.flag("overwrite"),
        max_file_bytes=services().max_upload_bytes,
    )
    return responses.json_answer({"ok": True, **done})
