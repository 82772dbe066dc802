"""Request bodies: their type, size and structure; `tracking` checks their values."""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, BinaryIO, cast

from flask import request
from werkzeug.http import parse_options_header

from .. import strict_json
from ..errors import InvalidInput, TooLarge
from .context import command_context, origin, services
from .urls import current_url

JSON = "application/json"
NDJSON = "application/x-ndjson"
OCTETS = "application/octet-stream"
ZIP = "application/zip"


#: A non-finite number as programs print it, where JSON may have a value; never in a string or a key. Strings match even
#: without their end: otherwise a body of nothing but quotes would be searched again from each of them.
NONFINITE = rb"(?<![\w.])(?P<sign>[-+]?)(?P<word>nan|inf(?:inity)?)(?![\w.]|[ \t\r\n]{0,9}:)"
STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"?'
_NONFINITE = re.compile(rb"%b|%b" % (STRING, NONFINITE), re.IGNORECASE)
_LENIENT = strict_json.decoder(bare_token=str)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

#: curl's option for the data of each type; for other types it sends a file.
_CURL_DATA = {JSON: "-d '{...}'", "application/x-www-form-urlencoded": "-d NAME=VALUE"}


def require_type(*types: str) -> str:
    """Return the body's media type, one of `types`. Raises InvalidInput, with a command that sends the right one."""
    _check_encoding()
    sent_type: str = request.environ.get("CONTENT_TYPE", "")
    if sent_type in types:  # the usual case, without parameters to parse
        return sent_type
    mimetype, is_wrapped = _parse_type(sent_type)
    if mimetype in types and not is_wrapped:
        return mimetype
    problem = f"not {mimetype[:100]}" if mimetype else "and the request has none"
    if is_wrapped:
        problem += " in multipart form, as curl's -F sends a file"
    start = f"curl {shlex.quote(_address())}{command_context()['auth']} -H"
    commands = (f"{start} 'Content-Type: {each}' {_CURL_DATA.get(each, '--data-binary @FILE')}" for each in types)
    note = "" if set(types) <= set(_CURL_DATA) else " (-d would strip a file's line ends, and -F would wrap the file)"
    raise InvalidInput(
        f"this endpoint takes Content-Type {' or '.join(types)}, {problem}; use {', or '.join(commands)}{note}"
    )


@lru_cache(maxsize=16)
def _parse_type(content_type: str) -> tuple[str, bool]:
    """Return the lower-case media type of a Content-Type, and whether the body is in multipart form."""
    mimetype, parameters = parse_options_header(content_type)
    return mimetype.lower(), "boundary" in parameters


def _check_encoding() -> None:
    """Raise InvalidInput for a body with a Content-Encoding."""
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "").strip()
    if encoding.lower() not in ("", "identity"):
        raise InvalidInput(
            f"Content-Encoding: {encoding[:40]} is not supported; send the body uncompressed, without that header"
        )


def _address() -> str:
    """Return the requested URL, for a command."""
    return origin() + current_url()


def read_content() -> bytes:
    """Read the body. Raises TooLarge beyond the limit for bodies that are parsed in memory."""
    limit = services().max_json_bytes
    environ = request.environ
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > limit:
        raise TooLarge(
            f"the body has {length} bytes; the limit is {limit} (--max-json, CHACHAML_MAX_JSON); "
            "send it in parts, or upload it as an artifact"
        )
    body: bytes = environ["wsgi.input"].read(length)
    return body


def open_upload() -> tuple[BinaryIO, int | None]:
    """Return a body of any size as a stream, and its Content-Length, if any; it may be on disk. Raises TooLarge."""
    size, limit = request.content_length, services().max_upload_bytes
    if limit is not None and size is not None and size > limit:
        raise TooLarge(f"the upload has {size} bytes; the limit is {limit} (--max-upload, CHACHAML_MAX_UPLOAD)")
    return cast(BinaryIO, request.stream), size


def parse_object(*, takes_nonfinite: bool = False) -> dict[str, Any]:
    """Parse the body as a JSON object. Raises InvalidInput, TooLarge.

    With `takes_nonfinite`, a bare NaN or infinity is accepted, and converted to text.
    """
    require_type(JSON)
    body = read_content().removeprefix(codecs.BOM_UTF8)
    try:
        value = _parse_with_nonfinite(body) if takes_nonfinite else strict_json.loads(body)
    except strict_json.NotJson as fault:
        raise InvalidInput(describe_json_error(body, fault)) from fault
    if not isinstance(value, dict):
        raise InvalidInput("the body must be a JSON object, {...}")
    return value


def _parse_with_nonfinite(body: bytes) -> Any:
    try:
        return strict_json.loads(body, _LENIENT)
    except strict_json.NotJson:
        return strict_json.loads(_NONFINITE.sub(as_string, body), _LENIENT)


def as_string(match: re.Match[bytes]) -> bytes:
    """Return a match of NONFINITE as a JSON string; a string unchanged."""
    word = match["word"]
    if word is None:
        return match[0]
    if word.lower() == b"nan":
        return b'"NaN"'
    return b'"-Infinity"' if match["sign"] == b"-" else b'"Infinity"'


def describe_json_error(body: bytes, fault: ValueError) -> str:
    """Describe why a body is not JSON, with a remedy for known cases."""
    if body.startswith(_UTF16) or b"\0" in body[:4]:
        return "the body is UTF-16 or UTF-32; send JSON as UTF-8 (iconv -f UTF-16 -t UTF-8 FILE converts it)"
    return f"the body is not JSON: {fault}" if body.strip() else "the body is empty; send a JSON object, {...}"


def check_fields(
    body: Mapping[str, Any], required: Mapping[str, type], optional: Mapping[str, type | tuple[type, ...]]
) -> dict[str, Any]:
    """Return the fields of a body, checked for names and types. Raises InvalidInput.

    Optional fields that are absent or null are omitted.
    """
    refuse_unknown(body, [*required, *optional])
    values = {}
    for name, kind in required.items():
        if name not in body:
            raise InvalidInput(f"the field {name!r} is missing")
        values[name] = _check_type(name, body[name], kind)
    for name, kinds in optional.items():
        if body.get(name) is not None:
            values[name] = _check_type(name, body[name], kinds)
    return values


def refuse_unknown(body: Mapping[str, Any], field_names: Collection[str]) -> None:
    """Raise InvalidInput for an unknown field, so that typos don't go unnoticed."""
    for name in body:
        if name not in field_names:
            raise InvalidInput(f"unknown field {name[:60]!r}; this endpoint takes {', '.join(field_names)}")


_KINDS: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "an object",
}


def _check_type(name: str, value: Any, kinds: type | tuple[type, ...]) -> Any:
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(_KINDS[kind] for kind in kinds)
        raise InvalidInput(f"the field {name!r} must be {expected}")
    return value
