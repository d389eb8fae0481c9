"""Does density go with size? A test of a slope that the model does not have."""

from dataclasses import replace

import numpy as np
import xarray as xr

from bayesdense import densities, sizes
from bayesdense.arrays import Floats
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations
from bayesdense.spec import ModelSpec

#: Half the distance of the differences: small against a slope's posterior sd, large against the
#: error of the quadrature over sizes.
_STEP = 0.05
#: About so many draws are used. The information is a small difference of large ones: with these
#: its Monte Carlo error is near a tenth of it on `densing`.
_DRAWS = 2500


def slope_derivatives(
    posterior: xr.Dataset,
    spec: ModelSpec,
    data: Observations,
    family: xr.DataArray,
    known: xr.Dataset | None = None,
) -> xr.Dataset | None:
    """Derivatives of the log likelihood in a slope s of log density on log parameters, at s = 0.

    The model with a slope has log rho_i = eta(t_i) + s x_i + family effect + residual, where x_i is
    log N_i about its mean. l(s) = sum over families of log M_k given a draw's other parameters,
    sizes and family effects integrated out. By Louis (1982) the likelihood p(y | s) with the
    parameters integrated out too has at s = 0 the score E[u] and the information E[i] - Var[u],
    over the posterior under s = 0.

    Parameters
    ----------
    posterior
        Natural parameters, dims chain, draw and their own.
    spec, data
        The model and the observations that were fitted.
    family
        log M_k under s = 0, as `log_likelihoods` gives it [family_obs].
    known
        The derivatives of all draws, where `sizes.log_likelihoods_and_slopes` has found them with
        `size_covariate`.

    Returns
    -------
    xarray.Dataset or None
        u = l'(0) `score` and i = -l''(0) `information` of every k-th draw, exact where they are
        known, else by central differences. None where parameters are unknown or do not vary
        beside time.

    References
    ----------
    Louis 1982, J. R. Stat. Soc. B 44, 226-233.
    """
    x = size_covariate(data)
    if x is None:
        return None
    step = max(1, posterior.sizes[CHAIN] * posterior.sizes[DRAW] // _DRAWS)
    if known is not None:
        return known.isel({DRAW: slice(None, None, step)})
    thinned = posterior.isel({DRAW: slice(None, None, step)})
    middle = family.isel({DRAW: slice(None, None, step)}).sum("family_obs")
    below, above = (_total(thinned, spec, data, s * x) for s in (-_STEP, _STEP))
    found = {
        "score": (above - below) / (2 * _STEP),
        "information": (2 * middle - above - below) / _STEP**2,
    }
    # Labels, as who reads these beside other variables has to find the same draws.
    return xr.Dataset(
        {
            name: ((CHAIN, DRAW), values.transpose(CHAIN, DRAW).data)
            for name, values in found.items()
        },
        coords={dim: thinned[dim].values for dim in (CHAIN, DRAW)},
    )


def size_covariate(data: Observations) -> Floats | None:
    """Log parameters about their mean, if the data could tell their slope."""
    log_params, years = data.llms.log_params, data.llms.years
    if not np.isfinite(log_params).all():
        return None
    design = np.stack([np.ones_like(years), years, log_params - log_params.mean()], axis=1)
    if len(years) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    return np.asarray(design[:, 2])


def _total(
    posterior: xr.Dataset, spec: ModelSpec, data: Observations, shift: Floats
) -> xr.DataArray:
    """Log likelihood of all families with these shifts of the log densities' locations."""
    if data.densities is not None:
        given = replace(data.densities, log_density=data.densities.log_density - shift)
        of_families = densities.log_likelihoods(posterior, spec, replace(data, densities=given))
        return of_families["family"].sum("family_obs")
    llms = replace(data.llms, log_params=data.llms.log_params + shift)
    return sizes.family_log_likelihood(posterior, spec, replace(data, llms=llms).joint).sum(
        "family_obs"
    )
