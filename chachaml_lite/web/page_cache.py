"""A cache of rendered pages for polling clients: a hundred open tabs slow a training down no more than a few.

An open page requests itself every two seconds, with `If-None-Match` and `Cache-Control: max-age=N`: it accepts a
response that is N seconds old (RFC 9111, section 5.2.1.1). During a training that logs twenty times a second, each of
them would be a new rendering, with the threads and the lock that the training's POSTs need. So these requests

- get the last rendering of their page while it is fresh, which depends on its cost;
- are rendered by at most one thread, for a share of its time over all pages; otherwise they get the last rendering, or
  503 with Retry-After.

All other requests get the current state, from the cache if nothing has changed since it was rendered.
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

#: The blueprints with expensive responses, of seconds instead of milliseconds.
_BLUEPRINTS = ("pages", "charts")
#: The share of one processor for polling requests: of each page, and of all pages together.
_SHARE_OF_A_PAGE, _SHARE = 1 / 20, 1 / 4
_MAX_BYTES = 32 * 1024 * 1024
_STATE = "chachaml_lite.rendering"


@dataclass(frozen=True)
class Rendering:
    """A response: the `etag` of its state, its start on the clock of `PageCache`, and its cost in CPU seconds."""

    etag: str
    body: bytes
    content_type: str
    start: float
    cost_seconds: float

    @cached_property
    def _gzip(self) -> bytes:
        return compression.compress(self.body)

    def compressed_body(self) -> bytes:
        """Return the compressed body, which is cached."""
        return self._gzip

    @property
    def size(self) -> int:
        """The approximate size in bytes, including the compressed body."""
        return len(self.body) * 5 // 4


class PageCache:
    """The last rendering of each page, within a limit in bytes, and the turns to render."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_page: OrderedDict[str, Rendering] = OrderedDict()
        self._bytes = 0
        self._is_busy = False
        self._free_at = 0.0

    def now(self) -> float:
        """Return the time of a monotonic clock in seconds."""
        return self._clock()

    def get(self, page: str) -> Rendering | None:
        """Return the cached rendering of a page, or None."""
        with self._lock:
            if page in self._by_page:
                self._by_page.move_to_end(page)
            return self._by_page.get(page)

    def is_fresh(self, rendering: Rendering, max_age: float) -> bool:
        """Return whether a rendering is acceptable for polling requests with `max_age`, in seconds."""
        return self._clock() - rendering.start < min(max_age, rendering.cost_seconds / _SHARE_OF_A_PAGE)

    def store(self, page: str, rendering: Rendering) -> None:
        """Cache a rendering, unless there is a newer one."""
        with self._lock:
            previous = self._by_page.get(page)
            if previous is not None and previous.start > rendering.start:
                return
            self._bytes += rendering.size - (previous.size if previous else 0)
            self._by_page[page] = rendering
            self._by_page.move_to_end(page)
            while self._bytes > _MAX_BYTES:
                self._bytes -= self._by_page.popitem(last=False)[1].size

    def take_turn(self) -> bool:
        """Return whether a polling request may render now; it must then call `end_turn`."""
        with self._lock:
            if self._is_busy or self._clock() < self._free_at:
                return False
            self._is_busy = True
            return True

    def end_turn(self, cost_seconds: float) -> None:
        """Release the turn. The next one must wait, according to the share and the cost of this one."""
        with self._lock:
            self._is_busy = False
            self._free_at = self._clock() + cost_seconds * (1 / _SHARE - 1)

    def retry_after(self) -> int:
        """Return the number of whole seconds until a turn may be free."""
        with self._lock:
            return max(2, math.ceil(min(self._free_at - self._clock(), 30)))


@dataclass
class _RenderingTask:
    """A request that renders a page, with its start."""

    page: str
    start: float
    start_cpu: float
    has_turn: bool = False


def install(app: Flask) -> None:
    """Cache the rendered pages of `app`, and handle conditional requests."""
    cache = PageCache()

    def answer_without_rendering() -> Response | None:
        """Combine three steps in one hook, which takes a write a microsecond."""
        if request.method not in ("GET", "HEAD"):
            return None
        # A fresh rendering comes first: it needs no look at the store.
        for answer in (answer_fresh, etags.answer_unchanged, answer_cached):
            if (response := answer()) is not None:
                return response
        return None

    def answer_fresh() -> Response | None:
        max_age = _max_age()
        last = cache.get(_page()) if max_age else None
        return _answer(last) if last is not None and cache.is_fresh(last, max_age) else None

    def answer_cached() -> Response | None:
        etag = request.environ.get(ETAG)
        # A page as a file has other headers, and is rarely requested.
        if etag is None or request.method != "GET" or request.blueprint not in _BLUEPRINTS or "format" in request.args:
            return None
        task = _RenderingTask(_page(), cache.now(), time.thread_time())
        last = cache.get(task.page)
        if last is not None and last.etag == etag:
            return _answer(last)
        if _max_age():
            task.has_turn = cache.take_turn()
            if not task.has_turn:
                return _busy_response(cache) if last is None else _answer(last)
        request.environ[_STATE] = task
        return None

    def store(response: Response) -> Response:
        task = request.environ.get(_STATE)
        if task is not None and response.status_code == 200 and not response.is_streamed:
            cost = time.thread_time() - task.start_cpu
            content_type = response.headers["Content-Type"]
            rendering = Rendering(request.environ[ETAG], response.get_data(), content_type, task.start, cost)
            cache.store(task.page, rendering)
            request.environ[compression.CACHED_GZIP] = rendering.compressed_body
        return response

    def end_turn(_: BaseException | None) -> None:
        task = request.environ.pop(_STATE, None)
        if task is not None and task.has_turn:
            cache.end_turn(time.thread_time() - task.start_cpu)

    compression.install(app)  # runs last: these hooks are called in reverse order
    app.before_request(answer_without_rendering)
    app.after_request(store)
    app.teardown_request(end_turn)


def _page() -> str:
    return "\n".join((request.url_root, request.full_path, request.headers.get("Accept", "")))


def _max_age() -> int:
    """Return the age in seconds that a polling request accepts; 0 for every other request."""
    is_page = request.method == "GET" and request.blueprint in _BLUEPRINTS
    return (request.cache_control.max_age or 0) if is_page and "If-None-Match" in request.headers else 0


def _answer(rendering: Rendering) -> Response:
    request.environ[ETAG] = rendering.etag
    if request.if_none_match.contains_weak(rendering.etag):
        response = Response(status=304)
        del response.headers["Content-Type"]
        return response
    request.environ[compression.CACHED_GZIP] = rendering.compressed_body
    return Response(rendering.body, content_type=rendering.content_type)


def _busy_response(cache: PageCache) -> Response:
    request.environ.pop(ETAG, None)
    text = "the server is busy; the page will retry automatically\n"
    return Response(text, 503, {"Retry-After": str(cache.retry_after())}, mimetype="text/plain")
