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
#: Cosine between the residuals and what one parameter changes of them that counts as none.
_ORTHOGONAL: Final = 1e-6


def descend(
    residuals: Callable[..., Floats],
    jacobian: Callable[..., Floats],
    start: Floats,
    bounds: tuple[Floats, Floats],
    args: tuple[Floats, ...] = (),
) -> OptimizeResult:
    """Descend to a local optimum of a sum of squares within bounds.

    Bounds are for descents that run off, which few do. So they are let go at first: an optimum
    that lies inside is one with bounds too, and Levenberg-Marquardt finds it in a quarter of the
    time. It may also end on a plain where a parameter has no effect, which is no optimum: only
    residuals that are orthogonal to the effect of every parameter tell the two apart.
    """
    lower, upper = bounds
    # a free descent may step where the model overflows: it then ends without success
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if len(residuals(start, *args)) >= len(start):
            free = _least_squares(
                residuals, start, jacobian, args=args, method="lm", max_nfev=_FREE_EVALUATIONS
            )
            inside = np.all((lower < free.x) & (free.x < upper))
            if free.success and inside and _is_stationary(free):
                return free
        return _least_squares(
            residuals, start, jacobian, args=args, bounds=bounds, max_nfev=_MOST_EVALUATIONS
        )


def _is_stationary(end: OptimizeResult) -> bool:
    """Whether the residuals are orthogonal to the effect of every parameter."""
    sizes = np.linalg.norm(end.jac, axis=0) * np.linalg.norm(end.fun)
    return bool(np.all(np.abs(end.grad) <= _ORTHOGONAL * sizes))


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
