"""Ranks of truths among draws, and the bands that they have to keep to: pure arithmetic.

Talts et al. 2018 (arXiv 1804.06788): if truths are drawn from the prior and data from the truth,
the rank of the truth among independent draws of the posterior is uniform. Bands are ArviZ's
(Saeilynoja, Buerkner and Vehtari 2022, Statistics and Computing 32:32).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from arviz_stats.ecdf_utils import (
    compute_ecdf,
    get_pointwise_confidence_band,
    simulate_confidence_bands,
)

from bayesdense.arrays import Floats

#: Draws among which a truth is ranked, and bulk ESS from which so many are nearly independent:
#: where draws are autocorrelated as by an AR(1), neighbours among the thinned correlate by .02.
N_RANKED: Final = 100
LEAST_ESS: Final = 2.0 * N_RANKED
#: Fewer ranks than this are not judged: counts so small leave no room for a band of all.
LEAST_RANKED: Final = 20
#: Level of the band of one quantity, and of all of them together.
LEVEL: Final = 0.95
#: Simulated uniform samples outside of a band, on average, by which its width is found.
_OUTSIDE: Final = 20
_LEAST_SIMULATIONS: Final = 2000
_BAND_SEED: Final = 214
#: Slack of a comparison of shares: they are counts over n.
_SLACK: Final = 1e-9


def thinned(draws: Floats, n: int = N_RANKED) -> Floats:
    """Equally spaced draws, as many from each chain.

    Parameters
    ----------
    draws
        (chains, draws, ...): at least `n` in all.
    n
        How many are kept; chains that do not divide it give the next lower multiple.

    Returns
    -------
    numpy.ndarray
        (kept, ...).

    Examples
    --------
    >>> thinned(np.arange(12.0).reshape(2, 6), 4).tolist()
    [1.0, 4.0, 7.0, 10.0]
    """
    chains, length = draws.shape[:2]
    each = min(max(n // chains, 1), length)
    rows = ((np.arange(each) + 0.5) * length / each).astype(int)
    return np.asarray(draws[:, rows].reshape(chains * each, *draws.shape[2:]))


def rank_value(draws: Floats, truth: float, rng: np.random.Generator) -> float:
    """Randomised rank of a truth among draws, as a number between 0 and 1.

    (r + u) / (n + 1) with r the number of draws below the truth, and of those equal to it a
    uniform number of them, u uniform: exactly uniform if truth and draws are independent and alike,
    ties or none.

    Parameters
    ----------
    draws
        (n,): independent draws of the posterior.
    truth
        What the data were made from.
    rng
        For ties, and for the place within a rank.
    """
    below, equal = int((draws < truth).sum()), int((draws == truth).sum())
    rank = below + int(rng.integers(equal + 1))
    return (rank + float(rng.uniform())) / (len(draws) + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A simultaneous band of the ECDF of a uniform sample.

    Attributes
    ----------
    level
        Probability with which the whole ECDF of a uniform sample lies inside.
    at, lower, upper
        (n - 1,): points k/n, and the band there.
    """

    level: float
    at: Floats
    lower: Floats
    upper: Floats


@lru_cache(maxsize=8)
def band(n: int, level: float) -> Band:
    """Band of the ECDF of `n` uniform numbers, by ArviZ' simulation; the same at every call."""
    at = np.arange(1, n) / n
    simulations = max(_LEAST_SIMULATIONS, int(np.ceil(_OUTSIDE / (1.0 - level))))
    rng = np.random.default_rng(_BAND_SEED)
    pointwise = simulate_confidence_bands(n, 1, at, level, simulations, rng)
    return Band(level, at, *get_pointwise_confidence_band(pointwise, n, at))


def difference(values: Floats) -> tuple[Floats, Floats]:
    """Points k/n, and by how much the ECDF of n values lies above that of a uniform there."""
    at = np.arange(1, len(values)) / len(values)
    return at, np.asarray(compute_ecdf(values, at) - at)


def leaves(values: Floats, limits: Band) -> bool:
    """Whether the ECDF of values leaves a band of as many."""
    _, apart = difference(values)
    low, high = limits.lower - limits.at, limits.upper - limits.at
    return bool((apart < low - _SLACK).any() or (apart > high + _SLACK).any())


def simultaneous_level(n_quantities: int) -> float:
    """Level of a band that all of so many quantities keep to with probability .95 (Bonferroni)."""
    return 1.0 - (1.0 - LEVEL) / n_quantities


def judged(values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Hold the ranks of every quantity against its own band and that of all of them.

    Parameters
    ----------
    values
        Quantity -> rank values of all simulations that have it, at least `LEAST_RANKED`; others are
        left out.

    Returns
    -------
    dict
        n_quantities, levels, the quantities that leave the band of one (`outside_single`; K (1 -
        level) are expected to) and that of all (`outside_all`: none should), and each quantity's
        number, mean in standard errors from that of a uniform (positive: truths above the draws),
        and largest distance of its ECDF from the uniform one.
    """
    ranked = {
        name: np.asarray(row, dtype=float)
        for name, row in values.items()
        if len(row) >= LEAST_RANKED
    }
    level = simultaneous_level(max(len(ranked), 1))
    quantities = {
        name: {
            "n": len(row),
            "mean_z": float((row.mean() - 0.5) * np.sqrt(12 * len(row))),
            "largest_difference": float(np.abs(difference(row)[1]).max()),
            "outside_single": leaves(row, band(len(row), LEVEL)),
            "outside_all": leaves(row, band(len(row), level)),
        }
        for name, row in ranked.items()
    }
    return {
        "n_quantities": len(ranked),
        "level_single": LEVEL,
        "level_all": level,
        "expected_outside_single": (1.0 - LEVEL) * len(ranked),
        "outside_single": [name for name, one in quantities.items() if one["outside_single"]],
        "outside_all": [name for name, one in quantities.items() if one["outside_all"]],
        "quantities": quantities,
    }
