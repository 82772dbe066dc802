"""The page of an artifact with a preview of its content, and images alone, for that page and for notes.

An upload never becomes a document of this server: text is escaped into our page; an image is only sent as what its
bytes say it is; everything else is a download (see `artifact_bytes`).
"""

from __future__ import annotations

import shlex

from flask import Response, render_template, url_for

from ....errors import InvalidInput
from ....text.format import format_size
from ....tracking import artifacts
from ....tracking.index.model_history import STAGES
from ....tracking.index.run_parts import ARTIFACTS, META
from ... import responses
from ...context import command_context, services, tracker
from ...query_string import Query
from ...urls import current_url
from ..blueprint import pages
from ..markdown import artifact_context
from . import image_series
from .preview import HEAD_BYTES, MAGIC_BYTES, SVG, image_type, preview_of

#: A larger image, in bytes, is only shown by itself on request, not in the page.
_MAX_IMAGE_BYTES = 20_000_000
#: The most models whose names are suggested.
_MOST_MODELS = 200


@pages.get("/runs/<run_id>/artifacts/<path:name>")
def artifact_page(run_id: str, name: str) -> str:
    """Show an artifact with a preview of its beginning or its end."""
    part = Query(("part",)).text("part") or "start"
    if part not in ("start", "end"):
        raise InvalidInput(f"part must be start or end, not {part[:60]!r}")
    run = tracker().run(run_id, (META, ARTIFACTS))
    artifact, content = artifacts.read_part(tracker(), run_id, name, HEAD_BYTES, from_end=part == "end")
    is_whole = len(content) == artifact.size
    preview = preview_of(
        name,
        content,
        is_start=is_whole or part == "start",
        is_end=is_whole or part == "end",
        context=artifact_context(run_id, name),
    )
    images = image_series.image_names(run.artifacts) if preview.kind == "image" else []
    previous_image, next_image = image_series.neighbours(images, name)
    versions = [version for version in tracker().registry.pinned_to(run_id) if version.holds(name)]
    parts = name.split("/")
    return render_template(
        "artifact.html",
        run_id=run_id,
        run_label=run.meta.get("name") or run_id,
        experiment=run.meta["experiment"],
        artifact=artifact,
        media_type=artifacts.content_type(name),
        preview=preview,
        part=part,
        is_truncated=not is_whole and preview.kind in ("text", "table", "markdown"),
        excerpt=f"the {'last' if part == 'end' else 'first'} {format_size(len(content))}",
        shows_image=artifact.size <= _MAX_IMAGE_BYTES,
        image=url_for("pages.image", run_id=run_id, name=name, v=artifact.sha256[:12]),
        file_name=shlex.quote(name.rpartition("/")[2]),
        versions=versions,
        folders=["/".join(parts[:end]) + "/" for end in range(len(parts) - 1, 0, -1)],
        models=[] if services().read_only else [model.name for model in tracker().registry.models()[:_MOST_MODELS]],
        stages=STAGES,
        previous_image=previous_image,
        next_image=next_image,
        steps=[
            (step, url_for("pages.image", run_id=run_id, name=step.name, v=run.artifacts[step.name].sha256[:12]))
            for step in image_series.series_of(images, name)
        ],
        path=url_for("pages.artifact_page", run_id=run_id, name=name),
        back=current_url(),
        api=url_for("artifacts.list_artifacts", run_id=run_id),
        **command_context(),
    )


@pages.get("/runs/<run_id>/images/<path:name>")
def image(run_id: str, name: str) -> Response:
    """Return the bytes of an image to be shown in a page; `v` is only for that page, where it identifies the bytes."""
    Query(("v",))
    not_modified = responses.not_modified(artifacts.get_artifact(tracker(), run_id, name).sha256)
    if not_modified is not None:
        return not_modified
    artifact, file = artifacts.open_artifact(tracker(), run_id, name)
    media_type = image_type(name, file.read(MAGIC_BYTES))
    if media_type is None:
        file.close()
        raise InvalidInput("the artifact is no image that is shown here: PNG, JPEG, GIF, WebP, or SVG by its name")
    return responses.file_response(
        file,
        name=artifact.name,
        size=artifact.size,
        sha256=artifact.sha256,
        content_type=media_type,
        # In an <img> it works anyway; as a document of its own it could run scripts, so it isn't inline.
        is_inline=media_type != SVG,
    )
