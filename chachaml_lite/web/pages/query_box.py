"""Lenient parsing of the query box: a bare run name, or a metric's key without its prefix `metrics.`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import InvalidInput
from ...tracking.index.run_entry import Run
from ...tracking.query.fields import METRICS, PARAMS, Field, parse_field, quote_text, unquote_text
from ...tracking.query.grammar import MAX_CHARACTERS, BadQuery

#: Matches what occurs in a query but not in a name.
_COMPARISON = re.compile(r"[<>=~()]|\b(?:in|and|or|not|lt|le|eq|ne|ge|gt)\b", re.IGNORECASE)
_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)


def name_query(text: str) -> str | None:
    """Return the query for runs with the name `text`, or None if `text` contains a comparison or is a field."""
    bare = text.strip()
    if _STRING.fullmatch(bare):
        bare = unquote_text(bare)
    elif _COMPARISON.search(bare) or _is_field(bare):
        return None
    query = f"name ~ {quote_text(bare)}"
    return query if bare.strip() and len(query) <= MAX_CHARACTERS else None


def _is_field(text: str) -> bool:
    try:
        parse_field(text)
    except InvalidInput:
        return False
    return True


def complete_query(fault: BadQuery, runs: Sequence[Run]) -> str | None:
    """Return the query with `metrics.` or `params.` added to its bare key, or None if no run has such a key."""
    key = fault.text[fault.start : fault.stop]
    for kind, keys in ((METRICS, (run.summary for run in runs)), (PARAMS, (run.params for run in runs))):
        if any(key in each for each in keys):
            return f"{fault.text[: fault.start]}{Field(kind, key)}{fault.text[fault.stop :]}"
    return None
