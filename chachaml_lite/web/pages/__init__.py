"""The web pages: rendered on the server, and complete without JavaScript."""

from __future__ import annotations

from typing import Any

from flask import Flask, request

from ... import strict_json
from ...text.format import format_duration, format_iso_time, format_number, format_size, format_time, is_web_address
from ..application import ETAG
from ..charts import series_class
from ..context import services

# Each of these modules adds its routes.
from . import experiments, models  # noqa: F401
from .artifact import page as artifact_page  # noqa: F401
from .artifact.image_series import is_image_name
from .blueprint import pages
from .compare import page as compare_page  # noqa: F401
from .compare.compare_url import MAX_COMPARED_RUNS
from .run import page as run_page  # noqa: F401
from .runs import page as runs_page  # noqa: F401
from .sweep import page as experiment_page  # noqa: F401
from .writes import MAX_CHANGED_RUNS


def install(app: Flask) -> None:
    """Register the pages with `app`, and the filters by which they format numbers and times."""
    app.register_blueprint(pages)
    app.jinja_env.filters.update(
        number=format_number, time=format_time, iso_time=format_iso_time, duration=format_duration, size=format_size
    )
    # Plain text, to be escaped like any other: Flask's `tojson` returns markup, whose quotes would end an attribute.
    app.jinja_env.filters.update(as_json=strict_json.dumps, series_class=series_class)
    app.jinja_env.tests.update(web_address=is_web_address, image_name=is_image_name)
    app.jinja_env.globals.update(max_compared_runs=MAX_COMPARED_RUNS, max_changed_runs=MAX_CHANGED_RUNS)
    app.context_processor(_page_context)


def _page_context() -> dict[str, Any]:
    """Return the context of all pages: the current path, the ETag for the script that polls, and what is permitted."""
    current_services = services()
    return {
        "current_path": request.script_root + request.path,
        "etag": request.environ.get(ETAG),
        "read_only": current_services.read_only,
        "has_token": current_services.token is not None,
    }
