"""The end of a run merged from two copies: an earlier copy never ends a run that was resumed since."""

from __future__ import annotations

from typing import Any

import pytest

from chachaml_lite.tracking.transfer.merge_end import merge_end


def make_running_meta(resumed_at: int | None = None) -> dict[str, Any]:
    return {"status": "running", "end_time": None, "error": None, "resumed_at": resumed_at}


def make_ended_meta(end_time: int, resumed_at: int | None = None, status: str = "completed") -> dict[str, Any]:
    return {"status": status, "end_time": end_time, "error": None, "resumed_at": resumed_at}


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (make_running_meta(), make_running_meta(), make_running_meta()),
        (make_running_meta(), make_ended_meta(5), make_ended_meta(5)),
        (make_ended_meta(5), make_running_meta(), make_ended_meta(5)),
        (make_ended_meta(5), make_ended_meta(5), make_ended_meta(5)),
        (make_ended_meta(5), make_ended_meta(6), None),
        (make_ended_meta(5), make_ended_meta(5, status="failed"), None),
        (make_running_meta(10), make_ended_meta(5), make_running_meta(10)),
        (make_ended_meta(5), make_running_meta(10), make_running_meta(10)),
        (make_ended_meta(5), make_ended_meta(15, 10), make_ended_meta(15, 10)),
        (make_ended_meta(15, 10), make_ended_meta(5), make_ended_meta(15, 10)),
        (make_running_meta(10), make_ended_meta(12), make_ended_meta(12, 10)),
        (make_ended_meta(12), make_running_meta(10), make_ended_meta(12, 10)),
        (make_running_meta(10), make_ended_meta(10), make_ended_meta(10, 10)),
        (make_ended_meta(12), make_ended_meta(15, 10), None),
        (make_running_meta(10), make_ended_meta(15, 10), make_ended_meta(15, 10)),
        (make_ended_meta(15, 10), make_running_meta(20), make_running_meta(20)),
    ],
)
def test_merged_end_is_that_of_the_copy_resumed_last(here: Any, there: Any, expected: Any) -> None:
    assert merge_end(here, there) == expected
    assert merge_end(there, here) == expected
    if expected is not None:
        assert merge_end(expected, here) == merge_end(expected, there) == expected
