"""MLflow's words for what is here, and ours for what MLflow has: tables both ways, as pure functions.

Used by the protocol, by `export --to mlflow` and by `import --from mlflow`; nothing here knows of HTTP or of files.
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
    """The id of an experiment: a function of its name, so that nothing is stored, and two stores agree."""
    if name == DEFAULT_EXPERIMENT:
        return DEFAULT_EXPERIMENT_ID
    return str(int(hashlib.sha256(name.encode()).hexdigest()[:_ID_DIGITS], 16))


def experiment_uri(experiment: str) -> str:
    """The URI of the artifacts of an experiment's runs, as MLflow's server names it."""
    return f"mlflow-artifacts:/{experiment_id(experiment)}"


def artifact_uri(experiment: str, run_id: str) -> str:
    """The URI of a run's artifacts, in the shape that MLflow's server gives: scripts take it apart."""
    return f"{experiment_uri(experiment)}/{run_id}/artifacts"


def model_uri(experiment: str, model_id: str) -> str:
    """The URI of a logged model's files, likewise."""
    return f"{experiment_uri(experiment)}/models/{model_id}/artifacts"


# -- statuses

STATUSES = {"running": "RUNNING", "completed": "FINISHED", "failed": "FAILED"}
KILLED, SCHEDULED = "KILLED", "SCHEDULED"
#: The error of a failed run that MLflow calls killed.
KILLED_ERROR = "killed"
#: MLflow's numbers for its words.
STATUS_NUMBERS = {1: "RUNNING", 2: SCHEDULED, 3: "FINISHED", 4: "FAILED", 5: KILLED}
_FROM_STATUS = {
    **{word: (status, None) for status, word in STATUSES.items()},
    KILLED: ("failed", KILLED_ERROR),
    SCHEDULED: ("running", None),
}


def status_to_mlflow(status: str, error: str | None, mlflow_status: object = None) -> str:
    """MLflow's word for a run's status; `mlflow_status`: the one that is kept for want of one of ours."""
    if status == "failed" and error == KILLED_ERROR:
        return KILLED
    if status == "running" and mlflow_status == SCHEDULED:
        return SCHEDULED
    return STATUSES[status]


def status_from_mlflow(word: object) -> tuple[str, str | None, str | None]:
    """Status, error, and MLflow's own word where it has to be kept, for MLflow's word or number. InvalidInput."""
    number = int(word) if isinstance(word, str) and word.isascii() and word.isdigit() and len(word) < 3 else word
    known = STATUS_NUMBERS.get(number, "") if type(number) is int else word
    if not isinstance(known, str) or known not in _FROM_STATUS:
        raise InvalidInput(f"status must be one of {', '.join(STATUS_NUMBERS.values())}")
    status, error = _FROM_STATUS[known]
    return status, error, SCHEDULED if known == SCHEDULED else None


# -- params and tags

_INT64 = range(-(2**63), 2**63)
_MAX_NUMBER_CHARACTERS = 30


def text_of(value: Any) -> str:
    """A param's or tag's value as text: a string as it stands, anything else as JSON."""
    if type(value) is str:
        return value
    # As JSON has it, in a tenth of the time: a search may show a hundred thousand of them.
    return repr(value) if type(value) in (int, float) else strict_json.dumps(value)


def value_of(text: str) -> str | int | float:
    """A param's value from its text: the number whose own text it is (0.01, 100, 1e-05), else the text (007, nan)."""
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
    """Whether two values of a param are the same for MLflow's clients: by their text, by which 1 is not 1.0."""
    return text_of(one) == text_of(other)


#: The tags that are fields of a run of ours.
FIELD_OF_TAG = {
    "mlflow.runName": "name",
    "mlflow.user": "created_by",
    "mlflow.parentRunId": "parent_run_id",
    NOTE: "note",
}
RUN_NAME, USER, PARENT = tuple(FIELD_OF_TAG)[:3]


def tags_to_mlflow(run: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a run as MLflow has them, from its meta.json: its own, and those that are fields of ours."""
    tags = {key: text_of(value) for key, value in run.get("tags", {}).items()}
    for tag, field in FIELD_OF_TAG.items():
        if run.get(field) is not None:
            tags[tag] = run[field]
    return tags


def tag_to_mlflow(run: Mapping[str, Any], key: str) -> str | None:
    """One of these tags; None where the run hasn't got it."""
    field = FIELD_OF_TAG.get(key)
    if field is not None and (own := run.get(field)) is not None:
        return str(own)
    value = run.get("tags", {}).get(key)
    return None if value is None else text_of(value)


def tags_from_mlflow(tags: Mapping[str, str]) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """The fields of a run that some tags are, and the others: what each is to be, None for none.

    A value that can't be such a field stays a tag, and the field is none then; so a key is in one of the two places.
    """
    fields: dict[str, str | None] = {}
    others: dict[str, str | None] = {}
    for key, value in tags.items():
        field = FIELD_OF_TAG.get(key)
        if field is None:
            others[key] = value
        elif _can_be(field, value):
            fields[field], others[key] = value, None
        else:
            fields[field], others[key] = None, value
    return fields, others


def _can_be(field: str, value: str) -> bool:
    try:
        if field == "parent_run_id":
            check_run_id(field, value)
        elif field != "note":
            check_name(field, value)
    except InvalidInput:
        return False
    return bool(value)
