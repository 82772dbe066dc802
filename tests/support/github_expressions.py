"""GitHub's `${{ }}` expressions, as far as this repository's workflows and actions use them; anything else is an error.

https://docs.github.com/actions/reference/workflows-and-actions/expressions
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<operator>&&|\|\||==|!=|[!().,\[\]*])"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_-]*))"
)
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
#: Functions that decide whether a step runs; a condition without one of them holds only while all went well.
STATUS_FUNCTIONS = frozenset({"always", "success", "failure", "cancelled"})


def interpolate(text: str, contexts: Mapping[str, Any], status: str = "success") -> str:
    """`text` with each `${{ }}` replaced by what it comes to."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: as_text(evaluate(found[1], contexts, status)), text)


def evaluate_condition(condition: str, contexts: Mapping[str, Any], status: str) -> bool:
    """Whether a step with this `if:` runs; `status`: the job's, or inside a composite action the action's own."""
    inner = re.fullmatch(r"\s*\$\{\{(.*)\}\}\s*", condition)
    source = inner[1] if inner else condition
    named = set(re.findall(r"([a-z]+)\s*\(", source))
    return (bool(named & STATUS_FUNCTIONS) or status == "success") and _true(evaluate(source, contexts, status))


def evaluate(source: str, contexts: Mapping[str, Any], status: str = "success") -> Any:
    """Evaluate an expression to JSON. Raises AssertionError for unknown ones, so that no test guesses."""
    return _Evaluation(source, contexts, status).result()


def as_text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "Object"
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _true(value: Any) -> bool:
    return value not in (None, False, 0, "")


class _Evaluation:
    """One pass over an expression, from left to right, by the precedence of its operators."""

    def __init__(self, source: str, contexts: Mapping[str, Any], status: str) -> None:
        self._source, self._contexts, self._status = source, contexts, status
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while source[place:].strip():
            found = _TOKEN.match(source, place)
            assert found and found.lastgroup, f"not an expression that this knows: {source}"
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()
        self._tokens.append(("end", ""))

    def result(self) -> Any:
        value = self._either()
        assert self._tokens[0][0] == "end", f"{self._tokens[0][1]} is too much in {self._source}"
        return value

    def _takes(self, text: str) -> bool:
        if self._tokens[0] == ("operator", text):
            self._tokens.pop(0)
            return True
        return False

    def _either(self) -> Any:
        value = self._both()
        while self._takes("||"):
            other = self._both()
            value = value if _true(value) else other
        return value

    def _both(self) -> Any:
        value = self._equal()
        while self._takes("&&"):
            other = self._equal()
            value = other if _true(value) else value
        return value

    def _equal(self) -> Any:
        value = self._not()
        for operator in ("==", "!="):
            if self._takes(operator):
                other = self._not()
                same = as_text(value).lower() == as_text(other).lower()
                return same if operator == "==" else not same
        return value

    def _not(self) -> Any:
        return not _true(self._not()) if self._takes("!") else self._value()

    def _value(self) -> Any:
        kind, text = self._tokens.pop(0)
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return json.loads(text)
        if (kind, text) == ("operator", "("):
            value = self._either()
            assert self._takes(")"), self._source
            return value
        assert kind == "name", f"{text!r} is not expected in {self._source}"
        if self._takes("("):
            return self._call(text, self._arguments())
        if text in _WORDS:
            return _WORDS[text]
        return self._member(text)

    def _arguments(self) -> list[Any]:
        found: list[Any] = []
        while not self._takes(")"):
            found.append(self._either())
            self._takes(",")
        return found

    def _call(self, name: str, arguments: Sequence[Any]) -> Any:
        functions: dict[str, Callable[..., Any]] = {
            "always": lambda: True,
            "success": lambda: self._status == "success",
            "failure": lambda: self._status == "failure",
            "cancelled": lambda: self._status == "cancelled",
            "toJSON": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
            "format": lambda text, *values: re.sub(r"\{(\d+)\}", lambda at: as_text(values[int(at[1])]), text),
            "startsWith": lambda text, start: as_text(text).lower().startswith(as_text(start).lower()),
        }
        assert name in functions, f"this does not know the function {name}"
        return functions[name](*arguments)

    def _member(self, context: str) -> Any:
        assert context in self._contexts, f"there is no context {context} here"
        value = self._contexts[context]
        while self._takes("."):
            kind, name = self._tokens.pop(0)
            assert kind == "name", self._source
            value = value.get(name) if isinstance(value, Mapping) else None
        return value
