"""A parser of the README and the manual: their pages, sections, tables, and blocks of code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
#: The pages by name: the README as "README", a page of the manual by the name of its file.
PAGES = {"README": README} | {
    path.stem: path.read_text() for path in sorted((ROOT / "chachaml_lite" / "docs").glob("*.md"))
}


class Block(NamedTuple):
    """A fenced block: its page and section ("" before the first heading), its language and content."""

    page: str
    section: str
    language: str
    code: str


def find_blocks(language: str, page: str | None = None, section: str | None = None) -> list[str]:
    """Return the content of the blocks in a language, in order: of a section of a page, of a page, or of all pages."""
    return [
        block.code
        for block in parse_blocks()
        if block.language == language and page in (None, block.page) and section in (None, block.section)
    ]


def parse_blocks() -> list[Block]:
    """Return every fenced block: the README's, then the manual's, page by page."""
    result = []
    for page, text in PAGES.items():
        for part in re.split(r"^## ", text, flags=re.MULTILINE):
            section = "" if part.startswith("# ") else part.partition("\n")[0]
            result += [Block(page, section, *block) for block in re.findall(r"^```(.*)\n([\s\S]*?)^```$", part, re.M)]
    return result


def read_table(page: str, head: str) -> list[list[str]]:
    """Return the rows, as lists of cells, of the only table of a page whose first heading is `head`."""
    (rows,) = re.findall(rf"^\| {head} \|.*\n\|[-|: ]+\|\n((?:\|.*\n?)+)", PAGES[page], re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]
