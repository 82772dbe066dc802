"""The server itself: its health, its description, and a quickstart."""

from __future__ import annotations

import pkgutil
from functools import cache
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ... import strict_json
from ...errors import StorageGone
from .. import responses
from ..context import command_context, services, tracker
from ..query_string import Query

#: Damage is found by reading everything once. A health check doesn't wait for that in a large store that was just
#: opened: what has not been read yet is counted by a later one.
_PATIENCE_SECONDS = 0.5

service = Blueprint("service", __name__)


@service.get("/api/health")
def health() -> Response:
    """Return the state of the server and its store. Raises StorageGone."""
    Query(())
    if not tracker().store.is_there():
        raise StorageGone("the data folder was removed; create it again, or stop this server")
    catalog, registry = tracker().catalog, tracker().registry
    damaged = len(catalog.damaged(_PATIENCE_SECONDS)) + len(registry.damaged()) + len(tracker().descriptions.damaged())
    body = {"ok": True, "version": services().version, "runs": catalog.count(), "damaged": damaged}
    response = responses.json_response(body)
    response.headers["Cache-Control"] = "no-store"
    return response


@service.get("/api/openapi.json")
def description() -> Response:
    """Return the description of the API in OpenAPI 3.1."""
    Query(())
    return responses.json_response(_load_description(services().version))


@cache
def _load_description(version: str) -> dict[str, Any]:
    """Return the document next to this module, with the version of this server."""
    content = pkgutil.get_data(__package__, "openapi.json")
    if content is None:
        raise AssertionError("the package lacks its openapi.json")
    document: dict[str, Any] = strict_json.loads(content)
    document["info"]["version"] = version
    return document


@service.get("/llms.txt")
def summary_for_models() -> Response:
    """Return the API on one page, for a language model that only has curl (llmstxt.org)."""
    Query(())
    return Response(render_template("llms.txt", **command_context()) + "\n", mimetype="text/plain")


@service.get("/")
def front() -> BaseResponse:
    """Redirect browsers to the list of runs; send curl a quickstart to paste."""
    if "text/html" in request.headers.get("Accept", ""):
        return redirect(url_for("pages.run_list"))
    return Response(render_template("quickstart.txt", **command_context()) + "\n", mimetype="text/plain")
