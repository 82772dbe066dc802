"""The server: sockets bound, waitress configured, signals heeded, everything in flight finished."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from .app import MAX_LOGIN_BYTES, create_app, uploads
from .config import Config
from .store.atomic import replace_file
from .store.store import Store
from .tracking.tracker import Tracker
from .waitress_channel import REST_SECONDS, Channel, WireRules, channel_class

log = logging.getLogger(__name__)

#: How long requests in flight may take after a signal to stop (the contract, section 6).
GRACE_SECONDS = 30
#: More than a lab's notebooks and browsers keep open.
MAX_CONNECTIONS = 2000
#: Metrics files that are open (`store.point_files`), twice while they are synced, and the few of the process itself.
_OTHER_DESCRIPTORS = 600
_LOOPBACK = ("127.0.0.1", "::1")
#: What binding ::1 says on a machine without IPv6.
_NO_IPV6 = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class CannotServe(Exception):
    """The server can't start; the text is one line that says what to do."""


def waitress_settings(config: Config) -> dict[str, Any]:
    """Return waitress's settings, each with its reason."""
    return {
        "threads": config.threads,
        # Idle connections cost a descriptor and no thread. The default of 100 lets 100 idle clients lock everybody out.
        "connection_limit": connection_limit(),
        # select(2) dies beyond descriptor 1,023; poll doesn't.
        "asyncore_use_poll": True,
        # Seconds. A client that neither sends nor reads for this long loses its connection; a training step may well
        # take a minute.
        "channel_timeout": 300,
        "cleanup_interval": 30,
        # How many may wait to be accepted while a burst comes in.
        "backlog": 1024,
        # Bytes. A line of 20 ids is one kilobyte; the default of 256 KiB is room for strangers, on each connection.
        "max_request_header_size": 65536,
        # A batch of 10,000 points stays in memory; beyond this a body waits in the system's folder for temporary files.
        "inbuf_overflow": 2 * 1024 * 1024,
        # Our own limits answer with our own JSON; waitress's would come first, as text.
        "max_request_body_size": sys.maxsize,
        # An error of ours is never shown, and the server's name tells an attacker a version.
        "expose_tracebacks": False,
        "ident": None,
        # Taken off each path before the app is called, which builds its URLs with it; a path without it is served too.
        "url_prefix": config.url_prefix,
        # Nothing that a client says about proxies is believed.
        "clear_untrusted_proxy_headers": True,
    }


def connection_limit() -> int:
    """Return the number of connections that the process has descriptors for, after raising its limit.

    Each may need two, for its socket and for the file that it sends or gets. Beyond the limit new clients wait to be
    accepted; without descriptors accept(2) would fail, and be tried again and logged thousands of times a second.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS + _OTHER_DESCRIPTORS
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS has yet another limit, and doesn't tell it here
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, (soft - _OTHER_DESCRIPTORS) // 2))


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets: for "localhost" on 127.0.0.1 and, where the machine has it, ::1, on one port. CannotServe."""
    addresses = list(_LOOPBACK) if host == "localhost" else [host]
    for _ in range(20):  # a free port of one family may be taken in the other
        bound: list[socket.socket] = []
        try:
            for address in addresses:
                chosen = port or (bound[0].getsockname()[1] if bound else 0)
                made = _bound(address, chosen, optional=bool(bound))
                if made is not None:
                    bound.append(made)
            return bound
        except OSError as fault:
            for made in bound:
                made.close()
            if port or not bound:
                raise CannotServe(_why_not_bound(host, port, fault)) from fault
    raise CannotServe(f"found no port that is free on {' and '.join(addresses)}; name one with --port")


def _bound(address: str, port: int, *, optional: bool) -> socket.socket | None:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(found[0], socket.SOCK_STREAM)
    except UnicodeError as fault:
        raise OSError(errno.EINVAL, "no host can have that name") from fault
    except OSError:
        if optional:
            return None
        raise
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if found[0] == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(found[4])
        made.listen(1024)  # now, not later: only listening tells whether another server has the port
    except OSError as fault:
        made.close()
        if optional and fault.errno in _NO_IPV6:
            return None
        raise
    return made


def _why_not_bound(host: str, port: int, fault: OSError) -> str:
    if fault.errno == errno.EADDRINUSE:
        other = 18523 if port != 18523 else 18524
        return (
            f"port {port} is in use; stop what listens there, or choose another with --port {other} (0: any free one); "
            f'with make that is: make run ARGS="--port {other}"'
        )
    if fault.errno == errno.EACCES:
        return f"port {port} needs more rights than you have; choose one above 1023 with --port"
    return f"can't listen on {host}: {fault.strerror}; check --host"


class Server:
    """One store, served. Once it is made, the port and the store are ours; `run` serves until a signal."""

    def __init__(self, config: Config) -> None:
        """Bind the port and open the store. Raises CannotServe, StoreUnusable; then neither is held."""
        self._config = config
        sockets = bind(config.host, config.port)
        self.port: int = sockets[0].getsockname()[1]
        try:
            self._store = Store(config.data, config.fsync, read_only=config.read_only)
        except BaseException:
            for each in sockets:
                each.close()
            raise
        self._tracker = Tracker.on(self._store, config.series_cache_bytes)
        self.run_count = len(self._tracker.catalog.ids())
        self._map: dict[int, Any] = {}
        app = create_app(config, self._tracker)
        self._waitress = create_server(app, map=self._map, sockets=sockets, **waitress_settings(config))
        rules = WireRules(
            blobs=None if config.read_only else self._store.blobs,
            max_body_bytes=config.max_json_bytes,
            max_upload_bytes=config.max_upload_bytes,
            admits=app.admits,
            uploads=uploads(config),
            small={("POST", "/login"): MAX_LOGIN_BYTES, ("POST", "/logout"): MAX_LOGIN_BYTES},
            url_prefix=config.url_prefix,
        )
        self._listeners = [each for each in self._map.values() if isinstance(each, BaseWSGIServer)]
        self._channel_class = channel_class(rules)
        for listener in self._listeners:
            listener.channel_class = self._channel_class
        #: As many connections as make the next one the last: one turn of the loop may accept two, one a listener.
        self._crowded = self._waitress.adj.connection_limit - 2
        self._next_look = 0.0
        self._stopping = self._closing = False

    @property
    def url(self) -> str:
        """URL of the server on this machine, with its prefix."""
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(self._config.host, self._config.host)
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{self.port}{self._config.url_prefix}"

    def run(self, ready_file: Path | None = None, announce: Callable[[], object] = lambda: None) -> None:
        """Serve until SIGTERM or SIGINT. `ready_file` gets the URL, in one rename, once requests are taken.

        `announce` is called then too: who hears of us may send a signal at once. Raises CannotServe where the file
        can't be written.
        """
        # What is parsed is many objects and no cycles; the collector's default, a look at every 700 new ones, makes
        # reading a million points take half as long again.
        gc.set_threshold(50_000, 20, 50)
        # A thread that parses a long series gives the interpreter up ten times as often as by default: beside three of
        # them a metric's POST takes 12 ms instead of 65, and small requests alone take as long as before.
        sys.setswitchinterval(0.0005)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            self._serve(ready_file, announce)
        finally:
            # Python gives the signals back to the system while it ends: the next one would kill it, not end it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})

    @contextlib.contextmanager
    def in_background(self) -> Iterator[None]:
        """Serve in a thread until the block is left; what is in flight then is finished as by `run`."""
        serving = threading.Thread(target=self._serve, name="server")
        serving.start()
        try:
            yield
        finally:
            self._stopping = True
            self._listeners[0].pull_trigger()
            serving.join()

    def _serve(self, ready_file: Path | None = None, announce: Callable[[], object] = lambda: None) -> None:
        try:
            self._store.serves_at(self.url)
            announce()
            if ready_file is not None:
                _announce(ready_file, self.url)
            while not self._stopping:
                self._turn()
            self._drain()
        finally:
            self._closing = True
            self._waitress.task_dispatcher.shutdown()
            wasyncore.close_all(self._map)
            self._tracker.close()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        if not self._closing:  # then there is no loop left to wake, and the trigger's descriptor may be another file's
            self._listeners[0].pull_trigger()  # poll(2) goes on after a signal; this ends its wait

    def _turn(self) -> None:
        now = time.time()
        if now >= self._next_look:
            self._next_look = now + 1
            self._store.restore_folders()
            for channel in self._channels():
                channel.will_close = channel.will_close or channel.is_overdue(now)
        if len(self._map) >= self._crowded:
            self._close_longest_idle()
        is_resting = time.monotonic() < self._channel_class.one_rests_until
        wasyncore.loop(timeout=REST_SECONDS if is_resting else 1, map=self._map, use_poll=True, count=1)

    def _channels(self) -> list[Channel]:
        return [each for each in self._map.values() if isinstance(each, Channel)]

    def _close_longest_idle(self) -> None:
        """Make room for a client that comes: at the limit waitress would let nobody in until somebody goes.

        Those go first that have not sent a request yet: a training that logs once a minute is no stranger.
        """
        idle = [each for each in self._channels() if not each.requests and not each.total_outbufs_len]
        if idle:
            min(idle, key=lambda channel: (channel.waiting_since is None, channel.last_activity)).handle_close()

    def _drain(self) -> None:
        """Take no new connection, and let each request that has begun have its answer."""
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)  # the socket alone: its trigger still wakes the loop
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            channels = self._channels()
            for channel in channels:
                channel.will_close = channel.will_close or _is_idle(channel)
            if not channels:
                return
            wasyncore.loop(timeout=0.1, map=self._map, use_poll=True, count=1)
        log.warning("stopped with requests unfinished after %d s", GRACE_SECONDS)


def _announce(ready_file: Path, url: str) -> None:
    try:
        replace_file(str(ready_file.absolute()), f"{url}\n".encode(), None)
    except OSError as fault:
        raise CannotServe(f"can't write {ready_file}: {fault.strerror}; name another file with --ready-file") from fault


def _is_idle(channel: Channel) -> bool:
    """Tell whether a connection has no request that is being read, handled or answered."""
    if (
        channel.requests
        or channel.total_outbufs_len
        or (channel.request is not None and channel.request.headers_finished)
    ):
        return False
    try:
        assert channel.socket is not None
        return not channel.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return True
