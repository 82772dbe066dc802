"""Error handling: the table from exceptions to HTTP; JSON for /api, a dialect's on its paths, a page for people."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, g, make_response, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from .. import errors
from . import responses
from .context import services

log = logging.getLogger(__name__)

#: Most specific first.
STATUS_OF: tuple[tuple[type[errors.ChachamlError], int], ...] = (
    (errors.InvalidInput, 400),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooLarge, 413),
    (errors.CheckFailed, 422),
    (errors.StorageFull, 507),
    (errors.StorageBusy, 503),
    (errors.StorageGone, 503),
    (errors.StorageFault, 500),
)

#: What werkzeug raises, in our words; the details of the rest are its own.
_HTTP: dict[int, tuple[str, str]] = {
    404: ("not found", "no such route; GET /docs/api and GET /api/openapi.json list them"),
    405: ("method not allowed", "the Allow header of this answer names the methods that this route takes"),
}
#: What resolves an error of the rules, by its `resolvable_by`: a request, or the endpoint that lists the names.
_WAYS_OUT = {
    "create_run": "; use one that POST /api/w/runs answered",
    "download_run": "; send one as GET /api/runs/:id/download gives it",
    "name_baseline": "; add &baseline=RUN_ID",
    "overwrite": "; add ?overwrite=true to take that",
    "replace_artifact": "; use another name, or add &overwrite=true to replace it",
    "restore_run": " (POST /api/w/runs/:id/restore)",
    "send_token": "; send the header Authorization: Bearer TOKEN",
    "resume_run": "; POST /api/w/runs/:id/resume has it go on",
}
_LISTED_BY = {
    "list_artifacts": "artifacts.list_artifacts",
    "list_experiments": "experiments.list_experiments",
    "list_files": "transfer.get_manifest",
    "list_models": "models.list_models",
}
_INTERNAL = "internal server error; see the server's log. Nothing was half-written"


def install(app: Flask) -> None:
    """Answer every error of `app` by this table."""
    app.register_error_handler(errors.ChachamlError, _ours)
    app.register_error_handler(OSError, _from_the_system)
    app.register_error_handler(HTTPException, _from_werkzeug)
    app.register_error_handler(Exception, _unforeseen)


def wants_json() -> bool:
    """Whether an error is answered as JSON: always to the API, and to a script of a page that asks for it."""
    if request.path == "/api" or request.path.startswith("/api/"):
        return True
    return request.accept_mimetypes.best_match(("text/html", "application/json")) == "application/json"


def _ours(error: errors.ChachamlError) -> Response:
    status = next((status for kind, status in STATUS_OF if isinstance(error, kind)), 500)
    if status >= 500:
        log.error("%s %s: %s", request.method, ascii(request.path), error.detail, exc_info=error)
    preference = f"resolvable-by={error.resolvable_by}"
    preferred = request.headers.get("Prefer")
    is_worded_by_client = preferred == preference or (preferred == "resolvable-by" and error.resolvable_by is not None)
    body = {"error": error.error, "detail": error.detail + ("" if is_worded_by_client else _way_out(error))}
    if isinstance(error, errors.CheckFailed):
        body = {**error.report, **body}
    answer = _answer(status, body, error)
    if is_worded_by_client:
        answer.headers["Preference-Applied"] = preference
    if answer.status_code == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="chachaml-lite"'
    if answer.status_code == 503:
        answer.headers["Retry-After"] = "1"
    return answer


def _way_out(error: errors.ChachamlError) -> str:
    """Word what would resolve an error as a request to the API."""
    if error.resolvable_by in _LISTED_BY:
        return f"; GET {url_for(_LISTED_BY[error.resolvable_by], **error.names)} lists them"  # type: ignore[arg-type]
    if error.resolvable_by == "restore_experiment":
        url = url_for("experiments.change_experiment", name=error.names["name"])
        return f' (POST {url} with {{"deleted": false}})'
    return _WAYS_OUT.get(error.resolvable_by or "", "")


def _from_the_system(error: OSError) -> Response:
    fault = errors.translate_os_error(error)
    fault.__cause__ = error
    return _ours(fault)


def _from_werkzeug(error: HTTPException) -> Response:
    status = error.code or 500
    name, detail = _HTTP.get(status, (error.name.lower(), error.description or error.name))
    answer = _answer(status, {"error": name, "detail": detail}, error)
    for header, value in error.get_headers():
        if header not in ("Content-Type", "Content-Length"):
            answer.headers[header] = value
    return answer


def _unforeseen(error: Exception) -> Response:
    log.error("%s %s: unforeseen", request.method, ascii(request.path), exc_info=error)
    return _answer(500, {"error": "internal error", "detail": _INTERNAL}, error)


def _answer(status: int, body: dict[str, Any], error: Exception) -> Response:
    dialect = services().dialect
    if dialect is not None and dialect.covers(request.path):
        status, body = dialect.error_body(status, body["detail"], error)
    if wants_json():
        return responses.json_response(body, status)
    return make_response(render_template("error.html", status=status, back=g.get("back"), **body), status)
