"""The CI system that a job runs on: the state of its steps, and their reports.

On GitHub Actions a step reports through workflow commands and through files named by variables
(https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands). Anywhere else it prints messages to
stderr, and prints variables for the following steps to stdout, as `export NAME=value`.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..text.safe import printable

#: The default folder of a job's state, below the current folder, where later steps find it.
DEFAULT_STATE = Path(".chachaml-ci")


class Job(ABC):
    """The job of a step. `home` is the folder of its state, which is created."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.home.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def say(self, line: str) -> None:
        """Print a line to the job's log."""

    @abstractmethod
    def say_untrusted(self, title: str, lines: Iterable[str]) -> None:
        """Print lines from other sources without executing anything in them."""

    @abstractmethod
    def annotate(self, kind: str, text: str, title: str = "chachaml-lite") -> None:
        """Report an "error", a "warning" or a "notice"."""

    @abstractmethod
    def mask(self, secret: str) -> None:
        """Keep a secret out of the log, if the CI system can do that."""

    @abstractmethod
    def export(self, name: str, value: str) -> None:
        """Set an environment variable for the steps that follow."""

    @abstractmethod
    def set_output(self, name: str, value: str) -> None:
        """Set an output of the step, if the CI system has outputs."""

    @abstractmethod
    def summary_file(self) -> Path | None:
        """Return the file whose Markdown the CI system displays on the job's page, or None."""


class GitHubJob(Job):
    """A job of GitHub Actions; its state is in RUNNER_TEMP, which GitHub empties before and after each job."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(Path(variables["RUNNER_TEMP"]) / "chachaml-lite")
        self._variables = variables

    def say(self, line: str) -> None:
        """Print a line to the job's log; it may be a workflow command."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()  # other processes write to the same log

    def say_untrusted(self, title: str, lines: Iterable[str]) -> None:
        """Print lines in a group of the log, with workflow commands disabled: they would be executed."""
        self.say(f"::group::{_escape(title)}")
        resume = secrets.token_hex(16)
        self.say(f"::stop-commands::{resume}")
        for line in lines:
            self.say(line)
        self.say(f"::{resume}::")
        self.say("::endgroup::")

    def annotate(self, kind: str, text: str, title: str = "chachaml-lite") -> None:
        """Show an annotation on the job's page."""
        self.say(f"::{kind} title={_escape(title).replace(':', '%3A').replace(',', '%2C')}::{_escape(text)}")

    def mask(self, secret: str) -> None:
        """Replace a secret by *** in the log."""
        self.say(f"::add-mask::{_escape(secret)}")

    def export(self, name: str, value: str) -> None:
        """Set an environment variable for the steps that follow."""
        self._append("GITHUB_ENV", name, value)

    def set_output(self, name: str, value: str) -> None:
        """Set an output of the step."""
        self._append("GITHUB_OUTPUT", name, value)

    def summary_file(self) -> Path | None:
        """Return the file of the job's summary."""
        name = self._variables.get("GITHUB_STEP_SUMMARY")
        return Path(name) if name else None

    def _append(self, variable: str, name: str, value: str) -> None:
        end = secrets.token_hex(16)  # unguessable, so that no value can end early and set another name
        with open(self._variables[variable], "a", encoding="utf-8") as file:
            file.write(f"{name}<<{end}\n{value}\n{end}\n")


class ShellJob(Job):
    """A job of any other CI system, or none: `eval "$(chachaml-lite ci start ...)"` sets what it exports."""

    def say(self, line: str) -> None:
        """Print a line to stderr; stdout is read by the shell."""
        sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()

    def say_untrusted(self, title: str, lines: Iterable[str]) -> None:
        """Print lines with escaped control characters."""
        for line in [title, *lines]:
            self.say(line)

    def annotate(self, kind: str, text: str, title: str = "chachaml-lite") -> None:
        """Print a message with its kind."""
        self.say(f"{title}: {kind}: {text}")

    def mask(self, secret: str) -> None:
        """Do nothing: other systems mask their configured secrets."""

    def export(self, name: str, value: str) -> None:
        """Print the assignment for the shell."""
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")

    def set_output(self, name: str, value: str) -> None:
        """Do nothing: there are no outputs; everything relevant is exported or printed."""

    def summary_file(self) -> Path | None:
        """Return None: the report is a file in the job's state."""
        return None


def current_job(state: Path | None) -> Job:
    """Return the job of this process. `state` is its folder outside GitHub Actions."""
    if state is None and os.environ.get("GITHUB_ACTIONS") == "true" and "RUNNER_TEMP" in os.environ:
        return GitHubJob(os.environ)
    return ShellJob(state or DEFAULT_STATE)


def _escape(text: str) -> str:
    """Escape a text as the data of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
