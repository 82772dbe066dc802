"""URLs of this server, all built by `url_for`, so that they begin with --url-prefix.

This module adds query strings, external URLs for commands and reports, the requested URL, and the conversion of names
with slashes to paths.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

from flask import Flask, request, url_for
from werkzeug.routing import PathConverter

from ..errors import InvalidInput
from .context import origin


class _NameConverter(PathConverter):
    """The converter of `<path:name>`, with "%2F" for slashes in names with an empty, "." or ".." segment.

    Clients would resolve these segments.
    """

    def to_url(self, value: Any) -> str:
        """Return the part of a URL for a name."""
        text = str(value)
        return quote(text, safe="" if {"", ".", ".."} & set(text.split("/")) else "/")


def install(app: Flask) -> None:
    """Prepare `app` for the routes that blueprints add."""
    # Paths are matched exactly as sent: no redirect to a different path, no double decoding.
    app.url_map.merge_slashes = False
    app.url_map.converters["path"] = _NameConverter
    app.jinja_env.globals.update(full_url_for=full_url_for)


def check_path() -> None:
    """Raise InvalidInput unless the request's path is UTF-8.

    Werkzeug reads other bytes as U+FFFD, so that two names would be one.
    """
    path: str = request.environ["PATH_INFO"]  # one character for each byte
    try:
        _ = path.isascii() or path.encode("latin-1").decode()
    except UnicodeDecodeError as fault:
        raise InvalidInput("the path is not percent-encoded UTF-8") from fault


def with_query(path: str, fields: Iterable[tuple[str, str]]) -> str:
    """Return `path` with a query string of the fields, if there are any."""
    query = urlencode(list(fields), safe=",/:")
    return f"{path}?{query}" if query else path


def full_url_for(endpoint: str, **values: Any) -> str:
    """Return the external URL of an endpoint, for commands and for text that is read elsewhere.

    It is safe in double quotes in a shell, where "$" begins a variable, and "!" a command of the history.
    """
    return origin() + url_for(endpoint, **values).replace("$", "%24").replace("!", "%21")


def current_url() -> str:
    """Return the path and query string of the request, for links."""
    query = request.query_string.decode("ascii", "replace")
    return quote(request.script_root + request.path) + (f"?{query}" if query else "")
