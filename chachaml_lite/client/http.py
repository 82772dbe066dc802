"""A client for a server, by the standard library's HTTP client, with one persistent connection."""

from __future__ import annotations

import http.client
import select
from base64 import b64encode
from collections.abc import Generator, Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from .base import PIECE_BYTES, Answer, Client, NoServer, RequestBody, Unreachable

#: Seconds to connect. A machine that is switched off sends no reply at all.
CONNECT_SECONDS = 10
#: Seconds for each piece of a response, and for the first: a large upload is synced to disk before the response.
ANSWER_SECONDS = 300


class BadTarget(ValueError):
    """An invalid URL or token of a server; the text says why."""


class HttpClient(Client):
    """A client for the server at `url`, which may include a path; `token` is sent as Authorization: Bearer."""

    def __init__(self, url: str, token: str | None = None, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Prepare a connection without opening it. Raises BadTarget."""
        self._answer_seconds = answer_seconds
        secure, host, port, self._prefix = _split_url(url)
        self.url = url.rstrip("/") if "://" in url else "http://" + url.rstrip("/")
        self._connection = _create_connection(secure, host, port)
        self._last: http.client.HTTPResponse | None = None
        if token is not None and not token.strip().isprintable():
            raise BadTarget("the token has characters that no HTTP header can contain")
        # As UTF-8, which the server expects: http.client would encode it as latin-1 if possible.
        self._token = None if token is None else b"Bearer " + token.strip().encode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _send(self, method: str, target: str, body: RequestBody, headers: Mapping[str, str]) -> Answer:
        try:
            self._connect()
            self._request(method, target, body, headers)
            self._last = response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as fault:
            self._connection.close()
            raise NoServer(f"no server responds at {self.url} ({_describe(fault)})") from fault
        except BaseException:  # from a signal: half a request may have been sent
            self._connection.close()
            raise
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            _HttpBody(self._connection, response, self.url),
        )

    def _connect(self) -> None:
        """Connect, unless the previous connection is idle and the server hasn't closed it."""
        socket = self._connection.sock
        is_idle = self._last is None or self._last.isclosed()
        if socket is not None and is_idle and not select.select([socket], [], [], 0)[0]:  # readable means closed
            return
        self._connection.close()
        self._connection.connect()
        self._connection.sock.settimeout(self._answer_seconds)

    def _request(self, method: str, target: str, body: RequestBody, headers: Mapping[str, str]) -> None:
        self._connection.putrequest(method, self._prefix + target, skip_accept_encoding=True)
        for name, value in headers.items():
            self._connection.putheader(name, value)
        if self._token is not None:
            self._connection.putheader("Authorization", self._token)
        self._connection.endheaders()
        try:
            if isinstance(body, Generator):
                for piece in body:
                    if piece:  # an empty chunk would be the end (RFC 9112, section 7.1)
                        self._connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                self._connection.send(b"0\r\n\r\n")
            elif body:
                self._connection.send(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server may have sent the reason before it closed the connection: read its response


class _HttpBody:
    """The body of a response on a connection."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str) -> None:
        self._connection, self._response, self._url = connection, response, url

    def read(self, size: int) -> bytes:
        try:
            piece = self._response.read(size)
        except (OSError, http.client.HTTPException) as fault:
            raise Unreachable(f"the server at {self._url} broke off its response ({_describe(fault)})") from fault
        if not piece and self._response.length:  # http.client only detects this if everything is read at once
            raise Unreachable(f"the server at {self._url} broke off its response")
        return piece

    def close(self) -> None:
        if not self._response.isclosed():  # the rest would precede the next response
            self._connection.close()
        self._response.close()


def _create_connection(secure: bool, host: str, port: int | None) -> http.client.HTTPConnection:
    """Return an unopened connection: https uses the proxy in https_proxy, http never uses a proxy."""
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
    """Return the proxy for a host by urllib's rules: https_proxy, unless no_proxy lists the host. Raises BadTarget."""
    from urllib.request import getproxies, proxy_bypass  # slow to import, and not needed for http

    url = getproxies().get("https")
    if not url or proxy_bypass(host):
        return None
    try:
        split = urlsplit(url if "://" in url else "http://" + url)
        is_valid = split.scheme == "http" and bool(split.hostname) and split.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise BadTarget("https_proxy is not the URL of a proxy, such as http://proxy.example.org:3128")
    return split


def _split_url(url: str) -> tuple[bool, str, int | None, str]:
    """Split a URL: whether it is https, host, port, and path without a trailing slash. Raises BadTarget."""
    full_url = url if "://" in url else "http://" + url  # curl accepts localhost:8080 too
    try:
        split = urlsplit(full_url)
        host, port = split.hostname, split.port
    except ValueError as fault:
        raise BadTarget(f"{url!r} is not a URL: {fault}") from fault
    if split.scheme not in ("http", "https") or not host:
        raise BadTarget(f"{url!r} is not the URL of a server, such as http://localhost:8080 or https://HOST/PATH")
    if split.username is not None or split.query or split.fragment:
        raise BadTarget("a server's URL can't have a user, ? or #; set a token with --token or CHACHAML_TOKEN")
    if any(character <= " " or character > "~" for character in split.path):
        raise BadTarget(f"the path in {url!r} must be percent-encoded")
    return split.scheme == "https", host, port, split.path.rstrip("/")


def _describe(fault: Exception) -> str:
    """Describe an error in few words; an OSError's own text may be empty."""
    if isinstance(fault, TimeoutError):
        return "timed out"
    if isinstance(fault, http.client.RemoteDisconnected):
        return "connection closed without a response"
    if isinstance(fault, http.client.HTTPException):
        return "not an HTTP server" if isinstance(fault, http.client.BadStatusLine) else type(fault).__name__
    if isinstance(fault, OSError) and fault.strerror is None and str(fault).startswith("Tunnel "):
        return f"the proxy in https_proxy: {str(fault).removeprefix('Tunnel ')}"
    return (isinstance(fault, OSError) and fault.strerror) or type(fault).__name__
