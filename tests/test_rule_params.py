"""Equality of two values of a param."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chachaml_lite.tracking.params import same_json

SAME: list[tuple[Any, Any]] = [
    (1, 1),
    (1, 1.0),
    (0.0, -0.0),
    (1e2, 100),
    ("a", "a"),
    (None, None),
    (True, True),
    ([1, [2.0]], [1.0, [2]]),
    ({"a": 1, "b": [True]}, {"b": [True], "a": 1.0}),
    ([], []),
    ({}, {}),
    (2**70, 2**70),
]
DIFFERENT: list[tuple[Any, Any]] = [
    (1, 2),
    (1, "1"),
    (True, 1),
    (False, 0),
    (1, True),
    (False, None),
    (False, ""),
    (0, None),
    ("", None),
    ("a", "A"),
    ("é", "e\u0301"),
    ([1], [True]),
    ([1], 1),
    ([1, 2], [2, 1]),
    ([1], [1, 1]),
    ([], {}),
    ([], None),
    ({"a": 1}, {"a": True}),
    ({"a": 1}, {"b": 1}),
    ({"a": None}, {}),
    ({"a": 1}, {"a": 1, "b": 1}),
    (2**53 + 1, 2**53),
    (2**53 + 1, float(2**53)),
    (0.1, 0.1 + 2**-55),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_same_json_is_true_for_equal_values(one: Any, other: Any) -> None:
    assert same_json(one, other)
    assert same_json(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_same_json_is_false_for_another_type_or_content(one: Any, other: Any) -> None:
    assert not same_json(one, other)
    assert not same_json(other, one)


@settings(deadline=None)
@given(JSON, JSON)
def test_same_json_is_reflexive_and_symmetric(one: Any, other: Any) -> None:
    assert same_json(one, one)
    assert same_json(one, other) == same_json(other, one)
