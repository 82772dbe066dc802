"""The lines of an experiment's charts: one per run, or one for all runs with the same value of a param or tag."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....text.format import format_number
from ....text.safe import truncate
from ....tracking.index.run_entry import Run
from ....tracking.query.conditions import number_in, text_of
from ....tracking.query.fields import MISSING, OWN, PARAMS, TAGS, Field, reader
from ...charts.svg import series_class
from ..chart.figures import label_runs

#: The most groups on one chart; further ones are reported as left out.
MAX_GROUPS = 40
#: The number of line styles: ten colours with four kinds of dashes.
_LOOKS = 40
_LONGEST_KEY, _LONGEST_LABEL = 80, 60
#: The most values of a field that runs can be grouped by; it is offered from two values on.
_MOST_VALUES = 40
_MOST_CHOICES = 200
_OWN = ("name", "status", "created_by")


@dataclass(frozen=True)
class Member:
    """A line of each chart. `key` identifies it in the URL and in scripts; `color` is its index of the line styles."""

    key: str
    label: str
    runs: tuple[Run, ...]
    color: int
    is_hidden: bool
    #: Whether it represents a group of runs, even of one.
    is_group: bool

    @property
    def count_text(self) -> str:
        """Return the number of runs of a group, in words; "" for a single run."""
        return "" if not self.is_group else "1 run" if len(self.runs) == 1 else f"{len(self.runs)} runs"

    @property
    def classes(self) -> str:
        """Return the classes of its colour and dashes."""
        return series_class(self.color)


def list_run_members(runs: Sequence[Run], total: int, hidden_keys: frozenset[str]) -> list[Member]:
    """Return a line for each run.

    `total`: the number of matching runs, so that a run keeps its colour when a newer one starts.
    """
    labels = label_runs(runs)
    return [
        Member(run.id, label, (run,), (total - 1 - place) % _LOOKS, run.id in hidden_keys, False)
        for place, (run, label) in enumerate(zip(runs, labels, strict=True))
    ]


def group_members(runs: Sequence[Run], by: Field, hidden_keys: frozenset[str]) -> tuple[list[Member], int]:
    """Return a line for each value of `by`, in order, and the number of values left out, those of the fewest runs."""
    read = reader(by)
    groups: dict[str, tuple[Any, list[Run]]] = {}
    for run in runs:
        value = read(run)
        groups.setdefault(f"= {text_of(value)}" if value is not MISSING else "", (value, []))[1].append(run)
    largest = sorted(groups.values(), key=lambda group: -len(group[1]))[:MAX_GROUPS]
    members = []
    for place, (value, group_runs) in enumerate(sorted(largest, key=lambda group: _sort_key(group[0]))):
        text = "none" if value is MISSING else text_of(value)
        key = text if len(text) <= _LONGEST_KEY else hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        label = text if value is MISSING else truncate(format_number(value), _LONGEST_LABEL)
        members.append(Member(key, label, tuple(group_runs), place, key in hidden_keys, True))
    return members, len(groups) - len(largest)


def _sort_key(value: Any) -> tuple[int, float, str]:
    """Return a sort key: numbers before text, and both before missing values."""
    if value is MISSING:
        return 2, 0.0, ""
    number = number_in(value)
    if number is None or number != number:
        return 1, 0.0, text_of(value)
    return 0, float(number), ""


def list_group_choices(runs: Sequence[Run], current: Field | None) -> list[tuple[str, str]]:
    """Return the fields to group runs by, which have a few different values, each as in the URL and as its label."""
    values: dict[Field, set[str]] = {}
    for run in runs:
        for kind, mapping in ((PARAMS, run.params), (TAGS, run.meta.get("tags", {}))):
            for key, value in mapping.items():
                texts = values.setdefault(Field(kind, key), set())
                if len(texts) <= _MOST_VALUES:
                    texts.add(text_of(value))
        for name in _OWN:
            values.setdefault(Field(OWN, name), set()).add(str(run.meta.get(name)))
    fields = [field for field, texts in values.items() if 2 <= len(texts) <= _MOST_VALUES]
    fields.sort(key=lambda field: ((PARAMS, TAGS, OWN).index(field.kind), field.name))
    fields = fields[:_MOST_CHOICES]
    if current is not None and current not in fields:
        fields.insert(0, current)
    return [(str(field), field.name if field.kind == OWN else f"{field.kind[:-1]} {field.name}") for field in fields]
