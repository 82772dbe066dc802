"""Error handling: maps exceptions to HTTP statuses, and responds with JSON for /api, else with a page.

On the paths of a dialect, errors have that protocol's form.
"""

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

#: Our texts for werkzeug's exceptions; all others keep their own.
_HTTP: dict[int, tuple[str, str]] = {
    404: ("not found", "no such route; GET /docs/api and GET /api/openapi.json list them"),
    405: ("method not allowed", "see the Allow header for the methods of this route"),
}
#: The API's remedies for errors, by their `resolvable_by`: a request, or the endpoint that lists the names.
_REMEDIES = {
    "create_run": "; use an id that POST /api/w/runs returned",
    "download_run": "; send one from GET /api/runs/:id/download",
    "name_baseline": "; add &baseline=RUN_ID",
    "overwrite": "; add ?overwrite=true to replace it",
    "replace_artifact": "; use another name, or add &overwrite=true to replace it",
    "restore_run": " (POST /api/w/runs/:id/restore)",
    "send_token": "; send the header Authorization: Bearer TOKEN",
    "resume_run": "; POST /api/w/runs/:id/resume continues it",
}
_LISTING_ENDPOINTS = {
    "list_artifacts": "artifacts.list_artifacts",
    "list_experiments": "experiments.list_experiments",
    "list_files": "transfer.get_manifest",
    "list_models": "models.list_models",
}
_INTERNAL = "internal server error; see the server's log. Nothing was partially written"


def install(app: Flask) -> None:
    """Handle every error of `app`."""
    app.register_error_handler(errors.ChachamlError, _handle_own)
    app.register_error_handler(OSError, _handle_os_error)
    app.register_error_handler(HTTPException, _handle_http_exception)
    app.register_error_handler(Exception, _handle_unexpected)


def wants_json() -> bool:
    """Return whether an error response should be JSON: for the API, and for scripts that accept it."""
    if request.path == "/api" or request.path.startswith("/api/"):
        return True
    return request.accept_mimetypes.best_match(("text/html", "application/json")) == "application/json"


def _handle_own(error: errors.ChachamlError) -> Response:
    status = next((status for kind, status in STATUS_OF if isinstance(error, kind)), 500)
    if status >= 500:
        log.error("%s %s: %s", request.method, ascii(request.path), error.detail, exc_info=error)
    preference = f"resolvable-by={error.resolvable_by}"
    prefer_header = request.headers.get("Prefer")
    is_worded_by_client = prefer_header == preference or (
        prefer_header == "resolvable-by" and error.resolvable_by is not None
    )
    body = {"error": error.error, "detail": error.detail + ("" if is_worded_by_client else _format_remedy(error))}
    if isinstance(error, errors.CheckFailed):
        body = {**error.report, **body}
    response = _answer(status, body, error)
    if is_worded_by_client:
        response.headers["Preference-Applied"] = preference
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="chachaml-lite"'
    if response.status_code == 503:
        response.headers["Retry-After"] = "1"
    return response


def _format_remedy(error: errors.ChachamlError) -> str:
    """Return the remedy of an error as a request to the API."""
    if error.resolvable_by in _LISTING_ENDPOINTS:
        return f"; GET {url_for(_LISTING_ENDPOINTS[error.resolvable_by], **error.names)} lists them"  # type: ignore[arg-type]
    if error.resolvable_by == "restore_experiment":
        url = url_for("experiments.change_experiment", name=error.names["name"])
        return f' (POST {url} with {{"deleted": false}})'
    return _REMEDIES.get(error.resolvable_by or "", "")


def _handle_os_error(error: OSError) -> Response:
    fault = errors.translate_os_error(error)
    fault.__cause__ = error
    return _handle_own(fault)


def _handle_http_exception(error: HTTPException) -> Response:
    status = error.code or 500
    name, detail = _HTTP.get(status, (error.name.lower(), error.description or error.name))
    response = _answer(status, {"error": name, "detail": detail}, error)
    for header, value in error.get_headers():
        if header not in ("Content-Type", "Content-Length"):
            response.headers[header] = value
    return response


def _handle_unexpected(error: Exception) -> Response:
    log.error("%s %s: unforeseen", request.method, ascii(request.path), exc_info=error)
    return _answer(500, {"error": "internal error", "detail": _INTERNAL}, error)


def _answer(status: int, body: dict[str, Any], error: Exception) -> Response:
    dialect = services().dialect
    if dialect is not None and dialect.covers(request.path):
        status, body = dialect.error_body(status, body["detail"], error)
    if wants_json():
        return responses.json_response(body, status)
    return make_response(render_template("error.html", status=status, back=g.get("back"), **body), status)
