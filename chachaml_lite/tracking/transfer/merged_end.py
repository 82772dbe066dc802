"""The end of a run of which there are two copies: one may have been resumed after the other's end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..params import same_json

#: What an end consists of, and the time since when the run goes on, where it was resumed.
END_FIELDS = ("status", "end_time", "error", "resumed_at")


def merged_end(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The end that a run has by two copies' meta.json, as END_FIELDS; None where they contradict each other.

    The copy that was resumed last counts, with the end that it has, or none yet; an end that is older than the other
    copy's `resumed_at` is one that was undone. Of two that were resumed at the same time, or never, one may have ended.
    """
    resumed_at = ours.get("resumed_at") or 0, theirs.get("resumed_at") or 0
    has_ended = ours["status"] != "running", theirs["status"] != "running"
    if resumed_at[0] != resumed_at[1]:
        newer, earlier = (ours, theirs) if resumed_at[0] > resumed_at[1] else (theirs, ours)
        if earlier["status"] == "running" or (earlier.get("end_time") or 0) < max(resumed_at):
            return _end(newer)
        # It ended after the other one was resumed: an end of the same run, and the only one that it may have.
        end = {**_end(earlier), "resumed_at": max(resumed_at)}
        return end if newer["status"] == "running" or same_json(end, _end(newer)) else None
    if all(has_ended):
        return _end(ours) if same_json(_end(ours), _end(theirs)) else None
    return _end(theirs if has_ended[1] else ours)


def _end(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {field: meta.get(field) for field in END_FIELDS}
