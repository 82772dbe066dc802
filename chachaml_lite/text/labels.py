"""Labels of runs where several stand side by side: in legends and as headings."""

from __future__ import annotations

from collections.abc import Sequence

from .safe import printable, truncate


def label_runs(runs: Sequence[tuple[str, str | None]]) -> list[str]:
    """The names of runs, or their ids; before a name that several have, as much of the id's end as tells them apart.

    `runs`: the id and the name of each. Ids begin with the time, so their heads are alike; and of a label that is cut
    the beginning is seen.
    """
    names = [name or run_id for run_id, name in runs]
    alike: dict[str, set[str]] = {}
    for (run_id, _), name in zip(runs, names, strict=True):
        alike.setdefault(name, set()).add(run_id)
    sizes = {name: _tail_size(ids) for name, ids in alike.items() if len(ids) > 1}
    return [
        f"{_tail(run_id, sizes[name])} {name}" if name in sizes else name
        for (run_id, _), name in zip(runs, names, strict=True)
    ]


def head_runs(runs: Sequence[tuple[str, str | None]], width: int) -> list[str]:
    """The same as headings of a table, names cut to `width` columns; the ids where names that are cut are alike."""
    ids = [run_id for run_id, _ in runs]
    headings = [
        label if label == run_id else truncate(printable(label), width)
        for label, run_id in zip(label_runs(runs), ids, strict=True)
    ]
    return ids if len(set(headings)) < len(set(ids)) else headings


def _tail_size(ids: set[str]) -> int:
    """The number of characters at their ends that tell some ids apart; four at least."""
    longest = max(map(len, ids))
    return next((size for size in range(4, longest) if len({run_id[-size:] for run_id in ids}) == len(ids)), longest)


def _tail(run_id: str, size: int) -> str:
    return run_id if len(run_id) <= size + 4 else f"…{run_id[-size:]}"
