"""A list of runs as a table: columns with links to order by them, and a row of cells for each run.

`templates/_run_table.html` renders it on every page that lists runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ....errors import InvalidInput
from ....text.format import format_duration, format_number
from ....text.safe import truncate
from ....tracking.environment import MISSING, flatten
from ....tracking.index.run_entry import Run
from ....tracking.query import fields
from ....tracking.query.fields import Field, FieldType
from ....tracking.query.key_filter import KeyTest
from ....tracking.query.search import count_children
from ....tracking.runs import latest_metrics
from ....tracking.series.summary import number_to_json
from ....tracking.tracker import Tracker
from ..sections import section_of, section_of_param, sections_of
from .key_columns import KINDS, FilteredColumns, default_keys, filter_columns, is_by_key, passes_filter
from .runs_url import ALL_TAGS, RunView
from .sparklines import draw_sparklines

#: A run's own columns before its metrics and params, and after them, by default; and the others.
_BEFORE = {
    "experiment": "Experiment",
    "status": "Status",
    "start_time": "Started",
    "duration_ms": "Duration",
}
_AFTER = {
    ALL_TAGS: "Tags",
    "artifacts": "Artifacts",
    "last_write_time": "Last write",
}
_FURTHER = {
    "id": "Id",
    "end_time": "Ended",
    "created_by": "By",
    "parent_run_id": "Parent",
    "error": "Error",
    "note": "Note",
}
_HEADINGS = {**_BEFORE, **_AFTER, **_FURTHER}
#: The most metrics, and the most params, to choose from.
_MOST_CHOICES = 200
#: The most characters of a value in a cell, and on hover: a param may be a page of text.
_CELL_CHARACTERS = 60
_HOVER_CHARACTERS = 400
#: The number of characters that a column of any width shows without truncation.
_ALWAYS_VISIBLE = 20
_STATUS = Field(fields.OWN, "status")
#: The kinds of fields that can be columns by key.
_KINDS = (fields.METRICS, fields.PARAMS, fields.TAGS, fields.ENV)


class ChoiceSection(NamedTuple):
    """Columns whose names have the same prefix: `choices` are field, heading, and whether it is shown.

    The section "" is never folded.
    """

    name: str
    is_open: bool
    choices: list[tuple[str, str, bool]]


#: A group's name, its sections, and the number of further columns, which are only available by name.
Choices = tuple[str, list[ChoiceSection], int]


class Cell(NamedTuple):
    """One cell: `kind` determines how it is rendered; `title` is the full value if `text` is truncated."""

    kind: str
    text: str = ""
    title: str | None = None
    value: Any = None


@dataclass(frozen=True)
class Column:
    """One column.

    `field` is its name in the URL, `order_url` the URL of the page ordered by it, `aria_sort` its aria-sort attribute.
    """

    field: str
    heading: str
    order_url: str | None = None
    aria_sort: str | None = None
    is_number: bool = False
    #: The kind of field: "metric", "param", "tag"; "" for the run's own.
    kind: str = ""


@dataclass(frozen=True)
class Row:
    """One run."""

    id: str
    label: str
    cells: list[Cell]
    #: The classes of the colour of its line in the page's charts, or "".
    swatch: str = ""
    #: The number of runs folded under it.
    child_count: int = 0


@dataclass(frozen=True)
class RunTable:
    """A page of a list of runs, rendered by the macro in `_run_table.html`.

    `name` is the first column, with the names.
    """

    view: RunView
    name: Column
    columns: list[Column]
    rows: list[Row]
    total: int
    #: The columns to choose from.
    choices: list[Choices]
    #: The metrics of the runs on this page.
    metrics: list[str]
    #: Whether children can be folded under their parents, or are.
    has_children: bool = False
    #: The runs just moved to the trash from this page that are still there.
    trashed_ids: Sequence[str] = ()
    #: The effect of a filter of names on the columns. None: no filter.
    filtered_columns: FilteredColumns | None = None

    @property
    def newer_url(self) -> str | None:
        """The URL of the page before this one, or None."""
        return self.view.url(offset=max(0, self.view.offset - self.view.limit)) if self.view.offset else None

    @property
    def older_url(self) -> str | None:
        """The URL of the page after this one, or None."""
        next_offset = self.view.offset + self.view.limit
        return self.view.url(offset=next_offset) if next_offset < self.total else None


def build_run_table(
    tracker: Tracker, view: RunView, page_runs: Sequence[Run], total: int, key_test: KeyTest | None = None
) -> RunTable:
    """Return the table of the runs on a page, out of `total`. Raises InvalidInput for an invalid column name.

    `key_test`: a predicate for the names of metrics and params that are columns.
    """
    records = [
        {
            "params": run.params,
            "metrics": latest_metrics(run),
            "tags": run.meta.get("tags", {}),
            "env": flatten(run.meta.get("env")),
        }
        for run in page_runs
    ]
    keys = {kind: sorted({key for record in records for key in record[kind]}) for kind in _KINDS}
    default_names = [
        str(Field(kind, key)) for kind in KINDS for key in default_keys(records, kind, keys[kind], key_test)
    ]
    names_before_filter = view.columns or (
        *(name for name in _BEFORE if not (name == "experiment" and view.page_experiment is not None)),
        *default_names,
        *_AFTER,
    )
    names = [name for name in names_before_filter if passes_filter(key_test, name)]
    if key_test is not None and view.columns and not any(map(is_by_key, names)):
        names += default_names  # none of the chosen columns matches
    spark = view.spark if view.spark is None or key_test is None or key_test(view.spark) else None
    now_ms = tracker.clock.now_ms()
    columns_with_cells = [] if spark is None else [_build_spark_column(tracker, view, spark, page_runs)]
    columns_with_cells += [_build_column(view, name, page_runs, now_ms) for name in names if name != "name"]
    counts = count_children(tracker) if view.hides_children else {}
    rows = [
        Row(run.id, run.meta.get("name") or run.id, list(cells), child_count=counts.get(run.id, 0))
        for run, *cells in zip(page_runs, *(cells for _, cells in columns_with_cells), strict=True)
    ]
    name = _build_heading(view, Field(fields.OWN, "name"), "Run")
    columns = [column for column, _ in columns_with_cells]
    choices = _list_choices(
        keys, [name if name == ALL_TAGS else str(fields.parse_field(name)) for name in names_before_filter]
    )
    has_children = view.hides_children or any(run.meta.get("parent_run_id") for run in page_runs)
    filtered_columns = None if key_test is None else filter_columns(key_test, keys, view.columns, names)
    return RunTable(
        view,
        name,
        columns,
        rows,
        total,
        choices,
        keys["metrics"],
        has_children,
        _find_trashed(tracker, view),
        filtered_columns,
    )


def _find_trashed(tracker: Tracker, view: RunView) -> list[str]:
    trashed_runs = [tracker.catalog.run(run_id) for run_id in view.trashed_ids]
    return [run.id for run in trashed_runs if run is not None and run.meta.get("deleted_at") is not None]


def _list_choices(keys: dict[str, list[str]], shown_names: Sequence[str]) -> list[Choices]:
    groups = [("Run", dict(_HEADINGS), 0)]
    for kind in _KINDS:
        labels = {str(Field(kind, key)): key for key in keys[kind][:_MOST_CHOICES]}
        labels.update({text: fields.parse_field(text).name for text in shown_names if text.startswith(f"{kind}.")})
        groups.append(
            ("Environment" if kind == fields.ENV else kind.capitalize(), labels, max(0, len(keys[kind]) - len(labels)))
        )
    return [
        (group, _group_choices(group, labels, shown_names), unlisted_count)
        for group, labels, unlisted_count in groups
        if labels
    ]


def _group_choices(group: str, labels: dict[str, str], shown_names: Sequence[str]) -> list[ChoiceSection]:
    """Return a group's columns in sections by prefix, folded if none of a section's columns is shown."""
    if group == "Run":
        return [ChoiceSection("", True, [(text, heading, text in shown_names) for text, heading in labels.items()])]
    fields_of = {heading: text for text, heading in labels.items()}
    sections = []
    for section in sections_of(fields_of, section=section_of if group == "Metrics" else section_of_param):
        choices = [(fields_of[key], key, fields_of[key] in shown_names) for key in section.keys]
        sections.append(ChoiceSection(section.name, any(is_shown for *_, is_shown in choices), choices))
    return sections


# -- columns


def _build_heading(view: RunView, field: Field, heading: str, is_number: bool = False) -> Column:
    by, descending = view.order
    return Column(
        str(field),
        heading,
        view.with_order(field).url(),
        ("descending" if descending else "ascending") if by == field else None,
        is_number,
        "" if field.kind == fields.OWN else field.kind.removesuffix("s"),
    )


def _build_column(view: RunView, name: str, page_runs: Sequence[Run], now_ms: int) -> tuple[Column, list[Cell]]:
    if name == ALL_TAGS:
        return Column(ALL_TAGS, "Tags"), [Cell("tags", value=_truncate_tags(run)) for run in page_runs]
    try:
        field = fields.parse_field(name)
    except InvalidInput as fault:
        raise InvalidInput(f"columns: {fault.detail}; or {ALL_TAGS}, for all of them") from fault
    heading = _HEADINGS.get(field.name, field.name) if field.kind == fields.OWN else field.name
    if field == _STATUS:
        return _build_heading(view, field, heading), [_status_cell(run, now_ms) for run in page_runs]
    if field.holds is FieldType.DURATION:
        return _build_heading(view, field, heading, is_number=True), [_duration_cell(run) for run in page_runs]
    read = fields.reader(field)
    values = [read(run) for run in page_runs]
    if field.holds is FieldType.TIME:
        return _build_heading(view, field, heading), [_time_cell(value) for value in values]
    present = [value for value in values if value is not MISSING]
    is_number = bool(present) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in present
    )
    return _build_heading(view, field, heading, is_number), [_value_cell(value) for value in values]


def _build_spark_column(
    tracker: Tracker, view: RunView, key: str, page_runs: Sequence[Run]
) -> tuple[Column, list[Cell]]:
    metric = Field(fields.METRICS, key)
    return Column("", key, view.with_order(metric).url(), kind="metric"), [
        Cell("spark", value=line) for line in draw_sparklines(tracker, page_runs, key)
    ]


# -- cells


def _status_cell(run: Run, now_ms: int) -> Cell:
    silent_ms = run.silent_ms(now_ms)
    return Cell("status", run.meta["status"], value=None if silent_ms is None else format_duration(silent_ms))


def _duration_cell(run: Run) -> Cell:
    times = {name: run.meta.get(name) for name in ("start_time", "end_time")}
    return Cell("duration", value={**times, "duration_ms": run.duration_ms})


def _time_cell(value: Any) -> Cell:
    return Cell("value") if value is MISSING else Cell("time", value=value)


def _value_cell(value: Any) -> Cell:
    if value is MISSING:
        return Cell("value")
    if isinstance(value, float):
        value = number_to_json(value)
    full_text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = truncate(format_number(value), _CELL_CHARACTERS)
    return Cell(
        "value",
        text,
        truncate(full_text, _HOVER_CHARACTERS) if text != full_text or len(text) > _ALWAYS_VISIBLE else None,
    )


def _truncate_tags(run: Run) -> dict[str, Any]:
    tags: dict[str, Any] = run.meta.get("tags", {})
    return {key: truncate(tag, _HOVER_CHARACTERS) if isinstance(tag, str) else tag for key, tag in tags.items()}
