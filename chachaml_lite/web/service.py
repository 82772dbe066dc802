"""The server itself: is it up, and how does one begin?"""

from __future__ import annotations

from flask import Blueprint, Response, render_template, request

from . import answers
from .context import services, tracker
from .queries import Query

service = Blueprint("service", __name__)


@service.get("/api/health")
def health() -> Response:
    """How the server and its store are."""
    Query(())
    damaged = len(tracker().catalog.damaged()) + len(tracker().registry.damaged())
    body = {"ok": True, "version": services().version, "runs": len(list(tracker().catalog.runs())), "damaged": damaged}
    answer = answers.json_answer(body)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@service.get("/")
def front() -> Response:
    """A browser goes on to the runs; curl gets a quickstart that can be pasted."""
    if "text/html" in request.headers.get("Accept", ""):
        return Response(status=302, headers={"Location": "/runs"})
    text = render_template("quickstart.txt", host=request.host_url.rstrip("/"), has_token=services().token is not None)
    return answers.with_etag(Response(text + "\n", mimetype="text/plain"))
