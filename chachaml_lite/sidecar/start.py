"""The first step of a job: start a server and, if there is an experiment, the job's run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..client.base import ApiError, Unreachable
from ..client.http import HttpClient
from ..client.proxies import bypass_variables
from .finish import forget_result
from .identity import derive_run_id, origin_tags, read_environment
from .job import GitHubJob, Job
from .server import NotStarted, find_server, is_alive, start_server


@dataclass(frozen=True)
class StartOptions:
    """The options of `ci start`; absent ones are empty texts."""

    experiment: str
    name: str
    run_id: str
    suffix: str
    port: str
    data: Path | None
    token: str


def start(job: Job, options: StartOptions) -> int:
    """Start the server and the run, export their addresses, and return the step's exit code.

    Errors are reported to the job.
    """
    if not options.token.isprintable():
        job.annotate(
            "error", "the token has a line break or another control character, which no HTTP header can contain"
        )
        return 1
    if options.token:
        job.mask(options.token)
    before = find_server(job)
    if before is not None and is_alive(job, before):
        job.annotate("error", f"this job already has a server, at {before.url}; stop it with .../finish first")
        return 1
    forget_result(job)
    try:
        server = start_server(job, _data_folder(job, options.data), options.port, options.token)
    except NotStarted as fault:
        job.annotate("error", str(fault))
        return 1
    job.export("CHACHAML_URL", server.url)
    if options.token:
        job.export("CHACHAML_TOKEN", options.token)
    for name, value in bypass_variables(os.environ).items():
        job.export(name, value)
    job.set_output("url", server.url)
    job.set_output("data", server.data)
    job.say(f"chachaml-lite listens on {server.url}")
    if options.experiment:
        try:
            with HttpClient(server.url, options.token or None) as client:
                run = _start_run(client, job, options)
        except (ApiError, Unreachable, RunEnded) as fault:
            reason = fault.detail if isinstance(fault, ApiError) else str(fault)
            job.annotate("error", f"the run could not be started: {reason}")
            return 1
        job.export("CHACHAML_RUN_ID", run)
        job.set_output("run-id", run)
        job.say(f"Its run is {run}")
    return 0


class RunEnded(Exception):
    """The run to be started exists and has ended."""


def _data_folder(job: Job, requested: Path | None) -> Path:
    """Return the store's folder: on GitHub outside the workspace, since a checkout empties that."""
    if isinstance(job, GitHubJob):
        return Path(os.environ.get("GITHUB_WORKSPACE", "."), requested or job.home / "artifacts").absolute()
    return (requested or Path("artifacts")).absolute()


def _start_run(client: HttpClient, job: Job, options: StartOptions) -> str:
    """Start the job's run and return its id. Raises ApiError, Unreachable, RunEnded."""
    body: dict[str, Any] = {"experiment": options.experiment, "tags": origin_tags(os.environ)}
    body["env"] = read_environment(os.environ)
    run_id = options.run_id or (derive_run_id(os.environ, options.suffix) if isinstance(job, GitHubJob) else "")
    if run_id:
        body["id"] = run_id
    if options.name:
        body["name"] = options.name
    advice = "another use of the action in one job needs another suffix"
    try:
        run = client.post("/api/w/runs", body)
    except ApiError as fault:
        if fault.status == 409:
            raise RunEnded(f"{fault.detail}; {advice}") from fault
        raise
    if run["status"] != "running":
        raise RunEnded(f"the run {run['id']} already exists and has ended; {advice}")
    return str(run["id"])
