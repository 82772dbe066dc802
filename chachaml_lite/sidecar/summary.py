"""The summary of a job: the report of its run with the outcome of its checks, within GitHub's limit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .checks import Outcome

#: GitHub accepts 1 MiB from a step, and drops a longer summary entirely.
MAX_BYTES = 900 * 1024
_MARKS = {True: "✅ passed  ", False: "❌ failed  ", None: "➖ skipped"}
_SECTION = re.compile(r"^(?=### )", re.MULTILINE)


def compose(report: str, outcomes: Sequence[Outcome]) -> str:
    """Return the report with its checks after the first section, which identifies the run."""
    first, *others = _SECTION.split(report)
    return "".join([_end(first), *_checks(outcomes), *others])


def cut(summary: str, most_bytes: int) -> str:
    """Return `summary` without the sections that exceed `most_bytes`; a note lists the omitted ones."""
    if len(summary.encode()) <= most_bytes:
        return summary
    parts: list[str] = []
    omitted: list[str] = []
    room = most_bytes - 2000  # for the note
    for section in _SECTION.split(summary):
        size = len(section.encode())
        if size <= room:
            parts.append(_end(section))
            room -= size + 1
        else:
            title = section.partition("\n")[0].lstrip("# ") if section.startswith("### ") else "its head"
            omitted.append(f"{title} ({size / 1024:,.0f} KiB)")
    names = ", ".join(omitted[:20])
    return "".join(
        [*parts, f"\n**Omitted, because GitHub displays at most 1 MiB: {names}.** The run's folder has everything.\n"]
    )


def _checks(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the section of the checks, as a code block in which users' text can't act as Markdown or HTML."""
    if not outcomes:
        return []
    lines = [f"{_MARKS[each.passed]}  {_escape_unprintable(each.detail)}" for each in outcomes]
    longest = max((len(ticks) for line in lines for ticks in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return ["\n".join(["### Checks", "", f"{fence}text", *lines, fence, "", ""])]


def _escape_unprintable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _end(section: str) -> str:
    return section if section.endswith("\n") else section + "\n"
