"""An evaluator of GitHub's `${{ }}` expressions, for the part of the language that this repository uses.

Anything else is an error.

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
#: Functions that decide whether a step runs; a condition without one of them is false after a failure.
STATUS_FUNCTIONS = frozenset({"always", "success", "failure", "cancelled"})


def interpolate(text: str, contexts: Mapping[str, Any], status: str = "success") -> str:
    """Replace each `${{ }}` in `text` by its value."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda match: to_text(evaluate(match[1], contexts, status)), text)


def evaluate_condition(condition: str, contexts: Mapping[str, Any], status: str) -> bool:
    """Decide whether a step with this `if:` runs; `status` is the job's, or inside a composite action the action's."""
    inner = re.fullmatch(r"\s*\$\{\{(.*)\}\}\s*", condition)
    source = inner[1] if inner else condition
    functions = set(re.findall(r"([a-z]+)\s*\(", source))
    return (bool(functions & STATUS_FUNCTIONS) or status == "success") and _is_true(evaluate(source, contexts, status))


def evaluate(source: str, contexts: Mapping[str, Any], status: str = "success") -> Any:
    """Evaluate an expression to a JSON value. Raises AssertionError for syntax that isn't supported."""
    return _Parser(source, contexts, status).evaluate()


def to_text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "Object"
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _is_true(value: Any) -> bool:
    return value not in (None, False, 0, "")


class _Parser:
    """A recursive descent parser that evaluates an expression while it reads it, from left to right."""

    def __init__(self, source: str, contexts: Mapping[str, Any], status: str) -> None:
        self._source, self._contexts, self._status = source, contexts, status
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while source[position:].strip():
            match = _TOKEN.match(source, position)
            assert match and match.lastgroup, f"unsupported expression: {source}"
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        self._tokens.append(("end", ""))

    def evaluate(self) -> Any:
        value = self._parse_or()
        assert self._tokens[0][0] == "end", f"unexpected {self._tokens[0][1]} in {self._source}"
        return value

    def _accept(self, text: str) -> bool:
        if self._tokens[0] == ("operator", text):
            self._tokens.pop(0)
            return True
        return False

    def _parse_or(self) -> Any:
        value = self._parse_and()
        while self._accept("||"):
            other = self._parse_and()
            value = value if _is_true(value) else other
        return value

    def _parse_and(self) -> Any:
        value = self._parse_equality()
        while self._accept("&&"):
            other = self._parse_equality()
            value = other if _is_true(value) else value
        return value

    def _parse_equality(self) -> Any:
        value = self._parse_not()
        for operator in ("==", "!="):
            if self._accept(operator):
                other = self._parse_not()
                same = to_text(value).lower() == to_text(other).lower()
                return same if operator == "==" else not same
        return value

    def _parse_not(self) -> Any:
        return not _is_true(self._parse_not()) if self._accept("!") else self._parse_value()

    def _parse_value(self) -> Any:
        kind, text = self._tokens.pop(0)
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return json.loads(text)
        if (kind, text) == ("operator", "("):
            value = self._parse_or()
            assert self._accept(")"), self._source
            return value
        assert kind == "name", f"unexpected {text!r} in {self._source}"
        if self._accept("("):
            return self._call(text, self._parse_arguments())
        if text in _WORDS:
            return _WORDS[text]
        return self._parse_member(text)

    def _parse_arguments(self) -> list[Any]:
        arguments: list[Any] = []
        while not self._accept(")"):
            arguments.append(self._parse_or())
            self._accept(",")
        return arguments

    def _call(self, name: str, arguments: Sequence[Any]) -> Any:
        functions: dict[str, Callable[..., Any]] = {
            "always": lambda: True,
            "success": lambda: self._status == "success",
            "failure": lambda: self._status == "failure",
            "cancelled": lambda: self._status == "cancelled",
            "toJSON": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
            "format": lambda text, *values: re.sub(r"\{(\d+)\}", lambda at: to_text(values[int(at[1])]), text),
            "startsWith": lambda text, start: to_text(text).lower().startswith(to_text(start).lower()),
        }
        assert name in functions, f"unsupported function: {name}"
        return functions[name](*arguments)

    def _parse_member(self, context: str) -> Any:
        assert context in self._contexts, f"no such context: {context}"
        value = self._contexts[context]
        while self._accept("."):
            kind, name = self._tokens.pop(0)
            assert kind == "name", self._source
            value = value.get(name) if isinstance(value, Mapping) else None
        return value
