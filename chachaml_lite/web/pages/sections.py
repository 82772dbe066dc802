"""Sections of metrics and params by the prefixes of their names, of which a page opens a few at first.

`grad/norm` and `grad/max` are in the section grad. Prefixes for the data of a measurement make no section: `train/loss`
and `val/loss` are with the metrics without a prefix, `train/grad/norm` is in grad. In params a dot is a separator, too:
`model.layers` is in model. Closed sections are rendered when they are opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..charts.groups import strip_prefix

#: The machine's load: closed until it is opened, unless it is the only section.
SYSTEM = "system"
#: Up to _FEW names there are no sections except the machine's; a section has at least _FEWEST names.
_FEW, _FEWEST = 8, 2
#: The most sections of a page: those with the most names. The others are merged with the names without a prefix.
_MOST = 20
#: Sections are open at first as long as they have no more names than this together; the first one always is.
_MOST_OPEN = 40
#: The least number of params that are shown in sections.
_MANY_PARAMS = 30
_SEPARATOR = re.compile("[./]")


@dataclass(frozen=True)
class Section:
    """Names with the same prefix; `name` is "" for those without one."""

    name: str
    keys: tuple[str, ...]
    is_open: bool

    @property
    def title(self) -> str:
        """Return the name as a heading."""
        return self.name or "General"


def section_of(key: str) -> str:
    """Return the section that a metric's name belongs to, or ""."""
    prefix, slash, _ = strip_prefix(key).partition("/")
    return prefix if slash else ""


def section_of_param(key: str) -> str:
    """Return the section that a param's name belongs to, or ""."""
    prefix, *rest = _SEPARATOR.split(key, maxsplit=1)
    return prefix if rest else ""


def sections_of(
    keys: Iterable[str],
    open_names: frozenset[str] = frozenset(),
    section: Callable[[str], str] = section_of,
    *,
    is_filtered: bool = False,
) -> list[Section]:
    """Group keys into sections: those without a prefix first, the others in the order of their first keys.

    `open_names`: the sections that the user opened. `is_filtered`: the keys are the result of a filter, so the
    machine's load is as relevant as any other section.
    """
    by_name: dict[str, list[str]] = {}
    names = list(dict.fromkeys(keys))
    for key in names:
        by_name.setdefault(section(key), []).append(key)
    load = by_name.pop(SYSTEM, [])
    large = [name for name, section_keys in by_name.items() if name and len(section_keys) >= _FEWEST]
    if len(names) - len(load) <= _FEW:
        large = []
    largest_names = set(sorted(large, key=lambda name: -len(by_name[name]))[:_MOST])
    # If "" also holds the sections beyond the limit, its position is that of its first key.
    parts: dict[str, list[str]] = {"": []} if len(large) <= _MOST else {}
    for key in names:
        name = section(key)
        if name != SYSTEM:
            parts.setdefault(name if name in largest_names else "", []).append(key)
    if load:
        parts[SYSTEM] = load
    sections: list[Section] = []
    open_count = 0
    for name, section_keys in ((name, section_keys) for name, section_keys in parts.items() if section_keys):
        open_count += len(section_keys)
        is_open = not sections or (open_count <= _MOST_OPEN and (name != SYSTEM or is_filtered)) or name in open_names
        sections.append(Section(name, tuple(section_keys), is_open))
    return sections


def param_sections(
    keys: Iterable[str], open_names: frozenset[str] = frozenset(), *, is_filtered: bool = False
) -> list[Section]:
    """Group many params into sections; a few are all in one."""
    names = list(dict.fromkeys(keys))
    if len(names) < _MANY_PARAMS:
        return [Section("", tuple(names), True)] if names else []
    return sections_of(names, open_names, section_of_param, is_filtered=is_filtered)
