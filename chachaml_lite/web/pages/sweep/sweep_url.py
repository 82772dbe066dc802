"""The state of an experiment's page, parsed from its URL: the runs that are drawn, and the chart above their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ....errors import InvalidInput
from ....tracking.query.fields import Field, parse_field
from ....tracking.query.key_filter import KeyTest, parse_key_filter
from ....tracking.series.group_curves import BANDS
from ...charts import Style
from ...query_string import Query, parse_direction, parse_metric
from ..chart import chart_url
from ..runs.runs_url import RunView

#: The parts of the page that can be shown above the table of runs, one at a time.
PARTS = ("curves", "scatter", "parallel", "table")
SCALES = ("auto", "linear", "log")
#: The default number of runs whose curves are drawn, one by one and in groups; and the most.
DEFAULT_RUNS, DEFAULT_RUNS_IN_GROUPS, MAX_DRAWN_RUNS = 20, 100, 100
#: The default number of runs that are drawn as dots, or as lines through axes.
DEFAULT_RUNS_AS_MARKS = 250
RUN_LIMITS = (10, 20, 50, 100)
_SCATTER = ("across", "color", "scale_x", "scale_y")
_PARALLEL = ("axes", "brush")
#: The query parameters of the page in addition to those of a list of runs.
FIELDS = (
    *("metric", "direction", "part", "by", "band", "drawn", "hide", "filter", "chart", "open"),
    *_SCATTER,
    *_PARALLEL,
    *chart_url.PAGE_FIELDS,
    *("from", "to"),
)
REPEATABLE = ("hide", "open", "axes", "brush")


@dataclass(frozen=True)
class SweepView:
    """The state of an experiment's page, from its URL.

    `runs` is its list of runs, whose `other_fields` has all of this state, too.
    """

    runs: RunView
    #: The metric that determines the best run, and whether less of it is better. None: depends on its name.
    metric: str | None
    less_is_better: bool | None
    part: str
    #: The field that runs are grouped by. None: they aren't.
    group_by: Field | None
    band: str
    #: The most runs that are drawn.
    run_limit: int
    #: That number in the URL. None: the default.
    requested_run_limit: int | None
    #: The keys of the lines that are hidden in the legend.
    hidden_keys: frozenset[str]
    filter: str
    key_test: KeyTest | None
    #: The only metric that is drawn. None: all that match the filter.
    chart: str | None
    #: The names of the sections of charts that the user opened.
    open_sections: frozenset[str]
    style: Style
    #: The horizontal axis of the scatter chart, and the field of its colours.
    x_field: Field | None
    color: Field | None
    scale_x: str
    scale_y: str
    axes: tuple[Field, ...]
    #: The selections on the axes, each as a condition of a query.
    brushes: tuple[str, ...]

    @classmethod
    def from_request(cls, path: str, name: str) -> SweepView:
        """Return the state in the request's query string, for the experiment `name`. Raises InvalidInput."""
        query = RunView.parse_query(name, FIELDS, REPEATABLE)
        runs = RunView.from_query(query, path, name, FIELDS)
        by, part, run_limit = _parse_field(query, "by"), _parse_choice(query, "part", PARTS), _parse_run_limit(query)
        hidden_keys = chart_url.parse_hidden_keys(query)
        rest = tuple(pair for pair in runs.other_fields if pair[0] != "hide")
        filter_text = query.text("filter") or ""
        brushes = tuple(text for text in query.texts("brush") if text)
        return cls(
            replace(runs, other_fields=(*rest, *(("hide", key) for key in hidden_keys)), extra_queries=brushes),
            parse_metric(query.text("metric")),
            parse_direction(query.text("direction")),
            part,
            by,
            _parse_choice(query, "band", BANDS),
            _default_run_limit(part, by) if run_limit is None else run_limit,
            run_limit,
            frozenset(hidden_keys),
            filter_text,
            parse_key_filter(filter_text),
            query.text("chart") or None,
            frozenset(query.texts("open")),
            chart_url.parse_style(query),
            _parse_field(query, "across"),
            _parse_field(query, "color"),
            _parse_choice(query, "scale_x", SCALES),
            _parse_choice(query, "scale_y", SCALES),
            tuple(parse_field(text) for text in query.texts("axes") if text),
            brushes,
        )

    def url(self, **changes: str | tuple[str, ...] | None) -> str:
        """Return the page's URL with some of its fields changed."""
        return self.runs.url_with(**changes)

    @property
    def path(self) -> str:
        """Return the path of the page."""
        return self.runs.path

    @property
    def unfiltered_url(self) -> str:
        """Return the page's URL with all metrics and params."""
        return self.url(filter=None)

    @property
    def all_charts_url(self) -> str:
        """Return the page's URL with the charts of all metrics that match the filter."""
        return self.url(chart=None)

    @property
    def whole_range_url(self) -> str | None:
        """Return the page's URL with all steps, or None if it shows them."""
        has_range = self.style.start is not None or self.style.stop is not None
        return self.url(**{"from": None, "to": None}) if has_range else None

    def draws(self, key: str) -> bool:
        """Return whether the page has the chart of a metric."""
        return key == self.chart if self.chart else self.key_test is None or self.key_test(key)

    def url_with_open_section(self, section: str) -> str:
        """Return the page's URL with one more section of charts opened."""
        return self.url(open=tuple(sorted({*self.open_sections, section})))

    def url_without_brush(self, brush: str) -> str:
        """Return the page's URL without one of the brushes."""
        return self.url(brush=tuple(each for each in self.brushes if each != brush))

    def without_query(self) -> SweepView:
        """Return the state without the query and the brushes."""
        other_fields = tuple(pair for pair in self.runs.other_fields if pair[0] != "brush")
        return replace(self, runs=replace(self.runs, q=None, other_fields=other_fields, extra_queries=()), brushes=())

    def query_url(self) -> str:
        """Return the page's URL with the brushes added to its query."""
        parts = [*([f"({self.runs.q})"] if self.runs.q else []), *self.brushes]
        other_fields = tuple(pair for pair in self.runs.other_fields if pair[0] != "brush")
        return self.runs.url(q=" and ".join(parts), other_fields=other_fields, offset=0)

    def pairs(self, *without: str) -> list[tuple[str, str]]:
        """Return the fields of the page's URL except some, for the hidden fields of a form."""
        return list(self.runs.pairs(*without))


def _parse_choice(query: Query, name: str, choices: Sequence[str]) -> str:
    """Return a field with a few possible values, the first being the default. Raises InvalidInput."""
    text = query.text(name) or choices[0]
    if text not in choices:
        raise InvalidInput(f"{name} must be one of {', '.join(choices)}, not {text[:60]!r}")
    return text


def _parse_field(query: Query, name: str) -> Field | None:
    text = query.text(name)
    try:
        return parse_field(text) if text else None
    except InvalidInput as fault:
        raise InvalidInput(f"{name}: {fault.detail}") from fault


def _default_run_limit(part: str, by: Field | None) -> int:
    if part != "curves":
        return DEFAULT_RUNS_AS_MARKS
    return DEFAULT_RUNS if by is None else DEFAULT_RUNS_IN_GROUPS


def _parse_run_limit(query: Query) -> int | None:
    count = query.integer("drawn") if query.text("drawn") else None
    if count is not None and not 1 <= count <= MAX_DRAWN_RUNS:
        raise InvalidInput(f"drawn must be a number of runs, 1 to {MAX_DRAWN_RUNS}, not {count}")
    return count
