"""Conditions on a run: comparisons of a field with what a query says, and how these are put together.

What satisfies a comparison:

- A run that lacks the field satisfies none, `!=` and `!~` included. `not` is true where what follows it is not.
- A metric is compared by its latest value, as a number; a NaN satisfies nothing but `!=` (the contract, section 3).
- `=` on a param or tag holds for what `?param.KEY=` finds: a string as it stands, a number by its value, else JSON. The
  other comparisons with a number hold for numbers, and for text that is one: "0.01" is logged by many a shell. With
  text they hold for text, by the order of its characters.
- `~` is "contains", in the text of a value, whatever the case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ... import strict_json
from ...errors import InvalidInput
from ..checks import COMPARE, NUMBER, SPELLED_OUT
from ..environment import MISSING
from ..index.run_entry import Run
from ..names import check_name, quote_name
from ..series.summary import SPELLED, Number
from .fields import METRICS, Field, FieldType, reader

_NUMBER = re.compile(rf"{NUMBER}\Z")
CONTAINS = ("~", "!~")

Test = Callable[[Run], bool]


class Texts:
    """The values of fields as text, as they are and in any case, for the conditions of one query.

    Each is made once for a run, however many conditions look into it: 199 of them on one long note took seconds.
    """

    def __init__(self) -> None:
        self._plain: dict[Field, Callable[[Any], str]] = {}
        self._folded: dict[Field, Callable[[Any], str]] = {}

    def plain(self, field: Field) -> Callable[[Any], str]:
        """A function that gives a field's value as text."""
        return self._plain.setdefault(field, _remembering_last(text_of))

    def fold_of(self, field: Field) -> Callable[[Any], str]:
        """The same without case."""
        plain = self.plain(field)
        return self._folded.setdefault(field, _remembering_last(lambda value: plain(value).casefold()))


def _remembering_last(to_text: Callable[[Any], str]) -> Callable[[Any], str]:
    last: Any = MISSING
    text = ""

    def remembering(value: Any) -> str:
        nonlocal last, text
        if value is not last:
            last, text = value, to_text(value)
        return text

    return remembering


class Condition(Protocol):
    """A condition that a run satisfies or not."""

    def test(self, texts: Texts) -> Test:
        """A function that says whether a run does; made once for many runs, of which one after the other is tested."""


@dataclass(frozen=True)
class Literal:
    """The value that a field is compared with: as it was written, and as a number where it is one; ms for a time."""

    text: str
    number: Number | None


@dataclass(frozen=True)
class Comparison:
    """A field against one value, or any of several. `op`: one of COMPARE's, `~`, `!~`, `in`, `not in`."""

    field: Field
    op: str
    values: tuple[Literal, ...]

    def test(self, texts: Texts) -> Test:
        """Whether a run's value compares so."""
        read = reader(self.field)
        if self.op in ("in", "not in"):
            expected = self.op == "in"
            alike = [_holds(self.field, "=", value, texts) for value in self.values]

            def among(run: Run) -> bool:
                value = read(run)
                return value is not MISSING and any(same(value) for same in alike) is expected

            return among
        holds = _holds(self.field, self.op, self.values[0], texts)

        def compared(run: Run) -> bool:
            value = read(run)
            return value is not MISSING and holds(value)

        return compared


@dataclass(frozen=True)
class All:
    """Every one of some conditions."""

    conditions: tuple[Condition, ...]

    def test(self, texts: Texts) -> Test:
        """Whether a run satisfies each; those that come first are asked first."""
        tests = [condition.test(texts) for condition in self.conditions]
        return lambda run: all(test(run) for test in tests)


@dataclass(frozen=True)
class Either:
    """At least one of some conditions."""

    conditions: tuple[Condition, ...]

    def test(self, texts: Texts) -> Test:
        """Whether a run satisfies one."""
        tests = [condition.test(texts) for condition in self.conditions]
        return lambda run: any(test(run) for test in tests)


@dataclass(frozen=True)
class Not:
    """The opposite of a condition."""

    condition: Condition

    def test(self, texts: Texts) -> Test:
        """Whether a run does not satisfy it."""
        test = self.condition.test(texts)
        return lambda run: not test(run)


def _holds(field: Field, op: str, literal: Literal, texts: Texts) -> Callable[[Any], bool]:
    """Whether a value compares so; for a value that is there."""
    kind = field.holds
    if op in CONTAINS:
        text, contained, fold = literal.text.casefold(), op == "~", texts.fold_of(field)
        return lambda value: (text in fold(value)) is contained
    compare: Callable[[Any, Any], bool] = COMPARE[op]
    if kind is FieldType.ANY:
        if op in ("=", "==", "!="):
            matches, equal = matcher(literal.text, texts.plain(field)), op != "!="
            return lambda value: matches(value) is equal
        if literal.number is not None:
            number = literal.number
            return lambda value: (read := number_in(value)) is not None and compare(read, number)
    if kind in (FieldType.ANY, FieldType.TEXT):
        text = literal.text
        return lambda value: isinstance(value, str) and compare(value, text)
    threshold = literal.number
    return lambda value: compare(value, threshold)


# -- values


def text_of(value: Any) -> str:
    """A logged value as text: a string as it stands, anything else as JSON."""
    return value if isinstance(value, str) else strict_json.dumps(value)


def number_in(value: Any) -> Number | None:
    """The number that a logged value is, or that its text says; None for any other."""
    if isinstance(value, str):
        return number_of(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def number_of(text: str) -> Number | None:
    """The number that a text is: as people write them, or NaN, Infinity, -Infinity. None for another.

    An integer is not rounded, for seeds have 64 bits. A number beyond a double counts as none.
    """
    if text in SPELLED:
        return SPELLED[text]
    if not _NUMBER.match(text):
        return None
    if text.lstrip("+-").isdigit() and len(text) <= 308:
        return int(text)
    number = float(text)
    return None if math.isinf(number) else number


def matcher(text: str, to_text: Callable[[Any], str] = text_of) -> Callable[[Any], bool]:
    """Whether a logged value is what a query's text means: a string as it stands, a number by its value, else JSON."""
    number = number_of(text)

    def matches(value: Any) -> bool:
        if isinstance(value, str):
            return value == text
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return number is not None and number == value
        return to_text(value) == text

    return matches


# -- the condition of GET /api/search


def parse_condition(key: str, op: str, value: str) -> Comparison:
    """A metric's condition from a query string's three texts. Raises InvalidInput."""
    check_name("metric", key)
    op = op.strip()
    op = SPELLED_OUT.get(op.lower(), op)
    if op not in COMPARE:
        operators = ", ".join(dict.fromkeys([*COMPARE, *SPELLED_OUT]))
        raise InvalidInput(
            f"op {quote_name(op)} is unknown; it is one of {operators} (in a URL, < > = are sent as %3C %3E %3D)"
        )
    # A space where a sign may stand is what is left of a + that was not sent as %2B: 1e 5, or " 3".
    number = number_of(re.sub(r"(?<=[eE]) (?=\d)", "+", value).strip())
    if number is None:
        raise InvalidInput(f"metric_value must be a number, NaN, Infinity or -Infinity, not {quote_name(value)}")
    return Comparison(Field(METRICS, key), op, (Literal(value, number),))
