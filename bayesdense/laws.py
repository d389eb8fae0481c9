"""The formulas of the Densing Law, each once: loss laws, score maps, growth and doubling time.

Functions of the first part use only arithmetic and `exp`, `log`, `log1p`, `tanh`, so that one
function serves NumPy arrays, `xarray.DataArray` and PyTensor variables alike (the model, the
simulator, derived quantities and plots). Inverses branch and are for NumPy arrays only.
"""

from typing import Any

import numpy as np

from bayesdense.names import DAYS_PER_YEAR

# NumPy, xarray and PyTensor have no common array type that mypy could check.
type Array = Any


def expit(x: Array) -> Array:
    """Logistic function 1 / (1 + exp(-x)), written with tanh so that it never overflows."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def logit(p: Array) -> Array:
    """Log odds, log p - log(1 - p), of p in (0, 1)."""
    return np.log(p) - np.log1p(-p)


def chinchilla_loss(
    log_params_ratio: Array,
    log_tokens_ratio: Array,
    loss_floor: Array,
    param_coef: Array,
    param_exponent: Array,
    token_coef: Array,
    token_exponent: Array,
) -> Array:
    """Loss of a run of N parameters and D tokens: L = E + a (N/N_c)^-alpha + b (D/D_c)^-beta.

    Parameters
    ----------
    log_params_ratio, log_tokens_ratio
        Natural logs of N/N_c and D/D_c (any broadcastable shapes); N_c and D_c are the centre of
        the reference runs, so that a and b are losses there.
    loss_floor, param_coef, token_coef
        E >= 0, a > 0, b > 0, in the loss unit. E = 0 is the paper's `additive` law.
    param_exponent, token_exponent
        alpha > 0, beta > 0, dimensionless.

    Returns
    -------
    Array
        Loss, in the loss unit, of the broadcast shape.

    References
    ----------
    Hoffmann et al. 2022 (with E); Xiao et al. 2025, eq. 2 (without).
    """
    return (
        loss_floor
        + param_coef * np.exp(-param_exponent * log_params_ratio)
        + token_coef * np.exp(-token_exponent * log_tokens_ratio)
    )


def logistic_score(
    loss: Array, score_floor: Array, score_ceiling: Array, score_slope: Array, loss_midpoint: Array
) -> Array:
    """Benchmark score at a loss: S = d + (c - d) logistic(-gamma (L - l)).

    Parameters
    ----------
    loss
        Loss of the reference LLM on the benchmark's answers, in the loss unit.
    score_floor, score_ceiling
        d < c, fractions: the scores at infinite and at very low loss.
    score_slope
        gamma > 0, in 1/(loss unit).
    loss_midpoint
        l, the loss half way between floor and ceiling.

    Returns
    -------
    Array
        Score, a fraction between d and c.

    References
    ----------
    Xiao et al. 2025, eq. 3, whose gamma is negative and whose c is the height c - d.
    """
    return score_floor + (score_ceiling - score_floor) * expit(-score_slope * (loss - loss_midpoint))


def logistic_logit_score(
    loss: Array, score_floor: Array, score_ceiling: Array, score_slope: Array, loss_midpoint: Array
) -> Array:
    """Logit of `logistic_score`, without the cancellation of 1 - S near the ceiling."""
    below = expit(-score_slope * (loss - loss_midpoint))
    above = expit(score_slope * (loss - loss_midpoint))
    height = score_ceiling - score_floor
    return np.log(score_floor + height * below) - np.log1p(-score_ceiling + height * above)


def doubling_time_days(growth_rate: Array) -> Array:
    """Days in which a density with this growth rate (1/year) doubles: T2 = 365.25 ln 2 / g.

    Negative where the density halves, infinite at zero growth: summarise growth, then transform.
    """
    growth_rate = np.asarray(growth_rate, dtype=float)
    with np.errstate(divide="ignore"):
        return DAYS_PER_YEAR * np.log(2.0) / growth_rate


def growth_rate_per_year(doubling_time: Array) -> Array:
    """Growth rate (1/year) of a density that doubles in so many days: g = 365.25 ln 2 / T2."""
    doubling_time = np.asarray(doubling_time, dtype=float)
    with np.errstate(divide="ignore"):
        return DAYS_PER_YEAR * np.log(2.0) / doubling_time
