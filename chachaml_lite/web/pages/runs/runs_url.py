"""The state of a page's list of runs, parsed from its URL: filters, order, columns; and the URLs of related pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from flask import url_for

from ....errors import InvalidInput
from ....tracking import names
from ....tracking.index.catalog import Deleted
from ....tracking.query import conditions, fields, grammar, search
from ....tracking.query.fields import Field, FieldType
from ....tracking.series import direction
from ....tracking.series.summary import number_to_json
from ...query_string import METRIC_CONDITION, Query, parse_ids, parse_metric_condition
from ...urls import with_query
from ..login import local_path
from ..query_box import name_query

#: The filters of a page of runs, besides tag.KEY and param.KEY. `columns` and `ids` may be repeated or contain commas.
FILTERS = ("experiment", "status", "name", "created_by", "parent_run_id")
FIELDS = (
    *FILTERS,
    "deleted",
    "tag",
    "q",
    *METRIC_CONDITION,
    "order_by",
    "columns",
    "spark",
    "limit",
    "offset",
    "ids",
    "children",
    "back",
    "trashed",
)
PREFIXES = ("tag.", "param.")
REPEATABLE = ("columns", "ids")

_SEARCH_FIELDS = {"q", "experiment", "order_by", "limit", "offset"}

#: The default number of runs on a page, and the numbers to choose from.
PAGE_RUNS = 50
PAGE_SIZES = (25, 50, 100, 250, 1000)
#: A column that isn't a single field: all tags.
ALL_TAGS = "tags"
_DEFAULT_FIELD = Field(fields.OWN, "start_time")


@dataclass(frozen=True)
class RunView:
    """The state of a page of runs. `page_experiment`: the experiment in the page's path; None for all experiments."""

    path: str
    page_experiment: str | None = None
    filters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    q: str | None = None
    #: The text as typed, if `q` is the query for a name that was made from it; else None.
    typed_text: str | None = None
    order_by: str | None = None
    #: The columns as in the URL; empty for the defaults.
    columns: tuple[str, ...] = ()
    #: The metric whose sparkline is drawn for each run.
    spark: str | None = None
    limit: int = PAGE_RUNS
    offset: int = 0
    #: Whether the runs are those in the trash.
    deleted: Deleted = "false"
    #: Whether children are folded under their parents: a count at the parent instead of rows of their own.
    is_folded: bool = False
    #: The runs selected from a list, if the page shows only these.
    ids: tuple[str, ...] = ()
    #: The page on which they were selected, if it isn't the list of all runs.
    back: str | None = None
    #: The runs just moved to the trash from this page; links to other pages don't include them.
    trashed_ids: tuple[str, ...] = ()
    #: Further queries that the runs satisfy, such as the brushes of the page's charts.
    extra_queries: tuple[str, ...] = ()
    #: The other fields of the page's URL.
    other_fields: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_request(cls, path: str, page_experiment: str | None = None) -> RunView:
        """Return the state in the request's query string; empty fields, as forms send them, are ignored.

        Raises InvalidInput.
        """
        return cls.from_query(cls.parse_query(page_experiment), path, page_experiment)

    @staticmethod
    def parse_query(
        page_experiment: str | None = None, extra_names: tuple[str, ...] = (), repeatable: tuple[str, ...] = ()
    ) -> Query:
        """Parse the request's query string, on a page that also takes the fields `extra_names`. Raises InvalidInput."""
        field_names = FIELDS if page_experiment is None else tuple(name for name in FIELDS if name != "experiment")
        return Query((*field_names, *extra_names), PREFIXES, (*REPEATABLE, *repeatable))

    @classmethod
    def from_query(
        cls, request_query: Query, path: str, page_experiment: str | None = None, extra_names: tuple[str, ...] = ()
    ) -> RunView:
        """Return the state in a query string. `extra_names`: those of the page's other fields. Raises InvalidInput."""
        tags = request_query.with_prefix("tag.")
        tag = request_query.text("tag")
        if tag:
            key, sign, value = tag.partition("=")
            if not (sign and key.strip()):
                raise InvalidInput(f"tag must be a key and a value, as in author=maria, not {tag[:80]!r}")
            tags[key.strip()] = value.strip()
        ids = tuple(dict.fromkeys(parse_ids(request_query)))
        limit = request_query.integer("limit") if request_query.text("limit") else None
        if limit is None:  # no run that was selected must be overlooked
            limit = max(PAGE_RUNS, min(len(ids), search.MAX_LIMIT))
        spark = request_query.text("spark") or None
        if spark is not None:
            names.check_name("spark: metric", spark)
        q = _query_of(request_query)
        name_search = None if q is None else name_query(q)
        return cls(
            path,
            page_experiment,
            {name: text for name in FILTERS if (text := request_query.text(name))},
            tags,
            request_query.with_prefix("param."),
            name_search or q,
            q if name_search else None,
            request_query.text("order_by") or None,
            tuple(dict.fromkeys(name for text in request_query.texts("columns") for name in _split(text))),
            spark,
            limit,
            (request_query.integer("offset") or 0) if request_query.text("offset") else 0,
            search.parse_deleted(request_query.text("deleted") or "false"),
            search.parse_folding(request_query.text("children") or None),
            ids,
            local_path(back) if (back := request_query.text("back")) else None,
            tuple(filter(None, (request_query.text("trashed") or "").split(","))),
            other_fields=tuple((name, text) for name in extra_names for text in request_query.texts(name) if text),
        )

    def run_query(self, now_ms: int) -> search.RunQuery:
        """Return the query to the store. Raises InvalidInput; BadQuery for a query that can't be parsed."""
        where: tuple[conditions.Condition, ...] = ()
        if self.q is not None:
            where += (grammar.parse_query(self.q, now_ms),)
        if self.ids:
            literals = tuple(conditions.Literal(run_id, None) for run_id in self.ids)
            where += (conditions.Comparison(Field(fields.OWN, "id"), "in", literals),)
        return search.RunQuery(
            **{**self.filters, **({} if self.page_experiment is None else {"experiment": self.page_experiment})},
            tags=self.tags,
            params=self.params,
            where=where,
            order_by=None if self.order_by is None else self.order,
            deleted=self.deleted,
            is_folded=self.hides_children,
            limit=self.limit,
            offset=self.offset,
        )

    @property
    def is_filtered(self) -> bool:
        """Return whether some runs are left out."""
        return bool(self.filters or self.tags or self.params or self.q or self.ids)

    @property
    def hides_children(self) -> bool:
        """Return whether children are left out; they aren't if runs were selected one by one, or in the trash."""
        return self.is_folded and not self.ids and self.deleted == "false"

    # -- order

    @cached_property
    def order(self) -> search.Order:
        """Return the field that the runs are ordered by, and whether descending. Raises InvalidInput."""
        return (_DEFAULT_FIELD, True) if self.order_by is None else search.parse_order(self.order_by)

    def with_order(self, field: Field) -> RunView:
        """Return the first page of these runs ordered by a field, or in reverse if they already are."""
        now, descending = self.order
        descending = not descending if now == field else _greatest_first(field)
        is_default = field == _DEFAULT_FIELD and descending
        return replace(self, order_by=None if is_default else f"{field}{' desc' if descending else ''}", offset=0)

    # -- URLs

    def url(self, **changes: Any) -> str:
        """Return the page's URL with some of its state changed."""
        view = replace(self, **changes)
        return with_query(view.path, view.pairs())

    @property
    def url_after_deletion(self) -> str:
        """Return the URL to open once the runs on this page were moved to the trash: a page that offers Undo."""
        if self.back is None:
            return self.url(deleted="true")
        return f"{self.back}{'&' if '?' in self.back else '?'}trashed={','.join(self.ids)}"

    def url_with(self, **changes: str | tuple[str, ...] | None) -> str:
        """Return the page's URL with some of its other fields changed: present once, several times, or not at all."""
        remaining = tuple(pair for pair in self.other_fields if pair[0] not in changes)
        changed = (
            (name, text)
            for name, texts in changes.items()
            for text in ([texts] if isinstance(texts, str) else texts or ())
            if text
        )
        return self.url(other_fields=(*remaining, *changed))

    def pairs(self, *without: str) -> Iterator[tuple[str, str]]:
        """Yield the fields of the query string, except some; default values are left out."""
        yield from (pair for pair in self._filters() if pair[0] not in without)
        fields = {
            "deleted": "" if self.deleted == "false" else self.deleted,
            "children": "folded" if self.is_folded else "",
            "ids": ",".join(self.ids),
            "back": self.back or "",
            "order_by": self.order_by or "",
            "columns": ",".join(self.columns),
            "spark": self.spark or "",
            "limit": str(self.limit) if self.limit != PAGE_RUNS else "",
            "offset": str(self.offset) if self.offset else "",
        }
        yield from ((name, text) for name, text in fields.items() if text and name not in without)
        yield from (pair for pair in self.other_fields if pair[0] not in without)

    def _filters(self) -> Iterator[tuple[str, str]]:
        yield from self.filters.items()
        yield from ((f"tag.{key}", text) for key, text in self.tags.items())
        yield from ((f"param.{key}", text) for key, text in self.params.items())
        if self.q is not None:
            yield "q", self.q

    @property
    def api_url(self) -> str:
        """Return the URL of the same runs in the API."""
        api_fields = dict(self._filters())
        queries = [*([] if self.q is None else [self.q]), *self.extra_queries]
        if self.page_experiment is not None:
            api_fields["experiment"] = self.page_experiment
        if self.ids:
            queries.append(f"id in ({', '.join(map(fields.quote_text, self.ids))})")
        if queries:
            api_fields["q"] = queries[0] if len(queries) == 1 else " and ".join(f"({each})" for each in queries)
        if self.order_by is not None:
            api_fields["order_by"] = self.order_by
        if self.deleted != "false":
            api_fields["deleted"] = self.deleted
        if self.hides_children:
            api_fields["children"] = "folded"
        api_fields["limit"] = str(self.limit)
        if self.offset:
            api_fields["offset"] = str(self.offset)
        is_search = (
            self.path == url_for("pages.search_page") and "q" in api_fields and api_fields.keys() <= _SEARCH_FIELDS
        )
        return with_query(url_for("compare.search_runs" if is_search else "runs.list_runs"), api_fields.items())

    def chips(self) -> list[tuple[str, str]]:
        """Return the filters that no box of the page shows, each with the URL without it."""
        items = [
            (
                f"{name} = {text}",
                self.url(filters={key: each for key, each in self.filters.items() if key != name}, offset=0),
            )
            for name, text in self.filters.items()
            if name not in ("experiment", "status")
        ]
        for prefix, part in (("tag", self.tags), ("param", self.params)):
            for key, text in part.items():
                rest = {each: other for each, other in part.items() if each != key}
                items.append((f"{prefix} {key} = {text}", self.url(**{f"{prefix}s": rest}, offset=0)))
        return items


def _greatest_first(field: Field) -> bool:
    """Return whether a field is first ordered with its greatest values on top, as most are.

    Exceptions are names, and metrics to be minimized.
    """
    if field.kind == fields.METRICS and direction.less_is_better(field.name):
        return False
    return field.holds not in (FieldType.TEXT, FieldType.ANY)


def _query_of(request_query: Query) -> str | None:
    """Return `q` and the condition on a metric as one query, which the page shows for editing."""
    text, condition = request_query.text("q") or None, parse_metric_condition(request_query)
    if condition is None:
        return text
    (value,) = condition.values
    number = None if value.number is None else number_to_json(value.number)
    metric_query = f"{condition.field} {condition.op} {number}"
    return metric_query if text is None else f"({text}) and {metric_query}"


def _split(text: str) -> Iterator[str]:
    """Yield the columns in a text, separated by commas; commas in quotes don't separate."""
    start, is_quoted, at = 0, False, 0
    while at < len(text):
        if text[at] == "\\" and is_quoted:
            at += 1
        elif text[at] == '"':
            is_quoted = not is_quoted
        elif text[at] == "," and not is_quoted:
            yield from filter(None, [text[start:at].strip()])
            start = at + 1
        at += 1
    yield from filter(None, [text[start:].strip()])
