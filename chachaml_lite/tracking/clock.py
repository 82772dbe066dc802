"""The time that is written down: milliseconds since the Unix epoch, UTC, and never backwards within one server."""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower-case: ids differ in more than case
_RANDOM_BITS = 30
_LITTLE_NS = 1_000_000_000


class Clock:
    """A clock that follows the system's, and goes on at its own pace when that is set back.

    A run that is started later is then never listed as the older one, and no duration is negative or shrinks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ns = 0
        self._last_monotonic_ns = time.monotonic_ns()
        self._last_id = (0, 0)

    def now_ms(self) -> int:
        """The time in milliseconds since 1970, UTC."""
        with self._lock:
            return self._now_ms()

    def _now_ms(self) -> int:
        wall_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
        elapsed_ns = monotonic_ns - self._last_monotonic_ns
        ahead_ns = self._last_ns + elapsed_ns - wall_ns
        # The system's clock was corrected by a little: it is waited for at half the pace, not left behind for ever.
        pace = 2 if 0 < ahead_ns < _LITTLE_NS else 1
        self._last_ns = max(wall_ns, self._last_ns + elapsed_ns // pace)
        self._last_monotonic_ns = monotonic_ns
        return self._last_ns // 1_000_000

    def new_run(self) -> tuple[str, int]:
        """An id and the time that it was made at, in ms. Ids sort by time, and within a millisecond by order of making.

        Like `20261123-185749-123-k3f9ta`: readable in a folder listing, safe in a URL, a file name and a shell word.
        """
        with self._lock:
            now_ms = self._now_ms()
            last_ms, last_number = self._last_id
            if now_ms == last_ms:  # as ULID's monotonic mode does: the next number, not another throw of the dice
                number = last_number + 1 + secrets.randbelow(1024)
            else:
                number = secrets.randbits(_RANDOM_BITS - 1)
            self._last_id = (now_ms, number)
        day = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ms / 1000))
        tail = "".join(_ALPHABET[(number >> shift) & 31] for shift in range(_RANDOM_BITS - 5, -1, -5))
        return f"{day}-{now_ms % 1000:03}-{tail}", now_ms
