"""Conditional requests: ETags and 304 for every GET (RFC 9110, section 13), computed before anything is read.

An answer is a function of the request and of what is stored. So its ETag is made of the parts of the request that
routes look at, and of the stamps of the run's files, or of the count of changes that the catalog keeps for all of them:
a client that has the answer is told so for the price of a look, and nothing is parsed or rendered.
"""

from __future__ import annotations

import hashlib
import time

from flask import Response, request

from ..tracking.query.times import GRAIN_MS
from .application import ETAG
from .context import services

#: What has one of its own (the sha256 of the bytes), must not be kept (a probe, a page with a form), or tells of files
#: whose stamps nobody keeps.
_WITHOUT = frozenset(
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
#: Routes whose answer depends on the one run in their path alone.
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

#: Routes whose answer tells of a run's logged models, besides.
_OF_LOGGED_MODELS = frozenset({"pages.run_page", "runs.get_run"})

#: Routes whose answer tells of experiments' descriptions, besides runs.
_OF_EXPERIMENTS = frozenset(
    {
        "experiments.get_experiment",
        "experiments.list_experiments",
        "pages.experiment_list",
        "pages.experiment_page",
    }
)

#: Routes whose answer changes with the version of the program alone.
_OF_THE_VERSION = frozenset({"docs.doc_page", "service.description", "service.summary_for_models"})

#: For so long a page is believed to say what the clock has it say.
_PAGE_SECONDS = 600


def answer_unchanged() -> Response | None:
    """The 304 to a conditional GET or HEAD whose client has the answer; the ETag is then in the environment.

    To be asked behind the guard, for a 304 tells something too.
    """
    if request.endpoint is None or request.endpoint in _WITHOUT:
        return None
    dialect = services().dialect
    if dialect is not None and dialect.covers(request.path):  # its clients ask for no 304
        return None
    stored = _stored()
    if stored is None:
        return None
    asked = (_age(), request.full_path, request.headers.get("Accept", ""), request.host, services().version)
    etag = hashlib.blake2b("\n".join((*asked, stored)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    request.environ[ETAG] = etag
    # Not for "*", which any ETag satisfies: whether there is anything to be known has not been looked at yet.
    if request.if_none_match.star_tag or not request.if_none_match.contains_weak(etag):
        return None
    answer = Response(status=304)
    del answer.headers["Content-Type"]
    return answer


def _age() -> str:
    """Return the part of a page's ETag that the clock changes: "silent for an hour" is rendered anew now and then."""
    return str(int(time.time() // _PAGE_SECONDS)) if request.blueprint == "pages" else ""


def _stored() -> str | None:
    if request.endpoint in _OF_THE_VERSION:
        return ""
    tracker = services().tracker
    if request.endpoint in _OF_ONE_RUN:
        run = tracker.catalog.run((request.view_args or {})["run_id"])
        return None if run is None else repr(run.stamps)
    stored = f"{tracker.catalog.version()} {tracker.registry.version()}"
    if request.endpoint in _OF_LOGGED_MODELS and tracker.catalog.known(run_id := (request.view_args or {})["run_id"]):
        stored += f" {tracker.logged_models.stamp(run_id)}"
    if request.endpoint in _OF_EXPERIMENTS:
        stored += f" {tracker.descriptions.version()}"
    if request.query_string and "q" in request.args:  # what it finds may depend on the time: start_time > -24h
        stored += f" {tracker.clock.now_ms() // GRAIN_MS}"
    return stored
