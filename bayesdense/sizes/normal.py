"""Everything about effective sizes under a normal residual, compiled, block of draws by block.

What `compiled` does for every residual on logs, node by node, this file does for the default one
mostly without them: p(y_i | x) relative to its largest value is taken once per LLM, and the
residual's bell is summed over where it is not negligible. What is left out is bounded; where that
bound matters, as it does where scores and location disagree, the sum is taken again on logs over
all nodes.

All compiled functions that call one another stand in this file (see `compiled`).
"""

import math
from typing import NamedTuple

import numpy as np

from bayesdense.arrays import Floats, Ints
from bayesdense.vector_math import SUMS, compiled, exponentials_in_place, logarithms

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_ROOT_2PI = math.sqrt(2 * math.pi)
#: exp(-exponent * log ratio) is held below exp(600): the score is at its floor long before.
_MOST_EXPONENT = 600.0
#: Residual sds within which nodes are looked at first; what lies beyond is bounded.
_REACH = 10.0
#: Outwards the terms fall at least as a geometric series whose sum is this often its first term.
_SERIES = 2.6
#: Terms this far (on the log) below the largest are left out.
_NEGLIGIBLE = 30.0
#: Spacing of family effects in units of the least sd of their posterior.
_FRACTION = 1.2
#: Family effects are sought this many family sds to either side, first at every 4th node; where the
#: integrand has fallen by exp(-_FALLEN) from its maximum it is left out.
_HALF_WIDTH, _WIDEST, _COARSEST, _FALLEN = 8.0, 500.0, 4, 23.0
#: Error of an integrand's log, times its share of the maximum, that needs no second look.
_TOLERANCE = 1e-11
#: Half as many residual sds as family effects are apart that bells are moved between: products of
#: bells and factors stay within exp(-700) to exp(600).
_ROOM = 20.0
#: Likelihoods below this share of their largest are raised to it, which keeps products normal.
_MOST_BELOW = 180.0
_LEAST = math.exp(-_MOST_BELOW)
#: A log density that rises by less over a cell is even there, to 1e-13.
_EVEN = 1e-6
_TINY = 1e-300
#: Least log of an integral that is known; what stands for the others.
_LOG_TINY, _UNKNOWN = math.log(_TINY) + 1, -1e6
#: Family effects of less probability are left out of a prediction.
_LEAST_SHARE = 1e-14


class Cells(NamedTuple):
    """Scores, sorted by LLM, with all that is the same in every draw."""

    logit_score: Floats
    row: Ints
    kind: Ints
    first: Ints
    kinds: Floats  # (U, 4) benchmark, items, reports, whether under the other protocol
    log_params_centre: float
    log_tokens_ratio: float
    least_sd: float


class Rule(NamedTuple):
    """Nodes over log sizes; the first and last stand for the tails, where widths are 0."""

    nodes: Floats
    log_widths: Floats  # of the nodes between
    widths: Floats


class Families(NamedTuple):
    """LLMs sorted by family: order[first[k]:first[k + 1]] are those of family k."""

    order: Ints
    first: Ints


class Block(NamedTuple):
    """Some draws: (B, J, ...) parameters of laws, maps and noise, and the LLMs' locations."""

    laws: Floats
    maps: Floats
    noise: Floats  # discrepancy_sd, protocol_sd, protocol_offset
    location: Floats  # (B, n)
    residual_sd: Floats  # (B, n)
    family_sd: Floats


class Laws(NamedTuple):
    """Means and variances on a grid, (B, ..., G); the latter as 1 / var and log(var) / 2."""

    mean: Floats
    precision: Floats
    half_log_var: Floats
    largest: Floats  # (B, U) bound of -half_log_var


class _Members(NamedTuple):
    """Likelihoods of the LLMs of one family on the grid, on logs and relative to the largest."""

    log: Floats
    relative: Floats  # times the rule's widths
    top: Floats


class _Given(NamedTuple):
    """Log m_i(f) of a family's LLMs at nodes f, less a constant, bounded from both sides.

    `first` and `second` are the means of the residual and of its square given scores and f.
    """

    low: Floats
    high: Floats
    first: Floats
    second: Floats


@compiled()
def _zero() -> int:
    """0, but no literal: for each of those numba would compile what they are passed to."""
    return int(np.int64(0))


# --- Laws and likelihoods of one draw ---------------------------------------------------------


@compiled(sums=SUMS)
def laws_on(nodes: Floats, block: Block, cells: Cells) -> Laws:
    """Mean of every benchmark, under both protocols, and variance of every kind of cell.

    Apart from what reads them, as numba compiles everything anew for each function that it is
    asked for.
    """
    n_draws, n_nodes, n_benchmarks = block.laws.shape[0], nodes.shape[0], block.laws.shape[1]
    n_kinds = cells.kinds.shape[0]
    laws = Laws(
        np.empty((n_draws, 2 * n_benchmarks, n_nodes)),
        np.empty((n_draws, n_kinds, n_nodes)),
        np.empty((n_draws, n_kinds, n_nodes)),
        np.empty((n_draws, n_kinds)),
    )
    for draw in range(n_draws):
        _set_laws(laws, block, draw, cells, nodes)
    return laws


@compiled(sums=SUMS)
def _set_laws(laws: Laws, block: Block, draw: int, cells: Cells, nodes: Floats) -> None:
    """Set those of one draw."""
    n_nodes, n_benchmarks = nodes.shape[0], block.laws.shape[1]
    odds, power, scratch = np.empty((n_benchmarks, n_nodes)), np.empty(n_nodes), np.empty(n_nodes)
    for j in range(n_benchmarks):
        param_coef, param_exponent = block.laws[draw, j, 1], block.laws[draw, j, 2]
        of_tokens = min(-block.laws[draw, j, 4] * cells.log_tokens_ratio, _MOST_EXPONENT)
        fixed = block.laws[draw, j, 0] + block.laws[draw, j, 3] * math.exp(of_tokens)
        floor, ceiling = block.maps[draw, j, 0], block.maps[draw, j, 1]
        slope, midpoint = block.maps[draw, j, 2], block.maps[draw, j, 3]
        top = -np.inf
        for g in range(n_nodes):
            power[g] = min(-param_exponent * (nodes[g] - cells.log_params_centre), _MOST_EXPONENT)
            top = max(top, power[g])
        exponentials_in_place(power, top, scratch)
        largest = param_coef * math.exp(top)
        for g in range(n_nodes):
            x = slope * (fixed + largest * power[g] - midpoint)
            odds[j, g] = x
            power[g] = -abs(x)
        exponentials_in_place(power, 0.0, scratch)
        for g in range(n_nodes):
            of_floor = 1.0 if odds[j, g] > 0 else power[g]
            of_ceiling = power[g] if odds[j, g] > 0 else 1.0
            up = floor * of_floor + ceiling * of_ceiling
            odds[j, g] = up / ((1 - floor) * of_floor + (1 - ceiling) * of_ceiling)
        log_odds = logarithms(odds[j])
        for g in range(n_nodes):
            laws.mean[draw, j, g] = log_odds[g]
            laws.mean[draw, n_benchmarks + j, g] = log_odds[g] + block.noise[draw, j, 2]
    for u in range(cells.kinds.shape[0]):
        j, per_item = int(cells.kinds[u, 0]), 1 / cells.kinds[u, 1]
        beyond = block.noise[draw, j, 0] ** 2 + block.noise[draw, j, 1] ** 2 / cells.kinds[u, 2]
        factor = math.exp(block.noise[draw, j, 2] * cells.kinds[u, 3])
        for g in range(n_nodes):
            up = odds[j, g] * factor
            power[g] = beyond + (2 + up + 1 / up) * per_item
            laws.precision[draw, u, g] = 1 / power[g]
        log_var = logarithms(power)
        for g in range(n_nodes):
            laws.half_log_var[draw, u, g] = 0.5 * log_var[g]
        laws.largest[draw, u] = -0.5 * math.log(beyond + 4 * per_item)  # S (1 - S) is at most 1/4


@compiled(sums=SUMS)
def _add_log_likelihood(
    out: Floats, m: int, i: int, laws: Laws, draw: int, cells: Cells, low: int, high: int
) -> float:
    """Add log p(y_i | x_g) to row m of `out` at these nodes and return the largest sum."""
    # Unsigned, so that no index can be meant to count from the end
    first, last = np.uint64(low), np.uint64(high)
    for c in range(cells.first[i], cells.first[i + 1]):
        y, j, u = cells.logit_score[c], cells.row[c], cells.kind[c]
        for g in range(first, last):
            e = y - laws.mean[draw, j, g]
            out[m, g] -= 0.5 * e * e * laws.precision[draw, u, g] + laws.half_log_var[draw, u, g]
    top = -np.inf
    for g in range(first, last):
        top = max(top, out[m, g])
    return top


@compiled()
def _tail(z: float) -> tuple[float, float]:
    """Log of the normal probability beyond z, and minus its derivative."""
    z = max(z, -5.0)
    if z < 20.0:
        tail = 0.5 * math.erfc(z / math.sqrt(2.0))
        return math.log(tail), math.exp(-0.5 * z * z - _HALF_LOG_2PI) / tail
    inverse = 1 / (z * z)
    series = 1 - inverse * (1 - inverse * (3 - inverse * (15 - 105 * inverse)))
    return -0.5 * z * z - _HALF_LOG_2PI - math.log(z) + math.log(series), z / series


@compiled()
def _position(nodes: Floats, x: float) -> int:
    """First node not below x."""
    low, high = 0, nodes.shape[0]
    while low < high:
        middle = (low + high) // 2
        if nodes[middle] >= x:
            high = middle
        else:
            low = middle + 1
    return low


@compiled(sums=SUMS)
def _log_bell(out: Floats, rule: Rule, centre: float, sd: float) -> tuple[float, float]:
    """Log weights of all nodes under Normal(centre, sd), less log 1 / (sd sqrt(2 pi)).

    The two ends stand for the tails. Returns the slopes of their logs in z.
    """
    nodes, last, half_precision = rule.nodes, rule.nodes.shape[0] - 1, 0.5 / (sd * sd)
    for g in range(1, last):
        deviation = nodes[g] - centre
        out[g] = rule.log_widths[g - 1] - half_precision * deviation * deviation
    to_density = math.log(sd) + _HALF_LOG_2PI
    below, slope_below = _tail((centre - nodes[0]) / sd)
    above, slope_above = _tail((nodes[last] - centre) / sd)
    out[0], out[last] = below + to_density, above + to_density
    return slope_below, slope_above


@compiled(sums=SUMS)
def _exact(
    members: _Members, m: int, rule: Rule, centre: float, sd: float
) -> tuple[float, float, float]:
    """Log of the integral of an LLM's likelihood over Normal(centre, sd), and two moments.

    On logs, over all nodes. The moments are the means of the deviation and of its square; those of
    a tail are what gives the derivatives of its probability in the centre by the same formulas.
    """
    nodes, n_nodes = rule.nodes, rule.nodes.shape[0]
    share, scratch = np.empty(n_nodes), np.empty(n_nodes)
    slope_below, slope_above = _log_bell(share, rule, centre, sd)
    top = -np.inf
    for g in range(n_nodes):
        share[g] += members.log[m, g]
        top = max(top, share[g])
    exponentials_in_place(share, top, scratch)
    mass, first, second = 0.0, 0.0, 0.0
    for g in range(1, n_nodes - 1):
        deviation = nodes[g] - centre
        mass += share[g]
        first += share[g] * deviation
        second += share[g] * deviation * deviation
    mass += share[0] + share[n_nodes - 1]
    first += sd * (share[n_nodes - 1] * slope_above - share[0] * slope_below)
    z_below, z_above = (centre - nodes[0]) / sd, (nodes[n_nodes - 1] - centre) / sd
    second += sd * sd * share[0] * (1 + slope_below * z_below)
    second += sd * sd * share[n_nodes - 1] * (1 + slope_above * z_above)
    return top + math.log(mass) - math.log(sd) - _HALF_LOG_2PI, first / mass, second / mass


# --- Families ---------------------------------------------------------------------------------


@compiled(sums=SUMS)
def _likelihoods_of(members: Ints, laws: Laws, draw: int, cells: Cells, widths: Floats) -> _Members:
    """Likelihoods of these LLMs on the grid."""
    n_members, n_nodes = members.shape[0], widths.shape[0]
    out = _Members(
        np.zeros((n_members, n_nodes)), np.empty((n_members, n_nodes)), np.empty(n_members)
    )
    scratch = np.empty(n_nodes)
    for m in range(n_members):
        i = members[m]
        top = _add_log_likelihood(out.log, m, i, laws, draw, cells, _zero(), n_nodes)
        out.top[m] = top
        for g in range(n_nodes):
            out.relative[m, g] = max(out.log[m, g], top - _MOST_BELOW)
        exponentials_in_place(out.relative[m], top, scratch)
        constant = _HALF_LOG_2PI * (cells.first[i + 1] - cells.first[i])
        for g in range(n_nodes):
            out.relative[m, g] *= widths[g]
            out.log[m, g] -= constant
        out.top[m] -= constant
    return out


@compiled()
def _new_given(n_members: int, n_effects: int) -> _Given:
    """Room for log m_i(f)."""
    return _Given(
        np.empty((n_members, n_effects)),
        np.empty((n_members, n_effects)),
        np.empty((n_members, n_effects)),
        np.empty((n_members, n_effects)),
    )


@compiled(sums=SUMS)
def _look(
    given: _Given,
    members: _Members,
    of_member: Ints,
    rule: Rule,
    locations: Floats,
    sds: Floats,
    step: float,
    low: int,
    high: int,
    stride: int,
) -> None:
    """Find every m_i(f) at f = step (q - middle), q = low, low + stride, ... up to high.

    About a family effect f_0 with d = x - location - f_0 the bell at f_0 + k delta is
    exp(-d^2 / 2 sd^2) exp(d delta / sd^2)^k exp(-(k delta)^2 / 2 sd^2): at each node one factor
    takes it from one f to the next, for as many f as floating point has room for.

    Only nodes within `_REACH` sds are summed over. No likelihood exceeds the largest, so that the
    bells of the first nodes left out bound the rest: see `_SERIES`. Where these do not fall fast,
    all that is said is that the integral is at most the largest likelihood.
    """
    nodes, widths = rule.nodes, rule.widths
    n_nodes, n_found = nodes.shape[0], (high - low) // stride + 1
    delta, origin_of_all = step * stride, low - given.low.shape[1] // 2
    share, deviation, bell = np.empty(n_nodes), np.empty(n_nodes), np.empty(n_nodes)
    factor, scratch, one = np.empty(n_nodes), np.empty(n_nodes), np.uint64(1)
    bounds, least_width = np.empty(2 * n_found * of_member.shape[0]), np.inf
    for g in range(1, n_nodes - 1):
        least_width = min(least_width, widths[g])
    for m in range(of_member.shape[0]):
        location, sd = locations[of_member[m]], sds[of_member[m]]
        half_precision, at = 0.5 / (sd * sd), 2 * n_found * m
        most_mass = 1.5 * _ROOT_2PI * sd + widths[1] + widths[n_nodes - 2]
        most = int(2 * _ROOM * sd / delta) + 1
        for begin in range(0, n_found, most):
            n_here = min(most, n_found - begin)
            origin = begin + n_here // 2
            centre = location + step * (origin_of_all + origin * stride)
            left, right = (begin - origin) * delta, (begin + n_here - 1 - origin) * delta
            start = _position(nodes, centre + left - _REACH * sd)
            end = _position(nodes, centre + right + _REACH * sd)
            if not (1 < start < end < n_nodes - 1 and _REACH * least_width > sd):
                for k in range(begin, begin + n_here):
                    q = low + k * stride
                    bounds[at + 2 * k], bounds[at + 2 * k + 1] = _TINY, most_mass
                    given.first[m, q], given.second[m, q] = 0.0, 0.0
                continue
            rest = _SERIES * math.exp(-0.5 * _REACH**2) * (widths[start - 1] + widths[end])
            raised = (1.1 * _ROOT_2PI * sd + widths[start - 1] + widths[end]) * _LEAST
            # Unsigned, so that no index can be meant to count from the end
            before, n = np.uint64(start), np.uint64(end - start)
            for g in range(n):
                deviation[g] = nodes[before + g] - centre
                bell[g] = -half_precision * deviation[g] * deviation[g]
            exponentials_in_place(bell[:n], 0.0, scratch)
            for g in range(n):
                bell[g] *= members.relative[m, before + g]
            for towards in (1, -1):
                for g in range(n):
                    factor[g] = 2 * half_precision * delta * towards * deviation[g]
                    share[g] = bell[g]
                exponentials_in_place(factor[:n], 0.0, scratch)
                near, far = np.uint64(0), n
                for away in range(begin + n_here - origin if towards > 0 else origin - begin + 1):
                    k, moved = origin + towards * away, towards * away * delta
                    # What has been left behind would soon be smaller than the least normal number
                    while towards > 0 and deviation[near] < moved - _REACH * sd:
                        near += one
                    while towards < 0 and deviation[far - one] > moved + _REACH * sd:
                        far -= one
                    mass, first, second = 0.0, 0.0, 0.0
                    for g in range(near, far):
                        part = share[g]
                        share[g] = part * factor[g]
                        mass += part
                        part *= deviation[g]
                        first += part
                        second += part * deviation[g]
                    to_bell, q = math.exp(-half_precision * moved * moved), low + k * stride
                    per_mass = 1 / max(mass, _TINY)
                    mass = max(mass * to_bell, _TINY)
                    bounds[at + 2 * k] = max(mass - raised, _TINY)
                    bounds[at + 2 * k + 1] = mass + rest
                    mean = first * per_mass - moved
                    given.first[m, q] = mean
                    given.second[m, q] = second * per_mass - moved * (2 * mean + moved)
    bounds = logarithms(bounds)
    for m in range(of_member.shape[0]):
        constant = members.top[m] - math.log(sds[of_member[m]]) - _HALF_LOG_2PI
        at = 2 * n_found * m
        for k in range(n_found):
            found = bounds[at + 2 * k] + constant
            given.low[m, low + k * stride] = found if bounds[at + 2 * k] > _LOG_TINY else _UNKNOWN
            given.high[m, low + k * stride] = bounds[at + 2 * k + 1] + constant


@compiled(sums=SUMS)
def _below_top(
    log_prior: Floats, given: _Given, low: int, high: int, stride: int, slack: Floats
) -> None:
    """How far at most the integrand lies below its maximum, of the family or without one member.

    The largest over these integrands; `slack` is set at q = low, low + stride, ...
    """
    n_members = given.low.shape[0]
    tops = np.full(n_members + 1, -np.inf)
    for q in range(low, high + 1, stride):
        total = log_prior[q]
        for m in range(n_members):
            total += given.low[m, q]
        tops[n_members] = max(tops[n_members], total)
        for m in range(n_members):
            tops[m] = max(tops[m], total - given.low[m, q])
    for q in range(low, high + 1, stride):
        total = log_prior[q]
        for m in range(n_members):
            total += given.high[m, q]
        slack[q] = total - tops[n_members]
        for m in range(n_members):
            slack[q] = max(slack[q], total - given.high[m, q] - tops[m])


@compiled()
def _look_again(
    given: _Given,
    slack: Floats,
    margin: float,
    members: _Members,
    of_member: Ints,
    rule: Rule,
    locations: Floats,
    sds: Floats,
    step: float,
    low: int,
    high: int,
    stride: int,
) -> bool:
    """Find m_i(f) on logs over all nodes, where the bounds are too far apart for what they add."""
    again, middle = False, given.low.shape[1] // 2
    for q in range(low, high + 1, stride):
        if slack[q] + margin < -_FALLEN:
            continue
        least = _TOLERANCE * math.exp(min(-slack[q], 100.0))
        for m in range(given.low.shape[0]):
            if given.high[m, q] - given.low[m, q] > least:
                again, i = True, of_member[m]
                centre = locations[i] + step * (q - middle)
                value, first, second = _exact(members, m, rule, centre, sds[i])
                given.low[m, q] = given.high[m, q] = value
                given.first[m, q], given.second[m, q] = first, second
    return again


@compiled()
def _family(
    of_member: Ints,
    members: _Members,
    rule: Rule,
    location: Floats,
    sd: Floats,
    family_sd: float,
    least_sd: float,
) -> tuple[Floats, Floats, _Given]:
    """Nodes f of a family's effect, their log weights Normal(f; 0, family_sd) df, and log m_i(f).

    For a Gaussian of sd s the rule errs by 2 exp(-2 pi^2 s^2 / spacing^2). Nothing in the integrand
    is sharper than s = (1/family_sd^2 + sum 1/residual_sd^2)^-1/2, a product of the prior and of
    one residual per member (scores blur it further), so that a spacing of 1.2 s leaves 2e-6 at
    most.

    Every fourth node is looked at first, then those between, twice. The second derivative of the
    integrand's log is nowhere below -1 / s^2, so that between two nodes it cannot exceed the larger
    of their values by more than (their distance)^2 / 8 s^2: what is left out is known to be small.
    """
    n_members = of_member.shape[0]
    precision, finite = 1 / family_sd**2, family_sd
    for m in range(n_members):
        i = of_member[m]
        precision += 1 / max(sd[i], least_sd) ** 2
        finite += location[i] + sd[i] + members.top[m]
    if not math.isfinite(finite):  # a draw that is no number has no likelihood either
        unknown = np.full((n_members, 1), np.nan)
        return np.zeros(1), np.zeros(1), _Given(unknown, unknown, unknown, unknown)
    step = _FRACTION / math.sqrt(precision)
    constant = math.log(step / family_sd) - _HALF_LOG_2PI
    half_width = _HALF_WIDTH
    while True:
        side = _COARSEST * math.ceil(half_width * family_sd / (_COARSEST * step))
        n_effects = 2 * side + 1
        effects, log_prior = np.empty(n_effects), np.empty(n_effects)
        for q in range(n_effects):
            effects[q] = step * (q - side)
            log_prior[q] = constant - 0.5 * (effects[q] / family_sd) ** 2
        given = _new_given(n_members, n_effects)
        slack = np.empty(n_effects)
        low, high, stride, new = _zero(), n_effects - 1, _zero() + _COARSEST, 0
        while stride > 0:
            # At first all nodes, then those between the nodes that are known
            first_new, last_new, every = low + new, high - new, max(stride, 2 * new)
            _look(
                given, members, of_member, rule, location, sd, step, first_new, last_new, every,
            )  # fmt: skip
            margin = 0.125 * (stride * step) ** 2 * precision if stride > 1 else 0.0
            _below_top(log_prior, given, low, high, stride, slack)
            if _look_again(
                given, slack, margin, members, of_member, rule, location, sd, step,
                low, high, stride,
            ):  # fmt: skip
                _below_top(log_prior, given, low, high, stride, slack)
            start, end = high, low
            for q in range(low, high + 1, stride):
                if slack[q] + margin > -_FALLEN:
                    start, end = min(start, q), max(end, q)
            at_end = start == 0 or end == n_effects - 1
            if at_end and stride == _COARSEST and half_width <= _WIDEST:
                break
            if stride > 1:
                low, high = max(start - stride, low), min(end + stride, high)
            stride, new = stride // 2, stride // 2
        if stride == 0:
            break
        half_width *= 2
    chosen, n_chosen = _new_given(n_members, high - low + 1), high - low + 1
    for m in range(n_members):
        for q in range(n_chosen):
            chosen.low[m, q], chosen.high[m, q] = given.low[m, low + q], given.high[m, low + q]
            chosen.first[m, q] = given.first[m, low + q]
            chosen.second[m, q] = given.second[m, low + q]
    return effects[low : high + 1], log_prior[low : high + 1], chosen


@compiled(sums=SUMS)
def _log_sum(total: Floats, low: Floats, without: int, share: Floats, scratch: Floats) -> float:
    """Log of the integral over f, without one member unless that is -1.

    `total` is the log of the whole integrand; `share` is set to the terms relative to the sum.
    """
    n_effects, top, mass = total.shape[0], -np.inf, 0.0
    for q in range(n_effects):
        share[q] = total[q]
        if without >= 0:
            share[q] -= low[without, q]
        top = max(top, share[q])
    exponentials_in_place(share, top, scratch)
    for q in range(n_effects):
        mass += share[q]
    for q in range(n_effects):
        share[q] /= mass
    return top + math.log(mass)


@compiled()
def _add_up(log_prior: Floats, low: Floats) -> Floats:
    """Log of the integrand of a family."""
    total = log_prior.copy()
    for m in range(low.shape[0]):
        for q in range(total.shape[0]):
            total[q] += low[m, q]
    return total


@compiled()
def family_terms(
    laws: Laws, block: Block, cells: Cells, families: Families, rule: Rule, covariate: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Log M_k - log M_(k without i) of every LLM, log M_k of every family; slopes. Draw by draw.

    With u_i = (x_i - location_i - f) / sd_i^2, the derivative of log m_i(f) in the location is the
    mean of u_i given scores and f, and the second derivative Var(u_i) - 1 / sd_i^2. Those of
    log M_k in a slope s, by which every location rises s times its covariate, are the mean over f
    of U = sum_i covariate_i E u_i, and the mean of the second derivatives plus Var U. Alone in its
    family an LLM has one normal deviation, family effect and residual together.

    Returns
    -------
    tuple
        (B, n), (B, K), and summed over families the first derivative and minus the second, (B,).
    """
    n_draws = block.location.shape[0]
    llm = np.empty(block.location.shape)
    family = np.zeros((n_draws, families.first.shape[0] - 1))
    score, information = np.zeros(n_draws), np.zeros(n_draws)
    for draw in range(n_draws):
        location, sd = block.location[draw], block.residual_sd[draw]
        family_sd = block.family_sd[draw]
        for k in range(families.first.shape[0] - 1):
            chosen = families.order[families.first[k] : families.first[k + 1]]
            members = _likelihoods_of(chosen, laws, draw, cells, rule.widths)
            if family_sd == 0.0 or chosen.shape[0] == 1:
                for m in range(chosen.shape[0]):
                    i = chosen[m]
                    per_var, x = 1 / (family_sd**2 + sd[i] ** 2), covariate[i]
                    llm[draw, i], first, second = _exact(
                        members, m, rule, location[i], math.sqrt(1 / per_var)
                    )
                    family[draw, k] += llm[draw, i]
                    u = first * per_var
                    score[draw] += x * u
                    information[draw] -= x * x * (second * per_var * per_var - u * u - per_var)
                continue
            _, log_prior, given = _family(
                chosen, members, rule, location, sd, family_sd, cells.least_sd
            )
            n_effects, total = log_prior.shape[0], _add_up(log_prior, given.low)
            share, scratch = np.empty(n_effects), np.empty(n_effects)
            for m in range(chosen.shape[0]):
                llm[draw, chosen[m]] = -_log_sum(total, given.low, m, share, scratch)
            family[draw, k] = _log_sum(total, given.low, -1, share, scratch)
            mean, square, curvature = 0.0, 0.0, 0.0
            for q in range(n_effects):
                slope = 0.0
                for m in range(chosen.shape[0]):
                    i = chosen[m]
                    per_var, x = 1 / sd[i] ** 2, covariate[i]
                    u = given.first[m, q] * per_var
                    slope += x * u
                    second = given.second[m, q] * per_var * per_var
                    curvature += share[q] * x * x * (second - u * u - per_var)
                mean += share[q] * slope
                square += share[q] * slope * slope
            for m in range(chosen.shape[0]):
                llm[draw, chosen[m]] += family[draw, k]
            score[draw] += mean
            information[draw] += mean * mean - square - curvature
    return llm, family, score, information


@compiled()
def log_totals(laws: Laws, block: Block, cells: Cells, rule: Rule) -> Floats:
    """Sum over LLMs of log p(y_i | location, parameters), draw by draw."""
    n_draws, every = block.location.shape[0], np.arange(block.location.shape[1])
    out = np.zeros(n_draws)
    for draw in range(n_draws):
        for i in range(every.shape[0]):
            member = _likelihoods_of(every[i : i + 1], laws, draw, cells, rule.widths)
            location, sd = block.location[draw, i], block.residual_sd[draw, i]
            out[draw] += _exact(member, _zero(), rule, location, sd)[0]
    return out


# --- Leave-one-out predictions ----------------------------------------------------------------


@compiled(sums=SUMS)
def _add_bell(
    out: Floats, rule: Rule, centre: float, sd: float, share: float, room: Floats, scratch: Floats
) -> None:
    """Add `share` times the probabilities of all nodes under Normal(centre, sd)."""
    n_nodes, log_density = rule.nodes.shape[0], math.log(share / sd) - _HALF_LOG_2PI
    low, high = np.uint64(0), np.uint64(n_nodes)
    start = _position(rule.nodes, centre - _REACH * sd)
    end = _position(rule.nodes, centre + _REACH * sd)
    if 1 < start < end < n_nodes - 1 and _REACH * (rule.nodes[end] - rule.nodes[end - 1]) > sd:
        low, high, half_precision = np.uint64(start), np.uint64(end), 0.5 / (sd * sd)
        for g in range(low, high):
            deviation = rule.nodes[g] - centre
            room[g - low] = -half_precision * deviation * deviation
        exponentials_in_place(room[: end - start], -log_density, scratch)
        for g in range(low, high):
            out[g] += room[g - low] * rule.widths[g]
        return
    _log_bell(room, rule, centre, sd)
    exponentials_in_place(room, -log_density, scratch)
    for g in range(low, high):
        out[g] += room[g]


@compiled()
def left_out_cdf(
    laws: Laws, block: Block, cells: Cells, families: Families, rule: Rule, least_weight: float
) -> Floats:
    """Predictive cdf of every score at its value given the other LLMs of its family, (B, C).

    The prediction is Normal(mean(x), var(x)) over x ~ location + f + residual and f given the
    others. Nodes of less probability than `least_weight` are left out.
    """
    n_draws, n_nodes = block.location.shape[0], rule.nodes.shape[0]
    weight = np.empty(n_nodes)
    out = np.zeros((n_draws, cells.logit_score.shape[0]))
    room, more = np.empty(n_nodes), np.empty(n_nodes)
    for draw in range(n_draws):
        location, sd = block.location[draw], block.residual_sd[draw]
        family_sd = block.family_sd[draw]
        for k in range(families.first.shape[0] - 1):
            chosen = families.order[families.first[k] : families.first[k + 1]]
            effects, low, bell_sd = np.zeros(1), np.zeros((chosen.shape[0], 1)), family_sd
            total = np.zeros(1)
            if family_sd > 0.0 and chosen.shape[0] > 1:
                members = _likelihoods_of(chosen, laws, draw, cells, rule.widths)
                effects, log_prior, given = _family(
                    chosen, members, rule, location, sd, family_sd, cells.least_sd
                )
                low, total, bell_sd = given.low, _add_up(log_prior, given.low), 0.0
            share, scratch = np.empty(effects.shape[0]), np.empty(effects.shape[0])
            for m in range(chosen.shape[0]):
                i, mass = chosen[m], 0.0
                _log_sum(total, low, m, share, scratch)
                for g in range(n_nodes):
                    weight[g] = 0.0
                for q in range(effects.shape[0]):
                    if share[q] > _LEAST_SHARE:
                        whole_sd = math.sqrt(bell_sd**2 + sd[i] ** 2)
                        centre = location[i] + effects[q]
                        _add_bell(weight, rule, centre, whole_sd, share[q], room, more)
                for g in range(n_nodes):
                    mass += weight[g]
                for c in range(cells.first[i], cells.first[i + 1]):
                    y, j, u = cells.logit_score[c], cells.row[c], cells.kind[c]
                    for g in range(n_nodes):
                        if weight[g] > least_weight * mass:
                            per_sd = math.sqrt(0.5 * laws.precision[draw, u, g])
                            z = (y - laws.mean[draw, j, g]) * per_sd
                            out[draw, c] += 0.5 * math.erfc(-z) * weight[g] / mass
    return out


# --- Draws of sizes, and bounds ---------------------------------------------------------------


@compiled()
def _place(t: float, fraction: float) -> float:
    """Where in a cell, 0 to 1, a fraction of its mass lies left; the log density rises by t."""
    if abs(t) < _EVEN:
        return fraction
    if t < 0:
        return math.log1p(fraction * math.expm1(t)) / t
    return 1 + math.log(fraction + (1 - fraction) * math.exp(-t)) / t


@compiled(sums=SUMS)
def _log_density(
    out: Floats,
    i: int,
    laws: Laws,
    draw: int,
    cells: Cells,
    rule: Rule,
    location: float,
    sd: float,
) -> tuple[int, int, float]:
    """Set row 0 of `out` to an LLM's log density of sizes, up to a constant, where it matters.

    Nodes within `_REACH` sds of the location are looked at first; others have less density than
    the scores' largest conceivable times the bell's. If that may matter, all nodes are looked at.

    Returns
    -------
    tuple
        First node and last plus one, and the largest value; the tails' at the two end nodes.
    """
    nodes, n_nodes, half_precision = rule.nodes, rule.nodes.shape[0], 0.5 / (sd * sd)
    low, high = _position(nodes, location - _REACH * sd), _position(nodes, location + _REACH * sd)
    if 1 < low < high < n_nodes - 1:
        for g in range(low, high):
            deviation = nodes[g] - location
            out[0, g] = -half_precision * deviation * deviation
        top = _add_log_likelihood(out, _zero(), i, laws, draw, cells, low, high)
        bound = -0.5 * _REACH * _REACH
        for c in range(cells.first[i], cells.first[i + 1]):
            bound += laws.largest[draw, cells.kind[c]]
        if bound < top - _NEGLIGIBLE:
            return low, high, top
    _log_bell(out[0], rule, location, sd)
    for g in range(1, n_nodes - 1):
        out[0, g] -= rule.log_widths[g - 1]  # densities, not probabilities
    top = _add_log_likelihood(out, _zero(), i, laws, draw, cells, _zero(), n_nodes)
    return 0, n_nodes, top


@compiled(sums=frozenset({"contract"}))
def draw_sizes(
    laws: Laws, block: Block, cells: Cells, rule: Rule, uniform: Floats
) -> tuple[Floats, Floats]:
    """Invert every LLM's cdf, draw by draw; NaN beyond the ends, with the fraction of that tail.

    The fraction is of the mass further out, negative for the lower tail. The log density is linear
    between nodes. Sums are taken in order: where the compiler may reorder them it does so or not by
    where the arrays lie in memory, and a seed would not give the same sizes twice.
    """
    nodes, n_nodes = rule.nodes, rule.nodes.shape[0]
    sizes, beyond = np.empty(uniform.shape), np.zeros(uniform.shape)
    log_density, mass = np.empty((1, n_nodes)), np.empty(n_nodes + 1)
    density, scratch = np.empty(n_nodes), np.empty(n_nodes)
    for draw in range(block.location.shape[0]):
        for i in range(block.location.shape[1]):
            low, high, top = _log_density(
                log_density, i, laws, draw, cells, rule,
                block.location[draw, i], block.residual_sd[draw, i],
            )  # fmt: skip
            n = high - low
            for k in range(n):
                density[k] = log_density[0, low + k]
            exponentials_in_place(density[:n], top, scratch)
            # mass[k + 1] is that between the nodes low + k and low + k + 1; tails at both ends,
            # whose nodes stand twice, so that the cells next to them are empty
            total = 0.0
            for k in range(n - 1):
                rise = log_density[0, low + k + 1] - log_density[0, low + k]
                change = density[k + 1] - density[k]
                mean = 0.5 * (density[k] + density[k + 1])
                if abs(rise) >= _EVEN:
                    mean = change / rise
                mass[k + 1] = mean * (nodes[low + k + 1] - nodes[low + k])
            for k in range(n - 1):
                total += mass[k + 1]
            mass[0], mass[n] = 0.0, 0.0
            if n == n_nodes:
                mass[0], mass[n] = density[0], density[n - 1]
                total += mass[0] + mass[n]
            left, cell = uniform[draw, i] * total, 0
            while cell < n and left >= mass[cell]:
                left -= mass[cell]
                cell += 1
            while mass[cell] == 0.0:  # rounding took the last bit of mass
                cell -= 1
            fraction = min(left / mass[cell], 1.0)
            sizes[draw, i] = np.nan
            if cell == 0:
                beyond[draw, i] = -fraction
            elif cell == n:
                beyond[draw, i] = 1 - fraction
            else:
                g = low + cell - 1
                place = _place(log_density[0, g + 1] - log_density[0, g], fraction)
                sizes[draw, i] = nodes[g] + place * (nodes[g + 1] - nodes[g])
    return sizes, beyond


@compiled()
def likelihood_bounds(
    laws: Laws, cells: Cells, nodes: Floats, within: float
) -> tuple[Floats, Floats, Floats]:
    """Log likelihood at both ends less its maximum; least log size `within` of it, (B, n) each."""
    n_nodes, shape = nodes.shape[0], (laws.mean.shape[0], cells.first.shape[0] - 1)
    value = np.empty((1, n_nodes))
    at_zero, at_infinity, smallest = np.empty(shape), np.empty(shape), np.empty(shape)
    for draw in range(shape[0]):
        for i in range(shape[1]):
            for g in range(n_nodes):
                value[0, g] = 0.0
            top = _add_log_likelihood(value, _zero(), i, laws, draw, cells, _zero(), n_nodes)
            at_zero[draw, i], at_infinity[draw, i] = value[0, 0] - top, value[0, n_nodes - 1] - top
            g = 0
            while value[0, g] < top - within:
                g += 1
            if g == 0:
                smallest[draw, i] = -np.inf
                continue
            share = (top - within - value[0, g - 1]) / (value[0, g] - value[0, g - 1])
            smallest[draw, i] = nodes[g - 1] + share * (nodes[g] - nodes[g - 1])
    return at_zero, at_infinity, smallest
