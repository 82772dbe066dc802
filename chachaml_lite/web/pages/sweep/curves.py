"""The curves of an experiment's runs: a chart per metric, with a line per run, or each group's mean with a band."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ....tracking import metrics
from ....tracking.index.run_entry import Run
from ....tracking.series.curves import Curve, View
from ....tracking.series.group_curves import group_curve
from ....tracking.tracker import Tracker
from ...charts import Chart, Line, Style, line_chart
from ..chart.figures import axis_of, view_of
from ..sections import Section, sections_of
from .members import Member

#: The most charts of a page, the most lines of all of them, and the least number of charts. Further charts are named
#: only.
_MOST_CHARTS, _MOST_LINES, _FEWEST_CHARTS = 40, 300, 4
#: Up to this many lines have their values next to them; up to this many lines of one chart have bands.
_MOST_WITH_VALUES, _MOST_WITH_BANDS = 60, 6
#: Points of all lines together, then the fewest and the most of each: with values, as sketches, and of groups. This
#: keeps a page below 200 kB.
_POINTS_WITH_VALUES, _POINTS_OF_SKETCHES, _POINTS_OF_GROUPS = (4000, 60, 320), (12_600, 40, 240), (3600, 40, 160)
_GROUPED_LINES = 60
#: The most metrics without a chart that are named.
_MOST_NAMED = 40


@dataclass(frozen=True)
class SweepFigure:
    """One chart. `page` is the URL that shows it alone and large."""

    id: str
    title: str
    chart: Chart
    page: str
    is_banded: bool


@dataclass(frozen=True)
class SweepSection:
    """A section of charts, without any if it is closed; `links` are the titles and pages of further ones."""

    name: str
    title: str
    total: int
    is_open: bool
    figures: list[SweepFigure]
    links: list[tuple[str, str]]
    unlisted_count: int

    @property
    def is_banded(self) -> bool:
        """Return whether groups have bands, which would cover each other if there were many."""
        return any(figure.is_banded for figure in self.figures)


def keys_with_curves(runs: Iterable[Run]) -> list[str]:
    """Return the metrics with more than one point in any of the runs, sorted by name."""
    return sorted({key for run in runs for key, series in run.summary.items() if series.count > 1})


def draw_sections(
    tracker: Tracker,
    members: Sequence[Member],
    keys: Sequence[str],
    open_names: frozenset[str],
    style: Style,
    band: str,
    page_of: Callable[[str], str],
    *,
    is_filtered: bool = False,
) -> list[SweepSection]:
    """Draw the charts of some metrics, in sections; hidden lines are not drawn. Raises NotFound.

    `is_filtered`: the metrics are the result of a filter.
    """
    visible_members = [(place, member) for place, member in enumerate(members) if not member.is_hidden]
    is_grouped = any(member.is_group for member in members)
    most = (_GROUPED_LINES if is_grouped else _MOST_LINES) // max(1, len(visible_members))
    remaining = max(_FEWEST_CHARTS, min(_MOST_CHARTS, most))
    plans: list[tuple[Section, tuple[str, ...]]] = []
    for section in sections_of(keys, open_names, is_filtered=is_filtered):
        most = max(remaining, _FEWEST_CHARTS) if section.name in open_names else remaining
        section_keys = section.keys[:most] if section.is_open else ()
        remaining = max(0, remaining - len(section_keys))
        plans.append((section, section_keys))
    keys_to_draw = [key for _, section_keys in plans for key in section_keys]
    if len(keys) == 1:  # a single chart is large
        style = replace(style, width=960, height=400)
    figures = dict(
        zip(
            keys_to_draw,
            _draw_figures(tracker, visible_members, keys_to_draw, style, band, is_grouped, page_of),
            strict=True,
        )
    )
    sections = []
    for section, section_keys in plans:
        links = (
            [(key, page_of(key)) for key in section.keys[len(section_keys) :][:_MOST_NAMED]] if section.is_open else []
        )
        unlisted_count = len(section.keys) - len(section_keys) - len(links) if section.is_open else 0
        sections.append(
            SweepSection(
                section.name,
                section.title,
                len(section.keys),
                section.is_open,
                [figures[key] for key in section_keys],
                links,
                unlisted_count,
            )
        )
    return sections


def _draw_figures(
    tracker: Tracker,
    members: Sequence[tuple[int, Member]],
    keys: Sequence[str],
    style: Style,
    band: str,
    is_grouped: bool,
    page_of: Callable[[str], str],
) -> list[SweepFigure]:
    runs = [run for _, member in members for run in member.runs]
    lines = len(keys) * max(1, len(members))
    style = replace(
        style,
        is_sketch=lines > _MOST_WITH_VALUES,
        has_bands=is_grouped or len(members) <= _MOST_WITH_BANDS,
    )
    total, least, most = (
        _POINTS_OF_SKETCHES if style.is_sketch else _POINTS_OF_GROUPS if is_grouped else _POINTS_WITH_VALUES
    )
    points = max(least, min(most, total // max(1, lines)))
    # A curve that only contributes to a mean takes no space: thinning it would cost more than using it as it is.
    point_limit = 2 * points if is_grouped else points
    view = view_of(style, points, point_limit)
    curves = {run.id: metrics.get_curves(tracker, run.id, keys, view) for run in runs}
    figures = []
    for key in keys:
        axis_style = axis_of([curves[run.id][key] for run in runs if key in curves[run.id]], style)
        if axis_style.x != style.x:
            view_over_time = view_of(axis_style, points, point_limit)
            for run in runs:
                curves[run.id].update(metrics.get_curves(tracker, run.id, [key], view_over_time))
        run_curves = {run_id: each[key] for run_id, each in curves.items() if key in each}
        chart = line_chart(_build_lines(members, run_curves, view, band), key, axis_style)
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=6).hexdigest()
        figures.append(SweepFigure(f"chart-{digest}", key, chart, page_of(key), not axis_style.is_sketch))
    return figures


def _build_lines(members: Sequence[tuple[int, Member]], curves: dict[str, Curve], view: View, band: str) -> list[Line]:
    """Return a line for each member that has the metric."""
    lines = []
    for place, member in members:
        member_curves = [curves[run.id] for run in member.runs if run.id in curves]
        if member_curves:
            curve = (
                group_curve(member_curves, band, view.buckets, log_x=view.log_x)
                if member.is_group
                else member_curves[0]
            )
            lines.append(Line(member.label, curve, member.color, key=str(place)))
    return lines
