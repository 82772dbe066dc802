"""The wiring: the one file that sees every layer."""

from __future__ import annotations

from . import __version__
from .config import LOOPBACK_HOSTS, Config
from .tracking.tracker import Tracker
from .web import (
    api_across,
    api_artifacts,
    api_contents,
    api_experiments,
    api_import,
    api_models,
    api_runs,
    chart_pages,
    context,
    errors,
    form_posts,
    guard,
    login,
    pages,
    service,
    validators,
)
from .web.application import Application


def create_app(config: Config, tracker: Tracker) -> Application:
    """The WSGI application that serves one store."""
    app = Application(__name__, quiet=config.quiet, template_folder="web/templates", static_folder="web/static")
    # A path is matched as it was sent: no redirect that changes what was asked, no decoding twice.
    app.url_map.merge_slashes = False
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    named = {guard.host_name(host) or host.lower() for host in config.allowed_hosts}
    bound = {config.host.strip("[]").lower()} - {"0.0.0.0", "::"}
    context.provide(
        app,
        context.Services(
            tracker=tracker,
            version=__version__,
            allowed_hosts=LOOPBACK_HOSTS | bound | named,
            token=config.token,
            read_only=config.read_only,
            max_json_bytes=config.max_json_bytes,
            max_upload_bytes=config.max_upload_bytes,
        ),
    )
    guard.install(app)
    validators.install(app)
    errors.install(app)
    of_runs = (api_runs.api, api_artifacts.api, api_contents.api, api_import.api, api_across.api)
    apis = (*of_runs, api_models.api, api_experiments.api)
    for blueprint in (*apis, chart_pages.charts, service.service, login.login, form_posts.forms):
        app.register_blueprint(blueprint)
    pages.install(app)
    return app
