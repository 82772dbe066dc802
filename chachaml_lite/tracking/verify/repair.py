"""Repair of a store: damaged lines are moved aside, and summaries rebuilt. Nothing that was logged is deleted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...store import layout
from ...store.inspection import ASIDE
from ...store.store import Store
from ..index.run_parts import FILES, SUMMARY, keep_summary, read_part
from .problems import Problem


class Repair(NamedTuple):
    """A repair that was made: a path below the data folder, and a description."""

    where: str
    detail: str

    def public(self) -> dict[str, Any]:
        """Return the fields of the report."""
        return self._asdict()


def repair(store: Store, problems: Iterable[Problem]) -> list[Repair]:
    """Repair whatever can be repaired, and return the list of repairs. The caller owns the store. Raises OSError."""
    repairs: list[Repair] = []
    spans: dict[str, list[tuple[int, int]]] = {}
    stale_summaries: dict[str, str] = {}
    for problem in problems:
        remedy = problem.remedy
        if remedy is None:
            continue
        if remedy.temporary is not None and remedy.run_id is not None:
            store.inspection.remove(remedy.run_id, remedy.temporary)
            repairs.append(Repair(problem.where, "removed: it was never put in place"))
        elif remedy.spans:
            spans.setdefault(problem.where, []).extend(remedy.spans)
            if remedy.run_id is not None and problem.where.endswith(f"/{layout.METRICS}"):
                stale_summaries[remedy.run_id] = "rebuilt from the points that are left"
        elif remedy.run_id is not None:
            stale_summaries.setdefault(remedy.run_id, "rebuilt from the points")
    for where, parts in spans.items():
        store.inspection.set_aside(where, sorted(parts))
        count = sum(end - start for start, end in parts)
        aside = where.rpartition("/")[2] + ASIDE
        repairs.append(Repair(where, f"{count} damaged bytes moved to the end of {aside} beside it"))
    for run_id, detail in stale_summaries.items():
        store.inspection.remove(run_id, layout.SUMMARY)
        part = read_part(
            store, run_id, SUMMARY, store.inspection.stamp(store.inspection.run_file(run_id, FILES[SUMMARY]))
        )
        keep_summary(store, run_id, part)
        repairs.append(Repair(store.inspection.run_file(run_id, layout.SUMMARY), detail))
    return repairs
