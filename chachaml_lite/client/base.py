"""The common base of the API's clients: requests, streamed responses, and errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, Protocol, TypeVar
from urllib.parse import quote, urlencode

from .. import strict_json

C = TypeVar("C", bound="Client")
#: A request's body: bytes, a file, or pieces.
RequestBody = bytes | BinaryIO | Generator[bytes, None, None]

JSON = "application/json"
OCTETS = "application/octet-stream"
#: The size of the pieces of a streamed response.
PIECE_BYTES = 256 * 1024
#: An error's body is a few hundred bytes; a longer one isn't from a chachaml-lite server.
_MAX_ERROR_BYTES = 1_000_000


#: Requests that errors name a remedy as data, which the commands translate to their own options.
PREFER = {"Prefer": "resolvable-by"}


class Unreachable(Exception):
    """The server is unreachable or broke off, or the folder has no store. The text is one line."""


class NoServer(Unreachable):
    """There is no server at the URL, or it doesn't respond."""


class ApiError(Exception):
    """An error response: `status` is the HTTP status, 400 or more; `error` and `detail` are its texts.

    `body` is the whole JSON object (that of a check also has the rules), or {} if it isn't from a chachaml-lite server.
    `resolvable_by` names a remedy (see `PREFER`), which `detail` then doesn't mention.
    """

    def __init__(
        self, status: int, error: str, detail: str, body: Mapping[str, Any], resolvable_by: str | None = None
    ) -> None:
        super().__init__(f"{error}: {detail}")
        self.resolvable_by = resolvable_by
        self.status = status
        self.error = error
        self.detail = detail
        self.body = body


class Body(Protocol):
    """The body of a response, as a stream."""

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; return b"" at the end. Raises Unreachable."""

    def close(self) -> None:
        """Discard the rest."""


class Answer:
    """A successful response: `status`, `headers` by lower-case name, and a body that can be read once."""

    def __init__(self, status: int, headers: Mapping[str, str], body: Body) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    def pieces(self) -> Iterator[bytes]:
        """Iterate over the body, of which only one piece is in memory at a time. Raises Unreachable."""
        with self:
            while piece := self._body.read(PIECE_BYTES):
                yield piece

    def content(self) -> bytes:
        """Return the whole body. Raises Unreachable."""
        return b"".join(self.pieces())

    def json(self) -> Any:
        """Parse the body. Raises Unreachable if it isn't JSON, and so not from a chachaml-lite server."""
        try:
            return strict_json.loads(self.content())
        except strict_json.NotJson as fault:
            raise Unreachable(f"the response is not from a chachaml-lite server: {fault}") from fault

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._body.close()


class Client(ABC):
    """Sends requests to a server or a folder. Not thread-safe; a new request discards the previous response."""

    #: The server's URL without a trailing slash, or the folder's path.
    url: str

    def ask(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        body: RequestBody = b"",
        length: int | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and return its response.

        `path` is built by `build_path`, such as "/api/runs"; `query` has unquoted names and values. `body` is bytes, or
        a file that is read from its current position, with its `length` in bytes, or pieces of unknown total length;
        the latter two are streamed. An exception of the pieces is propagated, and the request stays incomplete.
        Raises ApiError for a status of 300 or more, Unreachable.
        """
        all_headers = {**PREFER, **(headers or {})}
        if content_type is not None:
            all_headers["Content-Type"] = content_type
        if isinstance(body, Generator):
            all_headers["Transfer-Encoding"] = "chunked"
        elif method not in ("GET", "HEAD"):
            size = len(body) if isinstance(body, bytes) else length
            assert size is not None, "a file needs a length"
            all_headers["Content-Length"] = str(size)
        answer = self._send(method, f"{path}?{_encode_query(query)}" if query else path, body, all_headers)
        if answer.status >= 300:
            raise _parse_error(answer)
        return answer

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Any:
        """Send a GET and return the JSON value of its response. Raises ApiError, Unreachable."""
        return self.ask("GET", path, query).json()

    def post(self, path: str, value: Any, query: Sequence[tuple[str, str]] = ()) -> Any:
        """POST a value as JSON and return the JSON value of the response. Raises ApiError, Unreachable."""
        body = strict_json.dumps(value).encode("utf-8", "surrogateescape")
        return self.ask("POST", path, query, body=body, content_type=JSON).json()

    @abstractmethod
    def close(self) -> None:
        """Release all resources."""

    @abstractmethod
    def _send(self, method: str, target: str, body: RequestBody, headers: Mapping[str, str]) -> Answer:
        """Return the response, even if it is an error. `target` is the path and query of a URL. Raises Unreachable."""

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def expect_our_api(client: Client) -> Iterator[None]:
    """Raise Unreachable if a response, unpacked in the with block, doesn't have the structure of our API."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise Unreachable(f"{client.url} is not a chachaml-lite server") from fault


def build_path(*segments: str) -> str:
    """Build a path from segments, each of which is quoted: `build_path("api", "runs", id)`."""
    return "".join("/" + quote(segment, safe="", errors="surrogateescape") for segment in segments)


def _encode_query(query: Sequence[tuple[str, str]]) -> str:
    return urlencode(query, errors="surrogateescape")


def _parse_error(answer: Answer) -> ApiError:
    """Parse an error response; if it isn't from a chachaml-lite server, the error says so."""
    with answer:
        content = bytearray()
        for piece in answer.pieces():
            content += piece
            if len(content) > _MAX_ERROR_BYTES:
                break
    try:
        body = strict_json.loads(bytes(content))
        if isinstance(body["error"], str) and isinstance(body["detail"], str):
            _, _, resolvable_by = answer.headers.get("preference-applied", "").partition("=")
            return ApiError(answer.status, body["error"], body["detail"], body, resolvable_by or None)
    except (strict_json.NotJson, TypeError, KeyError):
        pass
    if answer.status < 400:
        elsewhere = answer.headers.get("location", "another place")
        return ApiError(
            answer.status, f"HTTP {answer.status}", f"the server redirects to {elsewhere}; use that as --url", {}
        )
    detail = "the response is not from a chachaml-lite server, but perhaps from a proxy in front of one"
    return ApiError(answer.status, f"HTTP {answer.status}", detail, {})
