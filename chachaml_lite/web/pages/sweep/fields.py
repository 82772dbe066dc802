"""Fields of runs that an axis can show: params, metrics, tags and a few of the run's own, with their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....text.format import format_duration, format_number, format_time
from ....tracking.index.run_entry import Run
from ....tracking.query.conditions import number_in, text_of
from ....tracking.query.fields import METRICS, MISSING, OWN, PARAMS, TAGS, Field, FieldType, reader
from ...charts.scales import Scale, padded_scale, should_use_log, to_finite, tone_of

#: A run's own fields that can be chosen, and their labels.
OWN_NAMES = {
    "start_time": "started",
    "duration_ms": "duration",
    "status": "status",
    "name": "name",
    "created_by": "created by",
    "artifacts": "artifacts",
}
_KINDS = {PARAMS: "param", METRICS: "metric", TAGS: "tag"}
#: The most words that each have a colour; further ones have none.
_MOST_CATEGORIES = 40


def name_of(field: Field) -> str:
    """Return a field's name for an axis."""
    return OWN_NAMES.get(field.name, field.name) if field.kind == OWN else field.name


def list_field_choices(runs: Sequence[Run], *chosen_fields: Field | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the fields of the runs by group, each as in the URL and as its label."""
    keys: dict[str, dict[str, None]] = {PARAMS: {}, METRICS: {}, TAGS: {}}
    for run in runs:
        keys[PARAMS].update(dict.fromkeys(run.params))
        keys[METRICS].update(dict.fromkeys(run.summary))
        keys[TAGS].update(dict.fromkeys(run.meta.get("tags", {})))
    for field in chosen_fields:
        if field is not None and field.kind in keys:
            keys[field.kind][field.name] = None
    groups = [
        (f"{_KINDS[kind]}s".capitalize(), [(str(Field(kind, key)), key) for key in sorted(kind_keys)])
        for kind, kind_keys in keys.items()
    ]
    groups.append(("Run", list(OWN_NAMES.items())))
    return [group for group in groups if group[1]]


def values_of(runs: Sequence[Run], field: Field) -> list[Any]:
    """Return each run's value of a field, or MISSING."""
    read = reader(field)
    return [read(run) for run in runs]


def varies(values: Sequence[Any]) -> bool:
    """Return whether the values differ between runs."""
    return len({text_of(value) for value in values if value is not MISSING}) > 1


def format_field(field: Field, value: Any) -> str:
    """Format a value of a field."""
    if value is MISSING:
        return "none"
    if field.holds is FieldType.TIME:
        return format_time(value)
    return format_duration(value) if field.holds is FieldType.DURATION else format_number(value)


@dataclass(frozen=True)
class Coloring:
    """Colours by a field: each run's step on the colour scale for a number, or its index of the colours for a word.

    `ends`: the least and the greatest value as text; `categories`: each word with its index. One of the two is empty.
    """

    tones: list[int | None]
    colors: list[int]
    ends: tuple[str, str] | None
    categories: list[tuple[str, int]]


def color_by(field: Field | None, values: Sequence[Any]) -> Coloring:
    """Return the colours of runs by their values of a field."""
    if field is None:
        return Coloring([None] * len(values), [0] * len(values), None, [])
    present = [value for value in values if value is not MISSING]
    numbers = [to_finite(value) for value in values]
    good = [number for number in numbers if number is not None]
    if good and all(number_in(value) is not None for value in present):
        low, high = min(good), max(good)
        is_log = should_use_log(good)
        scale = Scale(low, high, is_log) if low < high else padded_scale(low, high, is_log=is_log)
        tones = [None if number is None else tone_of(scale, number) for number in numbers]
        is_whole = field.holds in (FieldType.TIME, FieldType.DURATION)
        ends = [format_field(field, int(end) if is_whole else end) for end in (low, high)]
        return Coloring(tones, [0] * len(values), (ends[0], ends[1]), [])
    texts = ["none" if value is MISSING else text_of(value) for value in values]
    categories = {category: place for place, category in enumerate(sorted(set(texts))[:_MOST_CATEGORIES])}
    return Coloring([None] * len(values), [categories.get(text, 0) for text in texts], None, list(categories.items()))
