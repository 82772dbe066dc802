"""Rendering of Markdown on pages, with the targets of links in notes, artifacts and the manual."""

from __future__ import annotations

from flask import request, url_for
from markupsafe import Markup

from ..markdown.blocks import RenderContext, render_markdown
from ..markdown.inline import Links


def render_text(source: str, level: int) -> Markup:
    """Render a description as HTML, its headings starting at `level`."""
    return render_markdown(source, RenderContext(level, Links(root=request.script_root)))


def render_note(source: str, run_id: str) -> Markup:
    """Render a run's note as HTML; relative links and images refer to the run's artifacts."""
    return render_markdown(source, RenderContext(3, _run_links(run_id)))


def artifact_context(run_id: str, name: str) -> RenderContext:
    """Return the context for rendering a Markdown artifact; relative links and images refer to artifacts next to it."""
    return RenderContext(2, _run_links(run_id, name.rpartition("/")[0], keeps_lines=False))


def render_manual(source: str) -> Markup:
    """Render a page of the manual as HTML; relative links refer to its other pages."""
    manual = url_for("docs.doc_page", name="")
    return render_markdown(source, RenderContext(1, Links(request.script_root, keeps_lines=False, manual=manual)))


def _run_links(run_id: str, folder: str = "", *, keeps_lines: bool = True) -> Links:
    return Links(
        root=request.script_root,
        artifacts=url_for("pages.artifact_page", run_id=run_id, name=""),
        images=url_for("pages.image", run_id=run_id, name=""),
        folder=folder,
        keeps_lines=keeps_lines,
    )
