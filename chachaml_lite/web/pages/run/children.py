"""The children of a run as the table on its page: their latest metrics, and the params that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import url_for

from ....text.columns import rank_keys
from ....tracking.index.run_entry import Run
from ....tracking.query import fields
from ....tracking.query.fields import Field
from ....tracking.runs import latest_metrics
from ....tracking.tracker import Tracker
from ..runs.runs_table import RunTable, build_run_table
from ..runs.runs_url import RunView

#: The most metrics, and the most params, in the table.
_MOST_KEYS = 6


def build_children_table(
    tracker: Tracker, run: Run, children: Sequence[Run], total: int, trashed_ids: tuple[str, ...]
) -> RunTable:
    """Return the table of `children`, out of `total`; its heads link to the list of these runs in that order."""
    metrics = [{"metrics": latest_metrics(child)} for child in children]
    params = [{"params": child.params} for child in children]
    child_columns = [
        *(Field(fields.METRICS, key) for key in _list_frequent_keys(metrics, "metrics")),
        *(Field(fields.PARAMS, key) for key in _list_differing_keys(params, "params")),
    ]
    columns = ("status", "start_time", "duration_ms", *map(str, child_columns))
    view = RunView(
        url_for("pages.run_list"),
        filters={"parent_run_id": run.id},
        order_by="start_time",
        columns=columns,
        trashed_ids=trashed_ids,
    )
    return build_run_table(tracker, view, children, total)


def _list_frequent_keys(records: Sequence[dict[str, Any]], kind: str) -> list[str]:
    """Return the keys that at least half of the runs have, sorted; of many, those that differ between most runs."""
    ranked_keys = rank_keys(records, kind)
    frequent = [key for key in ranked_keys if 2 * sum(key in record[kind] for record in records) >= len(records)]
    return sorted(frequent[:_MOST_KEYS])


def _list_differing_keys(records: Sequence[dict[str, Any]], kind: str) -> list[str]:
    """Return the keys whose values differ between the runs that have them, sorted."""
    values: dict[str, list[Any]] = {}
    for record in records:
        for key, value in record[kind].items():
            values.setdefault(key, []).append(value)
    ranked_keys = rank_keys(records, kind)
    return sorted([key for key in ranked_keys if any(value != values[key][0] for value in values[key])][:_MOST_KEYS])
