"""Translation between MLflow's vocabulary and ours, in both directions, as pure functions.

Used by the protocol, by `export --to mlflow` and by `import --from mlflow`; independent of HTTP and of files.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .. import strict_json
from ..errors import InvalidInput
from ..tracking.names import check_name, check_run_id

# -- experiments

DEFAULT_EXPERIMENT, DEFAULT_EXPERIMENT_ID = "Default", "0"
NOTE = "mlflow.note.content"
_ID_DIGITS = 15  # of the SHA-256 in hexadecimal: 60 bits


@lru_cache(maxsize=4096)
def experiment_id(name: str) -> str:
    """Return the id of an experiment. It is derived from the name: nothing is stored, and two stores agree."""
    if name == DEFAULT_EXPERIMENT:
        return DEFAULT_EXPERIMENT_ID
    return str(int(hashlib.sha256(name.encode()).hexdigest()[:_ID_DIGITS], 16))


def experiment_uri(experiment: str) -> str:
    """Return the URI of the artifacts of an experiment's runs, in the form that MLflow's server uses."""
    return f"mlflow-artifacts:/{experiment_id(experiment)}"


def artifact_uri(experiment: str, run_id: str) -> str:
    """Return the URI of a run's artifacts, in the form that MLflow's server uses: scripts parse it."""
    return f"{experiment_uri(experiment)}/{run_id}/artifacts"


def model_uri(experiment: str, model_id: str) -> str:
    """Return the URI of a logged model's files, in the form that MLflow's server uses."""
    return f"{experiment_uri(experiment)}/models/{model_id}/artifacts"


# -- statuses

STATUSES = {"running": "RUNNING", "completed": "FINISHED", "failed": "FAILED"}
KILLED, SCHEDULED = "KILLED", "SCHEDULED"
#: The error of a failed run whose status in MLflow is KILLED.
KILLED_ERROR = "killed"
#: The numbers of MLflow's statuses.
STATUS_NUMBERS = {1: "RUNNING", 2: SCHEDULED, 3: "FINISHED", 4: "FAILED", 5: KILLED}
_FROM_STATUS = {
    **{word: (status, None) for status, word in STATUSES.items()},
    KILLED: ("failed", KILLED_ERROR),
    SCHEDULED: ("running", None),
}


def status_to_mlflow(status: str, error: str | None, mlflow_status: object = None) -> str:
    """Return MLflow's word for a run's status. `mlflow_status` is the stored word, if we have no status for it."""
    if status == "failed" and error == KILLED_ERROR:
        return KILLED
    if status == "running" and mlflow_status == SCHEDULED:
        return SCHEDULED
    return STATUSES[status]


def status_from_mlflow(word: object) -> tuple[str, str | None, str | None]:
    """Translate MLflow's word or number to status, error, and the word to store if we have no status for it.

    Raises InvalidInput.
    """
    number = int(word) if isinstance(word, str) and word.isascii() and word.isdigit() and len(word) < 3 else word
    name = STATUS_NUMBERS.get(number, "") if type(number) is int else word
    if not isinstance(name, str) or name not in _FROM_STATUS:
        raise InvalidInput(f"status must be one of {', '.join(STATUS_NUMBERS.values())}")
    status, error = _FROM_STATUS[name]
    return status, error, SCHEDULED if name == SCHEDULED else None


# -- params and tags

_INT64 = range(-(2**63), 2**63)
_MAX_NUMBER_CHARACTERS = 30


def text_of(value: Any) -> str:
    """Return a param's or tag's value as text: a string unchanged, anything else as JSON."""
    if type(value) is str:
        return value
    # The same as JSON in a tenth of the time: a search may return a hundred thousand of them.
    return repr(value) if type(value) in (int, float) else strict_json.dumps(value)


def parse_value(text: str) -> str | int | float:
    """Parse a param's value: a number if it is written as Python would (0.01, 100, 1e-05), else a text (007, nan)."""
    if len(text) > _MAX_NUMBER_CHARACTERS or not text.isascii() or not text[-1:].isdigit():
        return text
    with contextlib.suppress(ValueError):
        whole = int(text)
        return whole if str(whole) == text and whole in _INT64 else text
    with contextlib.suppress(ValueError):
        number = float(text)
        return number if repr(number) == text else text
    return text


def is_same_param(one: Any, other: Any) -> bool:
    """Return whether MLflow's clients see two values of a param as equal: by their text, so 1 is not 1.0."""
    return text_of(one) == text_of(other)


#: MLflow's tags that are fields of our runs.
FIELD_OF_TAG = {
    "mlflow.runName": "name",
    "mlflow.user": "created_by",
    "mlflow.parentRunId": "parent_run_id",
    NOTE: "note",
}
RUN_NAME, USER, PARENT = tuple(FIELD_OF_TAG)[:3]


def tags_to_mlflow(run: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's tags in MLflow, from its meta.json: our tags, and the fields that are tags there."""
    tags = {key: text_of(value) for key, value in run.get("tags", {}).items()}
    for tag, field in FIELD_OF_TAG.items():
        if run.get(field) is not None:
            tags[tag] = run[field]
    return tags


def tag_to_mlflow(run: Mapping[str, Any], key: str) -> str | None:
    """Return one tag of a run in MLflow, or None."""
    field = FIELD_OF_TAG.get(key)
    if field is not None and (own := run.get(field)) is not None:
        return str(own)
    value = run.get("tags", {}).get(key)
    return None if value is None else text_of(value)


def tags_from_mlflow(tags: Mapping[str, str]) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Split MLflow's tags into our fields and the other tags. None means that the field or tag is removed.

    A value that is invalid for a field stays a tag and the field is removed, so that a key is in one place only.
    """
    fields: dict[str, str | None] = {}
    others: dict[str, str | None] = {}
    for key, value in tags.items():
        field = FIELD_OF_TAG.get(key)
        if field is None:
            others[key] = value
        elif _is_valid_field(field, value):
            fields[field], others[key] = value, None
        else:
            fields[field], others[key] = None, value
    return fields, others


def _is_valid_field(field: str, value: str) -> bool:
    try:
        if field == "parent_run_id":
            check_run_id(field, value)
        elif field != "note":
            check_name(field, value)
    except InvalidInput:
        return False
    return bool(value)
