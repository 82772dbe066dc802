"""Images among a run's artifacts: known by their names, in a series where the names differ in a number alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_EXTENSION = re.compile(r"\.(?:png|jpe?g|gif|webp|svg)\Z", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
#: Images of a series that a page shows, at even distances where there are more, the first and last among them.
MOST_SHOWN = 200


class Step(NamedTuple):
    """An image of a series: the number in its name, and the name."""

    number: int
    name: str


def is_image_name(name: str) -> bool:
    """Tell whether a name ends as that of an image that pages show; its bytes decide when it is asked for."""
    return _EXTENSION.search(name) is not None


def image_names(names: Iterable[str]) -> list[str]:
    """Return the names of images, in the order in which a person counts: step_2.png before step_10.png."""
    return sorted(filter(is_image_name, names), key=_natural)


def neighbours(images: list[str], name: str) -> tuple[str | None, str | None]:
    """Return the images before and after one; None at the ends, and for what is none of them."""
    if name not in images:
        return None, None
    at = images.index(name)
    return images[at - 1] if at else None, images[at + 1] if at + 1 < len(images) else None


def series_of(images: Iterable[str], name: str) -> list[Step]:
    """Return the images whose names are that of `name` but for its last number, by that number; [] for fewer than two.

    Of more than MOST_SHOWN these are left, `name` among them.
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
    if len(steps) > MOST_SHOWN:
        places = {round(place * (len(steps) - 1) / (MOST_SHOWN - 2)) for place in range(MOST_SHOWN - 1)}
        steps = [step for place, step in enumerate(steps) if place in places or step.name == name]
    return steps if len(steps) > 1 else []


def _split(name: str) -> tuple[str, int, str] | None:
    """Return a name's part before its last number (the extension aside), the number, and the part behind it."""
    stem = _EXTENSION.sub("", name)
    numbers = list(_NUMBER.finditer(stem))
    if not numbers or len(numbers[-1][0]) > 18:
        return None
    last_number = numbers[-1]
    return stem[: last_number.start()], int(last_number[0]), name[last_number.end() :]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that orders numbers within names by their values."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d{1,18})", name) if part]
