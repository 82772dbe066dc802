"""`chachaml-lite serve`: build a Config from options and environment, and run a server until a signal stops it."""

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

#: Characters that need no escaping in a URL, a cookie's path or a proxy's configuration.
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
    "--data",
    default=Path("artifacts"),
    type=click.Path(path_type=Path),
    help="Folder of the store; created if missing.",
)
@option(
    "--token",
    help="Require this token in every request: Authorization: Bearer TOKEN. Other users of the machine can see it in "
    "the list of processes.",
)
@option("--token-file", type=click.File(), metavar="FILE", help="Read the token from this file; - is standard input.")
@option("--no-token", is_flag=True, help="Allow a --host that others can reach without a token. They can then write.")
@option("--allowed-host", multiple=True, help="Another name or address of this server; may be repeated.")
@option(
    "--public-url",
    metavar="URL",
    help="URL of the server behind a proxy, such as https://tracker.example.org or https://example.org/tracker.",
)
@option(
    "--url-prefix",
    metavar="PATH",
    help="Path below which everything is served, such as /tracker; taken from --public-url by default.",
)
@option(
    "--fsync",
    default=Config.fsync,
    type=click.Choice(FSYNC_MODES),
    help="What survives a power cut: always, every acknowledged write; everysec, the same except for one second of "
    "metrics; no, whatever the system has written by then.",
)
@option(
    "--read-only",
    is_flag=True,
    help="Refuse writes and write nothing: for a store on a read-only disk, or a copy for viewing.",
)
@option(
    "--max-upload", type=click.IntRange(0), metavar="BYTES", help="Largest artifact.  [default: limited by the disk]"
)
@option("--max-json", default=Config.max_json_bytes, type=click.IntRange(1), metavar="BYTES", help="Largest JSON body.")
@option(
    "--series-cache",
    default=Config.series_cache_bytes,
    type=click.IntRange(0),
    metavar="BYTES",
    help="Memory for caching series of points.",
)
@option("--no-mlflow", is_flag=True, help="Don't serve MLflow's protocol.")
@option("--threads", default=Config.threads, type=click.IntRange(1, 64), help="Requests handled concurrently.")
@option("--ready-file", type=click.Path(path_type=Path), help="File to write the URL to once the server is ready.")
@option("--quiet", is_flag=True, help="Don't log requests.")
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

    It prints its URL once it listens, then a line for each request. The page /docs/settings explains the options.
    """
    from ..server import CannotServe, Server  # imports Flask and waitress, which the other commands don't need

    host = host.strip("[]")
    token = _read_token(token, token_file)
    prefix = _parse_prefix("--url-prefix", url_prefix or "")
    if public_url is not None:
        public_url, path = _split_public_url(public_url)
        if prefix and prefix != path:
            raise click.UsageError(
                f"--url-prefix is {prefix}, but the path of --public-url is {path or '/'}; "
                f"use one path for both: --public-url {public_url}{prefix}"
            )
        prefix = path
    if host not in LOOPBACK_HOSTS and token is None:
        if not no_token:
            raise click.UsageError(
                f"--host {host} is reachable from other machines. Set --token-file (or CHACHAML_TOKEN), "
                "or use --no-token to let anyone write"
            )
        click.echo(f"warning: anyone who can reach {host} can read and write this store (--no-token)", err=True)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # Requests waiting for a thread are normal; waitress would warn about each of them.
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
    addresses = server.url if public_url is None else f"{server.url}, for others {public_url}{prefix}"
    line = f"chachaml-lite {__version__} on {addresses}, data in {data} ({runs})"
    try:
        server.run(ready_file, announce=lambda: click.echo(line))  # click.echo flushes
    except CannotServe as fault:
        raise CommandError(str(fault)) from fault


def _read_token(token: str | None, file: TextIO | None) -> str | None:
    """Return the server's token, stripped, or None. Raises click.UsageError.

    An option takes precedence over a variable: CHACHAML_TOKEN may be set for curl.
    """
    from_command_line = {
        name
        for name in ("token", "token_file")
        if click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if file is not None and token is not None and from_command_line != {"token"}:
        if from_command_line != {"token_file"}:
            raise click.UsageError("--token and --token-file are both set; use one of them")
        token = None
    if token is None and file is not None:
        try:
            token = file.read()
        except (OSError, UnicodeDecodeError) as fault:
            raise click.UsageError(f"cannot read the token from {file.name}: {fault}") from fault
        if not token.strip():
            raise click.UsageError(f"the token is empty: {file.name} has none")
    if token is not None and not token.strip():
        raise click.UsageError("the token is empty; leave out --token to run without one")
    if "token" in from_command_line:
        click.echo(
            "warning: other users of this machine can see --token in the list of processes; "
            "use --token-file FILE or the variable CHACHAML_TOKEN",
            err=True,
        )
    return None if token is None else token.strip()


def _parse_prefix(option_name: str, path: str) -> str:
    """Return the path below which everything is served, "/tracker", or "". Raises click.UsageError."""
    prefix = "/" + path.strip().strip("/")
    if prefix == "/":
        return ""
    if not _PREFIX.match(prefix) or {".", ".."} & set(prefix.split("/")):
        raise click.UsageError(
            f"{option_name} must have a path such as /tracker, of letters, digits and - . _ ~ @, not {path!r}"
        )
    return prefix


def _split_public_url(url: str) -> tuple[str, str]:
    """Split --public-url into its origin, as browsers write it, and its path. Raises click.UsageError."""
    try:
        split = urlsplit(url.strip())
        host, port = split.hostname or "", split.port
    except ValueError as fault:
        raise click.UsageError(f"--public-url {url}: {fault}") from fault
    if split.scheme not in ("http", "https") or not host or "@" in split.netloc or split.query or split.fragment:
        raise click.UsageError(f"--public-url must be a URL such as https://tracker.example.org, not {url!r}")
    name = f"[{host}]" if ":" in host else host
    port_suffix = "" if port in (None, {"http": 80, "https": 443}[split.scheme]) else f":{port}"
    return f"{split.scheme}://{name}{port_suffix}", _parse_prefix("--public-url", split.path)
