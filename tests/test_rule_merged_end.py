"""The end of a run by two copies: one that was resumed isn't ended again by what it was before."""

from __future__ import annotations

from typing import Any

import pytest

from chachaml_lite.tracking.transfer.merge_end import merge_end


def running(resumed_at: int | None = None) -> dict[str, Any]:
    return {"status": "running", "end_time": None, "error": None, "resumed_at": resumed_at}


def ended(end_time: int, resumed_at: int | None = None, status: str = "completed") -> dict[str, Any]:
    return {"status": status, "end_time": end_time, "error": None, "resumed_at": resumed_at}


@pytest.mark.parametrize(
    ("here", "there", "merged"),
    [
        (running(), running(), running()),
        (running(), ended(5), ended(5)),
        (ended(5), running(), ended(5)),
        (ended(5), ended(5), ended(5)),
        (ended(5), ended(6), None),
        (ended(5), ended(5, status="failed"), None),
        (running(10), ended(5), running(10)),
        (ended(5), running(10), running(10)),
        (ended(5), ended(15, 10), ended(15, 10)),
        (ended(15, 10), ended(5), ended(15, 10)),
        (running(10), ended(12), ended(12, 10)),
        (ended(12), running(10), ended(12, 10)),
        (running(10), ended(10), ended(10, 10)),
        (ended(12), ended(15, 10), None),
        (running(10), ended(15, 10), ended(15, 10)),
        (ended(15, 10), running(20), running(20)),
    ],
)
def test_merged_end_is_that_of_the_copy_resumed_last(here: Any, there: Any, merged: Any) -> None:
    assert merge_end(here, there) == merged
    assert merge_end(there, here) == merged
    if merged is not None:
        assert merge_end(merged, here) == merge_end(merged, there) == merged
