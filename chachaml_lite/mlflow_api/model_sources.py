"""The source of a model version: resolved to files in this store, never fetched from elsewhere.

| source | meaning |
|---|---|
| models:/MODEL_ID | the folder of a logged model |
| models:/NAME/VERSION, models:/NAME@ALIAS | the files of that version |
| runs:/RUN/PATH | a folder or a file of a run, or its logged model PATH |
| mlflow-artifacts:/ and a path as in `artifacts` | the files at that path |

The URI may include this server's address, or be an http URL below /api/2.0/mlflow-artifacts/artifacts.
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
    """An artifact of a run (a folder if it ends with a slash), and the id of the logged model that it belongs to."""

    run_id: str
    artifact: str
    model_id: str | None = None


def resolve(text: str, run_id: str | None, model_id: str | None) -> Source:
    """Resolve a source. `run_id` and `model_id` are those of the request. Raises InvalidInput."""
    try:
        source = _parse_source(text, model_id)
    except NotFound as fault:
        raise _source_error(text, fault.detail) from fault
    if run_id not in (None, source.run_id):
        raise _source_error(text, f"it is in the run {source.run_id}, but run_id is {quote_name(str(run_id))}")
    if model_id is not None and source.model_id not in (None, model_id):
        raise _source_error(text, f"it is the logged model {source.model_id}, but model_id is {quote_name(model_id)}")
    return source._replace(model_id=source.model_id or model_id)


def _parse_source(text: str, model_id: str | None) -> Source:
    scheme, colon, rest = text.partition(":")
    path = rest.lstrip("/")
    if scheme == "models" and colon and path and not rest.startswith("//"):
        return _resolve_model(path.rstrip("/"))
    if scheme == "runs" and colon and not rest.startswith("//"):
        run_id, _, artifact = path.partition("/")
        return _resolve_run_path(run_id, artifact)
    if scheme in ("mlflow-artifacts", "http", "https"):
        return _resolve_uri(text)
    raise _source_error(text, "a source is models:/..., runs:/... or mlflow-artifacts:/...")


def _resolve_model(path: str) -> Source:
    name, at, alias = path.rpartition("@")
    if not at:
        name, slash, alias = path.partition("/")
        if not slash:
            return _resolve_logged_model(path, "")
    version = versions.get_version(tracker(), name, alias.lower() if alias.lower() in _RESERVED_ALIASES else alias)
    return Source(version.run_id, version.artifact, version.model_id)


_RESERVED_ALIASES = frozenset({"latest", "none", "staging", "production", "archived"})


def _resolve_logged_model(model_id: str, path: str) -> Source:
    run_id, folder = logged_models.folder_of(tracker(), model_id)
    source = _resolve_run_path(run_id, f"{folder}/{path}".rstrip("/"))
    return source._replace(model_id=model_id)


def _resolve_run_path(run_id: str, path: str) -> Source:
    """Resolve a path in a run: a folder, else a file, else the logged model of that name. Raises NotFound."""
    run = tracker().run(run_id)
    for candidate in dict.fromkeys((path.rstrip("/"), unquote(path).rstrip("/"))):
        source = _find_in_run(run, candidate)
        if source is not None:
            return source
    raise NotFound("artifact", f"the run {run_id} has no artifact {quote_name(path)}")


def _find_in_run(run: Run, path: str) -> Source | None:
    if not path:
        return None
    if any(name.startswith(f"{path}/") for name in run.artifacts):
        model = logged_models.model_in(tracker(), run.id, path)
        return Source(run.id, f"{path}/", None if model is None else model.id)
    if path in run.artifacts:
        return Source(run.id, path)
    model = logged_models.find_model(tracker(), run, path)
    return None if model is None else Source(run.id, f"{model.folder}/", model.id)


def _resolve_uri(text: str) -> Source:
    parts = urlsplit(text)
    if (parts.netloc or parts.scheme != "mlflow-artifacts") and not _is_this_server(parts.netloc):
        raise _source_error(text, "it is on another server")
    path = parts.path
    if parts.scheme != "mlflow-artifacts":
        _, proxy, path = path.partition(_PROXY)
        if not proxy:
            raise _source_error(text, f"a URL must have {_PROXY} in its path")
    # A query or a fragment is part of the path: clients don't escape names.
    path += f"?{parts.query}" if parts.query else ""
    segments = path.lstrip("/").removeprefix(_PROXY[1:]).split("/")
    if len(segments) > 3 and segments[1] == "models" and segments[3] == "artifacts":
        return _resolve_logged_model(segments[2], "/".join(segments[4:]))
    if len(segments) > 4 and segments[1] == "versions" and segments[4] == "artifacts":
        version = versions.get_version(tracker(), unquote(segments[2]), segments[3])
        return Source(version.run_id, version.artifact, version.model_id)
    if len(segments) > 3 and segments[2] == "artifacts":
        return _resolve_run_path(segments[1], "/".join(segments[3:]))
    raise _source_error(text, "its path is not one of this server's")


def _is_this_server(address: str) -> bool:
    return address == urlsplit(base_url()).netloc or host_name(address) in services().allowed_hosts


def _source_error(text: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"Invalid model version source {quote_name(text)}: {reason}; a version is pinned to files in this store"
    )
