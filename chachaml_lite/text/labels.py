"""Labels of several runs, for legends and headings."""

from __future__ import annotations

from collections.abc import Sequence

from .safe import printable, truncate


def label_runs(runs: Sequence[tuple[str, str | None]]) -> list[str]:
    """Return the names of runs, or their ids; a name of several runs is preceded by the distinguishing end of the id.

    `runs` has the id and the name of each. Ids begin with the time, so their beginnings are alike, and a truncated
    label keeps its beginning.
    """
    names = [name or run_id for run_id, name in runs]
    ids_by_name: dict[str, set[str]] = {}
    for (run_id, _), name in zip(runs, names, strict=True):
        ids_by_name.setdefault(name, set()).add(run_id)
    sizes = {name: _tail_size(ids) for name, ids in ids_by_name.items() if len(ids) > 1}
    return [
        f"{_tail(run_id, sizes[name])} {name}" if name in sizes else name
        for (run_id, _), name in zip(runs, names, strict=True)
    ]


def head_runs(runs: Sequence[tuple[str, str | None]], width: int) -> list[str]:
    """Return the same labels truncated to `width` columns, or the ids if truncation makes labels equal."""
    ids = [run_id for run_id, _ in runs]
    headings = [
        label if label == run_id else truncate(printable(label), width)
        for label, run_id in zip(label_runs(runs), ids, strict=True)
    ]
    return ids if len(set(headings)) < len(set(ids)) else headings


def _tail_size(ids: set[str]) -> int:
    """Return the number of characters at the end, at least four, that distinguish some ids."""
    longest = max(map(len, ids))
    return next((size for size in range(4, longest) if len({run_id[-size:] for run_id in ids}) == len(ids)), longest)


def _tail(run_id: str, size: int) -> str:
    return run_id if len(run_id) <= size + 4 else f"…{run_id[-size:]}"
