"""The metrics of a run's page in sections: the rows of the table, and the charts next to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....tracking.index.run_entry import Run
from ....tracking.series.summary import SeriesSummary, number_to_json
from ....tracking.tracker import Tracker
from ...charts import Style
from ..chart.figures import SectionCharts, draw_run_figures
from ..sections import sections_of

#: The most rows of the table, unless all are requested.
MOST_ROWS = 100


@dataclass(frozen=True)
class MetricRow:
    """A metric with the summary of its series.

    Values are as in JSON, None if missing; `min` and `max` are finite.
    """

    key: str
    last: Any
    last_step: int
    min: Any
    min_step: int
    max: Any
    max_step: int
    count: int
    nonfinite: int


@dataclass(frozen=True)
class MetricSection:
    """Metrics whose names have the same prefix; a closed section has neither rows nor charts."""

    name: str
    title: str
    total: int
    is_open: bool
    rows: list[MetricRow]
    charts: SectionCharts


@dataclass(frozen=True)
class MetricPart:
    """The metrics of a run that match the filter, in sections; `row_count` is the number of rows in the table."""

    name: str
    sections: list[MetricSection]
    total: int
    row_count: int

    @property
    def is_truncated(self) -> bool:
        """Return whether an open section lacks some of its rows."""
        return any(section.is_open and section.total > len(section.rows) for section in self.sections)


def build_metric_part(
    tracker: Tracker,
    run: Run,
    summary: Mapping[str, SeriesSummary],
    open_names: frozenset[str],
    style: Style,
    *,
    is_filtered: bool = False,
    has_all_rows: bool = False,
) -> MetricPart:
    """Return some metrics of a run in sections.

    `is_filtered`: they match a filter; `has_all_rows`: open sections have all rows.
    """
    sections = sections_of(summary, open_names, is_filtered=is_filtered)
    requests = [(section.keys if section.is_open else (), section.name in open_names) for section in sections]
    charts_by_section = draw_run_figures(tracker, run, requests, style)
    remaining = len(summary) if has_all_rows else MOST_ROWS
    parts = []
    for section, charts in zip(sections, charts_by_section, strict=True):
        most = max(remaining, MOST_ROWS) if section.name in open_names else remaining
        section_keys = section.keys[:most] if section.is_open else ()
        remaining = max(0, remaining - len(section_keys))
        rows = [_build_row(key, summary[key]) for key in section_keys]
        parts.append(MetricSection(section.name, section.title, len(section.keys), section.is_open, rows, charts))
    return MetricPart("metrics", parts, len(summary), sum(len(part.rows) for part in parts))


def _build_row(key: str, series: SeriesSummary) -> MetricRow:
    return MetricRow(
        key=key,
        last=number_to_json(series.last),
        last_step=series.last_step,
        min=series.min,
        min_step=series.min_step,
        max=series.max,
        max_step=series.max_step,
        count=series.count,
        nonfinite=series.nonfinite,
    )
