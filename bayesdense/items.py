"""Scores as shares of items: what answering n of them adds to the noise of a score."""

from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, logsumexp

from bayesdense.elementary import Array, expit, log1p_exp, logit

#: Below this many hits or misses, n S (1 - S) of the observed score, its logit is far from normal.
FEW_ITEMS = 10.0
#: Nodes for the normal noise beneath a count: the trapezoid rule, in standard deviations. Exact to
#: 1e-6 while the noise is below 2 on the logit, as a count of `FEW_ITEMS` is wider than .3, and to
#: the 3e-12 that lie beyond the last nodes.
COUNT_NODES = np.linspace(-7.0, 7.0, 85)
COUNT_LOG_WEIGHTS = (
    -0.5 * COUNT_NODES**2 - 0.5 * np.log(2 * np.pi) + np.log(COUNT_NODES[1] - COUNT_NODES[0])
)


def item_variance(logit_score: Array, n_items: Array) -> Array:
    """Variance of the logit of a score on n items: 1 / (n S (1 - S)), by the delta method.

    Parameters
    ----------
    logit_score
        Logit of the expected score S.
    n_items
        Number of items, > 0.

    Returns
    -------
    Array
        (2 + exp(logit S) + exp(-logit S)) / n, the same without the cancellation of 1 - S.
    """
    return (2.0 + np.exp(logit_score) + np.exp(-logit_score)) / n_items


def logit_of_score(score: Array, n_items: Array) -> Array:
    """Logit of a score on n items, fractions and counts; 0 and n of n are moved by half an item."""
    return logit(np.clip(score, 0.5 / n_items, 1.0 - 0.5 / n_items))


def is_few(score: Array, n_items: Array) -> Array:
    """Whether a score stands for so few hits or misses that it is read as a count."""
    return n_items * score * (1.0 - score) < FEW_ITEMS


def log_binomial(n_items: Array, n_correct: Array, log_gamma: Callable[[Array], Array]) -> Array:
    """Log of n over k by the log of the gamma function, SciPy's or PyTensor's."""
    return log_gamma(n_items + 1) - log_gamma(n_correct + 1) - log_gamma(n_items - n_correct + 1)


def count_terms(
    n_correct: Array, n_items: Array, log_coefficient: Array, mean: Array, sd: Array
) -> Array:
    """Terms whose `log_sum_exp` over the last axis is the log probability of a count.

    The count is binomial and its logit normal: p(k) = integral of Binomial(k; n, expit(x)) times
    Normal(x; mean, sd) dx. Terms are log weights plus log binomial probabilities at the nodes.

    Parameters
    ----------
    n_correct, n_items
        k and n: counts, 0 <= k <= n; k need not be whole (a score averaged over attempts).
    log_coefficient
        `log_binomial` of the counts.
    mean, sd
        Of the logit, sd > 0; any shape that broadcasts with the counts.

    Returns
    -------
    Array
        One more axis than the arguments: the nodes of the trapezoid rule.
    """
    logit_score = mean[..., None] + sd[..., None] * COUNT_NODES
    return (
        COUNT_LOG_WEIGHTS
        + log_coefficient[..., None]
        + n_correct[..., None] * logit_score
        - n_items[..., None] * log1p_exp(logit_score)
    )


def count_mid_p(n_correct: Array, n_items: Array, mean: Array, sd: Array) -> Array:
    """P(K < k) + P(K = k) / 2 of counts of few hits whose logit is normal (`count_terms`)."""
    hits = np.rint(n_correct)
    out = np.zeros(np.broadcast_shapes(np.shape(hits), np.shape(mean)))
    for k in range(int(hits.max(initial=-1.0)) + 1):
        count = np.full(np.shape(n_items), float(k))
        coefficient = log_binomial(n_items, count, gammaln)
        probability = np.exp(logsumexp(count_terms(count, n_items, coefficient, mean, sd), axis=-1))
        out += probability * (0.5 * (k < hits) + 0.5 * (k <= hits))
    return out


def draw_score(logit_score: Array, n_items: Array, rng: np.random.Generator) -> Array:
    """Share of n items that are answered when each is with probability expit(logit_score)."""
    shape = np.broadcast_shapes(np.shape(logit_score), np.shape(n_items))
    items = np.broadcast_to(np.rint(n_items).astype(np.int64), shape)
    return rng.binomial(items, np.broadcast_to(expit(logit_score), shape)) / items
