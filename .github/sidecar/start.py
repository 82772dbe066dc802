"""The step that starts a server for the job, and in it, where an experiment is named, the job's run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import job
import server
from api import Api, Refused

#: The contract's, section 2, "Run ids".
MAX_ID_CHARACTERS = 128


def run_id(variables: Mapping[str, str], suffix: str) -> str:
    """The id of the run of a job, the same each time it is asked for: gh-<run id>-<attempt>-<job>-<suffix>.

    What can't stand in an id becomes a dash. Where that, a length or an underscore between two values could make two
    jobs' ids alike, a hash of what they were is added.
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
    """The values of a matrix, which comes as JSON; of another text, that itself."""
    try:
        matrix = json.loads(suffix)
    except ValueError:
        matrix = suffix
    if isinstance(matrix, dict):
        return [each if isinstance(each, str) else json.dumps(each) for each in matrix.values()]
    return [suffix] if suffix and matrix is not None else []


def tags(variables: Mapping[str, str]) -> dict[str, str]:
    """Where the run comes from."""
    found = {
        "sha": variables.get("GITHUB_SHA"),
        "ref": variables.get("GITHUB_REF"),
        "actor": variables.get("GITHUB_ACTOR"),
        "workflow": variables.get("GITHUB_WORKFLOW"),
        "url": _url(variables),
    }
    return {key: value for key, value in found.items() if value}


def _url(variables: Mapping[str, str]) -> str | None:
    parts = [variables.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    if not all(parts):
        return None
    return "{}/{}/actions/runs/{}".format(*parts) + f"/attempts/{variables.get('GITHUB_RUN_ATTEMPT', '1')}"


def past_proxies(variables: Mapping[str, str]) -> dict[str, str]:
    """no_proxy with this machine in it, where the job has a proxy: it would be asked for our server, and know none."""
    if not {name.lower() for name, value in variables.items() if value} & {"http_proxy", "https_proxy", "all_proxy"}:
        return {}
    hosts = [host.strip() for name in ("no_proxy", "NO_PROXY") for host in variables.get(name, "").split(",")]
    known = [host for host in dict.fromkeys([*hosts, "localhost", "127.0.0.1", "::1"]) if host]
    value = "*" if "*" in known else ",".join(known)
    return {"no_proxy": value, "NO_PROXY": value}


def start_run(api: Api, experiment: str) -> str:
    """Start the job's run; its id. Raises Refused."""
    chosen = run_id(os.environ, job.given("SUFFIX"))
    body = {"id": chosen, "experiment": experiment, "tags": tags(os.environ)}
    if job.given("NAME"):
        body["name"] = job.given("NAME")
    advice = "another use of the action in one job needs another suffix"
    try:
        started = api.post("w", "runs", body=body)
    except Refused as fault:
        if fault.status == 409:
            raise Refused(409, {"detail": f"{fault}; {advice}"}) from fault
        raise
    if started["status"] != "running":
        raise Refused(409, {"detail": f"the run {chosen} is in the store already, and has ended; {advice}"})
    return chosen


def main() -> int:
    secret = server.token()
    if not secret.isprintable():
        job.annotate("error", "the token holds a line break or another control character; no header can bear it")
        return 1
    if secret:
        job.mask(secret)
    before = server.started()
    if before is not None and before.is_alive():
        job.annotate("error", f"this job has a server already, on {before.url}; end that one with .../finish first")
        return 1
    (job.home() / "finished.json").unlink(missing_ok=True)
    data = Path(os.environ.get("GITHUB_WORKSPACE", "."), job.given("DATA") or job.home() / "artifacts").absolute()
    try:
        running = server.start(data, job.given("PORT") or "0")
    except server.NotStarted as fault:
        job.annotate("error", str(fault))
        return 1
    job.export("CHACHAML_URL", running.url)
    if secret:
        job.export("CHACHAML_TOKEN", secret)
    for name, value in past_proxies(os.environ).items():
        job.export(name, value)
    job.set_output("url", running.url)
    job.set_output("data", running.data)
    job.say(f"chachaml-lite takes requests on {running.url}")
    if job.given("EXPERIMENT"):
        try:
            started = start_run(running.api(), job.given("EXPERIMENT"))
        except Refused as fault:
            job.annotate("error", f"the run could not be started: {fault}")
            return 1
        job.export("CHACHAML_RUN_ID", started)
        job.set_output("run-id", started)
        job.say(f"Its run is {started}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
