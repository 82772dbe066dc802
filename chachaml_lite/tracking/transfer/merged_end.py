"""The end of a run of which there are two copies: one may have been resumed after the other's end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..params import same_json

#: What an end consists of, and the time since when the run goes on, where it was resumed.
END_FIELDS = ("status", "end_time", "error", "resumed_at")


def merged_end(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any] | None:
    """The end that a run has by two copies' meta.json, as END_FIELDS; None where they contradict each other.

    The copy that was resumed last counts, with the end that it has, or none yet; an end that is older than the other
    copy's `resumed_at` is one that was undone. Of two that were resumed at the same time, or never, one may have ended.
    """
    resumed = here.get("resumed_at") or 0, there.get("resumed_at") or 0
    ended = here["status"] != "running", there["status"] != "running"
    if resumed[0] != resumed[1]:
        later, earlier = (here, there) if resumed[0] > resumed[1] else (there, here)
        if earlier["status"] == "running" or (earlier.get("end_time") or 0) < max(resumed):
            return _end(later)
        # It ended after the other one was resumed: an end of the same run, and the only one that it may have.
        end = {**_end(earlier), "resumed_at": max(resumed)}
        return end if later["status"] == "running" or same_json(end, _end(later)) else None
    if all(ended):
        return _end(here) if same_json(_end(here), _end(there)) else None
    return _end(there if ended[1] else here)


def _end(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {field: meta.get(field) for field in END_FIELDS}
