"""Params, points, tags and fields of a run that come together: all or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import metrics, params, runs
from .index.run_parts import PARAMS, SUMMARY
from .series.points import StoredPoint
from .tags import TagValue
from .tracker import Tracker


def log_batch(
    tracker: Tracker,
    run_id: str,
    points: list[StoredPoint],
    new_params: dict[str, Any],
    tags: Mapping[str, TagValue | None],
    fields: Mapping[str, str | None],
    *,
    is_same: Callable[[Any, Any], bool] | None = None,
) -> None:
    """Add points, params and tags to a run, also after its end, and change `fields` of its own (see `runs.change_run`).

    `points` are checked; `is_same`: see `params.set_params`. Raises InvalidInput, NotFound, Conflict (a param has
    another value); then nothing is stored.
    """
    runs.check_changes(tags, fields)
    with tracker.open_run(run_id, PARAMS, SUMMARY, even_ended=True):
        # What can be refused comes first; repeated after a full disk, it is what is there already.
        if new_params:
            params.set_params(tracker, run_id, new_params, even_ended=True, is_same=is_same)
        if points:
            metrics.add_points(tracker, run_id, points, even_ended=True)
        if tags or fields:
            runs.change_run(tracker, run_id, tags, **fields)
