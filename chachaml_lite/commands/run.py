"""`chachaml-lite run -- COMMAND`: a command as a run, which begins and ends with it and has all that it printed."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from .. import strict_json
from ..client.base import OCTETS, ApiError, Client, Unreachable, build_path
from ..client.http import HttpClient
from ..config import Config
from ..errors import StoreUnusable
from .child import CannotStart, Capture, Ended, Interrupted, Signals, die_of, run_command
from .completion import experiments
from .errors import UNREACHABLE, USAGE, CommandError
from .options import option
from .printing import say
from .run_context import RecordedEnvironment, logged_load
from .runs import pair_of
from .targets import DEFAULT_URL, Target, answers, target_options

LOG_NAME = "log.txt"


@click.command(
    context_settings={"allow_interspersed_args": False},  # what follows COMMAND is its own, without the -- too
    short_help="Run a command as a run, and keep its output.",
    epilog="""\b
Examples:
  chachaml-lite run --experiment iris -- python train.py
  chachaml-lite run -e iris --param lr=0.01 --tag host="$(hostname)" -- sh -c 'echo "$CHACHAML_RUN_ID"'
  chachaml-lite run --data /tmp/runs --id try-1 -- make -j4
  chachaml-lite run --data /tmp/runs --resume try-1 -- make
""",
)
@target_options
@option(
    "--experiment",
    "-e",
    metavar="NAME",
    shell_complete=experiments,
    help="Experiment of the run.  [default: this folder's name]",
)
@click.option("--name", metavar="NAME", help="Name of the run.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="A tag of the run; may be repeated.")
@click.option(
    "--param",
    "params",
    metavar="KEY=VALUE",
    multiple=True,
    help="A param of the run; may be repeated. The value is JSON where it is some, else text.",
)
@click.option("--resume", metavar="ID", help="Go on with this run, which a requeued or preempted job was.")
@click.option("--id", "run_id", metavar="ID", help="Id of the run.  [default: one that the server makes]")
@click.option(
    "--parent",
    metavar="ID",
    envvar="CHACHAML_RUN_ID",
    show_envvar=True,
    help="The run that this one is a part of: within `chachaml-lite run` that is the outer one.",
)
@option("--no-env", is_flag=True, help="Don't record the command, the git commit, the Python and the machine.")
@option("--system-metrics", is_flag=True, help="Log the load of the machine, and of its GPUs, as system/...")
@option(
    "--system-interval",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    default=10.0,
    help="Between two readings of the load.",
)
@click.option("-q", "--quiet", is_flag=True, help="Don't say on stderr where the run is.")
@click.argument("command", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    target: Target,
    experiment: str | None,
    name: str | None,
    tags: tuple[str, ...],
    params: tuple[str, ...],
    resume: str | None,
    run_id: str | None,
    parent: str | None,
    no_env: bool,
    system_metrics: bool,
    system_interval: float,
    quiet: bool,
    command: tuple[str, ...],
) -> None:
    """Run a command as a run: started before it, ended with its exit code, with its output as the artifact log.txt.

    COMMAND finds the server in CHACHAML_URL, its run in CHACHAML_RUN_ID, and the token, where there is one, in
    CHACHAML_TOKEN. Its standard input is yours; its output is passed through as it comes, by a pipe, so that it
    sees no terminal (PYTHONUNBUFFERED=1 is set unless you set it). Signals are forwarded. When it fails, or a signal
    kills it, the run has failed.

    Where nothing is named, and no server answers on this machine, the run is written into ./artifacts by a
    server of its own, which lasts as long as the command; so it is with --data, into that folder. With --url (or
    CHACHAML_URL) there is no such way out: when nobody answers there, COMMAND isn't started.

    What is run is recorded in the run's environment: the command without secrets, the git commit and the uncommitted
    diff, the Python with its packages, the machine; no environment variables. A run that is resumed keeps what it has.

    With --resume a run that has ended goes on under its id; what COMMAND prints then is log-2.txt, log-3.txt ...

    The exit code is COMMAND's: 128+N when signal N killed it, 127 when it isn't found, 126 when it can't be run.
    A server that goes away meanwhile doesn't change it. Before COMMAND is started it is 2 or 3, as everywhere.
    """
    if resume is not None and (run_id is not None or name is not None):
        raise click.UsageError("--resume names a run, which has its id and its name; leave --id and --name out")
    # A folder may be named in another encoding than UTF-8; an experiment may not.
    here = Path.cwd().name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    fields: dict[str, Any] = {"experiment": experiment or here or "default", "tags": _pairs("--tag", tags)}
    fields |= {"name": name, "id": run_id, "parent_run_id": parent}
    fields = {key: value for key, value in fields.items() if value is not None}
    logged = {key: _value(text) for key, text in _pairs("--param", params).items()}
    environment = None if no_env or resume is not None else RecordedEnvironment(command)
    with _server_of(target) as (client, token, folder), _captured() as capture:
        if environment is not None:
            fields["env"] = environment.values()
        started = _started(client, fields, logged) if resume is None else _resumed(client, resume, fields, logged)
        log_name = LOG_NAME if resume is None else _free_log_name(client, started)
        if folder is not None and not quiet:
            say(f"run {started}, in {folder}; while it runs, see {client.url}/runs/{started}")
        added = {"CHACHAML_URL": client.url, "CHACHAML_RUN_ID": started}
        if token is not None:
            added["CHACHAML_TOKEN"] = token
        client.close()  # this may take days
        if environment is not None:
            environment.start_upload(client.url, token, started)
        with Signals() as signals:
            try:
                with logged_load(system_metrics, system_interval, client.url, token, started) as log_load_of:
                    ended = run_command(command, added, capture, signals, log_load_of)
                error = None if ended.killed_by is None else f"killed by {ended.killed_by.name}"
            except CannotStart as fault:
                ended, error = Ended(fault.code), str(fault)
                say(error)
            if ended.left_behind:
                say("what the command has left running still holds its output, which is not waited for")
            if environment is not None:
                environment.finish_upload()
            capture.keep = not _stored(client, started, log_name, capture, signals)
            _end(client, token, started, ended, error, where=None if quiet else _where(client, folder, started))
    if ended.killed_by is signal.SIGINT:
        die_of(signal.SIGINT)
    sys.exit(ended.code)


@contextlib.contextmanager
def _captured() -> Iterator[Capture]:
    try:
        capture = Capture()
    except OSError as fault:
        raise CommandError(
            f"there is no place for the command's output: {fault.strerror}; name a folder in TMPDIR", USAGE
        ) from fault
    with capture:
        yield capture


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """The values of `option`, each KEY=VALUE. Raises click.UsageError, also for a key that stands twice."""
    pairs = [pair_of(option, text) for text in texts]
    if len(dict(pairs)) < len(pairs):
        raise click.UsageError(f"{option} names a key twice; which one did you mean?")
    return dict(pairs)


def _value(text: str) -> Any:
    """A param as it was meant: 0.01 is a number, true a boolean, and what isn't JSON is text."""
    try:
        return strict_json.loads(text.encode("utf-8", "surrogateescape"))
    except strict_json.NotJson:
        return text


# -- the server


@contextlib.contextmanager
def _server_of(target: Target) -> Iterator[tuple[HttpClient, str | None, Path | None]]:
    """A client of the server that has the store, the token to use, and the folder where the server is one of ours.

    Raises Unreachable, ApiError.
    """
    data = target.data
    if data is None:
        if target.url is not None or answers(DEFAULT_URL):
            with HttpClient(target.url or DEFAULT_URL, target.token) as client:
                yield client, target.token, None
            return
        data = Config.data
    from ..server import CannotServe, Server  # which takes Flask and waitress

    try:
        server = Server(Config(data=data, host="127.0.0.1", port=0, quiet=True))
    except StoreUnusable as fault:
        if fault.owner is None:
            raise CommandError(fault.detail, UNREACHABLE) from fault
        raise CommandError(
            f"another server owns this store ({fault.owner}): name its URL with --url, or, for several runs at once, "
            "start `chachaml-lite serve` before them",
            UNREACHABLE,
        ) from fault
    except CannotServe as fault:
        raise CommandError(str(fault), UNREACHABLE) from fault
    with server.in_background(), HttpClient(server.url) as client:
        yield client, None, data


# -- the run


def _started(client: Client, fields: dict[str, Any], params: dict[str, Any]) -> str:
    """Start a run and log its params; its id. Raises ApiError, Unreachable."""
    try:
        run = client.post("/api/w/runs", fields)
    except ApiError as fault:
        if fault.status != 400 or "env" not in fields or "'env'" not in fault.detail:
            raise
        run = client.post("/api/w/runs", {key: value for key, value in fields.items() if key != "env"})  # an older one
    run_id = str(run["id"])
    if run["status"] != "running":
        raise CommandError(
            f"the run {run_id} has ended ({run['status']}) and takes no more; choose another --id", USAGE
        )
    if params:
        try:
            client.post(build_path("api", "w", "runs", run_id, "params"), params)
        except ApiError as fault:
            if fault.status != 409:  # a run that had params before was started by somebody else
                client.post(build_path("api", "w", "runs", run_id, "end"), {"status": "failed", "error": str(fault)})
            raise
    return run_id


def _resumed(client: Client, run_id: str, fields: dict[str, Any], params: dict[str, Any]) -> str:
    """Have an ended run go on, with tags and params added; its id. Raises ApiError, Unreachable."""
    path = ("api", "w", "runs", run_id)
    client.ask("POST", build_path(*path, "resume")).json()
    if fields["tags"]:
        client.post(build_path(*path, "tags"), fields["tags"])
    if params:
        client.post(build_path(*path, "params"), params)
    return run_id


def _free_log_name(client: Client, run_id: str) -> str:
    """The name of the next log: log.txt, log-2.txt where that is taken. Raises ApiError, Unreachable."""
    taken = {artifact["name"] for artifact in client.get(build_path("api", "runs", run_id, "artifacts"))}
    stem, dot, end = LOG_NAME.partition(".")
    names = (LOG_NAME if number == 1 else f"{stem}-{number}{dot}{end}" for number in itertools.count(1))
    return next(name for name in names if name not in taken)


def _stored(client: Client, run_id: str, log_name: str, capture: Capture, signals: Signals) -> bool:
    """Upload the log; whether it is there now. If not it is said why, and where it is kept."""
    if capture.fault is not None:
        say(f"the end of the output is missing in {log_name}: {capture.fault.strerror}")
    file, size = capture.rewound()
    path = build_path("api", "w", "runs", run_id, "artifacts")
    try:
        with signals.interruptible():
            client.ask("POST", path, [("name", log_name)], body=file, length=size, content_type=OCTETS).json()
    except Interrupted:
        say(f"{log_name} is not stored, for a signal came; it is kept as {capture.path}")
    except (ApiError, Unreachable) as fault:
        say(f"{log_name} is not stored: {fault}; it is kept as {capture.path}")
    else:
        return True
    return False


def _where(client: Client, folder: Path | None, run_id: str) -> str:
    """The place where the run can be seen from now on."""
    if folder is None:
        return f"{client.url}/runs/{run_id}"
    return f"chachaml-lite show {run_id} --data {shlex.quote(str(folder))}"


def _end(client: Client, token: str | None, run_id: str, ended: Ended, error: str | None, where: str | None) -> None:
    """End the run as its command has ended, and say `where` it is."""
    path = build_path("api", "w", "runs", run_id, "end")
    status = "failed" if ended.code else "completed"
    try:
        if error is None:
            client.ask("POST", path, [("exit_code", str(ended.code))]).json()
        else:
            client.post(path, {"status": "failed", "error": error})
    except ApiError as fault:
        say(f"the run {run_id} can't be ended as {status}: {fault}")
        return
    except Unreachable:
        bearer = "" if token is None else ' -H "Authorization: Bearer $CHACHAML_TOKEN"'
        command = f"curl -X POST '{client.url}{path}?exit_code={ended.code}'{bearer}"
        say(f"the run {run_id} is not ended; once its server is back, this does: {command}")
        return
    if where is not None:
        say(f"run {run_id} {status}: {where}")
