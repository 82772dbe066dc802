"""POST /api/w/import: runs that come as a zip."""

from __future__ import annotations

from flask import Blueprint, Response

from ..tracking import imports
from . import answers, bodies
from .context import services, tracker
from .queries import Query

api = Blueprint("imports", __name__)


@api.post("/api/w/import")
def import_runs() -> Response:
    """Import the runs of a zip, as GET /api/runs/:id/download gives one."""
    query = Query(("overwrite",))
    bodies.require_type(bodies.ZIP, bodies.OCTETS)
    stream, size = bodies.upload()
    done = imports.import_runs(
        tracker(),
        stream,
        size,
        overwrite=query.flag("overwrite"),
        max_file_bytes=services().max_upload_bytes,
    )
    return answers.json_answer({"ok": True, **done})
