"""The fast path of a metric's POST, which comes thousands of times a second: points are logged without Flask.

Of the time that the app takes for a metric's POST, Flask's part (contexts, routing, request and answer objects) is
more than the half. So a POST that has nothing out of the ordinary is recognized by its WSGI environment, held against
the same guard, read by the same reader and logged by the same rule as in `api_runs.log_metrics`. Whatever is out of the
ordinary, and everything that is refused, goes on to Flask, which tells the client why: what is refused has stored
nothing, so it can be tried again.
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
_UNFORESEEN = "chachaml_lite.unforeseen"
#: How .NET, Java and Go send JSON.
_WITH_CHARSET = re.compile(r'([a-z]+/[a-z.+-]+) *; *charset="?utf-8"?\Z', re.IGNORECASE)
_TYPES = frozenset({request_body.JSON, request_body.NDJSON})


def log_metrics(environ: dict[str, Any], services: Services) -> bytes | None:
    """Log the points of a request, and give the body of its answer. None: it is not answered yet, and Flask is to."""
    path = _PATH.match(environ["PATH_INFO"])
    if path is None:
        return None

    def log(body: bytes, kind: str) -> bytes:
        return answer(metrics.log_points(services.tracker, path[1], metrics_body.entries_of(body, kind)))

    return answer_post(environ, services, _TYPES, log)


def answer_post(
    environ: dict[str, Any], services: Services, types: Collection[str], log: Callable[[bytes, str], bytes | None]
) -> bytes | None:
    """Answer a POST by what `log` makes of its body and type, one of `types`, where the guard lets it pass.

    None: it is not answered yet, and Flask is to; what `log` raises, or gives None for, has stored nothing.
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
        if (answer := log(body, kind)) is not None:
            return answer
    except (ChachamlError, OSError):
        pass
    except Exception as unforeseen:  # whether something is stored isn't known, so it is not tried again
        environ[_UNFORESEEN] = unforeseen
        return None
    environ["wsgi.input"] = io.BytesIO(body)
    return None


@lru_cache(maxsize=16)
def _media_type(sent: str) -> str:
    """The media type of a Content-Type that has no parameter besides the charset UTF-8; any other as it is."""
    match = _WITH_CHARSET.match(sent)
    return match[1].lower() if match else sent


def raise_unforeseen(environ: dict[str, Any]) -> None:
    """Raise the mistake of ours that ended the logging of this request, if one did: answering it is Flask's part."""
    if _UNFORESEEN in environ:
        raise environ[_UNFORESEEN]


def answer(logged: metrics.Logged) -> bytes:
    """The body of the answer to what was logged; nothing is said of skipped values where there are none."""
    if logged.skipped:
        return b'{"ok": true, "logged": %d, "skipped": %d}\n' % logged
    return b'{"ok": true, "logged": %d}\n' % logged.points
