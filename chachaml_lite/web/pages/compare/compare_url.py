"""The state of a comparison page, parsed from its URL, and the URLs of related pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ....errors import InvalidInput
from ....tracking.query.key_filter import KeyTest, parse_key_filter
from ...charts import Style
from ...query_string import Query, is_file, parse_ids
from ...urls import with_query
from ..chart import chart_url

#: The most runs on one page; /api/compare takes more.
MAX_COMPARED_RUNS = 20
_OWN = ("all", "baseline", "best", "param", "metric", "log_param", "log_metric", "hide", "filter", "open", "format")
_REPEATABLE = ("ids", "best", "baseline", "hide", "open")


@dataclass(frozen=True)
class ComparisonView:
    """The state of a comparison page. `ids` is empty if `path` identifies the runs, as that of two versions does."""

    path: str
    ids: tuple[str, ...] = ()
    #: Whether rows that are the same in all runs are shown, too.
    shows_all: bool = False
    #: The run that the others are compared with. None: the first.
    baseline: str | None = None
    #: For metrics with a chosen direction: whether less is better.
    directions: Mapping[str, bool] = field(default_factory=dict)
    #: The fields of the scatter chart.
    param: str | None = None
    metric: str | None = None
    log_param: bool = False
    log_metric: bool = False
    style: Style = field(default_factory=Style)
    #: The runs whose lines are hidden in the legend.
    hidden_ids: frozenset[str] = frozenset()
    #: The filter of the metrics and params that are shown and drawn.
    filter: str = ""
    key_test: KeyTest | None = None
    #: The names of the sections of charts that the user opened.
    open_sections: frozenset[str] = frozenset()
    #: Whether the page is requested as a file.
    is_file: bool = False

    @classmethod
    def from_request(cls, path: str, *, with_ids: bool = True) -> ComparisonView:
        """Return the state in the request's query string; empty fields, as forms send them, are ignored.

        Raises InvalidInput.
        """
        field_names = (*(("ids",) if with_ids else ()), *_OWN, *chart_url.PAGE_FIELDS, "from", "to")
        query = Query(field_names, repeatable=_REPEATABLE)
        ids = tuple(dict.fromkeys(parse_ids(query)))
        if with_ids and not 2 <= len(ids) <= MAX_COMPARED_RUNS:
            raise InvalidInput(
                f"a comparison is of 2 to {MAX_COMPARED_RUNS} runs, and ids names {len(ids)}: "
                "select some in the list of runs, then Compare. GET /api/compare takes up to 100"
            )
        return cls(
            path,
            ids,
            query.flag("all"),
            next((run_id for run_id in reversed(query.texts("baseline")) if run_id), None),
            _parse_directions(query.texts("best")),  # the page's buttons append one; the last one counts
            query.text("param") or None,
            query.text("metric") or None,
            query.flag("log_param"),
            query.flag("log_metric"),
            chart_url.parse_style(query),
            frozenset(chart_url.parse_hidden_keys(query)),
            query.text("filter") or "",
            parse_key_filter(query.text("filter") or ""),
            frozenset(query.texts("open")),
            is_file(query),
        )

    def pairs(self, *without: str) -> list[tuple[str, str]]:
        """Return the fields of the page's query string, except some and those of the charts."""
        fields = {
            "ids": ",".join(self.ids),
            "all": "true" if self.shows_all else "",
            "baseline": self.baseline or "",
            "param": self.param or "",
            "metric": self.metric or "",
            "log_param": "true" if self.log_param else "",
            "log_metric": "true" if self.log_metric else "",
            "filter": self.filter,
        }
        best = [f"{'least' if less else 'most'}:{key}" for key, less in self.directions.items()]
        repeated_fields = {"best": best, "hide": sorted(self.hidden_ids), "open": sorted(self.open_sections)}
        pairs = [(name, text) for name, text in fields.items() if text and name not in without]
        return pairs + [(name, key) for name, keys in repeated_fields.items() if name not in without for key in keys]

    def form_pairs(self, *without: str) -> list[tuple[str, str]]:
        """Return the same fields and those of the charts, for the hidden fields of a form."""
        return chart_url.fields_of(self.style, self.pairs(*without), with_range=True)

    def url(self, **changes: Any) -> str:
        """Return the page's URL with some of its state changed."""
        view = replace(self, **changes)
        return with_query(view.path, view.form_pairs())

    @property
    def unfiltered_url(self) -> str:
        """Return the page's URL with all metrics and params."""
        return self.url(filter="")

    @property
    def chart(self) -> None:
        """Return None: a single chart has a page of its own."""
        return None

    @property
    def whole_range_url(self) -> str | None:
        """Return the page's URL with all steps, or None if it shows them."""
        has_range = self.style.start is not None or self.style.stop is not None
        return self.url(style=replace(self.style, start=None, stop=None)) if has_range else None

    def url_with_open_section(self, section: str) -> str:
        """Return the page's URL with one more section of charts opened."""
        return self.url(open_sections=self.open_sections | {section})

    def without_run(self, run_id: str) -> str:
        """Return the page's URL without one of the runs."""
        ids = tuple(each for each in self.ids if each != run_id)
        return self.url(ids=ids, baseline=None if self.baseline == run_id else self.baseline)


def _parse_directions(texts: Sequence[str]) -> dict[str, bool]:
    """Parse `least:KEY` and `most:KEY`; return for each metric whether less is better. The last one counts.

    Raises InvalidInput.
    """
    directions = {}
    for text in filter(None, texts):
        word, colon, key = text.partition(":")
        if word not in ("least", "most") or not key:
            raise InvalidInput(f"best must be least:KEY or most:KEY, not {text[:60]!r}")
        directions[key] = word == "least"
    return directions
