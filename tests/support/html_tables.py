"""The tables of a page as its readers see them, and the targets of its links."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """A page that was read: `rows` of every table, cell by cell, white space as a browser shows it, and `links`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self._in_cell = False
        self.feed(html)
        self.close()
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True
        elif tag == "a":
            self.links.append(dict(attrs).get("href") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data

    def find_row(self, first: str) -> list[str]:
        """The row whose first cell with a text begins with `first`."""
        return next(row for row in self.rows if next(filter(None, row), "").startswith(first))
