"""Experiments: names on runs, each as large as the runs that bear it."""

from __future__ import annotations

from typing import Any

from .records import STATUSES
from .tracker import Tracker


def listed_experiments(tracker: Tracker) -> list[dict[str, Any]]:
    """Every experiment that a run bears, the one with the newest run first, ties by name."""
    found: dict[str, dict[str, Any]] = {}
    for run in tracker.catalog.newest():
        name, start_time = run.meta["experiment"], run.meta["start_time"]
        experiment = found.get(name)
        if experiment is None:
            counts = dict.fromkeys(STATUSES, 0)
            experiment = found[name] = {"name": name, "runs": 0, "last_start_time": start_time, "by_status": counts}
        experiment["runs"] += 1
        experiment["by_status"][run.meta["status"]] += 1
    return sorted(found.values(), key=lambda experiment: (-experiment["last_start_time"], experiment["name"]))
