"""A command run as our child: its output passed through and captured, signals forwarded, its end waited for.

The child keeps our standard input, terminal and process group. Its two outputs are pipes into this process, which
writes what comes at once to its own two, and into one file as it came. Nothing is decoded, and nothing waits for the
end of a line.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..client.proxies import bypass_variables

#: What is passed on to the child. What is ignored (nohup) stays so, for it and for us.
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
#: What a terminal sends to the child as well, for it is in the same process group.
_FROM_KEYBOARD = frozenset({signal.SIGINT, signal.SIGQUIT})
_PIECE_BYTES = 65536
#: How long what the command has left behind may hold its output after its end: a moment, to print its last words.
GRACE_SECONDS = 1.0
#: What may still be in a pipe then (fcntl(2), F_SETPIPE_SZ: 1 MiB at most without privileges).
_PIPE_BYTES = 1 << 20


class CannotStart(Exception):
    """The command can't be started. `code` is what a shell exits with then: 127 where it isn't found, else 126."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Interrupted(Exception):
    """A signal came while something was done that may be left undone."""


@dataclass(frozen=True)
class Ended:
    """The end of a command: what a shell has as `$?`, and the signal that killed it, if one did."""

    code: int
    killed_by: signal.Signals | None = None
    #: A process that it left behind still has its output, and is waited for no longer.
    left_behind: bool = False


class Capture:
    """The file with all that the command prints; it grows in the system's folder for temporary files.

    It is removed at the end of its `with`, unless `keep` is set by then.
    """

    def __init__(self) -> None:
        """Raises OSError."""
        self._descriptor, self.path = tempfile.mkstemp(prefix="chachaml-", suffix=".log")
        self.keep = False
        #: Why the rest of the output is not in it: a full disk must not end a training.
        self.fault: OSError | None = None

    def add(self, piece: bytes) -> None:
        """Add a piece, as long as that works."""
        if self.fault is None:
            try:
                _write(self._descriptor, piece)
            except OSError as fault:
                self.fault = fault

    def rewound(self) -> tuple[BinaryIO, int]:
        """The file from its start, and its size in bytes."""
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return os.fdopen(self._descriptor, "rb", closefd=False), size

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        if not self.keep:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def run_command(
    command: Sequence[str],
    added: Mapping[str, str],
    capture: Capture,
    signals: Signals,
    on_start: Callable[[int], object] = lambda pid: None,
) -> Ended:
    """Run a command to its end, with `added` in its environment. `on_start` gets its process id. Raises CannotStart."""
    environment = {**os.environ, **added}
    # Its standard output is a pipe now: without this Python would keep back what it prints until 8 KiB are there.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    environment |= bypass_variables(environment)
    try:
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    except (OSError, ValueError) as fault:
        raise _cannot_start(command[0], fault) from fault
    on_start(child.pid)
    with signals.forwarded_to(child):
        left_behind = _pass_through(child, capture, signals)
    if child.returncode < 0:
        number = signal.Signals(-child.returncode)
        return Ended(128 + number, number, left_behind)
    return Ended(child.returncode, None, left_behind)


def _cannot_start(name: str, fault: OSError | ValueError) -> CannotStart:
    if isinstance(fault, FileNotFoundError):
        return CannotStart(127, f"{name}: command not found")
    return CannotStart(126, f"{name}: it can't be run: {getattr(fault, 'strerror', None) or fault}")


# -- signals


class Signals:
    """Within a `with`: signals don't end this process. They are the child's while there is one.

    What comes before it is started it gets then; after its end they are passed over, but where `interruptible` says
    that what is done may be left undone.
    """

    def __init__(self) -> None:
        self._early: list[int] = []
        self._act: Callable[[int], object] = self._early.append
        self._before: dict[signal.Signals, Any] = {}
        #: A pipe out of which a byte comes for each signal, and when the child has ended.
        self.wakes, self._wake = os.pipe()

    def __enter__(self) -> Signals:
        os.set_blocking(self._wake, False)
        self._wakeup_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in _FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, lambda number, frame: self._act(number))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wake)
        os.close(self.wakes)

    @contextlib.contextmanager
    def forwarded_to(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        """Within it the child gets the signals; those of the keyboard it has had from the terminal."""

        def forward(number: int) -> None:
            if number not in _FROM_KEYBOARD or not _is_in_foreground():
                child.send_signal(number)

        self._act = forward
        for number in self._early:
            child.send_signal(number)
        try:
            yield
        finally:
            self._act = lambda number: None

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within it a signal raises Interrupted."""

        def interrupt(number: int) -> None:
            raise Interrupted

        self._act = interrupt
        try:
            yield
        finally:
            self._act = lambda number: None

    def wait_for(self, child: subprocess.Popen[bytes]) -> threading.Thread:
        """Wait for a child's end, in the thread that is given back."""

        def wait() -> None:
            child.wait()
            with contextlib.suppress(BlockingIOError):  # then there are bytes enough to be woken by
                os.write(self._wake, b"\0")

        thread = threading.Thread(target=wait, name="wait")
        thread.start()
        return thread


def die_of(number: signal.Signals) -> None:
    """End this process by a signal, as the child was ended: a shell's loop stops at Ctrl-C only then."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _is_in_foreground() -> bool:
    """Whether we are of the group that the terminal's keys send signals to."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


# -- output


def _pass_through(child: subprocess.Popen[bytes], capture: Capture, signals: Signals) -> bool:
    """Pass the child's output on until its end; whether a process that it left behind still has it."""
    assert child.stdout is not None and child.stderr is not None
    waiting = signals.wait_for(child)
    with selectors.DefaultSelector() as selector, child.stdout, child.stderr:
        selector.register(signals.wakes, selectors.EVENT_READ)
        selector.register(child.stdout, selectors.EVENT_READ, sys.stdout)
        selector.register(child.stderr, selectors.EVENT_READ, sys.stderr)
        deadline: float | None = None
        late_bytes = _PIPE_BYTES
        # One is always left: what wakes us.
        while child.returncode is None or (len(selector.get_map()) > 1 and late_bytes > 0):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            events = selector.select(left)
            if not events and left == 0:
                break
            for key, _ in events:
                if key.fd == signals.wakes:
                    os.read(signals.wakes, _PIECE_BYTES)
                    continue
                piece = os.read(key.fd, _PIECE_BYTES)
                if not piece or not _passed_on(key.data, piece, capture):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                if left == 0:
                    late_bytes -= len(piece)
            if deadline is None and child.returncode is not None:
                deadline = time.monotonic() + GRACE_SECONDS
        left_behind = len(selector.get_map()) > 1
    waiting.join()
    return left_behind


def _passed_on(stream: Any, piece: bytes, capture: Capture) -> bool:
    """Write a piece to one of our outputs and to the log; False when nobody takes that output any more.

    Then the child gets to know in the same way as without us: by SIGPIPE.
    """
    capture.add(piece)
    if stream is None:  # closed by who started us
        return True
    try:
        _write(stream.fileno(), piece)
    except OSError:
        return False
    return True


def _write(descriptor: int, piece: bytes) -> None:
    """Write all of a piece, also where a program that shares the descriptor has made it non-blocking. OSError."""
    left = memoryview(piece)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError as fault:
            if fault.errno != errno.EAGAIN:
                raise
            with selectors.DefaultSelector() as selector:
                selector.register(descriptor, selectors.EVENT_WRITE)
                selector.select()
