"""The pages of models: their list, and one model with its versions, stages and history."""

from __future__ import annotations

import shlex
from typing import Any

from flask import redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from ...errors import InvalidInput
from ...tracking import models
from ...tracking.index.model_history import PRODUCTION, STAGES, Model, Version
from ...tracking.index.run_parts import META
from ..context import command_context, tracker
from ..query_string import Query
from .blueprint import pages
from .paging import Paging

#: The most events on a model's page; /api/models/:name has all of them.
_MOST_EVENTS = 100
#: The most versions in a list to choose from; others can be named in the URL.
_MOST_CHOICES = 500


@pages.get("/models")
def model_list() -> str:
    """Show all models, by name."""
    all_models = tracker().registry.models()
    paging = Paging.from_request(Query(("offset",)), url_for("pages.model_list"), len(all_models))
    return render_template(
        "models.html",
        models=[models.model_to_json(model) for model in paging.select(all_models)],
        paging=paging,
        api=url_for("models.list_models"),
        **command_context(),
    )


@pages.get("/models/<name>")
def model_page(name: str) -> str:
    """Show a model."""
    query = Query(("offset",))
    model = models.get_model(tracker(), name)
    path = url_for("pages.model_page", name=name)
    versions = [model.versions[number] for number in sorted(model.versions, reverse=True)]
    paging = Paging.from_request(query, path, len(versions))
    history = models.list_moves(model)
    aliases = {alias: number for alias, number in model.aliases.items() if alias != PRODUCTION}
    return render_template(
        "model.html",
        model=models.model_to_json(model),
        path=path,
        api=url_for("models.get_model", name=name),
        versions=[_build_version_row(version) for version in paging.select(versions)],
        paging=paging,
        stages=STAGES,
        aliases=aliases,
        own_description=model.description,
        history=history[:_MOST_EVENTS],
        earlier_count=max(0, len(history) - _MOST_EVENTS),
        version_numbers=[version.version for version in versions[:_MOST_CHOICES]],
        download=_describe_download(model),
        **command_context(),
    )


@pages.get("/diff/<name>")
def redirect_to_diff(name: str) -> BaseResponse:
    """Redirect the form that selects two versions to the page that compares them. Raises InvalidInput."""
    query = Query(("one", "other"))
    one, other = query.text("one"), query.text("other")
    if not one or not other:
        raise InvalidInput("one and other must be the numbers of two versions, or stages")
    return redirect(url_for("pages.diff_page", name=name, one=one, other=other), 303)


def _build_version_row(version: Version) -> dict[str, Any]:
    """Return a version with the current label of its run, which is None if the run is gone."""
    run = tracker().catalog.run(version.run_id, (META,))
    label = None if run is None else run.meta.get("name") or run.id
    aliases = [alias for alias in version.all_aliases if alias != PRODUCTION]  # production is shown as its stage
    return {**version.public(), "run_label": label, "aliases": aliases}


def _describe_download(model: Model) -> dict[str, str] | None:
    """Return the parts of the download command: production, else the newest version, as a selector; and a file name."""
    version = model.in_stage(PRODUCTION)
    selector = PRODUCTION if version else "latest"
    version = version or model.latest
    if version is None:
        return None
    folder, _, file = version.artifact.rpartition("/")
    file = file or f"{folder.rpartition('/')[2]}.zip"
    return {"selector": selector, "file": shlex.quote(file)}
