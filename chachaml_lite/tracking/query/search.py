"""The search for runs by conditions, with an order and pages (the contract, section 3, GET /api/runs)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...errors import InvalidInput
from ..environment import MISSING
from ..index.catalog import DELETED, Deleted
from ..index.run_entry import Run
from ..index.run_parts import STATUSES
from ..names import quote_name
from ..tracker import Tracker
from .conditions import Condition, Test, Texts, matcher, number_in, text_of
from .fields import EXPECTED, Field, FieldType, parse_field, reader

#: The field that runs are ordered by, and whether the order is descending.
Order = tuple[Field, bool]

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100


@dataclass(frozen=True)
class RunQuery:
    """A query for a list of runs. All conditions must hold, and names match exactly. Raises InvalidInput."""

    experiment: str | None = None
    status: str | None = None
    name: str | None = None
    created_by: str | None = None
    parent_run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    #: Further conditions, such as those of a query in the grammar.
    where: tuple[Condition, ...] = ()
    order_by: str | Order | None = None
    deleted: Deleted = "false"
    #: Whether to leave out runs whose parent matches, too, since a list shows them below it.
    is_folded: bool = False
    #: None means no limit.
    limit: int | None = DEFAULT_LIMIT
    offset: int = 0

    def __post_init__(self) -> None:
        if self.limit is not None and not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidInput(f"limit must be 1 to {MAX_LIMIT}; page through more with offset")
        if self.offset < 0:
            raise InvalidInput("offset must be 0 or more")
        if self.status is not None and self.status not in STATUSES:
            raise InvalidInput(f"status {quote_name(self.status)} is unknown; it is one of {', '.join(STATUSES)}")
        if self.order_by is not None:
            _ = self.order

    @cached_property
    def order(self) -> Order | None:
        """The order of the runs; None means newest first. Raises InvalidInput."""
        return parse_order(self.order_by) if isinstance(self.order_by, str) else self.order_by

    @property
    def is_plain(self) -> bool:
        """Whether this selects all runs, or all of an experiment, newest first."""
        names = (self.status, self.name, self.created_by, self.parent_run_id)
        conditions = (*names, self.order_by)
        return not (self.tags or self.params or self.where or self.is_folded) and all(
            condition is None for condition in conditions
        )


def parse_deleted(text: str) -> Deleted:
    """Parse the choice of runs in the trash: "false", "true" for only these, or "all". Raises InvalidInput."""
    for choice in DELETED:
        if text == choice:
            return choice
    raise InvalidInput(f"deleted must be one of {', '.join(DELETED)}, not {quote_name(text)}")


def parse_folding(text: str | None) -> bool:
    """Return whether children are folded under their parents: for "folded", but not for None. Raises InvalidInput."""
    if text not in (None, "folded"):
        raise InvalidInput(f"children must be folded, not {quote_name(text)}")
    return text is not None


def parse_order(text: str) -> Order:
    """Parse an order such as `metrics.accuracy desc`: the field, and whether it is descending. Raises InvalidInput."""
    name = text.strip()
    if not name:
        raise InvalidInput("order_by is empty; try order_by=start_time desc, or metrics.accuracy desc")
    parts = name.rsplit(None, 1)
    way = parts[-1].lower() if len(parts) == 2 else ""
    try:
        return parse_field(parts[0] if way in ("asc", "desc") else name), way == "desc"
    except InvalidInput as fault:
        raise InvalidInput(f"order_by {quote_name(text)} is unknown; order by {EXPECTED}") from fault


def find_runs(tracker: Tracker, query: RunQuery) -> tuple[list[Run], int]:
    """Return the runs on the requested page, in order, and the total number of matches."""
    if query.is_plain and query.limit is not None:
        return tracker.catalog.page(query.offset, query.limit, query.experiment, query.deleted)
    tests = _tests(query)
    runs = tracker.catalog.newest(query.experiment, query.deleted)
    for test in tests:
        runs = [run for run in runs if test(run)]
    if query.is_folded:
        runs = _without_children(runs)
    if query.order is not None:
        runs = _sort_runs(runs, *query.order)
    end = None if query.limit is None else query.offset + query.limit
    return runs[query.offset : end], len(runs)


def _without_children(runs: list[Run]) -> list[Run]:
    """Return `runs` without those below another one of them; runs whose parents form a circle are kept."""
    ids = {run.id for run in runs}
    below: dict[str, list[str]] = {}
    tops = []
    for run in runs:
        parent = run.meta.get("parent_run_id")
        if parent in ids:
            below.setdefault(parent, []).append(run.id)
        else:
            tops.append(run.id)
    folded_ids: set[str] = set()
    while tops:
        children = below.get(tops.pop(), [])
        folded_ids.update(children)
        tops.extend(children)
    return [run for run in runs if run.id not in folded_ids]


def count_children(tracker: Tracker) -> Counter[str | None]:
    """Return the number of children by parent id, not counting runs in the trash."""
    return Counter(run.meta.get("parent_run_id") for run in tracker.catalog.newest())


def _tests(query: RunQuery) -> list[Test]:
    """Return the tests that a run must pass, in order; those of meta.json, which has been read already, come first."""
    tests = [
        _meta_is(name, value)
        for name in ("status", "name", "created_by", "parent_run_id")
        if (value := getattr(query, name)) is not None
    ]
    if query.tags:
        tests.append(_all_match(lambda run: run.meta.get("tags", {}), query.tags))
    if query.params:
        tests.append(_all_match(lambda run: run.params, query.params))
    texts = Texts()
    return tests + [condition.test(texts) for condition in query.where]


def _meta_is(name: str, expected: str) -> Test:
    return lambda run: run.meta.get(name) == expected


def _all_match(part: Callable[[Run], Mapping[str, Any]], expected: Mapping[str, str]) -> Test:
    matchers = [(key, matcher(text)) for key, text in expected.items()]

    def test(run: Run) -> bool:
        values = part(run)
        return all(key in values and matches(values[key]) for key, matches in matchers)

    return test


def _sort_runs(runs: list[Run], field: Field, descending: bool) -> list[Run]:
    """Return `runs` in order: missing values and NaN last in either direction, ties by id, descending (section 3)."""
    read = reader(field)
    keys_and_runs = []
    last = []
    for run in sorted(runs, key=lambda run: run.id, reverse=True):
        key = _order_key(read(run), field.holds)
        if key is None:
            last.append(run)
        else:
            keys_and_runs.append((key, run))
    keys_and_runs.sort(key=lambda pair: pair[0], reverse=descending)  # stable even if reversed: ties keep their order
    return [run for _, run in keys_and_runs] + last


def _order_key(value: Any, holds: FieldType) -> tuple[int, Any] | None:
    """Return the sort key of a value, with numbers before texts; None for a value that comes last.

    As in a query's comparisons, a param or tag whose text is a number counts as that number.
    """
    if value is None or value is MISSING:
        return None
    number = None if holds is FieldType.TEXT else number_in(value)
    if number is None:
        return 1, text_of(value)
    return None if number != number else (0, number)
