"""What `app` hands to the views: the tracker, and the few settings that HTTP needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app, request

from ..tracking.tracker import Tracker

_KEY = "chachaml_lite"


@dataclass(frozen=True)
class Services:
    """What the views work with. Sizes in bytes; None: no limit."""

    tracker: Tracker
    version: str
    allowed_hosts: frozenset[str]
    token: str | None
    #: The origin that browsers reach the server by, "https://tracker.example.org"; None: the one that was just called.
    public_url: str | None
    read_only: bool
    max_json_bytes: int
    max_upload_bytes: int | None


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


def base_url() -> str:
    """The URL that the server is reached by from outside, without a slash at the end."""
    return services().public_url or request.host_url.rstrip("/")


def for_commands() -> dict[str, str]:
    """What templates with commands for a shell need: `host` to call, and `auth`, curl's for the token."""
    auth = "" if services().token is None else ' -H "Authorization: Bearer $CHACHAML_TOKEN"'
    return {"host": base_url(), "auth": auth}
