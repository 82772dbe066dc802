"""The application factory: the only module that imports every layer."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from flask import Blueprint

from . import __version__
from .config import LOOPBACK_HOSTS, Config
from .mlflow_api import protocol
from .tracking.tracker import Tracker
from .web import auth, context, errors, page_cache, pages, urls
from .web.api import artifacts, compare, experiments, models, runs, service, transfer
from .web.application import Application
from .web.context import WITHOUT_SERVER
from .web.pages import docs, login, writes
from .web.pages.chart import page as chart
from .web.pages.login import MAX_LOGIN_BYTES

__all__ = ["MAX_LOGIN_BYTES", "WITHOUT_SERVER", "create_app", "uploads"]


def uploads(config: Config) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return method and path of the requests whose bodies are files, which the server writes directly to the store."""
    native = (("POST", re.compile(r"/api/w/(?:runs/[^/]+/artifacts|import)\Z")),)
    return native + protocol.UPLOADS if config.mlflow else native


def create_app(config: Config, tracker: Tracker) -> Application:
    """Create the WSGI application that serves a store."""
    app = Application(__name__, quiet=config.quiet, template_folder="web/templates", static_folder="web/static")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    allowed_hosts = {auth.host_name(host) or host.lower() for host in config.allowed_hosts}
    if config.public_url is not None:
        allowed_hosts.add(auth.host_name(urlsplit(config.public_url).netloc))
    own_hosts = {config.host.strip("[]").lower()} - {"0.0.0.0", "::"}
    context.provide(
        app,
        context.Services(
            tracker=tracker,
            version=__version__,
            allowed_hosts=LOOPBACK_HOSTS | own_hosts | allowed_hosts,
            token=config.token,
            public_url=config.public_url,
            read_only=config.read_only,
            max_json_bytes=config.max_json_bytes,
            max_upload_bytes=config.max_upload_bytes,
            dialect=protocol.DIALECT if config.mlflow else None,
        ),
    )
    urls.install(app)
    auth.install(app)
    app.before_request(urls.check_path)
    page_cache.install(app)
    errors.install(app)
    run_apis = (runs.api, artifacts.api, transfer.api, compare.api)
    apis: tuple[Blueprint, ...] = (*run_apis, models.api, experiments.api)
    if config.mlflow:
        apis += protocol.BLUEPRINTS
    for blueprint in (*apis, chart.charts, docs.docs, service.service, login.login, writes.writes):
        app.register_blueprint(blueprint)
    pages.install(app)
    return app
