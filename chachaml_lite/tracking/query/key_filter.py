"""The viewer's filter for names of metrics and params: text, or a regular expression between slashes.

Text must be contained in a name, ignoring case. An expression uses the part of regular expressions that all dialects
share: `.` `*` `+` `?` `{2}` `{1,3}` `|` `( )` `[a-z]` `[^0-9]` `\\d \\w \\s \\D \\W \\S` `^` `$`; any other character
after a backslash is literal. It may match anywhere in a name, ignoring case.

An expression of twenty characters can keep Python's own `re` busy for hours, while all other requests wait. This
implementation follows all paths through the expression at once (Thompson's construction, with cached steps), so the
time is proportional to the length of the name, whatever the expression.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache

from ...errors import InvalidInput

KeyTest = Callable[[str], bool]
#: Limits for the characters of a filter, the states of an expression, and the repetitions in braces.
MAX_FILTER_CHARACTERS = 300
_MAX_STATES, _MAX_TIMES = 2000, 100
_MAX_STEPS = 20_000

_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": str.isdigit,
    "w": lambda c: c.isalnum() or c == "_",
    "s": str.isspace,
}


def parse_key_filter(text: str) -> KeyTest | None:
    """Return a function that tests a name; None for an empty filter, which all names pass. Raises InvalidInput."""
    text = text.strip()
    if not text:
        return None
    if len(text) > MAX_FILTER_CHARACTERS:
        raise InvalidInput(f"filter has {len(text)} characters; the limit is {MAX_FILTER_CHARACTERS}")
    if len(text) > 2 and text[0] == text[-1] == "/":
        # A page tests the same names for its charts, its rows and its columns.
        return cache(_Machine(_Parser(text[1:-1]).parse()).is_in)
    part = text.casefold()
    return lambda key: part in key.casefold()


@dataclass
class _State:
    """A state of an expression: `takes` tests the next character; without it, transitions consume no character."""

    takes: Callable[[str], bool] | None = None
    to: list[_State] = field(default_factory=list)
    #: "^" or "$": the transitions are allowed only at that end of the name.
    only_at: str = ""
    number: int = 0


@dataclass
class _Fragment:
    """A part of an expression: its first state, and the states whose transitions are still to be set."""

    start: _State
    open: list[_State]


class _Parser:
    """A recursive descent parser for expressions; each method parses one construct and returns a fragment of states."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._count, self._depth = text, 0, 0, 0

    def parse(self) -> _State:
        """Return the first state; the last one has no transitions and takes nothing. Raises InvalidInput."""
        result = self._either()
        if self._at < len(self._text):
            raise self._fault("a ) without its (")
        self._join(result, self._state())
        return result.start

    def _fault(self, reason: str) -> InvalidInput:
        return InvalidInput(f"filter: {reason}, at character {self._at + 1} of /{self._text}/")

    def _state(self, takes: Callable[[str], bool] | None = None, only_at: str = "") -> _State:
        self._count += 1
        if self._count > _MAX_STATES:
            raise self._fault("the expression is too large")
        return _State(takes, only_at=only_at, number=self._count)

    def _join(self, fragment: _Fragment, state: _State) -> None:
        for each in fragment.open:
            each.to.append(state)

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _either(self) -> _Fragment:
        first = self._row()
        if self._next() != "|":
            return first
        split = self._state()
        split.to.append(first.start)
        ends = first.open
        while self._next() == "|":
            self._at += 1
            other = self._row()
            split.to.append(other.start)
            ends = ends + other.open
        return _Fragment(split, ends)

    def _row(self) -> _Fragment:
        empty = self._state()
        row = _Fragment(empty, [empty])
        while self._next() not in ("", "|", ")"):
            part = self._parse_repetition()
            self._join(row, part.start)
            row = _Fragment(row.start, part.open)
        return row

    def _parse_repetition(self) -> _Fragment:
        begin = self._at
        part = self._atom()
        while sign := self._next():
            if sign in "*+?":
                self._at += 1
                low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
            elif sign == "{" and (times := self._times()) is not None:
                low, high = times
            else:
                break
            part = self._times_over(begin, part, low, high)
        return part

    def _times(self) -> tuple[int, int | None] | None:
        """Parse the bounds in {2}, {2,} or {2,5}; return None for a literal brace. Raises InvalidInput."""
        end = self._text.find("}", self._at)
        low, comma, high = self._text[self._at + 1 : max(end, 0)].partition(",")
        if end < 0 or not (low.isdecimal() and (high.isdecimal() or not high)):
            return None
        times = int(low[:9]), (int(high[:9]) if high else None) if comma else int(low[:9])
        if max(times[0], times[1] or 0) > _MAX_TIMES:
            raise self._fault(f"{_MAX_TIMES} times is the most")
        self._at = end + 1
        return times

    def _times_over(self, begin: int, part: _Fragment, low: int, high: int | None) -> _Fragment:
        """Return `part` repeated. Its text is parsed again for each repetition, which needs states of its own."""
        end = self._at
        start = self._state()
        row = _Fragment(start, [start])
        bypasses: list[_State] = []
        for number in range(max(low, 1) if high is None else high):
            if number:
                self._at = begin
                part = self._atom()
            if number >= low:
                fork = self._state()
                self._join(row, fork)
                bypasses.append(fork)
                row = _Fragment(row.start, [fork])
            self._join(row, part.start)
            last, row = part, _Fragment(row.start, part.open)
        if high is None:
            loop = self._state()
            self._join(row, loop)
            loop.to.append(last.start)
            row = _Fragment(row.start, [loop])
        self._at = end
        return _Fragment(row.start, row.open + bypasses)

    def _atom(self) -> _Fragment:
        sign = self._next()
        self._at += 1
        if sign == "(":
            return self._group()
        if sign in ("*", "+", "?"):
            self._at -= 1
            raise self._fault(f"{sign} has nothing before it that it could repeat")
        takes: Callable[[str], bool]
        if sign in ("^", "$"):
            state = self._state(only_at=sign)
            return _Fragment(state, [state])
        if sign == ".":
            takes = _any
        elif sign == "[":
            takes = self._set()
        elif sign == "\\":
            takes = self._parse_escape()
        else:
            takes = _equals(sign)
        state = self._state(takes)
        return _Fragment(state, [state])

    def _group(self) -> _Fragment:
        if self._next() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                raise self._fault("of what begins with (? there is (?: alone")
            self._at += 2
        self._depth += 1
        if self._depth > 50:
            raise self._fault("too many ( within each other")
        inner = self._either()
        self._depth -= 1
        if self._next() != ")":
            raise self._fault("a ) is missing")
        self._at += 1
        return inner

    def _parse_escape(self) -> Callable[[str], bool]:
        sign = self._next()
        if not sign:
            raise self._fault("nothing follows the backslash")
        self._at += 1
        if sign.lower() in _CLASSES:
            return _invert(_CLASSES[sign.lower()]) if sign.isupper() else _CLASSES[sign]
        if sign.isalnum():
            self._at -= 1
            raise self._fault(f"\\{sign} isn't known here")
        return _equals(sign)

    def _set(self) -> Callable[[str], bool]:
        is_inverted = self._next() == "^"
        self._at += is_inverted
        tests: list[Callable[[str], bool]] = []
        while self._next() != "]" or not tests:
            low = self._next()
            if not low:
                raise self._fault("a ] is missing")
            self._at += 1
            if low == "\\":
                tests.append(self._parse_escape())
                continue
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
                high = self._text[self._at + 1]
                self._at += 2
                if high == "\\" or high < low:
                    raise self._fault("a range in [ ] goes from a lesser character to a greater one")
                tests.append(_between(low, high))
            else:
                tests.append(_equals(low))
        self._at += 1
        among = _among(tests)
        return _invert(among) if is_inverted else among


def _any(_: str) -> bool:
    return True


def _equals(character: str) -> Callable[[str], bool]:
    either = {character, character.lower(), character.upper()}
    return lambda c: c in either


def _between(low: str, high: str) -> Callable[[str], bool]:
    return lambda c: low <= c <= high or low <= c.lower() <= high or low <= c.upper() <= high


def _among(tests: Collection[Callable[[str], bool]]) -> Callable[[str], bool]:
    return lambda c: any(test(c) for test in tests)


def _invert(test: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda c: not test(c)


class _Machine:
    """The simulation of an expression: the set of states that it may be in after each character of a name."""

    def __init__(self, start: _State) -> None:
        self._start = start
        #: Cached steps, by the states before, the character, and whether it is the last one of the name.
        self._steps: dict[tuple[frozenset[int], str, bool], tuple[frozenset[int], bool]] = {}
        self._sets: dict[frozenset[int], list[_State]] = {}

    def is_in(self, key: str) -> bool:
        """Return whether the expression matches anywhere in a name."""
        states, is_found = self._close([self._start], is_first=True, is_last=not key)
        for at, character in enumerate(key):
            if is_found:
                return True
            is_last = at + 1 == len(key)
            step = (states, character, is_last)
            if step not in self._steps:
                if len(self._steps) > _MAX_STEPS:
                    self._steps.clear()
                after = [
                    to for state in self._sets[states] if state.takes and state.takes(character) for to in state.to
                ]
                self._steps[step] = self._close([*after, self._start], is_first=False, is_last=is_last)
            states, is_found = self._steps[step]
        return is_found

    def _close(self, begin: list[_State], *, is_first: bool, is_last: bool) -> tuple[frozenset[int], bool]:
        """Return the states reachable without consuming a character, and whether the end is among them."""
        states: dict[int, _State] = {}
        waiting = list(begin)
        is_found = False
        while waiting:
            state = waiting.pop()
            if state.number in states:
                continue
            states[state.number] = state
            if state.takes is not None:
                continue
            if state.only_at and not (is_first if state.only_at == "^" else is_last):
                continue
            is_found = is_found or not state.to
            waiting += state.to
        numbers = frozenset(number for number, state in states.items() if state.takes is not None)
        self._sets.setdefault(numbers, [state for state in states.values() if state.takes is not None])
        return numbers, is_found
