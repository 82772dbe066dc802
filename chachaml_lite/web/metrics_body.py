"""Bodies of metrics: the one kind that is read leniently, and fast."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from .. import strict_json
from ..errors import InvalidInput
from .request_body import NDJSON, NONFINITE, STRING, as_string, why_not_json

# NaN and the infinities come out as the strings that they may also be sent as.
_LENIENT = strict_json.decoder(bare_token=str)
# Without hooks for each object and number; what they would find is looked for afterwards, in the whole.
_FAST = json.JSONDecoder(parse_constant=str)
# A number as bc prints it, .500 or -.5, or one that is none, as programs print it: nan, -inf.
_LENIENT_TOKEN = re.compile(
    rb"%b|(?<![0-9.])(?P<minus>-?)(?P<fraction>\.[0-9])|%b" % (STRING, NONFINITE), re.IGNORECASE
)


def entries_of(body: bytes, kind: str) -> list[dict[str, Any]]:
    """The objects of a body of metrics, which is of type `kind`: one, an array, or one a line. Raises InvalidInput."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if kind == NDJSON:
        return _lines(body)
    try:
        value = _metrics_json(body)
    except strict_json.NotJson as fault:
        raise InvalidInput(why_not_json(body, fault) + _advice(fault)) from fault
    entries = value if isinstance(value, list) else [value]
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            where = f"index {index}: " if isinstance(value, list) else ""
            raise InvalidInput(f"{where}the body must be an object of metrics, or an array of such objects")
    return entries


def place_of(body: bytes, kind: str, index: int) -> str:
    """The words for the place of an entry in a body that was read: its line, or its index; "" where it is alone."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if kind == NDJSON:
        numbers = [number for number, line in enumerate(body.split(b"\n"), 1) if _is_entry(line)]
        return f"line {numbers[index]}: "
    return f"index {index}: " if body.lstrip().startswith(b"[") else ""


def _metrics_json(body: bytes) -> Any:
    """The value of a body as `strict_json` reads it, but for NaN, infinities, and numbers as bc prints them."""
    try:
        value = _FAST.decode(strict_json.decode(body))
    except (ValueError, RecursionError):
        return strict_json.loads(_LENIENT_TOKEN.sub(_as_json, body), _LENIENT)
    return (
        value if _is_plain(body, value if isinstance(value, list) else [value]) else strict_json.loads(body, _LENIENT)
    )


def _is_plain(body: bytes, entries: list[Any]) -> bool:
    """Whether all is flat objects with plain keys and numbers, a key never twice in one.

    Then there are as many braces as two an object has, and as many quotes as two a key: a key that stands twice leaves
    quotes over, a string or an object for a value does too. An escape is left to the strict reader.
    """
    if b"\\" in body or body.count(b"{") != len(entries) or not all(isinstance(entry, dict) for entry in entries):
        return False
    return body.count(b'"') == 2 * sum(map(len, entries))


def _as_json(match: re.Match[bytes]) -> bytes:
    fraction: bytes | None = match["fraction"]
    return as_string(match) if fraction is None else bytes(match["minus"]) + b"0" + fraction


def _is_entry(line: bytes) -> bool:
    return bool(line) and not line.isspace()


def _lines(body: bytes) -> list[dict[str, Any]]:
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    if not lines:
        return []
    # All lines at once, as one array. Where each begins with a brace and there are no more braces than lines, none can
    # hold two objects, nor pass for a line only together with its neighbour.
    joined = b"[" + b",".join(lines) + b"]"
    entries: list[dict[str, Any]]
    try:
        entries = _FAST.decode(joined.decode())
        if len(entries) == len(lines) and all(line[0] == 0x7B for line in lines) and _is_plain(joined, entries):
            return entries
    except (ValueError, RecursionError):
        pass
    entries = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if not _is_entry(line):
            continue
        try:
            entry = _metrics_json(line)
        except strict_json.NotJson as fault:
            raise InvalidInput(f"line {number}: {why_not_json(line, fault)}{_advice(fault)}") from fault
        if not isinstance(entry, dict):
            raise InvalidInput(f"line {number}: it must be a JSON object of metrics")
        entries.append(entry)
    return entries


def _advice(fault: strict_json.NotJson) -> str:
    """A hint for objects that stand behind one another, where one was expected."""
    cause = fault.__cause__
    if not isinstance(cause, json.JSONDecodeError) or cause.msg != "Extra data" or cause.doc[cause.pos] not in "{[":
        return ""
    if cause.lineno > 1:
        return f"; objects that stand a line each are sent as Content-Type {NDJSON}"
    return f"; lines are glued together, as curl's -d @FILE does: send --data-binary @FILE as Content-Type {NDJSON}"
