"""The direction in which a metric is good, known from its name, and the best of several values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: Words of a metric's name by which less of it is better (what is wrong or lost, and what it costs), and words by which
#: more is, whatever else the name says. By any other name a metric has no direction: `lr` and `grad_norm` are neither.
_LESS_WORDS = """
loss losses error errors err mse rmse mae mape smape msle rmsle ppl perplexity nll bce ce xent entropy logloss deviance
divergence kl kld fid kid wer cer ter eer fpr fnr fdr brier ece regret cost penalty distance residual aic bic
time duration latency elapsed seconds sec secs ms minutes hours memory mem ram vram bytes kb mb gb energy
"""
_MORE_WORDS = """
accuracy acc auc auroc auprc roc ap map reward rewards return returns score scores throughput speed speedup per
f1 precision recall sensitivity specificity r2 iou miou bleu rouge meteor chrf cider spice ndcg mrr dice jaccard kappa
mcc psnr ssim pesq stoi correlation pearson spearman success wins winrate hit hits coverage likelihood elbo
"""
_LESS, _MORE = frozenset(_LESS_WORDS.split()), frozenset(_MORE_WORDS.split())
_LESS_ENDS = ("loss", "error", "latency")
#: Words of a metric that is of data which the training did not see: the one that runs are told apart by.
_UNSEEN = frozenset(["val", "valid", "validation", "test", "eval", "holdout", "dev"])
_WORD = re.compile(r"(?:[A-Z]+(?![a-z])|[A-Z]?[a-z]+)\d*")


def less_is_better(key: str) -> bool | None:
    """Return whether a metric of this name is the better the smaller it is; None where the name doesn't say.

    Pages let people choose the direction.
    """
    words = _words(key)
    if words & {"neg", "negative"}:  # scikit-learn's neg_mean_squared_error is the better the greater
        if words & {"likelihood", "ll"}:
            return True
        return False if _says_less(words) else None
    if words & _MORE:
        return False
    return True if _says_less(words) else None


def foremost(counts: Mapping[str, int]) -> str | None:
    """Return the metric that best tells runs apart, by `counts`, the number of runs that have each; None without any.

    One that most runs have; of those one whose name says which way it is good, and of data that was held out.
    """

    def rank(key: str) -> tuple[int, bool, bool]:
        return counts[key], less_is_better(key) is not None, bool(_words(key) & _UNSEEN)

    return max(sorted(counts), key=rank, default=None)


def _words(key: str) -> set[str]:
    words = {word.lower() for word in _WORD.findall(key)}
    return words | {word.rstrip("0123456789") for word in words}


def _says_less(words: set[str]) -> bool:
    return any(word in _LESS or word.endswith(_LESS_ENDS) for word in words)


def best_places(values: Sequence[Any], *, less: bool) -> list[int]:
    """Return the places of the best values; none where fewer than two are finite numbers, or all of these are equal."""
    finite_values = [(at, value) for at, value in enumerate(values) if is_finite(value)]
    if len({value for _, value in finite_values}) < 2:
        return []
    best = (min if less else max)(value for _, value in finite_values)
    return [at for at, value in finite_values if value == best]


def is_finite(value: Any) -> bool:
    """Tell whether a value is a number that can be compared: no boolean, no NaN, no infinity."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def difference(value: Any, base: Any) -> tuple[float, float | None] | None:
    """Return how far a value is from `base`, absolutely and in percent (None for a base of 0); None without numbers."""
    if not (is_finite(value) and is_finite(base)):
        return None
    absolute = float(value) - float(base)
    if not math.isfinite(absolute):
        return None
    percent = absolute / abs(float(base)) * 100 if base else None
    return absolute, percent if percent is None or math.isfinite(percent) else None
