"""Access control: the hook before every route.

- The Host must be an allowed one, by exact match: a request from a site whose name was rebound to this machine (DNS
  rebinding) has that name as its Host.
- A write that a browser sends for another site's page is refused. The browser's Sec-Fetch-Site is trusted, even if a
  proxy changed the Host; without it (over http on a LAN, or from an old browser) Origin must be the requested host, or
  that of the public URL.
- A read-only server refuses writes.
- If a token is configured, every route except those in `OPEN` needs it, as `Authorization: Bearer` or in the cookie
  that /login sets.
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

#: Endpoints that need no token: health checks, and logging in with the token.
OPEN = frozenset({"service.health", "login.form", "login.log_in", "static"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Paths whose POSTs store nothing.
_NO_WRITES = frozenset({"/login", "/logout"})
#: The most characters of a host that are quoted in an error.
_MAX_HOST_CHARACTERS = 260
# Only NAME:PORT or [IPv6]:PORT: a URL parser would find "localhost" in evil@localhost and localhost/evil.
_HOST = re.compile(r"(?:\[(?P<address>[^\[\]]*:[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::[0-9]{0,5})?\Z")

# Names that are safe in a shell command that users copy.
_PLAIN_NAME = re.compile(r"[a-z0-9:][a-z0-9._:-]*\Z")


def install(app: Flask) -> None:
    """Install the access control before every route of `app`, including unknown ones."""
    app.before_request(_guard)


def _guard() -> Response | None:
    try:
        check(request.environ, services(), is_open=request.endpoint in OPEN)
    except Unauthorized:
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return redirect(url_for("login.form", next=current_url()), 303)
        raise
    return None


def check(environ: dict[str, Any], services: Services, *, is_open: bool = False) -> None:
    """Raise Forbidden or Unauthorized unless a request is allowed. With `is_open` it needs no token."""
    host = environ.get("HTTP_HOST", "")
    if host_name(host) not in services.allowed_hosts:
        raise Forbidden(_describe_host_error(host))
    if environ["REQUEST_METHOD"] not in _SAFE:
        _refuse_other_sites(environ, host, services.public_url)
    if services.token is not None and not is_open and not _has_token(environ, services.token):
        raise Unauthorized("this server needs its token", resolvable_by="send_token")
    if services.read_only and environ["REQUEST_METHOD"] not in _SAFE and not _stores_nothing(environ, services):
        raise Forbidden(
            "this server is read-only (--read-only, CHACHAML_READ_ONLY); write to the server that owns the store"
        )


def _stores_nothing(environ: dict[str, Any], services: Services) -> bool:
    """Return whether a request with a writing method stores nothing."""
    path = environ["PATH_INFO"]
    is_read = services.dialect is not None and environ["REQUEST_METHOD"] == "POST" and path in services.dialect.reads
    return is_read or path in _NO_WRITES


@lru_cache(maxsize=16)  # every client of a server sends one of the same few
def host_name(host: str) -> str:
    """Return the lower-case name or address in a Host header, without port and brackets, or "" if it is invalid."""
    match = _HOST.match(host.lower())
    return (match["address"] or match["name"] or "") if match else ""


def _describe_host_error(host: str) -> str:
    problem = f"the Host header is {ascii(host[:_MAX_HOST_CHARACTERS])}" if host else "the request has no Host header"
    name = host_name(host)[:_MAX_HOST_CHARACTERS]
    option = f"--allowed-host {name if _PLAIN_NAME.match(name) else 'NAME'}"
    return (
        f"{problem}, which is not a name of this server; if it should be, start the server with {option} "
        "(CHACHAML_ALLOWED_HOST), or behind a proxy with --public-url (CHACHAML_PUBLIC_URL)"
    )


def _refuse_other_sites(environ: dict[str, Any], host: str, public_url: str | None) -> None:
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site == "same-origin":
        return  # no script can set it, and a rebound name has failed the check of the Host
    if site in ("cross-site", "same-site"):
        raise Forbidden(
            "this write comes from another site's page; only this server's own pages and programs may write"
        )
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower(), public_url):
        raise Forbidden("the Origin header names another site; only this server's own pages and programs may write")


def _has_token(environ: dict[str, Any], token: str) -> bool:
    kind, _, credentials = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if kind.lower() == "bearer":
        # WSGI decodes headers as latin-1, as Python's clients encode them; curl sends UTF-8.
        credentials = credentials.strip()
        if is_same_secret(credentials, token) or is_same_secret(
            credentials.encode("latin-1", "replace").decode("utf-8", "replace"), token
        ):
            return True
    cookie = parse_cookie(environ).get(cookie_name(token))
    return cookie is not None and is_same_secret(cookie, cookie_value(token))


def is_same_secret(value: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(value.encode("utf-8", "surrogateescape"), expected.encode())


def cookie_value(token: str) -> str:
    """Return the value of the login cookie, which is derived from the token by a one-way function."""
    return hmac.new(token.encode(), b"chachaml-lite browser session", hashlib.sha256).hexdigest()


def cookie_name(token: str) -> str:
    """Return the name of the login cookie, which depends on the token.

    Cookies belong to a host, whatever the port: with a common name, two servers on a host would log each other out.
    """
    return f"chachaml_{hmac.new(token.encode(), b'chachaml-lite cookie name', hashlib.sha256).hexdigest()[:16]}"
