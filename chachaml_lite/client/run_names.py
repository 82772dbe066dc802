"""The run that a word names: an id or its beginning, latest:EXPERIMENT or production:MODEL."""

from __future__ import annotations

from typing import Any

from ..tracking.names import is_run_id
from .base import ApiError, Client, path_of

SELECTORS = ("latest", "production")
#: Runs that are named where a beginning is that of several.
_MOST_CANDIDATES = 10


class UnknownRun(Exception):
    """The word names no run, or several; the text is one line that says why."""


def resolve_run(client: Client, word: str, *, whole: bool = False) -> str:
    """The id of the run that `word` names. Raises UnknownRun, ApiError, Unreachable.

    An id counts before the beginning of another one. `whole`: beginnings name nothing, for what is done to the run
    can't be undone; an id is then taken as it is.
    """
    kind, colon, name = word.partition(":")
    if colon and kind in SELECTORS and not name:
        raise UnknownRun(f"{word} lacks a name, as in {kind}:iris")
    if colon and kind == "latest":
        wanted = [("experiment", name), ("status", "completed"), ("limit", "1")]
        newest: list[dict[str, Any]] = client.get("/api/runs", wanted)
        if not newest:
            raise UnknownRun(f"the experiment {name!r} has no completed run")
        return str(newest[0]["id"])
    if colon and kind == "production":
        model: dict[str, Any] = client.get(path_of("api", "models", name))
        holders = [version["run_id"] for version in model["versions"] if version["stage"] == "production"]
        if not holders:
            raise UnknownRun(f"the model {name!r} has no version in production")
        return str(holders[0])
    if not is_run_id(word):  # in a path it would be another route
        raise UnknownRun(f"there is no run {word!r}")
    return word if whole or has_run(client, word) else _only_run_beginning(client, word)


def has_run(client: Client, run_id: str) -> bool:
    """Whether a run has this id, one in the trash too. Raises ApiError, Unreachable."""
    try:
        client.ask("GET", path_of("api", "tags", run_id)).content()
    except ApiError as fault:
        if fault.error != "no such run":
            raise
        return False
    return True


def _only_run_beginning(client: Client, word: str) -> str:
    """The id of the only run whose id begins with `word`; where there is none the word itself, to be refused."""
    # All that begin so, for in the order of characters no id has one behind ~. Runs in the trash come second.
    query = f'id >= "{word}" and id < "{word}~"'
    for deleted in ("false", "true"):
        wanted = [("q", query), ("deleted", deleted), ("limit", str(_MOST_CANDIDATES + 1))]
        runs: list[dict[str, Any]] = client.get("/api/runs", wanted)
        if len(runs) > 1:
            named = [f"{run['id']} ({run['name']})" if run["name"] else str(run["id"]) for run in runs]
            more = [] if len(named) <= _MOST_CANDIDATES else ["and more"]
            raise UnknownRun(f"several runs begin with {word}: {', '.join([*named[:_MOST_CANDIDATES], *more])}")
        if runs:
            return str(runs[0]["id"])
    return word
