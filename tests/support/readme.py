"""The README, as tests read it: its sections, and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str, section: str | None = None) -> list[str]:
    """The fenced blocks of a language, in the section of that heading or in all."""
    return [code for title, found, code in all_blocks() if found == language and section in (None, title)]


def all_blocks() -> list[tuple[str, str, str]]:
    """Section, language and content of each fenced block, in their order; "" before the first heading."""
    found = []
    for part in re.split(r"^## ", README, flags=re.MULTILINE):
        title = "" if part.startswith("# ") else part.partition("\n")[0]
        found += [(title, *block) for block in re.findall(r"^```(.+)\n([\s\S]*?)^```$", part, re.MULTILINE)]
    return found
