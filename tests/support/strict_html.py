"""A parser of pages for a grammar that is stricter than HTML: any violation is an error, without recovery.

Attributes are in double quotes, without `<`, `>` or a bare `&`; text has neither `<` nor a bare `&`; every element
except the void ones has an end tag, in the right order; no attribute occurs twice; there are no comments.
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
    """A violation of the grammar; the message contains its place in the page."""


class StrictPage:
    """A parsed page: its elements, each a tag with its attributes, and all of its text."""

    def __init__(self, html: str) -> None:
        """Parse a page. Raises NotStrict."""
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        open_tags: list[str] = []
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
                    open_tags.append(token["open"])
            elif token["close"] and (not open_tags or open_tags.pop() != token["close"]):
                raise NotStrict(f"</{token['close']}> closes nothing at {html[max(0, at - 200) : at + 20]!r}")
            at = token.end()
        if open_tags:
            raise NotStrict(f"never closed: {open_tags}")

    def _open(self, token: re.Match[str]) -> None:
        attributes: dict[str, str] = {}
        for name, value in _ATTRIBUTE.findall(token["attributes"] + ">"):
            if name in attributes:
                raise NotStrict(f"{name} occurs twice in {token[0]!r}")
            attributes[name] = unescape(value)
        self.elements.append((token["open"], attributes))

    def parts(self) -> set[tuple[str, str]]:
        """Return each tag with each of its attributes, and with "" for the tag itself."""
        return {(tag, name) for tag, attributes in self.elements for name in ("", *attributes)}

    def addresses(self) -> set[str]:
        """Return every URL that a browser would load, submit to, or navigate to."""
        names = ("href", "src", "action", "formaction", "srcset", "poster", "data", "xlink:href")
        return {attributes[name] for _, attributes in self.elements for name in names if name in attributes}
