"""Block structure of Markdown, for notes and Markdown artifacts, as HTML; the text within blocks is up to `inline`.

Safe by construction: the output consists of the tags written here and of escaped text; HTML in the source is text. The
time is proportional to the source: each line is examined once for each container it is in, at most MAX_DEPTH times.

Supported are headings, paragraphs, lists (also of tasks), quotes, fenced code blocks, tables, rules, emphasis, code,
links, and images of this server. The rest of CommonMark is shown as written.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from markupsafe import Markup, escape

from .inline import Links, render_inline

log = logging.getLogger(__name__)

#: The deepest nesting of containers; deeper ones are text.
MAX_DEPTH = 8
#: The most characters of a source, about 100 ms of work. The rest is left out, with a note that says so.
MAX_CHARACTERS = 100_000
#: The most columns of a table; a line with more is not a row.
_MAX_COLUMNS = 100

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,}) {0,9}([^\s`]{0,40})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
_RULE = re.compile(r" {0,3}(?:(?:\* {0,3}){3,}|(?:- {0,3}){3,}|(?:_ {0,3}){3,})$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+) {0,9}$")
_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"( {0,3})(?:([-*+])|(\d{1,9})[.)])( {1,4}|$)")
_TASK = re.compile(r"\[([ xX])\] ")
_ALIGN = re.compile(r" {0,9}(:?)-+(:?) {0,9}$")
_CELL = re.compile(r"(?<!\\)\|")


class RenderContext(NamedTuple):
    """The context of Markdown on a page: the level of its top headings, 1 to 6, and the resolution of its links."""

    level: int
    links: Links = Links()


@lru_cache(maxsize=16)  # a page that is open during a job shows the same note every few seconds
def render_markdown(source: str, context: RenderContext) -> Markup:
    """Render up to MAX_CHARACTERS of `source` as HTML.

    Never raises: a bug in this module is logged, and the source is shown as plain text.
    """
    text = source[:MAX_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n")
    try:
        parts = list(_Blocks(text.expandtabs(4).split("\n"), context.links, _Levels(context.level)).render(0))
    except Exception:
        log.exception("Markdown that cannot be rendered is shown as plain text: %s", ascii(text[:200]))
        parts = [f'<pre tabindex="0"><code>{escape(text)}</code></pre>\n']
    if len(source) > MAX_CHARACTERS:
        parts.append(f"<p><em>The first {MAX_CHARACTERS:,} of {len(source):,} characters.</em></p>\n")
    return Markup("".join(parts))


class _Levels:
    """The levels of a text's headings, from `first` on, and never more than one below the previous heading.

    A note that begins with `##` would otherwise skip a level, which confuses people who navigate the page by its
    headings.
    """

    def __init__(self, first: int) -> None:
        self._first, self._last = first, first - 1

    def of(self, number: int) -> int:
        """Return the level of the next heading, which has `number` times `#` in Markdown."""
        self._last = min(6, self._first + number - 1, self._last + 1)
        return self._last


class _Blocks:
    """Lines of Markdown, and the position of the next one."""

    def __init__(self, lines: list[str], links: Links, levels: _Levels) -> None:
        self._lines, self._links, self._levels = lines, links, levels
        self._position = 0

    def render(self, depth: int, *, is_tight: bool = False) -> Iterator[str]:
        """Yield the HTML of the lines, block by block. `is_tight` is for list items, whose text needs no paragraph."""
        while self._position < len(self._lines):
            line = self._lines[self._position]
            if not line.strip():
                self._position += 1
            elif fence := _FENCE.match(line):
                yield self._render_code(fence)
            elif heading := _HEADING.match(line):
                self._position += 1
                text = line[heading.end() :].strip()
                yield self._render_heading(len(heading[1]), text.rstrip("#").rstrip() if text.endswith(" #") else text)
            elif _RULE.match(line):
                self._position += 1
                yield "<hr>\n"
            elif depth < MAX_DEPTH and _QUOTE.match(line):
                yield f"<blockquote>\n{self._render_inner(self._take_quote(), depth)}</blockquote>\n"
            elif depth < MAX_DEPTH and (item := _ITEM.match(line)):
                yield self._render_list(item, depth)
            elif table := self._render_table():
                yield table
            else:
                yield self._render_paragraph(depth, is_tight=is_tight)

    def _render_inner(self, lines: list[str], depth: int, *, is_tight: bool = False) -> str:
        return "".join(_Blocks(lines, self._links, self._levels).render(depth + 1, is_tight=is_tight))

    def _render_line(self, text: str) -> str:
        return render_inline(text, self._links)

    def _render_heading(self, number: int, text: str) -> str:
        level = self._levels.of(number)
        anchor = f' id="{_slugify(text)}"' if self._links.manual is not None else ""
        return f"<h{level}{anchor}>{self._render_line(text)}</h{level}>\n"

    def _render_code(self, fence: re.Match[str]) -> str:
        """Return a fenced code block, which ends with the lines if it is not closed."""
        self._position += 1
        closing = re.compile(f" {{0,3}}{re.escape(fence[1][0])}{{{len(fence[1])},}} *$")
        start = self._position
        while self._position < len(self._lines) and not closing.match(self._lines[self._position]):
            self._position += 1
        content = "\n".join(self._lines[start : self._position])
        self._position += 1
        return f'<pre tabindex="0"><code>{escape(content)}</code></pre>\n'

    def _take_quote(self) -> list[str]:
        """Return the lines of a quote without their marks. Text that directly follows belongs to its last paragraph."""
        lines: list[str] = []
        while self._position < len(self._lines):
            line = self._lines[self._position]
            mark = _QUOTE.match(line)
            if not mark and (not line.strip() or not lines[-1].strip() or self._begins(line)):
                break
            lines.append(line[mark.end() :] if mark else line)
            self._position += 1
        return lines

    @staticmethod
    def _begins(line: str) -> bool:
        """Return whether a line begins a block other than a paragraph."""
        return any(each.match(line) for each in (_FENCE, _HEADING, _RULE, _QUOTE, _ITEM))

    def _render_list(self, first: re.Match[str], depth: int) -> str:
        items: list[list[str]] = []
        is_loose = False
        item: re.Match[str] | None = first
        while item:
            items.append(self._take_item(item))
            blank = self._position
            while self._position < len(self._lines) and not self._lines[self._position].strip():
                self._position += 1
            line = self._lines[self._position] if self._position < len(self._lines) else ""
            item = None if _RULE.match(line) else _ITEM.match(line)
            if item and (bool(item[3]), item[2]) != (bool(first[3]), first[2]):
                item = None  # a different list
            is_loose = is_loose or any(not each.strip() for each in items[-1]) or bool(item and self._position > blank)
        list_items = []
        for lines in items:
            task = _TASK.match(lines[0])
            if task:
                lines[0] = ("☐ " if task[1] == " " else "☑ ") + lines[0][task.end() :]
            inner = self._render_inner(lines, depth, is_tight=not is_loose).rstrip("\n")
            kind = ' class="task"' if task else ""
            list_items.append(f"<li{kind}>{inner}</li>\n")
        if first[3] is None:
            return f"<ul>\n{''.join(list_items)}</ul>\n"
        start = "" if int(first[3]) == 1 else f' start="{int(first[3])}"'
        return f"<ol{start}>\n{''.join(list_items)}</ol>\n"

    def _take_item(self, mark: re.Match[str]) -> list[str]:
        """Return a list item's lines: the one with the mark, those indented as far, and text that directly follows."""
        indent = mark.end() if mark[4] else mark.end() + 1
        lines = [self._lines[self._position][mark.end() :]]
        self._position += 1
        while self._position < len(self._lines):
            line = self._lines[self._position]
            if line.strip():
                is_inside = len(line) - len(line.lstrip(" ")) >= indent
                if not is_inside and (not lines[-1].strip() or self._begins(line)):
                    break
                lines.append(line[indent:] if is_inside else line.lstrip(" "))
            else:
                lines.append("")
            self._position += 1
        while len(lines) > 1 and not lines[-1].strip():
            lines.pop()
            self._position -= 1
        return lines

    def _render_table(self) -> str | None:
        """Return a table if the next line is its head and the one after it a delimiter row, else None."""
        if self._position + 1 >= len(self._lines) or "|" not in self._lines[self._position]:
            return None
        alignments = [_ALIGN.match(cell) for cell in _split_cells(self._lines[self._position + 1])]
        head = _split_cells(self._lines[self._position])
        if len(head) != len(alignments) or len(head) > _MAX_COLUMNS or not all(alignments):
            return None
        classes = [' class="number"' if each and each[2] and not each[1] else "" for each in alignments]
        self._position += 2
        rows = [self._render_row("th", head, classes)]
        while self._position < len(self._lines):
            line = self._lines[self._position]
            if "|" not in line or self._begins(line):
                break
            # Never more cells than the line has: a short row stays short, so no small source makes a large page.
            rows.append(self._render_row("td", _split_cells(line)[: len(head)], classes))
            self._position += 1
        body = f"<tbody>\n{''.join(rows[1:])}</tbody>\n" if len(rows) > 1 else ""
        table = f"<table>\n<thead>\n{rows[0]}</thead>\n{body}</table>"
        return f'<div class="scroll" tabindex="0" role="region" aria-label="Table">\n{table}\n</div>\n'

    def _render_row(self, tag: str, cells: list[str], classes: list[str]) -> str:
        texts = (self._render_line(cell.strip().replace("\\|", "|")) for cell in cells)
        row_cells = "".join(f"<{tag}{kind}>{text}</{tag}>" for text, kind in zip(texts, classes, strict=False))
        return f"<tr>{row_cells}</tr>\n"

    def _render_paragraph(self, depth: int, *, is_tight: bool) -> str:
        lines = [self._lines[self._position]]
        self._position += 1
        while self._position < len(self._lines):
            line = self._lines[self._position]
            if not line.strip():
                break
            if underline := _UNDERLINE.match(line):
                self._position += 1
                return self._render_heading(1 if underline[1][0] == "=" else 2, "\n".join(map(str.strip, lines)))
            # Within text, only the number 1 begins a list: "in\n2024. that was" is a sentence.
            item = _ITEM.match(line)
            is_text = depth >= MAX_DEPTH and (item or _QUOTE.match(line))
            if not is_text and self._begins(line) and not (item and item[3] and int(item[3]) != 1):
                break
            lines.append(line)
            self._position += 1
        text = self._render_line("\n".join(line.lstrip(" ") for line in lines).rstrip(" "))
        return f"{text}\n" if is_tight else f"<p>{text}</p>\n"


def _slugify(heading: str) -> str:
    """Return a heading's anchor as GitHub builds it, so that a link in the manual works there and here."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _split_cells(line: str) -> list[str]:
    line = line.strip()
    cells = _CELL.split(line.removeprefix("|"), maxsplit=_MAX_COLUMNS + 1)
    return cells[:-1] if len(cells) > 1 and not cells[-1].strip() else cells
