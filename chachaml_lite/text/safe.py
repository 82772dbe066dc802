"""Text of users on its way to a terminal or a CI log: nothing in it may act there, and its width is known.

A tag may hold any character. Escape sequences would move the cursor or retitle the window, bidirectional overrides
would show another text than the one that is there, and GitHub Actions takes `::error::x` at the start of a line, or
`##[error]` anywhere in one, for a command.
"""

from __future__ import annotations

import re
import unicodedata

_COMMAND = re.compile(r"##(?=\[)|\A(\s*):(?=:)")
_ACTS_IN_JSON = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|#(?=\\[)"
)


def printable(text: str) -> str:
    """Return `text` in one line, with what a terminal or CI would act on escaped, as in `\\x1b` or `\\u202e`."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_escape, text)) if any(map(_acts, text)) else text
    return _COMMAND.sub(lambda found: found[1] + "\\x3a" if found[1] is not None else "#\\x23", text)


def _acts(character: str) -> bool:
    """Tell whether a character is a control, formats its neighbours, ends a line, or isn't known to this Unicode."""
    kind = unicodedata.category(character)
    return kind[0] == "C" or kind in ("Zl", "Zp")


def _escape(character: str) -> str:
    if not _acts(character):
        return character
    return repr(character)[1:-1] if character < " " else character.encode("unicode_escape").decode()


def escape_json(text: str) -> str:
    """Return the same JSON, with what a terminal or CI would act on escaped in its strings.

    JSON itself has C0 controls escaped; beyond ASCII, and in `##[`, the same is done here, where it costs a look.
    """
    if text.isascii() and "#[" not in text and "\x7f" not in text:
        return text
    return _ACTS_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cells(text: str) -> int:
    """Return the columns of a terminal that printable text takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def truncate(text: str, most: int) -> str:
    """Return `text`, cut with a … where it takes more than `most` columns (1 or more)."""
    if cells(text) <= most:
        return text
    room = most - 1
    kept = []
    for character in text:
        room -= _cells_of(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` filled up with spaces to `width` columns, at its end, or at its start if aligned `right`."""
    space = " " * (width - cells(text))
    return space + text if right else text + space
