"""MLflow's filters and orders: `metrics.loss < 0.5 AND params.model LIKE 'resnet%'`, read for each kind of thing.

    filter     = comparison ("AND" comparison)*
    comparison = field operator value | field ["NOT"] "IN" "(" text ("," text)* ")" | field "IS" ["NOT"] "NULL"
    field      = [kind "."] key
    operator   = "<" | "<=" | "=" | "!=" | ">=" | ">" | "LIKE" | "ILIKE"

Words may be written in any case. A key that is no word stands in backticks or double quotes. A value is a number, or a
text in single or double quotes, as it stands there. What lacks the field satisfies only IS NULL, a NaN only `!=`.
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
#: A function that gives the value of a field, or None.
Reader = Callable[[T], Any]
#: The reader of a kind and a key.
ReaderOf = Callable[[str, str], Reader[T]]

MAX_CHARACTERS, MAX_COMPARISONS = 100_000, 1000
METRICS, PARAMS, TAGS, ATTRIBUTES, DATASETS = "metrics", "params", "tags", "attributes", "datasets"
#: The words for each kind.
_WORDS = {
    METRICS: ("metric", "metrics"),
    PARAMS: ("param", "params", "parameter", "parameters"),
    TAGS: ("tag", "tags"),
    ATTRIBUTES: ("attribute", "attributes", "attr", "run"),
    DATASETS: ("dataset", "datasets"),
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words}
#: The tag of prompts, which clients leave out of every list of models by `!=`: what lacks it satisfies that.
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
    """A kind of thing that is searched for: the kinds of its fields, attributes that are texts; `numbers`: numbers."""

    kinds: frozenset[str]
    texts: frozenset[str]
    numbers: frozenset[str] = frozenset()
    #: Texts that may be compared with a list.
    listable: frozenset[str] = frozenset()
    #: Other names of attributes.
    aliases: Mapping[str, str] = field(default_factory=dict)

    def attribute(self, name: str) -> str:
        """The attribute of a name, which may be an alias. Raises InvalidInput."""
        known = self.aliases.get(name, name)
        if known not in self.texts | self.numbers:
            raise InvalidInput(
                f"the attribute {quote_name(name)} is unknown; "
                f"it is one of {', '.join(sorted(self.texts | self.numbers))}"
            )
        return known


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
_OF_DATASETS = frozenset({"name", "digest", "context"})


@dataclass(frozen=True)
class Comparison:
    """A field against a value; `op` in capitals, `value` a number, a text, a list of texts, or None with IS NULL."""

    kind: str
    key: str
    op: str
    value: Any

    def holds(self) -> Callable[[Any], bool]:
        """A function that says whether a field's value satisfies it; of a data set's field any of several values."""
        if self.op in _NULLS:
            wanted = self.op == "IS NULL"
            return lambda value: (value is None) is wanted
        compare = self._compare()
        if self.kind == DATASETS:
            return lambda values: any(value is not None and compare(value) for value in values or ())
        without = self.op == "!=" and (self.kind, self.key) == (TAGS, PROMPT_TAG)
        return lambda value: without if value is None else compare(value)

    def _compare(self) -> Callable[[Any], bool]:
        if self.op in _LISTS:
            texts, wanted = frozenset(self.value), self.op == "IN"
            return lambda value: (value in texts) is wanted
        if self.op in ("LIKE", "ILIKE"):
            return like(self.value, ignores_case=self.op == "ILIKE")
        compare, value = _NUMBERS[self.op], self.value
        return lambda other: compare(other, value)


def like(pattern: str, *, ignores_case: bool) -> Callable[[str], bool]:
    """Whether a whole text is as a pattern says, in which % is any text and _ one character.

    Looked for piece by piece, each as early as it can be: one expression of many `.*` might take minutes.
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


# -- reading

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
    """The comparisons of a filter, all of which have to hold; none of an empty one. Raises InvalidInput."""
    if not text or not text.strip():
        return []
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(f"the filter has {len(text)} characters; {MAX_CHARACTERS} is the most")
    found: list[Comparison] = []
    at = 0
    while at < len(text):
        comparison, at = _parse_comparison(text, at, subject)
        found.append(comparison)
        if len(found) > MAX_COMPARISONS:
            raise InvalidInput(f"the filter has more than {MAX_COMPARISONS} comparisons")
        following = _AND.match(text, at)
        if following is None:
            raise _unreadable(text, at, "AND or the end (there is no OR, and no parentheses)")
        at = following.end()
        if following[0].strip() and not text[at:].strip():
            raise _unreadable(text, at, "a comparison behind AND")
    return found


def _parse_comparison(text: str, at: int, subject: Subject) -> tuple[Comparison, int]:
    """The comparison at a place, and the place behind it."""
    match = _FIELD.match(text, at)
    if match is None:
        raise _unreadable(text, at, "a field, as in metrics.loss or tags.`a key`")
    kind, key = _field_of(match["kind"], match["key"], subject)
    sign = _OPERATOR.match(text, match.end())
    if sign is None:
        raise _unreadable(text, match.end(), "an operator")
    op = " ".join(sign["op"].upper().split())
    is_number = kind == METRICS or (kind == ATTRIBUTES and key in subject.numbers)
    allowed = tuple(_NUMBERS) if is_number else _TEXTS
    if kind in (PARAMS, TAGS):
        allowed += _NULLS
    if kind == DATASETS or (kind == ATTRIBUTES and key in subject.listable):
        allowed += _LISTS
    if op not in allowed:
        raise InvalidInput(f"the operator {op} is none that {kind}.{key[:60]} takes: {', '.join(allowed)}")
    if op in _NULLS:
        return Comparison(kind, key, op, None), sign.end()
    value, end = _parse_value(text, sign.end(), op, is_number=is_number)
    return Comparison(kind, key, op, value), end


def _parse_value(text: str, at: int, op: str, *, is_number: bool) -> tuple[Any, int]:
    if op in _LISTS:
        match = _LIST.match(text, at)
        if match is None:
            raise _unreadable(text, at, "a list, as in ('a', 'b')")
        return [single or double for single, double in _IN_LIST.findall(match["texts"])], match.end()
    match = (_NUMBER if is_number else _TEXT).match(text, at)
    if match is None:
        raise _unreadable(text, at, "a number" if is_number else "a text in quotes")
    if is_number:
        number = match["number"]
        return int(number) if number.lstrip("-").isdigit() and len(number) < 400 else float(number), match.end()
    return match["double"] if match["single"] is None else match["single"], match.end()


def _field_of(word: str | None, quoted: str, subject: Subject) -> tuple[str, str]:
    """Kind and key of a field. Raises InvalidInput."""
    key = quoted[1:-1] if quoted[0] in '`"' else quoted
    kind = ATTRIBUTES if word is None else _KINDS.get(word.strip("`").lower())
    if kind not in subject.kinds:
        raise InvalidInput(
            f"{quote_name(word or '')} is no kind of field here; it is one of {', '.join(sorted(subject.kinds))}"
        )
    if kind == ATTRIBUTES:
        return kind, subject.attribute(key)
    if kind == DATASETS and key not in _OF_DATASETS:
        raise InvalidInput(f"of a data set {', '.join(sorted(_OF_DATASETS))} can be compared, not {quote_name(key)}")
    if not key:
        raise InvalidInput(f"a key is missing behind {kind}.")
    return kind, key


def _unreadable(text: str, at: int, expected: str) -> InvalidInput:
    rest = text[at : at + 40].strip()
    return InvalidInput(
        f"the filter can't be read at {quote_name(rest)}: expected {expected}" if rest else f"expected {expected}"
    )


def tester(comparisons: Iterable[Comparison], reader_of: ReaderOf[T]) -> Callable[[T], bool]:
    """Whether something satisfies all comparisons."""
    tests = [(reader_of(each.kind, each.key), each.holds()) for each in comparisons]
    return lambda item: all(holds(read(item)) for read, holds in tests)


# -- orders


@dataclass(frozen=True)
class Order:
    """A field to order by."""

    kind: str
    key: str
    descending: bool


def parse_orders(texts: Iterable[str], subject: Subject) -> list[Order]:
    """The orders that some texts are, the most important first: `metrics.loss DESC`. Raises InvalidInput."""
    orders = []
    for text in texts:
        match = _ORDER.match(text[:MAX_CHARACTERS])
        named = _FIELD.fullmatch(match["field"].strip()) if match else None
        if match is None or named is None:
            raise InvalidInput(f"order_by {quote_name(text)} can't be read; try metrics.loss DESC, or start_time")
        kind, key = _field_of(named["kind"], named["key"], subject)
        if kind == DATASETS:
            raise InvalidInput("data sets can't be ordered by")
        orders.append(Order(kind, key, (match["way"] or "").lower() == "desc"))
    return orders


def ordered(items: Iterable[T], orders: Iterable[Order], reader_of: ReaderOf[T]) -> list[T]:
    """`items` in order; missing and NaN values last either way, ties as they come."""
    found = list(items)
    for order in reversed(list(orders)):
        read = reader_of(order.kind, order.key)
        valued = [(value, item) for item in found if (value := read(item)) is not None and value == value]
        last = [item for item in found if (value := read(item)) is None or value != value]
        valued.sort(key=lambda pair: pair[0], reverse=order.descending)
        found = [item for _, item in valued] + last
    return found
