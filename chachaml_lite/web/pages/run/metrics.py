"""The metrics of a run's page in sections: the rows of the table, and the charts next to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....tracking.index.run_entry import Run
from ....tracking.series.summary import SeriesSummary, number_to_json
from ....tracking.tracker import Tracker
from ...charts import Style
from ..chart.figures import Figures, run_figures
from ..sections import sections_of

#: The most rows of the table, unless all are requested.
MOST_ROWS = 100


@dataclass(frozen=True)
class MetricRow:
    """A metric with the summary of its series.

    Values are as in JSON, None if missing; `least` and `greatest` are finite.
    """

    key: str
    last: Any
    last_step: int
    least: Any
    least_step: int
    greatest: Any
    greatest_step: int
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
    figures: Figures


@dataclass(frozen=True)
class MetricPart:
    """All of the run's metrics that match the filter. `rows` is the number of rows in the table, open or closed."""

    name: str
    sections: list[MetricSection]
    total: int
    seen: int

    @property
    def is_cut(self) -> bool:
        """Return whether an open section lacks some of its rows."""
        return any(section.is_open and section.total > len(section.rows) for section in self.sections)


def metric_part(
    tracker: Tracker,
    run: Run,
    summary: Mapping[str, SeriesSummary],
    opened: frozenset[str],
    style: Style,
    *,
    is_filtered: bool = False,
    all: bool = False,
) -> MetricPart:
    """Return some metrics of a run in sections.

    `is_filtered`: they match a filter; `all`: open sections have all rows.
    """
    sections = sections_of(summary, opened, is_filtered=is_filtered)
    requests = [(section.keys if section.is_open else (), section.name in opened) for section in sections]
    figure_groups = run_figures(tracker, run, requests, style)
    remaining = len(summary) if all else MOST_ROWS
    parts = []
    for section, figures in zip(sections, figure_groups, strict=True):
        most = max(remaining, MOST_ROWS) if section.name in opened else remaining
        section_keys = section.keys[:most] if section.is_open else ()
        remaining = max(0, remaining - len(section_keys))
        rows = [_row(key, summary[key]) for key in section_keys]
        parts.append(MetricSection(section.name, section.title, len(section.keys), section.is_open, rows, figures))
    return MetricPart("metrics", parts, len(summary), sum(len(part.rows) for part in parts))


def _row(key: str, series: SeriesSummary) -> MetricRow:
    return MetricRow(
        key=key,
        last=number_to_json(series.last),
        last_step=series.last_step,
        least=series.min,
        least_step=series.min_step,
        greatest=series.max,
        greatest_step=series.max_step,
        count=series.count,
        nonfinite=series.nonfinite,
    )
