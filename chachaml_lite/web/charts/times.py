"""Ticks of time axes: durations in their units, and round times of the calendar, in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from fractions import Fraction

from .scales import Scale
from .ticks import MINUS, Tick, Ticks, number_ticks, power, round_step

_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60_000, 3_600_000, 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: The times that datetime supports, less a year at both ends, in ms since 1970.
_CALENDAR = range(-62_100_000_000_000, 253_370_000_000_000)

#: Round steps up to 12 hours: 1, 2, 5, 10, 15, 30 seconds or minutes, and hours that divide a day.
_STEPS = (
    *(number * 10**exponent for exponent in (0, 1, 2) for number in (1, 2, 5)),
    *(number * unit for unit in (_SECOND, _MINUTE) for number in (1, 2, 5, 10, 15, 30)),
    *(number * _HOUR for number in (1, 2, 3, 6, 12)),
)


def duration_ticks(scale: Scale, most: int) -> Ticks:
    """Return ticks for durations in ms, at whole seconds, minutes, hours or days if the span has several."""
    if scale.is_log:
        return Ticks(_log_durations(scale))
    low, high = int(scale.low), int(scale.high)
    step = next((step for step in _STEPS if high - low <= most * step), None)
    if step is None:
        mantissa, exponent = round_step(Fraction(high - low, _DAY), most, is_whole=True)
        step = int(mantissa * power(exponent)) * _DAY
    return Ticks([Tick(scale.fraction(at), duration(at)) for at in range(-(-low // step) * step, high + 1, step)])


def _log_durations(scale: Scale) -> list[Tick]:
    round_times = [1, 10, 100, _SECOND, 10 * _SECOND, _MINUTE, 10 * _MINUTE, _HOUR, 10 * _HOUR]
    round_times += [10**power_of_ten * _DAY for power_of_ten in range(13)]
    times = [at for at in round_times if scale.low <= at <= scale.high]
    if len(times) < 2:
        times = [at for at in (*_STEPS, *round_times[9:]) if scale.low <= at <= scale.high]
    each = len(times) // 7 + 1
    return [Tick(scale.fraction(at), duration(at)) for at in times[::each]]


def duration(ms: int) -> str:
    """Format a round duration in ms: 500 ms, 1.5 s, 30 s, 1 min 30 s, 2 h, 1 d 12 h."""
    if ms < 0:
        return MINUS + duration(-ms)
    if not ms:
        return "0"
    if ms < _SECOND:
        return f"{ms} ms"
    if ms < _MINUTE:
        return f"{ms / _SECOND:g} s"
    parts = []
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if ms >= unit:
            parts.append(f"{ms // unit:,} {name}")
            ms %= unit
    if ms:
        parts.append(f"{ms / _SECOND:g} s")
    return " ".join(parts)


def calendar_ticks(scale: Scale, most: int) -> Ticks:
    """Return ticks for times in ms since 1970, at round times of the calendar in UTC.

    The caption has the part that they share.
    """
    low, high = int(scale.low), int(scale.high)
    if low not in _CALENDAR or high not in _CALENDAR:
        ticks = number_ticks(scale, most, is_whole=True)
        return Ticks(ticks.ticks, f"{ticks.caption} ms since 1970".strip())
    step = next((step for step in _STEPS if high - low <= most * step), None)
    if step is not None:
        return _clock_ticks(scale, low, high, step)
    days = (high - low) / _DAY
    if days <= most * 10:
        each = next(number for number in (1, 2, 5, 10) if days <= most * number)
        return _day_ticks(scale, low, high, each)
    months = days / 30.4
    each = next((number for number in (1, 2, 3, 6) if months <= most * number), 0)
    if not each:
        mantissa, exponent = round_step(Fraction(int(months / 12) + 1), most, is_whole=True)
        each = 12 * mantissa * 10**exponent
    return _month_ticks(scale, low, high, each)


def to_datetime(ms: int) -> datetime:
    """Return a time within `_CALENDAR`, in ms since 1970, as a datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


def _clock_ticks(scale: Scale, low: int, high: int, step: int) -> Ticks:
    is_one_day = low // _DAY == high // _DAY
    ticks = []
    for at in range(-(-low // step) * step, high + 1, step):
        time = to_datetime(at)
        text = f"{time:%H:%M}" if step >= _MINUTE else f"{time:%H:%M:%S}"
        if step < _SECOND:
            text += f".{at % _SECOND:03}".rstrip("0") if at % _SECOND else ""
        if at % _DAY == 0 and not is_one_day:
            text = f"{time:%b} {time.day}"
        ticks.append(Tick(scale.fraction(at), text))
    first, last = to_datetime(low), to_datetime(high)
    days = f"{first:%Y-%m-%d}" if is_one_day else f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return Ticks(ticks, f"{days}, UTC")


def _day_ticks(scale: Scale, low: int, high: int, each: int) -> Ticks:
    """Return ticks at every day, or at the 1st, 3rd, 5th and so on of each month, never two close together."""
    tick_list = []
    for day in range(-(-low // _DAY), high // _DAY + 1):
        time = to_datetime(day * _DAY)
        if (time.day - 1) % each == 0 and (each == 1 or time.day + each // 2 <= 31):
            tick_list.append(Tick(scale.fraction(day * _DAY), f"{time:%b} {time.day}"))
    return Ticks(tick_list, _years(low, high))


def _month_ticks(scale: Scale, low: int, high: int, each: int) -> Ticks:
    first, last = to_datetime(low), to_datetime(high)
    tick_list = []
    start, end = first.year * 12 + first.month - 1, last.year * 12 + last.month - 1
    for month in range(-(-start // each) * each, end + 1, each):
        if not 12 <= month < 12 * 10_000:
            continue
        time = datetime(month // 12, month % 12 + 1, 1, tzinfo=timezone.utc)
        at = int((time - _EPOCH) / timedelta(milliseconds=1))
        if low <= at <= high:
            text = str(time.year) if each >= 12 or time.month == 1 else f"{time:%b}"
            tick_list.append(Tick(scale.fraction(at), text))
    return Ticks(tick_list, _years(low, high))


def _years(low: int, high: int) -> str:
    first, last = to_datetime(low).year, to_datetime(high).year
    return f"{first}, UTC" if first == last else f"{first} to {last}, UTC"
