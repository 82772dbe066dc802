"""Ticks at round numbers: 1, 2 or 5 times a power of ten, or powers of ten on a log axis.

They are computed in integers and fractions, so that a tick is exactly where its label says, at any span and size. All
labels of an axis are in one notation: plain, with one unit, or as powers of ten.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from ...tracking.series.summary import Number
from .scales import Scale

MINUS = "−"
#: The most digits of a label; beyond, labels give the distance from a round number, which is in the caption.
_MOST_DIGITS = 7
#: The rounding error of a float that is meant to be round, as a fraction of a step.
_DUST = Fraction(1, 10**9)
#: Powers of ten whose axes have plain numbers; beyond them, there are units.
_PLAIN = range(-4, 5)
_UNITS = ((12, "T"), (9, "G"), (6, "M"), (3, "k"))
#: The least number of ticks on a log axis of few powers of ten: more mantissas are used until there are as many.
_LEAST_ON_LOG = 4
_MANTISSAS = ((10, 20, 50), (10, 15, 20, 30, 50, 70), tuple(range(10, 100, 10)))


class Tick(NamedTuple):
    """A tick: its position along the axis, 0 to 1, and its label."""

    fraction: float
    label: str


@dataclass(frozen=True)
class Ticks:
    """The ticks of an axis; `caption` is what all labels have in common, or ""."""

    ticks: list[Tick]
    caption: str = ""


def number_ticks(scale: Scale, most: int, *, is_whole: bool = False) -> Ticks:
    """Return at most about `most` ticks for numbers; with `is_whole`, at integers only."""
    if scale.is_log:
        low, high = _exponent(scale.low), _exponent(scale.high)
        first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
        if last - first >= 2 or (last > first and high - low < 4):
            return Ticks(_powers(scale, first, last, most))
        for mantissas in _MANTISSAS:
            numbers = _multiples(scale, mantissas, math.floor(low), math.ceil(high))
            if _LEAST_ON_LOG <= len(numbers) <= max(most, _LEAST_ON_LOG) + 3:
                exponent = math.floor(low) - 1
                write = _notation(numbers[-1], exponent)
                return Ticks([Tick(scale.fraction(_float(each, exponent)), write(each, exponent)) for each in numbers])
    return _linear(scale, most, is_whole=is_whole)


def _exponent(value: Number) -> float:
    return math.log10(value)


def _powers(scale: Scale, first: int, last: int, most: int) -> list[Tick]:
    """Return ticks at every power of ten, or every second, third, fifth ... of them."""
    each = next(n for n in _steps_of_powers() if (last - first) // n < most)
    low, high = _exponent(scale.low), _exponent(scale.high)
    exponents = range(-(-first // each) * each, last + 1, each)
    write = _power_notation(exponents[0], exponents[-1])
    return [Tick(min(1.0, max(0.0, (e - low) / (high - low))), write(e)) for e in exponents]


def _steps_of_powers() -> list[int]:
    return [1, 2, 3, 5, 10, 20, 50, 100, 200, 500]


def _multiples(scale: Scale, mantissas: tuple[int, ...], first: int, last: int) -> list[int]:
    """Return the multiples (mantissas in tenths) of powers of ten on an axis, as integers times ten to `first` - 1."""
    numbers = [each * 10 ** (exponent - first) for exponent in range(first, last + 1) for each in mantissas]
    return [number for number in numbers if scale.low <= _float(number, first - 1) <= scale.high]


def _float(number: int, exponent: int) -> float:
    return float(Decimal(number).scaleb(exponent))


def _linear(scale: Scale, most: int, *, is_whole: bool) -> Ticks:
    low, high = Fraction(scale.low), Fraction(scale.high)
    mantissa, exponent = round_step(high - low, most, is_whole=is_whole)
    step = mantissa * power(exponent)
    first, last = math.ceil(low / step - _DUST), math.floor(high / step + _DUST)
    numbers = [number * mantissa for number in range(first, last + 1)]
    base = _base(numbers, exponent)
    offsets = [number - (base or 0) for number in numbers]
    write = _notation(max(map(abs, offsets), default=0), exponent)
    ticks = []
    for number in numbers:
        value = number * power(exponent)
        at = scale.fraction(int(value) if value.denominator == 1 else float(value))
        ticks.append(Tick(at, write(number - (base or 0), exponent)))
    return Ticks(ticks, "" if base is None else f"{_write_whole(base, exponent)} +")


def round_step(span: Fraction, most: int, *, is_whole: bool = False) -> tuple[int, int]:
    """Return the least step (mantissa 1, 2 or 5, exponent) that fits into `span` at most `most` times.

    (2, -3) is 0.002.
    """
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
    """Return a power of ten, exactly."""
    return Fraction(10) ** exponent


def _base(numbers: list[int], exponent: int) -> int | None:
    """Return the number, in units of ten to `exponent`, from which labels give the distance; None if they are short."""
    if not numbers or len(str(max(abs(numbers[0]), abs(numbers[-1])))) <= _MOST_DIGITS:
        return None
    if min(abs(numbers[0]), abs(numbers[-1])) == 0:
        return None
    for size in (1000, 100, 10):  # the roundest number that all ticks are close to
        base = numbers[0] // size * size
        if numbers[-1] - base < size * 2:
            return base
    return numbers[0]


def _notation(greatest: int, exponent: int) -> Callable[[int, int], str]:
    """Return a function that writes numbers (an integer times ten to an exponent) suitably for the greatest one."""
    size = exponent + len(str(greatest)) - 1
    if size in _PLAIN or not greatest:
        return _write_plain
    for unit, name in _UNITS:
        if unit <= size < 15:
            return partial(_write_with_unit, unit=unit, name=name)
    return _write_power


def _power_notation(first: int, last: int) -> Callable[[int], str]:
    """Return a function that writes powers of ten, from ten to `first` to ten to `last`, given their exponents."""
    if first in _PLAIN and last in _PLAIN:
        return lambda exponent: _write_plain(1, exponent)
    if first >= 0 and last < 15:
        unit_of = {unit + more: (unit, name) for unit, name in _UNITS for more in range(3)}
        return lambda exponent: (
            _write_with_unit(1, exponent, *unit_of[exponent]) if exponent >= 3 else _write_plain(1, exponent)
        )
    return lambda exponent: _write_power(1, exponent) if exponent else "1"


def _write_plain(number: int, exponent: int) -> str:
    """Return a number as 0.25 or 1,500."""
    significant, exponent = _without_zeros(number, exponent)
    return (MINUS if number < 0 else "") + f"{Decimal(significant).scaleb(exponent):,f}"


def _write_whole(number: int, exponent: int) -> str:
    """Return a number with all of its digits, unless these are more than twenty."""
    return _write_plain(number, exponent) if -20 <= _size(number, exponent) <= 20 else _write_power(number, exponent)


def _write_with_unit(number: int, exponent: int, unit: int, name: str) -> str:
    """Return a number as 200k or 0.8M."""
    return _write_plain(number, exponent - unit) + name if number else "0"


def _write_power(number: int, exponent: int) -> str:
    """Return a number as 2e−5."""
    if not number:
        return "0"
    significant, _ = _without_zeros(number, exponent)
    mantissa = significant[0] + (f".{significant[1:]}" if significant[1:] else "")
    return f"{MINUS if number < 0 else ''}{mantissa}e{_size(number, exponent)}".replace("e-", f"e{MINUS}")


def _without_zeros(number: int, exponent: int) -> tuple[str, int]:
    """Return the digits without trailing zeros, and the exponent for them."""
    digits = str(abs(number))
    significant = digits.rstrip("0") or "0"
    return significant, exponent + len(digits) - len(significant) if number else 0


def _size(number: int, exponent: int) -> int:
    """Return the power of ten of a number's first digit."""
    return exponent + len(str(abs(number))) - 1
