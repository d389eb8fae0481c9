"""How good predictions were: scores of distributions, coverage, differences with errors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from bayesdense.arrays import Floats
from bayesdense.estimates import tails

#: Standard errors from which on a difference is more than chance.
ERRORS_TO_DIFFER = 2.0


def crps(draws: Floats, outcome: Floats) -> Floats:
    """Continuous ranked probability score E|X - y| - E|X - X'| / 2, per outcome.

    The second mean is over pairs of different draws, so that the score is not biased by their
    number.

    Parameters
    ----------
    draws
        (n_draws, n), at least two draws.
    outcome
        (n,), in the unit of the draws.

    Returns
    -------
    numpy.ndarray
        (n,), in that unit; smaller is better.

    References
    ----------
    Gneiting and Raftery 2007, J. Am. Stat. Assoc. 102:359.

    Examples
    --------
    >>> crps(np.array([[0.0], [1.0]]), np.array([0.5])).tolist()
    [0.0]
    """
    n = len(draws)
    ordered = np.sort(draws, axis=0)
    weights = 2.0 * np.arange(1, n + 1) - n - 1
    spread = weights @ ordered / (n * (n - 1))
    return np.asarray(np.abs(draws - outcome).mean(axis=0) - spread)


def mixture_log_score(outcome: Floats, mean: Floats, var: Floats) -> Floats:
    """Log density of outcomes (n,) under equal mixtures of Normal(mean, var), (n_draws, n)."""
    log_density = -0.5 * ((outcome - mean) ** 2 / var + np.log(2 * math.pi * var))
    return np.asarray(logsumexp(log_density, axis=0)) - math.log(len(mean))


def inside(draws: Floats, outcome: Floats, prob: float) -> NDArray[np.bool_]:
    """Whether the central interval of the draws (n_draws, n) holds the outcomes (..., n)."""
    low, high = np.quantile(draws, tails(prob), axis=0)
    return np.asarray((low <= outcome) & (outcome <= high))


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """Mean of values of which those of one cluster go together.

    Attributes
    ----------
    mean, se
        Mean over values, and sqrt(K/(K - 1) sum_k (sum of deviations in cluster k)^2) / n with K
        clusters; `se` is None for one cluster.
    n, n_clusters
        Values and clusters.
    """

    mean: float
    se: float | None
    n: int
    n_clusters: int

    @property
    def sign(self) -> int:
        """-1, 0 or 1: the side of zero on which the mean lies beyond two errors."""
        if self.se is None or abs(self.mean) <= ERRORS_TO_DIFFER * self.se:
            return 0
        return 1 if self.mean > 0 else -1


def clustered_mean(values: Floats, clusters: Sequence[str]) -> ClusteredMean:
    """Mean over values with its error over clusters.

    Parameters
    ----------
    values
        (n,), n > 0.
    clusters
        Cluster of each.
    """
    mean = float(values.mean())
    labels, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    count = len(labels)
    if count < 2:
        return ClusteredMean(mean, None, len(values), count)
    sums = np.bincount(index, values - mean)
    se = math.sqrt(count / (count - 1) * float(sums @ sums)) / len(values)
    return ClusteredMean(mean, se, len(values), count)
