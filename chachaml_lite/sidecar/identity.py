"""The id, tags and environment of a job's run, from the variables that GitHub Actions sets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..machine.environment import EnvironmentReading

#: The limit of the API.
MAX_ID_CHARACTERS = 128


def derive_run_id(variables: Mapping[str, str], suffix: str) -> str:
    """Return the deterministic id of a job's run: gh-<run id>-<attempt>-<job>-<suffix>.

    Characters that are invalid in an id become dashes. If this, truncation, or an underscore within a value could make
    the ids of two jobs equal, a hash of the values is appended.
    """
    parts = [variables.get("GITHUB_JOB", "job"), *_values(suffix)]
    number, attempt = variables.get("GITHUB_RUN_ID", "0"), variables.get("GITHUB_RUN_ATTEMPT", "1")
    text = "-".join(["gh", number, attempt, parts[0], *(["_".join(parts[1:])] if parts[1:] else [])])
    safe = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).rstrip(".-_")
    if safe == text and len(safe) <= MAX_ID_CHARACTERS and not (parts[1:] and any("_" in part for part in parts)):
        return safe
    digest = hashlib.sha256(json.dumps([number, attempt, *parts]).encode()).hexdigest()[:8]
    return f"{safe[: MAX_ID_CHARACTERS - 9]}-{digest}"


def _values(suffix: str) -> Sequence[str]:
    """Return the values of a matrix in JSON, or the text itself if it is anything else."""
    try:
        matrix = json.loads(suffix)
    except ValueError:
        matrix = suffix
    if isinstance(matrix, dict):
        return [each if isinstance(each, str) else json.dumps(each) for each in matrix.values()]
    return [suffix] if suffix and matrix is not None else []


def origin_tags(variables: Mapping[str, str]) -> dict[str, str]:
    """Return tags for the run's origin: sha, ref, actor, workflow and url, if they are known."""
    tags = {
        "sha": variables.get("GITHUB_SHA"),
        "ref": variables.get("GITHUB_REF"),
        "actor": variables.get("GITHUB_ACTOR"),
        "workflow": variables.get("GITHUB_WORKFLOW"),
        "url": _url(variables),
    }
    return {key: value for key, value in tags.items() if value}


def read_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the environment of a job: its machine, its Python and its repository, even before the checkout."""
    env = EnvironmentReading(None, Path(variables.get("GITHUB_WORKSPACE", "."))).finish().values
    commit, repository = variables.get("GITHUB_SHA"), variables.get("GITHUB_REPOSITORY")
    if "commit" not in env.get("git", {}) and commit and repository:
        remote = f"{variables.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}"
        git = {"commit": commit, "branch": variables.get("GITHUB_REF_NAME"), "remote": remote}
        env["git"] = {name: value for name, value in git.items() if value}
    return env


def _url(variables: Mapping[str, str]) -> str | None:
    parts = [variables.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    if not all(parts):
        return None
    return "{}/{}/actions/runs/{}".format(*parts) + f"/attempts/{variables.get('GITHUB_RUN_ATTEMPT', '1')}"
