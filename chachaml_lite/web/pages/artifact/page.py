"""The page of an artifact, with a preview of its content, and the image alone, for that page and for notes.

What somebody uploaded never becomes a document of this server's: text is escaped into our page, an image is sent as
what its bytes say, and only that; everything else is a download (see `api_artifacts`).
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
from ..rendered import place_of_artifact
from . import image_series
from .preview import HEAD_BYTES, MAGIC_BYTES, SVG, image_type, preview_of

#: An image of more bytes is shown when it is asked for by itself, not in the page.
_MAX_IMAGE_BYTES = 20_000_000
#: Models that a name is suggested from.
_MOST_MODELS = 200


@pages.get("/runs/<run_id>/artifacts/<path:name>")
def artifact_page(run_id: str, name: str) -> str:
    """An artifact with a preview, of its beginning, or of its end."""
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
        place=place_of_artifact(run_id, name),
    )
    images = image_series.image_names(run.artifacts) if preview.kind == "image" else []
    previous, next_name = image_series.neighbours(images, name)
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
        is_cut=not is_whole and preview.kind in ("text", "table", "markdown"),
        shown=f"the {'last' if part == 'end' else 'first'} {format_size(len(content))}",
        is_shown=artifact.size <= _MAX_IMAGE_BYTES,
        image=url_for("pages.image", run_id=run_id, name=name, v=artifact.sha256[:12]),
        file=shlex.quote(name.rpartition("/")[2]),
        versions=versions,
        folders=["/".join(parts[:end]) + "/" for end in range(len(parts) - 1, 0, -1)],
        models=[] if services().read_only else [model.name for model in tracker().registry.models()[:_MOST_MODELS]],
        stages=STAGES,
        previous=previous,
        following=next_name,
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
    """The bytes of an artifact that is an image, to be shown in a page; `v` is for that page, which names its bytes."""
    Query(("v",))
    unchanged = responses.not_modified(artifacts.get_artifact(tracker(), run_id, name).sha256)
    if unchanged is not None:
        return unchanged
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
        # In an <img> it is an image all the same; as a document of its own it would hold scripts, so it is none.
        is_inline=media_type != SVG,
    )
