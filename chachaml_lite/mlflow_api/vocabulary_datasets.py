"""Data sets in MLflow's words and in ours, as pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import strict_json

#: The input tag in which MLflow keeps what a data set is for: our `role`.
CONTEXT = "mlflow.data.context"
#: Of a data set that no MLflow client described.
SOURCE_TYPE = "chachaml-lite"
#: What MLflow holds of a digest, in characters; one of ours is made of the whole description.
MAX_DIGEST, OWN_DIGEST = 36, 8


@dataclass(frozen=True)
class Dataset:
    """A data set as MLflow describes one; `tags` are those of its use in a run, its context among them."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def context(self) -> str | None:
        """Its purpose: training, eval, ..."""
        return self.tags.get(CONTEXT)


def dataset_to_mlflow(described: Mapping[str, Any]) -> Dataset:
    """A data set of ours; of one that no MLflow client described, what MLflow has no word for stands in its profile."""
    source, digest, role = (described.get(name) for name in ("source", "hash", "role"))
    tags = {
        key: value if isinstance(value, str) else strict_json.dumps(value)
        for key, value in (described.get("tags") or {}).items()
    }
    if role is not None:
        tags[CONTEXT] = role
    name = described.get("name") or source or role or "dataset"
    if not digest or len(digest) > MAX_DIGEST:
        text = strict_json.dumps(sorted(described.items()))
        digest = hashlib.sha256(text.encode()).hexdigest()[:OWN_DIGEST]
    profile = described.get("profile")
    if profile is None and described.get("source_type") is None:
        profile = strict_json.dumps(profile_of(described))
    source_type = described.get("source_type") or SOURCE_TYPE
    if described.get("source_type") is None:
        source = strict_json.dumps({"uri": source or ""})
    return Dataset(name, digest, source_type, source or "", described.get("schema"), profile, tags)


def profile_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the profile of a data set of ours: its rows, columns and features."""
    counts = {"num_rows": described.get("n_rows"), "num_cols": described.get("n_cols")}
    rest = {"features": described.get("features"), "hash": described.get("hash")}
    return {key: value for key, value in {**counts, **rest}.items() if value is not None}


def dataset_from_mlflow(dataset: Dataset) -> dict[str, Any]:
    """The same in our fields: rows are counted by its profile, and features are named by its schema."""
    tags = {key: value for key, value in dataset.tags.items() if key != CONTEXT}
    described: dict[str, Any] = {
        "name": dataset.name,
        "role": dataset.context,
        "hash": dataset.digest,
        "source": dataset.source,
        "source_type": dataset.source_type,
        "schema": dataset.schema,
        "profile": dataset.profile,
        "n_rows": _rows(_object(dataset.profile)),
        "features": _columns(_object(dataset.schema)),
        "tags": tags or None,
    }
    return {key: value for key, value in described.items() if value is not None}


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = strict_json.loads((text or "{}").encode())
    except strict_json.NotJson:
        return {}
    return value if isinstance(value, dict) else {}


def _rows(profile: dict[str, Any]) -> int | None:
    rows = profile.get("num_rows")
    if rows is None and isinstance(shape := profile.get("features_shape"), list) and shape:
        rows = shape[0]
    return rows if type(rows) is int and rows >= 0 else None


def _columns(schema: dict[str, Any]) -> list[str] | None:
    columns = schema.get("mlflow_colspec")
    if not isinstance(columns, list):
        return None
    names = [column.get("name") for column in columns if isinstance(column, dict)]
    named = [name for name in names if isinstance(name, str)]
    return named if named and len(named) == len(columns) else None
