"""The runs named on a command line: one by a word (see `client.run_names`), or many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..client.base import ApiError, Client
from ..client.run_names import SELECTORS, UnknownRun, resolve_run
from ..tracking.names import is_run_id
from .errors import USAGE, CommandError

T = TypeVar("T")
#: The API's limit for one response.
_PAGE_RUNS = 1000


def is_run_name(word: str) -> bool:
    """Return whether a word may name a run."""
    return is_run_id(word) or word.partition(":")[0] in SELECTORS


def run_id_of(client: Client, word: str, *, whole: bool = False) -> str:
    """Return the id of a run by its name, with `whole` not by a prefix of it.

    Raises CommandError, ApiError, Unreachable.
    """
    try:
        return resolve_run(client, word, whole=whole)
    except UnknownRun as fault:
        raise CommandError(str(fault), USAGE) from fault


def request_run(client: Client, word: str, request: Callable[[str], T]) -> T:
    """Return the result of `request`, called with the id of a run. Raises CommandError, ApiError, Unreachable.

    A whole id needs no further request; prefixes are only looked up if no run has the word as its id.
    """
    run_id = run_id_of(client, word, whole=True)
    try:
        return request(run_id)
    except ApiError as fault:
        if fault.error != "no such run":
            raise
        full_id = run_id_of(client, word)
        if full_id == run_id:
            raise
    return request(full_id)


def find_runs(client: Client, experiment: str | None, query: str | None) -> Iterator[dict[str, Any]]:
    """Yield all runs, those of an experiment, or those matching a query, as in GET /api/runs, oldest first.

    In this order, runs that are started meanwhile don't shift the pages. Raises ApiError, Unreachable.
    """
    fields = {"experiment": experiment, "q": query, "order_by": "start_time", "limit": str(_PAGE_RUNS)}
    pairs = [(name, value) for name, value in fields.items() if value is not None]
    offset = 0
    while True:
        page: list[dict[str, Any]] = client.get("/api/runs", [*pairs, ("offset", str(offset))])
        yield from page
        offset += len(page)
        if len(page) < _PAGE_RUNS:
            return


def count_unreadable_runs(client: Client) -> int:
    """Return the number of runs that are too damaged to be listed. Raises ApiError, Unreachable."""
    with client.ask("GET", "/api/runs", [("limit", "1")]) as answer:
        count = answer.headers.get("x-unreadable-count", "")
    return int(count) if count.isdecimal() else 0


def format_unreadable(count: int) -> str:
    """Return a warning about runs that could not be listed."""
    subject = "1 run in runs/ can't be read and is" if count == 1 else f"{count} runs in runs/ can't be read and are"
    return f"{subject} left out; run `chachaml-lite verify` for details"
