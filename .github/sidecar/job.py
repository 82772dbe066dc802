"""What a step says to GitHub: outputs, variables and annotations; and what others wrote, so that it says nothing.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path


def home() -> Path:
    """The folder of this action in this job; GitHub empties what it is in before and after each."""
    return Path(os.environ["RUNNER_TEMP"]) / "chachaml-lite"


def given(name: str) -> str:
    """An input of the action; empty where there is none."""
    return os.environ.get(f"INPUT_{name}", "").strip()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # what another process writes into the same log comes after it


def say_untrusted(title: str, lines: Iterable[str]) -> None:
    """Show what others wrote in a group of the log, with commands switched off: they would be carried out."""
    say(f"::group::{escaped(title)}")
    resume = secrets.token_hex(16)
    say(f"::stop-commands::{resume}")
    for line in lines:
        say(line)
    say(f"::{resume}::")
    say("::endgroup::")


def annotate(kind: str, text: str, title: str = "chachaml-lite") -> None:
    """Show an "error", a "warning" or a "notice" on the job's page."""
    say(f"::{kind} title={escaped(title).replace(':', '%3A').replace(',', '%2C')}::{escaped(text)}")


def mask(secret: str) -> None:
    """Have GitHub show *** in the log where a secret would stand."""
    say(f"::add-mask::{escaped(secret)}")


def escaped(text: str) -> str:
    """`text` as the data of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def export(name: str, value: str) -> None:
    """Set a variable of the environment for the steps that follow."""
    _append("GITHUB_ENV", name, value)


def set_output(name: str, value: str) -> None:
    _append("GITHUB_OUTPUT", name, value)


def _append(variable: str, name: str, value: str) -> None:
    end = secrets.token_hex(16)  # no value can hold it, and so none can set another name
    with open(os.environ[variable], "a", encoding="utf-8") as file:
        file.write(f"{name}<<{end}\n{value}\n{end}\n")
