"""The summary of a job: the report of its run with the outcome of its checks, no longer than GitHub takes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .checks import Outcome

#: GitHub takes 1 MiB from a step, and nothing at all of what is longer.
MAX_BYTES = 900 * 1024
_MARKS = {True: "✅ passed  ", False: "❌ failed  ", None: "➖ not asked"}
_SECTION = re.compile(r"^(?=### )", re.MULTILINE)


def compose(report: str, outcomes: Sequence[Outcome]) -> str:
    """Return the report with its checks after the first section, which says what run it is."""
    first, *others = _SECTION.split(report)
    return "".join([_end(first), *_checks(outcomes), *others])


def cut(summary: str, most_bytes: int) -> str:
    """Return `summary` without the sections that don't fit into so many bytes; then it names them."""
    if len(summary.encode()) <= most_bytes:
        return summary
    kept: list[str] = []
    left_out: list[str] = []
    room = most_bytes - 2000  # for what names them
    for section in _SECTION.split(summary):
        size = len(section.encode())
        if size <= room:
            kept.append(_end(section))
            room -= size + 1
        else:
            title = section.partition("\n")[0].lstrip("# ") if section.startswith("### ") else "its head"
            left_out.append(f"{title} ({size / 1024:,.0f} KiB)")
    named = ", ".join(left_out[:20])
    return "".join(
        [*kept, f"\n**Left out, for GitHub shows no more than 1 MiB: {named}.** The run's folder has all.\n"]
    )


def _checks(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the section of the checks: text in a block, in which no text of users acts as Markdown or HTML."""
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
