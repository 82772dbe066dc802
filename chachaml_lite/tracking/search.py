"""Which runs, in which order, which page of them (the contract, section 3, GET /api/runs)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import strict_json
from ..errors import InvalidInput
from .conditions import Condition
from .names import shown
from .records import STATUSES
from .run import Run
from .tracker import Tracker

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100

_FIELDS = ("start_time", "end_time", "duration_ms", "experiment", "name", "status", "id", "created_by")


@dataclass(frozen=True)
class RunQuery:
    """What is asked of the list of runs; every condition must hold, and names match exactly. Raises InvalidInput."""

    experiment: str | None = None
    status: str | None = None
    name: str | None = None
    created_by: str | None = None
    parent_run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metric: Condition | None = None
    order_by: str | None = None
    #: None: all of them.
    limit: int | None = DEFAULT_LIMIT
    offset: int = 0

    def __post_init__(self) -> None:
        if self.limit is not None and not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidInput(f"limit must be 1 to {MAX_LIMIT}; page through more with offset")
        if self.offset < 0:
            raise InvalidInput("offset must be 0 or more")
        if self.status is not None and self.status not in STATUSES:
            raise InvalidInput(f"status {shown(self.status)} is unknown; it is one of {', '.join(STATUSES)}")
        if self.order_by is not None:
            parse_order(self.order_by)

    @property
    def is_plain(self) -> bool:
        """Whether all runs are asked for, newest first."""
        names = (self.experiment, self.status, self.name, self.created_by, self.parent_run_id)
        conditions = (*names, self.metric, self.order_by)
        return not (self.tags or self.params) and all(condition is None for condition in conditions)


def parse_order(text: str) -> tuple[str, str, bool]:
    """The kind ("field", "metrics" or "params"), the name, and whether descending. Raises InvalidInput."""
    what = text.strip()
    if not what:
        raise InvalidInput("order_by is empty; try order_by=start_time desc, or metrics.accuracy desc")
    parts = what.rsplit(None, 1)
    way = parts[-1].lower() if len(parts) == 2 else ""
    if way in ("asc", "desc"):
        what = parts[0]
    kind, dot, name = what.partition(".")
    if dot and kind in ("metrics", "params") and name:
        return kind, name, way == "desc"
    if what in _FIELDS:
        return "field", what, way == "desc"
    raise InvalidInput(
        f"order_by {shown(text)} is unknown; order by metrics.NAME, params.NAME, or {', '.join(_FIELDS)}"
    )


def find_runs(tracker: Tracker, query: RunQuery) -> tuple[list[Run], int]:
    """The runs on the page that is asked for, in order, and the number of all that match."""
    if query.is_plain and query.limit is not None:
        return tracker.catalog.page(query.offset, query.limit)
    found = [run for run in tracker.catalog.newest(query.experiment) if _matches(run, query)]
    if query.order_by is not None:
        found = _ordered(found, query.order_by)
    end = None if query.limit is None else query.offset + query.limit
    return found[query.offset : end], len(found)


def _matches(run: Run, query: RunQuery) -> bool:
    meta = run.meta
    return (
        (query.experiment is None or meta["experiment"] == query.experiment)
        and (query.status is None or meta["status"] == query.status)
        and (query.name is None or meta.get("name") == query.name)
        and (query.created_by is None or meta.get("created_by") == query.created_by)
        and (query.parent_run_id is None or meta.get("parent_run_id") == query.parent_run_id)
        and (not query.tags or _all_match(meta.get("tags", {}), query.tags))
        and (not query.params or _all_match(run.params, query.params))
        and (query.metric is None or query.metric.holds(run.summary))
    )


def _all_match(logged: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(key in logged and matches(logged[key], text) for key, text in wanted.items())


def matches(value: Any, text: str) -> bool:
    """Whether a logged value is what a query's text means: a string as it stands, a number by its value, else JSON."""
    if isinstance(value, str):
        return value == text
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = _number(text)
        return number is not None and number == value
    return strict_json.dumps(value) == text


def _number(text: str) -> int | float | None:
    """The number in a query's text; an integer is not rounded, for seeds have 64 bits."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return None if "_" in text else kind(text)
    return None


def _ordered(runs: list[Run], order_by: str) -> list[Run]:
    """`runs` ordered; missing and NaN values last in either direction, ties by id, descending (section 3)."""
    kind, name, descending = parse_order(order_by)
    keyed = []
    last = []
    for run in sorted(runs, key=lambda run: run.id, reverse=True):
        key = _order_key(_value_of(run, kind, name))
        if key is None:
            last.append(run)
        else:
            keyed.append((key, run))
    keyed.sort(key=lambda pair: pair[0], reverse=descending)  # stable, also in reverse: ties keep their order
    return [run for _, run in keyed] + last


def _value_of(run: Run, kind: str, name: str) -> Any:
    if kind == "metrics":
        series = run.summary.get(name)
        return None if series is None else series.last
    if kind == "params":
        return run.params.get(name)
    if name == "id":
        return run.id
    if name == "duration_ms":
        end_time = run.meta.get("end_time")
        return None if end_time is None else end_time - run.meta["start_time"]
    return run.meta.get(name)


def _order_key(value: Any) -> tuple[int, Any] | None:
    """What a value is ordered by: numbers before texts; None for what comes last."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 1, value if isinstance(value, str) else strict_json.dumps(value)
    return 0, value
