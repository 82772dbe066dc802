"""The fields of MLflow's requests: a JSON object, or a query string, read leniently.

Unknown fields are passed over, for newer clients send more. A null is absent. 64-bit integers come as numbers or, from
Java and R, as strings; `run_uuid` is an older word for `run_id`.
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
    """The fields of a request, or of an object within one; `where` names that object in errors: "metrics[3]."."""

    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        self._values = {_ALIASES.get(name, name): value for name, value in values.items() if value is not None}
        self._values |= {name: values[name] for name in _ALIASES.values() if values.get(name) is not None}
        self._where = where

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, *, may_be_empty: bool = False) -> str:
        """A text that has to be there. Raises InvalidInput."""
        text = self.maybe_text(name)
        if text is None:
            raise self._missing(name)
        if not text and not may_be_empty:
            raise InvalidInput(f"the parameter {self._where}{name} is empty")
        return text

    def maybe_text(self, name: str) -> str | None:
        """A text; None where it is absent. Raises InvalidInput."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"the parameter {self._where}{name} must be a string")
        return value

    def integer(self, name: str, default: int | None = None, least: int = -(2**63), most: int = 2**63 - 1) -> int:
        """An integer of 64 bits, which has to be there where there is no default. Raises InvalidInput."""
        number = self.maybe_integer(name, least, most)
        if number is not None:
            return number
        if default is None:
            raise self._missing(name)
        return default

    def maybe_integer(self, name: str, least: int = -(2**63), most: int = 2**63 - 1) -> int | None:
        """An integer of 64 bits; None where it is absent. Raises InvalidInput."""
        value = self._values.get(name)
        if value is None:
            return None
        number = _integer_of(value)
        if number is None:
            raise InvalidInput(f"the parameter {self._where}{name} must be an integer of 64 bits")
        if not least <= number <= most:
            raise InvalidInput(f"the parameter {self._where}{name} must be {least} to {most}, and it is {number}")
        return number

    def number(self, name: str) -> int | float:
        """A number that has to be there, maybe NaN or an infinity. Raises InvalidInput."""
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
        """A boolean; an absent one is false. Raises InvalidInput."""
        value = self._values.get(name, False)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise InvalidInput(f"the parameter {self._where}{name} must be true or false")
        return value

    def word(self, name: str) -> str | int:
        """A word of an enumeration, or its number. Raises InvalidInput."""
        value = self._values.get(name)
        if value is None:
            raise self._missing(name)
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise InvalidInput(f"the parameter {self._where}{name} must be a word")
        return value

    def texts(self, name: str) -> list[str]:
        """The texts of an array, or of a field that stands several times in a query string. Raises InvalidInput."""
        values = self._values.get(name, [])
        values = [values] if isinstance(values, str) else values
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InvalidInput(f"the parameter {self._where}{name} must be an array of strings")
        return values

    def dicts(self, name: str) -> list[dict[str, Any]]:
        """The objects of an array as they came. Raises InvalidInput."""
        values = self._values.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise InvalidInput(f"the parameter {self._where}{name} must be an array of objects")
        return values

    def objects(self, name: str, having: str | None = None) -> list[Fields]:
        """The objects of an array; those that have the field `having`, where one is named. Raises InvalidInput."""
        numbered = enumerate(self.dicts(name))
        return [
            Fields(value, f"{self._where}{name}[{index}].")
            for index, value in numbered
            if not having or having in value
        ]

    def object(self, name: str) -> Fields:
        """An object that has to be there. Raises InvalidInput."""
        value = self._values.get(name)
        if value is None:
            raise self._missing(name)
        if not isinstance(value, dict):
            raise InvalidInput(f"the parameter {self._where}{name} must be an object")
        return Fields(value, f"{self._where}{name}.")

    def pairs(self, name: str) -> dict[str, str]:
        """The texts of an array of {key, value}, by key. Raises InvalidInput, also for one key with two values."""
        pairs: dict[str, str] = {}
        for each in self.objects(name):
            key, value = each.text("key"), each.maybe_text("value") or ""
            if pairs.setdefault(key, value) != value:
                raise InvalidInput(f"the key {key[:60]!r} stands in {self._where}{name} with two values")
        return pairs

    def _missing(self, name: str) -> InvalidInput:
        return InvalidInput(f"Missing value for required parameter '{self._where}{name}'")


def fields() -> Fields:
    """The fields of the request: of its query string for a GET, else of its body. Raises InvalidInput, TooLarge."""
    if request.method == "GET":
        given = {name: values if len(values) > 1 else values[0] for name, values in request.args.lists()}
        return Fields(given)
    if not request.content_length:
        return Fields({})
    return Fields(request_body.json_object(takes_nonfinite=True))


def _integer_of(value: object) -> int | None:
    """The integer that a value is: as a number, also 1.0, or as a text with such a number, "1e+05" too."""
    if isinstance(value, str):
        try:
            value = int(value) if _is_digits(value) else float(value) if _is_ascii_number(value) else None
        except ValueError:
            return None
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value if type(value) is int and value in _INT64 else None


def _number_of(value: object) -> int | float | None:
    """The number that a value is, a text that is one included; None for what is none, or beyond a double."""
    if isinstance(value, str):
        if (known := _NONFINITE.get(value.lower())) is not None:
            return known
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
    """Whether a text has nothing but what a number is written with: float() takes spaces, underscores and names too."""
    return text.isascii() and len(text) <= 400 and all(letter in "+-.eE0123456789" for letter in text)
