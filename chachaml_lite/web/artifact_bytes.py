"""Responses with the bytes of an artifact, for our own API and other protocols."""

from __future__ import annotations

from flask import Response

from ..tracking import artifacts
from . import responses
from .context import tracker


def send_artifact(run_id: str, name: str) -> Response:
    """Return an artifact as an attachment, whole or in part, or 304 where the client has it. Raises NotFound."""
    not_modified = responses.not_modified(artifacts.get_artifact(tracker(), run_id, name).sha256)
    if not_modified is not None:
        return not_modified
    artifact, file = artifacts.open_artifact(tracker(), run_id, name)
    return responses.file_response(
        file,
        name=artifact.name,
        size=artifact.size,
        sha256=artifact.sha256,
        content_type=artifacts.content_type(artifact.name),
    )
