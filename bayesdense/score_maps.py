"""The maps from loss to benchmark score, each once, and their inverses.

The inverses branch: they are for NumPy. Infinities carry meaning there and are never NaN: a score
at or above the ceiling is reached by no loss (loss -inf), a score at or below the floor by every
large loss (loss +inf).
"""

import numpy as np

from bayesdense.elementary import LOG_2, Array, expit, log1p_exp, log_or_minus_inf, positive_part

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
    log_below = log_or_minus_inf(score - score_floor)
    log_above = log_or_minus_inf(score_ceiling - score)
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
    log_position = log_or_minus_inf(score - score_floor) - np.log(score_ceiling - score_floor)
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
    log_below = log_or_minus_inf((score - score_floor) / height)
    power = -score_asymmetry * np.where(missing < 0.5, np.log1p(-missing), log_below)
    log_odds = power + log_or_minus_inf(-np.expm1(-power))
    return loss_midpoint + (log_odds - np.log(np.expm1(LOG_2 * score_asymmetry))) / score_slope
