"""The services of an app for its views: the tracker, and the settings that HTTP needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from flask import Flask, current_app, request

from ..tracking.tracker import Tracker

_KEY = "chachaml_lite"
#: The key, in a request's environ, that marks it as one of a command, which no server received.
WITHOUT_SERVER = "chachaml_lite.unserved"


@dataclass(frozen=True)
class Dialect:
    """Another protocol on some paths: the parts that are needed outside its own views."""

    #: The prefixes of its paths.
    prefixes: tuple[str, ...]
    #: Returns status and JSON body of an error, given our status and detail and the exception.
    error_body: Callable[[int, str, Exception], tuple[int, dict[str, str]]]
    #: The paths of POSTs that only read.
    reads: frozenset[str]
    #: Returns the response's body for a frequent request, or None if Flask is to handle it.
    answer_fast: Callable[[dict[str, Any], Services], bytes | None]

    def covers(self, path: str) -> bool:
        """Return whether a path belongs to the protocol, even if it is unknown."""
        return path.startswith(self.prefixes)


@dataclass(frozen=True)
class Services:
    """The tracker and settings for views. Sizes are in bytes; None means no limit."""

    tracker: Tracker
    version: str
    allowed_hosts: frozenset[str]
    token: str | None
    #: The origin that browsers use, "https://tracker.example.org"; None: that of the request.
    public_url: str | None
    read_only: bool
    max_json_bytes: int
    max_upload_bytes: int | None
    dialect: Dialect | None = None


def provide(app: Flask, services: Services) -> None:
    """Set the services of `app`."""
    app.extensions[_KEY] = services


def services_of(app: Flask) -> Services:
    """Return the services of `app`."""
    return cast(Services, app.extensions[_KEY])


def services() -> Services:
    """Return the services of the current app."""
    return services_of(current_app)


def tracker() -> Tracker:
    """Return the tracker of the current app."""
    return services().tracker


def is_served() -> bool:
    """Return whether the pages are available; they aren't if a command reads a folder in its own process."""
    return WITHOUT_SERVER not in request.environ


def origin() -> str:
    """Return the external origin of the server."""
    return services().public_url or request.host_url.rstrip("/")


def base_url() -> str:
    """Return the external URL of the server, with --url-prefix, without a trailing slash."""
    return origin() + request.script_root


def command_context() -> dict[str, str]:
    """Return the template context of shell commands: `host`, the base URL, and `auth`, curl's option for the token."""
    auth = "" if services().token is None else ' -H "Authorization: Bearer $CHACHAML_TOKEN"'
    return {"host": base_url(), "auth": auth}
