"""The fields of a run for orders, queries and columns: metrics.KEY, params.KEY, tags.KEY, env.PATH, the run's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ...errors import InvalidInput
from ..environment import MISSING as MISSING
from ..environment import value_at
from ..index.run_entry import Run
from ..names import check_name, quote_name


class FieldType(Enum):
    """The type of a field's values."""

    NUMBER = "a number"
    TEXT = "text"
    TIME = "ms since 1970"
    DURATION = "ms"
    COUNT = "a whole number"
    ANY = "any JSON value"


METRICS, PARAMS, TAGS, ENV, OWN = "metrics", "params", "tags", "env", "run"
_KINDS = {METRICS: METRICS, PARAMS: PARAMS, TAGS: TAGS, ENV: ENV, "metric": METRICS, "param": PARAMS, "tag": TAGS}
_TYPE_OF_KIND = {METRICS: FieldType.NUMBER, PARAMS: FieldType.ANY, TAGS: FieldType.ANY, ENV: FieldType.ANY}


def _of_meta(name: str) -> Callable[[Run], Any]:
    return lambda run: run.meta.get(name)


#: A run's own fields: the type of each, and a function that returns its value, or None if it is missing.
_OWN: dict[str, tuple[FieldType, Callable[[Run], Any]]] = {
    "id": (FieldType.TEXT, lambda run: run.id),
    **{
        name: (FieldType.TEXT, _of_meta(name))
        for name in ("experiment", "name", "status", "created_by", "parent_run_id")
    },
    "start_time": (FieldType.TIME, lambda run: run.meta["start_time"]),
    "end_time": (FieldType.TIME, _of_meta("end_time")),
    "last_write_time": (FieldType.TIME, lambda run: run.last_write_time),
    "duration_ms": (FieldType.DURATION, lambda run: run.duration_ms),
    "artifacts": (FieldType.COUNT, lambda run: len(run.artifacts)),
    **{name: (FieldType.TEXT, _of_meta(name)) for name in ("error", "note")},
}
_ALIASES = {"duration": "duration_ms"}
OWN_FIELDS = tuple(_OWN)
EXPECTED = f"metrics.NAME, params.NAME, tags.NAME, env.PATH, or {', '.join(OWN_FIELDS)}"

# A key that may stand unquoted in a query and in a list of columns; any other key is quoted.
_BARE_KEY = re.compile(r"[^\s()<>=!~,`\"'\u00ab\u00bb\u2018-\u201e]+\Z")
_ESCAPED = re.compile(r"\\([\"'\\])")


@dataclass(frozen=True)
class Field:
    """A field of a run. `name` is a key if `kind` is "metrics", "params", "tags" or "env", an own field if "run"."""

    kind: str
    name: str

    def __str__(self) -> str:
        """Return the field as `parse_field` and the query grammar read it."""
        if self.kind == OWN:
            return self.name
        return f"{self.kind}.{self.name if _BARE_KEY.match(self.name) else quote_text(self.name)}"

    @property
    def holds(self) -> FieldType:
        """The type of the field's values."""
        return _TYPE_OF_KIND[self.kind] if self.kind != OWN else _OWN[self.name][0]


def quote_text(text: str) -> str:
    """Return `text` in double quotes, escaped for a query."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def unquote_text(text: str) -> str:
    """Return a quoted text without its quotes and escapes."""
    return _ESCAPED.sub(r"\1", text[1:-1])


def parse_field(text: str) -> Field:
    """Parse a field, whose key may be quoted. Raises InvalidInput, whose text doesn't say where the field stood."""
    kind, dot, name = text.partition(".")
    if dot and kind in _KINDS:
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = unquote_text(name)
        return Field(_KINDS[kind], check_name(_KINDS[kind].removesuffix("s"), name))
    if _ALIASES.get(text, text) in _OWN:
        return Field(OWN, _ALIASES.get(text, text))
    raise InvalidInput(f"{quote_name(text)} is not a field of a run; use {EXPECTED}")


def reader(field: Field) -> Callable[[Run], Any]:
    """Return a function that returns a run's value of a field, or MISSING, reading no more of the run than it needs."""
    name = field.name
    if field.kind == METRICS:

        def latest(run: Run) -> Any:
            series = run.summary.get(name)
            return MISSING if series is None else series.last

        return latest
    if field.kind == PARAMS:
        return lambda run: run.params.get(name, MISSING)
    if field.kind == TAGS:
        return lambda run: run.meta.get("tags", {}).get(name, MISSING)
    if field.kind == ENV:
        return lambda run: value_at(run.meta.get("env"), name)
    get = _OWN[name][1]

    def own(run: Run) -> Any:
        value = get(run)
        return MISSING if value is None else value

    return own
