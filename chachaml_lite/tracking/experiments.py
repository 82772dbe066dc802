"""Experiments: names on runs, each as large as the runs that bear it, with a description if somebody wrote one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import NotFound
from .index.run_entry import Run
from .index.run_parts import STATUSES
from .names import shown
from .series.direction import less_is_better
from .series.summary import spelled
from .tracker import Tracker


def listed_experiments(tracker: Tracker) -> list[dict[str, Any]]:
    """Every experiment that a run bears, the one with the newest run first, ties by name."""
    grouped: dict[str, list[Run]] = {}
    for run in tracker.catalog.newest():
        grouped.setdefault(run.meta["experiment"], []).append(run)
    descriptions = tracker.descriptions.all()
    found = [_listed(name, runs, descriptions.get(name)) for name, runs in grouped.items()]
    return sorted(found, key=lambda experiment: (-experiment["last_start_time"], experiment["name"]))


def get_experiment(
    tracker: Tracker, name: str, metric: str | None = None, *, less: bool | None = None
) -> dict[str, Any]:
    """One experiment, with its best run by a metric where one is named; `less`: whether less is better, None: a guess.

    Only then all of its runs' metrics are looked at. Raises NotFound.
    """
    runs = _runs(tracker, name)
    found = _listed(name, runs, tracker.descriptions.all().get(name))
    return {**found, "best": None if metric is None else best_run(runs, metric, less=less)}


def set_description(tracker: Tracker, name: str, description: str) -> None:
    """Replace an experiment's description; "" for none. Raises InvalidInput, NotFound."""
    _runs(tracker, name)
    tracker.descriptions.set(name, description)


def _runs(tracker: Tracker, name: str) -> list[Run]:
    """The runs of an experiment, newest first. Raises NotFound."""
    runs = tracker.catalog.newest(name)
    if not runs:
        raise NotFound("experiment", f"no run bears the experiment {shown(name)}; GET /api/experiments lists them")
    return runs


def _listed(name: str, runs: Sequence[Run], description: str | None) -> dict[str, Any]:
    counts = dict.fromkeys(STATUSES, 0)
    for run in runs:
        counts[run.meta["status"]] += 1
    return {
        "name": name,
        "description": description,
        "runs": len(runs),
        "last_start_time": runs[0].meta["start_time"],
        "by_status": counts,
    }


def best_run(runs: Sequence[Run], metric: str, *, less: bool | None = None) -> dict[str, Any]:
    """The run with the best latest value of a metric; of several the one that was started first.

    `run_id` and `value` are None where none has a finite one; `runs` counts those that have.
    """
    less = less_is_better(metric) if less is None else less
    sign = 1 if less else -1
    found = [
        (sign * series.last, run) for run in runs if (series := run.summary.get(metric)) and math.isfinite(series.last)
    ]
    best = min(found, key=lambda pair: (pair[0], pair[1].key or ()), default=None)
    return {
        "metric": metric,
        "direction": "min" if less else "max",
        "runs": len(found),
        "run_id": best[1].id if best else None,
        "name": best[1].meta.get("name") if best else None,
        "value": spelled(best[1].summary[metric].last) if best else None,
    }
