"""Bodies of requests: their type, size and shape. What they mean is for `tracking` to say."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, BinaryIO, cast

from flask import request

from .. import strict_json
from ..errors import InvalidInput, TooLarge
from .context import services

JSON = "application/json"
NDJSON = "application/x-ndjson"
OCTETS = "application/octet-stream"
ZIP = "application/zip"


def require_type(*types: str) -> str:
    """The body's media type, one of `types`. Raises InvalidInput, with the header to send."""
    sent_type: str = request.environ.get("CONTENT_TYPE", "")
    if sent_type in types:  # as most clients write it, without a parameter to be parsed
        return sent_type
    if request.mimetype in types:
        return request.mimetype
    sent = f"it came as {request.mimetype[:100]}" if request.mimetype else "it came without one"
    options = " or ".join(f"-H 'Content-Type: {each}'" for each in types)
    raise InvalidInput(f"this endpoint takes Content-Type {' or '.join(types)}, and {sent}; with curl, add {options}")


def content() -> bytes:
    """The body, when it is within the limit for what is parsed in memory. Raises TooLarge."""
    limit = services().max_json_bytes
    environ = request.environ
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > limit:
        raise TooLarge(
            f"the body has {length} bytes, and {limit} is the most here (--max-json, CHACHAML_MAX_JSON); "
            "send it in parts, or upload it as an artifact"
        )
    body: bytes = environ["wsgi.input"].read(length)
    return body


def upload() -> tuple[BinaryIO, int | None]:
    """A body of any size, maybe on the disk already, and how many bytes its sender spoke of, if it did. TooLarge."""
    size, limit = request.content_length, services().max_upload_bytes
    if limit is not None and size is not None and size > limit:
        raise TooLarge(f"the upload has {size} bytes, and {limit} is the most here (--max-upload, CHACHAML_MAX_UPLOAD)")
    return cast(BinaryIO, request.stream), size


def json_object() -> dict[str, Any]:
    """The JSON object that the body is. Raises InvalidInput, TooLarge."""
    require_type(JSON)
    body = content()
    try:
        value = strict_json.loads(body)
    except strict_json.NotJson as fault:
        raise InvalidInput(_not_json(body, fault)) from fault
    if not isinstance(value, dict):
        raise InvalidInput("the body must be a JSON object, {...}")
    return value


def _not_json(body: bytes, fault: ValueError) -> str:
    return f"the body is not JSON: {fault}" if body.strip() else "the body is empty; send a JSON object, {...}"


def fields(
    body: Mapping[str, Any], required: Mapping[str, type], optional: Mapping[str, type | tuple[type, ...]]
) -> dict[str, Any]:
    """The fields of a body that has no others: each of its type, an optional one possibly null. Raises InvalidInput.

    An absent or null optional field is left out.
    """
    refuse_unknown(body, [*required, *optional])
    taken = {}
    for name, kind in required.items():
        if name not in body:
            raise InvalidInput(f"the field {name!r} is missing")
        taken[name] = _of_type(name, body[name], kind)
    for name, kinds in optional.items():
        if body.get(name) is not None:
            taken[name] = _of_type(name, body[name], kinds)
    return taken


def refuse_unknown(body: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise InvalidInput for a field that the endpoint doesn't take: a typo must not pass silently."""
    for name in body:
        if name not in known:
            raise InvalidInput(f"unknown field {name[:60]!r}; this endpoint takes {', '.join(known)}")


_KINDS: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "an object",
}


def _of_type(name: str, value: Any, kinds: type | tuple[type, ...]) -> Any:
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(_KINDS[kind] for kind in kinds)
        raise InvalidInput(f"the field {name!r} must be {wanted}")
    return value


# -- metrics: the one body that is read leniently, and fast

# NaN and the infinities come out as the strings that they may also be sent as.
_LENIENT = strict_json.decoder(bare_token=str)
# Without hooks for each object and number; what they would find is looked for afterwards, in the whole.
_FAST = json.JSONDecoder(parse_constant=str)
# A string, or a number as bc prints it: .500 or -.5. A string matches without its end, too: else a body of nothing but
# quotes would be searched to its end from each of them.
_BC_NUMBER = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|(?<![0-9.])(-?)(\.[0-9])')


def metric_entries() -> list[dict[str, Any]]:
    """The objects of a metrics body: one, an array of them, or one a line. Raises InvalidInput, TooLarge."""
    kind = require_type(JSON, NDJSON)
    return entries_of(content(), kind)


def entries_of(body: bytes, kind: str) -> list[dict[str, Any]]:
    """The same, of a body at hand and its media type, JSON or NDJSON. Raises InvalidInput."""
    if kind == NDJSON:
        return _lines(body)
    try:
        value = _metrics_json(body)
    except strict_json.NotJson as fault:
        raise InvalidInput(_not_json(body, fault)) from fault
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if not isinstance(entry, dict):
            raise InvalidInput("the body must be an object of metrics, or an array of such objects")
    return entries


def _metrics_json(body: bytes) -> Any:
    """The value of a body as `strict_json` reads it, but for NaN, infinities, and numbers as bc prints them."""
    try:
        value = _FAST.decode(strict_json.text_of(body))
    except (ValueError, RecursionError):
        return strict_json.loads(_BC_NUMBER.sub(_with_zero, body), _LENIENT)
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


def _with_zero(match: re.Match[bytes]) -> bytes:
    sign, fraction = match.groups()
    return match[0] if fraction is None else sign + b"0" + fraction


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
    for number, line in enumerate(lines, 1):
        try:
            entry = _metrics_json(line)
        except strict_json.NotJson as fault:
            raise InvalidInput(f"line {number} is not JSON: {fault}") from fault
        if not isinstance(entry, dict):
            raise InvalidInput(f"line {number} must be a JSON object of metrics")
        entries.append(entry)
    return entries
