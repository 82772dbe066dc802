"""Conditional requests: ETags and 304 for GETs (RFC 9110, section 13), computed before anything is read.

A response is a function of the request and the stored state. So its ETag is derived from the relevant parts of the
request, and from the stamps of the run's files, or the catalog's count of changes to all of them: a 304 costs a few
system calls, and nothing is parsed or rendered.
"""

from __future__ import annotations

import hashlib
import time

from flask import Response, request

from ..tracking.query.times import GRAIN_MS
from .application import ETAG
from .context import services

#: Endpoints with an ETag of their own (a file's sha256), whose responses must not be cached (a health check, a form),
#: or that depend on files without stamps.
_NO_ETAG = frozenset(
    {
        "artifacts.download",
        "transfer.download_file",
        "transfer.get_digests",
        "transfer.get_manifest",
        "login.form",
        "models.download",
        "pages.image",
        "runs.download_run",
        "service.health",
        "static",
    }
)
#: Endpoints that only depend on the run in their path.
_OF_ONE_RUN = frozenset(
    {
        "artifacts.list_artifacts",
        "charts.run_chart",
        "charts.run_svg",
        "runs.get_datasets",
        "runs.get_metrics",
        "runs.get_tags",
    }
)

#: Endpoints that also depend on a run's logged models.
_OF_LOGGED_MODELS = frozenset({"pages.run_page", "runs.get_run"})

#: Endpoints that also depend on the descriptions of experiments.
_OF_EXPERIMENTS = frozenset(
    {
        "experiments.get_experiment",
        "experiments.list_experiments",
        "pages.experiment_list",
        "pages.experiment_page",
    }
)

#: Endpoints that only depend on the program's version.
_OF_THE_VERSION = frozenset({"docs.doc_page", "service.description", "service.summary_for_models"})

#: Seconds for which the parts of a page that depend on the clock stay valid.
_PAGE_SECONDS = 600


def answer_unchanged() -> Response | None:
    """Return a 304 for a conditional GET or HEAD with the current ETag, which is stored in the environ.

    Must be called after the access control: a 304 reveals something, too.
    """
    if request.endpoint is None or request.endpoint in _NO_ETAG:
        return None
    dialect = services().dialect
    if dialect is not None and dialect.covers(request.path):  # its clients send no conditional requests
        return None
    state = _state_version()
    if state is None:
        return None
    request_parts = (
        _clock_part(),
        request.full_path,
        request.headers.get("Accept", ""),
        request.host,
        services().version,
    )
    etag = hashlib.blake2b(
        "\n".join((*request_parts, state)).encode("utf-8", "surrogatepass"), digest_size=16
    ).hexdigest()
    request.environ[ETAG] = etag
    # Not for "*", which any ETag satisfies: whether the resource exists isn't known yet.
    if request.if_none_match.star_tag or not request.if_none_match.contains_weak(etag):
        return None
    response = Response(status=304)
    del response.headers["Content-Type"]
    return response


def _clock_part() -> str:
    """Return the part of a page's ETag that changes with time: "silent for an hour" must be updated now and then."""
    return str(int(time.time() // _PAGE_SECONDS)) if request.blueprint == "pages" else ""


def _state_version() -> str | None:
    if request.endpoint in _OF_THE_VERSION:
        return ""
    tracker = services().tracker
    if request.endpoint in _OF_ONE_RUN:
        run = tracker.catalog.run((request.view_args or {})["run_id"])
        return None if run is None else repr(run.stamps)
    version = f"{tracker.catalog.version()} {tracker.registry.version()}"
    if request.endpoint in _OF_LOGGED_MODELS and tracker.catalog.known(run_id := (request.view_args or {})["run_id"]):
        version += f" {tracker.logged_models.stamp(run_id)}"
    if request.endpoint in _OF_EXPERIMENTS:
        version += f" {tracker.descriptions.version()}"
    if request.query_string and "q" in request.args:  # a query may depend on the time: start_time > -24h
        version += f" {tracker.clock.now_ms() // GRAIN_MS}"
    return version
