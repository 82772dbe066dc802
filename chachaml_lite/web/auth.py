"""Access control: the hook in front of every route (the contract, sections 1 and 6).

- The Host must be one of ours, by exact match: a page of another site that made its name point here (DNS rebinding)
  has its own name in it.
- A write that a browser sends for another site's page is refused. Its own word for where a request comes from,
  Sec-Fetch-Site, is believed, whatever a proxy has made of the Host; without it (over http on a LAN, or an old browser)
  Origin has to be the host that was called, or the public URL's.
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

from flask import Flask, redirect, request, url_for
from werkzeug.http import parse_cookie
from werkzeug.wrappers import Response

from ..errors import Forbidden, Unauthorized
from .context import Services, services
from .urls import current_url

#: Endpoints that need no token: a probe may ask whether the server is up, and who has the token must be able to say so.
OPEN = frozenset({"service.health", "login.form", "login.log_in", "static"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: What is posted, and stores nothing.
_NO_WRITES = frozenset({"/login", "/logout"})
#: Of a host that is told back to who sent it.
_LONGEST_HOST = 260
# NAME:PORT or [IPv6]:PORT and nothing else: a parser of URLs finds "localhost" in evil@localhost and localhost/evil.
_HOST = re.compile(r"(?:\[(?P<address>[^\[\]]*:[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::[0-9]{0,5})?\Z")

# What may stand in a command that somebody copies: nothing in it acts on a shell.
_PLAIN_NAME = re.compile(r"[a-z0-9:][a-z0-9._:-]*\Z")


def install(app: Flask) -> None:
    """Put the guard in front of every route of `app`, those that don't exist included."""
    app.before_request(_guard)


def _guard() -> Response | None:
    try:
        check(request.environ, services(), is_open=request.endpoint in OPEN)
    except Unauthorized:
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return redirect(url_for("login.form", next=current_url()), 303)
        raise
    return None


def check(environ: dict[str, Any], given: Services, *, is_open: bool = False) -> None:
    """Raise Forbidden or Unauthorized unless a request may pass; `is_open`: without the token, too."""
    host = environ.get("HTTP_HOST", "")
    if host_name(host) not in given.allowed_hosts:
        raise Forbidden(_unknown_host(host))
    if environ["REQUEST_METHOD"] not in _SAFE:
        _refuse_other_sites(environ, host, given.public_url)
    if given.token is not None and not is_open and not _bears(environ, given.token):
        raise Unauthorized("this server needs its token", resolvable_by="send_token")
    if given.read_only and environ["REQUEST_METHOD"] not in _SAFE and not _only_reads(environ, given):
        raise Forbidden(
            "this server only reads (--read-only, CHACHAML_READ_ONLY); write to the one that owns the store"
        )


def _only_reads(environ: dict[str, Any], given: Services) -> bool:
    """Whether a request stores nothing, though its method says that it may."""
    path = environ["PATH_INFO"]
    is_read = given.dialect is not None and environ["REQUEST_METHOD"] == "POST" and path in given.dialect.reads
    return is_read or path in _NO_WRITES


@lru_cache(maxsize=16)  # every client of a server sends one of the same few
def host_name(host: str) -> str:
    """The name or address in a Host header, lower-case, without port and brackets; "" where there is no good one."""
    match = _HOST.match(host.lower())
    return (match["address"] or match["name"] or "") if match else ""


def _unknown_host(host: str) -> str:
    said = f"the Host header says {ascii(host[:_LONGEST_HOST])}" if host else "the request has no Host header"
    name = host_name(host)[:_LONGEST_HOST]
    option = f"--allowed-host {name if _PLAIN_NAME.match(name) else 'NAME'}"
    return (
        f"{said}, and this server doesn't answer to that name; if it is one of its own, start it with {option} "
        "(CHACHAML_ALLOWED_HOST), or behind a proxy with --public-url (CHACHAML_PUBLIC_URL)"
    )


def _refuse_other_sites(environ: dict[str, Any], host: str, public_url: str | None) -> None:
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site == "same-origin":
        return  # no script can set or change it, and who has rebound a name to us has failed at the Host
    if site in ("cross-site", "same-site"):
        raise Forbidden(
            "a page of another site sent this write; writes are taken from this server's own pages and from programs"
        )
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower(), public_url):
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
    cookie = parse_cookie(environ).get(cookie_name(token))
    return cookie is not None and same(cookie, cookie_for(token))


def same(sent: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that doesn't tell where they differ."""
    return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), expected.encode())


def cookie_for(token: str) -> str:
    """Return the value of the login cookie: it proves the token, and can't be turned back into it."""
    return hmac.new(token.encode(), b"chachaml-lite browser session", hashlib.sha256).hexdigest()


def cookie_name(token: str) -> str:
    """The name that a browser keeps it under, another one for each token.

    Cookies are kept by host, whatever the port: under one name, two servers of one host would log each other out.
    """
    return f"chachaml_{hmac.new(token.encode(), b'chachaml-lite cookie name', hashlib.sha256).hexdigest()[:16]}"
