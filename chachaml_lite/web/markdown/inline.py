"""Inline Markdown: emphasis, code, links, images. It is rendered in one pass, and only escaped text is output.

Opening marks are put on a stack until their closing mark comes; those that are never closed are text. `Links` decides
where a link may lead.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, unquote

from markupsafe import escape

#: The most characters of a link's target. It also limits the search for the target's end, which keeps the time linear.
_MAX_TARGET = 2000

_TOKEN = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])|(?P<ticks>`+)|(?P<mark>\*+|_+|~+)|(?P<image>!\[)|(?P<open>\[)|(?P<close>\])"
    r"|(?P<line>(?<! ) {2,}\n|\\?\n)|<(?P<angle>(?:https?://|mailto:)[^\s<>\"\\]{1,2000})>|(?P<bare>\bhttps?://[^\s<>\"\\`\[\]]{1,2000})",
    re.IGNORECASE,
)
_TICKS = re.compile("`+")
_TARGET = re.compile(
    rf"\( {{0,9}}(?:<([^<>\n]{{0,{_MAX_TARGET}}})>|((?:[^\s()<>]|\([^\s()<>]{{0,200}}\)){{0,{_MAX_TARGET}}}))"
    r"(?: {1,9}(?:\"[^\"\n]{0,300}\"|'[^'\n]{0,300}'))? {0,9}\)"
)
_WEB_URL = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20\x7f\"'<>\\]+\Z", re.IGNORECASE)
_LOCAL_URL = re.compile(r"(?:/(?!/)|#)[^\s\x00-\x20\x7f\"'<>\\]*\Z")
_MANUAL_PAGE = re.compile(r"([a-z-]+)\.md((?:#[\w-]+)?)\Z")
_NAME = re.compile(r"[^/:?#\\\x00-\x1f\x7f][^:?#\\\x00-\x1f\x7f]*\Z")
_TAGS = {"*": "em", "_": "em", "**": "strong", "__": "strong", "~": "del", "~~": "del"}
#: Characters that end a sentence, not the URL in it.
_PUNCTUATION = ".,:;!?'\"*_~"


@dataclass(frozen=True)
class Links:
    """Resolves the targets of links: the web, this server, and the artifacts of a run, named relative to the text."""

    #: The path that this server's own URLs begin with.
    root: str = ""
    #: The base URLs of artifacts and of images. None: relative links are text.
    artifacts: str | None = None
    images: str | None = None
    #: The folder of artifacts that relative links start from.
    folder: str = ""
    #: The base URL of the manual's pages. None: the text is not a page of the manual.
    manual: str | None = None
    #: Whether line ends are kept, as in a note; else lines are joined, as in a wrapped file.
    keeps_lines: bool = True

    def href(self, target: str) -> str | None:
        """Return the URL of a link's target, or None if it must not be followed."""
        if self.manual is not None and (page := _MANUAL_PAGE.match(target)):
            return self.manual + page[1] + page[2]
        if _WEB_URL.match(target):
            return target
        return (
            self._resolve_local(target) if _LOCAL_URL.match(target) else self._resolve_artifact(self.artifacts, target)
        )

    def src(self, target: str) -> str | None:
        """Return the URL of an image on this server, or None for any other."""
        is_local = target.startswith("/") and _LOCAL_URL.match(target)
        return self._resolve_local(target) if is_local else self._resolve_artifact(self.images, target)

    def _resolve_local(self, target: str) -> str:
        """Return the URL of a path on this server, given with or without --url-prefix, or of an anchor."""
        is_whole = target.startswith(("#", f"{self.root}/"))
        return target if is_whole else self.root + target

    def _resolve_artifact(self, base: str | None, target: str) -> str | None:
        name = unquote(target.removeprefix("./"), errors="replace")
        if base is None or not _NAME.match(name) or {"", ".", ".."} & set(name.split("/")):
            return None
        place = f"{self.folder}/{name}" if self.folder else name
        return base + quote(place, errors="replace")


class _OpenMark(NamedTuple):
    """An opening mark on the stack: its kind, its position in the output and in the source."""

    kind: str
    part: int
    at: int


def render_inline(text: str, links: Links) -> str:
    """Render the text of a block as HTML."""
    return _Text(text, links).render()


@dataclass
class _Text:
    text: str
    links: Links
    parts: list[str] = field(default_factory=list)
    open_marks: list[_OpenMark] = field(default_factory=list)
    #: The number of marks of each kind on the stack.
    counts: dict[str, int] = field(default_factory=dict)
    #: Brackets below this position of the stack can't be links, because they already contain one.
    barrier: int = 0
    #: The positions of runs of backticks, by their length.
    ticks: dict[int, list[int]] = field(default_factory=dict)

    def render(self) -> str:
        for run in _TICKS.finditer(self.text):
            self.ticks.setdefault(len(run[0]), []).append(run.start())
        at = 0
        while token := _TOKEN.search(self.text, at):
            self._add_text(self.text[at : token.start()])
            at = self._process_token(token)
        self._add_text(self.text[at:])
        return "".join(self.parts)

    def _add_text(self, text: str) -> None:
        if text:
            self.parts.append(str(escape(text)))

    def _process_token(self, token: re.Match[str]) -> int:
        """Process a token; return the position after it."""
        kind, text = token.lastgroup, token[0]
        if kind == "escaped":
            self._add_text(token["escaped"])
        elif kind == "ticks":
            return self._render_code(token)
        elif kind == "mark":
            self._process_mark(token)
        elif kind in ("open", "image"):
            self._push(text, token.start())
        elif kind == "close":
            return self._close_bracket(token)
        elif kind == "line":
            hard = self.links.keeps_lines or len(text) > 1
            self.parts.append("<br>\n" if hard else "\n")
        else:
            return self._render_url(token)
        return token.end()

    def _render_code(self, token: re.Match[str]) -> int:
        """Render a code span, from these backticks to the next run of the same length; return the position after it."""
        fences = self.ticks.get(len(token[0]), [])  # empty for the rest of a longer run whose first one is escaped
        after = bisect_left(fences, token.end())
        if after == len(fences):
            self._add_text(token[0])
            return token.end()
        content = self.text[token.end() : fences[after]].replace("\n", " ")
        if content[:1] == content[-1:] == " " and content.strip():
            content = content[1:-1]
        self.parts.append(f"<code>{escape(content)}</code>")
        return fences[after] + len(token[0])

    def _render_url(self, token: re.Match[str]) -> int:
        """Render a bare URL; return the position after it."""
        url, end = token["angle"] or token["bare"], token.end()
        if token["bare"]:
            url = url.rstrip(_PUNCTUATION)
            surplus = url.count(")") - url.count("(")
            while surplus > 0 and url.endswith(")"):
                url = url[:-1].rstrip(_PUNCTUATION)
                surplus -= 1
            end = token.start() + len(url)
        href = None if self._is_in_link() else self.links.href(url)
        if href is None:
            self._add_text(self.text[token.start() : end])
        else:
            self.parts.append(f"{_open_link(href)}{escape(url.removeprefix('mailto:'))}</a>")
        return end

    def _is_in_link(self) -> bool:
        return bool(self.counts.get("["))

    # -- emphasis

    def _process_mark(self, token: re.Match[str]) -> None:
        mark = token[0]
        kinds = [mark] if mark in _TAGS else [mark[:2], mark[0]] if len(mark) == 3 and mark[0] != "~" else []
        before = self.text[token.start() - 1] if token.start() else " "
        after = self.text[token.end()] if token.end() < len(self.text) else " "
        within_word = mark[0] == "_" and before.isalnum() and after.isalnum()
        can_close = bool(kinds) and not before.isspace() and not within_word
        if can_close and all(self.counts.get(kind) for kind in kinds):
            for kind in reversed(kinds) if self._last_opening() == kinds[-1] else kinds:
                self._close(kind)
        elif kinds and not after.isspace() and not within_word:
            for kind in kinds:
                self._push(kind, token.start())
        else:
            self._add_text(mark)

    def _last_opening(self) -> str | None:
        return self.open_marks[-1].kind if self.open_marks else None

    def _push(self, kind: str, at: int) -> None:
        self.open_marks.append(_OpenMark(kind, len(self.parts), at))
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.parts.append(kind)

    def _pop(self) -> _OpenMark:
        opening = self.open_marks.pop()
        self.counts[opening.kind] -= 1
        self.barrier = min(self.barrier, len(self.open_marks))
        return opening

    def _close(self, kind: str) -> None:
        """Close the mark if it is on the stack; marks opened inside it are text."""
        while self.counts.get(kind):
            opening = self._pop()
            if opening.kind == kind:
                self.parts[opening.part] = f"<{_TAGS[kind]}>"
                self.parts.append(f"</{_TAGS[kind]}>")
                return

    # -- links and images

    def _close_bracket(self, token: re.Match[str]) -> int:
        if not self.counts.get("[") and not self.counts.get("!["):
            self._add_text("]")
            return token.end()
        barrier = self.barrier
        while (opening := self._pop()).kind not in ("[", "!["):
            pass  # emphasis opened within the brackets and not closed there is text
        target = _TARGET.match(self.text, token.end())
        target_text = "" if target is None else target[2] if target[1] is None else target[1]
        if (
            target is not None
            and opening.kind == "!["
            and (image := self._render_image(opening, token.start(), target_text))
        ):
            del self.parts[opening.part :]
            self.parts.append(image)
            return target.end()
        href = self.links.href(target_text) if target is not None and opening.kind == "[" else None
        if target is None or href is None or len(self.open_marks) < barrier:
            self._add_text("]")
            return token.end()
        self.parts[opening.part] = _open_link(href)
        self.parts.append("</a>")
        self.barrier = len(self.open_marks)
        return target.end()

    def _render_image(self, opening: _OpenMark, end: int, target_text: str) -> str | None:
        """Render an image, or a link to it if it is elsewhere and not inside a link; return None if it is text."""
        alt = escape(self.text[opening.at + 2 : end])
        src = self.links.src(target_text)
        if src is not None:
            return f'<img src="{escape(src)}" alt="{alt}" loading="lazy">'
        href = None if self._is_in_link() else self.links.href(target_text)
        return None if href is None else f"{_open_link(href)}{alt}</a>"


def _open_link(href: str) -> str:
    return f'<a href="{escape(href)}" rel="noopener noreferrer">'
