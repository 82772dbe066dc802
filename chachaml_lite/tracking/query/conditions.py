"""Conditions on a run: comparisons of a field with a query's values, and their combinations.

The rules of a comparison:

- A run that lacks the field satisfies no comparison, not even `!=` and `!~`. `not` negates whatever follows it.
- A metric is compared by its latest value, as a number; NaN satisfies nothing but `!=` (the contract, section 3).
- `=` on a param or tag matches what `?param.KEY=` matches: a string exactly, a number by its value, anything else as
  JSON. Other comparisons with a number match numbers, and text that is a number, because many shells log "0.01". With
  text they match text, in the order of its characters.
- `~` means "contains", in the text of a value, ignoring case.
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
    """The values of fields as text, with and without case, for the conditions of one query.

    Each text is computed once per run, however many conditions use it: 199 of them on one long note took seconds.
    """

    def __init__(self) -> None:
        self._plain: dict[Field, Callable[[Any], str]] = {}
        self._folded: dict[Field, Callable[[Any], str]] = {}

    def plain(self, field: Field) -> Callable[[Any], str]:
        """Return a function that converts a field's value to text."""
        return self._plain.setdefault(field, _remembering_last(text_of))

    def fold_of(self, field: Field) -> Callable[[Any], str]:
        """Return a function that converts a field's value to case-folded text."""
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
        """Return a function that tests a run. It may be called for many runs, one after the other."""


@dataclass(frozen=True)
class Literal:
    """A value to compare with: its text as written, and its number if it is one (ms for times and durations)."""

    text: str
    number: Number | None


@dataclass(frozen=True)
class Comparison:
    """A comparison of a field with one value or several. `op` is one of COMPARE's, `~`, `!~`, `in` or `not in`."""

    field: Field
    op: str
    values: tuple[Literal, ...]

    def test(self, texts: Texts) -> Test:
        """Return a function that tests whether a run satisfies the comparison."""
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
    """A conjunction: all of the conditions hold."""

    conditions: tuple[Condition, ...]

    def test(self, texts: Texts) -> Test:
        """Return a function that tests whether a run satisfies every condition, evaluated in order."""
        tests = [condition.test(texts) for condition in self.conditions]
        return lambda run: all(test(run) for test in tests)


@dataclass(frozen=True)
class Either:
    """A disjunction: at least one of the conditions holds."""

    conditions: tuple[Condition, ...]

    def test(self, texts: Texts) -> Test:
        """Return a function that tests whether a run satisfies any condition, evaluated in order."""
        tests = [condition.test(texts) for condition in self.conditions]
        return lambda run: any(test(run) for test in tests)


@dataclass(frozen=True)
class Not:
    """The negation of a condition."""

    condition: Condition

    def test(self, texts: Texts) -> Test:
        """Return a function that tests whether a run does not satisfy the condition."""
        test = self.condition.test(texts)
        return lambda run: not test(run)


def _holds(field: Field, op: str, literal: Literal, texts: Texts) -> Callable[[Any], bool]:
    """Return a function that compares a field's value, which is not MISSING, with `literal`."""
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
    """Return a logged value as text: a string unchanged, anything else as JSON."""
    return value if isinstance(value, str) else strict_json.dumps(value)


def number_in(value: Any) -> Number | None:
    """Return a logged value as a number, also if it is text that is a number; None for anything else."""
    if isinstance(value, str):
        return number_of(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def number_of(text: str) -> Number | None:
    """Parse a decimal number, NaN, Infinity or -Infinity; return None for any other text.

    An integer is not rounded, since seeds have 64 bits. Returns None for a number that exceeds a double.
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
    """Return a test for equality with a query's text: of strings exactly, of numbers by value, of the rest as JSON."""
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
    """Parse a condition on a metric from the three texts of a query string. Raises InvalidInput."""
    check_name("metric", key)
    op = op.strip()
    op = SPELLED_OUT.get(op.lower(), op)
    if op not in COMPARE:
        operators = ", ".join(dict.fromkeys([*COMPARE, *SPELLED_OUT]))
        raise InvalidInput(
            f"op {quote_name(op)} is unknown; it is one of {operators} (in a URL, < > = are sent as %3C %3E %3D)"
        )
    # A space where a sign may stand is a + that was not encoded as %2B: 1e 5, or " 3".
    number = number_of(re.sub(r"(?<=[eE]) (?=\d)", "+", value).strip())
    if number is None:
        raise InvalidInput(f"metric_value must be a number, NaN, Infinity or -Infinity, not {quote_name(value)}")
    return Comparison(Field(METRICS, key), op, (Literal(value, number),))
