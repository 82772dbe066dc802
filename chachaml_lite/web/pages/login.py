"""The login page, which takes the token once (the contract, section 6), and the logout."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ...errors import TooLarge, Unauthorized
from ..auth import cookie_name, cookie_value, is_same_secret
from ..context import services

login = Blueprint("login", __name__)

#: Of a form with a token: more than anybody's needs, for strangers may send it, too.
MAX_LOGIN_BYTES = 4096
#: Seconds that a browser stays logged in.
_STAY = 30 * 24 * 3600
# A browser takes /\evil for //evil, drops tabs and line ends before it looks, and a line end can't stand in a header.
_LOCAL = re.compile(r"/(?![/\\])[^\x00-\x1f\x7f]*\Z")


def local_path(path: str) -> str:
    """`path`, when it is one of this server's: never a way to another site."""
    is_ours = path.startswith(request.script_root + "/") and _LOCAL.match(path)
    return path if is_ours else url_for("pages.run_list")


@login.get("/login")
def form() -> str | BaseResponse:
    """The page that asks for the token; where none is needed, the way on."""
    next_path = local_path(request.args.get("next", ""))
    if services().token is None:
        return redirect(next_path, 303)
    return render_template("login.html", next=next_path, wrong=False)


@login.post("/login")
def log_in() -> tuple[str, int] | BaseResponse:
    """Take the token, and remember it in the browser. Raises TooLarge."""
    if (request.content_length or 0) > MAX_LOGIN_BYTES:
        raise TooLarge(f"the form has {request.content_length} bytes, and {MAX_LOGIN_BYTES} is the most here")
    token = services().token
    next_path = local_path(request.form.get("next", ""))
    if token is not None and not is_same_secret(request.form.get("token", "").strip(), token):
        return render_template("login.html", next=next_path, wrong=True), 401
    answer = redirect(next_path, 303)
    if token is not None:
        answer.set_cookie(cookie_name(token), cookie_value(token), max_age=_STAY, **_cookie_settings())
    return answer


@login.post("/logout")
def log_out() -> BaseResponse:
    """Forget the token in this browser."""
    token = services().token
    if token is None:
        raise Unauthorized("this server has no token; there is nothing to log out from")
    answer = redirect(url_for("login.form"), 303)
    answer.delete_cookie(cookie_name(token), **_cookie_settings())
    return answer


def _cookie_settings() -> dict[str, Any]:
    """No script reads it, no other site's page sends it; behind TLS it never goes over http, nor above our prefix."""
    is_secure = (services().public_url or "").startswith("https:")
    return {"path": request.script_root or "/", "httponly": True, "samesite": "Strict", "secure": is_secure}
