"""The loss laws, each once, and their inverses in size.

Every loss law shares its parameters: E (`loss_floor`), a and b (`param_coef`, `token_coef`, the
two terms at the centre N_c, D_c of the reference runs), alpha and beta. With N_c = D_c = 1 the
same functions take raw log counts and the paper's raw a and b.

The inverses branch: they are for NumPy. Infinities carry meaning there and are never NaN: a loss
that no size reaches needs log size +inf, an infinite loss log size -inf.
"""

import numpy as np

from bayesdense.elementary import Array, log_or_minus_inf, log_sum_exp

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
    log_excess = log_or_minus_inf(np.asarray(loss, dtype=float) - loss_floor) / token_exponent
    # R^(1/beta) - e^v = R^(1/beta) (1 - e^-gap), where gap <= 0 means that no size reaches R.
    gap = log_excess - log_token_part
    with np.errstate(over="ignore"):
        log_param_part = log_excess + log_or_minus_inf(-np.expm1(-gap))
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
    return (np.log(param_coef) - log_or_minus_inf(excess)) / param_exponent
