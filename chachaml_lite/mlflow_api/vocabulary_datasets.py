"""Translation of datasets between MLflow's fields and ours, as pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import strict_json

#: The input tag in which MLflow records the purpose of a dataset: our `role`.
CONTEXT = "mlflow.data.context"
#: The source type of a dataset that no MLflow client described.
SOURCE_TYPE = "chachaml-lite"
#: Characters of a digest: the most that MLflow stores, and those of ours, a hash of the whole description.
MAX_DIGEST, OWN_DIGEST = 36, 8


@dataclass(frozen=True)
class Dataset:
    """A dataset as MLflow describes it; `tags` belong to its use in a run, including its context."""

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


def dataset_to_mlflow(dataset: Mapping[str, Any]) -> Dataset:
    """Translate one of our datasets. If no MLflow client described it, its profile holds the fields MLflow lacks."""
    source, digest, role = (dataset.get(name) for name in ("source", "hash", "role"))
    tags = {
        key: value if isinstance(value, str) else strict_json.dumps(value)
        for key, value in (dataset.get("tags") or {}).items()
    }
    if role is not None:
        tags[CONTEXT] = role
    name = dataset.get("name") or source or role or "dataset"
    if not digest or len(digest) > MAX_DIGEST:
        text = strict_json.dumps(sorted(dataset.items()))
        digest = hashlib.sha256(text.encode()).hexdigest()[:OWN_DIGEST]
    profile = dataset.get("profile")
    if profile is None and dataset.get("source_type") is None:
        profile = strict_json.dumps(profile_of(dataset))
    source_type = dataset.get("source_type") or SOURCE_TYPE
    if dataset.get("source_type") is None:
        source = strict_json.dumps({"uri": source or ""})
    return Dataset(name, digest, source_type, source or "", dataset.get("schema"), profile, tags)


def profile_of(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the profile of one of our datasets: its rows, columns and features."""
    counts = {"num_rows": dataset.get("n_rows"), "num_cols": dataset.get("n_cols")}
    rest = {"features": dataset.get("features"), "hash": dataset.get("hash")}
    return {key: value for key, value in {**counts, **rest}.items() if value is not None}


def dataset_from_mlflow(dataset: Dataset) -> dict[str, Any]:
    """Translate MLflow's dataset to our fields: the rows come from its profile, the features from its schema."""
    tags = {key: value for key, value in dataset.tags.items() if key != CONTEXT}
    fields: dict[str, Any] = {
        "name": dataset.name,
        "role": dataset.context,
        "hash": dataset.digest,
        "source": dataset.source,
        "source_type": dataset.source_type,
        "schema": dataset.schema,
        "profile": dataset.profile,
        "n_rows": _find_rows(_parse_object(dataset.profile)),
        "features": _find_columns(_parse_object(dataset.schema)),
        "tags": tags or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _parse_object(text: str | None) -> dict[str, Any]:
    try:
        value = strict_json.loads((text or "{}").encode())
    except strict_json.NotJson:
        return {}
    return value if isinstance(value, dict) else {}


def _find_rows(profile: dict[str, Any]) -> int | None:
    rows = profile.get("num_rows")
    if rows is None and isinstance(shape := profile.get("features_shape"), list) and shape:
        rows = shape[0]
    return rows if type(rows) is int and rows >= 0 else None


def _find_columns(schema: dict[str, Any]) -> list[str] | None:
    columns = schema.get("mlflow_colspec")
    if not isinstance(columns, list):
        return None
    names = [column.get("name") for column in columns if isinstance(column, dict)]
    texts = [name for name in names if isinstance(name, str)]
    return texts if texts and len(texts) == len(columns) else None
