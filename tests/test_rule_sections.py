"""Sections of metrics and params by the beginnings of their names."""

from __future__ import annotations

import pytest

from chachaml_lite.web.pages.sections import param_sections, section_of_param, sections_of

FEW = ["loss", "val/loss", "grad/a", "grad/b"]


def parts_of(keys: list[str], opened: frozenset[str] = frozenset()) -> list[tuple[str, int, bool]]:
    return [(section.name, len(section.keys), section.is_open) for section in sections_of(keys, opened)]


def named(prefix: str, count: int) -> list[str]:
    return [f"{prefix}/{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("keys", "sections"),
    [
        ([], []),
        (FEW, [("", 4, True)]),
        ([*FEW, "system/cpu"], [("", 4, True), ("system", 1, False)]),
        (["system/cpu"], [("system", 1, True)]),
        ([*named("grad", 6), "val/loss", "train/loss", "lr"], [("", 3, True), ("grad", 6, True)]),
        (["val/grad/a", "train/grad/a", *named("layer", 7)], [("grad", 2, True), ("layer", 7, True)]),
        ([*named("a", 8), "b/1", "c/1"], [("", 2, True), ("a", 8, True)]),
        ([*named("a", 30), *named("b", 30), *named("c", 5)], [("a", 30, True), ("b", 30, False), ("c", 5, False)]),
        (named("a", 500), [("a", 500, True)]),
    ],
)
def test_sections_by_prefix(keys: list[str], sections: list[tuple[str, int, bool]]) -> None:
    assert parts_of(keys) == sections


def test_section_that_was_opened_is_open() -> None:
    keys = [*named("a", 41), *named("b", 5), *named("system", 3)]
    assert parts_of(keys, frozenset({"b", "system"})) == [("a", 41, True), ("b", 5, True), ("system", 3, True)]


def test_section_of_the_machine_is_open_where_a_filter_leaves_it() -> None:
    keys = [*named("a", 9), *named("system", 3)]
    assert [section.is_open for section in sections_of(keys, is_filtered=True)] == [True, True]
    keys = [*named("a", 39), *named("system", 3)]
    assert [section.is_open for section in sections_of(keys, is_filtered=True)] == [True, False]


def test_params_are_in_sections_from_thirty_on() -> None:
    keys = [*named("model", 15), *(f"data.{number}" for number in range(14))]
    assert [section.name for section in param_sections(keys)] == [""]
    assert [section.name for section in param_sections([*keys, "lr"])] == ["", "model", "data"]
    assert param_sections([]) == []


def test_sections_of_a_page_are_bounded() -> None:
    keys = [key for prefix in range(500) for key in named(f"p{prefix}", 2 + prefix % 2)]
    sections = sections_of(keys)
    assert len(sections) == 21
    assert sorted(key for section in sections for key in section.keys) == sorted(keys)


def test_params_are_separated_by_dots_too() -> None:
    assert [section_of_param(key) for key in ("lr", "model.layers", "a/b.c", ".x")] == ["", "model", "a", ""]
