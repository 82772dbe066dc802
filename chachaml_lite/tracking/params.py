"""Params: set once, before the run's end (the contract, section 2, "Params are immutable")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import Conflict
from .index.run_entry import Run
from .index.run_parts import PARAMS
from .names import check_name, quote_name
from .tracker import Tracker


def set_params(
    tracker: Tracker,
    run_id: str,
    params: dict[str, Any],
    *,
    even_ended: bool = False,
    is_same: Callable[[Any, Any], bool] | None = None,
) -> None:
    """Set params of a run, all or none, to any JSON values. Setting the same value again is fine.

    `even_ended` also allows a run that has ended. `is_same` decides whether two values are equal; the default is
    `same_json`. Raises InvalidInput, NotFound (or RunEnded), RunTrashed, Conflict (a param has another value).
    """
    for key in params:
        check_name("param", key)
    with tracker.open_run(run_id, PARAMS, even_ended=even_ended) as run:
        after = merge_params(run, params, is_same)
        if len(after) > len(run.params):
            with tracker.replacing(run, PARAMS, after):
                pass


def merge_params(
    run: Run, params: Mapping[str, Any], is_same: Callable[[Any, Any], bool] | None = None
) -> dict[str, Any]:
    """Return a run's params with `params` added, whose names must have been checked.

    Raises Conflict (a param has another value), StorageFault (the run's params are damaged).
    """
    before = run.params
    run.refuse_damaged(PARAMS)
    for key, value in params.items():
        if key in before and not (is_same or same_json)(before[key], value):
            raise Conflict(
                f"param {quote_name(key)} was logged before with another value; params don't change: "
                "log it under another name, or as a tag or metric"
            )
    return {**before, **{key: params[key] for key in params if key not in before}}


def same_json(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal: 1 equals 1.0, but true doesn't equal 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)
