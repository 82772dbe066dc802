"""The source of a model version: parsed and found in this store, never fetched.

| source | is |
|---|---|
| models:/MODEL_ID | the folder of a logged model |
| models:/NAME/VERSION, models:/NAME@ALIAS | what that version is |
| runs:/RUN/PATH | a folder or a file of a run, or the logged model PATH of it |
| mlflow-artifacts:/ and a path as `artifacts` takes it | likewise |

It may bear this server's address, or be an http URL below /api/2.0/mlflow-artifacts/artifacts.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ..errors import InvalidInput, NotFound
from ..tracking import logged_models
from ..tracking import model_versions as versions
from ..tracking.index.run_entry import Run
from ..tracking.names import quote_name
from ..web.auth import host_name
from ..web.context import base_url, services, tracker

_PROXY = "/api/2.0/mlflow-artifacts/artifacts/"


class Source(NamedTuple):
    """The artifact of a run, with a slash at its end a folder, and the logged model that it is, if it is one."""

    run_id: str
    artifact: str
    model_id: str | None = None


def resolve(text: str, run_id: str | None, model_id: str | None) -> Source:
    """Return what a source names; `run_id` and `model_id`: those of the request. Raises InvalidInput."""
    try:
        source = _named_by(text, model_id)
    except NotFound as fault:
        raise _not_here(text, fault.detail) from fault
    if run_id not in (None, source.run_id):
        raise _not_here(text, f"it is in the run {source.run_id}, and run_id says {quote_name(str(run_id))}")
    if model_id is not None and source.model_id not in (None, model_id):
        raise _not_here(text, f"it is the logged model {source.model_id}, and model_id says {quote_name(model_id)}")
    return source._replace(model_id=source.model_id or model_id)


def _named_by(text: str, model_id: str | None) -> Source:
    scheme, colon, rest = text.partition(":")
    path = rest.lstrip("/")
    if scheme == "models" and colon and path and not rest.startswith("//"):
        return _of_model(path.rstrip("/"))
    if scheme == "runs" and colon and not rest.startswith("//"):
        run_id, _, artifact = path.partition("/")
        return _of_run(run_id, artifact)
    if scheme in ("mlflow-artifacts", "http", "https"):
        return _of_uri(text)
    raise _not_here(text, "a source is models:/..., runs:/... or mlflow-artifacts:/...")


def _of_model(path: str) -> Source:
    name, at, alias = path.rpartition("@")
    if not at:
        name, slash, alias = path.partition("/")
        if not slash:
            return _of_logged_model(path, "")
    version = versions.get_version(tracker(), name, alias.lower() if alias.lower() in _WORDS else alias)
    return Source(version.run_id, version.artifact, version.model_id)


_WORDS = frozenset({"latest", "none", "staging", "production", "archived"})


def _of_logged_model(model_id: str, path: str) -> Source:
    run_id, folder = logged_models.folder_of(tracker(), model_id)
    source = _of_run(run_id, f"{folder}/{path}".rstrip("/"))
    return source._replace(model_id=model_id)


def _of_run(run_id: str, path: str) -> Source:
    """A folder, else a file of a run, else its logged model of that name. Raises NotFound."""
    run = tracker().run(run_id)
    for candidate in dict.fromkeys((path.rstrip("/"), unquote(path).rstrip("/"))):
        found = _in_run(run, candidate)
        if found is not None:
            return found
    raise NotFound("artifact", f"the run {run_id} has no artifact {quote_name(path)}")


def _in_run(run: Run, path: str) -> Source | None:
    if not path:
        return None
    if any(name.startswith(f"{path}/") for name in run.artifacts):
        model = logged_models.model_in(tracker(), run.id, path)
        return Source(run.id, f"{path}/", None if model is None else model.id)
    if path in run.artifacts:
        return Source(run.id, path)
    model = logged_models.model_named(tracker(), run, path)
    return None if model is None else Source(run.id, f"{model.folder}/", model.id)


def _of_uri(text: str) -> Source:
    parts = urlsplit(text)
    if (parts.netloc or parts.scheme != "mlflow-artifacts") and not _is_ours(parts.netloc):
        raise _not_here(text, "it is at another server")
    path = parts.path
    if parts.scheme != "mlflow-artifacts":
        _, proxy, path = path.partition(_PROXY)
        if not proxy:
            raise _not_here(text, f"a URL has {_PROXY} in its path")
    # What follows ? or # belongs to the path as well: a client writes names as they are.
    path += f"?{parts.query}" if parts.query else ""
    segments = path.lstrip("/").removeprefix(_PROXY[1:]).split("/")
    if len(segments) > 3 and segments[1] == "models" and segments[3] == "artifacts":
        return _of_logged_model(segments[2], "/".join(segments[4:]))
    if len(segments) > 4 and segments[1] == "versions" and segments[4] == "artifacts":
        version = versions.get_version(tracker(), unquote(segments[2]), segments[3])
        return Source(version.run_id, version.artifact, version.model_id)
    if len(segments) > 3 and segments[2] == "artifacts":
        return _of_run(segments[1], "/".join(segments[3:]))
    raise _not_here(text, "its path is none of this server's")


def _is_ours(address: str) -> bool:
    return address == urlsplit(base_url()).netloc or host_name(address) in services().allowed_hosts


def _not_here(text: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"Invalid model version source {quote_name(text)}: {why}; a version is pinned to files that are here"
    )
