"""A list as a table: its columns, and the text that it is for a terminal, a spreadsheet, a program or a page."""

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
from .gfm import code, row_of
from .safe import cells, escape_json, pad, printable, truncate

#: Columns of a terminal that an aligned table takes at most: 80 would leave a run's metrics out, and 120 is more than
#: half a screen has. Only an id, which is there to be pasted, may make it wider.
WIDTH = 100
_GAP = "  "
#: Texts of a column that is streamed whose cells are made once.
_REPEATED = 256

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "::")
# Behind what some reader takes for the end of a cell, whatever the quotes say to another.
_INNER_FORMULA = re.compile(r"([;|\t\r\n] *)(?=[-=+@＝＋－＠]|::)")  # noqa: RUF001
_QUOTED = re.compile(r'[",;|\t\r\n]')
_CONTROL = re.compile(
    "\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


@dataclass(frozen=True)
class Column:
    """One column: what a record has there (None: nothing), and how that is shown to people."""

    name: str
    get: Callable[[Any], Any]
    #: How useful it is to people, 0 the most: then it is always there. None: only programs want it.
    rank: int | None = 0
    #: What stands above it for people; `is_key`: that is a user's text.
    heading: str = ""
    is_key: bool = False
    #: What is there is a word of ours, or of no danger.
    is_ours: bool = False
    show: Callable[[Any], str] = format_number
    #: Columns of a terminal at most; None: it is never cut, because people paste it.
    most: int | None = 24
    #: The heading is never cut either: it is an id.
    whole_heading: bool = False
    #: Whether there are numbers alone: a table that is streamed has not seen them when it aligns the first.
    is_number: bool = False
    #: How wide its cells get, in a table that is streamed.
    width: int = 0

    def with_rank(self, rank: int | None) -> Column:
        """The same column, more or less useful."""
        return replace(self, rank=rank)


@dataclass(frozen=True)
class Table:
    """Columns over records, each a JSON value; `footer` is for people, a line each."""

    columns: Sequence[Column]
    records: Iterable[Any]
    footer: Sequence[str] = ()


def stream_lines(table: Table) -> Iterator[str]:
    """NDJSON: a record a line, whole."""
    for record in table.records:
        yield escape_json(strict_json.dumps(record)) + "\n"


def as_lines(table: Table) -> str:
    """NDJSON as one text."""
    return "".join(stream_lines(table))


# -- CSV


def as_csv(table: Table, mark: str = "") -> Iterator[str]:
    """CSV (RFC 4180, CRLF), line by line; `mark` stands before it."""
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
    """A text cell: never a formula, whatever separator the spreadsheet believes in, and nothing a terminal acts on.

    A text that reads as a number is one and stays as it is, a negative one and "-Infinity" too.
    """
    if number_of(text) is None:
        if text.startswith(_FORMULA):
            text = "'" + text
        text = _INNER_FORMULA.sub(r"\1'", text)
    text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


# -- Markdown


def stream_markdown(table: Table) -> Iterator[str]:
    """The same for a table whose columns are all always there, row by row."""
    columns = [column for column in table.columns if column.rank is not None]
    yield row_of(column.heading for column in columns) + "\n"
    yield row_of("---:" if column.is_number else "---" for column in columns) + "\n"
    for record in table.records:
        yield row_of(_markdown_cell(column, column.get(record)) for column in columns) + "\n"


def as_markdown(table: Table) -> str:
    """A table that GitHub renders, and which no text in it can leave."""
    columns = [column for column in table.columns if column.rank is not None]
    records = list(table.records)
    values = [[column.get(record) for record in records] for column in columns]
    kept = [at for at, column in enumerate(columns) if column.rank == 0 or any(v is not None for v in values[at])]
    lines = [
        row_of(code(columns[at].heading) if columns[at].is_key else columns[at].heading for at in kept),
        row_of("---:" if _all_numbers(values[at]) else "---" for at in kept),
    ]
    for number in range(len(records)):
        lines.append(row_of(_markdown_cell(columns[at], values[at][number]) for at in kept))
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
    """A table that is aligned in a terminal, within `width` where the ids let it: the most useful columns that fit."""
    records = list(table.records)
    if not records:
        return "".join(f"{line}\n" for line in table.footer or ["nothing here"])
    candidates = []
    for column in sorted((c for c in table.columns if c.rank is not None), key=lambda c: c.rank or 0):
        values = [column.get(record) for record in records]
        if column.rank == 0 or any(value is not None for value in values):
            candidates.append(_Laid.out(column, values))
    kept: list[_Laid] = []
    for laid in candidates:
        if laid.column.rank == 0 or sum(other.width + len(_GAP) for other in kept) + laid.width <= width:
            kept.append(laid)
    order = {id(column): at for at, column in enumerate(table.columns)}
    kept.sort(key=lambda laid: order[id(laid.column)])
    lines = [_GAP.join(laid.line(number) for laid in kept).rstrip() for number in range(-1, len(records))]
    left_out = [laid.column.name for laid in candidates if laid not in kept]
    notes = [*table.footer]
    if left_out:
        notes.append(f"not shown: {', '.join(map(printable, left_out))}")
    if notes:
        lines += ["", *(truncate(note, width) for note in notes)]
    return "\n".join(lines) + "\n"


def stream_text(table: Table) -> Iterator[str]:
    """A table that is aligned in a terminal, row by row, all columns of it; each says how wide it gets."""
    columns = [column for column in table.columns if column.rank is not None]
    headings = [printable(column.heading) for column in columns]
    widths = [max(cells(heading), column.width) for heading, column in zip(headings, columns, strict=True)]
    laid = zip(headings, widths, columns, strict=True)
    yield _GAP.join([pad(text, width, right=column.is_number) for text, width, column in laid]).rstrip() + "\n"
    makers = [_padded_cell(column, width) for column, width in zip(columns, widths, strict=True)]
    for record in table.records:
        yield _GAP.join([make(record) for make in makers]).rstrip() + "\n"


def _padded_cell(column: Column, width: int) -> Callable[[Any], str]:
    """Return a function that makes a column's cell of a record, filled up to `width`."""
    cell, right = _text_cell(column), column.is_number
    if column.is_ours:  # ASCII, of which each character takes one column of a terminal
        return (lambda record: cell(record).rjust(width)) if right else (lambda record: cell(record).ljust(width))
    fill = lru_cache(maxsize=_REPEATED)(lambda text: pad(text, width, right=right))
    return lambda record: fill(cell(record))


def _text_cell(column: Column) -> Callable[[Any], str]:
    """Return a function that makes a column's cell of a record, cut to the column's width."""
    get, show, most = column.get, column.show, column.most

    def harmless(text: str) -> str:
        return printable(text) if most is None else truncate(printable(text), most)

    if not column.is_ours:
        # A metric's name stands in a million rows.
        harmless = lru_cache(maxsize=_REPEATED)(harmless)

    def make(record: Any) -> str:
        value = get(record)
        if value is None:
            return ""
        text = show(value)
        if column.is_ours and (most is None or len(text) <= most):
            return text
        return harmless(text)

    return make


@dataclass(frozen=True, eq=False)
class _Laid:
    """A column as it is laid out: what each row shows in it, and how wide that is."""

    column: Column
    heading: str
    texts: list[str]
    width: int
    right: bool

    @classmethod
    def out(cls, column: Column, values: list[Any]) -> _Laid:
        most = column.most
        texts = ["" if value is None else printable(column.show(value)) for value in values]
        heading = printable(column.heading)
        if most is not None:
            texts = [truncate(text, most) for text in texts]
            heading = heading if column.whole_heading else truncate(heading, most)
        width = max(map(cells, (heading, *texts)))
        return cls(column, heading, texts, width, _all_numbers(values))

    def line(self, number: int) -> str:
        """The cell of a row; -1 is the heading."""
        return pad(self.heading if number < 0 else self.texts[number], self.width, right=self.right)


def _all_numbers(values: Iterable[Any]) -> bool:
    there = [value for value in values if value is not None]
    return bool(there) and all(map(_is_number, there))


def _is_number(value: Any) -> bool:
    return (isinstance(value, (int, float)) and not isinstance(value, bool)) or (
        isinstance(value, str) and value in SPELLED
    )
