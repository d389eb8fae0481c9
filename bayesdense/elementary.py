"""Elementary functions that overflow nowhere and keep their digits in both tails.

They use only arithmetic, `abs`, `exp`, `log`, `log1p`, `expm1`, `tanh` and `sqrt`, and so do the
forward formulas of `laws`, `score_maps` and `conversions`: one function serves NumPy arrays,
`xarray.DataArray` and PyTensor variables alike (the model, the simulator, derived quantities and
plots). What branches is for NumPy.
"""

from typing import Any

import numpy as np

# NumPy, xarray and PyTensor have no common array type that mypy could check.
type Array = Any

LOG_2 = float(np.log(2.0))


def expit(x: Array) -> Array:
    """Logistic function 1 / (1 + exp(-x)), to full relative precision on both sides.

    Written exp(min(x, 0)) / (1 + exp(-|x|)) with min(x, 0) = -max(-x, 0): no exponent is positive,
    so nothing overflows, and the lower tail keeps its digits down to exp(-745), where the form
    with tanh has lost half of them at x = -18 and all at -37. The kinks of |x| cancel at 0, where
    PyTensor's gradient (which takes the sign of 0 as 0) is the exact 1/4.
    """
    return np.exp(-positive_part(-x)) / (1.0 + np.exp(-abs(x)))


def positive_part(x: Array) -> Array:
    """max(x, 0), with the derivative 1/2 at 0.

    Not (x + |x|)/2: a compiler that fuses a product and a sum leaves 1e14 of it where x is -1e31.
    """
    return (0.5 * (x > 0) + 0.5 * (x >= 0)) * x


def log1p_exp(x: Array) -> Array:
    """Softplus log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)), without overflow.

    Also -log(1 - expit(x)), and with -x the -log of `expit`.
    """
    return positive_part(x) + np.log1p(np.exp(-abs(x)))


def log_sum_exp(x: Array, y: Array) -> Array:
    """Log of exp(x) + exp(y) for finite x and y, without overflow."""
    return y + log1p_exp(x - y)


def logit(p: Array) -> Array:
    """Log odds, log p - log(1 - p), of p in (0, 1); `expit` is its inverse."""
    return np.log(p) - np.log1p(-p)


def log_or_minus_inf(x: Array) -> Array:
    """Log of x, -inf wherever x is not positive. NumPy only."""
    x = np.asarray(x, dtype=float)
    return np.log(x, out=np.full(x.shape, -np.inf), where=x > 0.0)
