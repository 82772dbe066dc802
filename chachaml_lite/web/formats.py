"""In which form an answer is wanted: by ?format=, else by the Accept header; JSON where neither says another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flask import Response, request

from ..errors import InvalidInput
from ..text.safe import harmless_json
from ..text.table import Table, as_csv, as_lines, as_markdown, stream_lines, stream_markdown, stream_text
from ..text.table import as_text as table_text
from ..tracking.tracker import Tracker
from ..tracking.transfer import archive
from . import responses
from .query_string import Query


class Form(NamedTuple):
    """A form of an answer: its name in ?format=, and its media type."""

    name: str
    media_type: str


JSON = Form("json", "application/json")
TEXT = Form("txt", "text/plain")
CSV = Form("csv", "text/csv")
LINES = Form("jsonl", "application/x-ndjson")
MARKDOWN = Form("md", "text/markdown")

#: What a list can be had as. JSON comes first: it is what `Accept: */*` gets.
OF_A_LIST = (JSON, TEXT, CSV, LINES, MARKDOWN)
#: What one thing can be had as.
OF_ONE = (JSON, TEXT, MARKDOWN)


def wanted(query: Query, offered: tuple[Form, ...] = OF_A_LIST) -> Form:
    """The form that the request wants, of those offered; the first where it names none.

    Raises InvalidInput for another ?format=.
    """
    name = query.text("format")
    if name is None:
        best = request.accept_mimetypes.best_match([form.media_type for form in offered], default=offered[0].media_type)
        return next(form for form in offered if form.media_type == best)
    for form in offered:
        if form.name == name:
            return form
    raise InvalidInput(f"format {name[:60]!r} is unknown here; it is one of {', '.join(form.name for form in offered)}")


def list_answer(
    form: Form, value: Any, table: Callable[[], Table], as_text: Callable[[], str] | None = None
) -> Response:
    """A list in a form: `value` as JSON, else `table` (or, for a terminal, `as_text` where it isn't that)."""
    if form is JSON:
        answer = responses.json_answer(value)
    elif form is TEXT:
        answer = text_answer(form, as_text() if as_text else table_text(table()))
    elif form is CSV:
        answer = text_answer(form, "".join(as_csv(table())))
    elif form is LINES:
        answer = text_answer(form, as_lines(table()))
    else:
        answer = text_answer(form, as_markdown(table()))
    return answer


def streamed_answer(
    tracker: Tracker, form: Form, pieces: Callable[[], Iterator[str]], table: Callable[[], Table], name: str
) -> Response:
    """A list that is too long to be held: made piece by piece in a file, from which the server sends it.

    `pieces`: the JSON; `table`: with records that are made one after the other. OSError.
    """
    streams: dict[Form, Callable[[], Iterator[str]]] = {
        JSON: lambda: map(harmless_json, pieces()),
        TEXT: lambda: stream_text(table),
        CSV: lambda: as_csv(table()),
        LINES: lambda: stream_lines(table()),
        MARKDOWN: lambda: stream_markdown(table()),
    }
    file = archive.collected(tracker, streams[form])
    return responses.made_file_answer(file, name=name, content_type=form.media_type, is_inline=True)


def text_answer(form: Form, content: str) -> Response:
    """An answer in a form other than JSON, which is text in UTF-8."""
    return Response(content, mimetype=form.media_type)
