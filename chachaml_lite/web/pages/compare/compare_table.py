"""The table of compared runs: a column per run, a row per metric or param, with the best and the differing values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ....text.format import format_number
from ....text.safe import truncate
from ....tracking.environment import flatten
from ....tracking.index.run_entry import Run
from ....tracking.params import same_json
from ....tracking.runs import latest_metrics
from ....tracking.series import direction
from ..sections import Section, param_sections, sections_of
from .compare_url import ComparisonView

#: The most cells of the table; and the rows that each part, and each opened section, may have in any case. The API's
#: response has all of them.
_MOST_CELLS, _FEWEST_ROWS, _ROWS_OF_OPEN_SECTION = 900, 20, 100
#: The most cells in a file, which is read from disk.
_MOST_CELLS_IN_FILE = 100_000
#: The number of cells that a row's name counts as.
_CELLS_OF_NAME = 2
#: The most characters of a value in a cell and on hover: a param may be a page of text.
_CELL_CHARACTERS, _HOVER_CHARACTERS = 240, 1000


class Cell(NamedTuple):
    """One run's value.

    `delta` is its difference from the baseline's; `verdict` is "better", "worse" or "".
    """

    text: str = ""
    title: str = ""
    is_missing: bool = False
    is_best: bool = False
    #: For a param: whether it differs from the baseline's.
    is_different: bool = False
    delta: str = ""
    verdict: str = ""


class Row(NamedTuple):
    """A metric or a param.

    `less_is_better`: whether less of a metric is better; None for an unknown direction, and for a param.
    """

    key: str
    differs: bool
    cells: list[Cell]
    is_metric: bool = False
    less_is_better: bool | None = None


class RowSection(NamedTuple):
    """Rows whose keys have the same prefix; none if it is closed. `name` identifies it in the URL."""

    name: str
    title: str
    total: int
    is_open: bool
    rows: list[Row]

    @property
    def omitted_count(self) -> int:
        """Return the number of rows of an open section that are not shown."""
        return self.total - len(self.rows) if self.is_open else 0


class Part(NamedTuple):
    """The metrics, the params or the environment, in sections, and the numbers of rows that are not shown."""

    sections: list[RowSection]
    #: The number of rows that are omitted because they are the same in all runs.
    same_count: int
    #: The number of keys that match the filter, out of `total`.
    matching_count: int
    total: int

    @property
    def rows(self) -> list[Row]:
        """Return the rows of all sections."""
        return [row for section in self.sections for row in section.rows]


@dataclass(frozen=True)
class Side:
    """One run's column. `color` is its index of the charts' colours; `label` is unique among the runs."""

    run: Run
    label: str
    color: int
    is_baseline: bool
    #: The URLs of the page with this run as the baseline, and without it.
    baseline_url: str
    removal_url: str


@dataclass(frozen=True)
class Comparison:
    """The table of a page, and the keys for its scatter chart."""

    sides: list[Side]
    metrics: Part
    params: Part
    env: Part
    #: All metrics and params of any of the runs; params that differ come first.
    metric_keys: list[str]
    param_keys: list[str]


def compare_runs(view: ComparisonView, runs: Sequence[Run], labels: Sequence[str]) -> Comparison:
    """Compare runs side by side, in their order, each with its label."""
    base = next((place for place, run in enumerate(runs) if run.id == view.baseline), 0)
    sides = [
        Side(run, label, place, place == base, view.url(baseline=run.id if place else None), view.without_run(run.id))
        for place, (run, label) in enumerate(zip(runs, labels, strict=True))
    ]
    metrics = _list_lines([latest_metrics(run) for run in runs])
    params = _list_lines([run.params for run in runs])
    env = _list_lines([flatten(run.meta.get("env")) for run in runs])

    def build_metric_row(line: _Line) -> Row:
        return _build_metric_row(line, base, view.directions.get(line.key, direction.less_is_better(line.key)))

    def build_param_row(line: _Line) -> Row:
        return _build_param_row(line, base)

    parts = []
    remaining = _MOST_CELLS_IN_FILE if view.is_file else _MOST_CELLS
    width = len(runs) + _CELLS_OF_NAME
    for lines, row, in_sections, prefix in (
        (metrics, build_metric_row, sections_of, ""),
        (params, build_param_row, param_sections, "params:"),
        (env, build_param_row, param_sections, "env:"),
    ):
        parts.append(_build_part(lines, view, max(remaining // width, _FEWEST_ROWS), row, in_sections, prefix))
        remaining -= len(parts[-1].rows) * width
    metric_part, param_part, env_part = parts
    return Comparison(
        sides,
        metric_part,
        param_part,
        env_part,
        [line.key for line in metrics],
        [line.key for line in sorted(params, key=lambda line: not line.differs)],
    )


#: Below this a difference would be shown as 0.0 %.
_LEAST_PERCENT = 0.05

#: Stands for a value that a run doesn't have; null is a value that it may have.
_MISSING: Any = object()


class _Line(NamedTuple):
    """A key, the runs' values, and whether they differ or are missing in some runs."""

    key: str
    values: list[Any]
    differs: bool


def _list_lines(sides: Sequence[Mapping[str, Any]]) -> list[_Line]:
    """Return all keys of the runs, in the order of their first appearance."""
    lines = []
    for key in dict.fromkeys(key for side in sides for key in side):
        values = [side.get(key, _MISSING) for side in sides]
        lines.append(_Line(key, values, not all(_is_same(values[0], value) for value in values[1:])))
    return lines


def _is_same(one: Any, other: Any) -> bool:
    return one is other if one is _MISSING or other is _MISSING else same_json(one, other)


def _build_part(
    lines: list[_Line],
    view: ComparisonView,
    remaining: int,
    row: Callable[[_Line], Row],
    in_sections: Callable[..., list[Section]],
    prefix: str,
) -> Part:
    """Return the lines of a part in sections, at most `remaining` rows.

    `prefix`: the prefix of its sections' names in the URL.
    """
    test = view.key_test
    matching_lines = lines if test is None else [line for line in lines if test(line.key)]
    lines_by_key = {line.key: line for line in matching_lines if view.shows_all or line.differs}
    open_sections = frozenset(name.removeprefix(prefix) for name in view.open_sections if name.startswith(prefix))
    sections = []
    for section in in_sections(lines_by_key, open_sections, is_filtered=test is not None):
        is_open = section.is_open or view.is_file
        most = max(remaining, _ROWS_OF_OPEN_SECTION) if section.name in open_sections else remaining
        keys = section.keys[:most] if is_open else ()
        remaining = max(0, remaining - len(keys))
        rows = [row(lines_by_key[key]) for key in keys]
        sections.append(RowSection(f"{prefix}{section.name}", section.title, len(section.keys), is_open, rows))
    return Part(sections, len(matching_lines) - len(lines_by_key), len(matching_lines), len(lines))


def _build_metric_row(line: _Line, base: int, less_is_better: bool | None) -> Row:
    best = [] if less_is_better is None else direction.best_places(line.values, less=less_is_better)
    cells = []
    for place, value in enumerate(line.values):
        distance = direction.difference(value, line.values[base]) if place != base else None
        delta, verdict = ("", "") if distance is None else _format_difference(distance, less_is_better)
        cells.append(_build_cell(value)._replace(is_best=place in best, delta=delta, verdict=verdict))
    return Row(line.key, line.differs, cells, True, less_is_better)


def _build_param_row(line: _Line, base: int) -> Row:
    base_value = line.values[base]
    return Row(
        line.key,
        line.differs,
        [_build_cell(value)._replace(is_different=not _is_same(value, base_value)) for value in line.values],
    )


def _format_difference(delta: tuple[float, float | None], less_is_better: bool | None) -> tuple[str, str]:
    absolute, percent = delta
    if not absolute:
        return "±0", ""
    text = f"{absolute:+.4g}"
    if percent is not None and abs(percent) >= _LEAST_PERCENT:
        text += f" ({percent:+.1f} %)" if abs(percent) < 10_000 else f" ({percent:+.2g} %)"
    if less_is_better is None:
        return text, ""
    return text, "better" if (absolute < 0) == less_is_better else "worse"


def _build_cell(value: Any) -> Cell:
    if value is _MISSING:
        return Cell(is_missing=True)
    full_text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = truncate(format_number(value), _CELL_CHARACTERS)
    return Cell(text, truncate(full_text, _HOVER_CHARACTERS) if text != full_text else "")
