"""Ticks at round numbers: 1, 2 or 5 times a power of ten, powers of ten on a log axis.

Worked out in integers and fractions, so that a tick is just where its label says, at any span and size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from ...tracking.series.summary import Number
from .scales import Scale

MINUS = "−"
#: Digits of a label at most; beyond, labels tell the distance from a round number that the caption tells.
_MOST_DIGITS = 7
#: Of a step: what a float that is meant to be round is beside it.
_DUST = Fraction(1, 10**9)
_UNITS = ((9, "G"), (6, "M"), (3, "k"))


class Tick(NamedTuple):
    """A tick: how far along the axis, 0 to 1, and what stands there."""

    fraction: float
    label: str


@dataclass(frozen=True)
class Ticks:
    """The ticks of an axis; `caption`: what all labels have in common, "" for nothing."""

    ticks: list[Tick]
    caption: str = ""


def number_ticks(scale: Scale, most: int, *, is_whole: bool = False) -> Ticks:
    """At most about `most` ticks for numbers; `is_whole`: at integers only."""
    if scale.is_log:
        low, high = _exponent(scale.low), _exponent(scale.high)
        first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
        if last - first >= 2 or (last > first and high - low < 4):
            return Ticks(_powers(scale, first, last, most))
        if high - low > 0.3:
            return Ticks(_one_two_five(scale, math.floor(low), math.ceil(high)))
    return _linear(scale, most, is_whole=is_whole)


def _exponent(value: Number) -> float:
    return math.log10(value)


def _powers(scale: Scale, first: int, last: int, most: int) -> list[Tick]:
    """Every power of ten, or every second, third, fifth ... of them."""
    each = next(n for n in _steps_of_powers() if (last - first) // n < most)
    low, high = _exponent(scale.low), _exponent(scale.high)
    exponents = range(-(-first // each) * each, last + 1, each)
    return [Tick(min(1.0, max(0.0, (e - low) / (high - low))), label(1, e)) for e in exponents]


def _steps_of_powers() -> list[int]:
    return [1, 2, 3, 5, 10, 20, 50, 100, 200, 500]


def _one_two_five(scale: Scale, first: int, last: int) -> list[Tick]:
    """1, 2 and 5 times the powers of ten within a log axis of few of them."""
    found = []
    for exponent in range(first, last + 1):
        for mantissa in (1, 2, 5):
            value = float(Decimal(mantissa).scaleb(exponent))
            if scale.low <= value <= scale.high:
                found.append(Tick(scale.fraction(value), label(mantissa, exponent)))
    return found


def _linear(scale: Scale, most: int, *, is_whole: bool) -> Ticks:
    low, high = Fraction(scale.low), Fraction(scale.high)
    mantissa, exponent = round_step(high - low, most, is_whole=is_whole)
    step = mantissa * power(exponent)
    first, last = math.ceil(low / step - _DUST), math.floor(high / step + _DUST)
    numbers = [number * mantissa for number in range(first, last + 1)]
    base = _base(numbers, exponent)
    ticks = []
    for number in numbers:
        value = number * power(exponent)
        at = scale.fraction(int(value) if value.denominator == 1 else float(value))
        ticks.append(Tick(at, label(number, exponent) if base is None else _distance(number - base, exponent)))
    return Ticks(ticks, "" if base is None else f"{label(base, exponent, whole=True)} +")


def round_step(span: Fraction, most: int, *, is_whole: bool = False) -> tuple[int, int]:
    """The least of 1, 2, 5 times a power of ten that goes into `span` no more than `most` times: (2, -3) is 0.002."""
    exponent = math.floor(_log10(span / most))
    if is_whole:
        exponent = max(0, exponent)
    while True:
        for mantissa in (1, 2, 5):
            if span <= (most + _DUST) * mantissa * power(exponent):
                return mantissa, exponent
        exponent += 1


def _log10(value: Fraction) -> float:
    return math.log10(value.numerator) - math.log10(value.denominator)


def power(exponent: int) -> Fraction:
    """Ten to a power, exactly."""
    return Fraction(10) ** exponent


def _base(numbers: list[int], exponent: int) -> int | None:
    """The round number, in units of ten to `exponent`, that labels tell the distance from; None: labels are short."""
    if not numbers or len(str(max(abs(numbers[0]), abs(numbers[-1])))) <= _MOST_DIGITS:
        return None
    if min(abs(numbers[0]), abs(numbers[-1])) == 0:
        return None
    for size in (1000, 100, 10):  # the roundest that all ticks are close to
        base = numbers[0] // size * size
        if numbers[-1] - base < size * 2:
            return base
    return numbers[0]


def _distance(number: int, exponent: int) -> str:
    return label(number, exponent)


def label(number: int, exponent: int, *, whole: bool = False) -> str:
    """`number` times ten to `exponent` in few characters: 0.25, 1,500, 200k, 5M, 2e-5; `whole`: all of its digits."""
    if not number:
        return "0"
    sign, digits = MINUS if number < 0 else "", str(abs(number))
    kept = digits.rstrip("0")
    exponent += len(digits) - len(kept)
    size = exponent + len(kept) - 1
    if whole and -20 <= size <= 20 or -4 <= size <= 4:
        return sign + f"{Decimal(kept).scaleb(exponent):,f}"
    for unit, name in _UNITS:
        if unit <= size < 12:
            return sign + f"{Decimal(kept).scaleb(exponent - unit):f}" + name
    mantissa = kept[0] + (f".{kept[1:]}" if kept[1:] else "")
    return f"{sign}{mantissa}e{size}".replace("e-", f"e{MINUS}")
