"""Merge of the ends of two copies of a run, one of which may have been resumed after the other's end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..params import same_json

#: The fields of an end, and the time of the last resumption.
END_FIELDS = ("status", "end_time", "error", "resumed_at")


def merge_end(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the END_FIELDS that result from two copies' meta.json; None if the copies contradict each other.

    The copy that was resumed last wins, whether it has ended or not; an end of the other copy before that `resumed_at`
    was undone. If both were resumed at the same time, or never, one of them may have ended.
    """
    resumed_at = ours.get("resumed_at") or 0, theirs.get("resumed_at") or 0
    has_ended = ours["status"] != "running", theirs["status"] != "running"
    if resumed_at[0] != resumed_at[1]:
        newer, earlier = (ours, theirs) if resumed_at[0] > resumed_at[1] else (theirs, ours)
        if earlier["status"] == "running" or (earlier.get("end_time") or 0) < max(resumed_at):
            return _end(newer)
        # It ended after the other copy was resumed, so this is the end of the same run, and must be its only one.
        end = {**_end(earlier), "resumed_at": max(resumed_at)}
        return end if newer["status"] == "running" or same_json(end, _end(newer)) else None
    if all(has_ended):
        return _end(ours) if same_json(_end(ours), _end(theirs)) else None
    return _end(theirs if has_ended[1] else ours)


def _end(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {field: meta.get(field) for field in END_FIELDS}
