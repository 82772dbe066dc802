"""The blueprint of the pages, to which each module in this folder adds its routes."""

from __future__ import annotations

from flask import Blueprint

pages = Blueprint("pages", __name__)
