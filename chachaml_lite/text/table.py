"""Tables of records, formatted as aligned text, CSV, NDJSON or Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from .. import strict_json
from ..tracking.query.conditions import number_of
from ..tracking.series.summary import SPELLED
from .format import format_number
from .gfm import code, format_row
from .safe import cells, escape_json, pad, printable, truncate

#: The width of an aligned table in terminal columns: 80 would omit a run's metrics, and 120 exceeds half a screen. Only
#: ids, which users paste, may make it wider.
WIDTH = 100
_GAP = "  "
#: The number of texts of a streamed column whose formatted cells are cached.
_REPEATED = 256

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "::")
# After a character that some spreadsheets take for the end of a cell, even within quotes.
_INNER_FORMULA = re.compile(r"([;|\t\r\n] *)(?=[-=+@＝＋－＠]|::)")  # noqa: RUF001
_QUOTED = re.compile(r'[",;|\t\r\n]')
_CONTROL = re.compile(
    "\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


@dataclass(frozen=True)
class Column:
    """A column: its value in a record (None for an empty cell), and its format for people."""

    name: str
    get: Callable[[Any], Any]
    #: The usefulness for people; 0 is the highest, and such columns are always shown. None: only for programs.
    rank: int | None = 0
    #: The heading for people; with `is_key` it is a user's text.
    heading: str = ""
    is_key: bool = False
    #: Whether the cells are our own words, or otherwise harmless.
    is_ours: bool = False
    show: Callable[[Any], str] = format_number
    #: The maximal width in terminal columns; None: never truncated, because users paste it.
    most: int | None = 24
    #: Whether the heading is an id, and so never truncated.
    whole_heading: bool = False
    #: Whether all cells are numbers, which a streamed table must know before it has seen them.
    is_number: bool = False
    #: The width of the widest cell, for streamed tables.
    width: int = 0

    def with_rank(self, rank: int | None) -> Column:
        """Return the column with another usefulness."""
        return replace(self, rank=rank)


@dataclass(frozen=True)
class Table:
    """Columns and records (JSON values); `footer` has lines for people."""

    columns: Sequence[Column]
    records: Iterable[Any]
    footer: Sequence[str] = ()


def stream_lines(table: Table) -> Iterator[str]:
    """Yield NDJSON: each record as one line."""
    for record in table.records:
        yield escape_json(strict_json.dumps(record)) + "\n"


def as_lines(table: Table) -> str:
    """Return NDJSON as one text."""
    return "".join(stream_lines(table))


# -- CSV


def as_csv(table: Table, mark: str = "") -> Iterator[str]:
    """Yield CSV (RFC 4180, CRLF) line by line, preceded by `mark`."""
    yield mark + ",".join(_csv_text(column.name) for column in table.columns) + "\r\n"
    for record in table.records:
        yield ",".join(_csv_cell(column.get(record)) for column in table.columns) + "\r\n"


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    return _csv_text(value if isinstance(value, str) else strict_json.dumps(value))


def _csv_text(text: str) -> str:
    """Format a text cell such that it is no formula, whatever the spreadsheet's separator is, with controls escaped.

    A text that is a number stays unchanged, including negative ones and "-Infinity".
    """
    if number_of(text) is None:
        if text.startswith(_FORMULA):
            text = "'" + text
        text = _INNER_FORMULA.sub(r"\1'", text)
    text = _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


# -- Markdown


def stream_markdown(table: Table) -> Iterator[str]:
    """Yield the rows of a Markdown table with all columns."""
    columns = [column for column in table.columns if column.rank is not None]
    yield format_row(column.heading for column in columns) + "\n"
    yield format_row("---:" if column.is_number else "---" for column in columns) + "\n"
    for record in table.records:
        yield format_row(_markdown_cell(column, column.get(record)) for column in columns) + "\n"


def as_markdown(table: Table) -> str:
    """Return a Markdown table for GitHub, with text that can't break out of its cells."""
    columns = [column for column in table.columns if column.rank is not None]
    records = list(table.records)
    values = [[column.get(record) for record in records] for column in columns]
    places = [at for at, column in enumerate(columns) if column.rank == 0 or any(v is not None for v in values[at])]
    lines = [
        format_row(code(columns[at].heading) if columns[at].is_key else columns[at].heading for at in places),
        format_row("---:" if _all_numbers(values[at]) else "---" for at in places),
    ]
    for number in range(len(records)):
        lines.append(format_row(_markdown_cell(columns[at], values[at][number]) for at in places))
    if table.footer:
        lines += ["", *map(printable, table.footer)]
    return "\n".join(lines) + "\n"


def _markdown_cell(column: Column, value: Any) -> str:
    if value is None:
        return ""
    text = column.show(value)
    return text if _is_number(value) or column.is_ours else code(text)


# -- a terminal


def as_text(table: Table, width: int = WIDTH) -> str:
    """Return an aligned table of the most useful columns that fit into `width`, which ids may exceed."""
    records = list(table.records)
    if not records:
        return "".join(f"{line}\n" for line in table.footer or ["nothing here"])
    candidates = []
    for column in sorted((c for c in table.columns if c.rank is not None), key=lambda c: c.rank or 0):
        values = [column.get(record) for record in records]
        if column.rank == 0 or any(value is not None for value in values):
            candidates.append(_ColumnLayout.from_values(column, values))
    visible: list[_ColumnLayout] = []
    for layout in candidates:
        if layout.column.rank == 0 or sum(other.width + len(_GAP) for other in visible) + layout.width <= width:
            visible.append(layout)
    order = {id(column): at for at, column in enumerate(table.columns)}
    visible.sort(key=lambda layout: order[id(layout.column)])
    lines = [_GAP.join(layout.line(number) for layout in visible).rstrip() for number in range(-1, len(records))]
    omitted = [layout.column.name for layout in candidates if layout not in visible]
    notes = [*table.footer]
    if omitted:
        notes.append(f"not shown: {', '.join(map(printable, omitted))}")
    if notes:
        lines += ["", *(truncate(note, width) for note in notes)]
    return "\n".join(lines) + "\n"


def stream_text(table: Table) -> Iterator[str]:
    """Yield the rows of an aligned table with all columns, whose widths are given."""
    columns = [column for column in table.columns if column.rank is not None]
    headings = [printable(column.heading) for column in columns]
    widths = [max(cells(heading), column.width) for heading, column in zip(headings, columns, strict=True)]
    parts = zip(headings, widths, columns, strict=True)
    yield _GAP.join([pad(text, width, right=column.is_number) for text, width, column in parts]).rstrip() + "\n"
    makers = [_cell_padder(column, width) for column, width in zip(columns, widths, strict=True)]
    for record in table.records:
        yield _GAP.join([make(record) for make in makers]).rstrip() + "\n"


def _cell_padder(column: Column, width: int) -> Callable[[Any], str]:
    """Return a function that formats a column's cell of a record, padded to `width`."""
    cell, right = _cell_formatter(column), column.is_number
    if column.is_ours:  # ASCII: one terminal column for each character
        return (lambda record: cell(record).rjust(width)) if right else (lambda record: cell(record).ljust(width))
    fill = lru_cache(maxsize=_REPEATED)(lambda text: pad(text, width, right=right))
    return lambda record: fill(cell(record))


def _cell_formatter(column: Column) -> Callable[[Any], str]:
    """Return a function that formats a column's cell of a record, truncated to the column's width."""
    get, show, most = column.get, column.show, column.most

    def escape(text: str) -> str:
        return printable(text) if most is None else truncate(printable(text), most)

    if not column.is_ours:
        # A metric's name may occur in a million rows.
        escape = lru_cache(maxsize=_REPEATED)(escape)

    def make(record: Any) -> str:
        value = get(record)
        if value is None:
            return ""
        text = show(value)
        if column.is_ours and (most is None or len(text) <= most):
            return text
        return escape(text)

    return make


@dataclass(frozen=True, eq=False)
class _ColumnLayout:
    """The layout of a column: its formatted cells, and its width."""

    column: Column
    heading: str
    texts: list[str]
    width: int
    right: bool

    @classmethod
    def from_values(cls, column: Column, values: list[Any]) -> _ColumnLayout:
        most = column.most
        texts = ["" if value is None else printable(column.show(value)) for value in values]
        heading = printable(column.heading)
        if most is not None:
            texts = [truncate(text, most) for text in texts]
            heading = heading if column.whole_heading else truncate(heading, most)
        width = max(map(cells, (heading, *texts)))
        return cls(column, heading, texts, width, _all_numbers(values))

    def line(self, number: int) -> str:
        """Return the padded cell of a row; -1 is the heading."""
        return pad(self.heading if number < 0 else self.texts[number], self.width, right=self.right)


def _all_numbers(values: Iterable[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(map(_is_number, present))


def _is_number(value: Any) -> bool:
    return (isinstance(value, (int, float)) and not isinstance(value, bool)) or (
        isinstance(value, str) and value in SPELLED
    )
