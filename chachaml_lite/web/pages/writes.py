"""Writes from pages without a script: a form goes on to the API as the JSON that it stands for, and is judged there.

A page's form posts to /forms. Its field `to` names the request to the API, as in "POST /api/w/runs/RUN/note"; where
there is `{ids}` in it, one request is made for each field `ids`. `then` is where the browser goes afterwards. Every
other field is one of the JSON body: a string, an integer where its name ends in ":int", null where it ends in ":null";
one whose name ends in ":optional" is left out when it is empty. Of several fields with one name (a button's and an
input's) the last counts. A name that ends in ":true" or ":false" is that boolean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

from flask import Blueprint, Response, current_app, render_template, request
from werkzeug.test import Client, TestResponse

from ... import strict_json
from ...errors import InvalidInput
from .. import request_body
from ..query_string import Query
from .login import local_path

forms = Blueprint("forms", __name__)

_FORM = "application/x-www-form-urlencoded"
#: What pages write through: the API's routes that take JSON.
_TO = re.compile(r"(POST|DELETE) (/api/(?:w|tags|note)/[!-~]+)\Z")
_IDS = "{ids}"
#: A page of runs has at most 1,000 of them; the rest are the body's.
_MAX_FIELDS = 1100
#: What tells who asks: the API's guard looks at it once more.
_PASSED_ON = ("HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_HOST", "HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE", "REMOTE_ADDR")


@dataclass(frozen=True)
class _Sent:
    """What a form asks for: `path` may hold {ids}; `body` is None where the form has no field for it."""

    method: str
    path: str
    ids: list[str]
    body: dict[str, str | int | bool | None] | None
    then: str

    def paths(self) -> Iterator[str]:
        """The path of each request."""
        if _IDS not in self.path:
            yield self.path
        for run_id in self.ids if _IDS in self.path else ():
            yield self.path.replace(_IDS, quote(run_id, safe=""))


@forms.post("/forms")
def send_on() -> Response:
    """Send a form's requests to the API, one after the other; the first that is refused ends it, in the API's words."""
    Query(())
    request_body.require_type(_FORM)
    sent = _read(request_body.content())
    done = 0
    for path in sent.paths():
        answer = _asked(sent.method, path, sent.body)
        if answer.status_code >= 400:
            return _refused(answer, sent, done)
        done += 1
    if not done:
        raise InvalidInput("no run is chosen; tick the box of at least one")
    return Response(status=303, headers={"Location": sent.then})


def _read(content: bytes) -> _Sent:
    """The fields of a form's body. Raises InvalidInput."""
    try:
        pairs = parse_qsl(content.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except (UnicodeDecodeError, ValueError) as fault:
        raise InvalidInput(f"the form is not percent-encoded UTF-8, or has more than {_MAX_FIELDS} fields") from fault
    own = {name: value for name, value in pairs if name in ("to", "then")}
    to = _TO.match(own.get("to", ""))
    if to is None:
        raise InvalidInput('the field "to" must be a write of the API, as in "POST /api/w/runs/RUN/note"')
    ids = [value for name, value in pairs if name == "ids"]
    body = dict(_body_field(name, value) for name, value in pairs if name not in ("to", "then", "ids"))
    body.pop("", None)
    return _Sent(to[1], to[2], ids, body or None, local_path(own.get("then", "")))


def _body_field(name: str, value: str) -> tuple[str, str | int | bool | None]:
    """A field's name and value in the JSON body; the name is "" for one that is left out."""
    value = value.replace("\r\n", "\n")  # as browsers send a text's line ends
    if name.endswith(":optional"):
        return (name.removesuffix(":optional"), value) if value else ("", "")
    if name.endswith(":null"):
        return name.removesuffix(":null"), None
    for boolean in (True, False):
        if name.endswith(end := f":{str(boolean).lower()}"):
            return name.removesuffix(end), boolean
    if name.endswith(":int"):
        name = name.removesuffix(":int")
        try:
            return name, int(value)
        except ValueError as fault:
            raise InvalidInput(f"{name} must be a whole number") from fault
    return name, value


def _asked(method: str, path: str, body: dict[str, str | int | bool | None] | None) -> TestResponse:
    """The API's answer, asked for in this process as a client would ask, by whoever sent the form."""
    passed_on = {name: request.environ[name] for name in _PASSED_ON if name in request.environ}
    content: dict[str, Any] = {}
    if body is not None:
        content = {"data": strict_json.dumps(body).encode(), "content_type": request_body.JSON}
    client = Client(current_app, use_cookies=False)
    return client.open(path, method=method, environ_overrides=passed_on, buffered=True, **content)


def _refused(answer: TestResponse, sent: _Sent, done: int) -> Response:
    said: dict[str, Any] = answer.get_json()
    earlier = f" ({done} of {len(sent.ids)} were done before it)" if _IDS in sent.path and len(sent.ids) > 1 else ""
    page = render_template(
        "error.html", status=answer.status_code, error=said["error"], detail=said["detail"] + earlier, back=sent.then
    )
    return Response(page, answer.status_code, mimetype="text/html")
