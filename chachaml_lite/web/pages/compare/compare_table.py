"""Runs side by side as a page's table: a column a run, a row a metric or param, what is best and what differs."""

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
from ....tracking.series.direction import best_places, difference, less_is_better
from .compare_url import ComparisonView

#: Rows of metrics and of params each; the answer of the API has all of them.
_MOST_ROWS = 500
#: Characters of a value in a cell, and of it on hover: a param may be a page of text.
_CELL_CHARACTERS, _HOVER_CHARACTERS = 240, 1000


class Cell(NamedTuple):
    """One run's value. `delta`: how far it is from the baseline's; `turn`: whether that is "better" or "worse"."""

    text: str = ""
    title: str = ""
    is_missing: bool = False
    is_best: bool = False
    #: Of a param: whether it is another one than the baseline's.
    is_other: bool = False
    delta: str = ""
    turn: str = ""


class Row(NamedTuple):
    """A metric or a param. `less`: whether less of a metric is better; None where that isn't known, and for a param."""

    key: str
    differs: bool
    cells: list[Cell]
    is_metric: bool = False
    less: bool | None = None


class Part(NamedTuple):
    """The metrics or the params: the rows shown, and how many there are that aren't."""

    rows: list[Row]
    #: The same in all runs, and left out for that.
    same: int
    #: Beyond the bound of a page.
    beyond: int


@dataclass(frozen=True)
class Side:
    """One run's column. `color` is its place among the colours of charts; `label` tells it from the others."""

    run: Run
    label: str
    color: int
    is_baseline: bool
    #: The URL of the page with it as baseline, and without it.
    as_baseline: str
    without: str


@dataclass(frozen=True)
class Comparison:
    """All of a page's table, and what the scatter can be of."""

    sides: list[Side]
    metrics: Part
    params: Part
    env: Part
    #: Every metric and param that one of the runs has; of params those that differ first.
    metric_keys: list[str]
    param_keys: list[str]


def comparison(view: ComparisonView, runs: Sequence[Run], labels: Sequence[str]) -> Comparison:
    """The runs side by side, in their order, each called by its label."""
    base = next((place for place, run in enumerate(runs) if run.id == view.baseline), 0)
    sides = [
        Side(run, label, place, place == base, view.url(baseline=run.id if place else None), view.without_run(run.id))
        for place, (run, label) in enumerate(zip(runs, labels, strict=True))
    ]
    metrics = _lines([latest_metrics(run) for run in runs])
    params = _lines([run.params for run in runs])
    return Comparison(
        sides,
        _part(
            metrics, view, lambda line: _metric_row(line, base, view.directions.get(line.key, less_is_better(line.key)))
        ),
        _part(params, view, lambda line: _param_row(line, base)),
        _part(_lines([flatten(run.meta.get("env")) for run in runs]), view, lambda line: _param_row(line, base)),
        [line.key for line in metrics],
        [line.key for line in sorted(params, key=lambda line: not line.differs)],
    )


#: Less would be shown as 0.0 %.
_LEAST_PERCENT = 0.05

#: In the place of a value that a run hasn't; null is one that it may have.
_MISSING: Any = object()


class _Line(NamedTuple):
    """A key, the runs' values, and whether they are different, or some lack it."""

    key: str
    values: list[Any]
    differs: bool


def _lines(sides: Sequence[Mapping[str, Any]]) -> list[_Line]:
    """Every key that one of the sides has, in the order of their first appearance."""
    found = []
    for key in dict.fromkeys(key for side in sides for key in side):
        values = [side.get(key, _MISSING) for side in sides]
        found.append(_Line(key, values, not all(_is_same(values[0], value) for value in values[1:])))
    return found


def _is_same(one: Any, other: Any) -> bool:
    return one is other if one is _MISSING or other is _MISSING else same_json(one, other)


def _part(lines: list[_Line], view: ComparisonView, row: Callable[[_Line], Row]) -> Part:
    if view.key_test is not None:
        lines = [line for line in lines if view.key_test(line.key)]
    shown = [line for line in lines if view.all or line.differs]
    rows = [row(line) for line in shown[:_MOST_ROWS]]
    return Part(rows, len(lines) - len(shown), len(shown) - len(rows))


def _metric_row(line: _Line, base: int, less: bool | None) -> Row:
    best = [] if less is None else best_places(line.values, less=less)
    cells = []
    for place, value in enumerate(line.values):
        apart = difference(value, line.values[base]) if place != base else None
        delta, turn = ("", "") if apart is None else _shown_difference(apart, less)
        cells.append(_cell(value)._replace(is_best=place in best, delta=delta, turn=turn))
    return Row(line.key, line.differs, cells, True, less)


def _param_row(line: _Line, base: int) -> Row:
    mine = line.values[base]
    return Row(
        line.key, line.differs, [_cell(value)._replace(is_other=not _is_same(value, mine)) for value in line.values]
    )


def _shown_difference(apart: tuple[float, float | None], less: bool | None) -> tuple[str, str]:
    absolute, percent = apart
    if not absolute:
        return "±0", ""
    text = f"{absolute:+.4g}"
    if percent is not None and abs(percent) >= _LEAST_PERCENT:
        text += f" ({percent:+.1f} %)" if abs(percent) < 10_000 else f" ({percent:+.2g} %)"
    if less is None:
        return text, ""
    return text, "better" if (absolute < 0) == less else "worse"


def _cell(value: Any) -> Cell:
    if value is _MISSING:
        return Cell(is_missing=True)
    whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = truncate(format_number(value), _CELL_CHARACTERS)
    return Cell(text, truncate(whole, _HOVER_CHARACTERS) if text != whole else "")
