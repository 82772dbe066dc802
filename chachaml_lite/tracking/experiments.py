"""Experiments: groups of runs by name, with a description and tags in a file of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Conflict, InvalidInput, NotFound
from .index.catalog import Deleted
from .index.descriptions import MAX_CHARACTERS, About
from .index.run_entry import Run
from .index.run_parts import STATUSES
from .names import check_name, quote_name
from .series.direction import less_is_better
from .series.summary import number_to_json
from .tags import TagValue, check_tags, merge_tags
from .tracker import Tracker


def list_experiments(tracker: Tracker, deleted: Deleted = "false") -> list[dict[str, Any]]:
    """Return the experiments, the one with the newest run first, then those without runs, newest first; ties by name.

    A deleted experiment includes all of its runs; any other one excludes runs in the trash.
    """
    abouts = tracker.descriptions.all()
    deleted_names = {name for name, about in abouts.items() if about.deleted_at is not None}
    grouped: dict[str, list[Run]] = {}
    for run in (
        tracker.catalog.newest(deleted="all") if deleted_names and deleted != "false" else tracker.catalog.newest()
    ):
        name = run.meta["experiment"]
        if name in deleted_names or run.meta.get("deleted_at") is None:
            grouped.setdefault(name, []).append(run)
    for name, about in abouts.items():
        if about.created_at is not None:
            grouped.setdefault(name, [])
    names = (name for name in grouped if deleted == "all" or (name in deleted_names) == (deleted == "true"))
    items = [_experiment_to_json(name, grouped[name], abouts.get(name, About())) for name in names]
    return sorted(items, key=lambda each: (-(each["last_start_time"] or each["created_at"] or 0), each["name"]))


def get_experiment(
    tracker: Tracker, name: str, metric: str | None = None, *, less: bool | None = None
) -> dict[str, Any]:
    """Return an experiment, deleted or not, with its best run if a metric is given.

    `less` says whether less is better; None guesses it from the metric's name. The runs' metrics are read only if a
    metric is given. Raises NotFound.
    """
    runs, about = _load_known(tracker, name)
    item = _experiment_to_json(name, runs, about)
    return {**item, "best": None if metric is None else best_run(runs, metric, less=less)}


def change_experiment(
    tracker: Tracker,
    name: str,
    description: str | None = None,
    tags: Mapping[str, TagValue | None] | None = None,
    deleted: bool | None = None,
) -> None:
    """Change an experiment's description, tags or deletion; create the experiment if it doesn't exist.

    `description` is Markdown, "" removes it; `tags` are merged, and None removes one; `deleted` moves the experiment to
    the trash together with its runs, or restores it. An argument of None changes nothing, and a new experiment may have
    neither description nor tags. Raises InvalidInput, NotFound (an unknown experiment can't be deleted or restored).
    """
    check_name("experiment", name)
    check_tags(tags or {})
    if description is not None and len(description) > MAX_CHARACTERS:
        raise InvalidInput(f"description has {len(description)} characters; the limit is {MAX_CHARACTERS}")
    if deleted is not None:
        _load_known(tracker, name)
    is_new = not tracker.catalog.newest(name, "all")
    now_ms = tracker.clock.now_ms()

    def changed(before: About) -> About | None:
        after = before
        if description is not None:
            after = after._replace(description=description or None)
        if tags is not None:
            after = after._replace(tags=merge_tags(before.tags, tags))
        if deleted is not None and deleted != (before.deleted_at is not None):
            after = after._replace(deleted_at=now_ms if deleted else None)
        if is_new and before.created_at is None:
            after = after._replace(created_at=now_ms)
        return None if after == before else after._replace(updated_at=now_ms)

    tracker.descriptions.change(name, changed)


def create_experiment(
    tracker: Tracker, name: str, description: str | None = None, tags: Mapping[str, TagValue] | None = None
) -> None:
    """Create an experiment. Raises InvalidInput, Conflict (it exists, perhaps in the trash)."""
    check_name("experiment", name)
    check_tags(tags or {})
    if description is not None and len(description) > MAX_CHARACTERS:
        raise InvalidInput(f"description has {len(description)} characters; the limit is {MAX_CHARACTERS}")
    has_runs = tracker.catalog.span(name) is not None
    now_ms = tracker.clock.now_ms()

    def created(before: About) -> About:
        if has_runs or before.created_at is not None or before.deleted_at is not None:
            raise Conflict(
                f"the experiment {quote_name(name)} exists already" + (", deleted" if before.deleted_at else "")
            )
        return About(description or before.description, merge_tags(before.tags, tags or {}), now_ms, now_ms)

    tracker.descriptions.change(name, created)


def _load_known(tracker: Tracker, name: str) -> tuple[list[Run], About]:
    """Return the runs of an experiment, newest first, and its description. Raises NotFound."""
    about = tracker.descriptions.about(name) or About()
    runs = tracker.catalog.newest(name, "true" if about.deleted_at is not None else "false")
    is_described = about.created_at is not None or about.deleted_at is not None
    if not runs and not is_described and tracker.catalog.span(name) is None:
        raise NotFound("experiment", f"no run has the experiment {quote_name(name)}", resolvable_by="list_experiments")
    return runs, about


def _experiment_to_json(name: str, runs: Sequence[Run], about: About) -> dict[str, Any]:
    counts = dict.fromkeys(STATUSES, 0)
    for run in runs:
        counts[run.meta["status"]] += 1
    return {
        "name": name,
        "description": about.description,
        "runs": len(runs),
        "last_start_time": runs[0].meta["start_time"] if runs else None,
        "by_status": counts,
        "tags": about.tags,
        "created_at": about.created_at,
        "updated_at": about.updated_at,
        "deleted_at": about.deleted_at,
    }


def best_run(runs: Sequence[Run], metric: str, *, less: bool | None = None) -> dict[str, Any]:
    """Return the run with the best latest value of a metric; of several, the one that was started first.

    `less` says whether less is better; by default the metric's name decides, and if it doesn't, more is better.

    `run_id` and `value` are None if no run has a finite value; `runs` counts the runs that have one.
    """
    less = bool(less_is_better(metric)) if less is None else less
    sign = 1 if less else -1
    candidates = [
        (sign * series.last, run) for run in runs if (series := run.summary.get(metric)) and math.isfinite(series.last)
    ]
    best = min(candidates, key=lambda pair: (pair[0], pair[1].key or ()), default=None)
    return {
        "metric": metric,
        "direction": "min" if less else "max",
        "runs": len(candidates),
        "run_id": best[1].id if best else None,
        "name": best[1].meta.get("name") if best else None,
        "value": number_to_json(best[1].summary[metric].last) if best else None,
    }
