"""MLflow's registered models: creating, renaming, describing, tagging, deleting and searching them, and aliases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response

from ..errors import Conflict, InvalidInput
from ..tracking import models
from ..tracking.index.model_history import LATEST, Model
from ..tracking.names import quote_name
from ..web.context import tracker
from . import model_versions, requests, responses
from .filters import ATTRIBUTES, PROMPT_TAG, TAGS, Subject
from .search_pages import search
from .vocabulary import text_of

api = Blueprint("mlflow_registry", __name__, url_prefix="/api/2.0/mlflow")

_DEFAULT_PAGE, _MAX_PAGE = 100, 1000
_NUMBERS: dict[str, Callable[[Model], int]] = {
    "creation_timestamp": lambda model: model.created_at,
    "last_updated_timestamp": lambda model: model.updated_at,
}
_ALIASES = {"timestamp": "last_updated_timestamp", "creation_time": "creation_timestamp"}
SUBJECT = Subject(frozenset({TAGS, ATTRIBUTES}), frozenset({"name"}), frozenset(_NUMBERS), aliases=_ALIASES)


@api.post("/registered-models/create")
def create_registered_model() -> Response:
    """Create a model without versions."""
    fields = requests.parse_fields()
    name, tags = fields.text("name"), fields.pairs("tags")
    refuse_prompts(tags)
    try:
        model = models.create_model(tracker(), name, fields.maybe_text("description"), tags)
    except Conflict as fault:
        raise responses.AlreadyExists(fault.detail) from fault
    return _answer(model)


def refuse_prompts(tags: dict[str, str]) -> None:
    """Raise InvalidInput for a prompt: the registry holds models only."""
    if tags.get(PROMPT_TAG, "").lower() == "true":
        raise InvalidInput("prompts are not supported: this server's registry holds models only")


@api.get("/registered-models/get")
def get_registered_model() -> Response:
    """Return a model by its name."""
    return _answer(models.get_model(tracker(), requests.parse_fields().text("name")))


@api.post("/registered-models/rename")
def rename_registered_model() -> Response:
    """Rename a model."""
    fields = requests.parse_fields()
    try:
        return _answer(models.rename_model(tracker(), fields.text("name"), fields.text("new_name")))
    except Conflict as fault:
        raise responses.AlreadyExists(fault.detail) from fault


@api.patch("/registered-models/update")
def update_registered_model() -> Response:
    """Change a model's description."""
    fields = requests.parse_fields()
    model = models.get_model(tracker(), fields.text("name"))
    return _answer(models.change_model(tracker(), model.name, fields.maybe_text("description")))


@api.delete("/registered-models/delete")
def delete_registered_model() -> Response:
    """Delete a model and its versions."""
    models.delete_model(tracker(), requests.parse_fields().text("name"))
    return responses.answer()


@api.post("/registered-models/set-tag")
def set_tag() -> Response:
    """Set a tag of a model."""
    fields = requests.parse_fields()
    tags = {fields.text("key"): fields.maybe_text("value") or ""}
    refuse_prompts(tags)
    models.change_model(tracker(), models.get_model(tracker(), fields.text("name")).name, tags=dict(tags))
    return responses.answer()


@api.delete("/registered-models/delete-tag")
def delete_tag() -> Response:
    """Remove a tag of a model. A missing tag is no error, as in MLflow's registry."""
    fields = requests.parse_fields()
    name, key = fields.text("name"), fields.text("key")
    models.change_model(tracker(), models.get_model(tracker(), name).name, tags={key: None})
    return responses.answer()


# -- aliases


@api.post("/registered-models/alias")
def set_alias() -> Response:
    """Set an alias of a version."""
    fields = requests.parse_fields()
    models.set_alias(tracker(), fields.text("name"), fields.text("alias"), model_versions.parse_number(fields))
    return responses.answer()


@api.delete("/registered-models/alias")
def delete_alias() -> Response:
    """Remove an alias. A missing alias is no error."""
    fields = requests.parse_fields()
    models.set_alias(tracker(), fields.text("name"), fields.text("alias"), None)
    return responses.answer()


@api.get("/registered-models/alias")
def get_version_by_alias() -> Response:
    """Return the version of an alias; `latest` is the version with the highest number."""
    fields = requests.parse_fields()
    alias, model = fields.text("alias"), models.get_model(tracker(), fields.text("name"))
    number = model.aliases.get(alias)
    version = model.latest if alias == LATEST else None if number is None else model.versions[number]
    if version is None:
        raise InvalidInput(
            f"Registered model alias {quote_name(alias)} not found; the model is {quote_name(model.name)}"
        )
    return responses.answer(model_version=model_versions.to_json(version))


# -- lists


@api.get("/registered-models/search")
def search_registered_models() -> Response:
    """Return a page of the matching models, by name unless an order is given."""
    fields = requests.parse_fields()
    page, token = search(fields, tracker().registry.models(), SUBJECT, _reader, _DEFAULT_PAGE, _MAX_PAGE)
    return responses.answer(registered_models=[to_json(model) for model in page], **token)


def _reader(kind: str, key: str) -> Callable[[Model], Any]:
    if kind == TAGS:
        return lambda model: text_of(model.tags[key]) if key in model.tags else None
    return _NUMBERS.get(key, lambda model: model.name)


@api.route("/registered-models/get-latest-versions", methods=["GET", "POST"])
def get_latest_versions() -> Response:
    """Return the highest version of each stage, or of the requested stages. Java's client sends a GET."""
    fields = requests.parse_fields()
    model = models.get_model(tracker(), fields.text("name"))
    stages = [model_versions.parse_stage(word) for word in fields.texts("stages")]
    return responses.answer(model_versions=_latest(model, stages or list(model_versions.STAGES)))


def _latest(model: Model, stages: list[str]) -> list[dict[str, Any]]:
    versions = (model.in_stage(stage) for stage in dict.fromkeys(stages))
    return [model_versions.to_json(version) for version in versions if version is not None]


# -- responses


def to_json(model: Model) -> dict[str, Any]:
    """Return a model as it appears in a response."""
    return responses.without_none(
        name=model.name,
        creation_timestamp=model.created_at,
        last_updated_timestamp=model.updated_at,
        description=model.description,
        latest_versions=_latest(model, list(model_versions.STAGES)),
        tags=responses.pairs_to_json({key: text_of(value) for key, value in model.tags.items()}),
        aliases=[{"alias": alias, "version": str(number)} for alias, number in model.aliases.items()],
    )


def _answer(model: Model) -> Response:
    return responses.answer(registered_model=to_json(model))
