"""The Flask application, which adds protective headers and a log line to every response.

Both are put around Flask, not into its hooks: what a hook looks up through Flask's proxies is at hand here, and a
metric's POST is to cost little more than a route that does nothing. As hooks, with logging, they took 45 of its 210 µs.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from ..errors import ChachamlError
from . import auth, metrics_fast_path
from .context import services_of
from .responses import PAGE_POLICY

# The origin of forms is withheld by a stricter policy also where they go to us: browsers then say `Origin: null`.
_PROTECTION = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin")]
#: Where the request's environment holds the ETag of its answer, as `etags` made it.
ETAG = "chachaml_lite.etag"
_POLICY = "Content-Security-Policy"
_VARY = ("Vary", "Accept, Accept-Encoding")


class Application(Flask):
    """The application; `quiet`: no line in the log for each request."""

    def __init__(self, *args: Any, quiet: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._quiet = quiet

    def wsgi_app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        started = time.perf_counter()

        def answered(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not self._quiet:
                _log(environ, status, started)
            headers += _PROTECTION
            if ETAG in environ and status[:3] in ("200", "304"):
                # Weak: it tells states apart, and an answer may be compressed or not.
                headers += [("ETag", f'W/"{environ[ETAG]}"'), ("Cache-Control", "no-cache"), _VARY]
            if not any(name == _POLICY for name, _ in headers):
                headers.append((_POLICY, PAGE_POLICY))
            return start_response(status, headers, exc_info)

        given = services_of(self)
        body = metrics_fast_path.log_metrics(environ, given)
        if body is None and given.dialect is not None:
            body = given.dialect.answer_fast(environ, given)
        if body is None:
            return super().wsgi_app(environ, answered)
        answered("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def admits(self, environ: dict[str, Any]) -> bool:
        """Whether the guard lets a request pass, from its headers alone: asked before an upload's body is kept."""
        try:
            auth.check(environ, services_of(self))
        except ChachamlError:
            return False
        return True

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """`func` as it is: no view or hook of ours is a coroutine, and Flask would look at each on each request."""
        return func


def _log(environ: dict[str, Any], status: str, started: float) -> None:
    """A line as the log's other lines are. One write, for logging's own way to it takes ten times as long."""
    now = time.time()
    taken_ms = (time.perf_counter() - started) * 1000
    # The path as it was sent, still percent-encoded: no control character of a client's reaches a terminal.
    path = ascii(environ.get("REQUEST_URI") or environ["PATH_INFO"])[1:-1]
    method = environ["REQUEST_METHOD"]
    line = f"{_clock_text(int(now))},{int(now % 1 * 1000):03} INFO {method} {path} {status[:3]} {taken_ms:.1f} ms\n"
    with contextlib.suppress(OSError, ValueError):  # a terminal that went away must not take the answer with it
        sys.stderr.write(line)


_second: tuple[int, str] = (0, "")


def _clock_text(second: int) -> str:
    """The local time as logging shows it; made once a second."""
    global _second
    known, text = _second
    if known != second:
        text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        _second = (second, text)
    return text
