"""Names of runs: an id or a prefix of it, latest:EXPERIMENT or production:MODEL."""

from __future__ import annotations

from typing import Any

from ..tracking.names import is_run_id
from .base import ApiError, Client, build_path

SELECTORS = ("latest", "production")
#: Runs listed for an ambiguous prefix.
_MOST_CANDIDATES = 10


class UnknownRun(Exception):
    """There is no such run, or several; the text is one line that says why."""


def resolve_run(client: Client, word: str, *, whole: bool = False) -> str:
    """Return the id of the run with a name. Raises UnknownRun, ApiError, Unreachable.

    An id takes precedence over a prefix of another one. With `whole`, prefixes are not accepted, because the
    action on the run can't be undone; an id is then returned unchecked.
    """
    kind, colon, name = word.partition(":")
    if colon and kind in SELECTORS and not name:
        raise UnknownRun(f"{word} lacks a name, as in {kind}:iris")
    if colon and kind == "latest":
        fields = [("experiment", name), ("status", "completed"), ("limit", "1")]
        newest: list[dict[str, Any]] = client.get("/api/runs", fields)
        if not newest:
            raise UnknownRun(f"the experiment {name!r} has no completed run")
        return str(newest[0]["id"])
    if colon and kind == "production":
        model: dict[str, Any] = client.get(build_path("api", "models", name))
        holders = [version["run_id"] for version in model["versions"] if version["stage"] == "production"]
        if not holders:
            raise UnknownRun(f"the model {name!r} has no version in production")
        return str(holders[0])
    if not is_run_id(word):  # in a path it could be another route
        raise UnknownRun(f"there is no run {word!r}")
    return word if whole or has_run(client, word) else _complete_id(client, word)


def has_run(client: Client, run_id: str) -> bool:
    """Return whether there is a run with this id, including the trash. Raises ApiError, Unreachable."""
    try:
        client.ask("GET", build_path("api", "tags", run_id)).content()
    except ApiError as fault:
        if fault.error != "no such run":
            raise
        return False
    return True


def _complete_id(client: Client, word: str) -> str:
    """Return the only id that begins with `word`, or `word` itself, for which the API then has an error."""
    # No id has a character that sorts after ~, so this range has all ids that begin with word. The trash comes second.
    query = f'id >= "{word}" and id < "{word}~"'
    for deleted in ("false", "true"):
        fields = [("q", query), ("deleted", deleted), ("limit", str(_MOST_CANDIDATES + 1))]
        runs: list[dict[str, Any]] = client.get("/api/runs", fields)
        if len(runs) > 1:
            descriptions = [f"{run['id']} ({run['name']})" if run["name"] else str(run["id"]) for run in runs]
            more = [] if len(descriptions) <= _MOST_CANDIDATES else ["and more"]
            raise UnknownRun(f"several runs begin with {word}: {', '.join([*descriptions[:_MOST_CANDIDATES], *more])}")
        if runs:
            return str(runs[0]["id"])
    return word
