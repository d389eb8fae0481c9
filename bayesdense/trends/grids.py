"""Dates and numbers that trends lay over the window of a dataset."""

import math
from typing import Final

import numpy as np

from bayesdense.arrays import Floats

#: Length of a bin of growth, in years.
QUARTER_YEARS: Final = 0.25
#: Share of the window in which growth may break.
_INNER = 0.8
#: Years over which smooth growth changes: the length scale of the process behind `gp`.
LENGTH_SCALE: Final = 1.0


def quarters(first: float, last: float) -> Floats:
    """Edges of bins of a quarter of a year from `first` on that cover all up to `last`.

    Returns
    -------
    ndarray
        (bins + 1,), years; at least one bin. Later data add bins and move none.
    """
    n = max(1, math.ceil((last - first) / QUARTER_YEARS - 1e-9))
    return np.asarray(first + QUARTER_YEARS * np.arange(n + 1))


def break_dates(first: float, last: float, n: int) -> Floats:
    """Dates at which growth may break: the middles of n equal parts of the window's inner 80 %.

    Returns
    -------
    ndarray
        (n,), years. Each stands for its part, so that the date is uniform a priori.
    """
    low, high = (0.5 * (first + last) + sign * 0.5 * _INNER * (last - first) for sign in (-1, 1))
    return np.asarray(low + (high - low) * (np.arange(n) + 0.5) / n)


def wave_interval(first: float, last: float) -> tuple[float, float]:
    """Centre and half length of the interval on which waves describe smooth growth, in years.

    Half a window S is stretched by c = max(1.2, 3.2 l / S) for a length scale l, as the
    approximation of a squared exponential needs (Riutort-Mayol et al. 2023, sec. 4.2).
    """
    half = max(0.5 * (last - first), 1e-3)
    return 0.5 * (first + last), max(1.2 * half, 3.2 * LENGTH_SCALE)


def n_waves(first: float, last: float) -> int:
    """Waves that the same approximation needs: 1.75 c S / l."""
    return math.ceil(1.75 * wave_interval(first, last)[1] / LENGTH_SCALE)
