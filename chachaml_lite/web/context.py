"""The services of an app, for its views: the tracker, and the few settings that HTTP needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from flask import Flask, current_app, request

from ..tracking.tracker import Tracker

_KEY = "chachaml_lite"
#: In the WSGI environment of a request that no server has received.
UNSERVED = "chachaml_lite.unserved"


@dataclass(frozen=True)
class Dialect:
    """Another protocol that is spoken on some paths: what of it concerns requests before, or beside, its own views."""

    #: What its paths begin with.
    prefixes: tuple[str, ...]
    #: The status and the JSON body of an error there, made of our own status and detail and of what was raised.
    error_body: Callable[[int, str, Exception], tuple[int, dict[str, str]]]
    #: The paths of its POSTs that only read.
    reads: frozenset[str]
    #: The body of the answer to a frequent request, by its WSGI environment; None: Flask is to answer.
    answer_fast: Callable[[dict[str, Any], Services], bytes | None]

    def covers(self, path: str) -> bool:
        """Whether a path is one of its own, a known one or not."""
        return path.startswith(self.prefixes)


@dataclass(frozen=True)
class Services:
    """The tracker and the settings that views need. Sizes are in bytes; None means no limit."""

    tracker: Tracker
    version: str
    allowed_hosts: frozenset[str]
    token: str | None
    #: The origin that browsers reach the server by, "https://tracker.example.org"; None: the one that was just called.
    public_url: str | None
    read_only: bool
    max_json_bytes: int
    max_upload_bytes: int | None
    dialect: Dialect | None = None


def provide(app: Flask, services: Services) -> None:
    """Make `services` those of `app`."""
    app.extensions[_KEY] = services


def services_of(app: Flask) -> Services:
    """The services of `app`."""
    return cast(Services, app.extensions[_KEY])


def services() -> Services:
    """The services of the app that is handling the request."""
    return services_of(current_app)


def tracker() -> Tracker:
    """The tracker of the app that is handling the request."""
    return services().tracker


def is_served() -> bool:
    """Whether the pages can be looked at; not where a command has asked a folder, in its own process."""
    return UNSERVED not in request.environ


def origin() -> str:
    """The scheme, host and port that the server is reached by from outside."""
    return services().public_url or request.host_url.rstrip("/")


def base_url() -> str:
    """The URL that the server is reached by from outside, with --url-prefix, without a slash at the end."""
    return origin() + request.script_root


def for_commands() -> dict[str, str]:
    """Return the context of shell commands in templates: `host`, the base URL; `auth`, curl's option for the token."""
    auth = "" if services().token is None else ' -H "Authorization: Bearer $CHACHAML_TOKEN"'
    return {"host": base_url(), "auth": auth}
