"""MLflow's registered models as models of ours: what each is to be here, once the runs behind its versions are."""

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
class WantedVersion:
    """A version as it is to be here."""

    number: int
    run_id: str
    artifact: str
    stage: str
    description: str | None
    tags: dict[str, str]


@dataclass
class WantedModel:
    """A model as it is to be here, and what of it can't be, in words."""

    name: str
    description: str | None
    tags: dict[str, str]
    versions: list[WantedVersion] = field(default_factory=list)
    #: The number of each alias's version.
    aliases: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def is_prompt(model: Any) -> bool:
    """Whether a registered model is a prompt, which has no files."""
    return str(model.tags.get(_PROMPT, "")).lower() == "true"


def wanted_model(
    model: Any, versions: Iterable[Any], names: Names, artifacts: Mapping[str, frozenset[str]], *, only_known: bool
) -> WantedModel:
    """Return our model for a registered one. `artifacts`: the artifact names of each imported run, by its id.

    `only_known`: a version of a run that isn't imported is passed over, without a word.
    """
    wanted = WantedModel(model.name, model.description or None, dict(model.tags))
    places: dict[int, tuple[str, str]] = {}
    stages: dict[int, str] = {}
    aliases: dict[str, int] = {}
    for version in versions:
        number = int(version.version)
        place = _place_of(version, model.name, places, names, artifacts)
        if place is None:
            if not only_known:
                wanted.left_out.append(f"version {number}: its source {version.source} is in none of the imported runs")
            continue
        places[number] = place
        stage = str(version.current_stage or "none").lower()
        stages[number] = stage if stage in STAGES else "none"
        tags, description = dict(version.tags), version.description or None
        wanted.versions.append(WantedVersion(number, *place, stages[number], description, tags))
        for alias in version.aliases or ():
            if is_alias(alias):
                aliases[alias] = number
            else:
                wanted.left_out.append(f"alias {alias} of version {number}: no version can be called so here")
    holder = aliases.pop(PRODUCTION, None)
    if holder is None:
        holder = max((number for number, stage in stages.items() if stage == PRODUCTION), default=None)
    wanted.versions = [_with_one_in_production(version, holder) for version in wanted.versions]
    wanted.aliases = aliases
    return wanted


def _with_one_in_production(version: WantedVersion, holder: int | None) -> WantedVersion:
    """A version with its stage; of those in production all but one are archived, and the alias makes that one."""
    stage = PRODUCTION if version.number == holder else version.stage
    stage = "archived" if stage == PRODUCTION and version.number != holder else stage
    return WantedVersion(version.number, version.run_id, version.artifact, stage, version.description, version.tags)


def _place_of(
    version: Any,
    name: str,
    places: Mapping[int, tuple[str, str]],
    names: Names,
    artifacts: Mapping[str, frozenset[str]],
) -> tuple[str, str] | None:
    """The run and the artifact behind a version; None where they aren't here."""
    source = str(version.source or "")
    copied = _OF_VERSION.match(source)
    if copied is not None and copied["name"] == name:
        return places.get(int(copied["number"]))
    of_model = _OF_MODEL.match(source)
    old_id = (of_model["id"] or of_model["other"]) if of_model else getattr(version, "model_id", None)
    model = names.models.get(str(old_id))
    if model is not None:
        path = of_model["path"] if of_model else None
        return _in_run(model[0], f"{model[2]}/{path}" if path else model[2], artifacts)
    for match in _OF_RUN.finditer(source):
        run_id = names.runs.get(match["id"] or match["other"])
        if run_id is not None:
            return _in_run(run_id, source[match.end() :], artifacts)
    return None


def _in_run(run_id: str, path: str, artifacts: Mapping[str, frozenset[str]]) -> tuple[str, str] | None:
    for candidate in (path.rstrip("/"), unquote(path).rstrip("/")):
        held = artifacts.get(run_id, frozenset())
        if candidate in held:
            return run_id, candidate
        if any(each.startswith(f"{candidate}/") for each in held):
            return run_id, f"{candidate}/"
    return None
