"""Tags: short facts about a run that may change, also after its end."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InvalidInput
from .index.run_parts import META
from .names import check_name, quote_name
from .tracker import Tracker

TagValue = str | int | float | bool


def check_tags(tags: Mapping[str, object]) -> None:
    """Raise InvalidInput where a key is no name, or a value no string, number, boolean or null."""
    for key, value in tags.items():
        check_name("tag", key)
        if value is not None and not isinstance(value, (str, int, float, bool)):
            raise InvalidInput(f"tag {quote_name(key)} must be a string, a number, a boolean, or null to remove it")


def set_tags(tracker: Tracker, run_id: str, tags: Mapping[str, TagValue | None]) -> None:
    """Set a run's tags, all or none; None removes one. Other tags stay. Raises InvalidInput, NotFound."""
    check_tags(tags)
    with tracker.writable_run(run_id) as run:
        before = run.meta.get("tags", {})
        after = merged_tags(before, tags)
        if find_tag_changes(before, tags):
            tracker.write_meta(run, tags=after)


def merged_tags(before: Mapping[str, TagValue], tags: Mapping[str, TagValue | None]) -> dict[str, TagValue]:
    """`before` with other tags set or, where they are None, removed."""
    return {key: value for key, value in {**before, **tags}.items() if value is not None}


def find_tag_changes(before: Mapping[str, TagValue], tags: Mapping[str, TagValue | None]) -> dict[str, TagValue | None]:
    """Return those of `tags` that change something: another value or type, or a tag to be removed."""
    return {
        key: value
        for key, value in tags.items()
        if before.get(key) != value or type(before.get(key)) is not type(value)
    }


def get_tags(tracker: Tracker, run_id: str) -> dict[str, TagValue]:
    """The tags of a run. Raises NotFound."""
    tags: dict[str, TagValue] = tracker.run(run_id, (META,)).meta.get("tags", {})
    return tags
