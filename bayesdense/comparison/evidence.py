"""The log marginal likelihood of a fitted model, by bridge sampling in whitened coordinates."""

from typing import Final

import numpy as np

from bayesdense.arrays import Floats
from bayesdense.comparison.bridge import Bridge, LogDensities, bridge_from, halves, standard_normal
from bayesdense.comparison.inverse import unconstrained
from bayesdense.engine.runs import target_of
from bayesdense.engine.target import LogDensity
from bayesdense.engine.whiten import Whitening, whiten_by_draws
from bayesdense.errors import BayesdenseError
from bayesdense.observations import Observations
from bayesdense.results import Fit
from bayesdense.sizes.parallel import over_draws

#: Proposed points for every posterior draw: they cost little, and halve what they add to the error.
_PROPOSED: Final = 4


def log_marginal_likelihood(fit: Fit, data: Observations, *, seed: int) -> Bridge:
    """Estimate log p(all data | model) by bridge sampling.

    The density is that of the sampling coordinates (`engine.coordinates`), with every constant of
    priors and likelihoods and the Jacobian. The first half of each chain bends the coordinates to
    normals and decorrelates them (`engine.whiten`), so that a standard normal is the proposal: a
    warp (Meng and Schilling 2002) learnt from draws. The second half makes the estimate. Only
    differences between hypotheses about one dataset have a meaning.

    Parameters
    ----------
    fit
        Of any model that is sampled at once.
    data
        What the model sees of the dataset that was fitted.
    seed
        Of the proposed points.

    Returns
    -------
    Bridge
        In nats.

    Raises
    ------
    BayesdenseError
        A cut fit, whose pooled draws are of no joint posterior; or draws that bridge sampling
        cannot use.
    """
    refuse_cut(fit, "a marginal likelihood")
    target = target_of(fit.spec, data)
    first, second = halves(unconstrained(target.coordinates, fit.posterior))
    whitening = whiten_by_draws(first, target.coordinates.local)
    density = vectorised(target.whitened(whitening, target.nothing_given))
    constant = log_determinant(whitening)
    return bridge_from(
        standard_normal(target.coordinates.size),
        whitening.normals(second),
        lambda points: density(points) + constant,
        seed=seed,
        proposed=_PROPOSED,
    )


def refuse_cut(fit: Fit, what: str) -> None:
    """Raise where the pooled draws of a cut would be taken for a posterior given all data."""
    if fit.spec.options.feedback == "cut":
        raise BayesdenseError(
            f'feedback = "cut": its draws are of no posterior given all data, so that {what} has '
            'no meaning; fit with feedback = "joint"'
        )


def vectorised(log_density: LogDensity) -> LogDensities:
    """Log density of points one by one, on all cores; zero where it is no number."""

    def at(points: Floats) -> Floats:
        out = np.empty(len(points))

        def one(k: int) -> None:
            out[k] = log_density(points[k])[0]

        over_draws(len(points), one)
        return np.where(np.isnan(out), -np.inf, out)

    return at


def log_determinant(whitening: Whitening) -> float:
    """Log determinant of a whitening's matrix, a constant that a sampler's density leaves out."""
    table = whitening.table
    own = table.bends[:, 5]
    root = np.abs(np.diag(table.matrix[table.dense]))
    return float(np.log(root).sum() + np.log(own[own > 0.0]).sum())
