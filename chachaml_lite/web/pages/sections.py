"""Metrics in sections by the beginnings of their names, of which a page shows a few at first.

`grad/norm` and `grad/max` are in the section grad. What says where a metric was measured makes no section: `train/loss`
and `val/loss` are with those that have no beginning, `train/grad/norm` is in grad. Sections that are closed are drawn
when they are opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..charts.groups import measured

#: The machine's load: closed until it is opened.
SYSTEM = "system"
#: Up to so many metrics there are no sections, but for the machine's.
_FEW = 8
#: Sections are open at first while they have no more metrics together; the first one always is.
_MOST_OPEN = 40


@dataclass(frozen=True)
class Section:
    """Metrics whose names begin alike; `name` is "" for those without a beginning."""

    name: str
    keys: tuple[str, ...]
    is_open: bool

    @property
    def title(self) -> str:
        """The name as a heading."""
        return f"{self.name}/" if self.name else "Metrics"


def section_of(key: str) -> str:
    """The section that a metric's name belongs to; "" for none."""
    prefix, slash, _ = measured(key).partition("/")
    return prefix if slash else ""


def sections_of(keys: Iterable[str], opened: frozenset[str] = frozenset()) -> list[Section]:
    """The keys in sections, in the order of their first ones; `opened`: the names of those that were opened."""
    by_name: dict[str, list[str]] = {"": []}
    names = list(dict.fromkeys(keys))
    for key in names:
        by_name.setdefault(section_of(key), []).append(key)
    load = by_name.pop(SYSTEM, [])
    if len(names) - len(load) <= _FEW:
        by_name = {"": [key for key in names if section_of(key) != SYSTEM]}
    sections: list[Section] = []
    shown = 0
    for name, mine in by_name.items():
        if mine:
            shown += len(mine)
            sections.append(Section(name, tuple(mine), not sections or shown <= _MOST_OPEN or name in opened))
    if load:
        sections.append(Section(SYSTEM, tuple(load), SYSTEM in opened))
    return sections
