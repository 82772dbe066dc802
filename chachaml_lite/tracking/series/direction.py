"""Which way a metric is good, guessed by its name, and which of several values is the best."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: Words of a metric's name that say that less of it is better: what is wrong or lost, and what it takes; and words that
#: say the contrary, whatever else is said.
_LESS_WORDS = """
loss losses error errors err mse rmse mae mape smape msle rmsle ppl perplexity nll bce ce xent entropy logloss deviance
divergence kl kld fid kid wer cer ter eer fpr fnr fdr brier ece regret cost penalty distance residual aic bic
time duration latency elapsed seconds sec secs ms minutes hours memory mem ram vram bytes kb mb gb energy
"""
_MORE_WORDS = "accuracy acc auc reward score throughput speed speedup per"
_LESS, _MORE = frozenset(_LESS_WORDS.split()), frozenset(_MORE_WORDS.split())
_LESS_ENDS = ("loss", "error", "latency")
#: Words of a metric that is of data which the training did not see: the one that runs are told apart by.
_UNSEEN = frozenset(["val", "valid", "validation", "test", "eval", "holdout", "dev"])
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def less_is_better(key: str) -> bool:
    """Whether a metric of this name is the better the smaller it is: a guess, which pages let people turn round."""
    words = _words(key)
    if words & _MORE:
        return False
    if words & {"neg", "negative"}:  # scikit-learn's neg_mean_squared_error is the better the greater
        return not words.isdisjoint({"likelihood", "ll"})
    return _says_less(words)


def foremost(counts: Mapping[str, int]) -> str | None:
    """The metric that runs are best told apart by, of `counts`, how many runs have each: a guess; None where none has.

    One that most runs have; of those one whose name says which way it is good, and of data that was held out.
    """

    def rank(key: str) -> tuple[int, bool, bool]:
        words = _words(key)
        return counts[key], bool(words & _MORE) or _says_less(words), bool(words & _UNSEEN)

    return max(sorted(counts), key=rank, default=None)


def _words(key: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(key)}


def _says_less(words: set[str]) -> bool:
    return any(word in _LESS or word.endswith(_LESS_ENDS) for word in words)


def best_places(values: Sequence[Any], *, less: bool) -> list[int]:
    """The places of the best of some values; none, where fewer than two are finite numbers, or all of these are one."""
    finite = [(at, value) for at, value in enumerate(values) if is_finite(value)]
    if len({value for _, value in finite}) < 2:
        return []
    best = (min if less else max)(value for _, value in finite)
    return [at for at, value in finite if value == best]


def is_finite(value: Any) -> bool:
    """Whether a value is a number that can be compared: no boolean, no NaN, no infinity."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def difference(value: Any, base: Any) -> tuple[float, float | None] | None:
    """How far a value is from another: absolutely, and in percent of that, unless that is 0. None: it can't be said."""
    if not (is_finite(value) and is_finite(base)):
        return None
    absolute = float(value) - float(base)
    if not math.isfinite(absolute):
        return None
    percent = absolute / abs(float(base)) * 100 if base else None
    return absolute, percent if percent is None or math.isfinite(percent) else None
