"""The server's capabilities, which MLflow's clients request before an upload."""

from __future__ import annotations

from flask import Blueprint, Response

from . import responses

api = Blueprint("mlflow_service", __name__)


@api.get("/api/3.0/mlflow/server-info")
def server_info() -> Response:
    """Return the server's capabilities: no workspaces, and a file of any size is uploaded by one PUT."""
    return responses.answer(
        store_type=None,
        workspaces_enabled=False,
        trace_archival_enabled=False,
        multipart_uploads_enabled=False,
        multipart_downloads_enabled=False,
    )
