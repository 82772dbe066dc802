"""Responses: JSON, and files that waitress sends without a thread."""

from __future__ import annotations

import hashlib
import io
import re
from typing import Any, BinaryIO

from flask import Response, request, send_file
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

from .. import strict_json
from ..text.safe import escape_json

#: The policy of our pages: they only load our own files, and there are no inline scripts or styles.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: The policy of uploaded files: if a browser displays one, it has no origin and can't run scripts.
FILE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"

# A single range of bytes. Several ranges, and invalid ones, are ignored, as RFC 9110, section 14.2 allows.
_RANGE = re.compile(r"bytes=([0-9]{0,99})-([0-9]{0,99})\Z", re.IGNORECASE)

_OK = '{"ok": true}\n'


def json_response(value: Any, status: int = 200) -> Response:
    """Return `value` as strict JSON, with a line end for terminals."""
    return Response(escape_json(strict_json.dumps(value)) + "\n", status, mimetype="application/json")


def ok() -> Response:
    """Return the response to a write that has nothing to report."""
    return Response(_OK, mimetype="application/json")


def not_modified(sha256: str, *, is_weak: bool = False) -> Response | None:
    """Return a 304 if the client has these bytes, else None. `is_weak` is for responses that may be compressed."""
    if not request.if_none_match.contains_weak(sha256):  # proxies that compress make it weak
        return None
    response = Response(status=304)
    response.set_etag(sha256, weak=is_weak)
    if is_weak:
        response.vary.add("Accept-Encoding")
    return response


def with_content_etag(response: Response) -> Response:
    """Return `response` with an ETag derived from its bytes, or a 304: for content without stamps."""
    etag = hashlib.blake2b(response.get_data(), digest_size=16).hexdigest()
    not_modified_response = not_modified(etag, is_weak=True)
    response.set_etag(etag, weak=True)
    response.headers["Cache-Control"] = "no-cache"
    return response if not_modified_response is None else not_modified_response


def file_response(
    file: BinaryIO, *, name: str, size: int, sha256: str, content_type: str, is_inline: bool = False
) -> Response:
    """Return a file as an attachment, completely or the requested range (RFC 9110, section 14).

    With `is_inline`, a browser may display it: for types that can't run scripts.

    Waitress sends Content-Length bytes from the file's position, without occupying a thread, however slowly the client
    reads. Raises RequestedRangeNotSatisfiable.
    """
    try:
        byte_range = _parse_range(size, sha256)
    except RequestedRangeNotSatisfiable:
        file.close()
        raise
    start, stop = byte_range or (0, size)
    file.seek(start)
    response = _attachment(file, name.rpartition("/")[2], content_type, stop - start, is_inline=is_inline)
    response.set_etag(sha256)
    response.headers["Accept-Ranges"] = "bytes"
    if byte_range is not None:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return response


def generated_file_response(file: BinaryIO, *, name: str, content_type: str, is_inline: bool = False) -> Response:
    """Return a file that was generated for this response; see `file_response`."""
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    return _attachment(file, name, content_type, length, is_inline=is_inline)


def _attachment(file: BinaryIO, name: str, content_type: str, length: int, *, is_inline: bool = False) -> Response:
    """Return `length` bytes of `file` from its current position."""
    response = send_file(
        file, mimetype=content_type, as_attachment=not is_inline, download_name=name, conditional=False, etag=False
    )
    response.content_length = length
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Content-Security-Policy"] = FILE_POLICY
    if request.method == "HEAD":
        file.close()
    else:
        response.response = wrap_file(request.environ, file, 1024 * 1024)
    return response


def _parse_range(size: int, sha256: str) -> tuple[int, int] | None:
    """Return the start and end of the requested range; None for the whole file. Raises RequestedRangeNotSatisfiable."""
    match = _RANGE.match(request.headers.get("Range", ""))
    if match is None or not _range_applies(sha256):
        return None
    first, last = match.groups()
    if first:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    elif last:
        start, stop = max(0, size - int(last)), size
    else:
        return None
    if first and last and int(last) < int(first):
        return None
    if start >= stop:
        raise RequestedRangeNotSatisfiable(size, description=f"the file has {size} bytes")
    return start, stop


def _range_applies(sha256: str) -> bool:
    condition = request.if_range
    return condition.etag == sha256 if "If-Range" in request.headers else True
