"""Descent to a local optimum of a sum of squares, as every start of the point pipeline makes it."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from scipy.optimize import OptimizeResult, least_squares

from bayesdense.arrays import Floats

_TOLERANCE: Final = 1e-12
_MOST_EVALUATIONS: Final = 3000
#: A descent that ends within the bounds has had enough of these; one that runs off never has.
_FREE_EVALUATIONS: Final = 100


def descend(
    residuals: Callable[..., Floats],
    jacobian: Callable[..., Floats],
    start: Floats,
    bounds: tuple[Floats, Floats],
    args: tuple[Floats, ...] = (),
) -> OptimizeResult:
    """Descend to a local optimum of a sum of squares within bounds.

    Bounds are for descents that run off, which few do. So they are let go at first: an optimum
    that lies inside is one with bounds too, and Levenberg-Marquardt finds it in half the time.
    """
    lower, upper = bounds
    # a free descent may step where the model overflows: it then ends without success
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if len(residuals(start, *args)) >= len(start):
            free = _least_squares(
                residuals, start, jacobian, args=args, method="lm", max_nfev=_FREE_EVALUATIONS
            )
            if free.success and np.all((lower < free.x) & (free.x < upper)):
                return free
        return _least_squares(
            residuals, start, jacobian, args=args, bounds=bounds, max_nfev=_MOST_EVALUATIONS
        )


def _least_squares(*problem: Any, **options: Any) -> OptimizeResult:  # noqa: ANN401
    """SciPy's least squares to the last digits, parameters scaled by their effect."""
    return least_squares(
        *problem,
        **options,
        x_scale="jac",
        ftol=_TOLERANCE,
        xtol=_TOLERANCE,
        gtol=_TOLERANCE,
    )
