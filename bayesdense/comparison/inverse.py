"""From draws in natural parameters back to sampling coordinates: the inverse of `Coordinates`."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr
from scipy.special import erf, expit, logit, ndtr, ndtri

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats, Ints
from bayesdense.engine.coordinates import Coordinates, behind_wall
from bayesdense.errors import BayesdenseError
from bayesdense.names import CHAIN, DRAW

_MOST_STEPS: Final = 100
_TOLERANCE: Final = 1e-13
#: The map is taken there and back: a coordinate further off than this is none.
_ALLOWED: Final = 1e-6
#: Forms of natural parameters that have their coordinates together with others.
_TOGETHER: Final = (
    kernel.FIXED,
    kernel.LAW,
    kernel.MAP,
    kernel.PAIR,
    kernel.BEFORE,
    kernel.AFTER,
)


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
            if where.maps.form[k] not in _TOGETHER:
                z[:, k] = _entry(theta, where.maps, k)
        _sides(theta, where.maps, z)
        _pairs(theta, where, z)
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
    if form == kernel.WALL:
        return _walled(-np.log1p(-theta[:, k]), maps, k)
    bent = logit(theta[:, k]) - shift
    tail = np.asarray(np.where(bent < 0, maps.lower_tail[k], maps.upper_tail[k]))
    return _untailed(bent, float(maps.scale[k]), tail)


def _walled(x: Floats, maps: kernel.Maps, at: int | slice) -> Floats:
    """Coordinates that end at a wall."""
    return np.asarray((behind_wall(x, maps.scale[at]) - maps.shift[at]) / maps.unit[at])


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
    shares = slice(slots.param_coef, slots.param_coef + n)
    z[:, shares] = _walled(-np.log(share), where.maps, shares)
    for at, found, at_0 in (
        (slots.param_exponent, n_elasticity, n_elasticity_0),
        (slots.token_exponent, d_elasticity, d_elasticity_0),
    ):
        z[:, at : at + n] = np.log(found / at_0)
    if slots.loss_floor >= 0:
        floors = slice(slots.loss_floor, slots.loss_floor + n)
        z[:, floors] = _walled(-np.log1p(-floor / loss), where.maps, floors)


def _sides(theta: Floats, maps: kernel.Maps, z: Floats) -> None:
    """Coordinates of growth before and after a break: see `joint_kernel._unpack_sides`."""
    for k in np.flatnonzero(maps.form == kernel.BEFORE):
        q = maps.shift_at[k]
        for at, value in (
            (k, theta[:, k] - 0.5 * theta[:, q]),
            (q, theta[:, k] + 0.5 * theta[:, q]),
        ):
            z[:, at] = (value - maps.shift[at]) / maps.scale[at]


def _pairs(theta: Floats, where: Coordinates, z: Floats) -> None:
    """Coordinates of both sds of a benchmark's scores: see `joint_kernel._unpack_pair`."""
    maps, slots = where.maps, where.slots
    if min(slots.discrepancy_sd, slots.protocol_sd) < 0:
        return
    for j in range(len(maps.log_centre)):
        k, q = slots.discrepancy_sd + j, slots.protocol_sd + j
        if maps.form[q] != kernel.PAIR:
            continue
        total = np.log(np.hypot(theta[:, k], theta[:, q]))
        centre = 0.5 * np.logaddexp(2 * maps.shift[k], 2 * maps.shift[q])
        ratio = np.log(theta[:, q] / theta[:, k]) - maps.shift[q] + maps.shift[k]
        z[:, k], z[:, q] = (total - centre) / maps.scale[k], ratio / maps.scale[q]


def _maps(theta: Floats, where: Coordinates, z: Floats) -> None:
    """Coordinates of ceilings and midpoints: see `joint_kernel._unpack_map`.

    With S the score at the loss L, odds of its share of 1 - d are (S - d) / (1 - S), and
    h = log((1 - S) / (1 - d)) - log((c - S) / (c - d)).
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
        h = np.log((1 - ceiling + below) / (1 - floor)) + np.logaddexp(0.0, q)
        z[:, at_ceiling] = _walled(h, maps, at_ceiling)


def _pinned(
    theta: Floats, slots: kernel.Slots, n: int
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Loss at the centre, a's share in a + b, both elasticities, and the floor."""

    def of(at: int) -> Floats:
        return np.asarray(theta[:, at : at + n] if at >= 0 else np.zeros((len(theta), n)))

    a, b, floor = of(slots.param_coef), of(slots.token_coef), of(slots.loss_floor)
    loss = floor + a + b
    by_params, by_tokens = of(slots.param_exponent) * a / loss, of(slots.token_exponent) * b / loss
    return loss, a / (a + b), by_params, by_tokens, floor


def _check(where: Coordinates, z: Floats, values: Mapping[str, Floats]) -> None:
    """Raise unless the coordinates lead back to the draws they were made from."""
    again = where.natural(z)
    for name, value in values.items():
        if not value.size:  # groups, of which there is one
            continue
        back = again[name].reshape(value.shape)
        scale = np.maximum(np.abs(value), np.abs(value).mean())
        there = np.isfinite(z[..., positions(where, name)]).all()
        if not (there and (np.abs(back - value) <= _ALLOWED * scale).all()):
            raise BayesdenseError(
                f"{name}: some draws have no sampling coordinates; they lie outside the support "
                "of the model, or on its edge to within rounding"
            )


def apart(where: Coordinates, z: Floats) -> Floats:
    """Coordinates of which each moves one parameter of the trend alone, (..., n).

    Growth before and after a break, in one unit, become their mean and their difference, which are
    growth and its change: linear, and of determinant 1.
    """
    out = z.copy()
    for before, after in _breaks(where):
        out[..., before] = 0.5 * (z[..., before] + z[..., after])
        out[..., after] = z[..., after] - z[..., before]
    return out


def together(where: Coordinates, z: Floats) -> Floats:
    """Inverse of `apart`."""
    out = z.copy()
    for rate, change in _breaks(where):
        out[..., rate] = z[..., rate] - 0.5 * z[..., change]
        out[..., change] = z[..., rate] + 0.5 * z[..., change]
    return out


def _breaks(where: Coordinates) -> list[tuple[int, int]]:
    """Positions among the coordinates of growth before and after each break."""
    maps, at = where.maps, {int(k): i for i, k in enumerate(where.free)}
    return [
        (at[int(k)], at[int(maps.shift_at[k])]) for k in np.flatnonzero(maps.form == kernel.BEFORE)
    ]


def positions(where: Coordinates, name: str) -> Ints:
    """Positions of a variable among the coordinates."""
    block = where.blocks[name]
    return np.flatnonzero((where.free >= block.start) & (where.free < block.stop))
