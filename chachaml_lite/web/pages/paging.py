"""Pagination: the part of a list that the URL requests, and the URLs of the adjacent parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ...errors import InvalidInput
from ..query_string import Query
from ..urls import with_query

Item = TypeVar("Item")
#: Items per page.
PAGE_ITEMS = 100


@dataclass(frozen=True)
class Paging:
    """A part of a list of `total` items, starting at `offset`, rendered by the macro `pages` of macros.html."""

    path: str
    offset: int
    total: int

    @classmethod
    def from_request(cls, query: Query, path: str, total: int) -> Paging:
        """Return the part requested by `offset` in the query string. Raises InvalidInput."""
        offset = query.integer("offset") or 0
        if offset < 0:
            raise InvalidInput("offset must be 0 or more")
        return cls(path, offset, total)

    def select(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the items on the page."""
        return items[self.offset : self.offset + PAGE_ITEMS]

    @property
    def last(self) -> int:
        """The position of the page's last item, counted from 1."""
        return min(self.total, self.offset + PAGE_ITEMS)

    @property
    def previous(self) -> str | None:
        """The URL of the previous part, or None."""
        return self._at(max(0, min(self.offset, self.total) - PAGE_ITEMS)) if self.offset else None

    @property
    def next(self) -> str | None:
        """The URL of the next part, or None."""
        return self._at(self.offset + PAGE_ITEMS) if self.offset + PAGE_ITEMS < self.total else None

    def _at(self, offset: int) -> str:
        return with_query(self.path, [("offset", str(offset))] if offset else [])
