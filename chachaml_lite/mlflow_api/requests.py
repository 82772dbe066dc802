"""The fields of MLflow's requests: a JSON object or a query string, parsed leniently.

Unknown fields are ignored, since newer clients send more. A null counts as absent. 64-bit integers arrive as numbers
or, from Java and R, as strings; `run_uuid` is an older name of `run_id`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flask import request

from ..errors import InvalidInput
from ..web import request_body

_ALIASES = {"run_uuid": "run_id"}
_NONFINITE = {
    "nan": math.nan,
    "infinity": math.inf,
    "inf": math.inf,
    "-infinity": -math.inf,
    "-inf": -math.inf,
    "+infinity": math.inf,
    "+inf": math.inf,
}
_INT64 = range(-(2**63), 2**63)
_EXACT = 2**53


class Fields:
    """The fields of a request, or of an object in it; `where` names that object in errors: "metrics[3]."."""

    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        self._values = {_ALIASES.get(name, name): value for name, value in values.items() if value is not None}
        self._values |= {name: values[name] for name in _ALIASES.values() if values.get(name) is not None}
        self._where = where

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, *, may_be_empty: bool = False) -> str:
        """Return a required text. Raises InvalidInput."""
        text = self.maybe_text(name)
        if text is None:
            raise self._missing(name)
        if not text and not may_be_empty:
            raise InvalidInput(f"the parameter {self._where}{name} is empty")
        return text

    def maybe_text(self, name: str) -> str | None:
        """Return a text, or None if it is absent. Raises InvalidInput."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"the parameter {self._where}{name} must be a string")
        return value

    def integer(self, name: str, default: int | None = None, least: int = -(2**63), most: int = 2**63 - 1) -> int:
        """Return a 64-bit integer, which is required if there is no default. Raises InvalidInput."""
        number = self.maybe_integer(name, least, most)
        if number is not None:
            return number
        if default is None:
            raise self._missing(name)
        return default

    def maybe_integer(self, name: str, least: int = -(2**63), most: int = 2**63 - 1) -> int | None:
        """Return a 64-bit integer, or None if it is absent. Raises InvalidInput."""
        value = self._values.get(name)
        if value is None:
            return None
        number = _integer_of(value)
        if number is None:
            raise InvalidInput(f"the parameter {self._where}{name} must be a 64-bit integer")
        if not least <= number <= most:
            raise InvalidInput(f"the parameter {self._where}{name} must be {least} to {most}, not {number}")
        return number

    def number(self, name: str) -> int | float:
        """Return a required number, which may be NaN or infinite. Raises InvalidInput."""
        value = self._values.get(name)
        if value is None:
            raise self._missing(name)
        number = _number_of(value)
        if number is None:
            raise InvalidInput(
                f"the parameter {self._where}{name} must be a number, or one of the texts NaN, Infinity, -Infinity"
            )
        return number

    def flag(self, name: str) -> bool:
        """Return a boolean, or False if it is absent. Raises InvalidInput."""
        value = self._values.get(name, False)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise InvalidInput(f"the parameter {self._where}{name} must be true or false")
        return value

    def word(self, name: str) -> str | int:
        """Return a required word of an enumeration, or its number. Raises InvalidInput."""
        value = self._values.get(name)
        if value is None:
            raise self._missing(name)
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise InvalidInput(f"the parameter {self._where}{name} must be a word")
        return value

    def texts(self, name: str) -> list[str]:
        """Return the texts of an array, or of a field repeated in the query string. Raises InvalidInput."""
        values = self._values.get(name, [])
        values = [values] if isinstance(values, str) else values
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InvalidInput(f"the parameter {self._where}{name} must be an array of strings")
        return values

    def dicts(self, name: str) -> list[dict[str, Any]]:
        """Return the objects of an array, unparsed. Raises InvalidInput."""
        values = self._values.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise InvalidInput(f"the parameter {self._where}{name} must be an array of objects")
        return values

    def objects(self, name: str, having: str | None = None) -> list[Fields]:
        """Return the objects of an array, or only those with the field `having`. Raises InvalidInput."""
        return [
            Fields(value, f"{self._where}{name}[{index}].")
            for index, value in enumerate(self.dicts(name))
            if not having or having in value
        ]

    def object(self, name: str) -> Fields:
        """Return a required object. Raises InvalidInput."""
        value = self._values.get(name)
        if value is None:
            raise self._missing(name)
        if not isinstance(value, dict):
            raise InvalidInput(f"the parameter {self._where}{name} must be an object")
        return Fields(value, f"{self._where}{name}.")

    def pairs(self, name: str) -> dict[str, str]:
        """Return an array of {key, value} as a dictionary. Raises InvalidInput, also for a key with two values."""
        pairs: dict[str, str] = {}
        for each in self.objects(name):
            key, value = each.text("key"), each.maybe_text("value") or ""
            if pairs.setdefault(key, value) != value:
                raise InvalidInput(f"the key {key[:60]!r} has two values in {self._where}{name}")
        return pairs

    def _missing(self, name: str) -> InvalidInput:
        return InvalidInput(f"Missing value for required parameter '{self._where}{name}'")


def parse_fields() -> Fields:
    """Parse the query string of a GET or HEAD, else the body. Raises InvalidInput, TooLarge."""
    if request.method in ("GET", "HEAD"):
        args = {name: values if len(values) > 1 else values[0] for name, values in request.args.lists()}
        return Fields(args)
    if not request.content_length:
        return Fields({})
    return Fields(request_body.parse_object(takes_nonfinite=True))


def _integer_of(value: object) -> int | None:
    """Convert a value to an integer: an integral number such as 1.0, or a text with one, such as "1e+05"; else None."""
    if isinstance(value, str):
        try:
            value = int(value) if _is_digits(value) else float(value) if _is_ascii_number(value) else None
        except ValueError:
            return None
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value if type(value) is int and value in _INT64 else None


def _number_of(value: object) -> int | float | None:
    """Convert a number or a text to a number; None if it isn't one, or exceeds the range of a double."""
    if isinstance(value, str):
        if (nonfinite := _NONFINITE.get(value.lower())) is not None:
            return nonfinite
        try:
            value = float(value) if _is_ascii_number(value) else None
        except ValueError:
            return None
    if type(value) is int:
        return value if abs(value) < 2**1023 else None
    return value if type(value) is float and math.isfinite(value) else None


def _is_digits(text: str) -> bool:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return digits.isascii() and digits.isdigit() and len(digits) <= 19


def _is_ascii_number(text: str) -> bool:
    """Return whether a text has only the characters of a number: float() also takes spaces, underscores and names."""
    return text.isascii() and len(text) <= 400 and all(letter in "+-.eE0123456789" for letter in text)
