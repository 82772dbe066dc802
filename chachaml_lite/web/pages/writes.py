"""Writes from pages: the views that forms post to, with or without a script; each redirects to the next page.

A form names its next page in the field `then`. A rejected form is answered like any error: by a page, or by JSON for
the script that keeps the user's input (static/forms.js). Access to these routes is controlled as for all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from flask import Blueprint, g, redirect
from werkzeug.wrappers import Response

from ...errors import ChachamlError, InvalidInput
from ...tracking import artifact_deletion, experiments, model_versions, models, runs, tags, trash
from ...tracking.tracker import Tracker
from .. import request_body
from ..context import tracker
from ..query_string import Fields
from .login import local_path

writes = Blueprint("writes", __name__)

_FORM = "application/x-www-form-urlencoded"
#: The most runs that one form may change.
MAX_CHANGED_RUNS = 1000
_MAX_FIELDS = MAX_CHANGED_RUNS + 100


class _Form(Fields):
    """The fields of a submitted form."""

    def __init__(self, *field_names: str) -> None:
        """Parse the body of the request. Raises InvalidInput, TooLarge."""
        request_body.require_type(_FORM)
        try:
            pairs = parse_qsl(
                request_body.read_content().decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MAX_FIELDS,
            )
        except (UnicodeDecodeError, ValueError) as fault:
            raise InvalidInput(
                f"the form is not percent-encoded UTF-8, or has more than {_MAX_FIELDS} fields"
            ) from fault
        # Browsers send line ends as CR LF.
        super().__init__(
            [(name, value.replace("\r\n", "\n")) for name, value in pairs], (*field_names, "then"), repeatable=("ids",)
        )
        #: The page to redirect to, which is also linked from an error.
        self.next_path = g.back = local_path(self.text("then") or "")

    def require(self, name: str) -> str:
        """Return the value of a field. Raises InvalidInput if it is absent."""
        text = self.text(name)
        if text is None:
            raise InvalidInput(f"the field {name!r} is missing")
        return text

    def ids(self) -> list[str]:
        """Return the ids of the selected runs. Raises InvalidInput if there are none."""
        run_ids = self.texts("ids")
        if not run_ids:
            raise InvalidInput("no run is selected; select at least one")
        return run_ids


def _redirect(form: _Form) -> Response:
    return redirect(form.next_path, 303)


def _apply_to_each(run_ids: Sequence[str], action: Callable[[str], Any]) -> None:
    """Apply an action to each run, up to the first error, which then says how many runs were changed."""
    for count, run_id in enumerate(run_ids):
        try:
            action(run_id)
        except ChachamlError as fault:
            if len(run_ids) > 1:
                fault.detail += f" ({count} of {len(run_ids)} were done before it)"
            raise


def _change_each(change: Callable[[Tracker, str], Any]) -> Response:
    """Apply a change to each selected run, and redirect."""
    form = _Form("ids")
    _apply_to_each(form.ids(), lambda run_id: change(tracker(), run_id))
    return _redirect(form)


# -- runs


@writes.post("/runs/tags")
def tag_runs() -> Response:
    """Set or remove a tag of runs."""
    form = _Form("ids", "key", "value", "remove")
    changes = {form.require("key"): None if form.flag("remove") else form.require("value")}
    _apply_to_each(form.ids(), lambda run_id: tags.set_tags(tracker(), run_id, changes))
    return _redirect(form)


@writes.post("/runs/trash")
def trash_runs() -> Response:
    """Move runs to the trash."""
    return _change_each(trash.trash_run)


@writes.post("/runs/restore")
def restore_runs() -> Response:
    """Restore runs from the trash."""
    return _change_each(trash.restore_run)


@writes.post("/runs/delete")
def delete_runs() -> Response:
    """Delete runs permanently."""
    return _change_each(trash.remove_run)


@writes.post("/runs/<run_id>/note")
def set_note(run_id: str) -> Response:
    """Replace a run's note."""
    form = _Form("note")
    runs.set_note(tracker(), run_id, form.require("note"))
    return _redirect(form)


@writes.post("/runs/<run_id>/name")
def rename_run(run_id: str) -> Response:
    """Rename a run."""
    form = _Form("name")
    runs.change_run(tracker(), run_id, name=form.require("name"))
    return _redirect(form)


@writes.post("/runs/<run_id>/end")
def end_run(run_id: str) -> Response:
    """End a run; an empty error field means no error."""
    form = _Form("status", "error")
    runs.finish_run(tracker(), run_id, form.require("status"), form.text("error") or None)
    return _redirect(form)


@writes.post("/runs/<run_id>/resume")
def resume_run(run_id: str) -> Response:
    """Resume a run that has ended."""
    form = _Form()
    runs.resume_run(tracker(), run_id)
    return _redirect(form)


@writes.post("/runs/<run_id>/artifacts/delete")
def delete_artifacts(run_id: str) -> Response:
    """Delete an artifact, or all artifacts of a folder."""
    form = _Form("name")
    artifact_deletion.delete_artifacts(tracker(), run_id, form.require("name"))
    return _redirect(form)


# -- experiments


@writes.post("/experiments/<path:name>")
def change_experiment(name: str) -> Response:
    """Describe an experiment, move it to the trash, or restore it."""
    form = _Form("description", "deleted")
    deleted = None if form.text("deleted") is None else form.flag("deleted")
    experiments.change_experiment(tracker(), name, description=form.text("description"), deleted=deleted)
    return _redirect(form)


# -- models


@writes.post("/models")
def register_version() -> Response:
    """Register an artifact as the next version of a model."""
    form = _Form("name", "run_id", "artifact", "stage", "description")
    model_versions.register_version(
        tracker(),
        form.require("name"),
        form.require("run_id"),
        form.require("artifact"),
        stage=form.text("stage") or "none",
        description=form.text("description") or None,
    )
    return _redirect(form)


@writes.post("/models/<name>")
def describe_model(name: str) -> Response:
    """Describe a model."""
    form = _Form("description")
    models.change_model(tracker(), name, description=form.require("description"))
    return _redirect(form)


@writes.post("/models/<name>/delete")
def delete_model(name: str) -> Response:
    """Delete a model with all its versions."""
    form = _Form()
    models.delete_model(tracker(), name)
    return _redirect(form)


@writes.post("/models/<name>/promote")
def promote_version(name: str) -> Response:
    """Move a version to a stage."""
    form = _Form("version", "stage")
    model_versions.promote_version(tracker(), name, _parse_version(form), form.require("stage"))
    return _redirect(form)


@writes.post("/models/<name>/aliases")
def set_alias(name: str) -> Response:
    """Point an alias to a version, or remove it."""
    form = _Form("alias", "version", "remove")
    models.set_alias(tracker(), name, form.require("alias"), None if form.flag("remove") else _parse_version(form))
    return _redirect(form)


@writes.post("/models/<name>/versions/<int:version>/delete")
def delete_version(name: str, version: int) -> Response:
    """Delete a version."""
    form = _Form()
    model_versions.delete_version(tracker(), name, version)
    return _redirect(form)


def _parse_version(form: _Form) -> int:
    number = form.integer("version")
    if number is None:
        raise InvalidInput("the field 'version' is missing")
    return number
