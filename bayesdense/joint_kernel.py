"""The joint model's log density and its gradient in one compiled pass, without PyTensor.

What `pm.Model` states readably (`components`), this file computes quickly: the same sum of terms,
each with its derivatives worked out by hand, over data and priors that come as arguments, so that
nothing is compiled anew for other data, priors or options. Tests hold the two together to 1e-8.

`theta` is the vector of all natural parameters in the order of the model's variables; `Slots` says
where each begins. `Maps` takes a vector z of the same layout to theta (`unpack`) and gradients
back (`pull_back`); `Priors` and `Data` hold the terms. The largest, the scores of LLMs with every
effective size integrated out, is `_scores`: mean and variance of every benchmark on one grid of log
sizes, then a window of that grid for every LLM.

All functions that call one another stand in this file, but for the arithmetic of `vector_math`:
numba keeps machine code for as long as the file of the function that is called does not change, and
does not look at others.
"""

import ctypes
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np

from bayesdense.arrays import Floats, Ints
from bayesdense.vector_math import (
    SUMS,
    compiled,
    exponentials,
    exponentials_in_place,
    half_normal_quantile,
    logarithms,
)

_LOG_2PI = math.log(2 * math.pi)
_HALF_LOG_2PI = 0.5 * _LOG_2PI
#: Terms this far (on the log) below the largest add less than 1e-13 of the sum.
_NEGLIGIBLE = 30.0
#: Residual sds within which nodes are looked at first; what lies beyond is bounded.
_REACH_SDS = 8.5
#: exp(-exponent * log ratio) is held below exp(600): the score is at its floor long before.
_MOST_EXPONENT = 600.0
#: Elasticities of the loss in size and tokens at the ladder's centre about which coordinates lie.
_LOG_ELASTICITY = math.log(0.12)

#: numba's types leave it out.
_carray: Any = numba.carray  # type: ignore[attr-defined]

_DOUBLES = ctypes.POINTER(ctypes.c_double)

#: 8-byte words, whole numbers and the bits of others.
type Words = Ints

#: How a natural parameter follows from its coordinate z (`Maps`).
FIXED, LINEAR, EXPONENTIAL, HALF_NORMAL, LOGISTIC, WALL, LAW, MAP, PAIR, BEFORE, AFTER = range(11)
#: Distributions of priors.
NO_PRIOR, NORMAL, LOG_NORMAL, HALF, BETA, GAMMA = range(6)
#: Trends by how they hang on their parameters: by a table, or along a curve (`_curve`).
BASIS, HYPERBOLIC, LOGISTIC_CURVE, GOMPERTZ, POWER, LINE = range(6)


class Slots(NamedTuple):
    """First position in theta of each variable; -1 where the model lacks it."""

    loss_floor: int
    param_coef: int
    param_exponent: int
    token_coef: int
    token_exponent: int
    loss_noise_sd: int
    run_effect_sd: int
    size_effect_sd: int
    score_floor: int
    score_ceiling: int
    score_slope: int
    loss_midpoint: int
    map_noise_sd: int
    discrepancy_sd: int
    protocol_sd: int
    protocol_offset: int
    family_sd: int
    family_effect: int
    residual_sd: int
    residual_log_sd_slope: int


class Maps(NamedTuple):
    """Theta from z, entry by entry; see `unpack`.

    With a = shift + theta[shift_at] and b = scale * theta[scale_at]^power (terms with index -1
    absent):
    LINEAR unit (a + b z), EXPONENTIAL unit exp(a + b z), HALF_NORMAL b Q(z), LOGISTIC
    expit(a + B(z)), WALL 1 - exp(-x) with x > 0 of a + unit z (`_walled`), `scale` being how soft
    the wall is. LAW entries belong to the loss laws, `log_centre` being the log of each benchmark's
    loss at the ladder's centre; MAP entries, ceiling and midpoint, to the score maps: `level` is a
    guess, `log_params_ratio` and `log_tokens_ratio` say where. Floors of losses, shares of the term
    in N and these ceilings lie behind walls, too. PAIR entries are discrepancy_sd and protocol_sd
    of one benchmark, of which scores pin the sum of squares. BEFORE and AFTER are growth and its
    change at a break, each at the other's `shift_at`: their coordinates are a + b z of growth on
    either side of it.
    """

    form: Ints
    shift: Floats
    scale: Floats
    shift_at: Ints
    scale_at: Ints
    power: Floats
    unit: Floats
    lower_tail: Floats
    upper_tail: Floats
    log_centre: Floats
    level: Floats
    log_params_ratio: Floats
    log_tokens_ratio: Floats


class Whitened(NamedTuple):
    """Standard normals to coordinates z; see `colour`."""

    bends: Floats  # (n, 6): shift, width, skew, weight, centre, own
    dense: Ints  # (m,): normals that may matter to every coordinate
    matrix: Floats  # (n, m): how


class Priors(NamedTuple):
    """Distribution of every entry of theta; a parameter with an index is unit * theta[index]."""

    dist: Ints
    first: Floats
    second: Floats
    first_at: Ints
    second_at: Ints
    unit: Floats


class Losses(NamedTuple):
    """Reference losses, sorted by group: runs and clusters of different groups share nothing."""

    log_loss: Floats
    known_var: Floats
    log_params_ratio: Floats
    log_tokens_ratio: Floats
    benchmark: Ints
    run: Ints  # within its group
    cluster: Ints  # within its group
    first: Ints  # of each group's entries
    n_runs: Ints
    n_clusters: Ints
    cluster_benchmark: Ints
    first_cluster: Ints


class Points(NamedTuple):
    """Calibration points: logits first, then counts."""

    loss: Floats
    n_items: Floats
    benchmark: Ints
    logit_score: Floats  # of normal points
    n_correct: Floats  # of counts
    log_coefficient: Floats
    nodes: Floats
    log_weights: Floats


class Reports(NamedTuple):
    """Sums of squares of replicated reports."""

    benchmark: Ints
    sum_of_squares: Floats
    degrees: Floats
    constant: float


class Scores(NamedTuple):
    """Scores of LLMs, sorted by LLM, and what their sizes are integrated over."""

    nodes: Floats
    log_widths: Floats  # 0 at the two ends, which stand for the tails
    log_params_centre: float
    log_tokens_ratio: float
    logit_score: Floats
    row: Ints
    kind: Ints
    first: Ints
    kind_benchmark: Ints
    kind_n_items: Floats
    kind_per_report: Floats
    kind_offset: Floats
    log_params: Floats
    years: Floats
    family: Ints
    basis: Floats  # (n_places, parameters of the trend); `score_sum` says what places are
    trend_at: Ints
    n_benchmarks: int
    first_place: Ints  # of each LLM's places
    place: Ints  # (n_parts * n_llms,): of each LLM in each part
    curve: int
    window: Floats  # first and last release


class Data(NamedTuple):
    """All that the likelihood takes; `counted` says which of the four terms are wanted."""

    slots: Slots
    counted: Ints
    losses: Losses
    points: Points
    reports: Reports
    scores: Scores


# --- Coordinates ------------------------------------------------------------------------------


@compiled()
def _softplus(x: float) -> float:
    """log(1 + exp(x))."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@compiled()
def _tailed(z: float, scale: float, tail: float) -> tuple[float, float]:
    """B(z), the integral of its slope sqrt(scale^2 + tail^2 z^2) from 0, and the slope.

    A logit whose density falls like exp(-|x| / tail), as that of a Beta variable does on a side
    where its parameter is 1 / tail, has normal tails in z.
    """
    slope = math.sqrt(scale * scale + tail * tail * z * z)
    return 0.5 * (z * slope + scale * scale / tail * math.asinh(tail * z / scale)), slope


@compiled()
def _walled(z: Floats, maps: Maps, k: int) -> tuple[float, float, float]:
    """Positive x = s log(1 + exp(v / s)) of v = shift + unit z, dx/dv and its log.

    x is v itself far from the wall at 0. What hangs on x linearly does so on v, down to a few s
    (`scale`) from the wall; behind it the density falls like exp(v / s), so that s must not be
    small beside the spread of v.
    """
    softness = maps.scale[k]
    q = (maps.shift[k] + maps.unit[k] * z[k]) / softness
    log_slope = -_softplus(-q)
    return softness * _softplus(q), math.exp(log_slope), log_slope


@compiled()
def unpack(z: Floats, maps: Maps, slots: Slots, theta: Floats) -> float:
    """Fill theta from z and return the log of |d theta / dz|; FIXED entries stay as they are.

    The loss law by what the ladder pins: with L0 the loss at the centre, phi the floor's share of
    it, s the share of a in a + b, and -log(1 - phi) and -log s behind walls at 0,
    E = L0 phi, a = L0 (1 - phi) s, b = L0 (1 - phi)(1 - s), and alpha, beta such that
    alpha a / L0 and beta b / L0, the elasticities, are exp of their coordinates. The Jacobian of
    (E, a, b) in (log L0, phi, s) is L0^3 (1 - phi), without a floor L0^2; exponents add alpha beta.
    """
    log_jacobian = 0.0
    for j in range(maps.log_centre.shape[0]):
        if maps.form[slots.param_coef + j] != LAW:
            continue
        log_loss = maps.log_centre[j] + z[slots.token_coef + j]
        k = slots.param_coef + j
        x, _, log_slope = _walled(z, maps, k)
        log_s, log_r = -x, math.log(-math.expm1(-x))
        log_jacobian += log_s + math.log(maps.unit[k]) + log_slope
        log_reducible = 0.0
        if slots.loss_floor >= 0:
            k = slots.loss_floor + j
            x, _, log_slope = _walled(z, maps, k)
            log_reducible = -x
            theta[k] = -math.exp(log_loss) * math.expm1(log_reducible)
            log_jacobian += log_loss + 2 * log_reducible + math.log(maps.unit[k]) + log_slope
        log_alpha = _LOG_ELASTICITY + z[slots.param_exponent + j] - log_reducible - log_s
        log_beta = _LOG_ELASTICITY + z[slots.token_exponent + j] - log_reducible - log_r
        theta[slots.param_coef + j] = math.exp(log_loss + log_reducible + log_s)
        theta[slots.token_coef + j] = math.exp(log_loss + log_reducible + log_r)
        theta[slots.param_exponent + j] = math.exp(log_alpha)
        theta[slots.token_exponent + j] = math.exp(log_beta)
        log_jacobian += 2 * log_loss + log_alpha + log_beta
    for k in range(theta.shape[0]):
        form = maps.form[k]
        if form in (FIXED, LAW, MAP, PAIR, AFTER):
            continue
        if form == BEFORE:
            log_jacobian += _unpack_sides(z, maps, theta, k)
            continue
        shift, scale = maps.shift[k], maps.scale[k]
        if maps.shift_at[k] >= 0:
            shift += theta[maps.shift_at[k]]
        if maps.scale_at[k] >= 0:
            scale *= theta[maps.scale_at[k]] ** maps.power[k]
        if form == LINEAR:
            theta[k] = maps.unit[k] * (shift + scale * z[k])
            log_jacobian += math.log(maps.unit[k] * scale)
        elif form == EXPONENTIAL:
            theta[k] = maps.unit[k] * math.exp(shift + scale * z[k])
            log_jacobian += math.log(theta[k] * scale)
        elif form == HALF_NORMAL:
            q = half_normal_quantile(z[k])
            theta[k] = scale * q
            log_jacobian += math.log(0.5 * scale) + 0.5 * q * q - 0.5 * z[k] * z[k]
        elif form == WALL:
            x, _, log_slope = _walled(z, maps, k)
            theta[k] = -math.expm1(-x)
            log_jacobian += math.log(maps.unit[k]) + log_slope - x
        else:
            tail = maps.lower_tail[k] if z[k] < 0 else maps.upper_tail[k]
            bent, slope = _tailed(z[k], scale, tail)
            log_p, log_rest = -_softplus(-shift - bent), -_softplus(shift + bent)
            theta[k] = math.exp(log_p)
            log_jacobian += log_p + log_rest + math.log(slope)
    for j in range(_n_pairs(maps, slots)):
        if maps.form[slots.protocol_sd + j] == PAIR:
            log_jacobian += _unpack_pair(z, maps, slots, theta, j)
    for j in range(maps.level.shape[0]):
        if maps.form[slots.loss_midpoint + j] == MAP:
            log_jacobian += _unpack_map(z, maps, slots, theta, j)
    return log_jacobian


@compiled()
def _unpack_sides(z: Floats, maps: Maps, theta: Floats, k: int) -> float:
    """Fill growth and its change from growth before and after a break; log Jacobian.

    Where the break is early, data pin growth after it and little before, and the other way round:
    a free break's posterior is a cross along these two, slanted along any others.
    """
    q = maps.shift_at[k]
    before = maps.shift[k] + maps.scale[k] * z[k]
    after = maps.shift[q] + maps.scale[q] * z[q]
    theta[k], theta[q] = 0.5 * (before + after), after - before
    out: float = math.log(maps.scale[k] * maps.scale[q])
    return out


@compiled()
def _n_pairs(maps: Maps, slots: Slots) -> int:
    """Benchmarks whose two sds of scores may be a pair."""
    return maps.log_centre.shape[0] if min(slots.protocol_sd, slots.discrepancy_sd) >= 0 else 0


@compiled()
def _unpack_pair(z: Floats, maps: Maps, slots: Slots, theta: Floats, j: int) -> float:
    """Fill both sds of a benchmark's scores; log Jacobian.

    Coordinates are the log of the root of the sum of squares and the logit of the share s in it of
    the protocol's, about those of the two shifts. Of many LLMs the sum is known far better than the
    share: both logs then lie on a bow, these on a line.
    """
    k, q = slots.discrepancy_sd + j, slots.protocol_sd + j
    share = 2 * (maps.shift[q] + maps.scale[q] * z[q] - maps.shift[k])
    centre = maps.shift[k] + 0.5 * _softplus(2 * (maps.shift[q] - maps.shift[k]))
    log_total = centre + maps.scale[k] * z[k]
    log_rest, log_own = log_total - 0.5 * _softplus(share), log_total - 0.5 * _softplus(-share)
    theta[k], theta[q] = math.exp(log_rest), math.exp(log_own)
    out: float = log_rest + log_own + math.log(maps.scale[k] * maps.scale[q])
    return out


@compiled()
def _unpack_map(z: Floats, maps: Maps, slots: Slots, theta: Floats, j: int) -> float:
    """Fill ceiling and midpoint of one map; log Jacobian.

    By what the LLMs' scores pin: S, the score of a reference LLM of their size. Its coordinate's
    expit is p = (S - d) / (1 - d). Had the ceiling been 1, S would lie p of the way up to it; of
    the way to c it lies sigma, and the ceiling's coordinate is h = log(1 - p) - log(1 - sigma) > 0
    behind a wall: laws, slopes and midpoints that fit the same scores are linear in h. So
    c = d + (1 - d) p / sigma, and as S = d + (c - d) logistic(gamma (l - L)) with L the loss at
    that size, l = L + logit(sigma) / gamma. The Jacobian of (c, l) in (p, h) is
    (1 - d) / (gamma sigma^2).
    """
    floor, slope = theta[slots.score_floor + j], theta[slots.score_slope + j]
    k = slots.score_ceiling + j
    level = maps.level[j] + z[slots.loss_midpoint + j]
    log_p, log_short = -_softplus(-level), -_softplus(level)
    h, _, log_slope = _walled(z, maps, k)
    log_sigma = math.log(-math.expm1(log_short - h))
    n_power, d_power = _powers(maps, slots, theta, j)
    loss = theta[slots.param_coef + j] * n_power + theta[slots.token_coef + j] * d_power
    if slots.loss_floor >= 0:
        loss += theta[slots.loss_floor + j]
    theta[k] = 1 + (1 - floor) * math.exp(log_short - log_sigma) * math.expm1(-h)
    theta[slots.loss_midpoint + j] = loss + (log_sigma - log_short + h) / slope
    log_jacobian = math.log1p(-floor) - math.log(slope) - 2 * log_sigma
    return log_jacobian + log_p + log_short + math.log(maps.unit[k]) + log_slope


@compiled()
def _powers(maps: Maps, slots: Slots, theta: Floats, j: int) -> tuple[float, float]:
    """(N / N_c)^-alpha and (D / D_c)^-beta at the size where a map has its coordinates."""
    of_params = -theta[slots.param_exponent + j] * maps.log_params_ratio[j]
    of_tokens = -theta[slots.token_exponent + j] * maps.log_tokens_ratio[j]
    return math.exp(min(of_params, _MOST_EXPONENT)), math.exp(min(of_tokens, _MOST_EXPONENT))


@compiled()
def unpack_all(z: Floats, free: Ints, given: Floats, maps: Maps, slots: Slots) -> Floats:
    """Theta of every point, (points, n_theta)."""
    out = np.empty((z.shape[0], given.shape[0]))
    whole = np.zeros(given.shape[0])
    for i in range(z.shape[0]):
        whole[free] = z[i]
        out[i] = given
        unpack(whole, maps, slots, out[i])
    return out


@compiled()
def pull_back(z: Floats, theta: Floats, maps: Maps, slots: Slots, gradient: Floats) -> Floats:
    """Gradient in z from that in theta, the log Jacobian's added; `gradient` is used up.

    Later variables may hang on earlier ones, so that these come last.
    """
    out = np.zeros(z.shape[0])
    for j in range(maps.level.shape[0]):
        if maps.form[slots.loss_midpoint + j] == MAP:
            _pull_back_map(z, theta, maps, slots, gradient, out, j)
    for j in range(_n_pairs(maps, slots)):
        k, q = slots.discrepancy_sd + j, slots.protocol_sd + j
        if maps.form[q] == PAIR:
            d_rest, d_own = gradient[k] * theta[k] + 1.0, gradient[q] * theta[q] + 1.0
            rest, own = theta[k] * theta[k], theta[q] * theta[q]
            out[k] = maps.scale[k] * (d_rest + d_own)
            out[q] = maps.scale[q] * (rest * d_own - own * d_rest) / (rest + own)
    for k in range(theta.shape[0] - 1, -1, -1):
        form = maps.form[k]
        if form in (FIXED, LAW, MAP, PAIR, AFTER):
            continue
        if form == BEFORE:
            q = maps.shift_at[k]
            out[k] = maps.scale[k] * (0.5 * gradient[k] - gradient[q])
            out[q] = maps.scale[q] * (0.5 * gradient[k] + gradient[q])
            continue
        scale = maps.scale[k]
        if maps.scale_at[k] >= 0:
            scale *= theta[maps.scale_at[k]] ** maps.power[k]
        if form == HALF_NORMAL:
            q = theta[k] / scale
            slope = 0.5 * math.exp(0.5 * q * q - 0.5 * z[k] * z[k])
            out[k] = gradient[k] * scale * slope + q * slope - z[k]
            continue
        if form == WALL:
            slope = _walled(z, maps, k)[1]
            inner = gradient[k] * (1 - theta[k]) - 1.0
            out[k] = maps.unit[k] * (inner * slope + (1 - slope) / scale)
            continue
        if form == LINEAR:
            inner = gradient[k] * maps.unit[k]
        elif form == EXPONENTIAL:
            inner = gradient[k] * theta[k] + 1.0
        else:
            p = theta[k]
            tail = maps.lower_tail[k] if z[k] < 0 else maps.upper_tail[k]
            slope = _tailed(z[k], scale, tail)[1]
            inner = gradient[k] * p * (1 - p) + 1.0 - 2.0 * p
            out[k] = inner * slope + tail * tail * z[k] / (slope * slope)
            continue
        out[k] = inner * scale
        if maps.shift_at[k] >= 0:
            gradient[maps.shift_at[k]] += inner
        if maps.scale_at[k] >= 0:
            per_unit = maps.power[k] / theta[maps.scale_at[k]]
            gradient[maps.scale_at[k]] += (inner * scale * z[k] + 1) * per_unit
    for j in range(maps.log_centre.shape[0]):
        if maps.form[slots.param_coef + j] != LAW:
            continue
        a, b = theta[slots.param_coef + j], theta[slots.token_coef + j]
        d_a, d_b = gradient[slots.param_coef + j] * a, gradient[slots.token_coef + j] * b
        n, d = slots.param_exponent + j, slots.token_exponent + j
        out[n] = gradient[n] * theta[n] + 1.0
        out[d] = gradient[d] * theta[d] + 1.0
        k = slots.param_coef + j
        slope = _walled(z, maps, k)[1]
        inner = out[n] - d_a - 1.0 + (d_b - out[d]) * a / b
        out[slots.token_coef + j] = d_a + d_b + 2.0
        out[k] = maps.unit[k] * (inner * slope + (1 - slope) / maps.scale[k])
        if slots.loss_floor >= 0:
            k = slots.loss_floor + j
            whole = math.exp(maps.log_centre[j] + z[slots.token_coef + j])
            x, slope, _ = _walled(z, maps, k)
            out[slots.token_coef + j] += gradient[k] * theta[k] + 1.0
            inner = d_a + d_b - gradient[k] * whole * math.exp(-x) - out[n] - out[d] + 2.0
            out[k] = maps.unit[k] * ((1 - slope) / maps.scale[k] - inner * slope)
    return out


@compiled()
def _pull_back_map(
    z: Floats, theta: Floats, maps: Maps, slots: Slots, gradient: Floats, out: Floats, j: int
) -> None:
    """Gradient in the two coordinates of a map; what else they hang on gets its share."""
    at_floor, at_slope = slots.score_floor + j, slots.score_slope + j
    at_ceiling, at_midpoint = slots.score_ceiling + j, slots.loss_midpoint + j
    floor, slope = theta[at_floor], theta[at_slope]
    d_ceiling, d_midpoint = gradient[at_ceiling], gradient[at_midpoint]
    level = maps.level[j] + z[at_midpoint]
    p, log_short = math.exp(-_softplus(-level)), -_softplus(level)
    short = math.exp(log_short)
    h, wall, _ = _walled(z, maps, at_ceiling)
    down, sigma = math.exp(-h), -math.expm1(log_short - h)
    above = -short * math.expm1(-h) / sigma  # (1 - c) / (1 - d)
    out[at_midpoint] = (d_ceiling * (1 - floor) * above + d_midpoint / slope) * p / sigma
    out[at_midpoint] += 1 - 2 * p - 2 * down * p * short / sigma
    inner = d_midpoint / slope - d_ceiling * (1 - floor) * p * short * down / sigma
    inner = (inner - 2 * short * down) / sigma
    out[at_ceiling] = maps.unit[at_ceiling] * (inner * wall + (1 - wall) / maps.scale[at_ceiling])
    gradient[at_floor] += d_ceiling * above - 1 / (1 - floor)
    shift = math.log(sigma) - log_short + h
    gradient[at_slope] -= d_midpoint * shift / (slope * slope) + 1 / slope
    n_power, d_power = _powers(maps, slots, theta, j)
    _law_gradient(
        d_midpoint,
        n_power,
        d_power,
        maps.log_params_ratio[j],
        maps.log_tokens_ratio[j],
        theta,
        slots,
        j,
        gradient,
    )


@compiled()
def colour(zeta: Floats, whitening: Whitened) -> tuple[Floats, Floats, Floats]:
    """Coordinates z of whitened ones.

    u = centre + matrix zeta[dense] + own zeta is bent by z = shift + width sinh(weight (asinh u +
    skew)), coordinate by coordinate (sinh-arcsinh: Jones and Pewsey 2009); not at all for weight 1
    and skew 0.

    Returns
    -------
    tuple
        z, dz/du, and the derivative of log dz/du in u.
    """
    n, dense = zeta.shape[0], whitening.dense
    common = np.empty(dense.shape[0])
    for k in range(dense.shape[0]):
        common[k] = zeta[dense[k]]
    z = whitening.matrix @ common
    slope, log_slope = np.empty(n), np.zeros(n)
    for k in range(n):
        shift, width, skew, weight, centre, own = whitening.bends[k]
        x = centre + z[k] + own * zeta[k]
        if skew == 0.0 and weight == 1.0:
            z[k], slope[k] = shift + width * x, width
            continue
        root = math.sqrt(1 + x * x)
        up = math.exp(weight * (math.copysign(math.log(abs(x) + root), x) + skew))
        down = 1 / up
        cosh = 0.5 * (up + down)
        z[k] = shift + width * 0.5 * (up - down)
        slope[k] = width * weight * cosh / root
        log_slope[k] = weight * 0.5 * (up - down) / (cosh * root) - x / (root * root)
    return z, slope, log_slope


@compiled()
def discolour(
    whitening: Whitened, gradient: Floats, slope: Floats, log_slope: Floats, value: float
) -> tuple[float, Floats]:
    """Log density and gradient of whitened coordinates from those of z."""
    for k in range(slope.shape[0]):
        value += math.log(slope[k])
        gradient[k] = gradient[k] * slope[k] + log_slope[k]
    common = whitening.matrix.T @ gradient
    out = whitening.bends[:, 5] * gradient
    for k in range(whitening.dense.shape[0]):
        out[whitening.dense[k]] += common[k]
    return value, out


# --- Priors -----------------------------------------------------------------------------------


@compiled()
def _log_prior(theta: Floats, priors: Priors, gradient: Floats) -> float:
    """Sum of log prior densities; its gradient is added."""
    total = 0.0
    for k in range(theta.shape[0]):
        dist = priors.dist[k]
        if dist == NO_PRIOR:
            continue
        x, unit = theta[k], priors.unit[k]
        if dist == LOG_NORMAL and not x > 0:  # the one kind that `unpack` can take out of bounds
            total = -np.inf
            continue
        first, second = priors.first[k], priors.second[k]
        if priors.first_at[k] >= 0:
            first = unit * theta[priors.first_at[k]]
        if priors.second_at[k] >= 0:
            second = unit * theta[priors.second_at[k]]
        if dist in (NORMAL, LOG_NORMAL):
            if dist == LOG_NORMAL:  # its unit is in `first`, a number, or in `shift`
                if priors.first_at[k] >= 0:
                    first = theta[priors.first_at[k]] + math.log(unit)
                if priors.second_at[k] >= 0:
                    second = theta[priors.second_at[k]]
                log_x = math.log(x)
                t = (log_x - first) / second
                total -= log_x
                gradient[k] -= (1 + t / second) / x
                unit = 1.0
            else:
                t = (x - first) / second
                gradient[k] -= t / second
            total -= 0.5 * t * t + math.log(second) + _HALF_LOG_2PI
            if priors.first_at[k] >= 0:
                gradient[priors.first_at[k]] += unit * t / second
            if priors.second_at[k] >= 0:
                gradient[priors.second_at[k]] += unit * (t * t - 1) / second
        elif dist == HALF:
            t = x / second
            total -= 0.5 * t * t + math.log(second) + 0.5 * math.log(0.5 * math.pi)
            gradient[k] -= t / second
        elif dist == BETA:
            constant = math.lgamma(first + second) - math.lgamma(first) - math.lgamma(second)
            total += constant + (first - 1) * math.log(x) + (second - 1) * math.log1p(-x)
            gradient[k] += (first - 1) / x - (second - 1) / (1 - x)
        else:
            total += first * math.log(second) - math.lgamma(first)
            total += (first - 1) * math.log(x) - second * x
            gradient[k] += (first - 1) / x - second
    return total


# --- Reference losses -------------------------------------------------------------------------


@compiled()
def _law_gradient(
    d_loss: float,
    n_power: float,
    d_power: float,
    n: float,
    d: float,
    theta: Floats,
    slots: Slots,
    j: int,
    gradient: Floats,
) -> None:
    """Add a derivative in the loss to those in the law's parameters."""
    if slots.loss_floor >= 0:
        gradient[slots.loss_floor + j] += d_loss
    gradient[slots.param_coef + j] += d_loss * n_power
    gradient[slots.param_exponent + j] -= d_loss * theta[slots.param_coef + j] * n_power * n
    gradient[slots.token_coef + j] += d_loss * d_power
    gradient[slots.token_exponent + j] -= d_loss * theta[slots.token_coef + j] * d_power * d


@compiled()
def _exponentiate(x: Floats, scratch: Floats) -> None:
    """Set x to exp(x), infinite where that is too large."""
    top = -np.inf
    for i in range(x.shape[0]):
        top = x[i] if x[i] > top else top
    if not top < _MOST_EXPONENT:
        for i in range(x.shape[0]):
            x[i] = math.exp(x[i])
        return
    exponentials_in_place(x, top, scratch)
    scale = math.exp(top)
    for i in range(x.shape[0]):
        x[i] *= scale


@compiled()
def _losses(theta: Floats, data: Losses, slots: Slots, gradient: Floats) -> float:
    """Log density of the reference losses, effects of runs and of sizes integrated out.

    `loss_law.clustered_normal_logp` says the same of all entries at once. Within a group, with w
    the inverse variances, 1_k the entries of cluster k, L the loadings of runs and
    c_k = s_k^2 / (1 + s_k^2 sum w),

        A^-1 = diag(w) - sum_k c_k (w 1_k)(w 1_k)',  B = A^-1 L,  M = I + L' B,
        Sigma^-1 = A^-1 - B M^-1 B'.

    alpha = Sigma^-1 e and d log p / d Sigma = (alpha alpha' - Sigma^-1) / 2 give every derivative.
    `of_run` is 1_k' diag(w) L, `solved` that times M^-1, `effect` M^-1 L' A^-1 e.
    """
    clustered, n = slots.run_effect_sd >= 0, data.log_loss.shape[0]
    total: float
    n_power, d_power, law, var = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        j = data.benchmark[i]
        n_power[i] = -theta[slots.param_exponent + j] * data.log_params_ratio[i]
        d_power[i] = -theta[slots.token_exponent + j] * data.log_tokens_ratio[i]
        var[i] = theta[slots.loss_noise_sd + j] ** 2 + data.known_var[i]
    _exponentiate(n_power, law)
    _exponentiate(d_power, law)
    for i in range(n):
        j = data.benchmark[i]
        law[i] = theta[slots.param_coef + j] * n_power[i] + theta[slots.token_coef + j] * d_power[i]
        if slots.loss_floor >= 0:
            law[i] += theta[slots.loss_floor + j]
    log_law, log_var = logarithms(law), logarithms(var)
    errors, weights = np.empty(n), np.empty(n)
    total = -0.5 * n * _LOG_2PI
    for i in range(n):
        errors[i], weights[i] = data.log_loss[i] - log_law[i], 1 / var[i]
        total -= 0.5 * log_var[i]
    for group in range(data.first.shape[0] - 1):
        low, high = data.first[group], data.first[group + 1]
        m, n_runs, n_clusters = high - low, data.n_runs[group], data.n_clusters[group]
        error, weight = errors[low:high], weights[low:high]
        s0, s1 = np.zeros(n_clusters), np.zeros(n_clusters)
        for i in range(m):
            s0[data.cluster[low + i]] += weight[i]
            s1[data.cluster[low + i]] += weight[i] * error[i]
        score, inverse = np.empty(m), np.empty(m)  # Sigma^-1 e, and the diagonal of Sigma^-1
        if clustered:
            c, of_run = np.zeros(n_clusters), np.zeros((n_clusters, n_runs))
            for k in range(n_clusters):
                j = data.cluster_benchmark[data.first_cluster[group] + k]
                shared_var = theta[slots.size_effect_sd + j] ** 2
                c[k] = shared_var / (1 + shared_var * s0[k])
                total -= 0.5 * math.log1p(shared_var * s0[k])
            inner, known = np.zeros((n_runs, n_runs)), np.zeros(n_runs)
            for r in range(n_runs):
                inner[r, r] = 1.0
            for i in range(m):
                k, r = data.cluster[low + i], data.run[low + i]
                loaded = weight[i] * theta[slots.run_effect_sd + data.benchmark[low + i]]
                of_run[k, r] += loaded
                inner[r, r] += loaded * theta[slots.run_effect_sd + data.benchmark[low + i]]
                known[r] += loaded * (error[i] - c[k] * s1[k])
            for k in range(n_clusters):
                for r in range(n_runs):
                    for q in range(n_runs):
                        inner[r, q] -= c[k] * of_run[k, r] * of_run[k, q]
            inner_inverse, log_det = _inverse(inner)
            total -= 0.5 * log_det
            effect, solved = np.zeros(n_runs), np.zeros((n_clusters, n_runs))
            for q in range(n_runs):
                for r in range(n_runs):
                    effect[q] += inner_inverse[q, r] * known[r]
                    for k in range(n_clusters):
                        solved[k, q] += of_run[k, r] * inner_inverse[r, q]
            for i in range(m):
                k, r, j = data.cluster[low + i], data.run[low + i], data.benchmark[low + i]
                w, loading = weight[i], theta[slots.run_effect_sd + j]
                square, shift = 0.0, 0.0
                for q in range(n_runs):
                    square += of_run[k, q] * solved[k, q]
                    shift += of_run[k, q] * effect[q]
                own = loading * inner_inverse[r, r] - c[k] * solved[k, r]
                between = loading * own - c[k] * (loading * solved[k, r] - c[k] * square)
                inverse[i] = w - w * w * (c[k] + between)
                score[i] = w * (error[i] - c[k] * s1[k] - loading * effect[r] + c[k] * shift)
                gradient[slots.run_effect_sd + j] += score[i] * effect[r] - w * own
            sum_score = np.zeros(n_clusters)
            for i in range(m):
                sum_score[data.cluster[low + i]] += score[i]
            for k in range(n_clusters):
                j = data.cluster_benchmark[data.first_cluster[group] + k]
                rest = 1 - c[k] * s0[k]
                trace = s0[k] * rest
                for q in range(n_runs):
                    trace -= rest * rest * of_run[k, q] * solved[k, q]
                slope = (sum_score[k] ** 2 - trace) * theta[slots.size_effect_sd + j]
                gradient[slots.size_effect_sd + j] += slope
        else:
            for i in range(m):
                score[i], inverse[i] = weight[i] * error[i], weight[i]
        for i in range(m):
            at = low + i
            j = data.benchmark[at]
            total -= 0.5 * error[i] * score[i]
            slope = (score[i] ** 2 - inverse[i]) * theta[slots.loss_noise_sd + j]
            gradient[slots.loss_noise_sd + j] += slope
            _law_gradient(
                score[i] / law[at],
                n_power[at],
                d_power[at],
                data.log_params_ratio[at],
                data.log_tokens_ratio[at],
                theta,
                slots,
                j,
                gradient,
            )
    return total


@compiled()
def _inverse(matrix: Floats) -> tuple[Floats, float]:
    """Inverse, in its place, and log determinant of a small positive definite matrix.

    By Gauss and Jordan.
    """
    n = matrix.shape[0]
    work, log_det = matrix, 0.0
    for k in range(n):
        pivot = work[k, k]
        log_det += math.log(pivot)
        work[k, k] = 1.0
        for q in range(n):
            work[k, q] /= pivot
        for r in range(n):
            if r != k:
                factor = work[r, k]
                work[r, k] = 0.0
                for q in range(n):
                    work[r, q] -= factor * work[k, q]
    return work, log_det


# --- Calibration points and replicated reports ------------------------------------------------


@compiled()
def _map_at(
    small: float, upper_half: bool, floor: float, ceiling: float
) -> tuple[float, float, float, float]:
    """`laws.logistic_logit_score` as odds, and derivatives of the logit.

    Of x = -slope (loss - midpoint) it takes exp(-|x|) and whether x > 0; it returns the odds and
    d logit / dx, dd, dc.
    """
    low, high = (small, 1.0) if upper_half else (1.0, small)
    top = floor * low + ceiling * high
    rest = (1 - floor) * low + (1 - ceiling) * high
    d_x = (ceiling - floor) * low * high / (top * rest)
    return top / rest, d_x, low / top + low / rest, high / top + high / rest


@compiled()
def _map_gradient(
    d_logit: float,
    d_x: float,
    d_floor: float,
    d_ceiling: float,
    loss: float,
    theta: Floats,
    slots: Slots,
    j: int,
    gradient: Floats,
) -> None:
    """Add a derivative in the logit to those in the map's parameters."""
    slope, midpoint = theta[slots.score_slope + j], theta[slots.loss_midpoint + j]
    inner = d_logit * d_x
    gradient[slots.score_floor + j] += d_logit * d_floor
    gradient[slots.score_ceiling + j] += d_logit * d_ceiling
    if inner != 0.0:
        gradient[slots.score_slope + j] -= inner * (loss - midpoint)
        gradient[slots.loss_midpoint + j] += inner * slope


@compiled()
def _points(theta: Floats, data: Points, slots: Slots, gradient: Floats) -> float:
    """Log density of logits of calibration points, log probability of counts."""
    total, n_normal = 0.0, data.logit_score.shape[0]
    for i in range(data.loss.shape[0]):
        j = data.benchmark[i]
        x = -theta[slots.score_slope + j] * (data.loss[i] - theta[slots.loss_midpoint + j])
        odds, d_x, d_floor, d_ceiling = _map_at(
            math.exp(-abs(x)),
            x > 0,
            theta[slots.score_floor + j],
            theta[slots.score_ceiling + j],
        )
        mean, sd = math.log(odds), theta[slots.map_noise_sd + j]
        d_mean = 0.0
        if i < n_normal:
            var = sd * sd + (2 + odds + 1 / odds) / data.n_items[i]
            scaled = (data.logit_score[i] - mean) / var
            total -= 0.5 * (scaled * scaled * var + math.log(var) + _LOG_2PI)
            d_var = 0.5 * (scaled * scaled - 1 / var)
            d_mean = scaled + d_var * (odds - 1 / odds) / data.n_items[i]
            gradient[slots.map_noise_sd + j] += 2 * d_var * sd
        else:
            k, n_items = data.n_correct[i - n_normal], data.n_items[i]
            top, n_nodes = -np.inf, data.nodes.shape[0]
            shares, correct = np.empty(n_nodes), np.empty(n_nodes)
            for g in range(n_nodes):
                x = mean + sd * data.nodes[g]
                small = math.exp(-abs(x))
                correct[g] = (1.0 if x > 0 else small) / (1 + small)
                log_odds_less = k * x - n_items * (max(x, 0.0) + math.log1p(small))
                shares[g] = data.log_weights[g] + log_odds_less
                top = max(top, shares[g])
            exponentials_in_place(shares, top, np.empty(n_nodes))
            mass, d_sd = 0.0, 0.0
            for g in range(n_nodes):
                mass += shares[g]
                slope = shares[g] * (k - n_items * correct[g])
                d_mean += slope
                d_sd += slope * data.nodes[g]
            total += top + math.log(mass) + data.log_coefficient[i - n_normal]
            d_mean /= mass
            gradient[slots.map_noise_sd + j] += d_sd / mass
        _map_gradient(d_mean, d_x, d_floor, d_ceiling, data.loss[i], theta, slots, j, gradient)
    return total


@compiled()
def _reports(theta: Floats, data: Reports, slots: Slots, gradient: Floats) -> float:
    """Log density of sums of squares, protocol_sd^2 chi-square(degrees)."""
    total = data.constant
    for i in range(data.benchmark.shape[0]):
        at = slots.protocol_sd + data.benchmark[i]
        sd, degrees = theta[at], data.degrees[i]
        total -= degrees * math.log(sd) + 0.5 * data.sum_of_squares[i] / (sd * sd)
        gradient[at] += (data.sum_of_squares[i] / (sd * sd) - degrees) / sd
    return total


# --- Scores of LLMs ---------------------------------------------------------------------------


@compiled()
def _normal_tail(z: float) -> tuple[float, float]:
    """Log of the normal probability beyond z, and its derivative."""
    z = max(z, -5.0)
    if z < 20.0:
        tail = 0.5 * math.erfc(z / math.sqrt(2.0))
        return math.log(tail), -math.exp(-0.5 * z * z - _HALF_LOG_2PI) / tail
    inverse = 1 / (z * z)
    series = 1 - inverse * (1 - inverse * (3 - inverse * (15 - 105 * inverse)))
    return -0.5 * z * z - _HALF_LOG_2PI - math.log(z) + math.log(series), -z / series


@compiled()
def _position(nodes: Floats, x: float) -> int:
    """First node above x."""
    low, high = 0, nodes.shape[0]
    while low < high:
        middle = (low + high) // 2
        if nodes[middle] > x:
            high = middle
        else:
            low = middle + 1
    return low


@compiled()
def _windows(
    nodes: Floats, log_widths: Floats, location: Floats, residual_sd: Floats
) -> tuple[Ints, Ints, Floats]:
    """Nodes within `_REACH_SDS` of every LLM's location, and what bounds the terms of others.

    Outwards the rule's widths grow by less than e^(1/2) a node and the bell falls by more, unless
    it is as wide as the grid is coarse there: then, and at the ends, there is no bound.
    """
    n, last = location.shape[0], nodes.shape[0] - 1
    low, high, outside = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n)
    for i in range(n):
        x, sd = location[i], residual_sd[i]
        low[i] = max(_position(nodes, x - _REACH_SDS * sd), 1)
        high[i] = min(_position(nodes, x + _REACH_SDS * sd), last)
        outside[i] = np.inf
        if 1 < low[i] < high[i] < last:
            below, above = low[i] - 1, high[i]
            gap = min(nodes[low[i]] - nodes[below], nodes[above] - nodes[above - 1])
            if _REACH_SDS * gap > sd:
                s, t = (nodes[below] - x) / sd, (nodes[above] - x) / sd
                outside[i] = max(log_widths[below] - 0.5 * s * s, log_widths[above] - 0.5 * t * t)
    return low, high, outside


@compiled(sums=SUMS, inline="always")
def _add_cells(
    cells: range,
    inner: range,
    share: Floats,
    logit_score: Floats,
    row: Ints,
    kind: Ints,
    mean_at: Floats,
    precision_at: Floats,
    n_nodes: np.uint64,
    d_mean_at: Floats,
    d_var_at: Floats,
) -> None:
    """Add the derivatives of one LLM's cells, given its nodes' shares."""
    for c in cells:
        y = logit_score[c]
        at, of_kind = np.uint64(row[c]) * n_nodes, np.uint64(kind[c]) * n_nodes
        for g in inner:
            precision = precision_at[of_kind + g]
            scaled = (y - mean_at[at + g]) * precision
            d_mean_at[at + g] += share[g] * scaled
            d_var_at[of_kind + g] += 0.5 * share[g] * (scaled * scaled - precision)


@compiled(sums=SUMS)
def score_sum(
    mean: Floats,
    var: Floats,
    largest: Floats,
    location: Floats,
    residual_sd: Floats,
    nodes: Floats,
    log_widths: Floats,
    logit_score: Floats,
    row: Ints,
    kind: Ints,
    first: Ints,
    first_place: Ints,
    place: Ints,
) -> tuple[float, Floats, Floats, Floats, Floats]:
    """Log density of the LLMs' scores, sizes integrated out under a normal residual; its gradient.

    A place q is a location and an sd that an LLM may have. Under most trends each LLM has one, and
    the sum is that of all log p_q,

    log p_q = log sum_g exp(log_width_g + log Normal(x_g; location_q, sd_q) + log p(y_i | x_g)),

    the probabilities of the tails at the two end nodes. A trend that is a mixture of equally likely
    parts puts LLM i in part k at place[k n_llms + i], one of those from first_place[i] on: parts
    that agree on an LLM share its place. The sum is then the log of the mean over parts of
    exp(sum_i log p_q).

    With w_q the posterior probability of the parts that have place q (1 where there is one part),
    p_qg the posterior weights of its nodes and e = y - mean, the derivatives are sums of
    w_q p_qg e / var in mean, of w_q p_qg (e^2 / var - 1) / 2 var in var, of
    w_q p_qg (x_g - location_q) / sd_q^2 in location_q, and so on.

    Nodes within `_REACH_SDS` of a location are looked at first. With largest[u] a bound of
    -log(var) / 2 of a kind of cell, others are known to have small terms: if these may matter, as
    they do where scores and location disagree, all nodes are looked at.

    Returns
    -------
    tuple
        The sum, and its gradient in mean, var, location and residual_sd.
    """
    # One long row each, and unsigned positions: taking rows out counts references, and signed ones
    # might be meant to count from the end, both of which cost more than the arithmetic.
    n_nodes, n_llms = np.uint64(nodes.shape[0]), first.shape[0] - 1
    mean_at, precision_at = mean.ravel(), 1.0 / var.ravel()
    half_log_var_at = 0.5 * logarithms(var.ravel())
    d_mean_at, d_var_at = np.zeros_like(mean_at), np.zeros_like(precision_at)
    d_location, d_sd = np.zeros_like(location), np.zeros_like(residual_sd)
    log_p, share = np.empty(nodes.shape[0]), np.empty(nodes.shape[0])
    scratch, log_p_of = np.empty(nodes.shape[0]), np.empty_like(location)
    low_of, high_of, bound = _windows(nodes, log_widths, location, residual_sd)
    # Shares of all places' nodes one after another: what they weigh is known when all are
    shares, begin = np.empty(nodes.shape[0]), np.zeros_like(low_of)
    one, n_shares, is_mixed = np.uint64(1), np.uint64(0), place.shape[0] > n_llms
    for i in range(n_llms):
        low, high, is_known = n_nodes, np.uint64(0), False
        beyond = 0.0
        for c in range(first[i], first[i + 1]):
            beyond += largest[kind[c]]
        for q in range(first_place[i], first_place[i + 1]):
            low, high = min(low, np.uint64(low_of[q])), max(high, np.uint64(high_of[q]))
        for q in range(first_place[i], first_place[i + 1]):
            x, sd = location[q], residual_sd[q]
            half_precision = 0.5 / (sd * sd)
            while True:
                if not is_known:
                    for g in range(low, high):
                        log_p[g] = log_widths[g]
                    for c in range(first[i], first[i + 1]):
                        y = logit_score[c]
                        at, of_kind = np.uint64(row[c]) * n_nodes, np.uint64(kind[c]) * n_nodes
                        for g in range(low, high):
                            e = y - mean_at[at + g]
                            penalty = 0.5 * e * e * precision_at[of_kind + g]
                            log_p[g] -= penalty + half_log_var_at[of_kind + g]
                    is_known = True
                for g in range(low, high):
                    deviation = nodes[g] - x
                    share[g] = log_p[g] - half_precision * deviation * deviation
                if low == 0 and high == n_nodes:
                    to_density = math.log(sd) + _HALF_LOG_2PI
                    share[0] = log_p[0] + _normal_tail((x - nodes[0]) / sd)[0] + to_density
                    share[-1] = log_p[-1] + _normal_tail((nodes[-1] - x) / sd)[0] + to_density
                top = -np.inf
                for g in range(low, high):
                    top = max(top, share[g])
                if bound[q] + beyond < top - _NEGLIGIBLE or (low == 0 and high == n_nodes):
                    break
                low, high, is_known = np.uint64(0), n_nodes, False
            lowest, highest = low, high
            while lowest < highest and not share[lowest] > top - _NEGLIGIBLE:
                lowest += one
            while highest > lowest and not share[highest - one] > top - _NEGLIGIBLE:
                highest -= one
            exponentials_in_place(share[lowest:highest], top, scratch)
            mass, first_moment, second_moment = 0.0, 0.0, 0.0
            for g in range(lowest, highest):
                deviation = nodes[g] - x
                mass += share[g]
                first_moment += share[g] * deviation
                second_moment += share[g] * deviation * deviation
            per_mass = 1 / mass
            for g in range(lowest, highest):
                share[g] *= per_mass
            log_p_of[q] = top + math.log(mass) - math.log(sd)
            log_p_of[q] -= _HALF_LOG_2PI * (first[i + 1] - first[i] + 1)
            d_location[q] = first_moment * per_mass / (sd * sd)
            d_sd[q] = second_moment * per_mass / (sd * sd * sd) - 1 / sd
            if lowest == 0:
                location_slope, sd_slope = _tail_slopes(nodes[0] - x, sd)
                d_location[q] += share[0] * location_slope
                d_sd[q] += share[0] * sd_slope
            if highest == n_nodes:
                location_slope, sd_slope = _tail_slopes(x - nodes[-1], sd)
                d_location[q] -= share[-1] * location_slope
                d_sd[q] += share[-1] * sd_slope
            if not is_mixed:
                _add_cells(
                    range(first[i], first[i + 1]),
                    range(lowest, highest),
                    share,
                    logit_score,
                    row,
                    kind,
                    mean_at,
                    precision_at,
                    n_nodes,
                    d_mean_at,
                    d_var_at,
                )
                continue
            low_of[q], high_of[q], begin[q] = lowest, highest, n_shares
            if n_shares + (highest - lowest) > np.uint64(shares.shape[0]):
                shares = np.concatenate((shares, np.empty(shares.shape[0] + nodes.shape[0])))
            for g in range(lowest, highest):
                shares[n_shares + (g - lowest)] = share[g]
            n_shares += highest - lowest
    total, weight = _mean_of_parts(log_p_of, place, n_llms)
    for i in range(n_llms if is_mixed else 0):
        low, high = n_nodes, np.uint64(0)
        for q in range(first_place[i], first_place[i + 1]):
            low, high = min(low, np.uint64(low_of[q])), max(high, np.uint64(high_of[q]))
        for g in range(low, high):
            share[g] = 0.0
        for q in range(first_place[i], first_place[i + 1]):
            d_location[q] *= weight[q]
            d_sd[q] *= weight[q]
            lowest, start = np.uint64(low_of[q]), np.uint64(begin[q])
            for g in range(lowest, np.uint64(high_of[q])):
                share[g] += weight[q] * shares[start + (g - lowest)]
        _add_cells(
            range(first[i], first[i + 1]),
            range(low, high),
            share,
            logit_score,
            row,
            kind,
            mean_at,
            precision_at,
            n_nodes,
            d_mean_at,
            d_var_at,
        )
    return total, d_mean_at.reshape(mean.shape), d_var_at.reshape(var.shape), d_location, d_sd


@compiled()
def _mean_of_parts(log_p: Floats, place: Ints, n_llms: int) -> tuple[float, Floats]:
    """Log of the mean over parts of the product of their places' p, and every place's weight."""
    n_parts, weight = place.shape[0] // n_llms, np.zeros_like(log_p)
    log_part = np.zeros(n_parts)
    for k in range(n_parts):
        for i in range(n_llms):
            log_part[k] += log_p[place[k * n_llms + i]]
    top = log_part.max()
    part = np.exp(log_part - top)
    mass = part.sum()
    for k in range(n_parts):
        for i in range(n_llms):
            weight[place[k * n_llms + i]] += part[k] / mass
    return top + math.log(mass / n_parts), weight


@compiled()
def _tail_slopes(deviation: float, sd: float) -> tuple[float, float]:
    """Slopes of the lower tail's log probability in location and sd, less those of a node there."""
    _, slope = _normal_tail(-deviation / sd)
    in_location = slope / sd - deviation / (sd * sd)
    in_sd = slope * deviation / (sd * sd) - deviation * deviation / (sd * sd * sd) + 1 / sd
    return in_location, in_sd


@compiled()
def _curve(
    curve: int, t: float, growth: float, shape: float, first: float, last: float
) -> tuple[float, float, float]:
    """Trend above its level, and its derivatives in growth and shape; `trends` has the formulas."""
    if curve == HYPERBOLIC:
        singular = last + shape
        log_left = math.log1p(-t / singular)
        by_shape = -growth * (log_left + t / (singular - t))
        return -growth * singular * log_left, -singular * log_left, by_shape
    if curve == LOGISTIC_CURVE:
        midpoint = last + shape
        now, now_by_growth, now_by_time = _risen(growth, t - midpoint)
        then, then_by_growth, then_by_time = _risen(growth, -midpoint)
        return now - then, now_by_growth - then_by_growth, then_by_time - now_by_time
    if curve == GOMPERTZ:
        decay = shape + 1e-12
        lost = math.expm1(-decay * t)
        by_shape = growth * (t * (lost + 1) + lost / decay) / decay
        return -growth * lost / decay, -lost / decay, by_shape
    if curve == POWER:  # no LLM is released before the first
        age = 1.0 - first
        log_age = math.log1p(t / age)
        risen = age * math.expm1(shape * log_age) / shape
        by_shape = growth * (age * log_age * math.exp(shape * log_age) - risen) / shape
        return growth * risen, risen, by_shape
    half = 0.5 * (last - first)
    y, u = half * growth, (t - first) / (last - first)
    low, high = (1 - u) * math.exp(-y - abs(y)), u * math.exp(y - abs(y))
    risen = math.log(low + high) - math.log1p(0.5 * math.expm1(-2 * abs(y)))
    return risen, half * ((high - low) / (low + high) - math.tanh(y)), 0.0


@compiled()
def _risen(growth: float, x: float) -> tuple[float, float, float]:
    """Logistic rise g x / 2 - sign(g) log(2 cosh(g x / 2)), and its derivatives in g and x."""
    y, square = 0.5 * growth * x, growth * growth + 1e-20
    log_cosh = abs(y) + math.log1p(0.5 * math.expm1(-2 * abs(y)))
    sign = growth / math.sqrt(square)
    slope = 1 - sign * math.tanh(y)
    by_growth = 0.5 * x * slope - 1e-20 / (square * math.sqrt(square)) * log_cosh
    return y - sign * log_cosh, by_growth, 0.5 * growth * slope


@compiled()
def _trend(theta: Floats, data: Scores) -> tuple[Floats, Floats]:
    """Trend of log density at every place, and its slopes in the trend's parameters."""
    rise, at = np.zeros(data.basis.shape[0]), data.trend_at
    if data.curve == BASIS:
        for q in range(rise.shape[0]):
            for p in range(at.shape[0]):
                rise[q] += data.basis[q, p] * theta[at[p]]
        return rise, data.basis
    slope, by = np.empty(data.basis.shape), np.empty(3)
    shape = theta[at[2]] if at.shape[0] > 2 else 0.0
    by[0] = 1.0
    for q in range(rise.shape[0]):
        above, by[1], by[2] = _curve(
            data.curve, data.years[q], theta[at[1]], shape, data.window[0], data.window[1]
        )
        rise[q] = theta[at[0]] + above
        slope[q] = by[: at.shape[0]]
    return rise, slope


@compiled()
def _locations(theta: Floats, data: Scores, slots: Slots, rise: Floats) -> tuple[Floats, Floats]:
    """Log size that trend and family expect of an LLM at each place, and the sd of its residual."""
    location, sd = np.empty_like(rise), np.empty_like(rise)
    for i in range(data.log_params.shape[0]):
        given, of_llm = data.log_params[i], theta[slots.residual_sd]
        if slots.family_effect >= 0:
            given += theta[slots.family_effect + data.family[i]]
        if slots.residual_log_sd_slope >= 0:
            of_llm *= math.exp(theta[slots.residual_log_sd_slope] * data.years[i])
        for q in range(data.first_place[i], data.first_place[i + 1]):
            location[q], sd[q] = given + rise[q], of_llm
    return location, sd


@compiled()
def _beyond_items(theta: Floats, data: Scores, slots: Slots, u: int) -> float:
    """Variance of a kind of cell beyond that of its items."""
    j = data.kind_benchmark[u]
    out: float = theta[slots.discrepancy_sd + j] ** 2
    if slots.protocol_sd >= 0:
        out += theta[slots.protocol_sd + j] ** 2 * data.kind_per_report[u]
    return out


@compiled(inline="always")
def _scores(theta: Floats, data: Scores, slots: Slots, gradient: Floats) -> float:
    """Log density of the LLMs' scores, every effective size integrated out."""
    nodes, n_nodes = data.nodes, data.nodes.shape[0]
    n_kinds, n_benchmarks = data.kind_benchmark.shape[0], data.n_benchmarks
    has_offset = slots.protocol_offset >= 0
    # Law and map on the grid
    n_rows = 2 * n_benchmarks if has_offset else n_benchmarks
    mean, odds = np.empty((n_rows, n_nodes)), np.empty((n_benchmarks, n_nodes))
    loss, n_power = np.empty((n_benchmarks, n_nodes)), np.empty((n_benchmarks, n_nodes))
    d_x, d_floor = np.empty((n_benchmarks, n_nodes)), np.empty((n_benchmarks, n_nodes))
    d_ceiling, d_power = np.empty((n_benchmarks, n_nodes)), np.empty(n_benchmarks)
    exponent, small = np.empty(n_nodes), np.empty(n_nodes)
    for j in range(n_benchmarks):
        of_tokens = -theta[slots.token_exponent + j] * data.log_tokens_ratio
        d_power[j] = math.exp(min(of_tokens, _MOST_EXPONENT))
        fixed = theta[slots.token_coef + j] * d_power[j]
        if slots.loss_floor >= 0:
            fixed += theta[slots.loss_floor + j]
        top = -np.inf
        for g in range(n_nodes):
            ratio = nodes[g] - data.log_params_centre
            exponent[g] = min(-theta[slots.param_exponent + j] * ratio, _MOST_EXPONENT)
            top = max(top, exponent[g])
        n_power[j] = math.exp(top) * exponentials(exponent, top)
        floor, ceiling = theta[slots.score_floor + j], theta[slots.score_ceiling + j]
        slope, midpoint = theta[slots.score_slope + j], theta[slots.loss_midpoint + j]
        for g in range(n_nodes):
            loss[j, g] = fixed + theta[slots.param_coef + j] * n_power[j, g]
            small[g] = -abs(slope * (loss[j, g] - midpoint))
        exponentials_in_place(small, 0.0, exponent)
        for g in range(n_nodes):
            odds[j, g], d_x[j, g], d_floor[j, g], d_ceiling[j, g] = _map_at(
                small[g], loss[j, g] < midpoint, floor, ceiling
            )
        mean[j] = logarithms(odds[j])
        if has_offset:
            mean[n_benchmarks + j] = mean[j] + theta[slots.protocol_offset + j]
    # Variances of the kinds of cells
    var, d_var_d_mean = np.empty((n_kinds, n_nodes)), np.empty((n_kinds, n_nodes))
    largest = np.empty(n_kinds)
    for u in range(n_kinds):
        j, factor = data.kind_benchmark[u], 1.0
        beyond_items, per_item = _beyond_items(theta, data, slots, u), 1 / data.kind_n_items[u]
        largest[u] = -0.5 * math.log(beyond_items + 4 * per_item)  # S (1 - S) is at most 1/4
        if has_offset:
            factor = math.exp(theta[slots.protocol_offset + j] * data.kind_offset[u])
        for g in range(n_nodes):
            up = odds[j, g] * factor
            down = 1 / up
            var[u, g] = beyond_items + (2 + up + down) * per_item
            d_var_d_mean[u, g] = (up - down) * per_item
    rise, slope_of_trend = _trend(theta, data)
    location, sd = _locations(theta, data, slots, rise)
    total, d_mean, d_var, d_location, d_sd = score_sum(
        mean,
        var,
        largest,
        location,
        sd,
        nodes,
        data.log_widths,
        data.logit_score,
        data.row,
        data.kind,
        data.first,
        data.first_place,
        data.place,
    )
    for i in range(data.log_params.shape[0]):
        for q in range(data.first_place[i], data.first_place[i + 1]):
            for p in range(data.trend_at.shape[0]):
                gradient[data.trend_at[p]] += d_location[q] * slope_of_trend[q, p]
            if slots.family_effect >= 0:
                gradient[slots.family_effect + data.family[i]] += d_location[q]
            gradient[slots.residual_sd] += d_sd[q] * sd[q] / theta[slots.residual_sd]
            if slots.residual_log_sd_slope >= 0:
                gradient[slots.residual_log_sd_slope] += d_sd[q] * sd[q] * data.years[i]
    for u in range(n_kinds):
        j, shared, by_offset = data.kind_benchmark[u], 0.0, 0.0
        for g in range(n_nodes):
            shared += d_var[u, g]
            through = d_var[u, g] * d_var_d_mean[u, g]
            d_mean[j, g] += through
            by_offset += through
        at = slots.discrepancy_sd + j
        gradient[at] += 2 * theta[at] * shared
        if slots.protocol_sd >= 0:
            at = slots.protocol_sd + j
            gradient[at] += 2 * theta[at] * shared * data.kind_per_report[u]
        if has_offset:
            gradient[slots.protocol_offset + j] += by_offset * data.kind_offset[u]
    for j in range(n_benchmarks):
        slope, midpoint = theta[slots.score_slope + j], theta[slots.loss_midpoint + j]
        by_floor, by_ceiling, by_slope, by_midpoint, by_offset = 0.0, 0.0, 0.0, 0.0, 0.0
        by_loss, by_power, by_exponent = 0.0, 0.0, 0.0
        for g in range(n_nodes):
            d_logit = d_mean[j, g]
            if has_offset:
                by_offset += d_mean[n_benchmarks + j, g]
                d_logit += d_mean[n_benchmarks + j, g]
            by_floor += d_logit * d_floor[j, g]
            by_ceiling += d_logit * d_ceiling[j, g]
            inner = d_logit * d_x[j, g]
            if inner != 0.0:  # where the map is flat the loss may be infinite
                by_slope -= inner * (loss[j, g] - midpoint)
                by_midpoint += inner
                by_loss -= inner
                by_power -= inner * n_power[j, g]
                by_exponent -= inner * n_power[j, g] * (nodes[g] - data.log_params_centre)
        gradient[slots.score_floor + j] += by_floor
        gradient[slots.score_ceiling + j] += by_ceiling
        gradient[slots.score_slope + j] += by_slope
        gradient[slots.loss_midpoint + j] += by_midpoint * slope
        if has_offset:
            gradient[slots.protocol_offset + j] += by_offset
        if slots.loss_floor >= 0:
            gradient[slots.loss_floor + j] += by_loss * slope
        coef = theta[slots.token_coef + j]
        gradient[slots.token_coef + j] += by_loss * slope * d_power[j]
        gradient[slots.token_exponent + j] -= (
            by_loss * slope * coef * d_power[j] * data.log_tokens_ratio
        )
        gradient[slots.param_coef + j] += by_power * slope
        gradient[slots.param_exponent + j] -= by_exponent * slope * theta[slots.param_coef + j]
    return total


# --- All together -----------------------------------------------------------------------------


@compiled(inline="always")
def log_density(theta: Floats, priors: Priors, data: Data) -> tuple[float, Floats]:
    """Log density of natural parameters, as the `pm.Model` has it, and its gradient."""
    gradient = np.zeros(theta.shape[0])
    total = _log_prior(theta, priors, gradient)
    if data.counted[0]:
        total += _losses(theta, data.losses, data.slots, gradient)
    if data.counted[1]:
        total += _points(theta, data.points, data.slots, gradient)
    if data.counted[2]:
        total += _reports(theta, data.reports, data.slots, gradient)
    if data.counted[3]:
        total += _scores(theta, data.scores, data.slots, gradient)
    return total, gradient


def pack(
    maps: Maps, priors: Priors, data: Data, free: Ints, theta: Floats, whitening: Whitened
) -> Words:
    """Put all that a log density depends on into one block of 8-byte words.

    One address then is all that a sampler written in another language has to hand back, and a call
    from Python takes a microsecond, not the fourteen of sixty arrays. Word 0 is the number of
    arrays, word k their k-th's end; the arrays follow, bits as they are, in the order in which
    `_read` reads them.

    Parameters
    ----------
    maps, priors, data
        Tables of the model.
    free
        (n,) positions in theta of what is sampled.
    theta
        Values of what is not.
    whitening
        Of what is free.
    """
    arrays: list[np.ndarray] = []

    def walk(value: object) -> None:
        if isinstance(value, tuple) and not isinstance(value, Slots):
            for part in value:
                walk(part)
            return
        array = np.ravel(np.asarray(value))
        whole = array.dtype.kind != "f"
        arrays.append(array.astype(np.int64) if whole else array.astype(float).view(np.int64))

    for table in (maps, priors, data, free, theta, whitening):
        walk(table)
    ends = len(arrays) + 2 + np.cumsum([0, *(len(array) for array in arrays)])
    return np.concatenate([[len(arrays)], ends, *arrays])


@compiled()
def _read(words: Words) -> tuple[Maps, Priors, Data, Ints, Floats, Whitened]:
    """All that `pack` put together, as views."""
    v, w, e = words, words.view(np.float64), words[1:]
    maps = Maps(
        v[e[0] : e[1]],
        w[e[1] : e[2]],
        w[e[2] : e[3]],
        v[e[3] : e[4]],
        v[e[4] : e[5]],
        w[e[5] : e[6]],
        w[e[6] : e[7]],
        w[e[7] : e[8]],
        w[e[8] : e[9]],
        w[e[9] : e[10]],
        w[e[10] : e[11]],
        w[e[11] : e[12]],
        w[e[12] : e[13]],
    )
    priors = Priors(
        v[e[13] : e[14]],
        w[e[14] : e[15]],
        w[e[15] : e[16]],
        v[e[16] : e[17]],
        v[e[17] : e[18]],
        w[e[18] : e[19]],
    )
    data = Data(
        Slots(
            v[e[19] + 0],
            v[e[19] + 1],
            v[e[19] + 2],
            v[e[19] + 3],
            v[e[19] + 4],
            v[e[19] + 5],
            v[e[19] + 6],
            v[e[19] + 7],
            v[e[19] + 8],
            v[e[19] + 9],
            v[e[19] + 10],
            v[e[19] + 11],
            v[e[19] + 12],
            v[e[19] + 13],
            v[e[19] + 14],
            v[e[19] + 15],
            v[e[19] + 16],
            v[e[19] + 17],
            v[e[19] + 18],
            v[e[19] + 19],
        ),
        v[e[20] : e[21]],
        Losses(
            w[e[21] : e[22]],
            w[e[22] : e[23]],
            w[e[23] : e[24]],
            w[e[24] : e[25]],
            v[e[25] : e[26]],
            v[e[26] : e[27]],
            v[e[27] : e[28]],
            v[e[28] : e[29]],
            v[e[29] : e[30]],
            v[e[30] : e[31]],
            v[e[31] : e[32]],
            v[e[32] : e[33]],
        ),
        Points(
            w[e[33] : e[34]],
            w[e[34] : e[35]],
            v[e[35] : e[36]],
            w[e[36] : e[37]],
            w[e[37] : e[38]],
            w[e[38] : e[39]],
            w[e[39] : e[40]],
            w[e[40] : e[41]],
        ),
        Reports(v[e[41] : e[42]], w[e[42] : e[43]], w[e[43] : e[44]], w[e[44]]),
        Scores(
            w[e[45] : e[46]],
            w[e[46] : e[47]],
            w[e[47]],
            w[e[48]],
            w[e[49] : e[50]],
            v[e[50] : e[51]],
            v[e[51] : e[52]],
            v[e[52] : e[53]],
            v[e[53] : e[54]],
            w[e[54] : e[55]],
            w[e[55] : e[56]],
            w[e[56] : e[57]],
            w[e[57] : e[58]],
            w[e[58] : e[59]],
            v[e[59] : e[60]],
            w[e[60] : e[61]].reshape((-1, e[62] - e[61])),
            v[e[61] : e[62]],
            v[e[62]],
            v[e[63] : e[64]],
            v[e[64] : e[65]],
            v[e[65]],
            w[e[66] : e[67]],
        ),
    )
    free = v[e[67] : e[68]]
    theta = w[e[68] : e[69]]
    dense = v[e[70] : e[71]]
    whitening = Whitened(
        w[e[69] : e[70]].reshape((-1, 6)),
        dense,
        w[e[71] : e[72]].reshape((free.shape[-1], dense.shape[-1])),
    )
    return maps, priors, data, free, theta, whitening


@compiled(inline="always")
def whitened_log_density(zeta: Floats, words: Words) -> tuple[float, Floats]:
    """Log density of whitened coordinates and its gradient, of what `pack` put together."""
    maps, priors, data, free, given, whitening = _read(words)
    z, slope, log_slope = colour(zeta, whitening)
    whole, theta = np.zeros(given.shape[0]), given.copy()
    for k in range(free.shape[0]):
        whole[free[k]] = z[k]
    value = unpack(whole, maps, data.slots, theta)
    log_value, gradient = log_density(theta, priors, data)
    pulled = pull_back(whole, theta, maps, data.slots, gradient)
    for k in range(free.shape[0]):
        z[k] = pulled[free[k]]
    return discolour(whitening, z, slope, log_slope, value + log_value)


@cache
def native() -> tuple[Any, Any]:
    """Callbacks for samplers that call C: the log density of `pack`'s words, and a plain copy.

    The first is `whitened_log_density`; it returns 0, or what nutpie takes for a divergence. The
    second hands a draw over as it is. Both take the words' address last. They are compiled when
    asked for, not on import.
    """
    pointer, address = numba.types.CPointer(numba.types.double), numba.types.voidptr  # type: ignore[no-untyped-call]
    size, code = numba.types.uint64, numba.types.int64
    log_density = numba.cfunc(
        code(size, pointer, pointer, pointer, address), cache=True, error_model="numpy"
    )
    copy = numba.cfunc(code(size, size, pointer, pointer, address), cache=True)
    return log_density(_native_log_density), copy(_native_copy)


def called(words: Words) -> Callable[[Floats], tuple[float, Floats]]:
    """`native` for Python: whitened coordinates -> (log density, gradient) of these words."""
    log_density = native()[0].ctypes
    address = words.ctypes.data

    def at(zeta: Floats) -> tuple[float, Floats]:
        point = np.ascontiguousarray(zeta, dtype=float)
        out, value = np.empty(len(point)), np.empty(1)
        pointers = (array.ctypes.data_as(_DOUBLES) for array in (point, out, value))
        log_density(len(point), *pointers, address)
        return float(value[0]), out

    at.words = words  # type: ignore[attr-defined]  # which have to live as long as their address
    return at


def _native_log_density(n, zeta, gradient, value, address):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """See `native`."""
    n_arrays = _carray(address, (1,), np.int64)[0]
    n_words = _carray(address, (n_arrays + 2,), np.int64)[n_arrays + 1]
    found, slope = whitened_log_density(_carray(zeta, (n,)), _carray(address, (n_words,), np.int64))
    out = _carray(gradient, (n,))
    finite = math.isfinite(found)
    for k in range(out.shape[0]):
        out[k] = slope[k]
        finite = finite and math.isfinite(slope[k])
    _carray(value, (1,))[0] = found
    return 0 if finite else 4


def _native_copy(n, n_out, zeta, out, address):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """See `native`."""
    for k in range(n_out):
        out[k] = zeta[k]
    return 0
