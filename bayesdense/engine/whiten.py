"""Whitening: a linear map that makes the posterior's main part round, from its mode and Hessian."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bayesdense.arrays import Floats

#: z -> (log density, gradient).
type LogDensity = Callable[[Floats], tuple[float, Floats]]

_STEP = 1e-4
#: Posterior scale assumed for coordinates that are left out of the mode search.
_FROZEN_SCALE = 0.5
#: Posterior scales in z above this are the prior's business, not the Hessian's.
_MAX_SCALE = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """z = centre + scale zeta."""

    centre: Floats
    scale: Floats

    def apply(self, zeta: Floats) -> Floats:
        """Coordinates of whitened points, (..., n)."""
        return np.asarray(self.centre + zeta @ self.scale.T)


def whiten_at_mode(log_density: LogDensity, start: Floats, frozen: np.ndarray) -> Whitening:
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
    """
    free = np.flatnonzero(~frozen)

    def objective(x: Floats) -> tuple[float, Floats]:
        z = start.copy()
        z[free] = x
        value, gradient = log_density(z)
        if not np.isfinite(value):
            return 1e300, np.zeros_like(x)
        return -value, -gradient[free]

    def hessian(x: Floats) -> Floats:
        return _hessian(lambda point: objective(point)[1], x)

    rough = minimize(objective, start[free], jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    found = minimize(
        objective, rough.x, jac=True, hess=hessian, method="trust-exact", options={"maxiter": 30}
    )
    centre = start.copy()
    centre[free] = found.x
    scale = np.eye(len(start)) * _FROZEN_SCALE
    scale[np.ix_(free, free)] = _inverse_root(hessian(found.x))
    return Whitening(centre, scale)


def _hessian(gradient: Callable[[Floats], Floats], x: Floats) -> Floats:
    """Symmetric Hessian by central differences of the gradient."""
    steps = np.eye(len(x)) * _STEP
    rows = [(gradient(x + step) - gradient(x - step)) / (2 * _STEP) for step in steps]
    matrix = np.array(rows)
    return (matrix + matrix.T) / 2


def _inverse_root(precision: Floats) -> Floats:
    """Symmetric inverse square root; flat or rising directions get a bounded scale."""
    values, vectors = np.linalg.eigh(precision)
    values = np.maximum(values, _MAX_SCALE**-2)
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
