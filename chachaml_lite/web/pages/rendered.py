"""Markdown on pages: what links in notes, artifacts and the manual lead to."""

from __future__ import annotations

from flask import request, url_for
from markupsafe import Markup

from ..markdown.blocks import Place, note_html
from ..markdown.inline import Links


def render_text(source: str, level: int) -> Markup:
    """A description as HTML, its headings beginning with `level`."""
    return note_html(source, Place(level, Links(root=request.script_root)))


def render_note(source: str, run_id: str) -> Markup:
    """A run's note as HTML: relative links and images are its artifacts."""
    return note_html(source, Place(3, _links_of_run(run_id)))


def place_of_artifact(run_id: str, name: str) -> Place:
    """The place of an artifact that is Markdown: relative links and images are the artifacts beside it."""
    return Place(2, _links_of_run(run_id, name.rpartition("/")[0], keeps_lines=False))


def render_manual(source: str) -> Markup:
    """A page of the manual as HTML: relative links are its other pages."""
    manual = url_for("docs.doc_page", name="")
    return note_html(source, Place(1, Links(request.script_root, keeps_lines=False, manual=manual)))


def _links_of_run(run_id: str, folder: str = "", *, keeps_lines: bool = True) -> Links:
    return Links(
        root=request.script_root,
        artifacts=url_for("pages.artifact_page", run_id=run_id, name=""),
        images=url_for("pages.image", run_id=run_id, name=""),
        folder=folder,
        keeps_lines=keeps_lines,
    )
