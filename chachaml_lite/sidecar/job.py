"""The CI system that a job runs on: where its steps keep their state, and how they report.

On GitHub Actions a step reports by workflow commands and by files that variables name
(https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands). Anywhere else it prints messages to
stderr, and variables for the following steps to stdout, as `export NAME=value`.
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

#: The folder of a job's state where the CI system gives it none, in the current one: later steps find it there.
DEFAULT_STATE = Path(".chachaml-ci")


class Job(ABC):
    """The job of a step. `home`: the folder of its state, which is made."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.home.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def say(self, line: str) -> None:
        """Print a line to the job's log."""

    @abstractmethod
    def say_untrusted(self, title: str, lines: Iterable[str]) -> None:
        """Print lines that others wrote: nothing in them acts."""

    @abstractmethod
    def annotate(self, kind: str, text: str, title: str = "chachaml-lite") -> None:
        """Report an "error", a "warning" or a "notice"."""

    @abstractmethod
    def mask(self, secret: str) -> None:
        """Keep a secret out of the log, where the CI system can do that."""

    @abstractmethod
    def export(self, name: str, value: str) -> None:
        """Set an environment variable for the steps that follow."""

    @abstractmethod
    def set_output(self, name: str, value: str) -> None:
        """Set an output of the step, where the CI system has them."""

    @abstractmethod
    def summary_file(self) -> Path | None:
        """Return the file whose Markdown the CI system shows on the job's page; None where it has none."""


class GitHubJob(Job):
    """A job of GitHub Actions; its state is in RUNNER_TEMP, which GitHub empties before and after each job."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(Path(variables["RUNNER_TEMP"]) / "chachaml-lite")
        self._variables = variables

    def say(self, line: str) -> None:
        """Print a line to the job's log, which workflow commands may be in."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()  # the output of other processes in the same log comes after it

    def say_untrusted(self, title: str, lines: Iterable[str]) -> None:
        """Print lines in a group of the log, with workflow commands switched off: they would be carried out."""
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
        """Show *** in the log in place of a secret."""
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
        end = secrets.token_hex(16)  # no value can hold it, and so none can set another name
        with open(self._variables[variable], "a", encoding="utf-8") as file:
            file.write(f"{name}<<{end}\n{value}\n{end}\n")


class ShellJob(Job):
    """A job of any other CI system, or none: `eval "$(chachaml-lite ci start ...)"` sets what it exports."""

    def say(self, line: str) -> None:
        """Print a line to stderr; stdout is for the shell."""
        sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()

    def say_untrusted(self, title: str, lines: Iterable[str]) -> None:
        """Print lines in which nothing acts on a terminal."""
        for line in [title, *lines]:
            self.say(line)

    def annotate(self, kind: str, text: str, title: str = "chachaml-lite") -> None:
        """Print a message with its kind."""
        self.say(f"{title}: {kind}: {text}")

    def mask(self, secret: str) -> None:
        """Do nothing: other systems mask the secrets that are configured there."""

    def export(self, name: str, value: str) -> None:
        """Print the assignment for the shell."""
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")

    def set_output(self, name: str, value: str) -> None:
        """Do nothing: there are no outputs; what matters is exported or printed."""

    def summary_file(self) -> Path | None:
        """Return None: the report is a file of the job's state."""
        return None


def current_job(state: Path | None) -> Job:
    """Return the job that this process is a step of; `state` is its folder where it isn't GitHub's."""
    if state is None and os.environ.get("GITHUB_ACTIONS") == "true" and "RUNNER_TEMP" in os.environ:
        return GitHubJob(os.environ)
    return ShellJob(state or DEFAULT_STATE)


def _escape(text: str) -> str:
    """Return `text` as the data of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
