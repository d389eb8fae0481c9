"""Bayes factors of nested hypotheses by the ratio of densities at the nested value.

If a hypothesis becomes another one where a parameter x is x0, and the priors of all else are the
same, the Bayes factor of the wider over the nested one is p(x0) / p(x0 | data) (Dickey 1971). The
posterior density is wanted where there may be no draws: a kernel density estimate fails there. With
the density q known at every point there is a better one (Chen 1994): for any density w,

    p(x0 | data) = E[ w(x) q(x0, r') / q(x, r') ],

the mean over draws (x, r). Here r' are the other coordinates less their regression on x, which
moves none of the volume: where the posterior is normal, and w the marginal normal, every term is
p(x0 | data) itself, however far x0 lies in the tail.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats, Ints
from bayesdense.comparison.bridge import LogDensities, fitted, halves
from bayesdense.comparison.evidence import refuse_cut, vectorised
from bayesdense.comparison.importance import RELIABLE_K, LogMean, log_mean
from bayesdense.comparison.inverse import apart, positions, together, unconstrained
from bayesdense.engine.coordinates import Coordinates
from bayesdense.engine.runs import target_of
from bayesdense.errors import SpecError
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations
from bayesdense.prior_densities import log_prior
from bayesdense.results import Fit

#: Step in the coordinate by which its unit is found.
_STEP = 1e-4


class Nested(NamedTuple):
    """The hypothesis that another becomes where one of its parameters has a value."""

    kind: str
    variable: str
    value: float


#: Kind of a trend, without what stands behind an @ -> what is nested in it, all other priors alike.
NESTED: Final[Mapping[str, Nested]] = MappingProxyType(
    {
        "exponential": Nested("flat", "growth_rate", 0.0),
        "break_known": Nested("exponential", "growth_change", 0.0),
        "break_free": Nested("exponential", "growth_change", 0.0),
        "quadratic": Nested("exponential", "growth_slope", 0.0),
        "power": Nested("exponential", "growth_power", 1.0),
        "covariate": Nested("exponential", "covariate_slope", 0.0),
    }
)


@dataclass(frozen=True, slots=True)
class NestedFactor:
    """Log Bayes factor of a hypothesis over the one nested in it, nats."""

    log_bayes_factor: float
    se: float
    pareto_k: float

    @property
    def reliable(self) -> bool:
        """Whether the posterior density at the nested value is."""
        return self.pareto_k <= RELIABLE_K


def log_density_at(draws: Floats, log_density: LogDensities, at: Ints, value: Floats) -> LogMean:
    """Log of the marginal posterior density of some coordinates at a value.

    Parameters
    ----------
    draws
        Posterior draws of unconstrained coordinates, (chain, draw, dim).
    log_density
        Log of the posterior density, up to a constant, (n, dim) -> (n,).
    at
        Positions of the coordinates.
    value
        (len(at),).

    References
    ----------
    Chen 1994, J. Am. Stat. Assoc. 89:818; Dickey 1971, Ann. Math. Stat. 42:204.

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.random.default_rng(1).normal(size=(4, 500, 2))
    >>> normal = lambda x: -0.5 * (x**2).sum(axis=1)
    >>> round(log_density_at(draws, normal, np.array([0]), np.array([6.0])).value, 1)
    -18.9
    """
    first, second = halves(draws)
    learnt, points = first.reshape(-1, first.shape[2]), second.reshape(-1, second.shape[2])
    rest = np.setdiff1d(np.arange(points.shape[1]), at)
    proposal = fitted(learnt[:, at])
    slopes = np.linalg.lstsq(learnt[:, at] - proposal.centre, learnt[:, rest], rcond=None)[0]
    moved = points.copy()
    moved[:, at] = value
    moved[:, rest] += (value - points[:, at]) @ slopes
    terms = proposal.log_density(points[:, at]) + log_density(moved) - log_density(points)
    return log_mean(terms.reshape(second.shape[:2]))


def nested_factor(fit: Fit, data: Observations, variable: str, value: float = 0.0) -> NestedFactor:
    """Log Bayes factor of a fitted model over the same with one trend parameter held.

    Parameters
    ----------
    fit
        Of the wider hypothesis.
    data
        What its model sees of the dataset.
    variable
        A parameter of its trend, such as `growth_rate`.
    value
        What it is under the nested hypothesis.

    Raises
    ------
    SpecError
        The trend has no such parameter.
    BayesdenseError
        A cut fit, or a value that has no sampling coordinate.
    """
    refuse_cut(fit, "a Bayes factor")
    if variable not in fit.spec.used_priors("trend"):
        known = ", ".join(fit.spec.used_priors("trend"))
        raise SpecError(f"trend {fit.spec.trend!r} has no {variable!r}, allowed: {known}")
    target = target_of(fit.spec, data)
    where = target.coordinates
    held = _with_value(fit.posterior, variable, value)
    at = positions(where, variable)
    coordinate = apart(where, unconstrained(where, held)[0, 0])
    draws = apart(where, unconstrained(where, fit.posterior))
    log_density = vectorised(target.log_density())
    found = log_density_at(
        draws, lambda points: log_density(together(where, points)), at, coordinate[at]
    )
    log_unit = _log_unit(where, variable, coordinate)
    before = float(log_prior(fit.spec, data, held)[variable].to_numpy()[0, 0]) + log_unit
    return NestedFactor(before - found.value, found.se, found.pareto_k)


def nested_in(trend: str) -> Nested | None:
    """Hypothesis that is nested in a kind of trend; None where there is none, or none known."""
    return NESTED.get(trend.partition("@")[0])


def _with_value(posterior: xr.Dataset, variable: str, value: float) -> xr.Dataset:
    """One posterior draw with a variable set."""
    one = posterior.isel({CHAIN: [0], DRAW: [0]})
    return one.assign({variable: xr.full_like(one[variable], value)})


def _log_unit(where: Coordinates, variable: str, z: Floats) -> float:
    """Log of a variable's derivative in its coordinate, one of those set `apart`."""
    step = np.zeros((2, len(z)))
    step[:, positions(where, variable)] = np.array([[_STEP], [-_STEP]])
    above, below = where.natural(together(where, z + step))[variable]
    return math.log(abs(float(above - below)) / (2 * _STEP))
