"""MLflow's responses: errors with an error_code, page tokens, and objects without empty fields."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, TypeVar

from flask import Response
from werkzeug.exceptions import HTTPException, NotFound

from .. import errors, strict_json
from ..web import responses
from .requests import Fields

T = TypeVar("T")


class AlreadyExists(errors.InvalidInput):
    """The name is taken by an experiment, possibly a deleted one, or by a registered model."""


class InvalidState(errors.InvalidInput):
    """A request that the stored state forbids: a param has another value, or the run or experiment is deleted."""


#: Errors whose status is changed, or whose code doesn't follow from the status.
_SPECIAL: tuple[tuple[type[Exception], int, str], ...] = (
    (AlreadyExists, 400, "RESOURCE_ALREADY_EXISTS"),
    (errors.RunTrashed, 400, "INVALID_PARAMETER_VALUE"),
    (NotFound, 404, "ENDPOINT_NOT_FOUND"),
    (errors.Unauthorized, 401, "UNAUTHENTICATED"),
)
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST",
    409: "RESOURCE_CONFLICT",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    507: "RESOURCE_EXHAUSTED",
}
_TOKEN = "; set the environment variable MLFLOW_TRACKING_TOKEN to this server's token"
#: Longer page tokens are cut before they are decoded; none that this server issued is as long.
_MAX_TOKEN_CHARACTERS = 200


def error_body(status: int, detail: str, error: Exception) -> tuple[int, dict[str, str]]:
    """Return MLflow's status and body for an error: by its type if that is special, else by its status."""
    special = next(((status, code) for kind, status, code in _SPECIAL if isinstance(error, kind)), None)
    if special is None:
        special = status, _CODES.get(status, "INVALID_PARAMETER_VALUE" if status < 500 else "INTERNAL_ERROR")
    status, code = special
    message = error.detail if isinstance(error, errors.ChachamlError) else detail
    if isinstance(error, HTTPException) and status == 404:
        message = "no such endpoint: this server implements only a part of MLflow's protocol"
    if status == 401:
        message = f"this server needs its token{_TOKEN}"
    return status, {"error_code": code, "message": message}


def answer(**fields: Any) -> Response:
    """Return a JSON response with these fields."""
    return responses.json_response(fields)


def without_none(**fields: Any) -> dict[str, Any]:
    """Return a dictionary of the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def pairs_to_json(pairs: dict[str, str]) -> list[dict[str, str]]:
    """Return params or tags as MLflow lists them."""
    return [{"key": key, "value": value} for key, value in pairs.items()]


def page_of(items: Sequence[T], fields: Fields, default: int, most: int) -> tuple[Sequence[T], str | None]:
    """Return the page that max_results and page_token request, and the token of the next page. Raises InvalidInput."""
    limit = fields.integer("max_results", default, 1, most)
    start = read_page_token(fields.maybe_text("page_token"))
    end = start + limit
    return items[start:end], write_page_token(end) if end < len(items) else None


def read_page_token(token: str | None) -> int:
    """Return the number of items before a page; 0 without a token. Raises InvalidInput."""
    if not token:
        return 0
    try:
        value = strict_json.loads(base64.b64decode(token[:_MAX_TOKEN_CHARACTERS], validate=True))
        offset = value["offset"]
    except (binascii.Error, ValueError, TypeError, KeyError) as fault:
        raise errors.InvalidInput(
            "page_token was not issued by this server; leave it out for the first page"
        ) from fault
    if type(offset) is not int or not 0 <= offset < 2**63:
        raise errors.InvalidInput("page_token was not issued by this server; leave it out for the first page")
    return offset


def write_page_token(offset: int) -> str:
    """Return the token of the page that begins after `offset` items."""
    return base64.b64encode(strict_json.dumps({"offset": offset}).encode()).decode()
