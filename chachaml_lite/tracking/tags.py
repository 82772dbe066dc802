"""Tags: short facts about a run that may change, even after its end."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InvalidInput
from .index.run_parts import META
from .names import check_name, quote_name
from .tracker import Tracker

TagValue = str | int | float | bool


def check_tags(tags: Mapping[str, object]) -> None:
    """Raise InvalidInput for a key that is not a name, or a value that is no string, number, boolean or null."""
    for key, value in tags.items():
        check_name("tag", key)
        if value is not None and not isinstance(value, (str, int, float, bool)):
            raise InvalidInput(f"tag {quote_name(key)} must be a string, a number, a boolean, or null to remove it")


def set_tags(tracker: Tracker, run_id: str, tags: Mapping[str, TagValue | None]) -> None:
    """Set tags of a run, all or none, and keep its other tags; None removes one.

    Raises InvalidInput, NotFound, RunTrashed.
    """
    check_tags(tags)
    with tracker.writable_run(run_id) as run:
        before = run.meta.get("tags", {})
        after = merge_tags(before, tags)
        if find_tag_changes(before, tags):
            tracker.write_meta(run, tags=after)


def merge_tags(before: Mapping[str, TagValue], tags: Mapping[str, TagValue | None]) -> dict[str, TagValue]:
    """Return `before` updated with `tags`; a tag whose value is None is removed."""
    return {key: value for key, value in {**before, **tags}.items() if value is not None}


def find_tag_changes(before: Mapping[str, TagValue], tags: Mapping[str, TagValue | None]) -> dict[str, TagValue | None]:
    """Return those of `tags` that change something: a new value or type, or the removal of an existing tag."""
    return {
        key: value
        for key, value in tags.items()
        if before.get(key) != value or type(before.get(key)) is not type(value)
    }


def get_tags(tracker: Tracker, run_id: str) -> dict[str, TagValue]:
    """Return the tags of a run. Raises NotFound."""
    tags: dict[str, TagValue] = tracker.run(run_id, (META,)).meta.get("tags", {})
    return tags
