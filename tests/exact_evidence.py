"""Log marginal likelihoods of `trend_only` by quadrature: linear trend, normal residual."""

import numpy as np
from scipy import stats
from scipy.special import logsumexp

from bayesdense.observations import Observations, trend_on
from bayesdense.spec import ModelSpec


def exact_log_ml(spec: ModelSpec, data: Observations, n_nodes: int = 101) -> float:
    """Log p(densities | model): trend and families by linear algebra, both sds on a grid.

    For the shipped priors: Normal for the trend, LogNormal(residual_sd), HalfNormal(family_sd).
    """
    assert data.densities is not None
    y, trend = data.densities.log_density, trend_on(spec, data.llms)
    families = (data.llms.family_idx[:, None] == np.arange(len(data.llms.families))).astype(float)
    basis = trend.basis(data.llms.years)
    priors = [spec.prior("trend", name) for name in trend.trend.parameters]
    mean = basis @ np.array([prior.kwargs["mu"] for prior in priors])
    fixed = basis @ np.diag([prior.kwargs["sigma"] ** 2 for prior in priors]) @ basis.T
    log_sds = np.linspace(-2.5, 1.2, n_nodes)
    family_sds = np.linspace(1e-4, 3.5, n_nodes)
    found = np.empty((n_nodes, n_nodes))
    of_residual = spec.prior("residual", "residual_sd").kwargs
    of_family = spec.prior("family", "family_sd").kwargs
    for i, log_sd in enumerate(log_sds):
        for j, family_sd in enumerate(family_sds):
            covariance = fixed + np.exp(2 * log_sd) * np.eye(len(y))
            covariance += family_sd**2 * families @ families.T
            root = np.linalg.cholesky(covariance)
            standard = np.linalg.solve(root, y - mean)
            found[i, j] = -0.5 * standard @ standard - np.log(np.diag(root)).sum()
        found[i] += stats.norm.logpdf(log_sd, of_residual["mu"], of_residual["sigma"])
    found += stats.halfnorm.logpdf(family_sds, scale=of_family["sigma"])
    step = (log_sds[1] - log_sds[0]) * (family_sds[1] - family_sds[0])
    found[:, [0, -1]] -= np.log(2)
    return float(logsumexp(found) + np.log(step) - 0.5 * len(y) * np.log(2 * np.pi))
