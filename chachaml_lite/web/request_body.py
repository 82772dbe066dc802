"""Request bodies: their type, size and shape. Their meaning is up to `tracking`."""

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
from .context import for_commands, origin, services
from .urls import current_url

JSON = "application/json"
NDJSON = "application/x-ndjson"
OCTETS = "application/octet-stream"
ZIP = "application/zip"


#: A spelling of a number that is none, as programs print it, where JSON may have a value; never within a string, nor a
#: key. A string matches without its end, too: else a body of nothing but quotes would be searched from each of them.
NONFINITE = rb"(?<![\w.])(?P<sign>[-+]?)(?P<word>nan|inf(?:inity)?)(?![\w.]|[ \t\r\n]{0,9}:)"
STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"?'
_NONFINITE = re.compile(rb"%b|%b" % (STRING, NONFINITE), re.IGNORECASE)
_SPELLED = strict_json.decoder(bare_token=str)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

#: What curl sends as each type; a file for any other.
_CURL_DATA = {JSON: "-d '{...}'", "application/x-www-form-urlencoded": "-d NAME=VALUE"}


def require_type(*types: str) -> str:
    """The body's media type, one of `types`. Raises InvalidInput, with the command to send it by."""
    _refuse_encoded()
    sent_type: str = request.environ.get("CONTENT_TYPE", "")
    if sent_type in types:  # as most clients write it, without a parameter to be parsed
        return sent_type
    mimetype, is_wrapped = _parse_type(sent_type)
    if mimetype in types and not is_wrapped:
        return mimetype
    sent = f"it came as {mimetype[:100]}" if mimetype else "it came without one"
    if is_wrapped:
        sent += ", in parts (multipart), as curl's -F wraps a file"
    start = f"curl {shlex.quote(_address())}{for_commands()['auth']} -H"
    commands = (f"{start} 'Content-Type: {each}' {_CURL_DATA.get(each, '--data-binary @FILE')}" for each in types)
    note = "" if set(types) <= set(_CURL_DATA) else " (of a file -d would strip the line ends, and -F would wrap it)"
    raise InvalidInput(
        f"this endpoint takes Content-Type {' or '.join(types)}, and {sent}; send it by {', or '.join(commands)}{note}"
    )


@lru_cache(maxsize=16)
def _parse_type(sent: str) -> tuple[str, bool]:
    """The media type of a Content-Type, in lower case, and whether what is sent is in parts."""
    mimetype, parameters = parse_options_header(sent)
    return mimetype.lower(), "boundary" in parameters


def _refuse_encoded() -> None:
    """Raise InvalidInput for a body that would have to be decoded first."""
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "").strip()
    if encoding.lower() not in ("", "identity"):
        raise InvalidInput(
            f"Content-Encoding: {encoding[:40]} is not taken; send the body as it is, without that header"
        )


def _address() -> str:
    """The URL that was called, as a command names it."""
    return origin() + current_url()


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


def json_object(*, takes_nonfinite: bool = False) -> dict[str, Any]:
    """The JSON object that the body is. Raises InvalidInput, TooLarge.

    `takes_nonfinite`: a bare NaN or infinity is taken, and becomes one of the strings that stand for them.
    """
    require_type(JSON)
    body = content().removeprefix(codecs.BOM_UTF8)
    try:
        value = _with_nonfinite(body) if takes_nonfinite else strict_json.loads(body)
    except strict_json.NotJson as fault:
        raise InvalidInput(why_not_json(body, fault)) from fault
    if not isinstance(value, dict):
        raise InvalidInput("the body must be a JSON object, {...}")
    return value


def _with_nonfinite(body: bytes) -> Any:
    try:
        return strict_json.loads(body, _SPELLED)
    except strict_json.NotJson:
        return strict_json.loads(_NONFINITE.sub(as_string, body), _SPELLED)


def as_string(match: re.Match[bytes]) -> bytes:
    """A match of NONFINITE as the string that stands for it in JSON; a string as it is."""
    word = match["word"]
    if word is None:
        return match[0]
    if word.lower() == b"nan":
        return b'"NaN"'
    return b'"-Infinity"' if match["sign"] == b"-" else b'"Infinity"'


def why_not_json(body: bytes, fault: ValueError) -> str:
    """The reason why a body is refused that is no JSON, with what to do where its kind is known."""
    if body.startswith(_UTF16) or b"\0" in body[:4]:
        return "the body is UTF-16 or UTF-32; JSON is sent as UTF-8 (iconv -f UTF-16 -t UTF-8 FILE converts it)"
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
