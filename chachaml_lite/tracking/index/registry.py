"""The models of a store in memory, each kept while its history is as it was read."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass
from typing import Any

from ...errors import InvalidInput, StorageFault
from ...store import scan
from ...store.model_files import decoded
from ...store.reading import Damaged, Stamp
from ...store.store import Store
from ..names import check_model_name
from .model_history import History, Model, Version

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kept:
    stamp: Stamp
    model: Model | None
    damage: str | None


class Registry:
    """The models of one store. Checked when one is asked for: the stamps of models/ and of the histories.

    For `folder_pin`, which every upload asks, those of the histories are looked at once a second, and after each event
    of ours, for 5 µs each.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, _Kept] = {}
        self._changes = 0
        self._born = secrets.token_hex(4)
        self._folder_pins: dict[str, list[Version]] = {}
        self._pins_changes, self._pins_looked = -1, float("-inf")

    def models(self) -> list[Model]:
        """Every model, by name."""
        found = [kept.model for kept in self._looked_at().values() if kept.model]
        return sorted(found, key=lambda model: model.name)

    def model(self, name: str) -> Model | None:
        """A model by its name; None where there is none, or nothing of its history can be believed."""
        folder = self._folder_of(name)
        return None if folder is None else self._keep(folder).model

    def version(self) -> str:
        """A text that is another one whenever anything of any model has changed: what an ETag is made of."""
        self._looked_at()
        return f"{self._born}-{self._changes}"

    def pinned_to(self, run_id: str) -> list[Version]:
        """The versions that point to a run."""
        return [version for model in self.models() for version in model.versions.values() if version.run_id == run_id]

    def folder_pin(self, run_id: str, artifact: str) -> Version | None:
        """A version that is a folder of the run which the artifact, by its name, is in; None where there is none."""
        now = time.monotonic()
        if now - self._pins_looked >= scan.LOOK_SECONDS:
            self._looked_at()
            self._pins_looked = now
        if self._pins_changes != self._changes:
            self._pins_changes = self._changes
            pins: dict[str, list[Version]] = {}
            for kept in list(self._kept.values()):
                for version in kept.model.versions.values() if kept.model else ():
                    if version.is_folder:
                        pins.setdefault(version.run_id, []).append(version)
            self._folder_pins = pins
        return next((version for version in self._folder_pins.get(run_id, ()) if version.holds(artifact)), None)

    def damaged(self) -> dict[str, str]:
        """Return what is wrong, by folder in models/."""
        return {folder: kept.damage for folder, kept in self._looked_at().items() if kept.damage}

    def append(self, name: str, *events: dict[str, Any]) -> Model:
        """Add events to a model's history, all or none, and give the model after them. OSError.

        The caller holds the model. Raises TooLarge, and StorageFault where nothing of a history can be believed:
        numbers would be given a second time.
        """
        folder = self._folder_of(name)
        kept = None if folder is None else self._keep(folder)
        if kept and kept.model is None and kept.stamp.size:
            raise StorageFault(f"the model's history is damaged ({kept.damage}); mend or move that file first")
        history = History.of(kept.model) if kept and kept.model else History(name)
        for event in events:
            if not history.add(event):
                raise AssertionError(f"an event of ours that the registry would not read: {event}")
        grown = self._store.models.append(name, events)
        self._pins_looked = float("-inf")
        model = history.model()
        assert model is not None
        if folder is not None and kept is not None and grown is not None:
            stamp, size = grown
            # Not where somebody else wrote to the file meanwhile. To read all of it again took 30 ms of 1,000 versions.
            if (stamp.inode, stamp.size) == (kept.stamp.inode, kept.stamp.size + size):
                self._kept[folder] = _Kept(stamp, model, kept.damage)
                self._changes += 1
        return model

    def rename(self, name: str, new_name: str) -> None:
        """Rename a model; the caller holds both names. FileExistsError; OSError."""
        self._store.models.rename(name, new_name)
        self._pins_looked = float("-inf")

    def remove(self, name: str) -> None:
        """Remove a model with its history; the caller holds it. OSError."""
        self._store.models.remove(name)
        self._pins_looked = float("-inf")

    def _folder_of(self, name: str) -> str | None:
        return next((folder for folder in self._store.models.folders().folders if decoded(folder) == name), None)

    def _looked_at(self) -> dict[str, _Kept]:
        folders = self._store.models.folders().folders
        for gone in self._kept.keys() - folders:
            self._kept.pop(gone, None)
            self._changes += 1
        return {folder: self._keep(folder) for folder in folders}

    def _keep(self, folder: str) -> _Kept:
        kept = self._kept.get(folder)
        stamp = self._store.models.stamp(folder)
        if kept is not None and kept.stamp == stamp:
            return kept
        fresh = self._read(folder, stamp)
        if fresh.damage and not (kept and kept.damage == fresh.damage):
            log.warning("model %r is damaged: %s", folder, fresh.damage)
        self._kept[folder] = fresh
        self._changes += 1
        return fresh

    def _read(self, folder: str, stamp: Stamp) -> _Kept:
        name = decoded(folder)
        try:
            check_model_name(name)
        except InvalidInput:
            return _Kept(stamp, None, "no model can have that name")
        assert name is not None
        try:
            records, damaged, stamp = self._store.models.events(folder)
        except Damaged as fault:
            return _Kept(stamp, None, str(fault))
        except OSError as fault:
            return _Kept(stamp, None, f"its history can't be read: {fault.strerror}")
        history = History(name)
        damaged += sum(not history.add(event) for event in records)
        damage = f"its history has {damaged} damaged lines" if damaged else None
        model = history.model()
        return _Kept(stamp, model, damage if model else damage or "it has no history")
