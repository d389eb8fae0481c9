"""Log density as a power of the time since a start, a year before the first release.

References
----------
Nagy et al. 2013, PLoS ONE 8:e52669 (which laws of technological progress forecast best).
"""

from typing import Final

import numpy as np

from bayesdense.elementary import Array, positive_part
from bayesdense.trends.base import Theta, Trend, TrendData

#: Years from the start of time to the first release.
_HEAD_START: Final = 1.0


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + g T (((t + T) / T)^p - 1) / p, T the time from the start to the origin.

    Before the first release the growth is that at the first release.
    """
    age, p = _HEAD_START - data.first, theta["growth_power"]
    inside, early = _split(t, data.first)
    risen = age * np.expm1(p * np.log1p(inside / age)) / p
    slope = np.exp((p - 1.0) * np.log1p(data.first / age))
    return theta["trend_intercept"] + theta["growth_rate"] * (risen - slope * early)


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth g ((t + T) / T)^(p - 1); g at the time origin."""
    age, p = _HEAD_START - data.first, theta["growth_power"]
    inside, _ = _split(t, data.first)
    return theta["growth_rate"] * np.exp((p - 1.0) * np.log1p(inside / age))


def _split(t: Array, first: float) -> tuple[Array, Array]:
    """Times held after the first release, and how far before it they are."""
    early = positive_part(first - t)
    return t + early, early


POWER = Trend(
    kind="power",
    parameters=("trend_intercept", "growth_rate", "growth_power"),
    eta=_eta,
    growth_rate=_growth_rate,
    positive=("growth_power",),
    formula="eta0 + g T (((t + T)/T)^p - 1)/p, T from a year before the first release to t = 0",
    outside="the power goes on; before the first release its growth there",
)
