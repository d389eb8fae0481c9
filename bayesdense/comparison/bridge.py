"""Bridge sampling: log marginal likelihoods from posterior draws.

With q the unnormalised posterior density, Z its integral, and g a proposal that is normalised,

    Z = E_g[h q] / E_posterior[h g]   for any bridge h,

and h = 1 / (s1 q / Z + s2 g), s1 and s2 the shares of posterior and proposal draws, has the least
mean squared error (Meng and Wong 1996). As Z stands in h, the estimate is iterated. Follows the
practice of Gronau et al. (2017).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from arviz_stats.base.array import array_stats
from scipy.linalg import solve_triangular
from scipy.special import gammaln, logsumexp

from bayesdense.arrays import Floats
from bayesdense.errors import BayesdenseError

#: Points (n, dim) -> log of the unnormalised density, (n,); -inf where it is zero.
type LogDensities = Callable[[Floats], Floats]

#: Disjoint parts of the draws whose estimates tell the error.
N_SPLITS: Final = 5
#: Draws that a chain needs: half for the proposal, a fifth of the rest for each split.
LEAST_DRAWS: Final = 50
_MOST_ITERATIONS: Final = 5000
_TOLERANCE: Final = 1e-9
_LOG_2PI: Final = math.log(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A log marginal likelihood with its error.

    Attributes
    ----------
    log_ml
        Natural log of the integral of the density, nats.
    se
        Its standard error: the larger of the two that follow.
    se_formula
        By the relative mean squared error of Fruehwirth-Schnatter (2004), with the effective
        number of posterior draws.
    se_splits
        By the spread of the estimates from 5 disjoint parts of the draws.
    n_outside
        Proposed points where the density is zero or no number.
    """

    log_ml: float
    se: float
    se_formula: float
    se_splits: float
    n_outside: int


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """Multivariate normal, or Student-t, centre + root x.

    Attributes
    ----------
    centre
        (dim,).
    root
        (dim, dim), lower triangular.
    df
        Degrees of freedom; infinite: normal.
    """

    centre: Floats
    root: Floats
    df: float = math.inf

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Draw points, (n, dim)."""
        normal = rng.standard_normal((n, len(self.centre)))
        if math.isfinite(self.df):
            normal *= np.sqrt(self.df / rng.chisquare(self.df, n))[:, None]
        return np.asarray(self.centre + normal @ self.root.T)

    def log_density(self, points: Floats) -> Floats:
        """Log density at points, (n, dim) -> (n,)."""
        dim, df = len(self.centre), self.df
        standard = solve_triangular(self.root, (points - self.centre).T, lower=True)
        squares = (standard**2).sum(axis=0)
        log_det = np.log(np.diag(self.root)).sum()
        if math.isinf(df):
            return np.asarray(-0.5 * squares - log_det - 0.5 * dim * _LOG_2PI)
        constant = gammaln((df + dim) / 2) - gammaln(df / 2) - 0.5 * dim * math.log(df * math.pi)
        return np.asarray(constant - log_det - (df + dim) / 2 * np.log1p(squares / df))


def standard_normal(dim: int) -> Proposal:
    """Proposal for draws that are whitened already."""
    return Proposal(np.zeros(dim), np.eye(dim))


def fitted(points: Floats, df: float = math.inf) -> Proposal:
    """Proposal with the mean and covariance of points, (n, dim).

    Correlations are shrunk towards none by n / (n + dim), which costs nothing where draws are many
    and keeps the proposal near the posterior where they are few.

    Parameters
    ----------
    points
        Draws, no coordinate of which is constant.
    df
        Degrees of freedom above 2; infinite: normal.
    """
    n, dim = points.shape
    centre, sd = points.mean(axis=0), points.std(axis=0)
    if not (np.isfinite(sd).all() and (sd > 0).all()):
        raise BayesdenseError("bridge sampling: a coordinate of the draws is constant or no number")
    standard = (points - centre) / sd
    trust = n / (n + dim)
    correlation = trust * (standard.T @ standard) / n + (1 - trust) * np.eye(dim)
    scale = 1.0 if math.isinf(df) else math.sqrt((df - 2) / df)
    return Proposal(centre, scale * sd[:, None] * np.linalg.cholesky(correlation), df)


def bridge(
    draws: Floats,
    log_density: LogDensities,
    *,
    seed: int,
    df: float = math.inf,
    warp: bool = False,
    proposed: int = 1,
) -> Bridge:
    """Estimate a log marginal likelihood; half of the draws make the proposal, half the estimate.

    Parameters
    ----------
    draws
        Posterior draws of unconstrained coordinates, (chain, draw, dim).
    log_density
        Log of the unnormalised posterior density of these coordinates, all constants and the
        Jacobian of the map to them included.
    seed
        Of the proposed points.
    df
        Degrees of freedom of the proposal; infinite: normal.
    warp
        Make the density symmetric about the proposal's centre (warp-III: Meng and Schilling
        2002), which helps where it is skewed and costs twice the evaluations.
    proposed
        Proposed points for every draw of the estimate.

    Returns
    -------
    Bridge
        In nats.

    Raises
    ------
    BayesdenseError
        Too few draws, draws that are no numbers or lie outside the density, or no convergence.

    References
    ----------
    Meng and Wong 1996, Statistica Sinica 6:831; Meng and Schilling 2002, J. Comput. Graph. Stat.
    11:552; Fruehwirth-Schnatter 2004, Econometrics Journal 7:143; Gronau et al. 2017, J. Math.
    Psychol. 81:80.

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.random.default_rng(1).normal(size=(4, 1000, 2))
    >>> found = bridge(draws, lambda x: -0.5 * (x**2).sum(axis=1), seed=1)
    >>> round(found.log_ml, 2)  # log(2 pi)
    1.84
    """
    first, second = halves(draws)
    proposal = fitted(first.reshape(-1, first.shape[-1]), df)
    return bridge_from(proposal, second, log_density, seed=seed, warp=warp, proposed=proposed)


def halves(draws: Floats) -> tuple[Floats, Floats]:
    """First and second half of every chain: for the proposal, and for the estimate.

    Raises
    ------
    BayesdenseError
        Where that would leave too little of a chain.
    """
    if draws.ndim != 3 or draws.shape[1] < LEAST_DRAWS:
        raise BayesdenseError(
            f"bridge sampling: draws of shape {draws.shape}, allowed: (chain, draw, dim) with "
            f"{LEAST_DRAWS} draws a chain or more"
        )
    middle = draws.shape[1] // 2
    return draws[:, :middle], draws[:, middle:]


def bridge_from(
    proposal: Proposal,
    draws: Floats,
    log_density: LogDensities,
    *,
    seed: int,
    warp: bool = False,
    proposed: int = 1,
) -> Bridge:
    """Estimate as `bridge` does, with a proposal made from other draws.

    Parameters
    ----------
    proposal
        Near the posterior, and independent of `draws`.
    draws, log_density, seed, warp, proposed
        As in `bridge`; all the draws make the estimate.
    """
    n_chains, n_draws, dim = draws.shape
    points = proposal.draw(np.random.default_rng(seed), n_chains * n_draws * proposed)
    density = _symmetric(log_density, proposal.centre) if warp else log_density
    at_draws = density(draws.reshape(-1, dim)) - proposal.log_density(draws.reshape(-1, dim))
    if not np.isfinite(at_draws).all():
        raise BayesdenseError(
            "bridge sampling: the density is zero or no number at "
            f"{int((~np.isfinite(at_draws)).sum())} posterior draws; are they draws of it?"
        )
    at_points = density(points) - proposal.log_density(points)
    at_points[~np.isfinite(at_points)] = -np.inf
    share = _share_of_posterior(draws, len(points))
    return from_ratios(at_draws.reshape(n_chains, n_draws), at_points, share=share)


def from_ratios(at_draws: Floats, at_points: Floats, *, share: float) -> Bridge:
    """Estimate log Z from ratios of two densities at draws of both.

    Parameters
    ----------
    at_draws
        log(q / g) at draws of the normalised q, (chain, draw).
    at_points
        The same at draws of g: independent ones, (n,), or those of chains, (chain, draw).
    share
        s1: effective number of draws of q, as a share of those of both.

    Returns
    -------
    Bridge
        `log_ml` is the log of the integral of q over that of g.
    """
    log_ml = iterated(at_draws, at_points, share)
    formula = _formula_error(at_draws, at_points, share, log_ml)
    splits = _split_error(at_draws, at_points, share)
    outside = int(np.isneginf(at_points).sum())
    return Bridge(log_ml, max(formula, splits), formula, splits, outside)


def _symmetric(log_density: LogDensities, centre: Floats) -> LogDensities:
    """Mean of the density and of its mirror image: at a draw and at its image it is the same."""

    def density(points: Floats) -> Floats:
        here, there = (_or_zero(log_density(x)) for x in (points, 2 * centre - points))
        return np.asarray(np.logaddexp(here, there) - math.log(2))

    return density


def _or_zero(log_density: Floats) -> Floats:
    """Density of zero where it is no number."""
    return np.where(np.isnan(log_density), -np.inf, log_density)


def effective_number(values: Floats) -> float:
    """Effective number of draws, (chain, draw), at most their number."""
    found = float(array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean"))
    return min(found, values.size) if math.isfinite(found) else float(values.size)


def _share_of_posterior(draws: Floats, n_points: int) -> float:
    """Share s1 of the posterior draws, counted by their median effective number."""
    found = [effective_number(draws[:, :, k]) for k in range(draws.shape[2])]
    effective = float(np.median(found))
    return float(effective / (effective + n_points))


def iterated(at_draws: Floats, at_points: Floats, share: float) -> float:
    """Log Z from log(q / g) at posterior draws and at proposed points."""
    at_draws, at_points = at_draws.ravel(), at_points.ravel()
    log_s1, log_s2 = math.log(share), math.log1p(-share)
    log_z = float(np.median(at_draws))
    for _ in range(_MOST_ITERATIONS):
        above = at_points - np.logaddexp(log_s1 + at_points, log_s2 + log_z)
        below = -np.logaddexp(log_s1 + at_draws, log_s2 + log_z)
        before = log_z
        log_z = float(
            logsumexp(above) - math.log(above.size) - logsumexp(below) + math.log(below.size)
        )
        if abs(log_z - before) < _TOLERANCE:
            return log_z
    raise BayesdenseError(
        f"bridge sampling: no convergence in {_MOST_ITERATIONS} iterations; the proposal and the "
        "posterior hardly overlap"
    )


def _formula_error(at_draws: Floats, at_points: Floats, share: float, log_z: float) -> float:
    """Root of the relative mean squared error (Fruehwirth-Schnatter 2004, eq. 16)."""
    log_s1, log_s2 = math.log(share), math.log1p(-share)
    of_points = np.exp(at_points - np.logaddexp(log_s1 + at_points, log_s2 + log_z))
    of_draws = np.exp(log_z - np.logaddexp(log_s1 + at_draws, log_s2 + log_z))
    n_points = of_points.size if of_points.ndim == 1 else effective_number(of_points)
    squared = of_points.var() / (n_points * of_points.mean() ** 2)
    squared += of_draws.var() / (effective_number(of_draws) * of_draws.mean() ** 2)
    return float(np.sqrt(squared))


def _split_error(at_draws: Floats, at_points: Floats, share: float) -> float:
    """Standard error of the mean of estimates from consecutive parts of the chains."""
    parts = zip(
        np.array_split(at_draws, N_SPLITS, axis=-1),
        np.array_split(at_points, N_SPLITS, axis=-1),
        strict=True,
    )
    estimates = [iterated(draws, points, share) for draws, points in parts]
    return float(np.std(estimates, ddof=1) / math.sqrt(N_SPLITS))
