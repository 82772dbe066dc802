"""Markdown as HTML, for notes and for artifacts that are Markdown."""
