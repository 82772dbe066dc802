"""The metrics and params that are columns of a list of runs: by default, and as a filter of names lets them through."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ....errors import InvalidInput
from ....text.columns import rank_keys
from ....tracking.query.fields import METRICS, PARAMS, Field, parse_field
from ....tracking.query.key_filter import KeyTest

KINDS = (METRICS, PARAMS)
#: Columns of each kind unless others are chosen, and of those that a filter leaves.
_MOST, _MOST_FILTERED = 6, 12


@dataclass(frozen=True)
class FilteredColumns:
    """The effect of a filter on a table.

    `matching`: the metrics and params of its runs that match, of `total`; `shown`: the columns of these; `hidden`: the
    columns that were chosen and are left out.
    """

    matching: int
    total: int
    shown: int
    hidden: int


def default_keys(
    records: Sequence[dict[str, Any]], kind: str, keys: Collection[str], test: KeyTest | None
) -> list[str]:
    """Return the metrics or params that tell most of the runs apart, sorted. `keys`: all of that kind."""
    if test is None:
        return sorted(rank_keys(records, kind)[:_MOST])
    matching = set(filter(test, keys))  # a name is tested once, however many runs have it
    kept = [{kind: {key: value for key, value in record[kind].items() if key in matching}} for record in records]
    return sorted(rank_keys(kept, kind)[:_MOST_FILTERED])


def is_by_key(name: str) -> bool:
    """Whether a column is of a metric or a param, by its name in the URL."""
    field = _field(name)
    return field is not None and field.kind in KINDS


def lets_through(test: KeyTest | None, name: str) -> bool:
    """Whether a filter leaves a column, by its name in the URL: any that is neither a metric nor a param."""
    field = _field(name)
    return test is None or field is None or field.kind not in KINDS or test(field.name)


def filter_columns(
    test: KeyTest, keys: dict[str, list[str]], chosen: Sequence[str], shown: Sequence[str]
) -> FilteredColumns:
    """Count what a filter does. `keys`: those that the runs have, by kind; `chosen`: the columns before the filter."""
    return FilteredColumns(
        sum(test(key) for kind in KINDS for key in keys[kind]),
        sum(len(keys[kind]) for kind in KINDS),
        sum(map(is_by_key, shown)),
        sum(not lets_through(test, name) for name in chosen),
    )


def _field(name: str) -> Field | None:
    """The field of a column; None where its name is none, or stands for several."""
    try:
        return parse_field(name)
    except InvalidInput:
        return None
