"""The query grammar: parses `metrics.accuracy > 0.9 and params.lr <= 0.01 and name ~ "base"` into conditions.

    query      = all ("or" all)*
    all        = negated ("and" negated)*
    negated    = "not"* (comparison | "(" query ")")
    comparison = field operator value | field ["not"] "in" "(" value ("," value)* ")"
    operator   = "<" | "<=" | "=" | "==" | "!=" | ">=" | ">" | "~" | "!~" | "lt" | "le" | "eq" | "ne" | "ge" | "gt"
    field      = ("metrics" | "params" | "tags") "." key | one of a run's own fields
    value, key = characters other than spaces, quotes and those with a meaning here; or anything in quotes, "" or ''

Words such as `and` may be written in any case. In quotes, a backslash escapes a quote or a backslash. The meaning of
comparisons is documented in `conditions`, fields in `fields`, and the notation of times in `times`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ...errors import InvalidInput
from ..checks import COMPARE, SPELLED_OUT
from ..index.run_parts import STATUSES
from .conditions import CONTAINS, All, Comparison, Condition, Either, Literal, Not, number_of
from .fields import OWN, Field, FieldType, parse_field, quote_text, unquote_text
from .times import length_ms, time_ms

#: Limits for characters, values and nested parentheses: more than people write, and small enough to be quick.
MAX_CHARACTERS = 4000
MAX_VALUES = 200
MAX_DEPTH = 40
#: The number of characters shown on either side of an error.
_AROUND = 40

_TOKEN = re.compile(
    r"(?P<sign><=|>=|==|!=|!~|[<>=~])|(?P<mark>[(),])"
    r"|(?P<string>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|(?P<word>[^\s()<>=!~,`\"'\u00ab\u00bb\u2018-\u201e]+)",
    re.DOTALL,
)
_SPACE = re.compile(r"\s*")
_STATUS = Field(OWN, "status")
#: The values that are valid for each type of field that doesn't accept all.
_EXAMPLES = {
    FieldType.NUMBER: "a number without quotes, or NaN, Infinity, -Infinity",
    FieldType.COUNT: "a number without quotes",
    FieldType.TIME: 'a time, as in "2026-01-31", "2026-01-31T12:00Z", or -24h',
    FieldType.DURATION: "a length of time with its unit, as in 500ms, 90s, 10min, 1.5h, 2d",
}
_KEYWORDS = ("and", "or", "not", "in")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CURLY = "\u00ab\u00bb\u2018\u2019\u201a\u201b\u201c\u201d\u201e"


class BadQuery(InvalidInput):
    """A query that can't be parsed: the `reason`, and its position, `start` to `stop` in `text`."""

    def __init__(self, text: str, start: int, stop: int, reason: str) -> None:
        self.text, self.start, self.stop, self.reason = text, start, stop, reason
        before, wrong, after = self.excerpt
        super().__init__(
            f"q, character {start + 1}: {reason}; marked \u00bb\u00ab in: {before}\u00bb{wrong}\u00ab{after}"
        )

    @property
    def excerpt(self) -> tuple[str, str, str]:
        """The text in one line as (text before the error, the error, text after it), truncated if it is long."""
        plain = _UNSEEN.sub(" ", self.text)
        begin, end = max(0, self.start - _AROUND), min(self.stop, self.start + _AROUND)
        before = ("\u2026" if begin else "") + plain[begin : self.start]
        after = plain[self.stop : self.stop + _AROUND] + ("\u2026" if self.stop + _AROUND < len(plain) else "")
        return before, plain[self.start : end] + ("\u2026" if end < self.stop else ""), after


class _Token(NamedTuple):
    kind: str  # "sign", "mark", "string", "word" or "end"
    text: str
    start: int
    stop: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words

    @property
    def value(self) -> str:
        return unquote_text(self.text) if self.kind == "string" else self.text


def parse_query(text: str, now_ms: int) -> Condition:
    """Parse a query; times such as -24h are relative to `now_ms`. Raises BadQuery."""
    if len(text) > MAX_CHARACTERS:
        raise BadQuery(text, MAX_CHARACTERS, len(text), f"a query has {MAX_CHARACTERS} characters at most")
    return _Parser(text, now_ms).parse_all()


def _tokens(text: str) -> list[_Token]:
    tokens = []
    at = _end_of_space(text, 0)
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadQuery(text, at, at + 1, _why_unreadable(text[at]))
        tokens.append(_Token(str(match.lastgroup), match[0], at, match.end()))
        at = _end_of_space(text, match.end())
    return [*tokens, _Token("end", "", len(text), len(text))]


def _end_of_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _why_unreadable(character: str) -> str:
    if character == "`":
        return 'quotes are " or \' here, not backticks, as in metrics."val loss" < 0.3'
    if character in _CURLY:
        return "quotes are straight here, \" or '"
    return "this quote has no end" if character in "\"'" else "! stands before = or ~, or write not"


class _Parser:
    """A recursive descent parser. The depth is limited so that no query can exhaust the stack."""

    def __init__(self, text: str, now_ms: int) -> None:
        self._text = text
        self._now_ms = now_ms
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._values = 0

    # -- tokens

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _took_word(self, *words: str) -> bool:
        return self._next.is_word(*words) and bool(self._take())

    def _wrong(self, token: _Token, reason: str) -> BadQuery:
        return BadQuery(self._text, token.start, token.stop, reason)

    def _expect(self, mark: str, why: str) -> None:
        if self._next.kind != "mark" or self._next.text != mark:
            raise self._wrong(self._next, f"expected {mark} {why}")
        self._take()

    # -- the grammar, top down

    def parse_all(self) -> Condition:
        if self._next.kind == "end":
            raise self._wrong(self._next, "the query is empty; try metrics.accuracy > 0.9")
        condition = self._any_of()
        if self._next.kind != "end":
            closes = self._next.text == ")"
            raise self._wrong(self._next, "this ) closes nothing" if closes else "expected and, or, or the end here")
        return condition

    def _any_of(self) -> Condition:
        return self._parse_joined("or", self._all_of, Either)

    def _all_of(self) -> Condition:
        return self._parse_joined("and", self._parse_negation, All)

    def _parse_joined(
        self, word: str, part: Callable[[], Condition], join: Callable[[tuple[Condition, ...]], Condition]
    ) -> Condition:
        parts = [part()]
        while self._took_word(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else join(tuple(parts))

    def _parse_negation(self) -> Condition:
        is_negated = False
        while self._took_word("not"):
            is_negated = not is_negated
        condition = self._in_parentheses() if self._next.text == "(" else self._comparison()
        return Not(condition) if is_negated else condition

    def _in_parentheses(self) -> Condition:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(self._next, f"parentheses stand in parentheses at most {MAX_DEPTH} deep")
        self._take()
        condition = self._any_of()
        self._expect(")", "here, for the ( before")
        self._depth -= 1
        return condition

    def _comparison(self) -> Comparison:
        start = self._next
        field = self._field()
        sign = self._next
        op = self._operator(field)
        if op in ("in", "not in"):
            self._expect("(", 'and values after in, as in status in ("completed", "failed")')
            values = [self._value(field, op)]
            while self._next.text == "," and self._next.kind == "mark":
                self._take()
                values.append(self._value(field, op))
            self._expect(")", "or , here, for the values of in")
        else:
            values = [self._value(field, op)]
        if op in CONTAINS and field.holds not in (FieldType.TEXT, FieldType.ANY):
            raise self._wrong(sign, f"{sign.text} is for text, and {field} is none; compare it with = or <")
        self._values += len(values)
        if self._values > MAX_VALUES:
            raise self._wrong(start, f"a query has {MAX_VALUES} values at most")
        return Comparison(field, op, tuple(values))

    def _field(self) -> Field:
        token = self._take()
        if token.kind != "word" or token.is_word(*_KEYWORDS):
            raise self._wrong(token, "expected a condition such as metrics.accuracy > 0.9")
        text, stop, key = token.text, token.stop, self._next
        if text.endswith(".") and key.kind == "string" and key.start == stop:
            self._take()
            text, stop = text + quote_text(key.value), key.stop
        try:
            return parse_field(text)
        except InvalidInput as fault:
            reason = fault.detail
            if "." not in text and text.isprintable():
                reason += f'; a metric is written metrics.{text[:40]}, a name is searched with name ~ "{text[:40]}"'
            raise BadQuery(self._text, token.start, stop, reason) from fault

    def _operator(self, field: Field) -> str:
        token = self._take()
        if token.kind == "sign":
            return token.text
        if token.is_word(*SPELLED_OUT):
            return SPELLED_OUT[token.text.lower()]
        if token.is_word("in"):
            return "in"
        if token.is_word("not") and self._took_word("in"):
            return "not in"
        operators = " ".join(dict.fromkeys((*COMPARE, *CONTAINS)))
        raise self._wrong(token, f"expected an operator after {field}: {operators} in")

    def _value(self, field: Field, op: str) -> Literal:
        token = self._take()
        if token.kind not in ("word", "string") or token.is_word(*_KEYWORDS):
            raise self._wrong(token, f"expected a value for {field}")
        text = token.value
        if field.holds is FieldType.TIME:
            number: float | None = time_ms(text, self._now_ms)
        elif field.holds is FieldType.DURATION:
            number = length_ms(text)
        else:
            number = number_of(text) if token.kind == "word" else None
        if number is None and field.holds in _EXAMPLES:
            raise self._wrong(token, f"{field} is compared with {_EXAMPLES[field.holds]}")
        if field == _STATUS and op not in CONTAINS and text not in STATUSES:
            raise self._wrong(token, f"status is one of {', '.join(STATUSES)}")
        return Literal(text, number)
