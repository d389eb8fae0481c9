"""Least squares score map of one benchmark, with the paper's pseudo-point or without it."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import nnls

from bayesdense import elementary, score_maps
from bayesdense.arrays import Floats
from bayesdense.point.descent import descend

#: The search stays inside its bounds: a floor of 1e-30 is one of 0.
_NO_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """Logistic map S = d + (c - d) logistic(-gamma (L - l)); c may exceed 1, as the paper's do."""

    score_floor: float
    score_ceiling: float
    score_slope: float
    loss_midpoint: float
    rms: float
    n_points: int
    pseudo_point: bool

    @property
    def _shape(self) -> tuple[float, float, float, float]:
        """Parameters in the order of `score_maps.logistic_score`."""
        return (self.score_floor, self.score_ceiling, self.score_slope, self.loss_midpoint)

    def score(self, loss: Floats | float) -> Floats:
        """Score at a loss."""
        return np.asarray(score_maps.logistic_score(loss, *self._shape))

    def loss(self, score: Floats | float) -> Floats:
        """Loss at a score; -inf at or above the ceiling, +inf at or below the floor."""
        return np.asarray(score_maps.logistic_score_loss(score, *self._shape))

    def to_dict(self) -> dict[str, object]:
        """Plain values, as in the output of `point`."""
        return {
            "score_floor": self.score_floor,
            "score_ceiling": self.score_ceiling,
            "score_slope": self.score_slope,
            "loss_midpoint": self.loss_midpoint,
            "rms": self.rms,
            "n_points": self.n_points,
            "pseudo_point": self.pseudo_point,
        }


def fit_score_map(loss: Floats, score: Floats, *, pseudo_point: bool = True) -> ScoreMap:
    """Unweighted least squares of the score on a logistic function of the loss, with d >= 0.

    Parameters
    ----------
    loss, score
        The calibration points, shape (n_points,): loss in the benchmark's unit, score a fraction.
    pseudo_point
        Add the point (loss 0, score 1). The paper does not say so, but this is what reproduces
        all of its drawn curves; without it the ceilings fall from about 1 to .58-.85.

    Returns
    -------
    ScoreMap
        The best of 25 fixed starts; `rms` over the real points.

    References
    ----------
    Xiao et al. 2025, eq. 3, whose c is the height c - d and whose gamma is negative.
    """
    x, y = (np.append(loss, 0.0), np.append(score, 1.0)) if pseudo_point else (loss, score)
    width = max(float(np.ptp(loss)), 1e-6)
    starts = product(
        np.geomspace(1.0, 30.0, 5) / width, np.quantile(loss, np.linspace(0.1, 0.9, 5))
    )
    ends = [_descend(x, y, slope, midpoint, width) for slope, midpoint in starts]
    best = min(ends, key=lambda end: _sum_of_squares(end, x, y))
    floor, height, log_slope, midpoint = (float(value) for value in best)
    return ScoreMap(
        score_floor=floor if floor > _NO_FLOOR else 0.0,
        score_ceiling=floor + height,
        score_slope=float(np.exp(log_slope)),
        loss_midpoint=midpoint,
        rms=float(np.sqrt(_sum_of_squares(best, loss, score) / len(loss))),
        n_points=len(loss),
        pseudo_point=pseudo_point,
    )


def _residuals(theta: Floats, loss: Floats, score: Floats) -> Floats:
    """Misfit at (floor, height, log slope, midpoint)."""
    floor, height, log_slope, midpoint = theta
    position = elementary.expit(-np.exp(log_slope) * (loss - midpoint))
    return np.asarray(floor + height * position - score)


def _jacobian(theta: Floats, loss: Floats, score: Floats) -> Floats:
    """Differentiate `_residuals`; `score` drops out."""
    _, height, log_slope, midpoint = theta
    slope = np.exp(log_slope)
    position = elementary.expit(-slope * (loss - midpoint))
    rise = height * position * (1.0 - position) * slope
    return np.column_stack(
        [np.ones_like(loss), position, -rise * (loss - midpoint), rise * np.ones_like(loss)]
    )


def _sum_of_squares(theta: Floats, loss: Floats, score: Floats) -> float:
    """Sum of squared misfits."""
    return float(np.sum(_residuals(theta, loss, score) ** 2))


def _descend(loss: Floats, score: Floats, slope: float, midpoint: float, width: float) -> Floats:
    """Local optimum from a start, its floor and height by linear least squares."""
    columns = np.column_stack([np.ones_like(loss), elementary.expit(-slope * (loss - midpoint))])
    floor, height = nnls(columns, score)[0]
    start = [min(max(floor, 1e-6), 0.9), min(max(height, 1e-3), 4.9), np.log(slope), midpoint]
    margin = 3.0 * width
    lower = [0.0, 1e-6, np.log(0.01 / width), loss.min() - margin]
    upper = [1.0, 5.0, np.log(1e3 / width), loss.max() + margin]
    bounds = np.array(lower), np.array(upper)
    result = descend(_residuals, _jacobian, np.array(start), bounds, args=(loss, score))
    return np.asarray(result.x)
