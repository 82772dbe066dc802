"""Previews of artifacts, from their names and first bytes. Pure functions: nothing here reads a file.

A preview is text, a table, an image by its URL, or Markdown. Uploaded content is escaped when it is shown, and never
more than HEAD_BYTES of it are read.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from markupsafe import Markup

from .... import strict_json
from ....text.safe import truncate
from ...markdown.blocks import RenderContext, render_markdown

#: The most bytes that are read of a file, from its beginning or its end.
HEAD_BYTES = 64_000
#: The most rows and columns of a table, and characters of a cell.
MAX_ROWS, MAX_COLUMNS, _MAX_CELL = 200, 50, 300
#: JSON with more levels is shown as written: each level is indented, so a little text would make a large page.
_MAX_DEPTH = 12
_HEX_BYTES, _HEX_LINE = 256, 16

#: The first bytes of images. The bytes determine the type, whatever the name.
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
SVG = "image/svg+xml"
#: The number of bytes that `image_type` examines.
MAGIC_BYTES = 4096

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CONTROL_BYTES = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]{0,40}[ -/]{0,9}[@-~]|\][^\x07\x1b]{0,400}(?:\x07|\x1b\\))")
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_NUMBER = re.compile(r"[-+]?(?:\d{1,30}\.?\d{0,30}|\.\d{1,30})(?:[eE][-+]?\d{1,5})?\Z|nan\Z|[-+]?inf\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """Rows of text below a head. `numbers`: for each column, whether all of it is numbers."""

    head: list[str]
    rows: list[list[str]]
    numbers: list[bool]


@dataclass(frozen=True)
class Preview:
    """A preview: `kind` is one of image, table, text, markdown, binary, empty. `notes` say which part of it is shown.

    `text` is the content of a text or binary file, and SVG for an image that must not be shown as a document.
    """

    kind: str
    text: str = ""
    table: Table | None = None
    html: Markup = Markup("")
    notes: tuple[str, ...] = ()


def image_type(name: str, head: bytes) -> str | None:
    """Return the type of an image that browsers show as nothing else, by its first bytes, or None.

    SVG is recognized by its name, too: it is text and may contain scripts, so it may only be shown in an <img>.
    """
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    start = head[:MAGIC_BYTES].removeprefix(codecs.BOM_UTF8).lstrip()
    return SVG if name.lower().endswith(".svg") and start.startswith(b"<") and b"<svg" in start else None


def preview_of(
    name: str, content: bytes, *, is_start: bool = True, is_end: bool = True, context: RenderContext
) -> Preview:
    """Preview an artifact. `content` is its start, its end or all of it; `context` is that of Markdown."""
    if not content:
        return Preview("empty")
    media_type = image_type(name, content) if is_start else None
    if media_type:
        return Preview("image", SVG if media_type == SVG else "")
    text = _text_of(content, is_start=is_start, is_end=is_end)
    if text is None:
        return Preview("binary", _format_hex(content[:_HEX_BYTES]))
    extension = name.rpartition(".")[2].lower()
    if is_start and extension in ("md", "markdown"):
        return Preview("markdown", html=render_markdown(text, context))
    read_table = _TABLE_READERS.get(extension)
    table = read_table(text, is_end) if read_table and is_start else None
    return table or Preview("text", _escape_lines(text))


def _text_of(content: bytes, *, is_start: bool, is_end: bool) -> str | None:
    """Decode `content` as text, or return None if it isn't. A character truncated at either end is left out."""
    encoding = "utf-8"
    for bom, bom_encoding in _BOMS if is_start else ():
        if content.startswith(bom):
            content, encoding = content[len(bom) :], bom_encoding
    if not is_start:
        content = content.lstrip(bytes(range(0x80, 0xC0)))
    if encoding == "utf-8" and b"\x00" in content:
        return None
    try:
        return codecs.getincrementaldecoder(encoding)().decode(content, final=is_end)
    except UnicodeDecodeError:
        # A legacy encoding, or not text: then at least one byte in a hundred is a control character.
        control_count = len(_CONTROL_BYTES.findall(content))
        return content.decode("latin-1") if encoding == "utf-8" and control_count * 100 < len(content) else None


def _escape_lines(text: str) -> str:
    """Return text as a terminal would show it: without colours, with the last state of lines that were overwritten."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in _TERMINAL.sub("", text).split("\n"))
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), "\n".join(lines))


def _format_hex(content: bytes) -> str:
    """Format bytes as hexadecimal numbers, with printable ASCII next to them."""
    lines = []
    for at in range(0, len(content), _HEX_LINE):
        line = content[at : at + _HEX_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        lines.append(f"{at:08x}  {line.hex(' '):<{3 * _HEX_LINE}} {text}")
    return "\n".join(lines)


# -- tables


def _preview_csv(text: str, is_end: bool, delimiter: str | None = None) -> Preview | None:
    first = text.partition("\n")[0]
    separator = delimiter or max(",;\t|", key=first.count)
    try:
        rows = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=separator), MAX_ROWS + 2))
    except csv.Error:
        return None
    if not is_end and len(rows) < MAX_ROWS + 2:
        rows = rows[:-1]  # it may be truncated
    rows = [row for row in rows if row]
    if not rows or max(map(len, rows)) < 2:
        return None
    return _preview_table(rows[0], rows[1:], is_end)


def _preview_tsv(text: str, is_end: bool) -> Preview | None:
    return _preview_csv(text, is_end, "\t")


def _preview_json(text: str, is_end: bool) -> Preview | None:
    value = _load_json(text) if is_end else None
    if value is None:
        return None
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return _preview_records(value, is_end)
    if isinstance(value, dict) and not any(isinstance(each, (dict, list)) for each in value.values()):
        return _preview_table(["key", "value"], [[key, _format_cell(each)] for key, each in value.items()], is_end)
    return Preview("text", _escape_lines(strict_json.dumps_indented(value)))


def _preview_json_lines(text: str, is_end: bool) -> Preview | None:
    lines = [line for line in text.split("\n") if line.strip()]
    records = [_load_json(line) for line in (lines if is_end else lines[:-1])[: MAX_ROWS + 1]]
    return _preview_records(records, is_end) if records and all(isinstance(each, dict) for each in records) else None


_TABLE_READERS: dict[str, Callable[[str, bool], Preview | None]] = {
    **{"csv": _preview_csv, "tsv": _preview_tsv, "tab": _preview_tsv},
    **{"json": _preview_json, "jsonl": _preview_json_lines, "ndjson": _preview_json_lines},
}


def _load_json(text: str) -> Any:
    """Return the JSON value in a text, or None if there is none or it has too many levels to be shown."""
    try:
        return strict_json.loads(text.encode("utf-8", "surrogatepass"), max_depth=_MAX_DEPTH)
    except strict_json.NotJson:
        return None


def _preview_records(records: Sequence[dict[str, Any]], is_end: bool) -> Preview:
    head = list(dict.fromkeys(key for record in records[: MAX_ROWS + 1] for key in record))
    columns = head[:MAX_COLUMNS]
    rows = [[_format_cell(record[key]) if key in record else "" for key in columns] for record in records]
    return _preview_table(head, rows, is_end)


def _format_cell(value: Any) -> str:
    return value if isinstance(value, str) else strict_json.dumps(value)


def _preview_table(head: Sequence[str], rows: Sequence[Sequence[str]], is_end: bool) -> Preview:
    """Return a preview of the first rows and columns of a table."""
    texts = [[_escape_cell(cell) for cell in row[:MAX_COLUMNS]] for row in rows[:MAX_ROWS]]
    width = min(MAX_COLUMNS, max(map(len, [head, *rows])))
    notes = []
    if len(rows) > MAX_ROWS or not is_end:
        notes.append(f"the first {len(texts):,} rows")
    if len(head) > MAX_COLUMNS:
        notes.append(f"the first {MAX_COLUMNS} of {len(head):,} columns")
    names = [_escape_cell(cell) for cell in head[:MAX_COLUMNS]]
    numbers = [_are_numbers(row[index] for row in texts if index < len(row)) for index in range(width)]
    padded_rows = [row + [""] * (width - len(row)) for row in texts]
    return Preview("table", table=Table(names + [""] * (width - len(names)), padded_rows, numbers), notes=tuple(notes))


def _escape_cell(cell: str) -> str:
    return truncate(_escape_lines(cell), _MAX_CELL)


def _are_numbers(cells: Iterable[str]) -> bool:
    present = [cell.strip() for cell in cells if cell.strip()]
    return bool(present) and all(map(_NUMBER.match, present))
