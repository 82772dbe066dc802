"""MLflow's experiments: ids for the names that runs bear, what a file says of one, and searches among them."""

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
from .vocabulary import DEFAULT_EXPERIMENT, NOTE, experiment_id, experiment_uri, text_of

api = Blueprint("mlflow_experiments", __name__, url_prefix="/api/2.0/mlflow")

#: What is given and what may be asked for at most on a page.
_DEFAULT_PAGE, _MAX_PAGE = 1000, 50_000
_VIEWS = {"1": "ACTIVE_ONLY", "2": "DELETED_ONLY", "3": "ALL"}


@dataclass(frozen=True)
class Experiment:
    """An experiment as MLflow sees it; times in ms since 1970, None where nothing is known of them."""

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
        """The experiment in an answer."""
        return responses.without_none(
            experiment_id=self.id,
            name=self.name,
            artifact_location=experiment_uri(self.name),
            lifecycle_stage="deleted" if self.is_deleted else "active",
            creation_time=self.creation_time,
            last_update_time=self.last_update_time,
            tags=responses.pairs_to_json(self.tags),
        )


def load_experiment(of: Tracker, name: str, about: About | None = None) -> Experiment:
    """An experiment by its name, which has to be known; `about`: what its file says, where it was read already."""
    about = about or of.descriptions.about(name) or About()
    first, newest = of.catalog.span(name) or (None, None)
    updates = [time for time in (about.updated_at, newest) if time is not None]
    tags = {key: text_of(value) for key, value in about.tags.items()}
    if about.description is not None:
        tags[NOTE] = about.description
    created_at = first if about.created_at is None else about.created_at
    return Experiment(name, about.deleted_at is not None, created_at, max(updates, default=created_at), tags)


def known_names(of: Tracker, *, abouts: dict[str, About] | None = None) -> set[str]:
    """The names of all experiments: those that runs bear, those that were made, and `Default`."""
    abouts = of.descriptions.all() if abouts is None else abouts
    described = (name for name, about in abouts.items() if (about.created_at, about.deleted_at) != (None, None))
    return {DEFAULT_EXPERIMENT, *of.catalog.experiments("all"), *described}


def name_of(of: Tracker, wanted: str) -> str:
    """The name of the experiment with an id. Raises NotFound."""
    if wanted == experiment_id(DEFAULT_EXPERIMENT):
        return DEFAULT_EXPERIMENT
    found = next((name for name in known_names(of) if experiment_id(name) == wanted), None)
    if found is None:
        raise NotFound("experiment", f"no experiment has the id {quote_name(wanted)}")
    return found


def names_of(of: Tracker, wanted: Iterable[str]) -> list[str]:
    """The names of the experiments with these ids, an unknown one being passed over."""
    ids = set(wanted)
    return [name for name in sorted(known_names(of)) if experiment_id(name) in ids]


def is_deleted(of: Tracker, name: str) -> bool:
    """Whether an experiment is deleted."""
    return of.descriptions.is_deleted(name)


def refuse_deleted(of: Tracker, name: str) -> None:
    """Raise InvalidState for an experiment that is deleted: it takes nothing."""
    if is_deleted(of, name):
        raise responses.InvalidState(f"the experiment {quote_name(name)} is deleted; restore it first")


def view_of(fields: Fields, name: str) -> str:
    """The requested view of active and deleted ones: ACTIVE_ONLY, DELETED_ONLY or ALL. Raises InvalidInput."""
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
    """Make an experiment; an artifact_location is passed over, for artifacts are here."""
    fields = requests.fields()
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
    """An experiment by its id, a deleted one too."""
    name = name_of(tracker(), requests.fields().text("experiment_id"))
    return responses.answer(experiment=load_experiment(tracker(), name).to_json())


@api.get("/experiments/get-by-name")
def get_experiment_by_name() -> Response:
    """An experiment by its name, a deleted one too; clients make one where this is 404."""
    name = requests.fields().text("experiment_name")
    if name not in known_names(tracker()):
        raise NotFound("experiment", f"no experiment is called {quote_name(name)}")
    return responses.answer(experiment=load_experiment(tracker(), name).to_json())


@api.route("/experiments/search", methods=["GET", "POST"])
def search_experiments() -> Response:
    """A page of the experiments that match."""
    fields = requests.fields()
    view = view_of(fields, "view_type")
    matches = filters.tester(filters.parse_filter(fields.maybe_text("filter"), filters.EXPERIMENTS), _reader)
    orders = filters.parse_orders(fields.texts("order_by"), filters.EXPERIMENTS)
    abouts = tracker().descriptions.all()
    found = [
        load_experiment(tracker(), name, abouts.get(name, About()))
        for name in known_names(tracker(), abouts=abouts)
        if view == "ALL" or (abouts.get(name, About()).deleted_at is not None) == (view == "DELETED_ONLY")
    ]
    found = [each for each in found if matches(each)]
    found.sort(key=lambda each: (-(each.creation_time or 0), int(each.id)))
    page, token = responses.page_of(filters.ordered(found, orders, _reader), fields, _DEFAULT_PAGE, _MAX_PAGE)
    shown_page = [each.to_json() for each in page]
    return responses.answer(experiments=shown_page, **responses.without_none(next_page_token=token))


def _reader(kind: str, key: str) -> Callable[[Experiment], Any]:
    if kind == filters.TAGS:
        return lambda experiment: experiment.tags.get(key)
    return operator.attrgetter("id" if key == "experiment_id" else key)


@api.post("/experiments/set-experiment-tag")
def set_experiment_tag() -> Response:
    """Set a tag; that of the note is the description."""
    fields = requests.fields()
    name = name_of(tracker(), fields.text("experiment_id"))
    key, value = fields.text("key"), fields.text("value", may_be_empty=True)
    refuse_deleted(tracker(), name)
    _change_tag(name, key, value)
    return responses.answer()


@api.post("/experiments/delete-experiment-tag")
def delete_experiment_tag() -> Response:
    """Remove a tag, which has to be there."""
    fields = requests.fields()
    name, key = name_of(tracker(), fields.text("experiment_id")), fields.text("key")
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
    """Move an experiment with its runs to the trash."""
    _delete(name_of(tracker(), requests.fields().text("experiment_id")), deleted=True)
    return responses.answer()


@api.post("/experiments/restore")
def restore_experiment() -> Response:
    """Bring an experiment with its runs back."""
    _delete(name_of(tracker(), requests.fields().text("experiment_id")), deleted=False)
    return responses.answer()


def _delete(name: str, *, deleted: bool) -> None:
    if deleted and tracker().catalog.span(name) is None and tracker().descriptions.about(name) is None:
        experiments.change_experiment(tracker(), name)  # of Default nothing may be there yet that could be deleted
    if deleted != is_deleted(tracker(), name):
        experiments.change_experiment(tracker(), name, deleted=deleted)


@api.post("/experiments/update")
def update_experiment() -> Response:
    """Refuse another name: runs bear it, copies elsewhere too, and no push or import could match them any more."""
    fields = requests.fields()
    name = name_of(tracker(), fields.text("experiment_id"))
    if fields.text("new_name") != name:
        raise InvalidInput(
            f"the experiment {quote_name(name)} can't be renamed: its runs and their copies record that name"
        )
    return responses.answer()
