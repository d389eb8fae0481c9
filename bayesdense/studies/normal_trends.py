"""Trend hypotheses about log densities that are known up to normal errors, in closed form.

Given family and residual sds everything is normal, so that posteriors, marginal likelihoods and
what is left out have formulas; the two sds are summed over a grid. A study of hundreds of made-up
datasets takes seconds, and nothing in it is random.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from scipy.special import logsumexp, ndtr

from bayesdense.arrays import Floats, Ints
from bayesdense.errors import SpecError
from bayesdense.prior_densities import log_density
from bayesdense.priors import Prior
from bayesdense.spec import ModelSpec
from bayesdense.trends import TrendData, TrendOn, trend_named
from bayesdense.trends.base import Curve, Theta

_LOG_2PI: Final = math.log(2 * math.pi)
#: Nodes of the grid in each log sd, one posterior sd apart: the trapezoid rule is exact to many
#: digits there, as what is summed is smooth.
_NODES: Final = 12
#: Least posterior sd of a log sd that the grid is laid for.
_LEAST_SPREAD: Final = 0.05
#: Matrices held at once.
_AT_ONCE: Final = 36


@dataclass(frozen=True, slots=True, eq=False)
class Densities:
    """What is known of LLMs' log densities, in the order of release.

    Attributes
    ----------
    trend_data
        Dates and families.
    mean
        (n,): log densities as observed, nats.
    var
        (n,): variance of the normal error of each, nats squared; not the scatter of LLMs.
    """

    trend_data: TrendData
    mean: Floats
    var: Floats

    @classmethod
    def of(cls, trend_data: TrendData, mean: Floats, var: Floats) -> Self:
        """Put LLMs in the order of release."""
        order = np.argsort(trend_data.years, kind="stable")
        data = replace(
            trend_data, years=trend_data.years[order], family_idx=trend_data.family_idx[order]
        )
        return cls(data, mean[order], var[order])


@dataclass(frozen=True, slots=True, eq=False)
class Sds:
    """A grid over the sd of families and of the residual.

    Attributes
    ----------
    family, residual
        (nodes,), nats.
    log_weight
        (nodes,): log prior density times the width of the cell.
    """

    family: Floats
    residual: Floats
    log_weight: Floats


def sds_about(spec: ModelSpec, family: Floats | None, residual: Floats) -> Sds:
    """Lay a grid about posterior draws of the two sds, equidistant in their logarithms.

    Parameters
    ----------
    spec
        Whose priors are taken.
    family, residual
        Draws; no families: None.

    Raises
    ------
    SpecError
        The residual is not normal with one sd.
    """
    require_normal(spec)
    log_residual, weight = _axis(spec.prior("residual", "residual_sd"), residual)
    if family is None:
        return Sds(np.zeros(len(log_residual)), np.exp(log_residual), weight)
    log_family, family_weight = _axis(spec.prior("family", "family_sd"), family)
    across, along = np.meshgrid(log_family, log_residual, indexing="ij")
    weights = np.add.outer(family_weight, weight)
    return Sds(np.exp(across.ravel()), np.exp(along.ravel()), weights.ravel())


def require_normal(spec: ModelSpec) -> None:
    """Refuse a residual that is not normal with one sd."""
    if spec.residual != "symmetric" or spec.options.scale_trend:
        raise SpecError(
            "this study needs a normal residual of one sd: --set residual=symmetric "
            "--set scale_trend=false"
        )


def _axis(prior: Prior, draws: Floats) -> tuple[Floats, Floats]:
    """Equidistant logs about those of draws, and their log weights."""
    logs = np.log(draws)
    step = max(float(logs.std()), _LEAST_SPREAD)
    nodes = logs.mean() + step * (np.arange(_NODES) - 0.5 * (_NODES - 1))
    return nodes, log_density(prior, np.exp(nodes), {}) + nodes + math.log(step)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a hypothesis says of datasets of one shape; the last axis is that of the datasets.

    Attributes
    ----------
    log_ml
        (datasets,): log marginal likelihood, nats.
    family
        (families, datasets): log density of each family's LLMs given all others.
    since
        (datasets,): log density of the LLMs from the origin of the forecast on, given those before.
    mean, sd
        (datasets,): of the posterior of the parameter that was asked for.
    p_positive
        (datasets,): posterior probability that it is above 0.
    p_value
        (values, datasets): posterior probability of each value that the trend sums over (dates of
        a break); one row where it sums over none.
    """

    log_ml: Floats
    family: Floats
    since: Floats
    mean: Floats
    sd: Floats
    p_positive: Floats
    p_value: Floats


def examine(
    spec: ModelSpec,
    trend: str,
    densities: Densities,
    made: Floats,
    sds: Sds,
    *,
    parameter: str,
    n_before: int,
) -> Found:
    """Examine datasets of one shape under a trend.

    Given the sds, log densities are normal about B m with the covariance
    diag(var) + family_sd^2 Z Z' + residual_sd^2 I + B L B', where Z says which LLM is of which
    family, B is the trend's basis and m, L are mean and variances of its priors. What follows is
    summed over the grid of sds, and over the dates of a break that is not known.

    Parameters
    ----------
    spec
        Whose priors are taken.
    trend
        Kind of the trend: linear in a few normal parameters, perhaps only given what it sums over.
    densities
        Shape and errors; its mean is not read.
    made
        (n, datasets): log densities, nats, in the order of `densities`.
    sds
        From `sds_about`.
    parameter
        Of the trend: that of which the posterior is told.
    n_before
        LLMs released before the origin of the forecast, counted in the order of release.

    Raises
    ------
    SpecError
        The trend is of another kind.
    """
    log_joint, log_before, left_out, mean, var = (
        np.concatenate(parts) for parts in zip(*_nodes(spec, trend, densities, made, sds,
                                                       parameter, n_before), strict=True)
    )  # fmt: skip
    log_ml = logsumexp(log_joint, axis=0)
    weight = np.exp(log_joint - log_ml)
    centre = (weight * mean).sum(axis=0)
    return Found(
        log_ml=log_ml,
        # p(y_k | rest) = 1 / E[1 / p(y_k | rest, sds)], over the posterior of the sds
        family=log_ml - logsumexp(left_out, axis=0),
        since=log_ml - logsumexp(log_before, axis=0),
        mean=centre,
        sd=np.sqrt((weight * (var + (mean - centre) ** 2)).sum(axis=0)),
        p_positive=(weight * ndtr(mean / np.sqrt(var))).sum(axis=0),
        p_value=weight.reshape(-1, len(sds.residual), made.shape[1]).sum(axis=1),
    )


def _nodes(
    spec: ModelSpec,
    trend: str,
    densities: Densities,
    made: Floats,
    sds: Sds,
    parameter: str,
    n_before: int,
) -> Iterator[tuple[Floats, ...]]:
    """Blocks of nodes: log joint and log density before, left out, mean and variance.

    Of each a row a node, (nodes, datasets); left out: one row a block, (1, families, datasets), the
    log sum of p(y, sds) / p(y_k | rest, sds).
    """
    hypotheses = list(_linear(trend, densities.trend_data))
    prior_mean, prior_var = _priors(spec, hypotheses[0])
    column = hypotheses[0].trend.parameters.index(parameter)
    for on in hypotheses:
        basis = on.basis(densities.trend_data.years)
        given = _Given(densities, sds, basis, prior_var, made - (basis @ prior_mean)[:, None])
        for first in range(0, len(sds.residual), _AT_ONCE):
            rows = np.arange(first, min(first + _AT_ONCE, len(sds.residual)))
            terms, score, precision = given.at(rows)
            weight = sds.log_weight[rows][:, None] - math.log(len(hypotheses))
            log_joint = weight + terms.sum(axis=1)
            family = _families_left_out(densities.trend_data.family_idx, score, precision)
            seen = basis[:, column] @ score
            told = np.einsum("i,gij,j->g", basis[:, column], precision, basis[:, column])
            prior = prior_var[column]
            yield (
                log_joint,
                weight + terms[:, :n_before].sum(axis=1),
                logsumexp(log_joint[:, None] - family, axis=0)[None],
                prior_mean[column] + prior * seen,
                np.broadcast_to((prior - prior**2 * told)[:, None], seen.shape),
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """Datasets under one linear hypothesis."""

    densities: Densities
    sds: Sds
    basis: Floats
    prior_var: Floats
    error: Floats

    def at(self, rows: Ints) -> tuple[Floats, Floats, Floats]:
        """At some nodes: log density of each LLM given earlier ones, P r, and the precision P."""
        n, index = len(self.error), self.densities.trend_data.family_idx
        cov = np.diag(self.densities.var) + (self.basis * self.prior_var) @ self.basis.T
        related = (index[:, None] == index).astype(float)
        cov = cov + np.multiply.outer(self.sds.family[rows] ** 2, related)
        cov += np.multiply.outer(self.sds.residual[rows] ** 2, np.eye(n))
        root = np.linalg.inv(np.linalg.cholesky(cov))
        white = root @ self.error
        scale = np.log(np.diagonal(root, axis1=1, axis2=2))[:, :, None]
        return scale - 0.5 * (white**2 + _LOG_2PI), root.mT @ white, root.mT @ root


def _linear(kind: str, data: TrendData) -> Iterator[TrendOn]:
    """The trend, linear in its parameters; one for each value of what it sums over."""
    trend = trend_named(kind)
    mixture = trend.mixture
    if trend.dims or not (trend.is_linear or mixture):
        raise SpecError(f"trend {kind} is not linear in a few parameters, as this study needs")
    if mixture is None:
        yield TrendOn(trend, data)
        return
    for value in mixture.values(data).tolist():
        eta = _given(trend.eta, {mixture.name: value})
        yield TrendOn(replace(trend, eta=eta, growth_rate=None, mixture=None), data)


def _given(eta: Curve, known: Theta) -> Curve:
    """Trend with one of its parameters known."""
    return lambda t, theta, data: eta(t, {**theta, **known}, data)


def _priors(spec: ModelSpec, on: TrendOn) -> tuple[Floats, Floats]:
    """Mean and variance of the prior of every parameter of a trend."""
    priors = [spec.prior("trend", name) for name in on.trend.parameters]
    if any(prior.dist != "Normal" or prior.is_hierarchical for prior in priors):
        raise SpecError(f"trend {on.trend.kind}: this study needs normal priors of its parameters")
    mean, sd = (
        np.array([float(str(prior.kwargs[name])) for prior in priors]) for name in ("mu", "sigma")
    )
    return mean, sd**2


def _families_left_out(index: Ints, score: Floats, precision: Floats) -> Floats:
    """Log density of each family given all others, (nodes, families, datasets).

    With the precision P and the errors r of all LLMs: y_k given the others has the covariance
    P_kk^-1 and the error P_kk^-1 (P r)_k.
    """
    out = np.empty((score.shape[0], int(index.max()) + 1, score.shape[2]))
    for k in range(out.shape[1]):
        members = np.flatnonzero(index == k)
        own, q = precision[:, members[:, None], members], score[:, members]
        quadratic = (q * np.linalg.solve(own, q)).sum(axis=1)
        log_det = np.linalg.slogdet(own).logabsdet[:, None]
        out[:, k] = 0.5 * (log_det - quadratic - _LOG_2PI * len(members))
    return out
