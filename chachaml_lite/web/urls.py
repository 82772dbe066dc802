"""URLs of this server. Every one is built by `url_for`, so that all of them begin with --url-prefix.

What a view or a template adds to Flask's function stands here: query strings, URLs for commands and reports, the URL
that was requested, and how a name with slashes becomes a path.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

from flask import Flask, request, url_for
from werkzeug.routing import PathConverter

from .context import origin


class _NameConverter(PathConverter):
    """The rule's `<path:name>`, with "%2F" for a slash beside an empty, "." or ".." segment, which clients resolve."""

    def to_url(self, value: Any) -> str:
        """The part of a URL that stands for a name."""
        text = str(value)
        return quote(text, safe="" if {"", ".", ".."} & set(text.split("/")) else "/")


def install(app: Flask) -> None:
    """Prepare `app` for the routes that blueprints add."""
    # A path is matched as it was sent: no redirect that changes what was asked, no decoding twice.
    app.url_map.merge_slashes = False
    app.url_map.converters["path"] = _NameConverter
    app.jinja_env.globals.update(full_url_for=full_url_for)


def with_query(path: str, fields: Iterable[tuple[str, str]]) -> str:
    """`path` with the fields as its query string; without any, as it is."""
    query = urlencode(list(fields), safe=",/:")
    return f"{path}?{query}" if query else path


def full_url_for(endpoint: str, **values: Any) -> str:
    """The URL of an endpoint as it is reached from outside: for commands, and for text that is read elsewhere.

    It can stand between double quotes in a shell, where "$" begins a variable, and "!" a command of the history.
    """
    return origin() + url_for(endpoint, **values).replace("$", "%24").replace("!", "%21")


def current_url() -> str:
    """The path and query string of the request, as a link to it has them."""
    query = request.query_string.decode("ascii", "replace")
    return quote(request.script_root + request.path) + (f"?{query}" if query else "")
