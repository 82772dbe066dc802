"""The server: binds sockets, configures waitress, and stops on a signal after finishing the requests in flight."""

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
from .waitress_channel import PAUSE_SECONDS, Channel, channel_class
from .waitress_parser import WireRules

log = logging.getLogger(__name__)

#: Seconds for requests in flight after a signal to stop.
GRACE_SECONDS = 30
#: The most connections: more than a lab's notebooks and browsers keep open.
MAX_CONNECTIONS = 2000
#: Descriptors of open metrics files (`store.point_files`), two each while they are synced, and of the process itself.
_OTHER_DESCRIPTORS = 600
_LOOPBACK = ("127.0.0.1", "::1")
#: Errors of binding ::1 on a machine without IPv6.
_NO_IPV6 = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class CannotServe(Exception):
    """The server can't start; the text is one line with the reason and a remedy."""


def waitress_settings(config: Config) -> dict[str, Any]:
    """Return waitress's settings, each with its reason."""
    return {
        "threads": config.threads,
        # Idle connections need a descriptor but no thread. With the default, 100 idle clients lock out all others.
        "connection_limit": connection_limit(),
        # select(2) fails beyond descriptor 1,023; poll doesn't.
        "asyncore_use_poll": True,
        # Seconds. A client that neither sends nor reads for this long loses its connection; a training step may well
        # take a minute.
        "channel_timeout": 300,
        "cleanup_interval": 30,
        # Connections that may wait to be accepted during a burst.
        "backlog": 1024,
        # Bytes. A line of 20 ids is one kilobyte; with the default, any client could occupy 256 KiB per connection.
        "max_request_header_size": 65536,
        # A batch of 10,000 points stays in memory; larger bodies are written to temporary files.
        "inbuf_overflow": 2 * 1024 * 1024,
        # Our own limits respond with JSON; waitress's would apply first, and respond with text.
        "max_request_body_size": sys.maxsize,
        # Tracebacks are never sent to clients, and the server's name would tell attackers a version.
        "expose_tracebacks": False,
        "ident": None,
        # Removed from each path before the app is called, which builds its URLs with it; it is optional in requests.
        "url_prefix": config.url_prefix,
        # Headers of proxies may come from any client, and aren't trusted.
        "clear_untrusted_proxy_headers": True,
    }


def connection_limit() -> int:
    """Raise the limit of descriptors, and return the number of connections that it allows.

    Each connection may need two, for its socket and for the file that it transfers. Beyond the limit, new clients wait
    to be accepted; without descriptors, accept(2) would fail, and be retried and logged thousands of times a second.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * MAX_CONNECTIONS + _OTHER_DESCRIPTORS
    if resource.RLIM_INFINITY != soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS has a further limit, which getrlimit doesn't report
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, (soft - _OTHER_DESCRIPTORS) // 2))


def bind(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets; for "localhost", on 127.0.0.1 and, if available, ::1 with the same port.

    Raises CannotServe.
    """
    addresses = list(_LOOPBACK) if host == "localhost" else [host]
    for _ in range(20):  # a port that is free in one family may be used in the other
        sockets: list[socket.socket] = []
        try:
            for address in addresses:
                chosen_port = port or (sockets[0].getsockname()[1] if sockets else 0)
                new_socket = _bind_socket(address, chosen_port, optional=bool(sockets))
                if new_socket is not None:
                    sockets.append(new_socket)
            return sockets
        except OSError as fault:
            for new_socket in sockets:
                new_socket.close()
            if port or not sockets:
                raise CannotServe(_describe_bind_error(host, port, fault)) from fault
    raise CannotServe(f"found no free port on {' and '.join(addresses)}; choose one with --port")


def _bind_socket(address: str, port: int, *, optional: bool) -> socket.socket | None:
    try:
        address_info = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        new_socket = socket.socket(address_info[0], socket.SOCK_STREAM)
    except UnicodeError as fault:
        raise OSError(errno.EINVAL, "invalid host name") from fault
    except OSError:
        if optional:
            return None
        raise
    try:
        new_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address_info[0] == socket.AF_INET6:
            new_socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        new_socket.bind(address_info[4])
        new_socket.listen(1024)  # immediately: only listening tells whether another server has the port
    except OSError as fault:
        new_socket.close()
        if optional and fault.errno in _NO_IPV6:
            return None
        raise
    return new_socket


def _describe_bind_error(host: str, port: int, fault: OSError) -> str:
    if fault.errno == errno.EADDRINUSE:
        other = 18523 if port != 18523 else 18524
        return (
            f"port {port} is in use; stop that program, or choose another with --port {other} (0: any free one); "
            f'with make that is: make run ARGS="--port {other}"'
        )
    if fault.errno == errno.EACCES:
        return f"you have no permission to use port {port}; choose one above 1023 with --port"
    return f"cannot listen on {host}: {fault.strerror}; check --host"


class Server:
    """The server of one store. The constructor acquires the port and the store; `run` serves until a signal."""

    def __init__(self, config: Config) -> None:
        """Bind the port and open the store. Raises CannotServe, StoreUnusable, and then releases both."""
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
            body_limits={("POST", "/login"): MAX_LOGIN_BYTES, ("POST", "/logout"): MAX_LOGIN_BYTES},
            url_prefix=config.url_prefix,
        )
        self._listeners = [each for each in self._map.values() if isinstance(each, BaseWSGIServer)]
        self._channel_class = channel_class(rules)
        for listener in self._listeners:
            listener.channel_class = self._channel_class
        #: The number of connections at which idle ones are closed: the loop may accept one per listener at a time.
        self._crowded_at = self._waitress.adj.connection_limit - 2
        self._next_check = 0.0
        self._stopping = self._closing = False

    @property
    def url(self) -> str:
        """The server's URL on this machine, including the prefix."""
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(self._config.host, self._config.host)
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{self.port}{self._config.url_prefix}"

    def run(self, ready_file: Path | None = None, announce: Callable[[], object] = lambda: None) -> None:
        """Serve until SIGTERM or SIGINT. The URL is written to `ready_file`, atomically, once the server is ready.

        `announce` is called at the same time: the readers of its output may send a signal immediately. Raises
        CannotServe if the file can't be written.
        """
        # Parsing creates many objects but no cycles; with the collector's default of a run for every 700 new objects,
        # reading a million points takes half as long again.
        gc.set_threshold(50_000, 20, 50)
        # A thread that parses a long series yields the interpreter ten times as often as by default: next to three
        # such threads a metric's POST takes 12 ms instead of 65, and small requests alone take as long as before.
        sys.setswitchinterval(0.0005)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            self._serve(ready_file, announce)
        finally:
            # At its exit Python restores the default handlers, so that another signal would kill the process.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})

    @contextlib.contextmanager
    def in_background(self) -> Iterator[None]:
        """Serve in a thread within a with block, at whose end requests in flight are finished as by `run`."""
        thread = threading.Thread(target=self._serve, name="server")
        thread.start()
        try:
            yield
        finally:
            self._stopping = True
            self._listeners[0].pull_trigger()
            thread.join()

    def _serve(self, ready_file: Path | None = None, announce: Callable[[], object] = lambda: None) -> None:
        try:
            self._store.record_url(self.url)
            announce()
            if ready_file is not None:
                _write_ready_file(ready_file, self.url)
            while not self._stopping:
                self._run_once()
            self._drain()
        finally:
            self._closing = True
            self._waitress.task_dispatcher.shutdown()
            wasyncore.close_all(self._map)
            self._tracker.close()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        if (
            not self._closing
        ):  # afterwards there is no loop to wake, and the trigger's descriptor may belong to another file
            self._listeners[0].pull_trigger()  # poll(2) continues after a signal; this ends its wait

    def _run_once(self) -> None:
        now = time.time()
        if now >= self._next_check:
            self._next_check = now + 1
            self._store.restore_folders()
            for channel in self._channels():
                channel.will_close = channel.will_close or channel.is_overdue(now)
        if len(self._map) >= self._crowded_at:
            self._close_longest_idle()
        is_resting = time.monotonic() < self._channel_class.any_paused_until
        wasyncore.loop(timeout=PAUSE_SECONDS if is_resting else 1, map=self._map, use_poll=True, count=1)

    def _channels(self) -> list[Channel]:
        return [each for each in self._map.values() if isinstance(each, Channel)]

    def _close_longest_idle(self) -> None:
        """Make room for a new client: at the limit, waitress accepts none until one disconnects.

        Connections without a request so far go first, to spare trainings that log once a minute.
        """
        idle = [each for each in self._channels() if not each.requests and not each.total_outbufs_len]
        if idle:
            min(idle, key=lambda channel: (channel.waiting_since is None, channel.last_activity)).handle_close()

    def _drain(self) -> None:
        """Accept no new connections, and finish all requests that have begun."""
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)  # only the socket: its trigger still wakes the loop
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            channels = self._channels()
            for channel in channels:
                channel.will_close = channel.will_close or _is_idle(channel)
            if not channels:
                return
            wasyncore.loop(timeout=0.1, map=self._map, use_poll=True, count=1)
        log.warning("stopped with requests unfinished after %d s", GRACE_SECONDS)


def _write_ready_file(ready_file: Path, url: str) -> None:
    try:
        replace_file(str(ready_file.absolute()), f"{url}\n".encode(), None)
    except OSError as fault:
        raise CannotServe(
            f"cannot write {ready_file}: {fault.strerror}; choose another file with --ready-file"
        ) from fault


def _is_idle(channel: Channel) -> bool:
    """Return whether no request on a connection is being read, handled or answered."""
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
