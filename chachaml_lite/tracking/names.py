"""Valid spelling and length of every id, key and name (the contract, section 1, "Names", and section 2, "Run ids")."""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import InvalidInput
from ..store import disk_names

MAX_NAME_CHARACTERS = 250
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


@lru_cache(maxsize=4096)  # short strings; a training loop sends the same few keys over and over
def _holds_control(name: str) -> bool:
    return _CONTROL.search(name) is not None


def check_name(kind: str, name: object) -> str:
    """Return `name` if it is a valid name: a string of 1 to 250 characters without control characters.

    Raises InvalidInput, whose text begins with `kind` ("experiment", "param", ...).
    """
    if not isinstance(name, str):
        raise InvalidInput(f"{kind} must be a string")
    if not name:
        raise InvalidInput(f"{kind} is empty")
    if len(name) > MAX_NAME_CHARACTERS:
        raise InvalidInput(f"{kind} {quote_name(name)} has {len(name)} characters; the limit is {MAX_NAME_CHARACTERS}")
    if _holds_control(name):
        raise InvalidInput(f"{kind} {quote_name(name)} contains a control character")
    return name


def quote_name(name: str) -> str:
    """Return `name` for an error text: quoted, with control characters escaped, and truncated if it is long."""
    return repr(name if len(name) <= 80 else name[:79] + "…")


def is_run_id(value: object) -> bool:
    """Return whether `value` is a well-formed run id."""
    return (
        isinstance(value, str)
        and _RUN_ID.match(value) is not None
        and not value.endswith(".")
        and not disk_names.is_device_name(value)
    )


def check_run_id(field: str, value: object) -> str:
    """Return `value` if it is a well-formed run id. Raises InvalidInput."""
    if not isinstance(value, str) or not is_run_id(value):
        raise InvalidInput(
            f"{field} must be 1 to 128 of A-Z a-z 0-9 . _ -, start with a letter or digit, not end with a dot, "
            "and not be a device name of Windows"
        )
    return value


def check_model_name(name: object) -> str:
    """Return `name` if it is a valid model name, which has no slash because it is part of URLs and names a folder.

    Raises InvalidInput.
    """
    name = check_name("model name", name)
    if "/" in name or "\\" in name or name in (".", ".."):
        raise InvalidInput(f"model name {quote_name(name)} must not hold / or \\, nor be . or ..")
    if not disk_names.fits(disk_names.spelling(name)):
        raise InvalidInput(f"model name {quote_name(name)} is too long for a file name (255 bytes as it is stored)")
    return name


def check_artifact_name(name: str) -> str:
    """Return `name` if it is a valid artifact name: a relative path with / between segments. Raises InvalidInput."""
    if not name:
        raise InvalidInput("artifact name is empty")
    if _CONTROL.search(name) or "\\" in name:
        raise InvalidInput(f"artifact name {quote_name(name)} contains a control character or a backslash")
    if any(segment in ("", ".", "..") for segment in name.split("/")):
        raise InvalidInput(f"artifact name {quote_name(name)} must be relative, with no empty, . or .. segment")
    if not disk_names.fits(disk_names.spelling(name)):
        raise InvalidInput(
            f"artifact name {quote_name(name)} is too long: a segment may have 255 bytes as it is stored, all of it 800"
        )
    return name
