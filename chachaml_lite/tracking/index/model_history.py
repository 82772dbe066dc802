"""The state of a model as the result of its events: versions, stages, aliases and tags (the contract, section 4)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

STAGES = ("none", "staging", "production", "archived")
PRODUCTION = "production"
#: The selector of the version with the greatest number.
LATEST = "latest"
#: A valid alias, which can't be confused with a version number or with the selector `latest`.
_ALIAS = re.compile(r"(?!-?[0-9]+\Z|latest\Z|v[0-9]+\Z)[a-z0-9_-]{1,250}\Z", re.IGNORECASE)


def is_alias(value: object) -> bool:
    """Return whether `value` is a valid alias."""
    return isinstance(value, str) and value.isascii() and _ALIAS.match(value) is not None


@dataclass(frozen=True)
class Version:
    """A model version: an artifact of a run, or a folder of them, pinned to its bytes."""

    name: str
    version: int
    run_id: str
    #: The name of an artifact, or of a folder if it ends with a slash.
    artifact: str
    sha256: str
    stage: str
    description: str | None
    created_at: int
    #: The number of files in a folder; None for a single artifact.
    files: int | None = None
    tags: dict[str, Any] = field(default_factory=dict)
    #: The aliases that were set explicitly; the stage production counts as one too, see `all_aliases`.
    aliases: tuple[str, ...] = ()
    updated_at: int = 0
    #: The version's origin in the client's words; nothing here depends on these fields.
    source: str | None = None
    model_id: str | None = None
    run_link: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether the version is a folder of artifacts."""
        return self.artifact.endswith("/")

    def holds(self, artifact: str) -> bool:
        """Return whether an artifact of the version's run is the version's artifact, or in its folder."""
        return artifact.startswith(self.artifact) if self.is_folder else artifact == self.artifact

    def pins(self, artifact: str, sha256: str) -> bool:
        """Return whether an artifact of the version's run, given by name and checksum, must not change."""
        return self.holds(artifact) and (self.is_folder or self.sha256 == sha256)

    @property
    def all_aliases(self) -> list[str]:
        """The aliases, sorted, including `production` for the version in that stage."""
        return sorted([*self.aliases, *([PRODUCTION] if self.stage == PRODUCTION else [])])

    def public(self) -> dict[str, Any]:
        """Return the fields of the API."""
        return {**self.as_registered(), "tags": self.tags, "aliases": self.all_aliases, "files": self.files}

    def as_registered(self) -> dict[str, Any]:
        """Return the fields of the API that a version has from its registration on."""
        names = ("name", "version", "run_id", "artifact", "sha256", "stage", "description", "created_at")
        folder_fields = {"files": self.files} if self.is_folder else {}
        return {**{name: getattr(self, name) for name in names}, **folder_fields}


@dataclass(frozen=True)
class Model:
    """A model: its versions by number, its description and tags, and the events that all of this results from."""

    name: str
    versions: dict[int, Version]
    events: tuple[dict[str, Any], ...]
    #: The model's own description, independent of those of its versions.
    description: str | None
    tags: dict[str, Any]
    created_at: int
    updated_at: int
    deleted_numbers: frozenset[int]

    def in_stage(self, stage: str) -> Version | None:
        """Return the version in a stage, or None; of several, the one with the greatest number."""
        return max((v for v in self.versions.values() if v.stage == stage), key=lambda v: v.version, default=None)

    @property
    def latest(self) -> Version | None:
        """The version with the greatest number, or None."""
        return self.versions[max(self.versions)] if self.versions else None

    @property
    def next_number(self) -> int:
        """The number of the next version. Numbers are never reused."""
        return max([*self.versions, *self.deleted_numbers], default=0) + 1

    @property
    def aliases(self) -> dict[str, int]:
        """The version number of each alias, sorted by alias and including `production`."""
        return dict(sorted((alias, v.version) for v in self.versions.values() for alias in v.all_aliases))


class History:
    """A model to which events are applied one by one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._versions: dict[int, Version] = {}
        self._deleted_numbers: set[int] = set()
        self._description: str | None = None
        self._tags: dict[str, Any] = {}
        self._events: list[dict[str, Any]] = []

    @classmethod
    def of(cls, model: Model) -> History:
        """Return a history that continues from the current state of a model."""
        history = cls(model.name)
        history._versions = dict(model.versions)
        history._deleted_numbers = set(model.deleted_numbers)
        history._description, history._tags = model.description, model.tags
        history._events = list(model.events)
        return history

    def model(self) -> Model | None:
        """Return the model in its current state; None if it has no event yet."""
        if not self._events:
            return None
        times = [event["timestamp"] for event in self._events]
        return Model(
            self._name,
            dict(self._versions),
            tuple(self._events),
            self._description,
            self._tags,
            times[0],
            times[-1],
            frozenset(self._deleted_numbers),
        )

    def add(self, event: dict[str, Any]) -> bool:
        """Apply an event. Returns False, without changing anything, if the event is not valid."""
        kind, at = event.get("event"), event.get("timestamp")
        apply = _EVENTS.get(kind) if isinstance(kind, str) else None
        if apply is None or type(at) is not int or not apply(self, event, at):
            return False
        self._events.append(event)
        return True

    def _apply_created(self, event: dict[str, Any], _: int) -> bool:
        description, tags = event.get("description"), event.get("tags", {})
        if self._events or not _is_text(description) or not isinstance(tags, dict):
            return False
        self._description, self._tags = description, _merge_tags({}, tags)
        return True

    def _apply_registered(self, event: dict[str, Any], at: int) -> bool:
        number, stage, files = event.get("version"), event.get("stage"), event.get("files")
        fields = {name: event.get(name) for name in ("run_id", "artifact", "sha256")}
        others = {name: event.get(name) for name in ("description", "source", "model_id", "run_link")}
        if type(number) is not int or number < 1 or number in self._versions or number in self._deleted_numbers:
            return False
        if stage not in STAGES or not all(isinstance(value, str) for value in fields.values()):
            return False
        if not all(map(_is_text, others.values())) or type(files) not in (int, type(None)):
            return False
        version = Version(self._name, number, **fields, **others, stage="none", created_at=at, files=files)  # type: ignore[arg-type]
        self._move(version, stage, at)
        return True

    def _apply_promoted(self, event: dict[str, Any], at: int) -> bool:
        version, stage = self._version_of(event), event.get("stage")
        if version is None or stage not in STAGES:
            return False
        self._move(version, stage, at)
        return True

    def _move(self, version: Version, stage: str, at: int) -> None:
        """Move a version to a stage.

        Any event that brings a version to production also archives the one that was there. Since this is a single
        event, no reader can see two versions in production, and no history can record two after a crash.
        """
        if stage == PRODUCTION:
            for other in list(self._versions.values()):
                if other.stage == PRODUCTION and other.version != version.version:
                    self._versions[other.version] = replace(other, stage="archived", updated_at=at)
        self._versions[version.version] = replace(version, stage=stage, updated_at=at)

    def _describe(self, event: dict[str, Any], at: int) -> bool:
        description, version = event.get("description"), self._version_of(event)
        if not _is_text(description) or (version is None and not self._is_of_model(event)):
            return False
        if version is None:
            self._description = description
        else:
            self._versions[version.version] = replace(version, description=description, updated_at=at)
        return True

    def _tag(self, event: dict[str, Any], at: int) -> bool:
        tags, version = event.get("tags"), self._version_of(event)
        if not isinstance(tags, dict) or (version is None and not self._is_of_model(event)):
            return False
        if version is None:
            self._tags = _merge_tags(self._tags, tags)
        else:
            self._versions[version.version] = replace(version, tags=_merge_tags(version.tags, tags), updated_at=at)
        return True

    def _alias(self, event: dict[str, Any], at: int) -> bool:
        alias, version = event.get("alias"), self._version_of(event)
        if not is_alias(alias) or alias == PRODUCTION or (version is None and not self._is_of_model(event)):
            return False
        for other in list(self._versions.values()):
            if alias in other.aliases:
                remaining = tuple(each for each in other.aliases if each != alias)
                self._versions[other.version] = replace(other, aliases=remaining, updated_at=at)
        if version is not None:
            version = self._versions[version.version]
            self._versions[version.version] = replace(version, aliases=(*version.aliases, alias), updated_at=at)  # type: ignore[arg-type]
        return True

    def _apply_deleted(self, event: dict[str, Any], _: int) -> bool:
        version = self._version_of(event)
        if version is None:
            return False
        del self._versions[version.version]
        self._deleted_numbers.add(version.version)
        return True

    def _version_of(self, event: dict[str, Any]) -> Version | None:
        number = event.get("version")
        return self._versions.get(number) if type(number) is int else None

    def _is_of_model(self, event: dict[str, Any]) -> bool:
        """Return whether an event without a version concerns the model, which must exist already."""
        return event.get("version") is None and bool(self._events)


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _merge_tags(before: dict[str, Any], tags: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**before, **tags}.items() if value is not None}


_EVENTS: dict[str, Callable[[History, dict[str, Any], int], bool]] = {
    "created": History._apply_created,
    "registered": History._apply_registered,
    "promoted": History._apply_promoted,
    "described": History._describe,
    "tagged": History._tag,
    "alias": History._alias,
    "deleted": History._apply_deleted,
}
