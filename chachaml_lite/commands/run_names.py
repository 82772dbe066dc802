"""How a command line names a run: by its id, or as a check's baseline is named (the contract, section 3)."""

from __future__ import annotations

from typing import Any

from ..client.asking import Client, path_of
from .targets import USAGE, stop


def run_id_of(client: Client, word: str) -> str:
    """The id of the run that `word` names; an id is taken as it is. Ends the process where there is none.

    Raises Refused, NoAnswer.
    """
    kind, colon, name = word.partition(":")
    if colon and kind == "latest":
        wanted = [("experiment", name), ("status", "completed"), ("limit", "1")]
        found: list[dict[str, Any]] = client.get("/api/runs", wanted)
        if not found:
            stop(f"the experiment {name!r} has no completed run", USAGE)
        return str(found[0]["id"])
    if colon and kind == "production":
        model: dict[str, Any] = client.get(path_of("api", "models", name))
        holders = [version["run_id"] for version in model["versions"] if version["stage"] == "production"]
        if not holders:
            stop(f"the model {name!r} has no version in production", USAGE)
        return str(holders[0])
    return word
