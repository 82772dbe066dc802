"""Shared renderings of pages: a hundred open tabs cost a training no more than a few do.

An open page asks for itself every two seconds, with `If-None-Match` and `Cache-Control: max-age=N`: an answer that is N
seconds old will do (RFC 9111, section 5.2.1.1). Under a training that logs twenty times a second each of them would be
a new state, to be rendered anew, by the threads and under the lock that its POSTs need. So those who only keep up

- get the last rendering of their page while it is young, measured by what it cost;
- have one thread at most, and a share of its time over all pages: else the last rendering, or 503 and when to retry.

Everybody else gets the page as it is now, from here where nothing has changed since it was rendered.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from flask import Flask, Response, request

from . import compression, etags
from .application import ETAG

#: The blueprints whose answers are rendered, for seconds where those of others take milliseconds.
_BLUEPRINTS = ("pages", "charts")
#: The part of one processor that goes to those who keep up: of each page, and of all of them together.
_SHARE_OF_A_PAGE, _SHARE = 1 / 20, 1 / 4
_MAX_BYTES = 32 * 1024 * 1024
_STATE = "chachaml_lite.rendering"


@dataclass(frozen=True)
class Rendering:
    """An answer: `etag` of the state it shows, when it was begun, by the clock of `Renderings`, and its cost in CPU."""

    etag: str
    body: bytes
    content_type: str
    began: float
    cost_seconds: float

    @cached_property
    def _gzipped(self) -> bytes:
        return compression.gzipped(self.body)

    def gzipped(self) -> bytes:
        """The body as gzip, made once."""
        return self._gzipped

    @property
    def size(self) -> int:
        """About how many bytes it takes, compressed as well."""
        return len(self.body) * 5 // 4


class Renderings:
    """The last rendering of each page, within a bound in bytes, and whose turn it is to make another."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_page: OrderedDict[str, Rendering] = OrderedDict()
        self._bytes = 0
        self._is_taken = False
        self._free_at = 0.0

    def now(self) -> float:
        """Seconds on a clock that only goes forward."""
        return self._clock()

    def last(self, page: str) -> Rendering | None:
        """The last rendering of a page, if it is still there."""
        with self._lock:
            if page in self._by_page:
                self._by_page.move_to_end(page)
            return self._by_page.get(page)

    def is_young(self, rendering: Rendering, max_age: float) -> bool:
        """Whether it will do for those who keep up, content with one that is `max_age` seconds old."""
        return self._clock() - rendering.began < min(max_age, rendering.cost_seconds / _SHARE_OF_A_PAGE)

    def keep(self, page: str, rendering: Rendering) -> None:
        """Keep a rendering, unless a newer one is here."""
        with self._lock:
            before = self._by_page.get(page)
            if before is not None and before.began > rendering.began:
                return
            self._bytes += rendering.size - (before.size if before else 0)
            self._by_page[page] = rendering
            self._by_page.move_to_end(page)
            while self._bytes > _MAX_BYTES:
                self._bytes -= self._by_page.popitem(last=False)[1].size

    def take_turn(self) -> bool:
        """Whether one who keeps up may render now; then `end_turn` gives the turn back."""
        with self._lock:
            if self._is_taken or self._clock() < self._free_at:
                return False
            self._is_taken = True
            return True

    def end_turn(self, cost_seconds: float) -> None:
        """Let the next one in when the share of time that all have allows for what this one cost."""
        with self._lock:
            self._is_taken = False
            self._free_at = self._clock() + cost_seconds * (1 / _SHARE - 1)

    def retry_after(self) -> int:
        """Return the number of whole seconds until a turn may be free."""
        with self._lock:
            return max(2, math.ceil(min(self._free_at - self._clock(), 30)))


@dataclass
class _Asked:
    """A request for a page: what it asks for, and since when it is being rendered."""

    page: str
    began: float
    began_cpu: float
    has_turn: bool = False


def install(app: Flask) -> None:
    """Share the pages of `app`, and answer conditional requests: an ETag is what tells one state from another."""
    shared = Renderings()

    def answer_known() -> Response | None:
        """One hook for three steps: a write passes it in a microsecond."""
        if request.method not in ("GET", "HEAD"):
            return None
        for answer in (answer_young, etags.answer_unchanged, answer_same):  # for a young one nothing is looked up
            if (known := answer()) is not None:
                return known
        return None

    def answer_young() -> Response | None:
        max_age = _max_age()
        last = shared.last(_page()) if max_age else None
        return _answer(last) if last is not None and shared.is_young(last, max_age) else None

    def answer_same() -> Response | None:
        etag = request.environ.get(ETAG)
        # A page as a file has headers of its own, and is rarely asked for.
        if etag is None or request.method != "GET" or request.blueprint not in _BLUEPRINTS or "format" in request.args:
            return None
        asked = _Asked(_page(), shared.now(), time.thread_time())
        last = shared.last(asked.page)
        if last is not None and last.etag == etag:
            return _answer(last)
        if _max_age():
            asked.has_turn = shared.take_turn()
            if not asked.has_turn:
                return _busy(shared) if last is None else _answer(last)
        request.environ[_STATE] = asked
        return None

    def keep(answer: Response) -> Response:
        asked = request.environ.get(_STATE)
        if asked is not None and answer.status_code == 200 and not answer.is_streamed:
            cost = time.thread_time() - asked.began_cpu
            content_type = answer.headers["Content-Type"]
            rendering = Rendering(request.environ[ETAG], answer.get_data(), content_type, asked.began, cost)
            shared.keep(asked.page, rendering)
            request.environ[compression.KEPT] = rendering.gzipped
        return answer

    def end_turn(_: BaseException | None) -> None:
        asked = request.environ.pop(_STATE, None)
        if asked is not None and asked.has_turn:
            shared.end_turn(time.thread_time() - asked.began_cpu)

    compression.install(app)  # last of what is done to an answer: such hooks are called in reverse
    app.before_request(answer_known)
    app.after_request(keep)
    app.teardown_request(end_turn)


def _page() -> str:
    return "\n".join((request.url_root, request.full_path, request.headers.get("Accept", "")))


def _max_age() -> int:
    """Return the age that a client which polls a page accepts, in seconds; 0 for every other request."""
    is_page = request.method == "GET" and request.blueprint in _BLUEPRINTS
    return (request.cache_control.max_age or 0) if is_page and "If-None-Match" in request.headers else 0


def _answer(rendering: Rendering) -> Response:
    request.environ[ETAG] = rendering.etag
    if request.if_none_match.contains_weak(rendering.etag):
        answer = Response(status=304)
        del answer.headers["Content-Type"]
        return answer
    request.environ[compression.KEPT] = rendering.gzipped
    return Response(rendering.body, content_type=rendering.content_type)


def _busy(shared: Renderings) -> Response:
    request.environ.pop(ETAG, None)
    text = "the server is busy; the page asks again by itself\n"
    return Response(text, 503, {"Retry-After": str(shared.retry_after())}, mimetype="text/plain")
