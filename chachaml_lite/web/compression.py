"""Answers of more than 10 kB as gzip, for clients that accept it: a page of 114 kB is 18 kB.

At level 1, which takes 3 ms a megabyte: of an answer of the API a tenth of what making it took, of a page next to
nothing, and once for all who get the same rendering. The next levels take twice as long for another tenth of the size.
So it is done for a client of this machine, too, who may be at the other end of a tunnel.

Left as they are: files (artifacts, zips, what pages load), and answers so long that they are made in a file, from which
they are sent without holding a thread or memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from flask import Flask, Response, request

from .application import ETAG

MIN_BYTES = 10_000
#: Where the request's environment has what gives its answer's body as gzip, if that is kept.
KEPT = "chachaml_lite.gzipped"
_LEVEL = 1
_GZIP_WINDOW = zlib.MAX_WBITS + 16
_TYPES = frozenset({"application/json", "application/x-ndjson", "image/svg+xml"})


def gzipped(body: bytes) -> bytes:
    """`body` as gzip, the same whenever it is made."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return packer.compress(body) + packer.flush()


def install(app: Flask) -> None:
    """Compress answers of `app`; behind whatever else is done to them, so in front of it here."""
    app.after_request(_compress)


def _compress(answer: Response) -> Response:
    if request.method not in ("GET", "HEAD") or answer.status_code != 200:
        return answer
    if answer.is_streamed or answer.direct_passthrough or not _is_text(answer.mimetype):
        return answer
    if ETAG not in request.environ:  # whose answers say so anyway
        answer.vary.add("Accept-Encoding")
    if (answer.content_length or 0) < MIN_BYTES or request.accept_encodings["gzip"] <= 0:
        return answer
    keep: Callable[[], bytes] | None = request.environ.get(KEPT)
    answer.set_data(gzipped(answer.get_data()) if keep is None else keep())
    answer.headers["Content-Encoding"] = "gzip"
    return answer


def _is_text(mimetype: str | None) -> bool:
    return mimetype is not None and (mimetype.startswith("text/") or mimetype in _TYPES)
