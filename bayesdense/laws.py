"""The formulas of the Densing Law, each once: loss laws, score maps, growth and doubling time.

The forward functions use only arithmetic, `abs`, `exp`, `log`, `log1p`, `expm1`, `tanh` and
`sqrt`, so that one function serves NumPy arrays, `xarray.DataArray` and PyTensor variables alike
(the model, the simulator, derived quantities and plots). The inverses branch: they are for NumPy.

Every loss law shares its parameters: E (`loss_floor`), a and b (`param_coef`, `token_coef`, the
two terms at the centre N_c, D_c of the reference runs), alpha and beta. With N_c = D_c = 1 the
same functions take raw log counts and the paper's raw a and b.

Infinities carry meaning and are never NaN: a score at or above the ceiling is reached by no loss
(loss -inf), a score at or below the floor by every large loss (loss +inf); a loss that no size
reaches needs log size +inf, an infinite loss log size -inf.
"""

from typing import Any

import numpy as np

from bayesdense.names import DAYS_PER_YEAR

# NumPy, xarray and PyTensor have no common array type that mypy could check.
type Array = Any

LOG_2 = float(np.log(2.0))
LOG_10 = float(np.log(10.0))


# --- Elementary functions --------------------------------------------------------------------


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


# --- Loss laws -------------------------------------------------------------------------------


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

    Examples
    --------
    >>> round(float(chinchilla_loss(0.0, 0.0, 0.1, 0.3, 0.34, 0.2, 0.3)), 12)
    0.6
    """
    return (
        loss_floor
        + param_coef * np.exp(-param_exponent * log_params_ratio)
        + token_coef * np.exp(-token_exponent * log_tokens_ratio)
    )


def kaplan_loss(
    log_params_ratio: Array,
    log_tokens_ratio: Array,
    loss_floor: Array,
    param_coef: Array,
    param_exponent: Array,
    token_coef: Array,
    token_exponent: Array,
) -> Array:
    """Loss of Kaplan et al.: L = E + ((N_k/N)^(alpha/beta) + D_k/D)^beta, theirs with E = 0.

    Written with a = (N_k/N_c)^alpha and b = (D_k/D_c)^beta, the losses above E at N_c with endless
    data and at D_c with endless size, so that its parameters mean what `chinchilla_loss`'s do:
    L = E + ((a (N/N_c)^-alpha)^(1/beta) + (b (D/D_c)^-beta)^(1/beta))^beta.

    Parameters
    ----------
    log_params_ratio, log_tokens_ratio, loss_floor
        As in `chinchilla_loss`.
    param_coef, token_coef
        a > 0, b > 0, in the loss unit.
    param_exponent, token_exponent
        alpha > 0, beta > 0, dimensionless; at beta = 1 and alpha free the two laws are one.

    Returns
    -------
    Array
        Loss, in the loss unit, of the broadcast shape.

    References
    ----------
    Kaplan et al. 2020 (arXiv 2001.08361), eq. 1.5.
    """
    log_param_part = (np.log(param_coef) - param_exponent * log_params_ratio) / token_exponent
    log_token_part = np.log(token_coef) / token_exponent - log_tokens_ratio
    return loss_floor + np.exp(token_exponent * log_sum_exp(log_param_part, log_token_part))


def overtraining_loss(
    log_params_ratio: Array,
    log_tokens_ratio: Array,
    loss_floor: Array,
    param_coef: Array,
    token_coef: Array,
    shared_exponent: Array,
) -> Array:
    """Loss of Gadre et al.: L = E + (a' M^eta + b' M^-eta) C^-eta, with M = D/N and C = 6 N D.

    As (D/N)^eta (6 N D)^-eta = 6^-eta N^(-2 eta), this is `chinchilla_loss` with one exponent
    alpha = beta = 2 eta: L = E + a (N/N_c)^-alpha + b (D/D_c)^-alpha, where
    a = a' 6^-eta N_c^(-2 eta) and b = b' 6^-eta D_c^(-2 eta).

    Parameters
    ----------
    log_params_ratio, log_tokens_ratio, loss_floor, param_coef, token_coef
        As in `chinchilla_loss`.
    shared_exponent
        alpha = 2 eta > 0, dimensionless.

    Returns
    -------
    Array
        Loss, in the loss unit, of the broadcast shape.

    References
    ----------
    Gadre et al. 2024 (arXiv 2403.08540).
    """
    return chinchilla_loss(
        log_params_ratio,
        log_tokens_ratio,
        loss_floor,
        param_coef,
        shared_exponent,
        token_coef,
        shared_exponent,
    )


def params_only_loss(
    log_params_ratio: Array, loss_floor: Array, param_coef: Array, param_exponent: Array
) -> Array:
    """Loss that depends on size alone: L = E + a (N/N_c)^-alpha.

    Parameters
    ----------
    log_params_ratio
        Natural log of N/N_c.
    loss_floor, param_coef
        E >= 0 and a > 0, in the loss unit.
    param_exponent
        alpha > 0, dimensionless.

    Returns
    -------
    Array
        Loss, in the loss unit.

    References
    ----------
    Kaplan et al. 2020 (arXiv 2001.08361), eq. 1.1 (with E = 0); the rough law for a ladder of one
    number of tokens, or one number of tokens per parameter.
    """
    return loss_floor + param_coef * np.exp(-param_exponent * log_params_ratio)


# --- Inverses of the loss laws in N (NumPy) --------------------------------------------------


def chinchilla_log_params(
    loss: Array,
    log_tokens_ratio: Array,
    loss_floor: Array,
    param_coef: Array,
    param_exponent: Array,
    token_coef: Array,
    token_exponent: Array,
) -> Array:
    """Log size at which `chinchilla_loss` has this loss: log(N/N_c) = (log a - log R) / alpha.

    R = L - E - b (D/D_c)^-beta is what size must still explain. NumPy only.

    Parameters
    ----------
    loss
        Loss in the loss unit; any real number or infinity.
    log_tokens_ratio, loss_floor, param_coef, param_exponent, token_coef, token_exponent
        As in `chinchilla_loss`.

    Returns
    -------
    numpy.ndarray
        Natural log of N/N_c: +inf where the loss is at or below what infinite size reaches
        (R <= 0), -inf where the loss is +inf. No NaN, no warning.

    References
    ----------
    Xiao et al. 2025, eq. 4.
    """
    with np.errstate(over="ignore"):
        reachable = loss_floor + token_coef * np.exp(-token_exponent * np.asarray(log_tokens_ratio))
    return params_only_log_params(loss, reachable, param_coef, param_exponent)


def kaplan_log_params(
    loss: Array,
    log_tokens_ratio: Array,
    loss_floor: Array,
    param_coef: Array,
    param_exponent: Array,
    token_coef: Array,
    token_exponent: Array,
) -> Array:
    """Log size at which `kaplan_loss` has this loss. NumPy only.

    From (a n^-alpha)^(1/beta) = R^(1/beta) - (b d^-beta)^(1/beta) with R = L - E.

    Parameters
    ----------
    loss
        Loss in the loss unit; any real number or infinity.
    log_tokens_ratio, loss_floor, param_coef, param_exponent, token_coef, token_exponent
        As in `kaplan_loss`.

    Returns
    -------
    numpy.ndarray
        Natural log of N/N_c: +inf where the loss is at or below what infinite size reaches,
        -inf where the loss is +inf. No NaN, no warning.
    """
    log_token_part = np.log(token_coef) / token_exponent - np.asarray(log_tokens_ratio, dtype=float)
    log_excess = _log_or_minus_inf(np.asarray(loss, dtype=float) - loss_floor) / token_exponent
    # R^(1/beta) - e^v = R^(1/beta) (1 - e^-gap), where gap <= 0 means that no size reaches R.
    gap = log_excess - log_token_part
    with np.errstate(over="ignore"):
        log_param_part = log_excess + _log_or_minus_inf(-np.expm1(-gap))
    return (np.log(param_coef) - token_exponent * log_param_part) / param_exponent


def overtraining_log_params(
    loss: Array,
    log_tokens_ratio: Array,
    loss_floor: Array,
    param_coef: Array,
    token_coef: Array,
    shared_exponent: Array,
) -> Array:
    """Log size at which `overtraining_loss` has this loss, as `chinchilla_log_params`. NumPy."""
    return chinchilla_log_params(
        loss,
        log_tokens_ratio,
        loss_floor,
        param_coef,
        shared_exponent,
        token_coef,
        shared_exponent,
    )


def params_only_log_params(
    loss: Array, loss_floor: Array, param_coef: Array, param_exponent: Array
) -> Array:
    """Log size at which `params_only_loss` has this loss: (log a - log(L - E)) / alpha. NumPy only.

    Returns
    -------
    numpy.ndarray
        Natural log of N/N_c: +inf where L <= E, -inf where L is +inf (also if E is). No NaN.
    """
    loss, loss_floor = np.broadcast_arrays(np.asarray(loss, float), np.asarray(loss_floor, float))
    endless = np.isposinf(loss)
    excess = np.where(endless, np.inf, loss - np.where(endless, 0.0, loss_floor))
    return (np.log(param_coef) - _log_or_minus_inf(excess)) / param_exponent


# --- Score maps ------------------------------------------------------------------------------


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

    Examples
    --------
    >>> round(float(logistic_score(0.2, 0.25, 0.95, 25.0, 0.2)), 12)
    0.6
    """
    return score_floor + (score_ceiling - score_floor) * expit(
        -score_slope * (loss - loss_midpoint)
    )


def logistic_logit_score(
    loss: Array, score_floor: Array, score_ceiling: Array, score_slope: Array, loss_midpoint: Array
) -> Array:
    """Logit of `logistic_score`, without the cancellation of 1 - S near the ceiling.

    With x = -gamma (L - l): S = (d + c e^x)/(1 + e^x) and 1 - S = ((1-d) + (1-c) e^x)/(1 + e^x);
    both are scaled by e^-max(x, 0), so that no exponent is positive. Finite for 0 < d < c < 1
    and every x; for d = 0 or c = 1 as long as |x| < 700.
    """
    x = -score_slope * (loss - loss_midpoint)
    weight_floor, weight_ceiling = np.exp(-positive_part(x)), np.exp(-positive_part(-x))
    return np.log(score_floor * weight_floor + score_ceiling * weight_ceiling) - np.log(
        (1.0 - score_floor) * weight_floor + (1.0 - score_ceiling) * weight_ceiling
    )


def exponential_score(
    loss: Array, score_floor: Array, score_ceiling: Array, score_slope: Array
) -> Array:
    """Benchmark score that falls exponentially with loss: S = d + (c - d) exp(-gamma L).

    Parameters
    ----------
    loss
        L >= 0, in the loss unit.
    score_floor, score_ceiling
        d < c, fractions: the scores at infinite loss and at loss 0.
    score_slope
        gamma > 0, in 1/(loss unit).

    Returns
    -------
    Array
        Score, a fraction between d and c.

    References
    ----------
    Gadre et al. 2024 (arXiv 2403.08540): error = epsilon - k exp(-gamma L), so that
    d = 1 - epsilon and c = d + k.
    """
    return score_floor + (score_ceiling - score_floor) * np.exp(-score_slope * loss)


def exponential_logit_score(
    loss: Array, score_floor: Array, score_ceiling: Array, score_slope: Array
) -> Array:
    """Logit of `exponential_score`, without the cancellation of 1 - S near the ceiling."""
    height = score_ceiling - score_floor
    below = np.log(score_floor + height * np.exp(-score_slope * loss))
    return below - np.log((1.0 - score_ceiling) - height * np.expm1(-score_slope * loss))


def richards_score(
    loss: Array,
    score_floor: Array,
    score_ceiling: Array,
    score_slope: Array,
    loss_midpoint: Array,
    score_asymmetry: Array,
) -> Array:
    """Benchmark score on an asymmetric logistic curve (Richards, the generalised logistic).

    S = d + (c - d) (1 + (2^nu - 1) exp(gamma (L - l)))^(-1/nu); nu = 1 is `logistic_score`, and
    l is half way between floor and ceiling for every nu.

    Parameters
    ----------
    loss, score_floor, score_ceiling, score_slope, loss_midpoint
        As in `logistic_score`.
    score_asymmetry
        nu > 0, dimensionless: below 1 the approach to the ceiling is slower than the rise from the
        floor is fast, above 1 the reverse.

    Returns
    -------
    Array
        Score, a fraction between d and c.

    References
    ----------
    Richards 1959, J. Exp. Botany 10(2):290-301.
    """
    log_position = _richards_log_position(loss, score_slope, loss_midpoint, score_asymmetry)
    return score_floor + (score_ceiling - score_floor) * np.exp(log_position)


def richards_logit_score(
    loss: Array,
    score_floor: Array,
    score_ceiling: Array,
    score_slope: Array,
    loss_midpoint: Array,
    score_asymmetry: Array,
) -> Array:
    """Logit of `richards_score`, without the cancellation of 1 - S near the ceiling."""
    log_position = _richards_log_position(loss, score_slope, loss_midpoint, score_asymmetry)
    height = score_ceiling - score_floor
    below = np.log(score_floor + height * np.exp(log_position))
    return below - np.log((1.0 - score_ceiling) - height * np.expm1(log_position))


def _richards_log_position(
    loss: Array, score_slope: Array, loss_midpoint: Array, score_asymmetry: Array
) -> Array:
    """Log of (S - d)/(c - d) of a Richards curve."""
    scaled = score_slope * (loss - loss_midpoint)
    return -log1p_exp(scaled + np.log(np.expm1(LOG_2 * score_asymmetry))) / score_asymmetry


# --- Inverses of the score maps (NumPy) ------------------------------------------------------


def logistic_score_loss(
    score: Array, score_floor: Array, score_ceiling: Array, score_slope: Array, loss_midpoint: Array
) -> Array:
    """Loss at which `logistic_score` has this score. NumPy only.

    L = l - (log(S - d) - log(c - S))/gamma.

    Parameters
    ----------
    score
        S, a fraction; any real number.
    score_floor, score_ceiling, score_slope, loss_midpoint
        As in `logistic_score`.

    Returns
    -------
    numpy.ndarray
        Loss in the loss unit: -inf where S >= c (no loss is low enough: beyond every size),
        +inf where S <= d. It may be negative just below c. No NaN, no warning.

    References
    ----------
    Xiao et al. 2025, eq. 4.
    """
    score = np.asarray(score, dtype=float)
    log_below = _log_or_minus_inf(score - score_floor)
    log_above = _log_or_minus_inf(score_ceiling - score)
    return loss_midpoint + (log_above - log_below) / score_slope


def exponential_score_loss(
    score: Array, score_floor: Array, score_ceiling: Array, score_slope: Array
) -> Array:
    """Loss at which `exponential_score` has this score: L = -log((S-d)/(c-d))/gamma. NumPy only.

    Returns
    -------
    numpy.ndarray
        Loss in the loss unit: 0 at S = c, which the map reaches, -inf above it (never a negative
        finite loss), +inf where S <= d. No NaN, no warning.
    """
    score = np.asarray(score, dtype=float)
    log_position = _log_or_minus_inf(score - score_floor) - np.log(score_ceiling - score_floor)
    return np.where(score > score_ceiling, -np.inf, np.maximum(-log_position, 0.0) / score_slope)


def richards_score_loss(
    score: Array,
    score_floor: Array,
    score_ceiling: Array,
    score_slope: Array,
    loss_midpoint: Array,
    score_asymmetry: Array,
) -> Array:
    """Loss at which `richards_score` has this score. NumPy only.

    L = l + (log(p^-nu - 1) - log(2^nu - 1))/gamma with p = (S - d)/(c - d).

    Returns
    -------
    numpy.ndarray
        Loss in the loss unit: -inf where S >= c, +inf where S <= d. No NaN, no warning.
    """
    score = np.asarray(score, dtype=float)
    height = score_ceiling - score_floor
    # Near the ceiling log p is log1p of the small distance from it, which keeps its digits.
    missing = np.clip((score_ceiling - score) / height, 0.0, 0.5)
    log_below = _log_or_minus_inf((score - score_floor) / height)
    power = -score_asymmetry * np.where(missing < 0.5, np.log1p(-missing), log_below)
    log_odds = power + _log_or_minus_inf(-np.expm1(-power))
    return loss_midpoint + (log_odds - np.log(np.expm1(LOG_2 * score_asymmetry))) / score_slope


def _log_or_minus_inf(x: Array) -> Array:
    """Log of x, -inf wherever x is not positive."""
    x = np.asarray(x, dtype=float)
    return np.log(x, out=np.full(x.shape, -np.inf), where=x > 0.0)


# --- Density and growth ----------------------------------------------------------------------


def log_density(log_effective_params: Array, log_params: Array) -> Array:
    """Log density of an LLM, log rho = log Nhat - log N; infinite where Nhat is.

    Parameters
    ----------
    log_effective_params
        Natural log of the effective size Nhat: the parameters of the reference LLM of equal score.
    log_params
        Natural log of the LLM's own parameters, counted by the convention of the reference runs.

    References
    ----------
    Xiao et al. 2025, eq. 1.
    """
    return log_effective_params - log_params


def density(log_effective_params: Array, log_params: Array) -> Array:
    """Capability density rho = Nhat / N, from the logs of both; dimensionless."""
    return np.exp(log_density(log_effective_params, log_params))


def doubling_time_days(growth_rate: Array) -> Array:
    """Days in which a density with this growth rate (1/year) doubles: T2 = 365.25 ln 2 / g.

    Negative where the density halves, infinite at zero growth: summarise growth, then transform.
    Keeps the dims of a `DataArray`.
    """
    with np.errstate(divide="ignore"):
        return np.divide(DAYS_PER_YEAR * LOG_2, growth_rate)


def growth_rate_per_year(doubling_time: Array) -> Array:
    """Growth rate (1/year) of a density that doubles in so many days: g = 365.25 ln 2 / T2."""
    with np.errstate(divide="ignore"):
        return np.divide(DAYS_PER_YEAR * LOG_2, doubling_time)


def growth_factor_per_year(growth_rate: Array) -> Array:
    """Factor by which a density with this growth rate (1/year) grows in a year: exp(g)."""
    return np.exp(growth_rate)


def orders_of_magnitude_per_year(growth_rate: Array) -> Array:
    """Powers of ten by which a density of this growth rate (1/year) grows a year: g / ln 10."""
    return growth_rate / LOG_10
