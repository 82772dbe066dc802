"""The login page, where the token is entered once (contract, section 6), and the logout."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ...errors import TooLarge, Unauthorized
from ..auth import cookie_name, cookie_value, is_same_secret
from ..context import services

login = Blueprint("login", __name__)

#: The most bytes of a form with a token, well above any real one: clients without a token can send it, too.
MAX_LOGIN_BYTES = 4096
#: Seconds for which a browser stays logged in.
_LOGIN_SECONDS = 30 * 24 * 3600
# Browsers read /\evil as //evil and remove tabs and line ends before parsing; a header can't contain a line end.
_LOCAL = re.compile(r"/(?![/\\])[^\x00-\x1f\x7f]*\Z")


def local_path(path: str) -> str:
    """Return `path` if it is on this server, else that of the list of runs: redirects never lead to another site."""
    is_local = path.startswith(request.script_root + "/") and _LOCAL.match(path)
    return path if is_local else url_for("pages.run_list")


@login.get("/login")
def form() -> str | BaseResponse:
    """Show the form for the token, or redirect if none is needed."""
    next_path = local_path(request.args.get("next", ""))
    if services().token is None:
        return redirect(next_path, 303)
    return render_template("login.html", next=next_path, is_wrong=False)


@login.post("/login")
def log_in() -> tuple[str, int] | BaseResponse:
    """Check the token and store it in the browser. Raises TooLarge."""
    if (request.content_length or 0) > MAX_LOGIN_BYTES:
        raise TooLarge(f"the form has {request.content_length} bytes, and {MAX_LOGIN_BYTES} is the most here")
    token = services().token
    next_path = local_path(request.form.get("next", ""))
    if token is not None and not is_same_secret(request.form.get("token", "").strip(), token):
        return render_template("login.html", next=next_path, is_wrong=True), 401
    response = redirect(next_path, 303)
    if token is not None:
        response.set_cookie(cookie_name(token), cookie_value(token), max_age=_LOGIN_SECONDS, **_cookie_settings())
    return response


@login.post("/logout")
def log_out() -> BaseResponse:
    """Remove the token from this browser. Raises Unauthorized."""
    token = services().token
    if token is None:
        raise Unauthorized("this server has no token; there is nothing to log out from")
    response = redirect(url_for("login.form"), 303)
    response.delete_cookie(cookie_name(token), **_cookie_settings())
    return response


def _cookie_settings() -> dict[str, Any]:
    """Return the cookie's attributes.

    Scripts can't read it and pages of other sites don't send it; behind TLS it is never sent over http, and never
    outside the URL prefix.
    """
    is_secure = (services().public_url or "").startswith("https:")
    return {"path": request.script_root or "/", "httponly": True, "samesite": "Strict", "secure": is_secure}
