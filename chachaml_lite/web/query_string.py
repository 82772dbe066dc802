"""Query strings: decoded once, strictly; an unknown or repeated name is a 400, for a typo must not pass silently."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import parse_qsl

from flask import request

from ..errors import InvalidInput
from ..tracking.names import check_name
from ..tracking.query.conditions import Comparison, parse_condition

#: More than any request of ours has; each costs a little.
MAX_FIELDS = 200
DIRECTIONS = ("min", "max")
#: The fields that put one condition on a metric, all three or none.
METRIC_CONDITION = ("metric_key", "op", "metric_value")
ASK_BY = (
    "send q, as in ?q=metrics.accuracy > 0.9, or metric_key, op and metric_value, "
    "as in ?metric_key=accuracy&op=ge&metric_value=0.9"
)
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no", "")


class Fields:
    """Names and values as text, those of a query string or of a form."""

    #: What messages call one.
    _KIND = "field"

    def __init__(
        self,
        pairs: Iterable[tuple[str, str]],
        known: Collection[str],
        prefixes: tuple[str, ...] = (),
        repeatable: Collection[str] = (),
    ) -> None:
        """Take the pairs of known names. `prefixes`: kinds of names, as in `tag.KEY`. Raises InvalidInput."""
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in known and not (name.startswith(prefixes) if prefixes else False):
                takes = ", ".join([*known, *(f"{prefix}KEY" for prefix in prefixes)]) or "none"
                raise InvalidInput(f"unknown {self._KIND} {name[:60]!r}; this endpoint takes {takes}")
            self._values.setdefault(name, []).append(value)
            if len(self._values[name]) > 1 and name not in repeatable:
                raise InvalidInput(f"the {self._KIND} {name[:60]!r} stands twice; which one did you mean?")

    def text(self, name: str) -> str | None:
        """The value of a field; None where it is absent."""
        return self._values[name][0] if name in self._values else None

    def texts(self, name: str) -> list[str]:
        """The values of a field that may be repeated."""
        return self._values.get(name, [])

    def integer(self, name: str) -> int | None:
        """The value of a field as an integer; None where it is absent. Raises InvalidInput."""
        text = self.text(name)
        if text is None:
            return None
        digits = text[1:] if text[:1] in ("-", "+") else text
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
            raise InvalidInput(f"{name} must be a whole number of at most 19 digits, and it is {text[:60]!r}")
        return int(text)

    def flag(self, name: str) -> bool:
        """Whether a field says true; absent is false. Raises InvalidInput."""
        text = (self.text(name) or "").lower()
        if text not in _TRUE + _FALSE:
            raise InvalidInput(f"{name} must be true or false, and it is {text[:60]!r}")
        return text in _TRUE

    def under(self, prefix: str) -> dict[str, str]:
        """The fields of a kind, by the rest of their names: `tag.os=linux` is {"os": "linux"} under "tag."."""
        found = {name[len(prefix) :]: values[0] for name, values in self._values.items() if name.startswith(prefix)}
        if "" in found:
            raise InvalidInput(f"{prefix!r} needs a key, as in {prefix}author=maria")
        return found


class Query(Fields):
    """The fields of a request's query string."""

    _KIND = "query parameter"

    def __init__(
        self, known: Collection[str], prefixes: tuple[str, ...] = (), repeatable: Collection[str] = ()
    ) -> None:
        """Read the query string of the request. Raises InvalidInput."""
        pairs: list[tuple[str, str]] = []
        if request.query_string:
            try:
                text = request.query_string.decode("ascii")
                pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
            except UnicodeDecodeError as fault:
                raise InvalidInput("the query string is not percent-encoded UTF-8") from fault
            except ValueError as fault:
                raise InvalidInput(f"the query string has more than {MAX_FIELDS} fields") from fault
        super().__init__(pairs, known, prefixes, repeatable)


def ids_of(query: Query) -> list[str]:
    """The runs that `ids` names: several in one field, separated by commas, or a field each."""
    return [run_id for text in query.texts("ids") for part in text.split(",") if (run_id := part.strip())]


def metric_condition(query: Query) -> Comparison | None:
    """The condition of the fields METRIC_CONDITION; None where all are absent or empty. Raises InvalidInput."""
    key, op, value = (query.text(name) or None for name in METRIC_CONDITION)
    if key is not None and op is not None and value is not None:
        return parse_condition(key, op, value)
    if (key, op, value) != (None, None, None):
        raise InvalidInput(ASK_BY)
    return None


def metric_of(text: str | None) -> str | None:
    """The metric that `metric` of a query string names; an empty one is none. Raises InvalidInput."""
    return check_name("metric", text) if text else None


def direction_of(text: str | None) -> bool | None:
    """Whether `direction` of a query string says that less is better; None: the metric's name tells. InvalidInput."""
    if text and text not in DIRECTIONS:
        raise InvalidInput(f"direction is min or max, and it is {text[:60]!r}; without it the metric's name tells")
    return text == "min" if text else None


def is_file(query: Query) -> bool:
    """Tell whether a query string asks for the file. Raises InvalidInput for another ?format=."""
    form = query.text("format")
    if form not in (None, "html"):
        raise InvalidInput(f"a page comes as format=html alone, not {form[:60]!r}; the API has it in other formats")
    return form is not None
