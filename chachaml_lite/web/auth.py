"""Who may ask: the hook in front of every route (the contract, sections 1 and 6).

- The Host must be one of ours, by exact match: a page of another site that made its name point here (DNS rebinding)
  has its own name in it.
- A write that a browser sends for another site's page is refused, by Sec-Fetch-Site and by Origin.
- A server that was started to read only takes no writes.
- Where a token is configured, every route but those in `OPEN` needs it, as `Authorization: Bearer` or in the cookie
  that /login gives for it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, request
from werkzeug.http import parse_cookie

from ..errors import Forbidden, Unauthorized
from .context import Services, services

#: Endpoints that need no token: a probe may ask whether the server is up, and who has the token must be able to say so.
OPEN = frozenset({"service.health", "login.form", "login.log_in", "static"})
COOKIE = "chachaml_token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: What is posted, and stores nothing.
_NO_WRITES = frozenset({"/login", "/logout"})
# NAME:PORT or [IPv6]:PORT and nothing else: a parser of URLs finds "localhost" in evil@localhost and localhost/evil.
_HOST = re.compile(r"(?:\[(?P<address>[^\[\]]*:[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::[0-9]{0,5})?\Z")


def install(app: Flask) -> None:
    """Put the guard in front of every route of `app`, those that don't exist included."""
    app.before_request(_guard)


def _guard() -> Response | None:
    try:
        check(request.environ, services(), is_open=request.endpoint in OPEN)
    except Unauthorized:
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return Response(status=303, headers={"Location": f"/login?next={quote(request.full_path.rstrip('?'))}"})
        raise
    return None


def check(environ: dict[str, Any], given: Services, *, is_open: bool = False) -> None:
    """Raise Forbidden or Unauthorized unless a request may pass; `is_open`: without the token, too."""
    host = environ.get("HTTP_HOST", "")
    if host_name(host) not in given.allowed_hosts:
        raise Forbidden(
            "the Host header names a host that this server does not answer for; start it with --allowed-host NAME "
            "for each name that it is reached by"
        )
    if environ["REQUEST_METHOD"] not in _SAFE:
        _refuse_other_sites(environ, host)
    if given.token is not None and not is_open and not _bears(environ, given.token):
        raise Unauthorized("this server needs its token; send the header Authorization: Bearer TOKEN")
    if given.read_only and environ["REQUEST_METHOD"] not in _SAFE and environ["PATH_INFO"] not in _NO_WRITES:
        raise Forbidden(
            "this server only reads (--read-only, CHACHAML_READ_ONLY); write to the one that owns the store"
        )


@lru_cache(maxsize=16)  # every client of a server sends one of the same few
def host_name(host: str) -> str:
    """The name or address in a Host header, lower-case, without port and brackets; "" where there is no good one."""
    match = _HOST.match(host.lower())
    return (match["address"] or match["name"] or "") if match else ""


def _refuse_other_sites(environ: dict[str, Any], host: str) -> None:
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site in ("cross-site", "same-site"):
        raise Forbidden(
            "a page of another site sent this write; writes are taken from this server's own pages and from programs"
        )
    origin = environ.get("HTTP_ORIGIN")
    if origin == "null" and site == "same-origin":
        return  # what a form of our own page sends: its policy of no referrer keeps the origin back as well
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        raise Forbidden(
            "the Origin header names another site; writes are taken from this server's own pages and from programs"
        )


def _bears(environ: dict[str, Any], token: str) -> bool:
    kind, _, sent = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if kind.lower() == "bearer":
        # WSGI shows a header's bytes as latin-1, which is how Python's clients encode one; curl sends UTF-8.
        sent = sent.strip()
        if same(sent, token) or same(sent.encode("latin-1", "replace").decode("utf-8", "replace"), token):
            return True
    cookie = parse_cookie(environ).get(COOKIE)
    return cookie is not None and same(cookie, cookie_for(token))


def same(sent: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that doesn't tell where they differ."""
    return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), expected.encode())


def cookie_for(token: str) -> str:
    """What a browser keeps after logging in: it proves the token, and can't be turned back into it."""
    return hmac.new(token.encode(), b"chachaml-lite browser session", hashlib.sha256).hexdigest()
