"""Growth as a smooth curve of which nothing is known but how fast it changes.

A Gaussian process of squared exponential covariance, length scale one year, in the basis of the
Laplace operator's eigenfunctions on an interval that reaches beyond the window.

References
----------
Solin and Särkkä 2020, Statistics and Computing 30:419; Riutort-Mayol et al. 2023, Statistics and
Computing 33:17.
"""

import numpy as np

from bayesdense.elementary import Array
from bayesdense.names import WAVE
from bayesdense.trends.base import Theta, Trend, TrendData, clamp
from bayesdense.trends.grids import LENGTH_SCALE, wave_interval


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + integral from 0 to t of the growth.

    The integral of phi_k is -cos(w_k (t - c + L)) / (w_k sqrt L), w_k = k pi / 2L; past the
    interval's ends, where the waves are 0, it stays.
    """
    centre, half = wave_interval(data.first, data.last)
    inside = clamp(t, centre - half, centre + half)
    line = theta["trend_intercept"] + theta["growth_rate"] * t
    for k, wave in enumerate(theta["growth_wave"], start=1):
        speed = _speed(k, half)
        risen = np.cos(speed * (half - centre)) - np.cos(speed * (inside - centre + half))
        line = line + wave * (_share(k, half) / (speed * half**0.5)) * risen
    return line


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth g + sum of z_k s_k phi_k(t), phi_k(t) = sin(w_k (t - c + L)) / sqrt L.

    z_k ~ Normal(0, growth_wave_sd); s_k^2 is the spectral density of unit variance at w_k.
    """
    centre, half = wave_interval(data.first, data.last)
    inside = clamp(t, centre - half, centre + half)
    growth = theta["growth_rate"] + 0.0 * t
    for k, wave in enumerate(theta["growth_wave"], start=1):
        height = _share(k, half) / half**0.5
        growth = growth + wave * height * np.sin(_speed(k, half) * (inside - centre + half))
    return growth


def _speed(k: int, half: float) -> float:
    """Angular frequency w_k of a wave."""
    return k * float(np.pi) / (2 * half)


def _share(k: int, half: float) -> float:
    """Sd s_k of a wave, sqrt of the spectral density sqrt(2 pi) l exp(-(l w)^2 / 2)."""
    exponent = -0.25 * (LENGTH_SCALE * _speed(k, half)) ** 2
    return float((2 * np.pi) ** 0.25 * LENGTH_SCALE**0.5 * np.exp(exponent))


GP = Trend(
    kind="gp",
    parameters=("trend_intercept", "growth_rate", "growth_wave"),
    eta=_eta,
    growth_rate=_growth_rate,
    is_linear=True,
    dims={"growth_wave": WAVE},
    pinned=("growth_wave",),
    formula="eta0 + ∫ (g + f), f a Gaussian process of length scale one year",
    outside="growth returns to its mean g over about two years",
)
