"""What the events of each model add up to, its versions and their stages, kept while its history is as it was read."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, replace
from typing import Any

from ...errors import InvalidInput, StorageFault
from ...store.model_files import decoded
from ...store.reading import Damaged, Stamp
from ...store.store import Store
from ..names import check_model_name

log = logging.getLogger(__name__)

STAGES = ("none", "staging", "production", "archived")


@dataclass(frozen=True)
class Version:
    """A model version: an artifact of a run, pinned to its bytes."""

    name: str
    version: int
    run_id: str
    artifact: str
    sha256: str
    stage: str
    description: str | None
    created_at: int

    def public(self) -> dict[str, Any]:
        """As the API shows it."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Model:
    """A model: its versions by number, and the events that they come from."""

    name: str
    versions: dict[int, Version]
    events: tuple[dict[str, Any], ...]

    def in_stage(self, stage: str) -> Version | None:
        """The version in a stage; of several the one with the greatest number."""
        return max((v for v in self.versions.values() if v.stage == stage), key=lambda v: v.version, default=None)


def with_event(name: str, versions: dict[int, Version], event: dict[str, Any]) -> dict[int, Version] | None:
    """The versions after an event of a history; None when it is not a good event.

    Whatever brings a version to production moves the one that was there to archived: one event, one step, so that no
    reader can see two, nor, after a crash, a history can say so.
    """
    number, stage, at = event.get("version"), event.get("stage"), event.get("timestamp")
    if type(number) is not int or number < 1 or stage not in STAGES or type(at) is not int:
        return None
    if event.get("event") == "registered":
        fields = {field: event.get(field) for field in ("run_id", "artifact", "sha256")}
        description = event.get("description")
        if number in versions or not all(isinstance(value, str) for value in fields.values()):
            return None
        if description is not None and not isinstance(description, str):
            return None
        moved = Version(name, number, **fields, stage=stage, description=description, created_at=at)  # type: ignore[arg-type]
    elif event.get("event") == "promoted" and number in versions:
        moved = replace(versions[number], stage=stage)
    else:
        return None
    after = dict(versions)
    if stage == "production":
        for other in versions.values():
            if other.stage == "production" and other.version != number:
                after[other.version] = replace(other, stage="archived")
    after[number] = moved
    return after


@dataclass(frozen=True)
class _Kept:
    stamp: Stamp
    model: Model | None
    damage: str | None


class Registry:
    """The models of one store. What is checked when one is asked for: the stamps of models/ and of the histories."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, _Kept] = {}
        self._changes = 0
        self._born = secrets.token_hex(4)

    def models(self) -> list[Model]:
        """Every model, by name."""
        found = [kept.model for kept in self._looked_at().values() if kept.model]
        return sorted(found, key=lambda model: model.name)

    def model(self, name: str) -> Model | None:
        """A model by its name; None where there is none, or nothing of its history can be believed."""
        for folder in self._store.models.folders().folders:
            if decoded(folder) == name:
                return self._keep(folder).model
        return None

    def version(self) -> str:
        """A text that is another one whenever anything of any model has changed: what an ETag is made of."""
        self._looked_at()
        return f"{self._born}-{self._changes}"

    def pinned_to(self, run_id: str) -> list[Version]:
        """The versions that point to a run."""
        return [version for model in self.models() for version in model.versions.values() if version.run_id == run_id]

    def damaged(self) -> dict[str, str]:
        """What is wrong, by folder in models/."""
        return {folder: kept.damage for folder, kept in self._looked_at().items() if kept.damage}

    def append(self, name: str, event: dict[str, Any]) -> None:
        """Add an event to a model's history; the caller holds the model. OSError.

        Raises StorageFault where nothing of a history can be believed: numbers would be given a second time.
        """
        for folder in self._store.models.folders().folders:
            kept = self._keep(folder) if decoded(folder) == name else None
            if kept and kept.model is None and kept.stamp.size:
                raise StorageFault(f"the model's history is damaged ({kept.damage}); mend or move that file first")
        self._store.models.append(name, event)

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
        made = self._read(folder, stamp)
        if made.damage and not (kept and kept.damage == made.damage):
            log.warning("model %r is damaged: %s", folder, made.damage)
        self._kept[folder] = made
        self._changes += 1
        return made

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
        versions: dict[int, Version] = {}
        events = []
        for event in records:
            after = with_event(name, versions, event)
            if after is None:
                damaged += 1
            else:
                versions = after
                events.append(event)
        damage = f"its history has {damaged} damaged lines" if damaged else None
        if not versions:
            return _Kept(stamp, None, damage or "it has no history")
        return _Kept(stamp, Model(name, versions, tuple(events)), damage)
