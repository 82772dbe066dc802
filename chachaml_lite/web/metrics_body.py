"""Bodies with metrics, the only ones that are parsed leniently, and fast."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from .. import strict_json
from ..errors import InvalidInput
from .request_body import NDJSON, NONFINITE, STRING, as_string, describe_json_error

# Converts NaN and the infinities to the texts that clients may also send.
_LENIENT = strict_json.decoder(bare_token=str)
# Without hooks for objects and numbers; the whole body is checked afterwards instead.
_FAST = json.JSONDecoder(parse_constant=str)
# A number as bc prints it, .500 or -.5, or a non-finite one as programs print it: nan, -inf.
_LENIENT_TOKEN = re.compile(
    rb"%b|(?<![0-9.])(?P<minus>-?)(?P<fraction>\.[0-9])|%b" % (STRING, NONFINITE), re.IGNORECASE
)


def parse_entries(body: bytes, kind: str) -> list[dict[str, Any]]:
    """Parse a body of type `kind`: an object of metrics, an array, or one object per line. Raises InvalidInput."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if kind == NDJSON:
        return _parse_lines(body)
    try:
        value = _parse_metrics(body)
    except strict_json.NotJson as fault:
        raise InvalidInput(describe_json_error(body, fault) + _hint(fault)) from fault
    entries = value if isinstance(value, list) else [value]
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            where = f"index {index}: " if isinstance(value, list) else ""
            raise InvalidInput(f"{where}the body must be an object of metrics, or an array of such objects")
    return entries


def describe_position(body: bytes, kind: str, index: int) -> str:
    """Describe the position of an entry in a parsed body: its line or index, or "" for a single entry."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if kind == NDJSON:
        numbers = [number for number, line in enumerate(body.split(b"\n"), 1) if _is_entry(line)]
        return f"line {numbers[index]}: "
    return f"index {index}: " if body.lstrip().startswith(b"[") else ""


def _parse_metrics(body: bytes) -> Any:
    """Parse a body like `strict_json`, but accept NaN, infinities, and numbers as bc prints them."""
    try:
        value = _FAST.decode(strict_json.decode(body))
    except (ValueError, RecursionError):
        return strict_json.loads(_LENIENT_TOKEN.sub(_to_json, body), _LENIENT)
    return (
        value if _is_plain(body, value if isinstance(value, list) else [value]) else strict_json.loads(body, _LENIENT)
    )


def _is_plain(body: bytes, entries: list[Any]) -> bool:
    """Return whether a body only has flat objects with plain keys and numbers, without duplicate keys.

    Then it has exactly two braces for each object and two quotes for each key: duplicate keys, strings and objects as
    values have more. Bodies with escapes are left to the strict parser.
    """
    if b"\\" in body or body.count(b"{") != len(entries) or not all(isinstance(entry, dict) for entry in entries):
        return False
    return body.count(b'"') == 2 * sum(map(len, entries))


def _to_json(match: re.Match[bytes]) -> bytes:
    fraction: bytes | None = match["fraction"]
    return as_string(match) if fraction is None else bytes(match["minus"]) + b"0" + fraction


def _is_entry(line: bytes) -> bool:
    return bool(line) and not line.isspace()


def _parse_lines(body: bytes) -> list[dict[str, Any]]:
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    if not lines:
        return []
    # Parse all lines together, as an array. If each begins with a brace and there are no more braces than lines, no
    # line can have two objects, and no object can span two lines.
    array_text = b"[" + b",".join(lines) + b"]"
    entries: list[dict[str, Any]]
    try:
        entries = _FAST.decode(array_text.decode())
        if len(entries) == len(lines) and all(line[0] == 0x7B for line in lines) and _is_plain(array_text, entries):
            return entries
    except (ValueError, RecursionError):
        pass
    entries = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if not _is_entry(line):
            continue
        try:
            entry = _parse_metrics(line)
        except strict_json.NotJson as fault:
            raise InvalidInput(f"line {number}: {describe_json_error(line, fault)}{_hint(fault)}") from fault
        if not isinstance(entry, dict):
            raise InvalidInput(f"line {number}: must be a JSON object of metrics")
        entries.append(entry)
    return entries


def _hint(fault: strict_json.NotJson) -> str:
    """Return a hint for several objects where one was expected."""
    cause = fault.__cause__
    if not isinstance(cause, json.JSONDecodeError) or cause.msg != "Extra data" or cause.doc[cause.pos] not in "{[":
        return ""
    if cause.lineno > 1:
        return f"; send objects on separate lines as Content-Type {NDJSON}"
    return f"; the lines are joined, as by curl's -d @FILE: send --data-binary @FILE as Content-Type {NDJSON}"
