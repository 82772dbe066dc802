"""Templates and URL builders, compiled once per process instead of once per app.

Thousands of tests have an app of their own. Compiling its rules takes 50 ms, and each kind of page 100 ms.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule


class _Templates(BytecodeCache):
    """Compiled templates in memory, by name and checksum of the source."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key, bucket.checksum] = bucket.code


_templates = _Templates()
_builders: dict[tuple[Any, ...], Any] = {}
#: Werkzeug's own function; with a version that lacks it, each app compiles its rules.
_compile_builder: Any = getattr(Rule, "_compile_builder", None)


def _find_builder(rule: Any, append_unknown: bool = True) -> Any:
    """Return a function that builds URLs: it depends on the rule's text only, and takes the rule as an argument."""
    if rule.defaults:
        return _compile_builder(rule, append_unknown)
    key = (rule.rule, tuple(rule._trace), append_unknown)
    if key not in _builders:
        _builders[key] = _compile_builder(rule, append_unknown)
    return _builders[key]


def share_url_builders() -> None:
    """Share the functions that build URLs among all apps of this process."""
    if _compile_builder is not None:
        Rule._compile_builder = _find_builder  # type: ignore[assignment,method-assign]


def share_templates(app: Flask) -> None:
    """Let an app use the templates that other apps have compiled."""
    app.jinja_env.bytecode_cache = _templates
