"""The run that a word names: an id, latest:EXPERIMENT or production:MODEL (the contract, section 3)."""

from __future__ import annotations

from typing import Any

from ..tracking.names import is_run_id
from .base import Client, path_of

SELECTORS = ("latest", "production")


class UnknownRun(Exception):
    """The word names no run; the text is one line that says why."""


def resolve_run(client: Client, word: str) -> str:
    """The id of the run that `word` names; an id is taken as it is. Raises UnknownRun, ApiError, Unreachable."""
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
    return word
