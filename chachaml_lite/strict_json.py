"""Strict JSON (RFC 8259), for files and HTTP bodies; Python's own module is more lenient.

It rejects bare NaN and Infinity, numbers beyond a double, duplicate keys, lone surrogates, text that isn't UTF-8, and
nesting that might not be writable.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

# A surrogate can only be written as an escape; searching the bytes saves checking every string.
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


#: Nested containers. The limits of Python's own parser and writer depend on the version and on the stack's depth; what
#: is accepted must be writable everywhere.
MAX_DEPTH = 100


class NotJson(ValueError):
    """The text is not strict JSON; str() says why."""


def parse_float(token: str) -> float:
    """Parse a JSON number with a fraction or an exponent. Raises NotJson if it exceeds the range of a double."""
    value = float(token)
    if math.isinf(value):
        raise NotJson(f"the number {token[:40]} exceeds the range of a double")
    return value


def _integer(token: str) -> int:
    if len(token) > 308:
        parse_float(token)
    return int(token)


def _reject_bare_token(token: str) -> float:
    raise NotJson(f"{token} is not JSON; it is only accepted as a metric's value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in keys or keys.add(key))  # type: ignore[func-returns-value]
        raise NotJson(f"the key {json.dumps(duplicate[:60])} occurs twice in one object")
    return result


def decoder(bare_token: Callable[[str], Any] = _reject_bare_token) -> json.JSONDecoder:
    """Return a decoder with this module's rules; `bare_token` converts NaN, Infinity and -Infinity."""
    return json.JSONDecoder(
        object_pairs_hook=_object, parse_float=parse_float, parse_int=_integer, parse_constant=bare_token
    )


_STRICT = decoder()


def decode(content: bytes) -> str:
    """Decode `content`. Raises NotJson if it isn't UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as fault:
        raise NotJson(f"not UTF-8 at byte {fault.start}") from fault


def loads(content: bytes, decoder: json.JSONDecoder = _STRICT, max_depth: int = MAX_DEPTH) -> Any:
    """Parse `content`, with at most `max_depth` containers within the outermost one. Raises NotJson."""
    try:
        value = decoder.decode(decode(content))
    except json.JSONDecodeError as fault:
        raise NotJson(f"{fault.msg} at line {fault.lineno} column {fault.colno}") from fault
    except RecursionError as fault:
        raise NotJson(f"nested deeper than {max_depth}") from fault
    if content.count(b"[") + content.count(b"{") > max_depth:
        _refuse_depth(value, max_depth)
    if _SURROGATE_ESCAPE.search(content):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as fault:
            raise NotJson("a lone surrogate, which is not a character") from fault
    return value


def _refuse_depth(value: Any, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise NotJson(f"nested deeper than {max_depth}")


def dumps(value: Any) -> str:
    """Return `value` as strict JSON on one line. Raises ValueError for NaN, which callers must convert to text."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def dumps_indented(value: Any) -> str:
    """Return `value` as indented JSON, for people."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
