"""The search that experiments, models and versions share: filters, orders and pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from . import filters, responses
from .filters import ReaderOf, Subject
from .requests import Fields

T = TypeVar("T")


def search(
    fields: Fields, items: Iterable[T], subject: Subject, reader_of: ReaderOf[T], default: int, most: int
) -> tuple[Sequence[T], dict[str, Any]]:
    """Return the requested page of the matching items, in their order unless one is given, and the response's token.

    `default` and `most`: items of a page. Raises InvalidInput.
    """
    is_match = filters.combine(filters.parse_filter(fields.maybe_text("filter"), subject), reader_of)
    orders = filters.parse_orders(fields.texts("order_by"), subject)
    matches = filters.sort_items(filter(is_match, items), orders, reader_of)
    page, token = responses.page_of(matches, fields, default, most)
    return page, responses.without_none(next_page_token=token)
