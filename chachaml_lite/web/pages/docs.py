"""The manual: chachaml_lite/docs/*.md as pages for browsers, and as Markdown for curl.

Its examples name http://localhost:8080. In responses this is replaced by the host that the client requested, so that an
example can be pasted unchanged.
"""

from __future__ import annotations

import pkgutil
import re
from functools import cache

from flask import Blueprint, Response, render_template

from ...errors import NotFound
from .. import formats
from ..context import command_context
from ..query_string import Query
from .markdown import render_manual

docs = Blueprint("docs", __name__)

#: The host in the manual's examples.
EXAMPLE_HOST = "http://localhost:8080"
_HTML = formats.Format("html", "text/html")
_NAME = re.compile(r"[a-z]+(?:-[a-z]+)*\Z")


@docs.get("/docs", defaults={"name": "index"})
@docs.get("/docs/<name>")
def doc_page(name: str) -> str | Response:
    """Return a page of the manual: HTML for browsers, Markdown for curl or with ?format=md. Raises NotFound."""
    response_format = formats.negotiate(Query(("format",)), (formats.MARKDOWN, _HTML))
    source = load_doc(name.removesuffix(".md")).replace(EXAMPLE_HOST, command_context()["host"])
    if response_format is formats.MARKDOWN:
        response = formats.text_response(response_format, source)
    else:
        content = render_manual(source)
        response = Response(render_template("doc.html", name=name, title=title_of(source), content=content))
    response.headers["Vary"] = "Accept"
    return response


@cache
def load_doc(name: str) -> str:
    """Return the Markdown of the page with this name. Raises NotFound."""
    content = None
    if _NAME.match(name):
        try:
            content = pkgutil.get_data("chachaml_lite", f"docs/{name}.md")
        except FileNotFoundError:
            content = None
    if content is None:
        raise NotFound("page", f"the manual has no page {name[:60]!r}; GET /docs lists those that it has")
    return content.decode()


def title_of(source: str) -> str:
    """Return the heading that a page begins with."""
    return source.partition("\n")[0].removeprefix("# ")
