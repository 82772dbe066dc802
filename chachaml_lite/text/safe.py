"""Users' text for terminals and CI logs: control sequences are escaped, and its width is known.

A tag may contain any character. Escape sequences could move the cursor or change the window's title, bidirectional
overrides could display a different text, and GitHub Actions interprets `::error::x` at the start of a line, or
`##[error]` anywhere in it, as a command.
"""

from __future__ import annotations

import re
import unicodedata

_COMMAND = re.compile(r"##(?=\[)|\A(\s*):(?=:)")
_ACTS_IN_JSON = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|#(?=\\[)"
)


def printable(text: str) -> str:
    """Return `text` on one line, with control characters and CI commands escaped, as in `\\x1b` or `\\u202e`."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_escape, text)) if any(map(_is_control, text)) else text
    return _COMMAND.sub(lambda match: match[1] + "\\x3a" if match[1] is not None else "#\\x23", text)


def _is_control(character: str) -> bool:
    """Return whether a character is a control, a format character, a line end, or unassigned in this Unicode."""
    kind = unicodedata.category(character)
    return kind[0] == "C" or kind in ("Zl", "Zp")


def _escape(character: str) -> str:
    if not _is_control(character):
        return character
    return repr(character)[1:-1] if character < " " else character.encode("unicode_escape").decode()


def escape_json(text: str) -> str:
    """Escape control characters and CI commands in the strings of a JSON text.

    JSON itself escapes C0 controls; this escapes those beyond ASCII, and `##[`, at little cost if there are none.
    """
    if text.isascii() and "#[" not in text and "\x7f" not in text:
        return text
    return _ACTS_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def cells(text: str) -> int:
    """Return the width of printable text in terminal columns: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def truncate(text: str, most: int) -> str:
    """Truncate `text` to `most` columns (1 or more), with a … at the end."""
    if cells(text) <= most:
        return text
    room = most - 1
    characters = []
    for character in text:
        room -= _cells_of(character)
        if room < 0:
            break
        characters.append(character)
    return "".join(characters) + "…"


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Pad `text` with spaces to `width` columns, on the left if it is aligned `right`."""
    space = " " * (width - cells(text))
    return space + text if right else text + space
