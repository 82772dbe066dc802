"""Responses: JSON, and files that waitress sends by itself."""

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

#: What a page of ours may load: nothing but our own files. No inline script or style anywhere.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: For files that somebody uploaded: should a browser show one after all, it gets no origin and runs nothing.
FILE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"

# One range of bytes. Several, and what is none, are passed over, as they may be (RFC 9110, section 14.2).
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})\Z", re.IGNORECASE)

_OK = '{"ok": true}\n'


def json_response(value: Any, status: int = 200) -> Response:
    """`value` as strict JSON, with a line end for people who read it in a terminal."""
    return Response(escape_json(strict_json.dumps(value)) + "\n", status, mimetype="application/json")


def ok() -> Response:
    """Return the response to a write that has nothing to report."""
    return Response(_OK, mimetype="application/json")


def not_modified(sha256: str, *, is_weak: bool = False) -> Response | None:
    """304 when the client says that it has these bytes. `is_weak`: an answer that may be compressed."""
    if not request.if_none_match.contains_weak(sha256):  # a proxy that compresses makes it a weak one
        return None
    answer = Response(status=304)
    answer.set_etag(sha256, weak=is_weak)
    if is_weak:
        answer.vary.add("Accept-Encoding")
    return answer


def by_content(answer: Response) -> Response:
    """`answer` with an ETag made of its bytes, or 304 where the client has them: for what no counter tells of."""
    etag = hashlib.blake2b(answer.get_data(), digest_size=16).hexdigest()
    kept = not_modified(etag, is_weak=True)
    answer.set_etag(etag, weak=True)
    answer.headers["Cache-Control"] = "no-cache"
    return answer if kept is None else kept


def file_response(
    file: BinaryIO, *, name: str, size: int, sha256: str, content_type: str, is_inline: bool = False
) -> Response:
    """A file as an attachment, whole or the one range that was asked for (RFC 9110, section 14).

    `is_inline`: a browser may show it, which is for what can't act when it is believed to be of its type.

    It is handed over to waitress, which sends it without holding a thread, however slowly the client reads, from
    where the file stands to where Content-Length says. Raises RequestedRangeNotSatisfiable.
    """
    try:
        part = _asked_part(size, sha256)
    except RequestedRangeNotSatisfiable:
        file.close()
        raise
    start, stop = part or (0, size)
    file.seek(start)
    answer = _attachment(file, name.rpartition("/")[2], content_type, stop - start, is_inline=is_inline)
    answer.set_etag(sha256)
    answer.headers["Accept-Ranges"] = "bytes"
    if part is not None:
        answer.status_code = 206
        answer.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return answer


def generated_file_response(file: BinaryIO, *, name: str, content_type: str, is_inline: bool = False) -> Response:
    """A file that was made for this answer, from its start, likewise handed over."""
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    return _attachment(file, name, content_type, length, is_inline=is_inline)


def _attachment(file: BinaryIO, name: str, content_type: str, length: int, *, is_inline: bool = False) -> Response:
    """`length` bytes of `file`, from where it stands."""
    answer = send_file(
        file, mimetype=content_type, as_attachment=not is_inline, download_name=name, conditional=False, etag=False
    )
    answer.content_length = length
    answer.headers["Cache-Control"] = "no-cache"
    answer.headers["Content-Security-Policy"] = FILE_POLICY
    if request.method == "HEAD":
        file.close()
    else:
        answer.response = wrap_file(request.environ, file, 1024 * 1024)
    return answer


def _asked_part(size: int, sha256: str) -> tuple[int, int] | None:
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
