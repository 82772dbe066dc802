"""The filter of metrics' and params' names: plain text, and regular expressions that can't take long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chachaml_lite.errors import InvalidInput
from chachaml_lite.tracking.query.key_filter import parse_key_filter

KEYS = ["loss", "val/Loss", "train/loss", "lr", "system/gpu0/memory", "a.b", "acc@1", "日本"]


def filter_keys(text: str) -> list[str]:
    test = parse_key_filter(text)
    return KEYS if test is None else [key for key in KEYS if test(key)]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", KEYS),
        ("  ", KEYS),
        ("loss", ["loss", "val/Loss", "train/loss"]),
        ("LOSS", ["loss", "val/Loss", "train/loss"]),
        ("a.b", ["a.b"]),
        ("/", ["val/Loss", "train/loss", "system/gpu0/memory"]),
        ("//", []),
        ("本", ["日本"]),
        ("/^loss$/", ["loss"]),
        ("/^(train|val).loss$/", ["val/Loss", "train/loss"]),
        (r"/gpu\d/", ["system/gpu0/memory"]),
        (r"/^\w\.\w$/", ["a.b"]),
        ("/^.{2}$/", ["lr", "日本"]),
        ("/s{2}/", ["loss", "val/Loss", "train/loss"]),
        ("/@[0-9]/", ["acc@1"]),
        ("/^[^a-z]/", ["日本"]),
        ("/(?:x*)*$/", KEYS),
        ("/L+o?S/", ["loss", "val/Loss", "train/loss"]),
    ],
)
def test_filter_matches_keys(text: str, keys: list[str]) -> None:
    assert filter_keys(text) == keys


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/(a/", "a ) is missing"),
        ("/a)/", "a ) without its ("),
        ("/*a/", "nothing before it"),
        ("/[a/", "a ] is missing"),
        ("/[z-a]/", "from a lesser character"),
        ("/(?=a)/", "(?: alone"),
        (r"/(a)\1/", r"\1 isn't known here"),
        ("/a\\/", "nothing follows the backslash"),
        ("/a{101}/", "100 times"),
        ("/((a{99}){99}){99}/", "too large"),
        ("/" + "(" * 60 + "/", "too many ("),
        ("/" + "(a)" * 20 + "(" * 51 + "a" + ")" * 51 + "/", "too many ("),
        ("x" * 301, "the limit is 300"),
    ],
)
def test_invalid_filter_is_explained(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as fault:
        parse_key_filter(text)
    assert reason in fault.value.detail


ATOMS = st.sampled_from(["a", "b", "A", ".", "[ab]", "[^a]", r"\d", r"\W", "^", "$", "1", "/"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0}", "{1,}", "{0,3}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, st.text("abAB1/ ", max_size=8))
def test_expression_matches_like_python_s_re(expression: str, key: str) -> None:
    test = parse_key_filter(f"/{expression}/")
    assert test is not None
    assert test(key) == (re.search(expression, key, re.IGNORECASE | re.ASCII) is not None)


@pytest.mark.parametrize("expression", ["(a+)+$", "^(a|a)*$", "(.*)*b", "a*a*a*a*a*a*a*b", "(a?){50}a{50}b"])
def test_expression_is_never_slow(expression: str) -> None:
    test = parse_key_filter(f"/{expression}/")
    assert test is not None
    began = time.thread_time()
    assert not test("a" * 249 + "!")
    assert time.thread_time() - began < 5  # Python's re takes years
