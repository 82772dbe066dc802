"""A page held against a grammar that is stricter than HTML: what doesn't fit is a fault, nothing is guessed.

Attributes stand in double quotes, without `<`, `>` or a bare `&`; text has neither `<` nor a bare `&`; every element
but the void ones is closed, by the tag that it was opened with; no attribute stands twice; there is no comment.
"""

from __future__ import annotations

import re
from html import unescape

#: Elements that have no end tag.
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
_REFERENCE = r"&(?:#[0-9]+|#x[0-9a-fA-F]+|[a-zA-Z]+);"
_ATTRIBUTE = re.compile(rf'\s+([A-Za-z_][-A-Za-z0-9_:.]*)(?:="((?:[^"<>&]|{_REFERENCE})*)")?(?=[\s/>])')
_TOKEN = re.compile(
    rf"(?P<text>(?:[^<&]|{_REFERENCE})+)"
    rf"|<(?P<open>[A-Za-z][A-Za-z0-9]*)(?P<attributes>(?:{_ATTRIBUTE.pattern})*)\s*(?P<empty>/?)>"
    r"|</(?P<close>[A-Za-z][A-Za-z0-9]*)>"
    r"|(?P<doctype><!doctype html>)"
)


class NotStrict(AssertionError):
    """A page isn't what the grammar says; the text shows where."""


class StrictPage:
    """A page that was read: its elements, each a tag with its attributes, and all of its text."""

    def __init__(self, html: str) -> None:
        """Read a page. Raises NotStrict."""
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        opened: list[str] = []
        at = 0
        while at < len(html):
            token = _TOKEN.match(html, at)
            if token is None or (token["doctype"] and at):
                raise NotStrict(f"no markup at {html[max(0, at - 80) : at]!r} >>> {html[at : at + 200]!r}")
            if token["text"]:
                self.text += unescape(token["text"])
            elif token["open"]:
                self._open(token)
                if not token["empty"] and token["open"] not in _VOID:
                    opened.append(token["open"])
            elif token["close"] and (not opened or opened.pop() != token["close"]):
                raise NotStrict(f"</{token['close']}> closes nothing at {html[max(0, at - 200) : at + 20]!r}")
            at = token.end()
        if opened:
            raise NotStrict(f"never closed: {opened}")

    def _open(self, token: re.Match[str]) -> None:
        attributes: dict[str, str] = {}
        for name, value in _ATTRIBUTE.findall(token["attributes"] + ">"):
            if name in attributes:
                raise NotStrict(f"{name} stands twice in {token[0]!r}")
            attributes[name] = unescape(value)
        self.elements.append((token["open"], attributes))

    def parts(self) -> set[tuple[str, str]]:
        """Each tag with each of its attributes, and with "" for itself."""
        return {(tag, name) for tag, attributes in self.elements for name in ("", *attributes)}

    def addresses(self) -> set[str]:
        """Whatever a browser would load, send to, or go to."""
        names = ("href", "src", "action", "formaction", "srcset", "poster", "data", "xlink:href")
        return {attributes[name] for _, attributes in self.elements for name in names if name in attributes}
