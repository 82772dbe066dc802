"""MLflow's experiments: an id for each of our names, descriptions and tags, and the search for experiments."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response

from ..errors import Conflict, InvalidInput, NotFound
from ..tracking import experiments
from ..tracking.index.descriptions import About
from ..tracking.names import quote_name
from ..tracking.tracker import Tracker
from ..web.context import tracker
from . import filters, requests, responses
from .requests import Fields
from .search_pages import search
from .vocabulary import DEFAULT_EXPERIMENT, NOTE, experiment_id, experiment_uri, text_of

api = Blueprint("mlflow_experiments", __name__, url_prefix="/api/2.0/mlflow")

#: Experiments per page: by default, and at most.
_DEFAULT_PAGE, _MAX_PAGE = 1000, 50_000
_VIEWS = {"1": "ACTIVE_ONLY", "2": "DELETED_ONLY", "3": "ALL"}


@dataclass(frozen=True)
class Experiment:
    """An experiment as MLflow sees it. Times are in ms since 1970, or None if unknown."""

    name: str
    is_deleted: bool
    creation_time: int | None
    last_update_time: int | None
    tags: dict[str, str]

    @property
    def id(self) -> str:
        """Its id, a function of its name."""
        return experiment_id(self.name)

    def to_json(self) -> dict[str, Any]:
        """Return the experiment as it appears in a response."""
        return responses.without_none(
            experiment_id=self.id,
            name=self.name,
            artifact_location=experiment_uri(self.name),
            lifecycle_stage="deleted" if self.is_deleted else "active",
            creation_time=self.creation_time,
            last_update_time=self.last_update_time,
            tags=responses.pairs_to_json(self.tags),
        )


def load_experiment(tracker: Tracker, name: str, about: About | None = None) -> Experiment:
    """Load an experiment by its name, which must exist; `about` is its description file, if the caller has read it."""
    about = about or tracker.descriptions.about(name) or About()
    first, newest = tracker.catalog.span(name) or (None, None)
    updates = [time for time in (about.updated_at, newest) if time is not None]
    tags = {key: text_of(value) for key, value in about.tags.items()}
    if about.description is not None:
        tags[NOTE] = about.description
    created_at = first if about.created_at is None else about.created_at
    return Experiment(name, about.deleted_at is not None, created_at, max(updates, default=created_at), tags)


def list_names(tracker: Tracker, *, abouts: dict[str, About] | None = None) -> set[str]:
    """Return the names of all experiments: those of runs, those created explicitly, and `Default`."""
    abouts = tracker.descriptions.all() if abouts is None else abouts
    described_names = (name for name, about in abouts.items() if (about.created_at, about.deleted_at) != (None, None))
    return {DEFAULT_EXPERIMENT, *tracker.catalog.experiments("all"), *described_names}


def find_name(tracker: Tracker, requested_id: str) -> str:
    """Return the name of the experiment with an id. Raises NotFound."""
    if requested_id == experiment_id(DEFAULT_EXPERIMENT):
        return DEFAULT_EXPERIMENT
    name = next((name for name in list_names(tracker) if experiment_id(name) == requested_id), None)
    if name is None:
        raise NotFound("experiment", f"no experiment has the id {quote_name(requested_id)}")
    return name


def find_names(tracker: Tracker, requested_ids: Iterable[str]) -> list[str]:
    """Return the names of the experiments with these ids; unknown ids are ignored."""
    ids = set(requested_ids)
    return [name for name in sorted(list_names(tracker)) if experiment_id(name) in ids]


def is_deleted(tracker: Tracker, name: str) -> bool:
    """Return whether an experiment is deleted."""
    return tracker.descriptions.is_deleted(name)


def refuse_deleted(tracker: Tracker, name: str) -> None:
    """Raise InvalidState if an experiment is deleted: nothing can be logged to it."""
    if is_deleted(tracker, name):
        raise responses.InvalidState(f"the experiment {quote_name(name)} is deleted; restore it first")


def parse_view(fields: Fields, name: str) -> str:
    """Parse the requested view: ACTIVE_ONLY, DELETED_ONLY or ALL. Raises InvalidInput."""
    if name not in fields:
        return "ACTIVE_ONLY"
    value = str(fields.word(name))
    view = _VIEWS.get(value, value)
    if view not in _VIEWS.values():
        raise InvalidInput(f"{name} must be one of {', '.join(_VIEWS.values())}")
    return view


# -- routes


@api.post("/experiments/create")
def create_experiment() -> Response:
    """Create an experiment. An artifact_location is ignored: artifacts are stored here."""
    fields = requests.parse_fields()
    name, tags = fields.text("name"), fields.pairs("tags")
    if name == DEFAULT_EXPERIMENT:
        raise responses.AlreadyExists(f"the experiment {quote_name(name)} exists already")
    note = tags.pop(NOTE, None)
    try:
        experiments.create_experiment(tracker(), name, note, tags)
    except Conflict as fault:
        raise responses.AlreadyExists(fault.detail) from fault
    return responses.answer(experiment_id=experiment_id(name))


@api.get("/experiments/get")
def get_experiment() -> Response:
    """Return an experiment by its id, deleted or not."""
    name = find_name(tracker(), requests.parse_fields().text("experiment_id"))
    return responses.answer(experiment=load_experiment(tracker(), name).to_json())


@api.get("/experiments/get-by-name")
def get_experiment_by_name() -> Response:
    """Return an experiment by its name, deleted or not. Clients create one on a 404."""
    name = requests.parse_fields().text("experiment_name")
    if name not in list_names(tracker()):
        raise NotFound("experiment", f"no experiment is called {quote_name(name)}")
    return responses.answer(experiment=load_experiment(tracker(), name).to_json())


@api.route("/experiments/search", methods=["GET", "POST"])
def search_experiments() -> Response:
    """Return a page of the matching experiments."""
    fields = requests.parse_fields()
    view = parse_view(fields, "view_type")
    abouts = tracker().descriptions.all()
    matches = [
        load_experiment(tracker(), name, abouts.get(name, About()))
        for name in list_names(tracker(), abouts=abouts)
        if view == "ALL" or (abouts.get(name, About()).deleted_at is not None) == (view == "DELETED_ONLY")
    ]
    matches.sort(key=lambda each: (-(each.creation_time or 0), int(each.id)))
    page, token = search(fields, matches, filters.EXPERIMENTS, _reader, _DEFAULT_PAGE, _MAX_PAGE)
    return responses.answer(experiments=[each.to_json() for each in page], **token)


def _reader(kind: str, key: str) -> Callable[[Experiment], Any]:
    if kind == filters.TAGS:
        return lambda experiment: experiment.tags.get(key)
    return operator.attrgetter("id" if key == "experiment_id" else key)


@api.post("/experiments/set-experiment-tag")
def set_experiment_tag() -> Response:
    """Set a tag. The tag of the note sets the description."""
    fields = requests.parse_fields()
    name = find_name(tracker(), fields.text("experiment_id"))
    key, value = fields.text("key"), fields.text("value", may_be_empty=True)
    refuse_deleted(tracker(), name)
    _change_tag(name, key, value)
    return responses.answer()


@api.post("/experiments/delete-experiment-tag")
def delete_experiment_tag() -> Response:
    """Remove a tag, which must exist."""
    fields = requests.parse_fields()
    name, key = find_name(tracker(), fields.text("experiment_id")), fields.text("key")
    refuse_deleted(tracker(), name)
    if key not in load_experiment(tracker(), name).tags:
        raise NotFound("tag", f"the experiment has no tag {quote_name(key)}")
    _change_tag(name, key, None)
    return responses.answer()


def _change_tag(name: str, key: str, value: str | None) -> None:
    if key == NOTE:
        experiments.change_experiment(tracker(), name, description=value or "")
    else:
        experiments.change_experiment(tracker(), name, tags={key: value})


@api.post("/experiments/delete")
def delete_experiment() -> Response:
    """Move an experiment and its runs to the trash."""
    _delete(find_name(tracker(), requests.parse_fields().text("experiment_id")), deleted=True)
    return responses.answer()


@api.post("/experiments/restore")
def restore_experiment() -> Response:
    """Restore an experiment and its runs from the trash."""
    _delete(find_name(tracker(), requests.parse_fields().text("experiment_id")), deleted=False)
    return responses.answer()


def _delete(name: str, *, deleted: bool) -> None:
    if deleted and tracker().catalog.span(name) is None and tracker().descriptions.about(name) is None:
        experiments.change_experiment(tracker(), name)  # Default may have no file yet that could record the deletion
    if deleted != is_deleted(tracker(), name):
        experiments.change_experiment(tracker(), name, deleted=deleted)


@api.post("/experiments/update")
def update_experiment() -> Response:
    """Refuse to rename: runs and their copies elsewhere record the name, and a push or import matches them by it."""
    fields = requests.parse_fields()
    name = find_name(tracker(), fields.text("experiment_id"))
    if fields.text("new_name") != name:
        raise InvalidInput(
            f"the experiment {quote_name(name)} can't be renamed: its runs and their copies record that name"
        )
    return responses.answer()
