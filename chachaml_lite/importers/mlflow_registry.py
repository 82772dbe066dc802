"""Translation of MLflow's registered models to ours, once the runs of their versions have been imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from ..tracking.index.model_history import PRODUCTION, STAGES, is_alias
from .mlflow_runs import Names

_PROMPT = "mlflow.prompt.is_prompt"
_OF_MODEL = re.compile(r"models:/+(?P<id>m-[^/@]+)/?\Z|(?:.*/)?models/(?P<other>m-[^/]+)/artifacts(?:/(?P<path>.+))?\Z")
_OF_VERSION = re.compile(r"models:/+(?P<name>[^/@]+)/(?P<number>[0-9]+)\Z")
_OF_RUN = re.compile(r"(?:runs:/+(?P<id>[^/]+)/)|(?P<other>[^/]+)/artifacts/")


@dataclass(frozen=True)
class VersionPlan:
    """A version to be registered."""

    number: int
    run_id: str
    artifact: str
    stage: str
    description: str | None
    tags: dict[str, str]


@dataclass
class ModelPlan:
    """A model to be registered, and a description of each part that can't be."""

    name: str
    description: str | None
    tags: dict[str, str]
    versions: list[VersionPlan] = field(default_factory=list)
    #: The number of each alias's version.
    aliases: dict[str, int] = field(default_factory=dict)
    omissions: list[str] = field(default_factory=list)


def is_prompt(model: Any) -> bool:
    """Return whether a registered model is a prompt, which has no files."""
    return str(model.tags.get(_PROMPT, "")).lower() == "true"


def translate_model(
    model: Any, versions: Iterable[Any], names: Names, artifacts: Mapping[str, frozenset[str]], *, only_known: bool
) -> ModelPlan:
    """Translate a registered model. `artifacts` has the artifact names of each imported run, by its id.

    With `only_known`, versions of runs that aren't imported are ignored silently.
    """
    result = ModelPlan(model.name, model.description or None, dict(model.tags))
    places: dict[int, tuple[str, str]] = {}
    stages: dict[int, str] = {}
    aliases: dict[str, int] = {}
    for version in versions:
        number = int(version.version)
        place = _find_artifact(version, model.name, places, names, artifacts)
        if place is None:
            if not only_known:
                result.omissions.append(f"version {number}: its source {version.source} is not in any imported run")
            continue
        places[number] = place
        stage = str(version.current_stage or "none").lower()
        stages[number] = stage if stage in STAGES else "none"
        tags, description = dict(version.tags), version.description or None
        result.versions.append(VersionPlan(number, *place, stages[number], description, tags))
        for alias in version.aliases or ():
            if is_alias(alias):
                aliases[alias] = number
            else:
                result.omissions.append(f"alias {alias} of version {number}: it is not a valid alias here")
    holder = aliases.pop(PRODUCTION, None)
    if holder is None:
        holder = max((number for number, stage in stages.items() if stage == PRODUCTION), default=None)
    result.versions = [_with_final_stage(version, holder) for version in result.versions]
    result.aliases = aliases
    return result


def _with_final_stage(version: VersionPlan, holder: int | None) -> VersionPlan:
    """Return a version with its final stage: all versions in production but `holder` are archived."""
    stage = PRODUCTION if version.number == holder else version.stage
    stage = "archived" if stage == PRODUCTION and version.number != holder else stage
    return VersionPlan(version.number, version.run_id, version.artifact, stage, version.description, version.tags)


def _find_artifact(
    version: Any,
    name: str,
    places: Mapping[int, tuple[str, str]],
    names: Names,
    artifacts: Mapping[str, frozenset[str]],
) -> tuple[str, str] | None:
    """Return the run and the artifact of a version; None if they aren't here."""
    source = str(version.source or "")
    other_version = _OF_VERSION.match(source)
    if other_version is not None and other_version["name"] == name:
        return places.get(int(other_version["number"]))
    of_model = _OF_MODEL.match(source)
    old_id = (of_model["id"] or of_model["other"]) if of_model else getattr(version, "model_id", None)
    model = names.models.get(str(old_id))
    if model is not None:
        path = of_model["path"] if of_model else None
        return _find_in_run(model[0], f"{model[2]}/{path}" if path else model[2], artifacts)
    for match in _OF_RUN.finditer(source):
        run_id = names.runs.get(match["id"] or match["other"])
        if run_id is not None:
            return _find_in_run(run_id, source[match.end() :], artifacts)
    return None


def _find_in_run(run_id: str, path: str, artifacts: Mapping[str, frozenset[str]]) -> tuple[str, str] | None:
    for candidate in (path.rstrip("/"), unquote(path).rstrip("/")):
        names = artifacts.get(run_id, frozenset())
        if candidate in names:
            return run_id, candidate
        if any(each.startswith(f"{candidate}/") for each in names):
            return run_id, f"{candidate}/"
    return None
