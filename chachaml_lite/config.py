"""All settings, with units and reasons. Created by `cli`, read by `app` and `server`, passed down as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FSYNC_MODES = ("always", "everysec", "no")

#: Names of this machine, whatever address the server is bound to.
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Config:
    """The settings of one server. The defaults are those of `chachaml-lite serve`."""

    data: Path = Path("artifacts")
    host: str = "localhost"
    port: int = 8080
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    #: The origin that browsers use if it differs from the server's own: "https://tracker.example.org".
    public_url: str | None = None
    #: The path below which everything is served, "/tracker"; "" for none.
    url_prefix: str = ""
    #: When written bytes are synced to disk: always, every second, or never.
    fsync: str = "everysec"
    #: Refuse writes, and need no permission to write to the data folder.
    read_only: bool = False
    #: The largest artifact in bytes; None: limited by the disk. A model of 5 GB is normal.
    max_upload_bytes: int | None = None
    #: The largest JSON or NDJSON body in bytes. Bodies are parsed in memory; this is enough for about 200,000 points.
    max_json_bytes: int = 10_000_000
    #: The cache of parsed series, in bytes; a point takes 24. Two series of a million points fit.
    series_cache_bytes: int = 64_000_000
    #: Requests handled concurrently. Each is short (uploads are received before a thread is used, and downloads are
    #: sent after it is released), and more threads only contend for the interpreter's lock: with four, three go on
    #: while one reads a long series.
    threads: int = 4
    #: Whether to serve MLflow's protocol, at /api/2.0/mlflow and related paths.
    mlflow: bool = True
    #: Don't log requests.
    quiet: bool = False
