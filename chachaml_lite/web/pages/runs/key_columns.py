"""The metrics and params that are columns of a list of runs: by default, and with a filter of names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ....errors import InvalidInput
from ....text.columns import rank_keys
from ....tracking.query.fields import METRICS, PARAMS, Field, parse_field
from ....tracking.query.key_filter import KeyTest

KINDS = (METRICS, PARAMS)
#: The default number of columns of each kind, and the most of those that match a filter.
_MOST, _MOST_FILTERED = 6, 12


@dataclass(frozen=True)
class FilteredColumns:
    """The effect of a filter on a table.

    `matching_count`: the number of metrics and params of the runs that match, out of `total`; `shown_count`: the number
    of columns for them; `hidden_count`: the number of chosen columns that don't match.
    """

    matching_count: int
    total: int
    shown_count: int
    hidden_count: int


def default_keys(
    records: Sequence[dict[str, Any]], kind: str, keys: Collection[str], test: KeyTest | None
) -> list[str]:
    """Return the metrics or params that differ between most of the runs, sorted. `keys`: all of that kind."""
    if test is None:
        return sorted(rank_keys(records, kind)[:_MOST])
    matching_keys = set(filter(test, keys))  # each name is tested once, however many runs have it
    matching_records = [
        {kind: {key: value for key, value in record[kind].items() if key in matching_keys}} for record in records
    ]
    return sorted(rank_keys(matching_records, kind)[:_MOST_FILTERED])


def is_by_key(name: str) -> bool:
    """Return whether a column, by its name in the URL, is that of a metric or a param."""
    field = _parse_field(name)
    return field is not None and field.kind in KINDS


def passes_filter(test: KeyTest | None, name: str) -> bool:
    """Return whether a column, by its name in the URL, passes a filter: anything but a metric or a param does."""
    field = _parse_field(name)
    return test is None or field is None or field.kind not in KINDS or test(field.name)


def filter_columns(
    test: KeyTest, keys: dict[str, list[str]], chosen_names: Sequence[str], shown_names: Sequence[str]
) -> FilteredColumns:
    """Count a filter's effects. `keys`: those of the runs, by kind; `chosen_names`: the columns before it."""
    return FilteredColumns(
        sum(test(key) for kind in KINDS for key in keys[kind]),
        sum(len(keys[kind]) for kind in KINDS),
        sum(map(is_by_key, shown_names)),
        sum(not passes_filter(test, name) for name in chosen_names),
    )


def _parse_field(name: str) -> Field | None:
    """Return the field of a column, or None if its name isn't one or stands for several."""
    try:
        return parse_field(name)
    except InvalidInput:
        return None
