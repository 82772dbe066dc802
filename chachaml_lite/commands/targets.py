"""The target of a command: the server at --url or the folder at --data, and the errors of both.

An option takes precedence over the environment, and of two variables the URL wins: in `chachaml-lite run` and in a CI
job it is the server that owns the store. The default is the server on this machine.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..client.base import ApiError, Client, NoServer, Unreachable
from ..client.http import ANSWER_SECONDS, BadTarget, HttpClient
from ..config import Config
from .errors import UNREACHABLE, USAGE, CommandError, describe
from .options import option

DEFAULT_URL = f"http://{Config.host}:{Config.port}"
#: Seconds for the probe of the default server, whose port may belong to another program.
_PROBE_SECONDS = 5


@dataclass(frozen=True)
class Target:
    """A store: a server's `url`, else the folder `data`, else `DEFAULT_URL`."""

    url: str | None
    data: Path | None
    token: str | None

    def open_client(self, *, writes: bool = False, answer_seconds: float = ANSWER_SECONDS) -> Client:
        """Return a client, with a timeout for a server's responses. Raises Unreachable, BadTarget."""
        if self.data is None:
            return HttpClient(self.url or DEFAULT_URL, self.token, answer_seconds)
        from ..client.folder import FolderClient  # imports Flask, without which commands start twice as fast

        return FolderClient(self.data, writes=writes)


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --url, --data and --token to a command, which gets them as its argument `target`."""

    @option("--url", metavar="URL", help=f"URL of the server.  [default: {DEFAULT_URL}]")
    @option("--data", type=click.Path(path_type=Path), help="Use this folder directly, without a server.")
    @option("--token", metavar="TOKEN", help="Token of the server, if it has one.")
    @functools.wraps(command)
    def with_target(url: str | None, data: Path | None, token: str | None, **others: Any) -> None:
        target = choose_target(click.get_current_context(), url, data, token)
        with report_errors():
            command(target=target, **others)

    return with_target


def choose_target(context: click.Context, url: str | None, data: Path | None, token: str | None) -> Target:
    """Return the target of a command's options and variables. Raises click.UsageError if both options are given."""
    if url is not None and data is not None:
        from_command_line = [
            name for name in ("url", "data") if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]
        if len(from_command_line) == 2:
            raise click.UsageError("--url is a server and --data a folder; use one of them")
        url, data = (None, data) if from_command_line == ["data"] else (url, None)
    return Target(url, data, token)


def is_reachable(url: str) -> bool:
    """Return whether a chachaml-lite server responds, with or without a token."""
    with HttpClient(url, answer_seconds=_PROBE_SECONDS) as client:
        try:
            return bool(client.get("/api/health")["version"])
        except (Unreachable, ApiError, KeyError, TypeError):
            return False


def client_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the same options to a read-only command, which gets a `client` that is closed afterwards."""

    @target_options
    @functools.wraps(command)
    def with_client(target: Target, **others: Any) -> None:
        die_at_interrupt()
        with target.open_client() as client:
            command(client=client, **others)

    return with_client


def die_at_interrupt() -> None:
    """Let Ctrl-C kill this process like any other: with click it would exit with 1, which has another meaning."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def report_errors() -> Iterator[None]:
    """Convert errors of the client into a CommandError with an exit code."""
    try:
        yield
    except BadTarget as fault:
        raise CommandError(str(fault), USAGE) from fault
    except ApiError as fault:
        raise CommandError(describe(fault), USAGE if fault.status < 500 else UNREACHABLE) from fault
    except NoServer as fault:
        folder = f"; --data {Config.data} shows the runs in that folder" if (Config.data / "runs").is_dir() else ""
        raise CommandError(
            f"{fault}; start one with `chachaml-lite serve`, or use --url for another one, or --data for a folder"
            + folder,
            UNREACHABLE,
        ) from fault
    except Unreachable as fault:
        raise CommandError(str(fault), UNREACHABLE) from fault
