"""A command as our child process: its output is passed through and captured, and signals are forwarded.

The child shares our standard input, terminal and process group. Its two outputs are pipes into this process, which
writes each piece immediately to its own two outputs, and to one file in order of arrival. Nothing is decoded, and
nothing waits for the end of a line.
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

#: The signals forwarded to the child. Ignored ones (nohup) stay ignored, by the child and by us.
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
#: The signals that the terminal sends to the child as well, since it is in the same process group.
_FROM_KEYBOARD = frozenset({signal.SIGINT, signal.SIGQUIT})
_PIECE_BYTES = 65536
#: Seconds after the command's end for which processes that it left behind may still write to its output.
GRACE_SECONDS = 1.0
#: Bytes that may still be in a pipe then (fcntl(2), F_SETPIPE_SZ: at most 1 MiB without privileges).
_PIPE_BYTES = 1 << 20


class CannotStart(Exception):
    """The command can't be started. `code` is the exit code of a shell: 127 if it isn't found, else 126."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Interrupted(Exception):
    """A signal arrived during an interruptible action."""


@dataclass(frozen=True)
class CommandEnd:
    """The end of a command: a shell's `$?`, and the signal that killed it, if any."""

    code: int
    killed_by: signal.Signals | None = None
    #: Whether a process that it left behind still has its output open.
    has_leftovers: bool = False


class Capture:
    """A temporary file with the command's whole output.

    It is removed at the end of the with block, unless `keep` is set.
    """

    def __init__(self) -> None:
        """Raises OSError."""
        self._descriptor, self.path = tempfile.mkstemp(prefix="chachaml-", suffix=".log")
        self.keep = False
        #: The error that stopped the capture: a full disk must not end a training.
        self.fault: OSError | None = None

    def add(self, piece: bytes) -> None:
        """Append a piece, unless an earlier one failed."""
        if self.fault is None:
            try:
                _write(self._descriptor, piece)
            except OSError as fault:
                self.fault = fault

    def open_from_start(self) -> tuple[BinaryIO, int]:
        """Return the file, positioned at its start, and its size in bytes."""
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
    variables: Mapping[str, str],
    capture: Capture,
    signals: Signals,
    on_start: Callable[[int], object] = lambda pid: None,
) -> CommandEnd:
    """Run a command to its end, with `added` in its environment; `on_start` gets its process id. Raises CannotStart."""
    environment = {**os.environ, **variables}
    # Its standard output is a pipe: without this variable, Python would buffer it until 8 KiB are full.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    environment |= bypass_variables(environment)
    try:
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    except (OSError, ValueError) as fault:
        raise _start_error(command[0], fault) from fault
    on_start(child.pid)
    with signals.forward_to(child):
        has_leftovers = _pass_through(child, capture, signals)
    if child.returncode < 0:
        number = signal.Signals(-child.returncode)
        return CommandEnd(128 + number, number, has_leftovers)
    return CommandEnd(child.returncode, None, has_leftovers)


def _start_error(name: str, fault: OSError | ValueError) -> CannotStart:
    if isinstance(fault, FileNotFoundError):
        return CannotStart(127, f"{name}: command not found")
    return CannotStart(126, f"{name}: cannot be run: {getattr(fault, 'strerror', None) or fault}")


# -- signals


class Signals:
    """Handlers that keep signals from ending this process within a with block, and pass them to the child.

    Signals that arrive before the child is started are passed on at its start; after its end they are ignored, except
    within `interruptible`.
    """

    def __init__(self) -> None:
        self._pending: list[int] = []
        self._handle: Callable[[int], object] = self._pending.append
        self._before: dict[signal.Signals, Any] = {}
        #: A pipe that receives a byte for each signal, and at the child's end.
        self.wakes, self._wake = os.pipe()

    def __enter__(self) -> Signals:
        os.set_blocking(self._wake, False)
        self._wakeup_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in _FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, lambda number, frame: self._handle(number))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wake)
        os.close(self.wakes)

    @contextlib.contextmanager
    def forward_to(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        """Forward signals to the child within a with block, but not those that it gets from the terminal itself."""

        def forward(number: int) -> None:
            if number not in _FROM_KEYBOARD or not _is_in_foreground():
                child.send_signal(number)

        self._handle = forward
        for number in self._pending:
            child.send_signal(number)
        try:
            yield
        finally:
            self._handle = lambda number: None

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Raise Interrupted for a signal within a with block."""

        def interrupt(number: int) -> None:
            raise Interrupted

        self._handle = interrupt
        try:
            yield
        finally:
            self._handle = lambda number: None

    def wait_for(self, child: subprocess.Popen[bytes]) -> threading.Thread:
        """Start a thread that waits for the child's end, and return it."""

        def wait() -> None:
            child.wait()
            with contextlib.suppress(BlockingIOError):  # then the pipe has enough bytes to wake us
                os.write(self._wake, b"\0")

        thread = threading.Thread(target=wait, name="wait")
        thread.start()
        return thread


def die_of(number: signal.Signals) -> None:
    """End this process by a signal, as the child was: only then does Ctrl-C stop a shell's loop."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _is_in_foreground() -> bool:
    """Return whether we are in the process group that gets the terminal's signals."""
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
    """Pass the child's output on until its end; return whether a process that it left behind still has it open."""
    assert child.stdout is not None and child.stderr is not None
    waiter = signals.wait_for(child)
    with selectors.DefaultSelector() as selector, child.stdout, child.stderr:
        selector.register(signals.wakes, selectors.EVENT_READ)
        selector.register(child.stdout, selectors.EVENT_READ, sys.stdout)
        selector.register(child.stderr, selectors.EVENT_READ, sys.stderr)
        deadline: float | None = None
        late_bytes = _PIPE_BYTES
        # The pipe that wakes us is always registered.
        while child.returncode is None or (len(selector.get_map()) > 1 and late_bytes > 0):
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            events = selector.select(timeout)
            if not events and timeout == 0:
                break
            for key, _ in events:
                if key.fd == signals.wakes:
                    os.read(signals.wakes, _PIECE_BYTES)
                    continue
                piece = os.read(key.fd, _PIECE_BYTES)
                if not piece or not _pass_on(key.data, piece, capture):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                if timeout == 0:
                    late_bytes -= len(piece)
            if deadline is None and child.returncode is not None:
                deadline = time.monotonic() + GRACE_SECONDS
        has_leftovers = len(selector.get_map()) > 1
    waiter.join()
    return has_leftovers


def _pass_on(stream: Any, piece: bytes, capture: Capture) -> bool:
    """Write a piece to one of our outputs and to the log; return False if that output was closed.

    The child is then notified as it would be without us: by SIGPIPE.
    """
    capture.add(piece)
    if stream is None:  # closed by our parent process
        return True
    try:
        _write(stream.fileno(), piece)
    except OSError:
        return False
    return True


def _write(descriptor: int, piece: bytes) -> None:
    """Write a whole piece, even if a program that shares the descriptor made it non-blocking. Raises OSError."""
    rest = memoryview(piece)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError as fault:
            if fault.errno != errno.EAGAIN:
                raise
            with selectors.DefaultSelector() as selector:
                selector.register(descriptor, selectors.EVENT_WRITE)
                selector.select()
