"""The page of one run, /runs/:id, which people keep open during a training job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask import Response, render_template, url_for

from .... import strict_json
from ....errors import InvalidInput
from ....text.format import format_duration, format_number
from ....tracking import runs
from ....tracking.artifact_folders import list_folders
from ....tracking.environment import flatten
from ....tracking.index.run_parts import META
from ....tracking.query.key_filter import parse_key_filter
from ...context import command_context, services, tracker
from ...query_string import Query, is_file
from ...urls import current_url
from ..blueprint import pages
from ..chart import chart_url
from ..html_file import render_run_file
from ..markdown import render_note
from ..sections import Section, param_sections, section_of_param
from .children import build_children_table
from .metrics import MOST_ROWS, build_metric_part

#: The most rows of each table on the page, unless all rows of one are requested.
MAX_ROWS = {"metrics": MOST_ROWS, "params": 200, "artifacts": 200, "children": 50, "env": 100}
#: Values of params with more characters than this are folded; structured ones as soon as they don't fit on a line.
_LONG, _LONG_STRUCTURE = 160, 48
#: The most characters of an unfolded value; the JSON has all of it.
_MOST_CHARACTERS = 20_000

Item = TypeVar("Item")
Row = TypeVar("Row")


@dataclass(frozen=True)
class Part(Generic[Row]):
    """The rows of a table that are shown, and the number of all rows."""

    name: str
    rows: Sequence[Row]
    total: int

    @property
    def is_truncated(self) -> bool:
        """Return whether there are more rows than are shown."""
        return self.total > len(self.rows)


@dataclass(frozen=True)
class ParamRow:
    """A param. `full_text` is the unfolded text of a long value, which lacks `omitted_characters` characters."""

    key: str
    value: Any
    short_text: str
    full_text: str | None = None
    omitted_characters: int = 0


@pages.get("/runs/<run_id>")
def run_page(run_id: str) -> str | Response:
    """Show a run; with ?format=html as a file."""
    query = Query(("all", "filter", "open", "format", "trashed", *chart_url.PAGE_FIELDS), repeatable=("all", "open"))
    if is_file(query):
        return render_run_file(tracker().run(run_id), chart_url.parse_style(query))
    full_parts, style = query.texts("all"), chart_url.parse_style(query)
    for name in full_parts:
        if name not in MAX_ROWS:
            raise InvalidInput(f"all must be one of {', '.join(MAX_ROWS)}, not {name[:60]!r}")
    text, open_sections = query.text("filter") or "", query.texts("open")
    test = parse_key_filter(text)
    other_fields = [*(("all", name) for name in full_parts), *(("open", name) for name in dict.fromkeys(open_sections))]
    fields = [*([("filter", text)] if text else []), *other_fields]
    path = url_for("pages.run_page", run_id=run_id)
    run = tracker().run(run_id)
    summary = {key: series for key, series in run.summary.items() if test is None or test(key)}
    params = [(key, value) for key, value in run.params.items() if test is None or test(key)]
    children = tracker().catalog.children(run_id)
    details = runs.run_details(tracker(), run, children)
    silent_ms = run.silent_ms(tracker().clock.now_ms())
    older, newer = tracker().catalog.neighbours(run)
    trashed_ids = tuple(filter(None, (query.text("trashed") or "").split(",")))
    children_part = _build_part("children", children, full_parts, _identity)
    return render_template(
        "run.html",
        run=details,
        is_writable=details["deleted_at"] is None and not services().read_only,
        silent_duration=None if silent_ms is None else format_duration(silent_ms),
        parent=_find_label(details["parent_run_id"]),
        older=older,
        newer=newer,
        versions=tracker().registry.pinned_to(run_id),
        metrics=build_metric_part(
            tracker(),
            run,
            summary,
            frozenset(open_sections),
            style,
            is_filtered=test is not None,
            has_all_rows="metrics" in full_parts,
        ),
        params=_build_part("params", params, full_parts, _build_param_row),
        param_sections=_group_params([key for key, _ in params], is_filtered=test is not None),
        artifacts=_build_part("artifacts", details["artifacts"], full_parts, _identity),
        folders=list_folders(details["artifacts"]) if not services().read_only else [],
        env=_build_part("env", list(flatten(details["env"]).items()), full_parts, _build_param_row),
        children=children_part,
        children_table=build_children_table(tracker(), run, children_part.rows, children_part.total, trashed_ids)
        if children or trashed_ids
        else None,
        style=style,
        filter=text,
        metric_count=len(run.summary),
        param_count=len(run.params),
        unfiltered_url=chart_url.url(path, style, other_fields),
        other_fields=other_fields,
        open_section_url=lambda name: chart_url.url(path, style, [*fields, ("open", name)]),
        note=render_note(details["note"] or "", run_id),
        note_key=hashlib.blake2b((details["note"] or "").encode(), digest_size=6).hexdigest(),
        path=path,
        back=current_url(),
        api=url_for("runs.get_run", run_id=run_id),
        all_rows_url=lambda name: chart_url.url(path, style, [*fields, ("all", name)]),
        **command_context(),
    )


def _find_label(run_id: str | None) -> str | None:
    """Return the name of a run, or its id; None if this store has no such run."""
    run = None if run_id is None else tracker().catalog.run(run_id, (META,))
    return None if run is None else run.meta.get("name") or run.id


def _build_part(
    name: str, all_items: Sequence[Item], full_parts: Sequence[str], row: Callable[[Item], Row]
) -> Part[Row]:
    """Return a table of all items, or only the first ones, each converted to a row."""
    items = all_items if name in full_parts else all_items[: MAX_ROWS[name]]
    return Part(name, [row(each) for each in items], len(all_items))


def _group_params(keys: Sequence[str], *, is_filtered: bool) -> list[Section]:
    """Return the sections of many params, open if they match a filter; [] for a few params, or for a single section."""
    open_sections = frozenset(map(section_of_param, keys)) if is_filtered else frozenset()
    sections = param_sections(keys, open_sections)
    return sections if len(sections) > 1 else []


def _identity(item: Item) -> Item:
    return item


def _build_param_row(item: tuple[str, Any]) -> ParamRow:
    key, value = item
    text = format_number(value)
    is_structure = isinstance(value, (dict, list))
    if len(text) <= (_LONG_STRUCTURE if is_structure else _LONG) and "\n" not in text:
        return ParamRow(key, value, text)
    full_text = strict_json.dumps_indented(value) if is_structure else text
    return ParamRow(
        key, value, text[:_LONG_STRUCTURE], full_text[:_MOST_CHARACTERS], max(0, len(full_text) - _MOST_CHARACTERS)
    )
