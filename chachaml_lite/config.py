"""Every setting, with its unit and its reason. Built by `cli`, read by `app` and `server`, passed down as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FSYNC_MODES = ("always", "everysec", "no")

#: Hosts that mean this machine, whatever address the server is bound to.
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Config:
    """The settings of one server. The defaults are those of `chachaml-lite serve`."""

    data: Path = Path("artifacts")
    host: str = "localhost"
    port: int = 8080
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    #: The origin that browsers reach the server by, where that isn't the one it listens on: "https://tracker.example.org".
    public_url: str | None = None
    #: The path that everything is served below, "/tracker"; "" for none.
    url_prefix: str = ""
    #: When written bytes are forced to the disk (the contract, section 5).
    fsync: str = "everysec"
    #: Take no writes, and need no right to write in the data folder.
    read_only: bool = False
    #: Artifact uploads, in bytes; None: as much as the disk takes. A model of 5 GB is normal.
    max_upload_bytes: int | None = None
    #: JSON and NDJSON bodies, in bytes. They are parsed in memory, so they have a bound: about 200,000 points.
    max_json_bytes: int = 10_000_000
    #: Parsed series that are kept to be shown again, in bytes; a point takes 24. Two series of a million points fit.
    series_cache_bytes: int = 64_000_000
    #: Requests handled at once. Each is short (uploads are received before a thread is taken, downloads
    #: are sent after it is given back), and more threads only contend for the interpreter's lock: four let
    #: a slow read of a long series pass while three go on.
    threads: int = 4
    #: Whether MLflow's clients are answered, at /api/2.0/mlflow and the paths beside it.
    mlflow: bool = True
    #: No line for each request in the log.
    quiet: bool = False
