"""Datasets: what a run was trained and tested on, as described by its client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidInput
from .index.run_parts import META
from .params import same_json
from .tags import check_tags, merge_tags
from .tracker import Tracker

FIELDS = (
    "role",
    "n_rows",
    "n_cols",
    "features",
    "hash",
    "source",
    "name",
    "source_type",
    "schema",
    "profile",
    "tags",
)


def log_datasets(tracker: Tracker, run_id: str, new_datasets: Sequence[Mapping[str, Any]]) -> None:
    """Add datasets to a run, all or none, even after its end; a dataset that the run already has is not added again.

    Two datasets are the same if they differ in nothing but their tags; these are merged, and null removes a tag. Raises
    InvalidInput (a field of the wrong type, or no field at all), NotFound, RunTrashed.
    """
    checked = [_fields_of(dataset) for dataset in new_datasets]
    with tracker.writable_run(run_id) as run:
        before = run.meta.get("datasets", [])
        after = merge_datasets(before, checked, overwrite=True)
        if not same_json(after, before):
            tracker.write_meta(run, datasets=after)


def _fields_of(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataset that have a value. Raises InvalidInput."""
    fields = {field: dataset[field] for field in FIELDS if dataset.get(field) is not None}
    check_dataset(fields)
    if not any(field != "tags" or merge_tags({}, value) for field, value in fields.items()):
        raise InvalidInput(f"describe the dataset with at least one of {', '.join(FIELDS)}")
    return fields


def check_dataset(described: Mapping[str, Any]) -> None:
    """Raise InvalidInput for a field of the wrong type. Null is allowed, and unknown fields are ignored."""
    for field in FIELDS:
        if described.get(field) is not None:
            _check(field, described[field])


def _check(field: str, value: object) -> None:
    """Raise InvalidInput for a field of the wrong type."""
    if field in ("n_rows", "n_cols"):
        if type(value) is not int or value < 0:
            raise InvalidInput(f"{field} must be a whole number, 0 or more")
    elif field == "features":
        if not isinstance(value, (list, dict)):
            raise InvalidInput("features must be an array (of names, say) or an object")
    elif field == "tags":
        if not isinstance(value, dict):
            raise InvalidInput("tags must be an object")
        check_tags(value)
    elif not isinstance(value, str):
        raise InvalidInput(f"{field} must be a string")


def merge_datasets(
    here: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]], *, overwrite: bool = False
) -> list[dict[str, Any]]:
    """Merge two lists of datasets; datasets that differ in nothing but their tags become one.

    A tag that both have keeps its value from `here`, unless `overwrite` is set.
    """
    result = [dict(each) for each in here]
    for dataset in there:
        match = next((each for each in result if _without_tags(each) == _without_tags(dataset)), None)
        if match is None:
            match = _without_tags(dataset)
            result.append(match)
        old_tags, new_tags = _tags(match), _tags(dataset)
        tags = merge_tags(old_tags, new_tags) if overwrite else merge_tags(new_tags, old_tags)
        if tags:
            match["tags"] = tags
        else:
            match.pop("tags", None)
    return result


def _without_tags(dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in dataset.items() if field != "tags"}


def _tags(dataset: Mapping[str, Any]) -> dict[str, Any]:
    tags = dataset.get("tags")
    return tags if isinstance(tags, dict) else {}


def get_datasets(tracker: Tracker, run_id: str) -> list[dict[str, Any]]:
    """Return the datasets of a run, as logged. Raises NotFound."""
    records: list[dict[str, Any]] = tracker.run(run_id, (META,)).meta.get("datasets", [])
    return records
