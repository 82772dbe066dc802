"""`chachaml-lite serve`: flags and environment to a Config, and a server until it is told to stop."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from .. import __version__
from ..config import FSYNC_MODES, LOOPBACK_HOSTS, Config
from ..errors import StoreUnusable
from ..text.log import LogFormatter
from .errors import CommandError
from .options import option

#: Characters that stand in a URL, a cookie's path and a proxy's configuration as they are.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~@-]+)+\Z")


@click.command(
    epilog="""\b
Examples:
  chachaml-lite serve
  chachaml-lite serve --port 0 --data /tmp/runs --ready-file /tmp/url
"""
)
@option("--host", default=Config.host, help="Address to listen on; localhost is 127.0.0.1 and ::1.")
@option("--port", default=Config.port, type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one.")
@option(
    "--data", default=Path("artifacts"), type=click.Path(path_type=Path), help="Folder of the store; made if missing."
)
@option(
    "--token",
    help="Demand this token on every request: Authorization: Bearer TOKEN. Other users of the machine see it in the "
    "list of processes.",
)
@option("--token-file", type=click.File(), metavar="FILE", help="Read the token from this file; - is standard input.")
@option("--no-token", is_flag=True, help="Allow a --host that others can reach without a token. They can then write.")
@option("--allowed-host", multiple=True, help="Name or address that this server is also reached by; may be repeated.")
@option(
    "--public-url",
    metavar="URL",
    help="Where people reach the server when a proxy stands before it, as in https://tracker.example.org or https://example.org/tracker.",
)
@option(
    "--url-prefix",
    metavar="PATH",
    help="Path that everything is served below, as in /tracker; the path of --public-url says the same.",
)
@option(
    "--fsync",
    default=Config.fsync,
    type=click.Choice(FSYNC_MODES),
    help="What outlives a power cut: always, all that was answered; everysec, the same but for a second of metrics; "
    "no, what the system happened to write.",
)
@option(
    "--read-only",
    is_flag=True,
    help="Take no writes, and write nothing: for a store on a disk that can't be written, or a copy to show.",
)
@option(
    "--max-upload", type=click.IntRange(0), metavar="BYTES", help="Largest artifact.  [default: what the disk takes]"
)
@option("--max-json", default=Config.max_json_bytes, type=click.IntRange(1), metavar="BYTES", help="Largest JSON body.")
@option(
    "--series-cache",
    default=Config.series_cache_bytes,
    type=click.IntRange(0),
    metavar="BYTES",
    help="Memory for series that were shown, to show them again at once.",
)
@option("--no-mlflow", is_flag=True, help="Do not answer MLflow's clients, which this server does by default.")
@option("--threads", default=Config.threads, type=click.IntRange(1, 64), help="Requests handled at once.")
@option("--ready-file", type=click.Path(path_type=Path), help="File that gets the URL once requests are taken.")
@option("--quiet", is_flag=True, help="No log line for each request.")
def serve(
    host: str,
    port: int,
    data: Path,
    token: str | None,
    token_file: TextIO | None,
    no_token: bool,
    allowed_host: tuple[str, ...],
    public_url: str | None,
    url_prefix: str | None,
    fsync: str,
    read_only: bool,
    max_upload: int | None,
    max_json: int,
    series_cache: int,
    no_mlflow: bool,
    threads: int,
    ready_file: Path | None,
    quiet: bool,
) -> None:
    """Serve a store over HTTP, until SIGTERM or Ctrl-C.

    It prints its URL once it listens, and then a line for each request. Its page /docs/settings explains the options.
    """
    from ..server import CannotServe, Server  # which takes Flask and waitress: the other commands start without

    host = host.strip("[]")
    token = _token(token, token_file)
    prefix = _prefix("--url-prefix", url_prefix or "")
    if public_url is not None:
        public_url, path = _origin_and_path(public_url)
        if prefix and prefix != path:
            raise click.UsageError(
                f"--url-prefix is {prefix}, and the path of --public-url is {path or '/'}; "
                f"people reach the server by the same path: --public-url {public_url}{prefix} says both"
            )
        prefix = path
    if host not in LOOPBACK_HOSTS and token is None:
        if not no_token:
            raise click.UsageError(
                f"--host {host} lets other machines in. Set --token-file (or CHACHAML_TOKEN), "
                "or say --no-token to let anybody write"
            )
        click.echo(f"warning: anybody who reaches {host} can read and write this store (--no-token)", err=True)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # A queue is what threads are for; waitress warns of each request that waits for one.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    config = Config(
        data=data,
        host=host,
        port=port,
        token=token,
        allowed_hosts=allowed_host,
        public_url=public_url,
        url_prefix=prefix,
        fsync=fsync,
        read_only=read_only,
        max_upload_bytes=max_upload,
        max_json_bytes=max_json,
        series_cache_bytes=series_cache,
        mlflow=not no_mlflow,
        threads=threads,
        quiet=quiet,
    )
    try:
        server = Server(config)
    except CannotServe as fault:
        raise CommandError(str(fault)) from fault
    except StoreUnusable as fault:
        raise CommandError(fault.detail) from fault
    runs = "1 run" if server.run_count == 1 else f"{server.run_count} runs"
    reached = server.url if public_url is None else f"{server.url}, for others {public_url}{prefix}"
    line = f"chachaml-lite {__version__} on {reached}, data in {data} ({runs})"
    try:
        server.run(ready_file, announce=lambda: click.echo(line))  # which flushes
    except CannotServe as fault:
        raise CommandError(str(fault)) from fault


def _token(token: str | None, file: TextIO | None) -> str | None:
    """The token of the server, without the space around it; None for none. Raises click.UsageError.

    What is typed as an option beats a variable: CHACHAML_TOKEN may be there for curl.
    """
    typed = {
        name
        for name in ("token", "token_file")
        if click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if file is not None and token is not None and typed != {"token"}:
        if typed != {"token_file"}:
            raise click.UsageError("the token stands in --token and in --token-file; say one of them")
        token = None
    if token is None and file is not None:
        try:
            token = file.read()
        except (OSError, UnicodeDecodeError) as fault:
            raise click.UsageError(f"can't read the token in {file.name}: {fault}") from fault
        if not token.strip():
            raise click.UsageError(f"the token is empty: there is none in {file.name}")
    if token is not None and not token.strip():
        raise click.UsageError("the token is empty; leave --token out to have none")
    if "token" in typed:
        click.echo(
            "warning: every user of this machine can read --token in the list of processes; "
            "use --token-file FILE, or the variable CHACHAML_TOKEN",
            err=True,
        )
    return None if token is None else token.strip()


def _prefix(option_name: str, path: str) -> str:
    """The path that everything is served below, "/tracker"; "" for none. Raises click.UsageError."""
    prefix = "/" + path.strip().strip("/")
    if prefix == "/":
        return ""
    if not _PREFIX.match(prefix) or {".", ".."} & set(prefix.split("/")):
        raise click.UsageError(
            f"{option_name} must have a path as in /tracker, of letters, digits and - . _ ~ @, and it is {path!r}"
        )
    return prefix


def _origin_and_path(url: str) -> tuple[str, str]:
    """The origin that a --public-url has, as browsers write it, and its path. Raises click.UsageError."""
    try:
        split = urlsplit(url.strip())
        host, port = split.hostname or "", split.port
    except ValueError as fault:
        raise click.UsageError(f"--public-url {url}: {fault}") from fault
    if split.scheme not in ("http", "https") or not host or "@" in split.netloc or split.query or split.fragment:
        raise click.UsageError(f"--public-url must be a URL as in https://tracker.example.org, and it is {url!r}")
    name = f"[{host}]" if ":" in host else host
    shown_port = "" if port in (None, {"http": 80, "https": 443}[split.scheme]) else f":{port}"
    return f"{split.scheme}://{name}{shown_port}", _prefix("--public-url", split.path)
