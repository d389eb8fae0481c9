"""From draws in natural parameters back to sampling coordinates: the inverse of `Coordinates`."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr
from scipy.special import erf, expit, logit, ndtr, ndtri

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats, Ints
from bayesdense.engine.coordinates import Coordinates
from bayesdense.errors import BayesdenseError
from bayesdense.names import CHAIN, DRAW

_MOST_STEPS: Final = 100
_TOLERANCE: Final = 1e-13
#: The map is taken there and back: a coordinate further off than this is none.
_ALLOWED: Final = 1e-6


def unconstrained(where: Coordinates, posterior: xr.Dataset) -> Floats:
    """Sampling coordinates of posterior draws.

    Parameters
    ----------
    where
        Coordinates of the model that was fitted; everything in it is sampled.
    posterior
        Natural parameters, dims chain, draw and their own; others are left alone.

    Returns
    -------
    numpy.ndarray
        (chain, draw, n): what `Coordinates.natural` takes to these draws.

    Raises
    ------
    BayesdenseError
        The posterior lacks a parameter, or holds values that have no coordinates.
    """
    if missing := [name for name in where.names if name not in posterior]:
        raise BayesdenseError(f"the posterior has no {', '.join(missing)}: was its tree replaced?")
    values = {name: _rows(posterior[name]) for name in where.names}
    n_chains, n_draws = posterior.sizes[CHAIN], posterior.sizes[DRAW]
    theta = np.zeros((n_chains * n_draws, where.n_theta))
    for name, value in values.items():
        theta[:, where.blocks[name]] = value
    z = np.empty_like(theta)
    with np.errstate(all="ignore"):  # what has no coordinates is found below, and named
        for k in range(where.n_theta):
            if where.maps.form[k] not in (kernel.FIXED, kernel.LAW, kernel.MAP):
                z[:, k] = _entry(theta, where.maps, k)
        _laws(theta, where, z)
        _maps(theta, where, z)
    found = z[:, where.free].reshape(n_chains, n_draws, -1)
    _check(where, found, values)
    return found


def _rows(variable: xr.DataArray) -> Floats:
    """Draws of all chains as rows."""
    ordered = variable.transpose(CHAIN, DRAW, ...).to_numpy()
    return np.asarray(ordered.reshape(ordered.shape[0] * ordered.shape[1], -1), dtype=float)


def _entry(theta: Floats, maps: kernel.Maps, k: int) -> Floats:
    """Coordinates of one natural parameter; `joint_kernel.Maps` says what they are."""
    shift, scale, form = maps.shift[k], maps.scale[k], maps.form[k]
    if maps.shift_at[k] >= 0:
        shift = shift + theta[:, maps.shift_at[k]]
    if maps.scale_at[k] >= 0:
        scale = scale * theta[:, maps.scale_at[k]] ** maps.power[k]
    value = theta[:, k] / maps.unit[k]
    if form == kernel.LINEAR:
        return np.asarray((value - shift) / scale)
    if form == kernel.EXPONENTIAL:
        return np.asarray((np.log(value) - shift) / scale)
    if form == kernel.HALF_NORMAL:
        return _half_normal(theta[:, k] / scale)
    bent = logit(theta[:, k]) - shift
    tail = np.asarray(np.where(bent < 0, maps.lower_tail[k], maps.upper_tail[k]))
    return _untailed(bent, float(maps.scale[k]), tail)


def _half_normal(q: Floats) -> Floats:
    """Normal quantile at P(|normal| < q), by the nearer tail."""
    upper, lower = 2 * ndtr(-q), erf(q / math.sqrt(2))
    return np.asarray(np.where(upper < lower, -ndtri(upper), ndtri(lower)))


def _untailed(bent: Floats, scale: float, tail: Floats) -> Floats:
    """Solve B(z) = bent for the integral B of sqrt(scale^2 + tail^2 z^2), by Newton's method.

    B rises and is convex for z > 0, concave for z < 0: from the far side the steps close in.
    """
    sign, target = np.sign(bent), np.abs(bent)
    z = np.minimum(target / scale, np.sqrt(2 * target / tail))  # each bounds the solution
    for _ in range(_MOST_STEPS):
        slope = np.sqrt(scale**2 + (tail * z) ** 2)
        reached = 0.5 * (z * slope + scale**2 / tail * np.arcsinh(tail * z / scale))
        step = (reached - target) / slope
        z = z - step
        if (np.abs(step) <= _TOLERANCE * (1 + z)).all():
            break
    return np.asarray(sign * z)


def _laws(theta: Floats, where: Coordinates, z: Floats) -> None:
    """Coordinates of the loss laws: see `joint_kernel.unpack`.

    Loss at the centre and elasticities are exponentials of their coordinates, so that these are
    logs of ratios to what the map gives at 0.
    """
    slots, n = where.slots, len(where.maps.log_centre)
    if n == 0 or where.maps.form[slots.param_coef] != kernel.LAW:
        return
    origin = np.zeros(where.n_theta)
    kernel.unpack(origin.copy(), where.maps, slots, origin)
    loss, share, n_elasticity, d_elasticity, floor = _pinned(theta, slots, n)
    loss_0, _, n_elasticity_0, d_elasticity_0, _ = _pinned(origin[None], slots, n)
    z[:, slots.token_coef : slots.token_coef + n] = np.log(loss / loss_0)
    z[:, slots.param_coef : slots.param_coef + n] = share
    for at, found, at_0 in (
        (slots.param_exponent, n_elasticity, n_elasticity_0),
        (slots.token_exponent, d_elasticity, d_elasticity_0),
    ):
        z[:, at : at + n] = np.log(found / at_0)
    if slots.loss_floor >= 0:
        h = -np.log1p(-floor / loss) / kernel.FLOOR_SCALE
        z[:, slots.loss_floor : slots.loss_floor + n] = _half_normal(h)


def _maps(theta: Floats, where: Coordinates, z: Floats) -> None:
    """Coordinates of ceilings and midpoints: see `joint_kernel._unpack_map`.

    With S the score at the loss L, odds of its share of 1 - d are (S - d) / (1 - S), odds of the
    ceiling's share of what is left are (c - S) / (1 - c).
    """
    maps, slots = where.maps, where.slots
    for j in range(len(maps.level)):
        at_ceiling, at_midpoint = slots.score_ceiling + j, slots.loss_midpoint + j
        if maps.form[at_midpoint] != kernel.MAP:
            continue

        def of(slot: int, j: int = j) -> Floats:
            return np.asarray(theta[:, slot + j] if slot >= 0 else np.zeros(len(theta)))

        floor, ceiling = of(slots.score_floor), of(slots.score_ceiling)
        of_params = -of(slots.param_exponent) * maps.log_params_ratio[j]
        of_tokens = -of(slots.token_exponent) * maps.log_tokens_ratio[j]
        loss = of(slots.loss_floor) + of(slots.param_coef) * np.exp(of_params)
        loss = loss + of(slots.token_coef) * np.exp(of_tokens)
        q = of(slots.score_slope) * (of(slots.loss_midpoint) - loss)
        above = (ceiling - floor) * expit(q)
        below = (ceiling - floor) * expit(-q)
        z[:, at_midpoint] = np.log(above / (1 - ceiling + below)) - maps.level[j]
        z[:, at_ceiling] = np.log(below / (1 - ceiling)) - maps.room[j]


def _pinned(
    theta: Floats, slots: kernel.Slots, n: int
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Loss at the centre, logit of a's share in a + b, both elasticities, and the floor."""

    def of(at: int) -> Floats:
        return np.asarray(theta[:, at : at + n] if at >= 0 else np.zeros((len(theta), n)))

    a, b, floor = of(slots.param_coef), of(slots.token_coef), of(slots.loss_floor)
    loss = floor + a + b
    by_params, by_tokens = of(slots.param_exponent) * a / loss, of(slots.token_exponent) * b / loss
    return loss, np.log(a / b), by_params, by_tokens, floor


def _check(where: Coordinates, z: Floats, values: Mapping[str, Floats]) -> None:
    """Raise unless the coordinates lead back to the draws they were made from."""
    again = where.natural(z)
    for name, value in values.items():
        back = again[name].reshape(value.shape)
        scale = np.maximum(np.abs(value), np.abs(value).mean())
        there = np.isfinite(z[..., positions(where, name)]).all()
        if not (there and (np.abs(back - value) <= _ALLOWED * scale).all()):
            raise BayesdenseError(
                f"{name}: some draws have no sampling coordinates; they lie outside the support "
                "of the model, or on its edge to within rounding"
            )


def positions(where: Coordinates, name: str) -> Ints:
    """Positions of a variable among the coordinates."""
    block = where.blocks[name]
    return np.flatnonzero((where.free >= block.start) & (where.free < block.stop))
