"""A normal approximation of the posterior from modes and curvatures, for a preview.

The mode of everything is no place to look from: standard deviations have theirs where effects
vanish. So they are set where they are most probable with all else integrated out, by Laplace's
approximation (expectation-maximization), and all else where it is most probable given them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bayesdense.arrays import Floats
from bayesdense.engine.target import LogDensity, Target
from bayesdense.engine.whiten import Whitening, linear, whiten_about, whiten_at_mode

#: Rounds of expectation and maximization, draws that stand for an expectation (in pairs of
#: opposite sign), and steps of the searches within a round.
_ROUNDS, _PAIRS, _STEPS, _MODE_STEPS = 12, 8, 4, 8
#: Draws from which the variance of the score is learnt, in pairs.
_SCORE_PAIRS = 200
_SHIFT = 1e-3
#: Posterior scales of standard deviations in z are held below this.
_MAX_SCALE = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """Draws of a normal approximation and their log weights, the posterior's over the normal's."""

    z: Floats
    log_ratio: Floats
    whitening: Whitening


def approximate(target: Target, *, draws: int, seed: int) -> Normal:
    """Approximate the posterior of a target of which everything is sampled.

    Returns
    -------
    Normal
        z (draws, n), log_ratio (draws,).
    """
    whitening = _normal_about(target, np.random.default_rng([seed, 1]))
    zeta = np.random.default_rng([seed, 2]).standard_normal((draws, target.coordinates.size))
    density = target.whitened(whitening, target.nothing_given)
    log_posterior = np.array([density(point)[0] for point in zeta])
    log_normal = -0.5 * (zeta**2).sum(axis=1)
    return Normal(whitening.apply(zeta), log_posterior - log_normal, whitening)


def _normal_about(target: Target, rng: np.random.Generator) -> Whitening:
    where, density = target.coordinates, target.log_density()
    scale_like, local = where.scale_parameters, where.local
    normals = _pairs(rng, _PAIRS, scale_like)
    given = whiten_at_mode(density, where.start, scale_like, local)
    for _ in range(_ROUNDS):
        points = given.apply(normals)
        z = given.table.bends[:, 4].copy()
        z[scale_like] = minimize(
            _mean_density(density, points, scale_like),
            z[scale_like],
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _STEPS},
        ).x
        z = _mode_near(target, given, z, scale_like)
        given = whiten_about(density, z, scale_like, local)
    return _joined(density, given, normals, _pairs(rng, _SCORE_PAIRS, scale_like), scale_like)


def _pairs(rng: np.random.Generator, n_pairs: int, fixed: np.ndarray) -> Floats:
    """Standard normals in pairs of opposite sign; 0 where fixed."""
    normals = rng.standard_normal((n_pairs, len(fixed)))
    normals[:, fixed] = 0.0
    return np.concatenate([normals, -normals])


def _mode_near(target: Target, given: Whitening, z: Floats, fixed: np.ndarray) -> Floats:
    """Mode over what is not fixed, sought in coordinates in which it is nearly round."""
    table = given.table
    own, dense, matrix = table.bends[:, 5], table.dense, table.matrix
    about = linear(z, own, dense, matrix)
    density = target.whitened(about, target.nothing_given)
    free = ~fixed

    def objective(x: Floats) -> tuple[float, Floats]:
        zeta = np.zeros(len(z))
        zeta[free] = x
        value, slope = density(zeta)
        return (-value, -slope[free]) if np.isfinite(value) else (1e300, np.zeros_like(x))

    zeta = np.zeros(len(z))
    zeta[free] = minimize(
        objective, zeta[free], jac=True, method="L-BFGS-B", options={"maxiter": _MODE_STEPS}
    ).x
    return about.apply(zeta)


def _mean_density(
    density: LogDensity, points: Floats, scale_like: np.ndarray
) -> Callable[[Floats], tuple[float, Floats]]:
    """Minus the mean log density over points, as a function of what is scale-like in all."""

    def expected(scales: Floats) -> tuple[float, Floats]:
        total, gradient = 0.0, np.zeros(int(scale_like.sum()))
        for point in points:
            moved = point.copy()
            moved[scale_like] = scales
            value, slope = density(moved)
            if not np.isfinite(value):
                return 1e300, np.zeros_like(gradient)
            total -= value
            gradient -= slope[scale_like]
        return total / len(points), gradient / len(points)

    return expected


def _joined(
    density: LogDensity,
    given: Whitening,
    few: Floats,
    many: Floats,
    scale_like: np.ndarray,
) -> Whitening:
    """Normal of everything: all else given standard deviations, and these by Louis (1982).

    Their precision is the mean curvature less the variance of the score, over draws of all else;
    the mean of all else moves with them as their mixed curvature says. Of the score's variance the
    part that is linear in all else is known; draws give the rest. `few` and `many` are normals.
    """
    at, table = np.flatnonzero(scale_like), given.table
    curvature, cross = np.zeros((len(at), len(at))), np.zeros((len(at), len(scale_like)))
    points = given.apply(few)
    for k, position in enumerate(at):
        step = np.zeros(len(scale_like))
        step[position] = _SHIFT
        ends = [
            np.mean([density(point + sign * step)[1] for point in points], axis=0)
            for sign in (1, -1)
        ]
        row = (ends[1] - ends[0]) / (2 * _SHIFT)
        curvature[k], cross[k] = row[at], row
    cross[:, at] = 0.0
    # Given the scales, the covariance of all else is own^2 + matrix matrix'.
    own_var = table.bends[:, 5] ** 2
    follow = -(table.matrix @ (table.matrix.T @ cross.T) + own_var[:, None] * cross.T)
    points = given.apply(many)
    beyond = np.array([density(point)[1][at] for point in points])
    beyond += (points - table.bends[:, 4]) @ cross.T
    precision = (curvature + curvature.T) / 2 + cross @ follow - np.cov(beyond.T, bias=True)
    values, vectors = np.linalg.eigh(precision)
    root = (vectors / np.sqrt(np.maximum(values, _MAX_SCALE**-2))) @ vectors.T
    matrix = table.matrix.copy()
    columns = np.flatnonzero(np.isin(table.dense, at))
    matrix[:, columns] = follow @ root
    matrix[np.ix_(at, columns)] = root
    return linear(table.bends[:, 4], table.bends[:, 5], table.dense, matrix)
