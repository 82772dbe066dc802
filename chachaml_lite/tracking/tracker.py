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
    """One store's runs and models, ready to be asked and added to."""

    store: Store
    catalog: Catalog
    registry: Registry
    descriptions: Descriptions
    logged_models: LoggedModels
    series: SeriesCache
    clock: Clock

    @classmethod
    def on(cls, store: Store, series_cache_bytes: int) -> Tracker:
        """The tracker of an opened store, which keeps at most so many bytes of parsed series."""
        descriptions = Descriptions(store)
        catalog = Catalog(store, descriptions.deleted)
        series = SeriesCache(store, series_cache_bytes)
        return cls(store, catalog, Registry(store), descriptions, LoggedModels(store), series, Clock())

    def close(self) -> None:
        """Save what the next start need not read again, and give the store back."""
        try:
            self.catalog.save_index()
        finally:
            self.store.close()

    def run(self, run_id: str, parts: tuple[int, ...] = ALL_PARTS) -> Run:
        """A run as it is on disk now; `parts`: those that will be asked of it. Raises NotFound."""
        run = self.catalog.run(run_id, parts)
        if run is None:
            if self.catalog.known(run_id):
                raise NotFound("run", "the run's meta.json is damaged; the server's log says how")
            raise NotFound("run", f"no run has the id {quote_name(run_id)}", resolvable_by="create_run")
        return run

    @contextmanager
    def locked_run(self, run_id: str, *parts: int) -> Iterator[Run]:
        """A run, while nobody else writes to it; `parts`: what is to be looked at besides its meta. Raises NotFound."""
        if not self.catalog.had(run_id):  # no lock is made for each id that somebody guesses
            self.run(run_id)
        with self.store.locked_run(run_id):
            run = self.run(run_id, (META, *parts))
            stamp = run.part(META).stamp
            try:
                yield run
            except FileNotFoundError as fault:
                self._refuse_gone(run, stamp, fault)
                raise

    @contextmanager
    def writable_run(self, run_id: str, *parts: int) -> Iterator[Run]:
        """The same for a write: a run in the trash takes none. Raises NotFound, RunTrashed."""
        with self.locked_run(run_id, *parts) as run:
            self.refuse_trashed(run)
            yield run

    @contextmanager
    def open_run(self, run_id: str, *parts: int, even_ended: bool = False) -> Iterator[Run]:
        """The same for what a run takes only before its end (the contract, section 2), unless `even_ended`.

        Raises NotFound, RunEnded, RunTrashed.
        """
        if not self.catalog.had(run_id):
            self.run(run_id)
        with self.store.locked_run(run_id):
            run = self.run(run_id, (META, *parts))
            self.refuse_trashed(run)
            status = run.meta["status"]
            if status != "running" and not even_ended:
                raise RunEnded(
                    f"the run has ended ({status}), and takes no more params, metrics or artifacts; "
                    "tags, note and datasets can still be written"
                )
            stamp = run.part(META).stamp
            try:
                yield run
            except FileNotFoundError as fault:
                self._refuse_gone(run, stamp, fault)
                raise

    def _refuse_gone(self, run: Run, stamp: Stamp, fault: FileNotFoundError) -> None:
        """Raise NotFound where a file is missing since the run's folder was removed, renamed or replaced meanwhile."""
        now = self.catalog.run(run.id, (META,))
        if now is not run or now.part(META).stamp != stamp:
            raise NotFound("run", "the run's folder was removed or renamed while it was written to") from fault

    def is_trashed(self, run: Run) -> bool:
        """Whether a run is in the trash, by itself or with its experiment."""
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
        """Replace fields of a run's meta.json, and leave the others as they are; the caller holds the run. OSError."""
        with self.replacing(run, META, {**run.meta, **changes}):
            pass

    @contextmanager
    def replacing(self, run: Run, part: int, value: dict[str, Any]) -> Iterator[None]:
        """Replace meta.json or params.json of a run that the caller holds, when the block has succeeded. OSError."""
        with self.store.runs.replacing(run.id, FILES[part], value) as replacement:
            yield
        self.catalog.put(run, part, value, replacement.stamp)
