"""Strict parsing of query strings: an unknown or repeated name is a 400, so that typos don't go unnoticed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import parse_qsl

from flask import request

from ..errors import InvalidInput
from ..tracking.names import check_name
from ..tracking.query.conditions import Comparison, parse_condition

#: The most fields of a request, more than any valid one has: parsing each of them takes time.
MAX_FIELDS = 200
DIRECTIONS = ("min", "max")
#: The fields of a condition on a metric: all three or none.
METRIC_CONDITION = ("metric_key", "op", "metric_value")
CONDITION_HINT = (
    "send q, as in ?q=metrics.accuracy > 0.9, or metric_key, op and metric_value, "
    "as in ?metric_key=accuracy&op=ge&metric_value=0.9"
)
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no", "")


class Fields:
    """The fields of a query string or a form, as text."""

    #: The word for a field in messages.
    _KIND = "field"

    def __init__(
        self,
        pairs: Iterable[tuple[str, str]],
        field_names: Collection[str],
        prefixes: tuple[str, ...] = (),
        repeatable: Collection[str] = (),
    ) -> None:
        """Store pairs whose names are known or have one of `prefixes`, as in `tag.KEY`. Raises InvalidInput."""
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in field_names and not (name.startswith(prefixes) if prefixes else False):
                takes = ", ".join([*field_names, *(f"{prefix}KEY" for prefix in prefixes)]) or "none"
                raise InvalidInput(f"unknown {self._KIND} {name[:60]!r}; this endpoint takes {takes}")
            self._values.setdefault(name, []).append(value)
            if len(self._values[name]) > 1 and name not in repeatable:
                raise InvalidInput(f"the {self._KIND} {name[:60]!r} is repeated; send it once")

    def text(self, name: str) -> str | None:
        """Return the value of a field, or None."""
        return self._values[name][0] if name in self._values else None

    def texts(self, name: str) -> list[str]:
        """Return the values of a field that may be repeated."""
        return self._values.get(name, [])

    def integer(self, name: str) -> int | None:
        """Return the value of a field as an integer, or None. Raises InvalidInput."""
        text = self.text(name)
        if text is None:
            return None
        digits = text[1:] if text[:1] in ("-", "+") else text
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
            raise InvalidInput(f"{name} must be an integer of at most 19 digits, not {text[:60]!r}")
        return int(text)

    def flag(self, name: str) -> bool:
        """Return the value of a boolean field, or False. Raises InvalidInput."""
        text = (self.text(name) or "").lower()
        if text not in _TRUE + _FALSE:
            raise InvalidInput(f"{name} must be true or false, not {text[:60]!r}")
        return text in _TRUE

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """Return the fields with a prefix by the rest of their names: `tag.os=linux` is {"os": "linux"} for "tag."."""
        fields = {name[len(prefix) :]: values[0] for name, values in self._values.items() if name.startswith(prefix)}
        if "" in fields:
            raise InvalidInput(f"{prefix!r} needs a key, such as {prefix}author=maria")
        return fields


class Query(Fields):
    """The fields of a request's query string."""

    _KIND = "query parameter"

    def __init__(
        self, field_names: Collection[str], prefixes: tuple[str, ...] = (), repeatable: Collection[str] = ()
    ) -> None:
        """Parse the query string of the request. Raises InvalidInput."""
        pairs: list[tuple[str, str]] = []
        if request.query_string:
            try:
                text = request.query_string.decode("ascii")
                pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
            except UnicodeDecodeError as fault:
                raise InvalidInput("the query string is not percent-encoded UTF-8") from fault
            except ValueError as fault:
                raise InvalidInput(f"the query string has more than {MAX_FIELDS} fields") from fault
        super().__init__(pairs, field_names, prefixes, repeatable)


def parse_ids(query: Query) -> list[str]:
    """Return the ids in `ids`: several in one field, separated by commas, or one in each field."""
    return [run_id for text in query.texts("ids") for part in text.split(",") if (run_id := part.strip())]


def parse_metric_condition(query: Query) -> Comparison | None:
    """Parse the fields METRIC_CONDITION; return None if all are absent or empty. Raises InvalidInput."""
    key, op, value = (query.text(name) or None for name in METRIC_CONDITION)
    if key is not None and op is not None and value is not None:
        return parse_condition(key, op, value)
    if (key, op, value) != (None, None, None):
        raise InvalidInput(CONDITION_HINT)
    return None


def parse_metric(text: str | None) -> str | None:
    """Parse `metric`; an empty one is None. Raises InvalidInput."""
    return check_name("metric", text) if text else None


def parse_direction(text: str | None) -> bool | None:
    """Parse `direction`: whether less is better, or None for the default by the metric's name. Raises InvalidInput."""
    if text and text not in DIRECTIONS:
        raise InvalidInput(f"direction must be min or max, not {text[:60]!r}; the default depends on the metric's name")
    return text == "min" if text else None


def is_file(query: Query) -> bool:
    """Return whether the page is requested as a file. Raises InvalidInput for another ?format=."""
    name = query.text("format")
    if name not in (None, "html"):
        raise InvalidInput(f"a page is only available as format=html, not {name[:60]!r}; the API has other formats")
    return name is not None
