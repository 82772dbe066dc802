"""Comparison of runs: what they have in common and where they differ (the contract, section 3, /compare and /diff)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidInput
from .environment import flatten
from .index.run_entry import Run
from .model_versions import get_version
from .params import same_json
from .runs import latest_metrics
from .tracker import Tracker

#: More runs than anyone reads side by side; /api/export returns them all.
MAX_RUNS = 100


def compare_runs(tracker: Tracker, run_ids: Sequence[str]) -> dict[str, Any]:
    """Compare the params, latest metrics and environments of 2 to 100 runs, in the order of `run_ids`.

    The keys of each are grouped into `same` (all runs have it, with one value), `differ` (all have it, with different
    values) and `partial` (some runs lack it, and have None there), in the order of their first appearance. Raises
    InvalidInput, NotFound, RunTrashed.
    """
    if not 2 <= len(run_ids) <= MAX_RUNS:
        raise InvalidInput(f"ids must name 2 to {MAX_RUNS} runs, separated by commas; this names {len(run_ids)}")
    runs = [tracker.run(run_id) for run_id in run_ids]
    for run in runs:
        tracker.refuse_trashed(run)
    return _comparison(runs)


def _comparison(runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "runs": [run.id for run in runs],
        "params": _group_keys([run.params for run in runs]),
        "metrics": _group_keys([latest_metrics(run) for run in runs]),
        "env": _group_keys([flatten(run.meta.get("env")) for run in runs]),
    }


def diff_versions(tracker: Tracker, name: str, one: str, other: str) -> dict[str, Any]:
    """Compare the runs of two versions of a model, each given by number, alias or stage. Raises NotFound."""
    versions = [get_version(tracker, name, selector) for selector in (one, other)]
    return _comparison([tracker.run(version.run_id) for version in versions])


def _group_keys(sides: list[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    equal: dict[str, Any] = {}
    differ: dict[str, list[Any]] = {}
    partial: dict[str, list[Any]] = {}
    for key in dict.fromkeys(key for side in sides for key in side):
        values = [side.get(key) for side in sides]
        if any(key not in side for side in sides):
            partial[key] = values
        # Non-finite metrics are spelled as text here, so that two NaN values count as the same.
        elif all(same_json(values[0], value) for value in values[1:]):
            equal[key] = values[0]
        else:
            differ[key] = values
    return {"same": equal, "differ": differ, "partial": partial}
