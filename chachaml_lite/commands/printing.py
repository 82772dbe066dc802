"""What a command prints: an answer's own bytes to programs, and to people text that any terminal can show."""

from __future__ import annotations

import signal
import sys

from .targets import FAILED, stop


def print_json(content: bytes) -> None:
    """Print JSON as it was answered: in UTF-8, whatever this terminal's encoding, for RFC 8259 knows no other."""
    _write(content)


def print_text(text: str) -> None:
    """Print text; a character that this terminal's encoding lacks is spelled out, as in `\\u2026`."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    _write(text.encode(encoding, "backslashreplace"))


def _write(content: bytes) -> None:
    if sys.stdout is None:  # closed by who started us: nobody wants it
        return
    # From here on nothing is sent to a server, and a reader that has enough (| head) ends us as it ends any program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as fault:
        sys.stdout = None  # or Python would try, and complain, once more
        stop(f"the output can't be written: {fault.strerror}", FAILED)
