"""The tracker that every rule works on: the store, its index in memory, and the clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import NotFound, RunEnded, RunTrashed
from ..store.reading import Stamp
from ..store.store import Store
from .clock import Clock
from .index.catalog import Catalog
from .index.descriptions import Descriptions
from .index.logged_models import LoggedModels
from .index.registry import Registry
from .index.run_entry import ALL_PARTS, Run
from .index.run_parts import FILES, META
from .index.series_cache import SeriesCache
from .names import quote_name


@dataclass(frozen=True)
class Tracker:
    """The runs and models of one store, ready for reading and writing."""

    store: Store
    catalog: Catalog
    registry: Registry
    descriptions: Descriptions
    logged_models: LoggedModels
    series: SeriesCache
    clock: Clock

    @classmethod
    def on(cls, store: Store, series_cache_bytes: int) -> Tracker:
        """Return the tracker of an open store, which caches at most `series_cache_bytes` of parsed series."""
        descriptions = Descriptions(store)
        catalog = Catalog(store, descriptions.deleted)
        series = SeriesCache(store, series_cache_bytes)
        return cls(store, catalog, Registry(store), descriptions, LoggedModels(store), series, Clock())

    def close(self) -> None:
        """Save the index, which spares the next start from reading the runs again, and close the store."""
        try:
            self.catalog.save_index()
        finally:
            self.store.close()

    def run(self, run_id: str, parts: tuple[int, ...] = ALL_PARTS) -> Run:
        """Return a run in its current state on disk; `parts` are those that the caller will use. Raises NotFound."""
        run = self.catalog.run(run_id, parts)
        if run is None:
            if self.catalog.known(run_id):
                raise NotFound("run", "the run's meta.json is damaged; the server's log says how")
            raise NotFound("run", f"no run has the id {quote_name(run_id)}", resolvable_by="create_run")
        return run

    @contextmanager
    def lock_run(self, run_id: str, *parts: int) -> Iterator[Run]:
        """Lock a run against other writers and yield it; `parts` are those needed besides its meta. Raises NotFound."""
        if not self.catalog.had(run_id):  # don't create a lock for every id that a client guesses
            self.run(run_id)
        with self.store.lock_run(run_id):
            run = self.run(run_id, (META, *parts))
            stamp = run.part(META).stamp
            try:
                yield run
            except FileNotFoundError as fault:
                self._refuse_gone(run, stamp, fault)
                raise

    @contextmanager
    def writable_run(self, run_id: str, *parts: int) -> Iterator[Run]:
        """Lock a run for writing and yield it. Raises NotFound, RunTrashed (a run in the trash is read-only)."""
        with self.lock_run(run_id, *parts) as run:
            self.refuse_trashed(run)
            yield run

    @contextmanager
    def open_run(self, run_id: str, *parts: int, even_ended: bool = False) -> Iterator[Run]:
        """Lock a run for writes that are allowed only before its end (the contract, section 2), and yield it.

        `even_ended` also allows a run that has ended. Raises NotFound, RunEnded, RunTrashed.
        """
        with self.writable_run(run_id, *parts) as run:
            status = run.meta["status"]
            if status != "running" and not even_ended:
                raise RunEnded(
                    f"the run has ended ({status}), and takes no more params, metrics or artifacts; "
                    "tags, note and datasets can still be written"
                )
            yield run

    def _refuse_gone(self, run: Run, stamp: Stamp, fault: FileNotFoundError) -> None:
        """Raise NotFound if a file is missing because the run's folder was removed, renamed or replaced meanwhile."""
        now = self.catalog.run(run.id, (META,))
        if now is not run or now.part(META).stamp != stamp:
            raise NotFound("run", "the run's folder was removed or renamed while it was written to") from fault

    def is_trashed(self, run: Run) -> bool:
        """Return whether a run is in the trash, by itself or with its experiment."""
        meta = run.meta
        return meta.get("deleted_at") is not None or self.descriptions.is_deleted(meta["experiment"])

    def refuse_trashed(self, run: Run) -> None:
        """Raise RunTrashed for a run in the trash."""
        meta = run.meta
        if meta.get("deleted_at") is not None:
            raise RunTrashed("the run is in the trash; restore it first")
        if self.descriptions.is_deleted(meta["experiment"]):
            name = meta["experiment"]
            raise RunTrashed(f"the run's experiment {quote_name(name)} is deleted; restore that first", name)

    def write_meta(self, run: Run, **changes: Any) -> None:
        """Replace fields of a run's meta.json and keep the others. The caller holds the run's lock. Raises OSError."""
        with self.replacing(run, META, {**run.meta, **changes}):
            pass

    @contextmanager
    def replacing(self, run: Run, part: int, value: dict[str, Any]) -> Iterator[None]:
        """Replace a run's meta.json or params.json if the block succeeds. The caller holds its lock. Raises OSError."""
        with self.store.runs.replacing(run.id, FILES[part], value) as replacement:
            yield
        self.catalog.put(run, part, value, replacement.stamp)
