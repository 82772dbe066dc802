"""Markdown that GitHub renders, with text of users' in it that stays text.

Such text stands in code spans: in them nothing is emphasis, a link, a mention, an issue's number, HTML or an entity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .safe import printable

_BACKTICKS = re.compile("`+")


def code(text: str) -> str:
    """`text` as a code span in one line; nothing for nothing."""
    text = printable(text)
    if not text:
        return ""
    fence = "`" * (max(map(len, _BACKTICKS.findall(text)), default=0) + 1)
    # One space at each end is taken for part of the fence: needed beside a backtick, and by a text that has its own.
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text.strip() else f"{fence}{text}{fence}"


def row_of(cells: Iterable[str]) -> str:
    """A row of a table. A bar in a cell has to be escaped even in a code span, and is shown as one there."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(heading: Iterable[str], rows: Iterable[Iterable[str]], right: Iterable[int] = ()) -> list[str]:
    """The lines of a table; `right`: the places of the columns that are aligned there."""
    heading = list(heading)
    rule = ["---:" if place in set(right) else "---" for place in range(len(heading))]
    return [row_of(heading), row_of(rule), *map(row_of, rows)]


def quoted_text(text: str, most: int) -> list[str]:
    """Text of several lines, as it stands, in a quoted block; `most` characters of it."""
    text = text if len(text) <= most else text[:most] + " …"
    lines = [printable(line) for line in text.replace("\r\n", "\n").split("\n")]
    fence = "`" * (max(map(len, _BACKTICKS.findall(text)), default=0) + 3)
    return ["> " + line for line in (fence + "text", *lines, fence)]
