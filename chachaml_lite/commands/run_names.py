"""How a command line names runs: one by id, or as a check names its baseline (contract, section 3); or many at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..client.base import Client
from ..client.run_names import SELECTORS, UnknownRun, resolve_run
from ..tracking.names import is_run_id
from .errors import USAGE, CommandError

#: As many runs as one answer has.
_PAGE_RUNS = 1000


def names_a_run(word: str) -> bool:
    """Whether a word is one of these; of others it is sure that no run is meant."""
    return is_run_id(word) or word.partition(":")[0] in SELECTORS


def run_id_of(client: Client, word: str) -> str:
    """The id of the run that `word` names. Ends the process where there is none. Raises ApiError, Unreachable."""
    try:
        return resolve_run(client, word)
    except UnknownRun as fault:
        raise CommandError(str(fault), USAGE) from fault


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
    """How many runs are so damaged that no list has them. Raises ApiError, Unreachable."""
    with client.ask("GET", "/api/runs", [("limit", "1")]) as answer:
        told = answer.headers.get("x-unreadable-count", "")
    return int(told) if told.isdecimal() else 0


def unreadable_message(count: int) -> str:
    """What is said of them where all runs are meant."""
    holds, left_out = ("1 folder in runs/ holds", "is") if count == 1 else (f"{count} folders in runs/ hold", "are")
    return f"{holds} no run that can be read, and {left_out} left out; `chachaml-lite verify` names what is wrong"
