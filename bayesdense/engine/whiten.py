"""Whitening: a map under which the posterior is nearly a standard normal.

Coordinates are bent one by one, then turned and scaled together: from mode and Hessian, or from the
draws of a pilot run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtri

from bayesdense.arrays import Floats, Ints
from bayesdense.joint_kernel import Whitened
from bayesdense.sizes.parallel import over_draws

#: z -> (log density, gradient).
type LogDensity = Callable[[Floats], tuple[float, Floats]]

#: Step of differences of the gradient, and at how many draws it is taken.
_STEP, _N_HESSIANS = 1e-4, 6
#: Limits of the search for the mode: a rough one does, as the pilot run learns the rest.
_SEARCH = MappingProxyType({"maxiter": 2000, "maxfun": 4000, "maxcor": 30})
#: Quantiles by which a coordinate's shape is known, and the shapes that are tried.
_N_QUANTILES = 100
_SKEWS, _WEIGHTS = np.linspace(-1.0, 1.0, 41), np.linspace(0.6, 1.4, 17)
#: Share of a coordinate's variance that others explain from which on it is not bent without them.
_RIDGE = 0.5
#: Posterior scale assumed for coordinates that are left out of the mode search.
_FROZEN_SCALE = 0.5
#: Eigenvalues of a covariance below this share of the largest are rounding.
_SINGULAR = 1e-12
#: Posterior scales in z above this are the prior's business, not the Hessian's.
_MAX_SCALE = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """z = shift + width sinh(weight (asinh u + skew)), u = centre + matrix zeta[dense] + own zeta.

    Effects of families, of which there may be thousands, are independent of each other given all
    else: they hang on what is `dense` and on a normal of their own (`own`, 0 for the dense).

    Attributes
    ----------
    table
        The six vectors side by side, `dense` and the matrix, as `joint_kernel.colour` reads them.
    """

    table: Whitened

    def apply(self, zeta: Floats) -> Floats:
        """Coordinates of whitened points, (..., n)."""
        shift, width, skew, weight, centre, own = self.table.bends.T
        u = centre + zeta[..., self.table.dense] @ self.table.matrix.T + own * zeta
        return np.asarray(shift + width * np.sinh(weight * (np.arcsinh(u) + skew)))

    def normals(self, z: Floats) -> Floats:
        """Whitened coordinates of points (..., n): what `apply` takes to them."""
        dense, matrix = self.table.dense, self.table.matrix
        shift, width, skew, weight, centre, own = self.table.bends.T
        u = np.sinh(np.arcsinh((z - shift) / width) / weight - skew) - centre
        flat = u[..., dense].reshape(-1, len(dense))
        common = np.linalg.solve(matrix[dense], flat.T).T.reshape(*z.shape[:-1], len(dense))
        out = (u - common @ matrix.T) / np.where(own == 0.0, 1.0, own)
        out[..., dense] = common
        return np.asarray(out)


def _whitening(*columns: Floats, dense: Ints, matrix: Floats) -> Whitening:
    """Whitening of shift, width, skew, weight, centre and own, and its matrix."""
    bends = np.ascontiguousarray(np.column_stack(columns))
    return Whitening(Whitened(bends, dense, np.ascontiguousarray(matrix)))


def linear(centre: Floats, own: Floats, dense: Ints, matrix: Floats) -> Whitening:
    """Whitening that bends nothing: z = centre + matrix zeta[dense] + own zeta."""
    zeros, ones = np.zeros(len(centre)), np.ones(len(centre))
    return _whitening(zeros, ones, zeros, ones, centre, own, dense=dense, matrix=matrix)


def unwhitened(n: int) -> Whitening:
    """Coordinates as they are."""
    return linear(np.zeros(n), np.ones(n), np.zeros(0, dtype=np.int64), np.zeros((n, 0)))


def whiten_by_draws(z: Floats, local: np.ndarray) -> Whitening:
    """Whiten by draws, (chain, draw, n): bend each coordinate to a normal, then decorrelate.

    Correlations are shrunk towards none as far as draws are few. Where coordinates outnumber draws,
    neither effects of families are bent, as errors of thousands of bends would sum to more than
    what they straighten, nor what lies on a ridge with others, which would bend the ridge.

    Parameters
    ----------
    z
        Draws of a pilot run.
    local
        Mask of the effects of families.
    """
    points, dense = z.reshape(-1, z.shape[-1]), np.flatnonzero(~local)
    trust = len(points) / (len(points) + len(dense))
    n = len(local)
    bends = np.array([points.mean(axis=0), points.std(axis=0), np.zeros(n), np.ones(n)])
    bent = np.arange(n)
    if len(points) < n:
        bent = dense[_stand_alone(points[:, dense], trust)]
    bends[:, bent] = _bends(points[:, bent])
    shift, width, skew, weight = bends
    u = np.sinh(np.arcsinh((points - shift) / width) / weight - skew)
    centre, sd = u.mean(axis=0), u.std(axis=0)
    standard = (u - centre) / sd
    root = np.linalg.cholesky(_correlation(standard[:, dense], trust))
    normals = solve_triangular(root, standard[:, dense].T, lower=True)
    matrix, own = np.zeros((len(sd), len(dense))), np.zeros(len(sd))
    matrix[dense] = sd[dense, None] * root
    slopes = trust * standard[:, local].T @ normals.T / len(u)
    matrix[local] = sd[local, None] * slopes
    own[local] = sd[local] * (standard[:, local] - normals.T @ slopes.T).std(axis=0)
    return _whitening(shift, width, skew, weight, centre, own, dense=dense, matrix=matrix)


def _correlation(standard: Floats, trust: float) -> Floats:
    """Correlations of standardized draws, shrunk towards none by what they are not trusted."""
    correlation = standard.T @ standard / len(standard)
    return np.asarray(trust * correlation + (1 - trust) * np.eye(len(correlation)))


def _stand_alone(points: Floats, trust: float) -> np.ndarray:
    """Mask of the coordinates of whose variance the others explain less than `_RIDGE`."""
    precision = np.linalg.inv(_correlation(_standardized(points.T).T, trust))
    return np.asarray(1 - 1 / np.diag(precision) < _RIDGE)


def turned_by_hessians(
    whitening: Whitening, log_density: LogDensity, z: Floats, local: np.ndarray
) -> Whitening:
    """Turn the local coordinates by the mean Hessian at some draws instead of by the draws.

    Thousands of effects' slopes on all else, each known from draws to a few per cent of a standard
    deviation, are wrong by several of them in sum: then all else could only move in small steps.
    At a single point the scores of a family may tell nothing of its effect, and its slopes are
    anything.

    Parameters
    ----------
    whitening
        Of draws.
    log_density
        Of its whitened points.
    z
        The draws, (chain, draw, n).
    local
        Mask of the effects of families.
    """
    if not local.any():
        return whitening
    points = z.reshape(-1, z.shape[-1])
    chosen = points[np.linspace(0, len(points) - 1, _N_HESSIANS).astype(int)]
    blocks = [
        _hessian(lambda zeta: -log_density(zeta)[1], point, local)[1:]
        for point in whitening.normals(chosen)
    ]
    cross, diagonal = (np.mean(every, axis=0) for every in zip(*blocks, strict=True))
    slopes, variances = _given_others(cross, diagonal)
    if not (np.isfinite(slopes).all() and np.isfinite(variances).all()):
        return whitening  # a draw lies beside the edge of the support
    table = whitening.table
    bends, matrix = table.bends.copy(), table.matrix.copy()
    own = bends[:, 5]
    matrix[local] += own[local, None] * slopes
    own[local] *= np.sqrt(variances)
    return Whitening(Whitened(bends, table.dense, matrix))


def turned_by_gradients(whitening: Whitening, log_density: LogDensity, z: Floats) -> Whitening:
    """Turn and scale what is dense by draws and their gradients together.

    With C the covariance of draws and F that of their gradients, both in whitened coordinates, the
    metric S of least Fisher divergence between posterior and normal has S F S = C (Seyboldt,
    Carlson and Carpenter 2026, "Preconditioning Hamiltonian Monte Carlo by minimizing Fisher
    divergence"). Of a normal posterior S is the covariance itself as soon as draws outnumber
    coordinates, however few they are; C alone is off by its sampling error, or by what it is shrunk
    for it, which along narrow ridges is many times their width. Gradients are taken where the local
    normals are 0, so that these add no noise.

    Parameters
    ----------
    whitening
        Of the same draws, its local coordinates turned at the centre.
    log_density
        Of its whitened points.
    z
        Draws, (chain, draw, n). Unless they outnumber the dense coordinates nothing is turned.
    """
    table = whitening.table
    points = whitening.normals(z.reshape(-1, z.shape[-1]))[:, table.dense]
    gradients = np.empty_like(points)

    def one(k: int) -> None:
        zeta = np.zeros(z.shape[-1])
        zeta[table.dense] = points[k]
        gradients[k] = log_density(zeta)[1][table.dense]

    over_draws(len(points), one)
    known = np.isfinite(gradients).all(axis=1)
    if known.sum() <= points.shape[1]:
        return whitening
    root, inverse = _roots(np.cov(gradients[known].T))
    middle, _ = _roots(root @ np.cov(points[known].T) @ root)
    turned = table.matrix @ np.linalg.cholesky(inverse @ middle @ inverse)
    return Whitening(table._replace(matrix=np.ascontiguousarray(turned)))


def _roots(matrix: Floats) -> tuple[Floats, Floats]:
    """Symmetric square root of a covariance, and its inverse."""
    values, vectors = np.linalg.eigh(matrix)
    scales = np.sqrt(np.maximum(values, _SINGULAR * values[-1]))
    return np.asarray((vectors * scales) @ vectors.T), np.asarray((vectors / scales) @ vectors.T)


def _bends(points: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Shift, width, skew and weight of every coordinate's sinh-arcsinh normal.

    Skew and weight are those of a grid under which quantiles of draws and of the distribution are
    most correlated (Filliben 1975); shift and width are the regression of the one on the other.
    """
    probabilities = (np.arange(_N_QUANTILES) + 0.5) / _N_QUANTILES
    observed = np.quantile(points, probabilities, axis=0).T
    skews, weights = (grid.ravel() for grid in np.meshgrid(_SKEWS, _WEIGHTS, indexing="ij"))
    bent = np.sinh(weights[:, None] * (np.arcsinh(ndtri(probabilities)) + skews[:, None]))
    best = np.argmax(_standardized(observed) @ _standardized(bent).T, axis=1)
    chosen = bent[best]
    width = observed.std(axis=1) / chosen.std(axis=1)
    shift = observed.mean(axis=1) - width * chosen.mean(axis=1)
    return shift, width, skews[best], weights[best]


def _standardized(rows: Floats) -> Floats:
    """Rows with mean 0 and sd 1."""
    deviations = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(deviations / deviations.std(axis=1, keepdims=True))


def whiten_at_mode(
    log_density: LogDensity, start: Floats, frozen: np.ndarray, local: np.ndarray
) -> Whitening:
    """Whiten by the Hessian at the mode over the coordinates that are not frozen.

    Parameters
    ----------
    log_density
        z -> (log density, gradient).
    start
        Where the search begins, and where frozen coordinates stay.
    frozen
        Mask of standard deviations: with them the density has no mode worth the name (it rises
        without bound as effects and their sd shrink together).
    local
        Mask of coordinates that are independent of each other given the others: effects of
        families.
    """
    free = ~frozen

    def objective(x: Floats) -> tuple[float, Floats]:
        z = start.copy()
        z[free] = x
        value, gradient = log_density(z)
        if not np.isfinite(value):
            return 1e300, np.zeros_like(x)
        return -value, -gradient[free]

    found = minimize(objective, start[free], jac=True, method="L-BFGS-B", options=_SEARCH)
    centre = start.copy()
    centre[free] = found.x
    return whiten_about(log_density, centre, frozen, local)


def whiten_about(
    log_density: LogDensity, centre: Floats, frozen: np.ndarray, local: np.ndarray
) -> Whitening:
    """Whiten by the Hessian at a point, as `whiten_at_mode`."""
    free = ~frozen

    def gradient(x: Floats) -> Floats:
        z = centre.copy()
        z[free] = x
        return np.asarray(-log_density(z)[1][free])

    dense = np.flatnonzero(~local)
    inner, slopes, variances = _arrow(gradient, centre[free], local[free])
    root = np.eye(len(dense)) * _FROZEN_SCALE
    at = np.flatnonzero(free[dense])
    root[np.ix_(at, at)] = _inverse_root(inner)
    matrix, own = np.zeros((len(centre), len(dense))), np.zeros(len(centre))
    matrix[dense] = root
    matrix[local] = slopes @ root[at]
    own[local] = np.sqrt(variances)
    return linear(centre, own, dense, matrix)


def _arrow(
    gradient: Callable[[Floats], Floats], x: Floats, local: np.ndarray
) -> tuple[Floats, Floats, Floats]:
    """Precision of the coordinates that are not local, and slopes and variances of these on them.

    With D the diagonal of the local coordinates' Hessian and C the derivatives along the others in
    them, the precision of the others with the local ones integrated out is H - C D^-1 C'.
    """
    inner, cross, diagonal = _hessian(gradient, x, local)
    slopes, variances = _given_others(cross, diagonal)
    return inner + cross @ slopes, slopes, variances


def _given_others(cross: Floats, diagonal: Floats) -> tuple[Floats, Floats]:
    """Slopes -D^-1 C' of the local coordinates' means on the others, and their variances 1 / D."""
    bounded = np.maximum(diagonal, _MAX_SCALE**-2)
    return -(cross / bounded).T, 1 / bounded


def _hessian(
    gradient: Callable[[Floats], Floats], x: Floats, local: np.ndarray
) -> tuple[Floats, Floats, Floats]:
    """Hessian of the others, (m, m), its block with the local ones, and the diagonal of these.

    It is an arrow: local coordinates meet only the others, so that one difference along all of them
    gives their diagonal.
    """
    others = np.flatnonzero(~local)

    def difference(step: Floats) -> Floats:
        return np.asarray((gradient(x + step) - gradient(x - step)) / (2 * _STEP))

    rows = np.empty((len(others), len(x)))

    def one(k: int) -> None:
        step = np.zeros(len(x))
        step[others[k]] = _STEP
        rows[k] = difference(step)

    over_draws(len(others), one)
    inner = (rows[:, others] + rows[:, others].T) / 2
    return inner, rows[:, local], difference(_STEP * local)[local]


def _inverse_root(precision: Floats) -> Floats:
    """Symmetric inverse square root; flat or rising directions get a bounded scale."""
    values, vectors = np.linalg.eigh(precision)
    values = np.maximum(values, _MAX_SCALE**-2)
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
