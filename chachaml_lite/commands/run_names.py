"""The runs that a command line names: one by a word (see `client.run_names`), or many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..client.base import ApiError, Client
from ..client.run_names import SELECTORS, UnknownRun, resolve_run
from ..tracking.names import is_run_id
from .errors import USAGE, CommandError

T = TypeVar("T")
#: As many runs as one answer has.
_PAGE_RUNS = 1000


def names_a_run(word: str) -> bool:
    """Whether a word may name a run."""
    return is_run_id(word) or word.partition(":")[0] in SELECTORS


def run_id_of(client: Client, word: str, *, whole: bool = False) -> str:
    """The id of the run that `word` names; `whole`: not by a beginning. Raises CommandError, ApiError, Unreachable."""
    try:
        return resolve_run(client, word, whole=whole)
    except UnknownRun as fault:
        raise CommandError(str(fault), USAGE) from fault


def ask_of_run(client: Client, word: str, ask: Callable[[str], T]) -> T:
    """The answer to `ask`, which gets the id of the run that `word` names. Raises CommandError, ApiError, Unreachable.

    A whole id costs no further request; whether the word is a beginning is looked up where no run has it for an id.
    """
    run_id = run_id_of(client, word, whole=True)
    try:
        return ask(run_id)
    except ApiError as fault:
        if fault.error != "no such run":
            raise
        longer = run_id_of(client, word)
        if longer == run_id:
            raise
    return ask(longer)


def find_runs(client: Client, experiment: str | None, query: str | None) -> Iterator[dict[str, Any]]:
    """All runs, or those of an experiment, or that a query finds, as GET /api/runs has them; oldest first.

    So those that are started meanwhile come behind, and shift none of the pages. Raises ApiError, Unreachable.
    """
    wanted = {"experiment": experiment, "q": query, "order_by": "start_time", "limit": str(_PAGE_RUNS)}
    pairs = [(name, value) for name, value in wanted.items() if value is not None]
    offset = 0
    while True:
        page: list[dict[str, Any]] = client.get("/api/runs", [*pairs, ("offset", str(offset))])
        yield from page
        offset += len(page)
        if len(page) < _PAGE_RUNS:
            return


def unreadable_runs(client: Client) -> int:
    """The number of runs so damaged that no list has them. Raises ApiError, Unreachable."""
    with client.ask("GET", "/api/runs", [("limit", "1")]) as answer:
        count = answer.headers.get("x-unreadable-count", "")
    return int(count) if count.isdecimal() else 0


def unreadable_message(count: int) -> str:
    """The line about them where all runs are meant."""
    holds, left_out = ("1 folder in runs/ holds", "is") if count == 1 else (f"{count} folders in runs/ hold", "are")
    return f"{holds} no run that can be read, and {left_out} left out; `chachaml-lite verify` names what is wrong"
