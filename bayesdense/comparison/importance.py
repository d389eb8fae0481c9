"""Means of weights over draws, on the log, with what says whether they can be trusted."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from arviz_stats.base.array import array_stats
from scipy.special import logsumexp

from bayesdense.arrays import Floats
from bayesdense.comparison.bridge import N_SPLITS, effective_number

#: Shape of the weights' tail above which their mean is not to be trusted (Vehtari et al. 2024).
RELIABLE_K: Final = 0.7


@dataclass(frozen=True, slots=True)
class LogMean:
    """Log of a mean over draws, with its error.

    Attributes
    ----------
    value
        Nats.
    se
        Standard error: by the effective number of terms, or by 5 disjoint parts if that is larger.
    pareto_k
        Shape of the tail of the terms; above .7 the value is not to be trusted.
    """

    value: float
    se: float
    pareto_k: float

    @property
    def reliable(self) -> bool:
        """Whether the mean of the terms is."""
        return self.pareto_k <= RELIABLE_K


def log_mean(log_terms: Floats) -> LogMean:
    """Log of the mean of exp(log_terms), (chain, draw)."""
    value = float(logsumexp(log_terms) - math.log(log_terms.size))
    relative = np.exp(log_terms - value)
    if np.ptp(relative) <= 1e-12:  # all terms are the mean itself
        return LogMean(value, 0.0, -math.inf)
    parts = [part.mean() for part in np.array_split(relative, N_SPLITS, axis=1)]
    by_splits = float(np.std(parts, ddof=1) / math.sqrt(N_SPLITS))
    by_ess = float(relative.std() / math.sqrt(effective_number(relative)))
    _, pareto_k = array_stats.psislw(-log_terms.ravel(), axis=-1)
    return LogMean(value, max(by_ess, by_splits), float(pareto_k))
