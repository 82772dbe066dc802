"""The metrics and params of a list of runs that a filter of names lets through as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....errors import InvalidInput
from ....tracking.query.fields import METRICS, PARAMS, Field, parse_field
from ....tracking.query.key_filter import KeyTest

_KINDS = (METRICS, PARAMS)


@dataclass(frozen=True)
class FilteredColumns:
    """What a filter does to a table.

    `matching`: the metrics and params of its runs that match, of `total`; `shown`: the columns of these; `hidden`: the
    columns that were chosen and are left out.
    """

    matching: int
    total: int
    shown: int
    hidden: int


def lets_through(test: KeyTest | None, name: str) -> bool:
    """Whether a filter leaves a column, by its name in the URL: any that is neither a metric nor a param."""
    field = _field(name)
    return test is None or field is None or field.kind not in _KINDS or test(field.name)


def filter_columns(
    test: KeyTest, keys: dict[str, list[str]], chosen: Sequence[str], shown: Sequence[str]
) -> FilteredColumns:
    """Count what a filter does. `keys`: those that the runs have, by kind; `chosen`: the columns before the filter."""
    fields = [_field(name) for name in shown]
    return FilteredColumns(
        sum(test(key) for kind in _KINDS for key in keys[kind]),
        sum(len(keys[kind]) for kind in _KINDS),
        sum(field is not None and field.kind in _KINDS for field in fields),
        sum(not lets_through(test, name) for name in chosen),
    )


def _field(name: str) -> Field | None:
    """The field of a column; None where its name is none, or stands for several."""
    try:
        return parse_field(name)
    except InvalidInput:
        return None
