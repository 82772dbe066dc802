"""What every answer has, whatever route gave it: the headers that protect a browser, and a line in the log."""

from __future__ import annotations

import logging
import time

from flask import Flask, Response, g, request

from .answers import PAGE_POLICY

log = logging.getLogger(__name__)


def install(app: Flask, *, quiet: bool) -> None:
    """Add the headers to every answer of `app`, and a log line for each request unless `quiet`."""
    app.after_request(_protect)
    if not quiet:
        app.before_request(_start)
        app.after_request(_log)


def _protect(answer: Response) -> Response:
    headers = answer.headers
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    return answer


def _start() -> None:
    g.started = time.perf_counter()


def _log(answer: Response) -> Response:
    # The path as it was sent, still percent-encoded: no control character of a client's reaches a terminal.
    path = request.environ.get("REQUEST_URI") or request.path
    taken_ms = (time.perf_counter() - g.started) * 1000
    log.info("%s %s %d %.1f ms", request.method, ascii(path)[1:-1], answer.status_code, taken_ms)
    return answer
