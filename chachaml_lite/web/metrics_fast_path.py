"""The fast path of a metric's POST, of which there are thousands a second: points are logged without Flask.

Flask (contexts, routing, request and response objects) takes more than half of the app's time for a metric's POST. So
an ordinary POST is recognized by its WSGI environ, and uses the same access control, parser and rules as
`api.runs.log_metrics`. All other requests, and those that are rejected, are passed to Flask, which reports the error:
a rejected request has stored nothing, so it can be handled again.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

from ..errors import ChachamlError
from ..tracking import metrics
from . import auth, metrics_body, request_body
from .context import Services

_PATH = re.compile(r"/api/w/runs/([A-Za-z0-9._-]+)/metrics\Z")
_UNEXPECTED = "chachaml_lite.unexpected"
#: The Content-Type of .NET, Java and Go.
_WITH_CHARSET = re.compile(r'([a-z]+/[a-z.+-]+) *; *charset="?utf-8"?\Z', re.IGNORECASE)
_TYPES = frozenset({request_body.JSON, request_body.NDJSON})


def log_metrics(environ: dict[str, Any], services: Services) -> bytes | None:
    """Log the points of a request and return the response's body, or None if Flask is to handle it."""
    path = _PATH.match(environ["PATH_INFO"])
    if path is None:
        return None

    def log(body: bytes, kind: str) -> bytes:
        return format_result(metrics.log_points(services.tracker, path[1], metrics_body.parse_entries(body, kind)))

    return answer_post(environ, services, _TYPES, log)


def answer_post(
    environ: dict[str, Any], services: Services, types: Collection[str], log: Callable[[bytes, str], bytes | None]
) -> bytes | None:
    """Handle a POST with one of `types` by calling `log` with its body and type, if it is allowed.

    Returns None if Flask is to handle it; `log` has stored nothing if it raises, or returns None.
    """
    if environ["REQUEST_METHOD"] != "POST" or environ.get("QUERY_STRING"):
        return None
    kind = _media_type(environ.get("CONTENT_TYPE", ""))
    length = environ.get("CONTENT_LENGTH", "")
    if kind not in types or not (length.isascii() and length.isdigit()):
        return None
    if int(length) > services.max_json_bytes or "HTTP_CONTENT_ENCODING" in environ:
        return None
    try:
        auth.check(environ, services)
    except ChachamlError:
        return None
    body = environ["wsgi.input"].read(int(length))
    try:
        if (response := log(body, kind)) is not None:
            return response
    except (ChachamlError, OSError):
        pass
    except Exception as error:  # something may have been stored, so it isn't tried again
        environ[_UNEXPECTED] = error
        return None
    environ["wsgi.input"] = io.BytesIO(body)
    return None


@lru_cache(maxsize=16)
def _media_type(content_type: str) -> str:
    """Return the media type of a Content-Type whose only parameter is the charset UTF-8; any other unchanged."""
    match = _WITH_CHARSET.match(content_type)
    return match[1].lower() if match else content_type


def raise_unexpected(environ: dict[str, Any]) -> None:
    """Raise the unexpected exception of this request's fast path, if there was one."""
    if _UNEXPECTED in environ:
        raise environ[_UNEXPECTED]


def format_result(result: metrics.Logged) -> bytes:
    """Return the response's body; it has no count of skipped values if there are none."""
    if result.skipped:
        return b'{"ok": true, "logged": %d, "skipped": %d}\n' % result
    return b'{"ok": true, "logged": %d}\n' % result.points
