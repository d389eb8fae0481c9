"""Wider and narrower priors of a trend: what posterior probabilities of hypotheses rest on."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from bayesdense.comparison.importance import LogMean, log_mean
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations
from bayesdense.prior_densities import log_prior
from bayesdense.prior_entries import wider
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec

#: Factors of the widths of priors at which posterior probabilities are given.
WIDTHS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
#: Shared by all hypotheses: how wide it is tells nothing between them.
_SHARED: Final = ("trend_intercept",)


def widened(spec: ModelSpec, factor: float) -> ModelSpec:
    """Model with the priors of its trend wider by a factor, all but that of the level.

    What width means of each distribution, `prior_entries.wider` says.

    Parameters
    ----------
    spec
        The model.
    factor
        Above 0; below 1 narrower.

    Examples
    --------
    >>> from bayesdense.spec import load_spec
    >>> str(widened(load_spec("trend_only"), 0.5).prior("trend", "growth_rate"))
    'Normal(mu=0, sigma=1)'
    """
    changes = {
        f"trend.priors.{name}.{path}": value
        for name, prior in spec.used_priors("trend").items()
        if name not in _SHARED
        for path, value in wider(prior, factor)
    }
    return spec.with_options(**changes)


def reweighted(fit: Fit, data: Observations, factor: float) -> LogMean:
    """Log ratio of marginal likelihoods, widened over as it is, from the draws of a fit.

    The mean over the posterior of wider prior / prior. It can be trusted where the draws reach all
    that the other prior favours; k-hat says so, and else the wider model has to be fitted itself.

    Parameters
    ----------
    fit, data
        A fit, and what its model sees.
    factor
        As in `widened`.
    """
    other = widened(fit.spec, factor)
    names = [name for name in other.used_priors("trend") if name not in _SHARED]
    before, after = (_log_priors(spec, fit, data) for spec in (fit.spec, other))
    terms = np.zeros((fit.posterior.sizes[CHAIN], fit.posterior.sizes[DRAW]))
    for name in before:
        if any(name == own or name.startswith(f"{own}_") for own in names):
            terms = terms + after[name] - before[name]
    return log_mean(terms)


def _log_priors(spec: ModelSpec, fit: Fit, data: Observations) -> Mapping[str, np.ndarray]:
    """Log density of every top-level prior at every draw, summed over entries."""
    found = log_prior(spec, data, fit.posterior)
    return {
        str(name): value.sum([dim for dim in value.dims if dim not in (CHAIN, DRAW)])
        .transpose(CHAIN, DRAW)
        .to_numpy()
        for name, value in found.items()
    }
