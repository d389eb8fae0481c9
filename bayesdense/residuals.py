"""Densities and tails of the residual, one formula for PyTensor and NumPy.

`xp` is the array library: `pytensor.tensor`, or `NUMPY` from here. Every branch is evaluated on
clamped arguments, so that the side that is not chosen stays finite and gradients exist.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
from scipy import special

from bayesdense.elementary import Array

# PyTensor and NumPy share names of functions, not a type.
type Library = Any

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_SQRT2 = math.sqrt(2.0)

#: NumPy and SciPy under the names that PyTensor uses.
NUMPY = SimpleNamespace(
    log=np.log,
    log1p=np.log1p,
    exp=np.exp,
    erfc=special.erfc,
    erfcx=special.erfcx,
    gammaln=special.gammaln,
    switch=np.where,
    maximum=np.maximum,
    minimum=np.minimum,
    logaddexp=np.logaddexp,
)


#: Variable that shapes a kind of residual; a normal has none.
SHAPES: Mapping[str, str] = MappingProxyType(
    {"student_t": "residual_df", "composed": "one_sided_sd"}
)


def sd_at(theta: Mapping[str, Array], years: Array, *, scale_trend: bool) -> Array:
    """Sd (or scale) of the residual: constant, or with `scale_trend` log-linear in time.

    Parameters
    ----------
    theta
        `residual_sd`, and with `scale_trend` `residual_log_sd_slope` (1/year).
    years
        Times since the origin, broadcastable with the parameters.
    """
    if not scale_trend:
        return theta["residual_sd"]
    return theta["residual_sd"] * np.exp(theta["residual_log_sd_slope"] * years)


def normal_log_density(deviation: Array, sd: Array, shape: Array, xp: Library) -> Array:
    """Log density of Normal(0, sd)."""
    return -0.5 * (deviation / sd) ** 2 - xp.log(sd) - _HALF_LOG_2PI


def student_t_log_density(deviation: Array, sd: Array, df: Array, xp: Library) -> Array:
    """Log density of a Student-t with scale `sd` and `df` degrees of freedom."""
    constant = xp.gammaln((df + 1) / 2) - xp.gammaln(df / 2) - 0.5 * xp.log(df * math.pi)
    return constant - xp.log(sd) - (df + 1) / 2 * xp.log1p((deviation / sd) ** 2 / df)


def composed_log_density(deviation: Array, sd: Array, one_sided_sd: Array, xp: Library) -> Array:
    """Log density of v - u, v ~ Normal(0, sd), u ~ Exponential(mean one_sided_sd).

    With a = (sd/one_sided_sd + deviation/sd) / sqrt 2 the density is
    exp(-deviation^2 / 2 sd^2) erfcx(a) / (2 one_sided_sd), which for a < 0 is written as
    exp(sd^2 / 2 one_sided_sd^2 + deviation / one_sided_sd) erfc(a) / (2 one_sided_sd)
    (stochastic frontiers: Aigner, Lovell and Schmidt 1977; Meeusen and van den Broeck 1977).
    """
    a = (sd / one_sided_sd + deviation / sd) / _SQRT2
    right = -0.5 * (deviation / sd) ** 2 + xp.log(xp.erfcx(xp.maximum(a, 0.0)))
    left_of_zero = xp.minimum(a, 0.0)
    left = 0.5 * (sd / one_sided_sd) ** 2 + deviation / one_sided_sd + xp.log(xp.erfc(left_of_zero))
    return xp.switch(a >= 0, right, left) - xp.log(2 * one_sided_sd)


#: (deviation, sd, shape, xp) -> log density, by kind of residual.
LOG_DENSITY: Mapping[str, Callable[[Array, Array, Array, Any], Array]] = MappingProxyType(
    {
        "symmetric": normal_log_density,
        "student_t": student_t_log_density,
        "composed": composed_log_density,
    }
)


def log_tails(
    kind: str, below: Array, above: Array, sd: Array, shape: Array, xp: Library
) -> tuple[Array, Array]:
    """Log P(residual < -below) and log P(residual > above), for distances of many sds.

    Normal exactly. Student-t by the first two terms of its expansion, with a relative error of
    order df^2 (sd/distance)^4. Composed: the lower tail is the normal's plus exp(sd^2 / 2 s^2 -
    below / s) P(normal < below - sd^2 / s); the upper tail is bounded by the normal's, which is
    taken.
    """
    if kind == "student_t":
        return _t_tail(below, sd, shape, xp), _t_tail(above, sd, shape, xp)
    lower, upper = _normal_tail(below, sd, xp), _normal_tail(above, sd, xp)
    if kind == "composed":
        exponential = 0.5 * (sd / shape) ** 2 - below / shape
        lower = xp.logaddexp(lower, exponential + _normal_tail(sd**2 / shape - below, sd, xp))
    return lower, upper


def _normal_tail(distance: Array, sd: Array, xp: Library) -> Array:
    """Log of the normal probability beyond a positive distance."""
    z = xp.maximum(distance / sd, -5.0)
    return xp.log(0.5 * xp.erfcx(z / _SQRT2)) - 0.5 * z**2


def _t_tail(distance: Array, sd: Array, df: Array, xp: Library) -> Array:
    """Log of the Student-t probability beyond a distance of many scales."""
    z = distance / sd
    log_density = student_t_log_density(distance, sd, df, xp) + xp.log(sd)
    return log_density + xp.log(z / df) + xp.log1p((df + 1) * df / ((df + 2) * z**2))
