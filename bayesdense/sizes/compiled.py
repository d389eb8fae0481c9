"""Loops over LLMs, nodes and family effects of one draw, compiled.

Everything is summed on logs relative to the largest term, so that no data underflow. The residual
enters as a table of its log density over standardised deviations, made from `residuals`: one
formula, and no special functions in the loops.

All compiled functions that call one another stand in this file: numba keeps their machine code on
disk for as long as the file that a function stands in does not change, and does not look at the
files of the functions that it calls, nor of the constants that it reads.
"""

import math
from typing import NamedTuple

import numpy as np

from bayesdense import residuals
from bayesdense.arrays import Floats, Ints
from bayesdense.kernel import Cells, Grid
from bayesdense.sizes.terms import Terms
from bayesdense.vector_math import compiled, exponentials

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
#: Terms this far (on the log) below the largest are left out.
_NEGLIGIBLE = 36.0
#: Table of the residual: step and half-width in sds, then step in the log of further sds.
_STEP, _INNER = 0.02, 30.0
_LOG_STEP, _LOG_OUTER = 0.02, 20.0
_PER_STEP, _PER_LOG_STEP, _PER_INNER = 1 / _STEP, 1 / _LOG_STEP, 1 / _INNER
_SIXTH = 1 / 6
#: Family effects are sought this many family sds to either side; where the integrand has fallen by
#: exp(-_FALLEN) from its maximum it is left out.
_HALF_WIDTH, _FALLEN = 8.0, 17.0
#: A log density that rises by less over a cell is even there, to 1e-13.
_EVEN = 1e-6


class Residual(NamedTuple):
    """Log densities of (residual / sd), one row for all LLMs or one row each, and tails.

    `inner` runs over -30 to 30 sds, `below` and `above` over logs of further sds; all three are
    empty for a normal residual, whose formula is cheaper than a table. `tails` holds per LLM the
    log probability below the first node and above the last at family effect 0, and its slopes.
    """

    inner: Floats
    below: Floats
    above: Floats
    sd: Floats
    tails: Floats
    fraction: float  # spacing of family effects in units of their posterior's least sd


def residual_table(kind: str, terms: Terms, grid: Grid) -> Residual:
    """Tabulate the residual of one draw."""
    empty = np.zeros((1, 0))
    tails = _tails(kind, terms, grid)
    if kind == "symmetric":
        return Residual(empty, empty, empty, terms.residual_sd, tails, 1.2)
    same = kind == "student_t" or np.ptp(terms.residual_sd) == 0
    sd = (terms.residual_sd[:1] if same else terms.residual_sd)[:, None]
    shape = terms.shape if kind == "student_t" else terms.shape / sd
    inner = np.arange(-round(_INNER / _STEP) - 2, round(_INNER / _STEP) + 3) * _STEP
    outer = _INNER * np.exp(np.arange(-2, round(_LOG_OUTER / _LOG_STEP) + 3) * _LOG_STEP)
    below, middle, above = (
        np.ascontiguousarray(
            np.broadcast_to(
                residuals.LOG_DENSITY[kind](z, 1.0, shape, residuals.NUMPY), (len(sd), len(z))
            )
        )
        for z in (-outer, inner, outer)
    )
    fraction = 0.8 if kind == "student_t" else 1.2
    return Residual(middle, below, above, terms.residual_sd, tails, fraction)


def _tails(kind: str, terms: Terms, grid: Grid) -> Floats:
    """Log tail probabilities beyond the grid and their slopes in the family effect, (n, 4)."""
    step = max(terms.family_sd, 0.1)
    at = [
        residuals.log_tails(
            kind,
            terms.location + effect - grid.nodes[0],
            grid.nodes[-1] - terms.location - effect,
            terms.residual_sd,
            terms.shape,
            residuals.NUMPY,
        )
        for effect in (-step, step)
    ]
    (low_minus, high_minus), (low_plus, high_plus) = at
    columns = (
        (low_minus + low_plus) / 2,
        (high_minus + high_plus) / 2,
        (low_plus - low_minus) / (2 * step),
        (high_plus - high_minus) / (2 * step),
    )
    return np.stack(columns, axis=1)


@compiled()
def _log_likelihood(
    mean: Floats, var: Floats, y: Floats, row: Ints, kind: Ints, first: Ints
) -> Floats:
    """As `kernel.log_cells`."""
    n_nodes = mean.shape[1]
    precision, half_log_var = 1.0 / var, 0.5 * np.log(var)
    out = np.empty((first.shape[0] - 1, n_nodes))
    for i in range(first.shape[0] - 1):
        out[i] = -_HALF_LOG_2PI * (first[i + 1] - first[i])
        for c in range(first[i], first[i + 1]):
            j, u, value = row[c], kind[c], y[c]
            for g in range(n_nodes):
                e = value - mean[j, g]
                out[i, g] -= 0.5 * e * e * precision[u, g] + half_log_var[u, g]
    return out


def log_likelihood(mean: Floats, var: Floats, cells: Cells) -> Floats:
    """Log likelihood of each LLM's scores at each node, (n, G); as `kernel.log_cells`."""
    return np.asarray(
        _log_likelihood(
            mean, var, cells.logit_score, cells.benchmark_idx, cells.noise_idx, cells.first
        )
    )


@compiled()
def _lookup(table: Floats, position: float) -> float:
    """Cubic through the four entries around a position, which has one before it and two after."""
    k = int(position)
    t = position - k
    a, b, c, d = table[k - 1], table[k], table[k + 1], table[k + 2]
    # Newton's form: differences to the right of the first entry
    first, second, third = b - a, c - 2 * b + a, d - a - 3 * (c - b)
    s = t + 1
    value: float = a + s * (first + t * (0.5 * second + (t - 1) * _SIXTH * third))
    return value


@compiled()
def add_residual(
    out: Floats, base: Floats, z: Floats, residual: Residual, i: int, effect: float
) -> None:
    """Set out = base + log density of LLM i's residual at every node, tails at the ends.

    `z` is the deviation from the location at family effect 0, in sds; `base` what else there is.
    """
    last = z.shape[0] - 1
    shift = effect / residual.sd[i]
    if residual.inner.shape[1] == 0:
        for g in range(1, last):
            out[g] = base[g] - 0.5 * (z[g] - shift) ** 2
    else:
        row = min(i, residual.inner.shape[0] - 1)
        inner, below, above = residual.inner[row], residual.below[row], residual.above[row]
        for g in range(1, last):
            at = z[g] - shift
            if abs(at) <= _INNER:
                out[g] = base[g] + _lookup(inner, (at + _INNER) * _PER_STEP + 2)
            else:
                position = math.log(abs(at) * _PER_INNER) * _PER_LOG_STEP + 2
                out[g] = base[g] + _lookup(below if at < 0 else above, position)
    out[0] = base[0] + residual.tails[i, 0] + residual.tails[i, 2] * effect
    out[last] = base[last] + residual.tails[i, 1] + residual.tails[i, 3] * effect


@compiled()
def fill_base(
    base: Floats, z: Floats, nodes: Floats, log_widths: Floats, residual: Residual, i: int, x: float
) -> None:
    """Set z = (nodes - x) / sd and base = what the log weights hold besides the residual."""
    last = nodes.shape[0] - 1
    constant = -math.log(residual.sd[i])
    if residual.inner.shape[1] == 0:
        constant -= _HALF_LOG_2PI
    for g in range(last + 1):
        z[g] = (nodes[g] - x) / residual.sd[i]
    for g in range(1, last):
        base[g] = log_widths[g - 1] + constant
    base[0] = base[last] = 0.0


@compiled(sums=frozenset({"nnan", "reassoc"}))
def _maximum(terms: Floats) -> float:
    """Largest entry, in any order of comparisons."""
    top = -np.inf
    for g in range(terms.shape[0]):
        top = max(top, terms[g])
    return top


@compiled()
def log_sum(terms: Floats) -> float:
    """Log of the sum of exponentials."""
    top = _maximum(terms)
    return top + math.log(exponentials(terms, top).sum())


@compiled()
def log_given_effects(
    log_likelihood: Floats,
    nodes: Floats,
    log_widths: Floats,
    residual: Residual,
    location: Floats,
    members: Ints,
    effects: Floats,
) -> Floats:
    """Log m_i(f): log probability of a member's scores given the family effect, (members, Q)."""
    out = np.empty((members.shape[0], effects.shape[0]))
    terms, base, z = np.empty(len(nodes)), np.empty(len(nodes)), np.empty(len(nodes))
    for m in range(members.shape[0]):
        i = members[m]
        fill_base(base, z, nodes, log_widths, residual, i, location[i])
        base += log_likelihood[i]
        for q in range(effects.shape[0]):
            add_residual(terms, base, z, residual, i, effects[q])
            out[m, q] = log_sum(terms)
    return out


@compiled()
def effect_spacing(family_sd: float, residual: Residual, members: Ints, least_sd: float) -> float:
    """Spacing of the trapezoid rule over a family's effect.

    For a Gaussian of sd s the rule errs by 2 exp(-2 pi^2 s^2 / spacing^2). Nothing in the integrand
    is sharper than s = (1/family_sd^2 + sum 1/residual_sd^2)^-1/2, a product of the prior and of
    one residual per member (scores blur it further), so that a spacing of 1.2 s leaves 2e-6 at
    most; Student-t densities take .8 s.
    """
    precision = 1 / family_sd**2
    for i in members:
        precision += 1 / max(residual.sd[i], least_sd) ** 2
    return residual.fraction / math.sqrt(precision)


@compiled()
def log_integrand(log_prior: Floats, given: Floats, without: int) -> Floats:
    """Log of prior times all members' m_i(f) but one's; all with `without` = -1."""
    out = np.empty(log_prior.shape[0])
    for q in range(log_prior.shape[0]):
        out[q] = log_prior[q]
        for m in range(given.shape[0]):
            if m != without:
                out[q] += given[m, q]
    return out


@compiled()
def _support(log_prior: Floats, given: Floats) -> tuple[int, int]:
    """First and last node that matter to a family or to it without any one member."""
    low, high = log_prior.shape[0] - 1, 0
    for m in range(-1, given.shape[0]):
        integrand = log_integrand(log_prior, given, m)
        least = _maximum(integrand) - _FALLEN
        for q in range(integrand.shape[0]):
            if integrand[q] > least:
                low, high = min(low, q), max(high, q)
    return low, high


@compiled()
def family_integrand(
    log_likelihood: Floats,
    nodes: Floats,
    log_widths: Floats,
    residual: Residual,
    location: Floats,
    family_sd: float,
    members: Ints,
    least_sd: float,
) -> tuple[Floats, Floats, Floats]:
    """Nodes f of a family's effect, their log weights Normal(f; 0, family_sd) df, and log m_i(f).

    Every second node is evaluated over 8 family sds to either side, further where the integrand is
    not yet small there; then the nodes between, where the integrand is not small. Without families
    there is one node, 0.
    """
    if family_sd == 0.0:
        zero = np.zeros(1)
        given = log_given_effects(
            log_likelihood, nodes, log_widths, residual, location, members, zero
        )
        return zero, zero, given
    step = effect_spacing(family_sd, residual, members, least_sd)
    constant = math.log(step / family_sd) - _HALF_LOG_2PI
    half_width = _HALF_WIDTH
    while True:
        side = math.ceil(half_width * family_sd / (2 * step))
        effects = np.linspace(-2 * step * side, 2 * step * side, 2 * side + 1)
        weights = constant - 0.5 * (effects / family_sd) ** 2
        given = log_given_effects(
            log_likelihood, nodes, log_widths, residual, location, members, effects
        )
        low, high = _support(weights, given)
        if (low > 0 and high < 2 * side) or not low <= high or half_width > 500:
            break
        half_width *= 2
    low, high = max(low - 1, 0), min(high + 1, 2 * side)
    between = effects[low:high] + step
    new = log_given_effects(log_likelihood, nodes, log_widths, residual, location, members, between)
    fine, out = np.empty(2 * (high - low) + 1), np.empty((members.shape[0], 2 * (high - low) + 1))
    for q in range(fine.shape[0]):
        fine[q] = effects[low] + step * q
        for m in range(members.shape[0]):
            out[m, q] = new[m, q // 2] if q % 2 else given[m, low + q // 2]
    return fine, constant - 0.5 * (fine / family_sd) ** 2, out


@compiled()
def family_terms(
    log_likelihood: Floats,
    nodes: Floats,
    log_widths: Floats,
    residual: Residual,
    location: Floats,
    family_sd: float,
    order: Ints,
    first: Ints,
    least_sd: float,
) -> tuple[Floats, Floats]:
    """Log M_k - log M_(k without i) of every LLM, and log M_k of every family.

    `order[first[k]:first[k + 1]]` are the LLMs of family k.
    """
    llm, family = np.empty(order.shape[0]), np.empty(first.shape[0] - 1)
    for k in range(first.shape[0] - 1):
        members = order[first[k] : first[k + 1]]
        _, weights, given = family_integrand(
            log_likelihood, nodes, log_widths, residual, location, family_sd, members, least_sd
        )
        family[k] = log_sum(log_integrand(weights, given, -1))
        if members.shape[0] == 1:
            llm[members[0]] = family[k]
            continue
        for m in range(members.shape[0]):
            llm[members[m]] = family[k] - log_sum(log_integrand(weights, given, m))
    return llm, family


@compiled()
def size_weights(
    log_likelihood: Floats,
    nodes: Floats,
    log_widths: Floats,
    residual: Residual,
    location: Floats,
    family_sd: float,
    order: Ints,
    first: Ints,
    least_sd: float,
) -> Floats:
    """Probability of every node for every LLM, given the other LLMs of its family only."""
    out = np.zeros(log_likelihood.shape)
    buffer, base, z = np.empty(len(nodes)), np.empty(len(nodes)), np.empty(len(nodes))
    for k in range(first.shape[0] - 1):
        members = order[first[k] : first[k + 1]]
        effects, weights, given = family_integrand(
            log_likelihood, nodes, log_widths, residual, location, family_sd, members, least_sd
        )
        for m in range(members.shape[0]):
            i = members[m]
            log_effect = log_integrand(weights, given, m)
            top = log_effect.max()
            fill_base(base, z, nodes, log_widths, residual, i, location[i])
            for q in range(effects.shape[0]):
                if log_effect[q] < top - _NEGLIGIBLE:
                    continue
                add_residual(buffer, base, z, residual, i, effects[q])
                largest = buffer.max()
                scale = math.exp(largest + log_effect[q] - top)
                out[i] += scale * exponentials(buffer, largest)
            out[i] /= out[i].sum()
    return out


@compiled()
def _position(t: float, fraction: float) -> float:
    """Where in a cell, 0 to 1, a fraction of its mass lies left; the log density rises by t."""
    if abs(t) < _EVEN:
        return fraction
    if t < 0:
        return math.log1p(fraction * math.expm1(t)) / t
    return 1 + math.log(fraction + (1 - fraction) * math.exp(-t)) / t


@compiled()
def invert_cdf(
    log_likelihood: Floats,
    nodes: Floats,
    residual: Residual,
    location: Floats,
    uniform: Floats,
) -> tuple[Floats, Floats]:
    """Invert every LLM's cdf; NaN beyond the ends, with the fraction of that tail's mass.

    The fraction is of the mass further out, negative for the lower tail.
    """
    n_llms, n_nodes = log_likelihood.shape
    sizes, beyond = np.full(n_llms, np.nan), np.full(n_llms, np.nan)
    log_density, mass = np.empty(n_nodes), np.empty(n_nodes)
    base, z, no_widths = np.empty(n_nodes), np.empty(n_nodes), np.zeros(n_nodes)
    for i in range(n_llms):
        fill_base(base, z, nodes, no_widths, residual, i, location[i])
        base += log_likelihood[i]
        add_residual(log_density, base, z, residual, i, 0.0)
        density = exponentials(log_density, log_density.max())
        # mass[0] and mass[-1] are the tails, mass[g] that between the nodes g and g + 1
        mass[0], mass[-2], mass[-1] = density[0], 0.0, density[-1]
        for g in range(1, n_nodes - 2):
            rise = log_density[g + 1] - log_density[g]
            mean = 0.5 * (density[g] + density[g + 1])
            if abs(rise) >= _EVEN:
                mean = (density[g + 1] - density[g]) / rise
            mass[g] = mean * (nodes[g + 1] - nodes[g])
        left = uniform[i] * mass.sum()
        cell = 0
        while cell < n_nodes - 1 and left >= mass[cell]:
            left -= mass[cell]
            cell += 1
        fraction = min(left / mass[cell], 1.0)
        if cell == 0:
            beyond[i] = -fraction
        elif cell == n_nodes - 1:
            beyond[i] = 1 - fraction
        else:
            place = _position(log_density[cell + 1] - log_density[cell], fraction)
            sizes[i] = nodes[cell] + place * (nodes[cell + 1] - nodes[cell])
    return sizes, beyond
