"""The server's HTTP API, by the standard library."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

#: The server is on this machine, and ends one run; a check of a run of ten million points reads them once.
_PATIENCE_SECONDS = 120


class Refused(Exception):
    """The server answered with an error; the text is its detail, which says what to do."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        super().__init__(answer.get("detail") or answer.get("error") or f"the server answered {status}")
        self.status = status
        #: The body; a check that did not pass has its rules in it.
        self.answer = answer


class Api:
    """A server's API. Methods raise Refused, and OSError where nothing answers."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        # A header's text is sent as latin-1; so these are the token's bytes in UTF-8, as curl sends them.
        self._headers = {"Authorization": f"Bearer {token}".encode().decode("latin-1")} if token else {}
        self._opener = build_opener(ProxyHandler({}))  # a proxy that the job has is not for localhost

    def get(self, *path: str, **query: str) -> Any:
        """What is at a path, of parts that may hold anything."""
        return json.loads(self._ask(path, query))

    def get_text(self, *path: str, **query: str) -> str:
        return self._ask(path, query).decode()

    def post(self, *path: str, body: dict[str, Any]) -> Any:
        return json.loads(self._ask(path, {}, json.dumps(body).encode()))

    def _ask(self, path: tuple[str, ...], query: dict[str, str], body: bytes | None = None) -> bytes:
        url = f"{self._url}/api/{'/'.join(quote(part, safe='') for part in path)}"
        if query:
            url += "?" + urlencode(query)
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            with self._opener.open(Request(url, body, headers), timeout=_PATIENCE_SECONDS) as answer:
                content: bytes = answer.read()
                return content
        except HTTPError as fault:
            with fault:
                raise Refused(fault.code, _object(fault.read())) from fault


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
