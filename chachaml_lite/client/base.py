"""A client of the API, whoever answers: a request, its answer as a stream, and the errors instead of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, Protocol, TypeVar
from urllib.parse import quote, urlencode

from .. import strict_json

C = TypeVar("C", bound="Client")
#: What a request's body may be: bytes, a file, or pieces.
Sent = bytes | BinaryIO | Generator[bytes, None, None]

JSON = "application/json"
OCTETS = "application/octet-stream"
#: Of an answer that is streamed.
PIECE_BYTES = 256 * 1024
#: An error's body is a few hundred bytes. What answers with more is no server of ours.
_MAX_ERROR_BYTES = 1_000_000


#: The header by which errors say what would help as data, which the commands word as options of theirs.
PREFER = {"Prefer": "resolvable-by"}


class Unreachable(Exception):
    """Nobody answers: no server there, or it went away; no store in the folder. The text is one line."""


class NoServer(Unreachable):
    """Nobody listens at the URL, or what does is silent."""


class ApiError(Exception):
    """An answer that is an error: `status` is HTTP's, 400 or more; `error` and `detail` are what it said.

    `body` is the whole of it as JSON, {} where it was none of ours: a check's has the rules, too. `resolvable_by`:
    what would help, as data (`PREFER`); `detail` doesn't say it then.
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
    """The bytes of an answer as they come."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end. Raises Unreachable."""

    def close(self) -> None:
        """Take no more of it."""


class Answer:
    """An answer that is no error: `status`, `headers` by lower-case name, and a body to be read once."""

    def __init__(self, status: int, headers: Mapping[str, str], body: Body) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    def pieces(self) -> Iterator[bytes]:
        """The body, piece by piece: however long it is, little of it is in memory. Raises Unreachable."""
        with self:
            while piece := self._body.read(PIECE_BYTES):
                yield piece

    def content(self) -> bytes:
        """The body, whole. Raises Unreachable."""
        return b"".join(self.pieces())

    def json(self) -> Any:
        """The value that the body is. Raises Unreachable where it is no JSON: then no server of ours has answered."""
        try:
            return strict_json.loads(self.content())
        except strict_json.NotJson as fault:
            raise Unreachable(f"what answers is no chachaml-lite server: {fault}") from fault

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._body.close()


class Client(ABC):
    """Asks one server, or one folder; for one thread, and one answer at a time: a new request drops the last answer."""

    #: Where the server is, without a slash at the end; of a folder its path.
    url: str

    def ask(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        body: Sent = b"",
        length: int | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; its answer.  path: as `path_of` makes it, "/api/runs"; query: names and values, unquoted.

        body: bytes; or a file that is read from where it stands, with its `length` in bytes, or pieces of a length that
        isn't known: these are streamed. What the pieces raise is raised, and the request then never was a whole one.
        Raises ApiError for a status of 300 or more, Unreachable.
        """
        sent = {**PREFER, **(headers or {})}
        if content_type is not None:
            sent["Content-Type"] = content_type
        if isinstance(body, Generator):
            sent["Transfer-Encoding"] = "chunked"
        elif method not in ("GET", "HEAD"):
            size = len(body) if isinstance(body, bytes) else length
            assert size is not None, "a file's length has to be told"
            sent["Content-Length"] = str(size)
        answer = self._send(method, f"{path}?{_encode_query(query)}" if query else path, body, sent)
        if answer.status >= 300:
            raise _parse_error(answer)
        return answer

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Any:
        """The JSON value that a GET answers. Raises ApiError, Unreachable."""
        return self.ask("GET", path, query).json()

    def post(self, path: str, value: Any, query: Sequence[tuple[str, str]] = ()) -> Any:
        """The JSON value that a POST of the JSON `value` answers. Raises ApiError, Unreachable."""
        body = strict_json.dumps(value).encode("utf-8", "surrogateescape")
        return self.ask("POST", path, query, body=body, content_type=JSON).json()

    @abstractmethod
    def close(self) -> None:
        """Give back what is held."""

    @abstractmethod
    def _send(self, method: str, target: str, body: Sent, headers: Mapping[str, str]) -> Answer:
        """The answer to a request, an error too. `target`: path and query as in a URL. Raises Unreachable."""

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@contextmanager
def of_ours(client: Client) -> Iterator[None]:
    """Within it an answer is taken apart; Unreachable, where it isn't made as ours are."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise Unreachable(f"what answers at {client.url} is no chachaml-lite server") from fault


def path_of(*segments: str) -> str:
    """A path of these segments, each quoted: `path_of("api", "runs", id)`."""
    return "".join("/" + quote(segment, safe="", errors="surrogateescape") for segment in segments)


def _encode_query(query: Sequence[tuple[str, str]]) -> str:
    return urlencode(query, errors="surrogateescape")


def _parse_error(answer: Answer) -> ApiError:
    """Return the error that an answer is; where it isn't one of ours, the error says so."""
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
        return ApiError(answer.status, f"HTTP {answer.status}", f"it leads to {elsewhere}; name that by --url", {})
    detail = "what answers is no chachaml-lite server, or stands in front of one"
    return ApiError(answer.status, f"HTTP {answer.status}", detail, {})
