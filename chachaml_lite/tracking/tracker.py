"""What every rule works on: the store, what is known of it, and the clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import NotFound
from ..store import layout
from ..store.store import Store
from .catalog import Catalog
from .clock import Clock
from .registry import Registry


@dataclass(frozen=True)
class Tracker:
    """One store's runs and models, ready to be asked and added to."""

    store: Store
    catalog: Catalog
    registry: Registry
    clock: Clock

    @classmethod
    def on(cls, store: Store) -> Tracker:
        """The tracker of an opened store."""
        return cls(store, Catalog(store), Registry(store), Clock())

    def meta(self, run_id: str) -> dict[str, Any]:
        """A run's meta.json. Raises NotFound."""
        meta = self.catalog.meta(run_id)
        if meta is None:
            raise NotFound("run", self._why_no_run(run_id))
        return meta

    @contextmanager
    def locked_run(self, run_id: str) -> Iterator[dict[str, Any]]:
        """A run's meta.json, while nobody else writes to that run. Raises NotFound."""
        if not self.catalog.known(run_id):  # no lock is made for each id that somebody guesses
            raise NotFound("run", self._why_no_run(run_id))
        with self.store.locked_run(run_id):
            yield self.meta(run_id)

    @contextmanager
    def open_run(self, run_id: str) -> Iterator[dict[str, Any]]:
        """The same for what a run takes only before its end (the contract, section 2). Raises NotFound."""
        with self.locked_run(run_id) as meta:
            if meta["status"] != "running":
                raise NotFound(
                    "run",
                    f"the run has ended ({meta['status']}), and takes no more params, metrics or artifacts; "
                    "tags, note and datasets can still be written",
                )
            yield meta

    def write_meta(self, run_id: str, meta: dict[str, Any]) -> None:
        """Replace a run's meta.json; the caller holds the run. OSError."""
        stamp = self.store.runs.replace(run_id, layout.META, meta)
        self.catalog.put(run_id, "meta", meta, stamp)

    def _why_no_run(self, run_id: str) -> str:
        if self.catalog.known(run_id):
            return "the run's meta.json is damaged; the server's log says how"
        return "no run has this id; use the id that POST /api/w/runs answered"
