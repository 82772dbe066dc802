"""The first step: start a server for the job and, where an experiment is named, the job's run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..client.base import ApiError, Unreachable
from ..client.http import HttpClient
from ..client.proxies import bypass_variables
from .finish import forget_result
from .identity import environment_of, run_id_of, tags_of
from .job import GitHubJob, Job
from .server import NotStarted, find_server, is_alive, start_server


@dataclass(frozen=True)
class StartOptions:
    """The options of `ci start`; empty texts where nothing was given."""

    experiment: str
    name: str
    run_id: str
    suffix: str
    port: str
    data: Path | None
    token: str


def start(job: Job, options: StartOptions) -> int:
    """Start the server and the run, and export where they are; the step's exit code. Errors are reported to the job."""
    if not options.token.isprintable():
        job.annotate("error", "the token holds a line break or another control character; no header can bear it")
        return 1
    if options.token:
        job.mask(options.token)
    before = find_server(job)
    if before is not None and is_alive(job, before):
        job.annotate("error", f"this job has a server already, on {before.url}; end that one with .../finish first")
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
    job.say(f"chachaml-lite takes requests on {server.url}")
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
    """The run that was to be started is in the store, and has ended."""


def _data_folder(job: Job, chosen: Path | None) -> Path:
    """Return the store's folder: on GitHub beside the workspace, for a checkout would empty one inside."""
    if isinstance(job, GitHubJob):
        return Path(os.environ.get("GITHUB_WORKSPACE", "."), chosen or job.home / "artifacts").absolute()
    return (chosen or Path("artifacts")).absolute()


def _start_run(client: HttpClient, job: Job, options: StartOptions) -> str:
    """Start the job's run; returns its id. Raises ApiError, Unreachable, RunEnded."""
    body: dict[str, Any] = {"experiment": options.experiment, "tags": tags_of(os.environ)}
    body["env"] = environment_of(os.environ)
    chosen = options.run_id or (run_id_of(os.environ, options.suffix) if isinstance(job, GitHubJob) else "")
    if chosen:
        body["id"] = chosen
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
        raise RunEnded(f"the run {run['id']} is in the store already, and has ended; {advice}")
    return str(run["id"])
