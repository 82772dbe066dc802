"""The models of a store in memory, each cached while its history is unchanged."""

from __future__ import annotations

import time
from typing import Any

from ...errors import InvalidInput, StorageFault
from ...store import scan
from ...store.model_files import decode_name
from ...store.reading import Damaged, Stamp
from ...store.store import Store
from ..names import check_model_name
from .file_readings import FileReadings, Reading
from .model_history import History, Model, Version


class Registry:
    """The models of a store. Each access checks the stamps of models/ and of the histories.

    For `folder_pin`, which every upload calls, the stamps of the histories are checked once a second, and after each
    event of our own, for 5 µs each.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readings = FileReadings("model %r", store.models.stamp, self._read)
        self._folder_pins: dict[str, list[Version]] = {}
        self._pins_changes, self._pins_looked = -1, float("-inf")

    def models(self) -> list[Model]:
        """Return all models, sorted by name."""
        models = [reading.value for reading in self._look().values() if reading.value]
        return sorted(models, key=lambda model: model.name)

    def model(self, name: str) -> Model | None:
        """Return a model by its name; None if there is none, or no part of its history is valid."""
        folder = self._folder_of(name)
        return None if folder is None else self._readings.get(folder).value

    def version(self) -> str:
        """Return a text that changes whenever anything of any model does, for ETags."""
        self._look()
        return self._readings.version()

    def pinned_to(self, run_id: str) -> list[Version]:
        """Return the versions that point to a run."""
        return [version for model in self.models() for version in model.versions.values() if version.run_id == run_id]

    def folder_pin(self, run_id: str, artifact: str) -> Version | None:
        """Return a version that is pinned to a folder of the run to which the name `artifact` belongs, or None."""
        now = time.monotonic()
        if now - self._pins_looked >= scan.LOOK_SECONDS:
            self._look()
            self._pins_looked = now
        if self._pins_changes != self._readings.changes:
            self._pins_changes = self._readings.changes
            pins: dict[str, list[Version]] = {}
            for reading in self._readings.cached():
                for version in reading.value.versions.values() if reading.value else ():
                    if version.is_folder:
                        pins.setdefault(version.run_id, []).append(version)
            self._folder_pins = pins
        return next((version for version in self._folder_pins.get(run_id, ()) if version.holds(artifact)), None)

    def damaged(self) -> dict[str, str]:
        """Return the damage by folder in models/."""
        return {folder: reading.damage for folder, reading in self._look().items() if reading.damage}

    def append(self, name: str, *events: dict[str, Any]) -> Model:
        """Add events to a model's history, all or none, and return the resulting model. The caller holds its lock.

        Raises TooLarge, OSError, and StorageFault if no part of the history is valid, since numbers would be reused.
        """
        folder = self._folder_of(name)
        before = None if folder is None else self._readings.get(folder)
        if before and before.value is None and before.stamp.size:
            raise StorageFault(f"the model's history is damaged ({before.damage}); repair or move that file first")
        history = History.of(before.value) if before and before.value else History(name)
        for event in events:
            if not history.add(event):
                raise AssertionError(f"an event of ours that the registry would not read: {event}")
        grown = self._store.models.append(name, events)
        self._pins_looked = float("-inf")
        model = history.model()
        assert model is not None
        if folder is not None and before is not None and grown is not None:
            stamp, size = grown
            # Only if no one else wrote to the file meanwhile. Reading it all again took 30 ms for 1,000 versions.
            if (stamp.inode, stamp.size) == (before.stamp.inode, before.stamp.size + size):
                self._readings.put(folder, Reading(stamp, model, before.damage))
        return model

    def rename(self, name: str, new_name: str) -> None:
        """Rename a model. The caller holds the locks of both names. Raises FileExistsError, OSError."""
        self._store.models.rename(name, new_name)
        self._pins_looked = float("-inf")

    def remove(self, name: str) -> None:
        """Remove a model with its history. The caller holds its lock. Raises OSError."""
        self._store.models.remove(name)
        self._pins_looked = float("-inf")

    def _folder_of(self, name: str) -> str | None:
        return next((folder for folder in self._store.models.folders().folders if decode_name(folder) == name), None)

    def _look(self) -> dict[str, Reading[Model | None]]:
        return self._readings.get_all(self._store.models.folders().folders)

    def _read(self, folder: str, stamp: Stamp) -> Reading[Model | None]:
        name = decode_name(folder)
        try:
            check_model_name(name)
        except InvalidInput:
            return Reading(stamp, None, "no model can have that name")
        assert name is not None
        try:
            records, damaged, stamp = self._store.models.events(folder)
        except Damaged as fault:
            return Reading(stamp, None, str(fault))
        except OSError as fault:
            return Reading(stamp, None, f"its history can't be read: {fault.strerror}")
        history = History(name)
        damaged += sum(not history.add(event) for event in records)
        damage = f"its history has {damaged} damaged lines" if damaged else None
        model = history.model()
        return Reading(stamp, model, damage if model else damage or "it has no history")
