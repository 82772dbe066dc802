"""Batches of params, points, tags and fields for a run, stored all or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from . import metrics, runs
from .index.run_parts import META, PARAMS, SUMMARY
from .names import check_name
from .params import merge_params
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
    """Add points, params and tags to a run, even after its end, and change its `fields` (see `runs.change_run`).

    `points` must have been checked. For `is_same`, see `params.set_params`. Raises InvalidInput, NotFound, RunTrashed,
    Conflict (a param has another value), OSError. Nothing is stored if it raises.
    """
    runs.check_changes(tags, fields)
    for key in new_params:
        check_name("param", key)
    with tracker.open_run(run_id, PARAMS, SUMMARY, even_ended=True) as run, ExitStack() as prepared:
        # First everything that can be refused, then everything that needs disk space: the replacements are renamed into
        # place last, and the append of points in between undoes itself if it fails.
        if new_params:
            after = merge_params(run, new_params, is_same)
            if len(after) > len(run.params):
                prepared.enter_context(tracker.replacing(run, PARAMS, after))
        changed = runs.fields_to_change(run, tags, fields)
        if changed:
            prepared.enter_context(tracker.replacing(run, META, {**run.meta, **changed}))
        if points:
            metrics.add_points(tracker, run_id, points, even_ended=True)
