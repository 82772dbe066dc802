"""The clock for stored times: milliseconds since the Unix epoch, UTC, never going back while the server runs."""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower-case: ids never differ only in case
_RANDOM_BITS = 30
_LITTLE_NS = 1_000_000_000


class Clock:
    """A clock that follows the system's clock, and keeps running at its own pace when that one is set back.

    A later run is therefore never listed as the older one, and no duration is negative or shrinks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ns = 0
        self._last_monotonic_ns = time.monotonic_ns()
        self._last_id = (0, 0)

    def now_ms(self) -> int:
        """Return the time in milliseconds since 1970, UTC."""
        with self._lock:
            return self._now_ms()

    def _now_ms(self) -> int:
        wall_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
        elapsed_ns = monotonic_ns - self._last_monotonic_ns
        ahead_ns = self._last_ns + elapsed_ns - wall_ns
        # After a small correction of the system's clock, run at half the pace until it catches up.
        pace = 2 if 0 < ahead_ns < _LITTLE_NS else 1
        self._last_ns = max(wall_ns, self._last_ns + elapsed_ns // pace)
        self._last_monotonic_ns = monotonic_ns
        return self._last_ns // 1_000_000

    def new_run(self) -> tuple[str, int]:
        """Return a new run's id and its creation time in ms. Ids sort by time and, within a millisecond, by creation.

        An id such as `20261123-185749-123-k3f9ta` is readable in a folder listing, and safe in a URL, a file name and a
        shell command.
        """
        with self._lock:
            now_ms = self._now_ms()
            last_ms, last_number = self._last_id
            if now_ms == last_ms:  # as ULID's monotonic mode does: a greater number, rather than another random one
                number = last_number + 1 + secrets.randbelow(1024)
            else:
                number = secrets.randbits(_RANDOM_BITS - 1)
            self._last_id = (now_ms, number)
        day = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ms / 1000))
        tail = "".join(_ALPHABET[(number >> shift) & 31] for shift in range(_RANDOM_BITS - 5, -1, -5))
        return f"{day}-{now_ms % 1000:03}-{tail}", now_ms
