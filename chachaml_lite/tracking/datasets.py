"""Data sets: what a run was trained and tested on, as its client describes them."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidInput
from .index.run_parts import META
from .tracker import Tracker

FIELDS = ("role", "n_rows", "n_cols", "features", "hash", "source")


def log_dataset(tracker: Tracker, run_id: str, dataset: dict[str, Any]) -> None:
    """Add a data set to a run, also after its end; one that is there already, the same in all, is not added again.

    Raises InvalidInput (a field of the wrong type, or none at all), NotFound.
    """
    described = {field: dataset[field] for field in FIELDS if dataset.get(field) is not None}
    if not described:
        raise InvalidInput(f"describe the data set with at least one of {', '.join(FIELDS)}")
    for field, value in described.items():
        if field in ("n_rows", "n_cols"):
            if type(value) is not int or value < 0:
                raise InvalidInput(f"{field} must be a whole number, 0 or more")
        elif field == "features":
            if not isinstance(value, (list, dict)):
                raise InvalidInput("features must be an array (of names, say) or an object")
        elif not isinstance(value, str):
            raise InvalidInput(f"{field} must be a string")
    with tracker.writable_run(run_id) as run:
        logged = run.meta.get("datasets", [])
        if described not in logged:
            tracker.write_meta(run, datasets=[*logged, described])


def get_datasets(tracker: Tracker, run_id: str) -> list[dict[str, Any]]:
    """The data sets of a run, as logged. Raises NotFound."""
    logged: list[dict[str, Any]] = tracker.run(run_id, (META,)).meta.get("datasets", [])
    return logged
