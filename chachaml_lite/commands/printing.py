"""The output of commands: a response's own bytes for programs, and text for people that any terminal can display."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from .. import strict_json
from ..client.base import Answer, Unreachable
from ..text.safe import escape_json, printable
from ..text.table import WIDTH
from .errors import FAILED, USAGE, CommandError


def print_answer(answer: Answer) -> None:
    """Print a response that is JSON or text. Raises Unreachable for another type: it isn't from our server."""
    kind, content = answer.headers.get("content-type", ""), answer.content()
    try:
        if kind.startswith("application/json"):
            strict_json.loads(content)
            print_json(escape_json(content.decode()).encode())
            return
        if kind.startswith(("text/plain", "text/markdown")):
            # A chachaml-lite server sends printable lines; those of any other server are escaped.
            print_text("\n".join(map(printable, content.decode().split("\n"))))
            return
    except (UnicodeDecodeError, strict_json.NotJson) as fault:
        raise Unreachable(f"the response is not from a chachaml-lite server: {fault}") from fault
    raise Unreachable(f"the response is not from a chachaml-lite server: its type is {kind or 'missing'}")


def print_file(answer: Answer) -> None:
    """Print an HTML file unchanged, but not to a terminal. Raises CommandError, Unreachable."""
    if sys.stdout.isatty():
        raise CommandError("HTML is not printed to a terminal; redirect it: chachaml-lite report ... > run.html", USAGE)
    if not answer.headers.get("content-type", "").startswith("text/html"):
        raise Unreachable("the response is not from a chachaml-lite server: it is not HTML")
    _write(answer.content())


def print_json(content: bytes) -> None:
    """Print JSON unchanged, in UTF-8 whatever the terminal's encoding is: RFC 8259 requires it."""
    _write(content)


def print_text(text: str) -> None:
    """Print text; characters that the terminal's encoding lacks are escaped, as in `\\u2026`."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    _write(text.encode(encoding, "backslashreplace"))


def say(text: str) -> None:
    """Print one line on stderr, which may be closed."""
    with suppress(OSError):
        click.echo(f"chachaml-lite: {printable(text)}", err=True)


def announce(text: str, *, as_json: bool) -> None:
    """Print a first line that says what is about to be done, on stderr if stdout is for JSON."""
    with suppress(OSError):
        click.echo(printable(text), err=as_json)


@contextmanager
def progress(label: str, total_bytes: int) -> Iterator[Callable[[int], Any]]:
    """Show a progress bar on stderr, if that is a terminal; yield a function to be called with further bytes."""
    if not has_progress():
        yield lambda count: None
        return
    with click.progressbar(length=total_bytes, label=label, file=sys.stderr) as bar:
        yield bar.update


def text_width() -> int:
    """Return the width of a table in columns: COLUMNS, else the terminal's, else that of the server's tables."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def has_progress() -> bool:
    """Return whether a progress bar would be visible."""
    return sys.stderr is not None and sys.stderr.isatty()


def _write(content: bytes) -> None:
    if sys.stdout is None:  # closed by our parent process
        return
    # No more requests follow, so a reader that has enough (| head) may end us as any other program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as fault:
        sys.stdout = None  # otherwise Python would try again at exit, and complain
        raise CommandError(f"cannot write the output: {fault.strerror}", FAILED) from fault
