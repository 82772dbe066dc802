"""MLflow's model versions: creating them from stored files, stages, descriptions, tags and search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response

from ..errors import InvalidInput
from ..tracking import logged_models, models
from ..tracking import model_versions as versions
from ..tracking.index.model_history import Version
from ..tracking.names import quote_name
from ..web.context import tracker
from . import model_sources, requests, responses, vocabulary
from .filters import ATTRIBUTES, PROMPT_TAG, TAGS, Subject
from .requests import Fields
from .search_pages import search
from .vocabulary import text_of

api = Blueprint("mlflow_model_versions", __name__, url_prefix="/api/2.0/mlflow")

#: MLflow's words for our stages; clients send them in any case.
STAGES = {stage: stage.capitalize() for stage in ("none", "staging", "production", "archived")}
_DEFAULT_PAGE, _MAX_PAGE = 10_000, 200_000
_ATTRIBUTES: dict[str, Callable[[Version], Any]] = {
    "name": lambda version: version.name,
    "run_id": lambda version: _run_id(version),
    "source_path": lambda version: format_source(version),
    "version_number": lambda version: version.version,
    "creation_timestamp": lambda version: version.created_at,
    "last_updated_timestamp": lambda version: version.updated_at,
}
_TEXTS = frozenset({"name", "run_id", "source_path"})
_ALIASES = {
    "version": "version_number",
    "source": "source_path",
    "timestamp": "last_updated_timestamp",
    "creation_time": "creation_timestamp",
}
SUBJECT = Subject(
    frozenset({TAGS, ATTRIBUTES}), _TEXTS, frozenset(_ATTRIBUTES) - _TEXTS, frozenset({"name", "run_id"}), _ALIASES
)


def parse_number(fields: Fields) -> int:
    """Parse the number of a version. Raises InvalidInput."""
    number = fields.integer("version")
    if number < 1:
        raise InvalidInput(f"the parameter version must be 1 or more, not {number}")
    return number


def parse_stage(word: str) -> str:
    """Parse MLflow's word for a stage. Raises InvalidInput."""
    if word.lower() not in STAGES:
        raise InvalidInput(
            f"Invalid Model Version stage: {quote_name(word)}; it is one of {', '.join(STAGES.values())}"
        )
    return word.lower()


def _load_version(fields: Fields) -> Version:
    """Return the requested version. Raises InvalidInput, NotFound."""
    model, number = models.get_model(tracker(), fields.text("name")), parse_number(fields)
    version = model.versions.get(number)
    if version is None:
        raise models.unknown_version_error(model, str(number))
    return version


@api.post("/model-versions/create")
def create_model_version() -> Response:
    """Register the files of a source as the next version of a model."""
    fields = requests.parse_fields()
    name, tags = fields.text("name"), fields.pairs("tags")
    if tags.get(PROMPT_TAG, "").lower() == "true":
        raise InvalidInput("prompts are not supported: this server's registry holds models only")
    models.get_model(tracker(), name)
    text = fields.text("source")
    source = model_sources.resolve(text, fields.maybe_text("run_id") or None, fields.maybe_text("model_id") or None)
    version = versions.register_version(
        tracker(),
        name,
        source.run_id,
        source.artifact,
        description=fields.maybe_text("description") or None,
        tags=dict(tags),
        source=text,
        model_id=source.model_id,
        run_link=fields.maybe_text("run_link") or None,
    )
    return _answer(version)


@api.get("/model-versions/get")
def get_model_version() -> Response:
    """Return a version by its number."""
    return _answer(_load_version(requests.parse_fields()))


@api.get("/model-versions/get-download-uri")
def get_download_uri() -> Response:
    """Return the URI of the folder of a version's files; a single file appears in a folder of its own."""
    version = _load_version(requests.parse_fields())
    experiment = tracker().run(version.run_id).meta["experiment"]
    if not version.is_folder:
        root = vocabulary.experiment_uri(experiment)
        return responses.answer(artifact_uri=f"{root}/versions/{version.name}/{version.version}/artifacts")
    folder = version.artifact.rstrip("/")
    model = logged_models.model_in(tracker(), version.run_id, folder)
    if model is not None:
        return responses.answer(artifact_uri=vocabulary.model_uri(experiment, model.id))
    return responses.answer(artifact_uri=f"{vocabulary.artifact_uri(experiment, version.run_id)}/{folder}")


@api.patch("/model-versions/update")
def update_model_version() -> Response:
    """Change a version's description."""
    fields = requests.parse_fields()
    version = _load_version(fields)
    description = fields.maybe_text("description")
    return _answer(versions.change_version(tracker(), version.name, version.version, description))


@api.post("/model-versions/transition-stage")
def transition_stage() -> Response:
    """Move a version to a stage. Production holds one version, whatever the request says."""
    fields = requests.parse_fields()
    version, stage = _load_version(fields), parse_stage(fields.text("stage"))
    exclusive = fields.flag("archive_existing_versions")
    changed_version, _ = versions.promote_version(tracker(), version.name, version.version, stage, exclusive=exclusive)
    return _answer(changed_version)


@api.delete("/model-versions/delete")
def delete_model_version() -> Response:
    """Delete a version. Its number is not reused."""
    version = _load_version(requests.parse_fields())
    versions.delete_version(tracker(), version.name, version.version)
    return responses.answer()


@api.post("/model-versions/set-tag")
def set_tag() -> Response:
    """Set a tag of a version."""
    fields = requests.parse_fields()
    version, tags = _load_version(fields), {fields.text("key"): fields.maybe_text("value") or ""}
    versions.change_version(tracker(), version.name, version.version, tags=dict(tags))
    return responses.answer()


@api.delete("/model-versions/delete-tag")
def delete_tag() -> Response:
    """Remove a tag of a version. A missing tag is no error, as in MLflow's registry."""
    fields = requests.parse_fields()
    version, key = _load_version(fields), fields.text("key")
    versions.change_version(tracker(), version.name, version.version, tags={key: None})
    return responses.answer()


@api.get("/model-versions/search")
def search_model_versions() -> Response:
    """Return a page of the matching versions, most recently changed first unless an order is given."""
    fields = requests.parse_fields()
    all_versions = [version for model in tracker().registry.models() for version in model.versions.values()]
    all_versions.sort(key=lambda version: (-version.updated_at, version.name, -version.version))
    page, token = search(fields, all_versions, SUBJECT, _reader, _DEFAULT_PAGE, _MAX_PAGE)
    return responses.answer(model_versions=[to_json(version) for version in page], **token)


def _reader(kind: str, key: str) -> Callable[[Version], Any]:
    if kind == TAGS:
        return lambda version: text_of(version.tags[key]) if key in version.tags else None
    return _ATTRIBUTES[key]


# -- responses


def to_json(version: Version) -> dict[str, Any]:
    """Return a version as it appears in a response."""
    return responses.without_none(
        name=version.name,
        version=str(version.version),
        creation_timestamp=version.created_at,
        last_updated_timestamp=version.updated_at,
        current_stage=STAGES[version.stage],
        description=version.description,
        source=format_source(version),
        run_id=_run_id(version),
        model_id=version.model_id,
        run_link=version.run_link,
        status="READY",
        tags=responses.pairs_to_json({key: text_of(value) for key, value in version.tags.items()}),
        aliases=version.all_aliases,
    )


def format_source(version: Version) -> str:
    """Return the source of a version: as its client named it, else as a path in its run."""
    return version.source or f"runs:/{version.run_id}/{version.artifact.rstrip('/')}"


def _run_id(version: Version) -> str | None:
    """Return the run of a version; None if it was created to hold the model, or no longer exists."""
    run = tracker().catalog.run(version.run_id)
    return None if run is None or logged_models.holds_model(run) else version.run_id


def _answer(version: Version) -> Response:
    return responses.answer(model_version=to_json(version))
