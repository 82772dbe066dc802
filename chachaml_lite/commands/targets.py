"""The target of a command: the server that --url names, or the folder that --data names; and its end without answer.

An option beats the environment, and of two variables the URL wins: within `chachaml-lite run` and in a CI job that is
the server which has the store. Where nothing is named it is the server on this machine.
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
#: How long the server that runs here by default may take to say that it is one; another program may have its port.
_PROBE_SECONDS = 5


@dataclass(frozen=True)
class Target:
    """The store to ask: a server's `url`, else the folder `data`, else, with neither named, `DEFAULT_URL`."""

    url: str | None
    data: Path | None
    token: str | None

    def opened(self, *, writes: bool = False, answer_seconds: float = ANSWER_SECONDS) -> Client:
        """A client for it, which waits so long for a server's answer. Raises Unreachable, BadTarget."""
        if self.data is None:
            return HttpClient(self.url or DEFAULT_URL, self.token, answer_seconds)
        from ..client.folder import FolderClient  # which takes Flask: asking a server starts twice as fast without

        return FolderClient(self.data, writes=writes)


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --url, --data and --token, and hand it what they name as its argument `target`."""

    @option("--url", metavar="URL", help=f"The server to ask.  [default: {DEFAULT_URL}]")
    @option("--data", type=click.Path(path_type=Path), help="Ask this folder itself instead; no server is needed.")
    @option("--token", metavar="TOKEN", help="The server's token, where it has one.")
    @functools.wraps(command)
    def with_target(url: str | None, data: Path | None, token: str | None, **others: Any) -> None:
        target = target_of(click.get_current_context(), url, data, token)
        with report_errors():
            command(target=target, **others)

    return with_target


def target_of(context: click.Context, url: str | None, data: Path | None, token: str | None) -> Target:
    """The target that a command's options and variables name. Raises click.UsageError where two options do."""
    if url is not None and data is not None:
        typed = [name for name in ("url", "data") if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if len(typed) == 2:
            raise click.UsageError("--url names a server and --data a folder; say one of them")
        url, data = (None, data) if typed == ["data"] else (url, None)
    return Target(url, data, token)


def answers(url: str) -> bool:
    """Whether a server of ours is there; with a token or without."""
    with HttpClient(url, answer_seconds=_PROBE_SECONDS) as client:
        try:
            return bool(client.get("/api/health")["version"])
        except (Unreachable, ApiError, KeyError, TypeError):
            return False


def client_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that only reads the same options, and a `client` that is closed after it."""

    @target_options
    @functools.wraps(command)
    def with_client(target: Target, **others: Any) -> None:
        die_at_interrupt()
        with target.opened() as client:
            command(client=client, **others)

    return with_client


def die_at_interrupt() -> None:
    """Have Ctrl-C end this process as it ends any other: click would make it exit code 1, and that means something."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn an answer that is an error, or none, into the CommandError of its exit code."""
    try:
        yield
    except BadTarget as fault:
        raise CommandError(str(fault), USAGE) from fault
    except ApiError as fault:
        raise CommandError(describe(fault), USAGE if fault.status < 500 else UNREACHABLE) from fault
    except NoServer as fault:
        folder = f"; --data {Config.data} shows the runs in that folder" if (Config.data / "runs").is_dir() else ""
        raise CommandError(
            f"{fault}; start one with `chachaml-lite serve`, or name another with --url, or a folder with --data"
            + folder,
            UNREACHABLE,
        ) from fault
    except Unreachable as fault:
        raise CommandError(str(fault), UNREACHABLE) from fault
