"""Images among a run's artifacts: recognized by their names, and a series if the names differ only in a number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_EXTENSION = re.compile(r"\.(?:png|jpe?g|gif|webp|svg)\Z", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
#: The most images of a series on a page; from a longer one, evenly spaced ones including the first and last.
MAX_IMAGES = 200


class Step(NamedTuple):
    """An image of a series: the number in its name, and the name."""

    number: int
    name: str


def is_image_name(name: str) -> bool:
    """Return whether a name ends like that of an image that pages show; on a request its bytes decide."""
    return _EXTENSION.search(name) is not None


def image_names(names: Iterable[str]) -> list[str]:
    """Return the names of images in natural order: step_2.png before step_10.png."""
    return sorted(filter(is_image_name, names), key=_natural_key)


def neighbours(images: list[str], name: str) -> tuple[str | None, str | None]:
    """Return the images before and after one; None at the ends, and for a name that isn't among them."""
    if name not in images:
        return None, None
    at = images.index(name)
    return images[at - 1] if at else None, images[at + 1] if at + 1 < len(images) else None


def series_of(images: Iterable[str], name: str) -> list[Step]:
    """Return the images whose names differ from `name` only in the last number, by that number; [] for fewer than two.

    From a longer series MAX_IMAGES images are selected, including `name`.
    """
    pattern = _split(name)
    if pattern is None:
        return []
    before, _, after = pattern
    steps = []
    for other in images:
        split = _split(other)
        if split is not None and (split[0], split[2]) == (before, after):
            steps.append(Step(split[1], other))
    steps.sort()
    if len(steps) > MAX_IMAGES:
        places = {round(place * (len(steps) - 1) / (MAX_IMAGES - 2)) for place in range(MAX_IMAGES - 1)}
        steps = [step for place, step in enumerate(steps) if place in places or step.name == name]
    return steps if len(steps) > 1 else []


def _split(name: str) -> tuple[str, int, str] | None:
    """Return the part of a name before its last number, the number, and the rest; the extension doesn't count."""
    stem = _EXTENSION.sub("", name)
    numbers = list(_NUMBER.finditer(stem))
    if not numbers or len(numbers[-1][0]) > 18:
        return None
    last_number = numbers[-1]
    return stem[: last_number.start()], int(last_number[0]), name[last_number.end() :]


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that orders numbers within names by value."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d{1,18})", name) if part]
