"""The environment of a run: its command, code and machine, as one JSON object sent by the client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .. import strict_json
from ..errors import InvalidInput

#: The limit for the object as JSON in UTF-8. A diff or a list of packages belongs in an artifact.
MAX_BYTES = 64 * 1024

#: Returned by `value_at` for an unknown path, since a value may be null.
MISSING: Any = object()


def check_environment(env: Mapping[str, Any]) -> None:
    """Raise InvalidInput if an environment is too large."""
    size = len(strict_json.dumps(env).encode())
    if size > MAX_BYTES:
        raise InvalidInput(
            f"env has {size} bytes as JSON; the limit is {MAX_BYTES}: upload what is longer as an artifact"
        )


def flatten(env: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the values of an environment by path, such as "git.commit" for {"git": {"commit": "c0"}}.

    A list is one value.
    """
    return dict(_leaves(env or {}, ""))


def _leaves(part: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in part.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def value_at(env: Mapping[str, Any] | None, path: str) -> Any:
    """Return the value that `flatten` has at a path, or MISSING. A key may contain dots."""
    part = env or {}
    if path in part and not (isinstance(part[path], dict) and part[path]):
        return part[path]
    dot = path.find(".")
    while dot >= 0:
        below = part.get(path[:dot])
        if isinstance(below, dict) and (value := value_at(below, path[dot + 1 :])) is not MISSING:
            return value
        dot = path.find(".", dot + 1)
    return MISSING
