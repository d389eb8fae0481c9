"""How often intervals hold the truth, how far estimates are off, and by how much too narrow."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from bayesdense.arrays import Floats
from bayesdense.names import CI_PROB
from bayesdense.studies.calibrate_jobs import PROBS, interval_name
from bayesdense.studies.power_counts import share_of

_WIDEST: Final = interval_name(CI_PROB)


def interval_counts(
    truths: Sequence[float], found: Sequence[Mapping[str, Any]], n: int
) -> dict[str, Any]:
    """Count intervals of growth that hold the truth, and say how far medians are off.

    Parameters
    ----------
    truths
        Growth of each simulation that was fitted, 1/year.
    found
        What an estimator says of each: `median`, and `eti50`, `eti80`, `eti95` (absent or null:
        there is none).
    n
        Simulations in all: those that were not fitted, or have no interval, count as not held.

    Returns
    -------
    dict
        `coverage` by interval (hits, n, share, its 95 % interval by Jeffreys), `n_without` an
        interval, `truth_below` and `truth_above` the 95 % interval, `bias` (mean, standard error
        and median of median - truth, of those that have a median), `rmse`, `median_width` of the
        95 % interval, and `stretch`: the factor by which the halves of 95 % intervals would have to
        be stretched to hold 95 % of the truths of those that have one.
    """
    ends = {interval_name(prob): _ends(found, interval_name(prob)) for prob in PROBS}
    true = np.asarray(truths, dtype=float)
    medians = np.array([_number(one.get("median")) for one in found])
    low, high = ends[_WIDEST].T
    has = np.isfinite(low)
    off = (medians - true)[np.isfinite(medians)]
    return {
        "coverage": {
            name: share_of(int(((low <= true) & (true <= high)).sum()), n)
            for name, (low, high) in ((name, pair.T) for name, pair in ends.items())
        },
        "n_without": n - int(has.sum()),
        "truth_below": int((true < low).sum()),
        "truth_above": int((true > high).sum()),
        "bias": {
            "mean": _or_none(off.mean() if len(off) else np.nan),
            "se": _or_none(off.std(ddof=1) / np.sqrt(len(off)) if len(off) > 1 else np.nan),
            "median": _or_none(np.median(off) if len(off) else np.nan),
        },
        "rmse": _or_none(np.sqrt((off**2).mean()) if len(off) else np.nan),
        "median_width": _or_none(np.median((high - low)[has]) if has.any() else np.nan),
        "stretch": stretch(true[has], medians[has], low[has], high[has]),
    }


def stretch(truth: Floats, median: Floats, low: Floats, high: Floats) -> float | None:
    """Factor by which the halves of intervals have to be stretched to hold 95 % of the truths.

    Examples
    --------
    >>> zeros, ones = np.zeros(4), np.ones(4)
    >>> stretch(np.array([0.5, -0.5, 1.0, 3.0]), zeros, -ones, ones)
    3.0
    """
    if not len(truth):
        return None
    above = truth >= median
    half = np.where(above, high - median, median - low)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.where(truth == median, 0.0, np.abs(truth - median) / half)
    return _or_none(float(np.quantile(needed, CI_PROB, method="higher")))


def width_ratio(
    found: Mapping[int, Mapping[str, Any]], beside: Mapping[int, Mapping[str, Any]]
) -> float | None:
    """Median over simulations of the 95 % interval's width over that in another world.

    Parameters
    ----------
    found, beside
        What is said of growth in the one world and in the other, by number of the simulation.
    """
    both = [k for k in found if k in beside]
    widths = [
        np.diff(_ends([said[k] for k in both], _WIDEST), axis=1)[:, 0] for said in (found, beside)
    ]
    ratios = widths[0] / widths[1]
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else None


def _ends(found: Sequence[Mapping[str, Any]], name: str) -> Floats:
    """Ends of intervals, (n, 2); NaN where there is none."""
    pairs = [one.get(name) or (None, None) for one in found]
    return np.array([[_number(end) for end in pair] for pair in pairs]).reshape(-1, 2)


def _number(value: float | None) -> float:
    """A number, NaN in the place of none."""
    return np.nan if value is None else float(value)


def _or_none(value: float) -> float | None:
    """A finite number, or none."""
    return float(value) if np.isfinite(value) else None
