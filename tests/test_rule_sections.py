"""Sections of metrics and params by the prefixes of their names."""

from __future__ import annotations

import pytest

from chachaml_lite.web.pages.sections import param_sections, section_of_param, sections_of

FEW = ["loss", "val/loss", "grad/a", "grad/b"]


def list_parts(keys: list[str], open_sections: frozenset[str] = frozenset()) -> list[tuple[str, int, bool]]:
    return [(section.name, len(section.keys), section.is_open) for section in sections_of(keys, open_sections)]


def make_keys(prefix: str, count: int) -> list[str]:
    return [f"{prefix}/{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("keys", "sections"),
    [
        ([], []),
        (FEW, [("", 4, True)]),
        ([*FEW, "system/cpu"], [("", 4, True), ("system", 1, False)]),
        (["system/cpu"], [("system", 1, True)]),
        ([*make_keys("grad", 6), "val/loss", "train/loss", "lr"], [("", 3, True), ("grad", 6, True)]),
        (["val/grad/a", "train/grad/a", *make_keys("layer", 7)], [("grad", 2, True), ("layer", 7, True)]),
        ([*make_keys("a", 8), "b/1", "c/1"], [("", 2, True), ("a", 8, True)]),
        (
            [*make_keys("a", 30), *make_keys("b", 30), *make_keys("c", 5)],
            [("a", 30, True), ("b", 30, False), ("c", 5, False)],
        ),
        (make_keys("a", 500), [("a", 500, True)]),
    ],
)
def test_sections_by_prefix(keys: list[str], sections: list[tuple[str, int, bool]]) -> None:
    assert list_parts(keys) == sections


def test_section_opened_by_the_user_is_open() -> None:
    keys = [*make_keys("a", 41), *make_keys("b", 5), *make_keys("system", 3)]
    assert list_parts(keys, frozenset({"b", "system"})) == [("a", 41, True), ("b", 5, True), ("system", 3, True)]


def test_system_section_is_open_when_a_filter_leaves_few_metrics() -> None:
    keys = [*make_keys("a", 9), *make_keys("system", 3)]
    assert [section.is_open for section in sections_of(keys, is_filtered=True)] == [True, True]
    keys = [*make_keys("a", 39), *make_keys("system", 3)]
    assert [section.is_open for section in sections_of(keys, is_filtered=True)] == [True, False]


def test_params_have_sections_from_thirty_on() -> None:
    keys = [*make_keys("model", 15), *(f"data.{number}" for number in range(14))]
    assert [section.name for section in param_sections(keys)] == [""]
    assert [section.name for section in param_sections([*keys, "lr"])] == ["", "model", "data"]
    assert param_sections([]) == []


def test_number_of_sections_is_limited() -> None:
    keys = [key for prefix in range(500) for key in make_keys(f"p{prefix}", 2 + prefix % 2)]
    sections = sections_of(keys)
    assert len(sections) == 21
    assert sorted(key for section in sections for key in section.keys) == sorted(keys)


def test_params_are_separated_by_dots_too() -> None:
    assert [section_of_param(key) for key in ("lr", "model.layers", "a/b.c", ".x")] == ["", "model", "a", ""]
