"""A server over HTTP, by the standard library's client: one connection, kept while it lasts."""

from __future__ import annotations

import http.client
import select
from base64 import b64encode
from collections.abc import Generator, Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from .base import PIECE_BYTES, Answer, Client, NoServer, Sent, Unreachable

#: Until a server takes a connection. The port of a machine that is off answers nothing at all.
CONNECT_SECONDS = 10
#: Between two pieces of an answer, and before its first: a large upload is synced to the disk before it is answered.
ANSWER_SECONDS = 300


class BadTarget(ValueError):
    """A server's URL or token that can't be one; the text says why."""


class HttpClient(Client):
    """Asks the server at `url`, which may have a path in front of ours; `token` goes along as Authorization: Bearer."""

    def __init__(self, url: str, token: str | None = None, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Raises BadTarget. Nothing is asked yet."""
        self._answer_seconds = answer_seconds
        secure, host, port, self._prefix = _split_url(url)
        self.url = url.rstrip("/") if "://" in url else "http://" + url.rstrip("/")
        self._connection = _connection(secure, host, port)
        self._last: http.client.HTTPResponse | None = None
        if token is not None and not token.strip().isprintable():
            raise BadTarget("the token holds characters that no header can carry")
        # As UTF-8, which the server reads: http.client would encode it as latin-1, where it can.
        self._token = None if token is None else b"Bearer " + token.strip().encode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _send(self, method: str, target: str, body: Sent, headers: Mapping[str, str]) -> Answer:
        try:
            self._connect()
            self._request(method, target, body, headers)
            self._last = response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as fault:
            self._connection.close()
            raise NoServer(f"no server answers at {self.url} ({_describe(fault)})") from fault
        except BaseException:  # a signal's: half a request may be on the connection
            self._connection.close()
            raise
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            _Received(self._connection, response, self.url),
        )

    def _connect(self) -> None:
        """A connection that waits for a request: the last one, unless its server has closed it meanwhile."""
        held = self._connection.sock
        is_read = self._last is None or self._last.isclosed()
        if held is not None and is_read and not select.select([held], [], [], 0)[0]:  # readable: it is at its end
            return
        self._connection.close()
        self._connection.connect()
        self._connection.sock.settimeout(self._answer_seconds)

    def _request(self, method: str, target: str, body: Sent, headers: Mapping[str, str]) -> None:
        self._connection.putrequest(method, self._prefix + target, skip_accept_encoding=True)
        for name, value in headers.items():
            self._connection.putheader(name, value)
        if self._token is not None:
            self._connection.putheader("Authorization", self._token)
        self._connection.endheaders()
        try:
            if isinstance(body, Generator):
                for piece in body:
                    if piece:  # one of none would be the end (RFC 9112, section 7.1)
                        self._connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                self._connection.send(b"0\r\n\r\n")
            elif body:
                self._connection.send(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server that takes no more of it may have said why: its answer is read all the same


class _Received:
    """An answer's body on its connection."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str) -> None:
        self._connection, self._response, self._url = connection, response, url

    def read(self, size: int) -> bytes:
        try:
            piece = self._response.read(size)
        except (OSError, http.client.HTTPException) as fault:
            raise Unreachable(f"the server at {self._url} broke off its answer ({_describe(fault)})") from fault
        if not piece and self._response.length:  # http.client tells of it only where all is read at once
            raise Unreachable(f"the server at {self._url} broke off its answer")
        return piece

    def close(self) -> None:
        if not self._response.isclosed():  # the rest would stand in front of the next answer
            self._connection.close()
        self._response.close()


def _connection(secure: bool, host: str, port: int | None) -> http.client.HTTPConnection:
    """A connection that isn't open yet: https goes by the proxy that https_proxy names, http never by one."""
    proxy = _https_proxy(host) if secure else None
    if proxy is None:
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(host, port, timeout=CONNECT_SECONDS, blocksize=PIECE_BYTES)
    tunnel = http.client.HTTPSConnection(
        proxy.hostname or "", proxy.port or 80, timeout=CONNECT_SECONDS, blocksize=PIECE_BYTES
    )
    headers = {}
    if proxy.username is not None:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + b64encode(user.encode()).decode()
    tunnel.set_tunnel(host, port or 443, headers)
    return tunnel


def _https_proxy(host: str) -> SplitResult | None:
    """The proxy for a host by urllib's rules: https_proxy, unless no_proxy has the host. Raises BadTarget."""
    from urllib.request import getproxies, proxy_bypass  # over http it isn't asked, and commands start without it

    url = getproxies().get("https")
    if not url or proxy_bypass(host):
        return None
    try:
        split = urlsplit(url if "://" in url else "http://" + url)
        is_one = split.scheme == "http" and bool(split.hostname) and split.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise BadTarget("https_proxy names no proxy; it is written as http://proxy.example.org:3128")
    return split


def _split_url(url: str) -> tuple[bool, str, int | None, str]:
    """Split a URL: whether it is https, host, port, and path without a slash at the end. Raises BadTarget."""
    whole = url if "://" in url else "http://" + url  # as curl takes localhost:8080
    try:
        split = urlsplit(whole)
        host, port = split.hostname, split.port
    except ValueError as fault:
        raise BadTarget(f"{url!r} is no URL: {fault}") from fault
    if split.scheme not in ("http", "https") or not host:
        raise BadTarget(f"{url!r} is no URL of a server; it is written as http://localhost:8080 or https://HOST/PATH")
    if split.username is not None or split.query or split.fragment:
        raise BadTarget("a server's URL has no user, ? or #; a token is given by --token or CHACHAML_TOKEN")
    if any(character <= " " or character > "~" for character in split.path):
        raise BadTarget(f"the path in {url!r} has to be percent-encoded")
    return split.scheme == "https", host, port, split.path.rstrip("/")


def _describe(fault: Exception) -> str:
    """Return what is wrong, in few words; an OSError's own text may be empty."""
    if isinstance(fault, TimeoutError):
        return "it takes too long"
    if isinstance(fault, http.client.RemoteDisconnected):
        return "it broke off without an answer"
    if isinstance(fault, http.client.HTTPException):
        return "what answers speaks no HTTP" if isinstance(fault, http.client.BadStatusLine) else type(fault).__name__
    if isinstance(fault, OSError) and fault.strerror is None and str(fault).startswith("Tunnel "):
        return f"its proxy, which https_proxy names: {str(fault).removeprefix('Tunnel ')}"
    return (isinstance(fault, OSError) and fault.strerror) or type(fault).__name__
