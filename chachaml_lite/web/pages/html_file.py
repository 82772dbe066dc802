"""A run or a comparison as one HTML file, to keep, send or print: its page with ?format=html.

The file contains its styles, charts and images, has no scripts, and loads nothing from anywhere.
"""

from __future__ import annotations

import pkgutil
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any
from urllib.parse import unquote

from flask import Response, render_template, url_for
from markupsafe import Markup, escape

from ...text.format import format_duration, format_number
from ...tracking import artifacts, runs
from ...tracking.environment import flatten
from ...tracking.index.run_entry import Run
from ..charts import Style
from ..context import is_served, tracker
from ..urls import full_url_for
from .artifact.preview import MAGIC_BYTES, image_type
from .compare.compare_table import Comparison
from .compare.compare_url import ComparisonView
from .markdown import render_note
from .run.metrics import build_metric_part
from .sections import sections_of
from .sweep.curves import SweepSection

#: The file's content security policy: its own styles and images only. It is in the file, since a file on disk has no
#: headers.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
#: The most bytes of an image, and of all images together; further ones are listed, but not shown.
_MAX_IMAGE_BYTES, _MAX_IMAGES_BYTES = 1_000_000, 20_000_000
_IMAGE = re.compile(r'<img src="([^"]*)"')


def render_run_file(run: Run, style: Style) -> Response:
    """Return a run as a file, with everything on its page except the points. Raises NotFound."""
    details = runs.run_details(tracker(), run)
    images = dict(_read_images(run, details["artifacts"]))
    open_sections = frozenset(section.name for section in sections_of(run.summary, frozenset()))
    sections = build_metric_part(tracker(), run, run.summary, open_sections, style, has_all_rows=True).sections
    return _render_file(
        "saved_run.html",
        f"{run.id}.html",
        run=details,
        url=full_url_for("pages.run_page", run_id=run.id) if is_served() else None,
        duration=format_duration(details["duration_ms"]),
        metrics=[row for section in sections for row in section.rows],
        figures=[figure for section in sections for figure in section.charts.figures],
        omitted_charts=sum(len(section.charts.links) + section.charts.unlisted_count for section in sections),
        env={path: format_number(value) for path, value in flatten(details["env"]).items()},
        note=_embed_images(
            render_note(details["note"] or "", run.id), url_for("pages.image", run_id=run.id, name=""), images
        ),
        images=images,
    )


def render_comparison_file(view: ComparisonView, table: Comparison, sections: Sequence[SweepSection]) -> Response:
    """Return a comparison as a file, with its table and charts."""
    return _render_file(
        "saved_comparison.html",
        "comparison.html",
        url=full_url_for("pages.compare_page", ids=",".join(view.ids)) if is_served() else None,
        table=table,
        figures=[figure for section in sections for figure in section.figures],
    )


def _render_file(template: str, name: str, **context: Any) -> Response:
    response = Response(render_template(template, css=_style(), policy=POLICY, **context), mimetype="text/html")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Content-Security-Policy"] = POLICY
    return response


@cache
def _style() -> Markup:
    """Return the style sheet of the pages, which contains no text from users."""
    content = pkgutil.get_data("chachaml_lite.web", "static/style.css")
    return Markup((content or b"").decode())


def _read_images(run: Run, image_records: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the names of small images among the artifacts, and their bytes as data URLs."""
    remaining_bytes = _MAX_IMAGES_BYTES
    for artifact in image_records:
        if not 0 < artifact["size"] <= min(_MAX_IMAGE_BYTES, remaining_bytes):
            continue
        name = artifact["name"]
        _, head = artifacts.read_part(tracker(), run.id, name, MAGIC_BYTES)
        media_type = image_type(name, head)
        if media_type is not None:
            _, content = artifacts.read_part(tracker(), run.id, name, _MAX_IMAGE_BYTES)
            remaining_bytes -= len(content)
            yield name, f"data:{media_type};base64,{b64encode(content).decode()}"


def _embed_images(note: Markup, below: str, images: dict[str, str]) -> Markup:
    """Return a note with the run's images embedded; an image that isn't in the file only has its alternative text."""

    def source(match: re.Match[str]) -> str:
        path = str(Markup(match[1]).unescape()).partition("?")[0]
        name = unquote(path[len(below) :]) if path.startswith(below) else ""
        return f'<img src="{escape(images.get(name, ""))}"'

    return Markup(_IMAGE.sub(source, str(note)))
