"""Content negotiation: ?format= wins, then the Accept header, then JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flask import Response, request

from ..errors import InvalidInput
from ..text.safe import escape_json
from ..text.table import Table, as_csv, as_lines, as_markdown, stream_lines, stream_markdown, stream_text
from ..text.table import as_text as table_text
from ..tracking.tracker import Tracker
from ..tracking.transfer import archive
from . import responses
from .query_string import Query


class Format(NamedTuple):
    """A format of responses: its name in ?format=, and its media type."""

    name: str
    media_type: str
    #: The text's prefix.
    mark: str = ""


JSON = Format("json", "application/json")
TEXT = Format("txt", "text/plain")
CSV = Format("csv", "text/csv")
#: CSV that Excel recognizes as UTF-8, by its byte order mark.
CSV_WITH_MARK = Format("csv", "text/csv", "\ufeff")
LINES = Format("jsonl", "application/x-ndjson")
MARKDOWN = Format("md", "text/markdown")

#: The query parameters of a list's format.
FIELDS = ("format", "bom")
#: The formats of lists. JSON is first, so that it matches `Accept: */*`.
LIST_FORMATS = (JSON, TEXT, CSV, LINES, MARKDOWN)
#: The formats of single items.
ITEM_FORMATS = (JSON, TEXT, MARKDOWN)


def negotiate(query: Query, formats: tuple[Format, ...] = LIST_FORMATS) -> Format:
    """Return the requested format, or the first one offered by default.

    Raises InvalidInput for an unknown ?format=.
    """
    response_format = _find_format(query, formats)
    if not query.flag("bom"):
        return response_format
    if response_format is not CSV:
        raise InvalidInput("bom=1 is for CSV in Excel; add format=csv")
    return CSV_WITH_MARK


def _find_format(query: Query, formats: tuple[Format, ...]) -> Format:
    name = query.text("format")
    if name is None:
        best = request.accept_mimetypes.best_match([each.media_type for each in formats], default=formats[0].media_type)
        return next(each for each in formats if each.media_type == best)
    for each in formats:
        if each.name == name:
            return each
    raise InvalidInput(f"format {name[:60]!r} is unknown here; use one of {', '.join(each.name for each in formats)}")


def list_response(
    response_format: Format, value: Any, table: Callable[[], Table], as_text: Callable[[], str] | None = None
) -> Response:
    """Return a list in a format: `value` as JSON, else `table`, or as text `as_text`, if given."""
    if response_format is JSON:
        response = responses.json_response(value)
    elif response_format is TEXT:
        response = text_response(response_format, as_text() if as_text else table_text(table()))
    elif response_format.name == CSV.name:
        response = text_response(response_format, "".join(as_csv(table(), response_format.mark)))
    elif response_format is LINES:
        response = text_response(response_format, as_lines(table()))
    else:
        response = text_response(response_format, as_markdown(table()))
    return response


def stream_response(
    tracker: Tracker,
    response_format: Format,
    pieces: Callable[[], Iterator[str]],
    table: Callable[[], Table],
    name: str,
) -> Response:
    """Return a list that is too long for memory, written to a file from which the server sends it.

    `pieces` yields the JSON; `table` has lazily created records. Raises OSError.
    """
    streams: dict[str, Callable[[], Iterator[str]]] = {
        JSON.name: lambda: map(escape_json, pieces()),
        TEXT.name: lambda: stream_text(table()),
        CSV.name: lambda: as_csv(table(), response_format.mark),
        LINES.name: lambda: stream_lines(table()),
        MARKDOWN.name: lambda: stream_markdown(table()),
    }
    file = archive.collect_lines(tracker, streams[response_format.name])
    return responses.generated_file_response(file, name=name, content_type=response_format.media_type, is_inline=True)


def text_response(response_format: Format, content: str) -> Response:
    """Return a response in a format other than JSON, as UTF-8 text."""
    return Response(content, mimetype=response_format.media_type)
