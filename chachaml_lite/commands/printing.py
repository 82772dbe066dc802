"""The output of commands: an answer's own bytes for programs, and for people text that any terminal can show."""

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
    """Print an answer, JSON or text. Raises Unreachable where it is neither: then no server of ours has sent it."""
    kind, content = answer.headers.get("content-type", ""), answer.content()
    try:
        if kind.startswith("application/json"):
            strict_json.loads(content)
            print_json(escape_json(content.decode()).encode())
            return
        if kind.startswith(("text/plain", "text/markdown")):
            # Of a server of ours every line is printable already; of another one it is made so.
            print_text("\n".join(map(printable, content.decode().split("\n"))))
            return
    except (UnicodeDecodeError, strict_json.NotJson) as fault:
        raise Unreachable(f"what answers is no chachaml-lite server: {fault}") from fault
    raise Unreachable(f"what answers is no chachaml-lite server: it sends {kind or 'nothing that has a type'}")


def print_file(answer: Answer) -> None:
    """Print an HTML file as it is, for a file and not for a terminal. Raises CommandError, Unreachable."""
    if sys.stdout.isatty():
        raise CommandError(
            "an HTML file is not for a terminal; redirect it: chachaml-lite report ... > run.html", USAGE
        )
    if not answer.headers.get("content-type", "").startswith("text/html"):
        raise Unreachable("what answers is no chachaml-lite server: it sends no HTML")
    _write(answer.content())


def print_json(content: bytes) -> None:
    """Print JSON as it was answered: in UTF-8, whatever this terminal's encoding, for RFC 8259 knows no other."""
    _write(content)


def print_text(text: str) -> None:
    """Print text; a character that this terminal's encoding lacks is spelled out, as in `\\u2026`."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    _write(text.encode(encoding, "backslashreplace"))


def say(text: str) -> None:
    """Print one line on stderr; nobody may be there to read it."""
    with suppress(OSError):
        click.echo(f"chachaml-lite: {printable(text)}", err=True)


def announce(text: str, *, as_json: bool) -> None:
    """Print a first line: what is about to be done, and where; on stderr where stdout is for JSON."""
    with suppress(OSError):
        click.echo(printable(text), err=as_json)


@contextmanager
def progress(label: str, total_bytes: int) -> Iterator[Callable[[int], Any]]:
    """A bar on stderr, where that is a terminal; what it gives is told of so many bytes more."""
    if not has_progress():
        yield lambda count: None
        return
    with click.progressbar(length=total_bytes, label=label, file=sys.stderr) as bar:
        yield bar.update


def text_width() -> int:
    """The width of a table in columns: COLUMNS, else the terminal's, else that of a server's own tables."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def has_progress() -> bool:
    """Whether somebody would see a bar."""
    return sys.stderr is not None and sys.stderr.isatty()


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
        raise CommandError(f"the output can't be written: {fault.strerror}", FAILED) from fault
