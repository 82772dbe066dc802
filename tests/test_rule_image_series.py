"""Images among artifacts: their names, their order, and series of images that differ in a number."""

from __future__ import annotations

import pytest

from chachaml_lite.web.pages.artifact.image_series import MAX_IMAGES, image_names, neighbours, series_of


def test_images_are_found_by_extension_and_sorted_by_their_numbers() -> None:
    names = ["s/step_10.png", "s/step_2.png", "a.txt", "B.JPG", "png", "x.svg", "c.webp", "model.pkl", "s/step_1.PNG"]
    assert image_names(names) == ["B.JPG", "c.webp", "s/step_1.PNG", "s/step_2.png", "s/step_10.png", "x.svg"]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("samples/step_50.png", [0, 50, 100]),
        ("samples/other_1.png", []),
        ("samples/plot.png", []),
        ("run3/epoch1_0.png", [0, 1]),
        ("9" * 30 + ".png", []),
    ],
)
def test_series_has_the_names_that_differ_in_the_last_number(name: str, numbers: list[int]) -> None:
    names = [*(f"samples/step_{step}.png" for step in (100, 0, 50)), "samples/step_7.jpg", "samples/plot.png"]
    names += ["samples/other_1.png", "run3/epoch1_0.png", "run3/epoch1_1.png", "run3/epoch2_0.png", "9" * 30 + ".png"]
    assert [step.number for step in series_of(names, name)] == numbers


def test_long_series_is_thinned_evenly_and_keeps_its_ends_and_the_current_image() -> None:
    names = [f"s/{step}.png" for step in range(1000)]
    steps = series_of(names, "s/501.png")
    assert len(steps) <= MAX_IMAGES
    assert {0, 501, 999} <= {step.number for step in steps}


def test_neighbours_are_none_at_the_ends() -> None:
    images = ["a.png", "b.png", "c.png"]
    assert [neighbours(images, name) for name in (*images, "other.txt")] == [
        (None, "b.png"),
        ("a.png", "c.png"),
        ("b.png", None),
        (None, None),
    ]
