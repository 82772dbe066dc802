"""The server itself: is it up, and how does one begin?"""

from __future__ import annotations

from flask import Blueprint, Response, render_template, request

from . import answers
from .context import for_commands, services, tracker
from .queries import Query

#: Damage is found by reading everything once. A probe doesn't wait for that in a large store that was just opened: what
#: is not read yet is counted by a later one.
_PATIENCE_SECONDS = 0.5

service = Blueprint("service", __name__)


@service.get("/api/health")
def health() -> Response:
    """How the server and its store are."""
    Query(())
    catalog, registry = tracker().catalog, tracker().registry
    damaged = len(catalog.damaged(_PATIENCE_SECONDS)) + len(registry.damaged())
    body = {"ok": True, "version": services().version, "runs": catalog.count(), "damaged": damaged}
    answer = answers.json_answer(body)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@service.get("/")
def front() -> Response:
    """A browser goes on to the runs; curl gets a quickstart that can be pasted."""
    if "text/html" in request.headers.get("Accept", ""):
        return Response(status=302, headers={"Location": "/runs"})
    return Response(render_template("quickstart.txt", **for_commands()) + "\n", mimetype="text/plain")
