"""MLflow's filters and orders, for each kind of entity: `metrics.loss < 0.5 AND params.model LIKE 'resnet%'`.

    filter     = comparison ("AND" comparison)*
    comparison = field operator value | field ["NOT"] "IN" "(" text ("," text)* ")" | field "IS" ["NOT"] "NULL"
    field      = [kind "."] key
    operator   = "<" | "<=" | "=" | "!=" | ">=" | ">" | "LIKE" | "ILIKE"

Keywords are case-insensitive. A key that isn't a plain word is put in backticks or double quotes. A value is a number,
or a text in single or double quotes, without escapes. An item without the field satisfies only IS NULL, a NaN only
`!=`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import InvalidInput
from ..tracking.names import quote_name

T = TypeVar("T")
#: A function that returns the value of a field, or None.
Reader = Callable[[T], Any]
#: The reader of a kind and a key.
ReaderOf = Callable[[str, str], Reader[T]]

MAX_CHARACTERS, MAX_COMPARISONS = 100_000, 1000
METRICS, PARAMS, TAGS, ATTRIBUTES, DATASETS = "metrics", "params", "tags", "attributes", "datasets"
#: The keywords of each kind.
_WORDS = {
    METRICS: ("metric", "metrics"),
    PARAMS: ("param", "params", "parameter", "parameters"),
    TAGS: ("tag", "tags"),
    ATTRIBUTES: ("attribute", "attributes", "attr", "run"),
    DATASETS: ("dataset", "datasets"),
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words}
#: The tag of prompts. Clients exclude them from every list of models by `!=`, which models without the tag satisfy.
PROMPT_TAG = "mlflow.prompt.is_prompt"

_NUMBERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}
_TEXTS = ("=", "!=", "LIKE", "ILIKE")
_LISTS = ("IN", "NOT IN")
_NULLS = ("IS NULL", "IS NOT NULL")


@dataclass(frozen=True)
class Subject:
    """A kind of entity to search for: the kinds of its fields, and its attributes: `texts` and `numbers`."""

    kinds: frozenset[str]
    texts: frozenset[str]
    numbers: frozenset[str] = frozenset()
    #: Texts that can be compared with a list.
    listable: frozenset[str] = frozenset()
    #: Alternative names of attributes.
    aliases: Mapping[str, str] = field(default_factory=dict)

    def attribute(self, name: str) -> str:
        """Return the attribute with a name, which may be an alias. Raises InvalidInput."""
        attribute = self.aliases.get(name, name)
        if attribute not in self.texts | self.numbers:
            raise InvalidInput(
                f"the attribute {quote_name(name)} is unknown; "
                f"it is one of {', '.join(sorted(self.texts | self.numbers))}"
            )
        return attribute


RUNS = Subject(
    frozenset({METRICS, PARAMS, TAGS, ATTRIBUTES, DATASETS}),
    frozenset({"status", "run_name", "run_id", "user_id", "artifact_uri"}),
    frozenset({"start_time", "end_time"}),
    frozenset({"run_id"}),
    {
        **dict.fromkeys(("created", "Created"), "start_time"),
        **dict.fromkeys(("run name", "Run name", "Run Name"), "run_name"),
    },
)
EXPERIMENTS = Subject(
    frozenset({TAGS, ATTRIBUTES}),
    frozenset({"name", "experiment_id"}),
    frozenset({"creation_time", "last_update_time"}),
    frozenset({"experiment_id"}),
)
_DATASET_FIELDS = frozenset({"name", "digest", "context"})


@dataclass(frozen=True)
class Comparison:
    """A field compared with a value: a number, a text, a list of texts, or None for IS NULL; `op` is in capitals."""

    kind: str
    key: str
    op: str
    value: Any

    def predicate(self) -> Callable[[Any], bool]:
        """Return a predicate for a field's value; for a field of datasets, which has several values, any may match."""
        if self.op in _NULLS:
            expects_null = self.op == "IS NULL"
            return lambda value: (value is None) is expects_null
        compare = self._compare()
        if self.kind == DATASETS:
            return lambda values: any(value is not None and compare(value) for value in values or ())
        matches_missing = self.op == "!=" and (self.kind, self.key) == (TAGS, PROMPT_TAG)
        return lambda value: matches_missing if value is None else compare(value)

    def _compare(self) -> Callable[[Any], bool]:
        if self.op in _LISTS:
            texts, expected = frozenset(self.value), self.op == "IN"
            return lambda value: (value in texts) is expected
        if self.op in ("LIKE", "ILIKE"):
            return compile_like(self.value, ignores_case=self.op == "ILIKE")
        compare, value = _NUMBERS[self.op], self.value
        return lambda other: compare(other, value)


def compile_like(pattern: str, *, ignores_case: bool) -> Callable[[str], bool]:
    """Return a predicate that matches a whole text against a pattern: % is any text, _ is one character.

    The pieces are searched one after another, each as early as possible: one expression of many `.*` can take minutes.
    """
    flags = re.DOTALL | (re.IGNORECASE if ignores_case else 0)
    parts = pattern.split("%")
    pieces = [re.compile("".join("." if each == "_" else re.escape(each) for each in part), flags) for part in parts]
    if len(pieces) == 1:
        return lambda text: pieces[0].fullmatch(text) is not None
    first, last, last_length = pieces[0], pieces[-1], len(parts[-1])

    def matches(text: str) -> bool:
        match = first.match(text)
        for piece in pieces[1:-1]:
            if match is None:
                return False
            match = piece.search(text, match.end())
        start = len(text) - last_length
        return match is not None and start >= match.end() and last.fullmatch(text, start) is not None

    return matches


# -- parsing

_NAME = r"`[^`]*`|\"[^\"]*\"|[^\s<>=!(),'\"`.][^\s<>=!(),'\"`]*"
_FIELD = re.compile(rf"\s*(?:(?P<kind>`?[A-Za-z]+`?)\s*\.\s*)?(?P<key>{_NAME})")
_OPERATOR = re.compile(
    r"\s*(?P<op><=|>=|!=|[<>=](?!=)|(?:not\s+)?in(?=[\s(])|i?like(?=[\s'\"])|is\s+(?:not\s+)?null\b)", re.IGNORECASE
)
_NUMBER = re.compile(r"\s*(?P<number>-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])")
_TEXT = re.compile(r"\s*(?:'(?P<single>(?:''|[^'])*)'|\"(?P<double>[^\"]*)\")")
_LIST = re.compile(r"\s*\(\s*(?P<texts>(?:'[^']*'|\"[^\"]*\")(?:\s*,\s*(?:'[^']*'|\"[^\"]*\"))*)\s*,?\s*\)")
_IN_LIST = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_AND = re.compile(r"\s+and(?=\s)|\s*\Z", re.IGNORECASE)
_ORDER = re.compile(r"(?P<field>.*?)(?:\s+(?P<way>asc|desc))?\s*\Z", re.IGNORECASE | re.DOTALL)


def parse_filter(text: str | None, subject: Subject) -> list[Comparison]:
    """Parse a filter into comparisons, all of which must hold; an empty filter has none. Raises InvalidInput."""
    if not text or not text.strip():
        return []
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"the filter has {len(text)} characters; the limit is {MAX_CHARACTERS}")
    comparisons: list[Comparison] = []
    at = 0
    while at < len(text):
        comparison, at = _parse_comparison(text, at, subject)
        comparisons.append(comparison)
        if len(comparisons) > MAX_COMPARISONS:
            raise InvalidInput(f"the filter has more than {MAX_COMPARISONS} comparisons")
        following = _AND.match(text, at)
        if following is None:
            raise _syntax_error(text, at, "AND or the end (there is no OR, and no parentheses)")
        at = following.end()
        if following[0].strip() and not text[at:].strip():
            raise _syntax_error(text, at, "a comparison after AND")
    return comparisons


def _parse_comparison(text: str, at: int, subject: Subject) -> tuple[Comparison, int]:
    """Parse the comparison at a position; return it and the position after it."""
    match = _FIELD.match(text, at)
    if match is None:
        raise _syntax_error(text, at, "a field, as in metrics.loss or tags.`a key`")
    kind, key = _field_of(match["kind"], match["key"], subject)
    operator_match = _OPERATOR.match(text, match.end())
    if operator_match is None:
        raise _syntax_error(text, match.end(), "an operator")
    op = " ".join(operator_match["op"].upper().split())
    is_number = kind == METRICS or (kind == ATTRIBUTES and key in subject.numbers)
    operators = tuple(_NUMBERS) if is_number else _TEXTS
    if kind in (PARAMS, TAGS):
        operators += _NULLS
    if kind == DATASETS or (kind == ATTRIBUTES and key in subject.listable):
        operators += _LISTS
    if op not in operators:
        raise InvalidInput(f"the operator {op} can't be used with {kind}.{key[:60]}; use one of {', '.join(operators)}")
    if op in _NULLS:
        return Comparison(kind, key, op, None), operator_match.end()
    value, end = _parse_value(text, operator_match.end(), op, is_number=is_number)
    return Comparison(kind, key, op, value), end


def _parse_value(text: str, at: int, op: str, *, is_number: bool) -> tuple[Any, int]:
    if op in _LISTS:
        match = _LIST.match(text, at)
        if match is None:
            raise _syntax_error(text, at, "a list, as in ('a', 'b')")
        return [single or double for single, double in _IN_LIST.findall(match["texts"])], match.end()
    match = (_NUMBER if is_number else _TEXT).match(text, at)
    if match is None:
        raise _syntax_error(text, at, "a number" if is_number else "a text in quotes")
    if is_number:
        number = match["number"]
        return int(number) if number.lstrip("-").isdigit() and len(number) < 400 else float(number), match.end()
    return match["double"] if match["single"] is None else match["single"], match.end()


def _field_of(word: str | None, quoted_key: str, subject: Subject) -> tuple[str, str]:
    """Return the kind and the key of a field. Raises InvalidInput."""
    key = quoted_key[1:-1] if quoted_key[0] in '`"' else quoted_key
    kind = ATTRIBUTES if word is None else _KINDS.get(word.strip("`").lower())
    if kind not in subject.kinds:
        raise InvalidInput(
            f"{quote_name(word or '')} is not a kind of field here; use one of {', '.join(sorted(subject.kinds))}"
        )
    if kind == ATTRIBUTES:
        return kind, subject.attribute(key)
    if kind == DATASETS and key not in _DATASET_FIELDS:
        raise InvalidInput(
            f"datasets can be compared by {', '.join(sorted(_DATASET_FIELDS))}, not by {quote_name(key)}"
        )
    if not key:
        raise InvalidInput(f"a key is missing behind {kind}.")
    return kind, key


def _syntax_error(text: str, at: int, expected: str) -> InvalidInput:
    rest = text[at : at + 40].strip()
    return InvalidInput(
        f"the filter can't be read at {quote_name(rest)}: expected {expected}" if rest else f"expected {expected}"
    )


def combine(comparisons: Iterable[Comparison], reader_of: ReaderOf[T]) -> Callable[[T], bool]:
    """Return a predicate for items that satisfy all comparisons."""
    tests = [(reader_of(each.kind, each.key), each.predicate()) for each in comparisons]
    return lambda item: all(holds(read(item)) for read, holds in tests)


# -- orders


@dataclass(frozen=True)
class Order:
    """A field to order by."""

    kind: str
    key: str
    descending: bool


def parse_orders(texts: Iterable[str], subject: Subject) -> list[Order]:
    """Parse orders such as `metrics.loss DESC`, the most significant first. Raises InvalidInput."""
    orders = []
    for text in texts:
        match = _ORDER.match(text[:MAX_CHARACTERS])
        field = _FIELD.fullmatch(match["field"].strip()) if match else None
        if match is None or field is None:
            raise InvalidInput(f"order_by {quote_name(text)} can't be read; try metrics.loss DESC, or start_time")
        kind, key = _field_of(field["kind"], field["key"], subject)
        if kind == DATASETS:
            raise InvalidInput("runs can't be ordered by a dataset")
        orders.append(Order(kind, key, (match["way"] or "").lower() == "desc"))
    return orders


def sort_items(items: Iterable[T], orders: Iterable[Order], reader_of: ReaderOf[T]) -> list[T]:
    """Sort `items`: missing and NaN values come last in both directions, ties keep their order."""
    result = list(items)
    for order in reversed(list(orders)):
        read = reader_of(order.kind, order.key)
        present = [(value, item) for item in result if (value := read(item)) is not None and value == value]
        absent = [item for item in result if (value := read(item)) is None or value != value]
        present.sort(key=lambda pair: pair[0], reverse=order.descending)
        result = [item for _, item in present] + absent
    return result
