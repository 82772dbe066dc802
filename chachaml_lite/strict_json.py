"""JSON as RFC 8259 has it, where Python's own module is more lenient: used for the files and for HTTP bodies.

No bare NaN or Infinity, no number beyond a double, no key twice in one object, no lone surrogate, no text that is
not UTF-8, no nesting that a writer could not put out again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

# A surrogate can only get in by an escape; a first look at the bytes spares the second look at every string.
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


#: Containers within containers. Python's own parser and writer stop at depths that differ by version and by how deep
#: the caller already stands; what is let in has to come out again everywhere.
MAX_DEPTH = 100


class NotJson(ValueError):
    """The text is not JSON as we read it; str() says what is wrong with it."""


def finite(token: str) -> float:
    """A JSON number with a fraction or an exponent. NotJson when it is beyond a double."""
    value = float(token)
    if math.isinf(value):
        raise NotJson(f"the number {token[:40]} is beyond a double")
    return value


def _integer(token: str) -> int:
    if len(token) > 308:
        finite(token)
    return int(token)


def _bare_token(token: str) -> float:
    raise NotJson(f"{token} is not JSON; where a metric value is expected it may be sent, elsewhere not")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotJson(f"the key {json.dumps(twice[:60])} stands twice in one object")
    return made


def decoder(bare_token: Callable[[str], Any] = _bare_token) -> json.JSONDecoder:
    """A decoder with this module's rules; `bare_token` says what NaN, Infinity and -Infinity are."""
    return json.JSONDecoder(
        object_pairs_hook=_object, parse_float=finite, parse_int=_integer, parse_constant=bare_token
    )


_STRICT = decoder()


def text_of(content: bytes) -> str:
    """`content` as text. NotJson when it is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as fault:
        raise NotJson(f"not UTF-8 at byte {fault.start}") from fault


def loads(content: bytes, using: json.JSONDecoder = _STRICT, max_depth: int = MAX_DEPTH) -> Any:
    """The value in `content`, no deeper than `max_depth` containers within the outermost one. Raises NotJson."""
    try:
        value = using.decode(text_of(content))
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
            raise NotJson("a lone surrogate, which is no character") from fault
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
    """`value` as strict JSON in one line. ValueError for a bare NaN: its writer has to spell it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def indented(value: Any) -> str:
    """The same over several lines, for people."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
