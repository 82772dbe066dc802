"""Markdown for GitHub in which users' text stays text.

Users' text is put in code spans, in which there is no emphasis, link, mention, issue number, HTML or entity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .safe import printable

_BACKTICKS = re.compile("`+")


def code(text: str) -> str:
    """Return `text` as a code span on one line; "" for an empty text."""
    text = printable(text)
    if not text:
        return ""
    fence = "`" * (max(map(len, _BACKTICKS.findall(text)), default=0) + 1)
    # A space at each end belongs to the fence: it is needed next to a backtick, and if the text has its own spaces.
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text.strip() else f"{fence}{text}{fence}"


def format_row(cells: Iterable[str]) -> str:
    """Return a row of a table. Bars in cells are escaped, which GitHub requires even in code spans."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(heading: Iterable[str], rows: Iterable[Iterable[str]], right: Iterable[int] = ()) -> list[str]:
    """Return the lines of a table; `right` has the indexes of right-aligned columns."""
    heading = list(heading)
    rule = ["---:" if place in set(right) else "---" for place in range(len(heading))]
    return [format_row(heading), format_row(rule), *map(format_row, rows)]


def quote_block(text: str, most: int) -> list[str]:
    """Return the first `most` characters of a text, verbatim, as the lines of a code block in a quote."""
    text = text if len(text) <= most else text[:most] + " …"
    lines = [printable(line) for line in text.replace("\r\n", "\n").split("\n")]
    fence = "`" * (max(map(len, _BACKTICKS.findall(text)), default=0) + 3)
    return ["> " + line for line in (fence + "text", *lines, fence)]
