"""The slope on size: against closed forms, and against the model's own likelihood."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from made_up import made_up_posterior
from modelling import small_observations

from bayesdense import size_slope
from bayesdense.dataset import load_dataset
from bayesdense.densities import log_likelihoods as density_likelihoods
from bayesdense.observations import observe
from bayesdense.size_slope import slope_derivatives
from bayesdense.sizes import family_log_likelihood, log_likelihoods
from bayesdense.spec import load_spec

SPEC = load_spec("trend_only")
FAMILY_SD, RESIDUAL_SD = 0.6, 0.4


def densities(slope: float, n_families: int = 30, per_family: int = 3):
    """Observations of densities with a slope on size, known scales, and their design."""
    rng = np.random.default_rng(8)
    n = n_families * per_family
    family = np.repeat(np.arange(n_families), per_family)
    years, log_params = rng.uniform(-1, 1, n), rng.normal(22, 1.2, n)
    x = log_params - log_params.mean()
    y = 0.3 + 2.0 * years + slope * x + FAMILY_SD * rng.normal(size=n_families)[family]
    y = y + RESIDUAL_SD * rng.normal(size=n)
    seen = observe(SPEC, load_dataset("densing-published"))
    assert seen.densities is not None
    llms = replace(
        seen.llms,
        names=tuple(f"llm-{k}" for k in range(n)),
        families=tuple(f"family-{k}" for k in range(n_families)),
        family_idx=family,
        years=years,
        log_params=log_params,
    )
    given = replace(seen.densities, log_density=y, known_var=np.zeros(n))
    cov = RESIDUAL_SD**2 * np.eye(n) + FAMILY_SD**2 * (family[:, None] == family)
    return replace(seen, llms=llms, densities=given), y, np.stack([np.ones(n), years, x], 1), cov


def trend_posterior(y: np.ndarray, design: np.ndarray, cov: np.ndarray, draws: int) -> xr.Dataset:
    """Draws of level and growth given the scales, under flat priors and slope 0."""
    precision = np.linalg.inv(cov)
    inverse = np.linalg.inv(design[:, :2].T @ precision @ design[:, :2])
    mean = inverse @ design[:, :2].T @ precision @ y
    theta = np.random.default_rng(1).multivariate_normal(mean, inverse, size=(2, draws))
    known = {"family_sd": FAMILY_SD, "residual_sd": RESIDUAL_SD}
    return xr.Dataset(
        {
            "trend_intercept": (("chain", "draw"), theta[..., 0]),
            "growth_rate": (("chain", "draw"), theta[..., 1]),
            **{k: (("chain", "draw"), np.full((2, draws), v)) for k, v in known.items()},
        },
        coords={"chain": [0, 1], "draw": np.arange(draws)},
    )


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_score_and_information_give_generalised_least_squares(slope: float) -> None:
    # with known scales the likelihood of the slope is exactly normal, and one step finds its top
    data, y, design, cov = densities(slope)
    posterior = trend_posterior(y, design, cov, 500)
    family = density_likelihoods(posterior, SPEC, data)["family"]
    found = slope_derivatives(posterior, SPEC, data, family)
    assert found is not None
    u, i = found["score"].values, found["information"].values
    information = i.mean() - u.var(ddof=1)
    precision = np.linalg.inv(cov)
    inverse = np.linalg.inv(design.T @ precision @ design)
    assert information == pytest.approx(1 / inverse[2, 2], rel=0.1)
    exact = (inverse @ design.T @ precision @ y)[2]
    assert u.mean() / information == pytest.approx(exact, abs=0.25 * np.sqrt(inverse[2, 2]))


def test_derivatives_are_those_of_the_joint_models_likelihood() -> None:
    spec = load_spec("joint")
    data = small_observations(spec)
    joint = data.joint
    posterior = made_up_posterior(spec, joint)
    family = log_likelihoods(posterior, spec, joint)["family"]
    found = slope_derivatives(posterior, spec, data, family)
    assert found is not None
    x = data.llms.log_params - data.llms.log_params.mean()

    def total(slope: float) -> np.ndarray:
        llms = replace(joint.llms, log_params=joint.llms.log_params + slope * x)
        return family_log_likelihood(posterior, spec, replace(joint, llms=llms)).sum("family_obs")

    assert found["draw"].values.tolist() == posterior["draw"].values.tolist()
    np.testing.assert_allclose(found["score"], (total(0.01) - total(-0.01)) / 0.02, rtol=0.02)


def test_thinned_draws_keep_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    data, y, design, cov = densities(0.3)
    posterior = trend_posterior(y, design, cov, 60)
    family = density_likelihoods(posterior, SPEC, data)["family"]
    whole = slope_derivatives(posterior, SPEC, data, family)
    monkeypatch.setattr(size_slope, "_DRAWS", 30)
    thinned = slope_derivatives(posterior, SPEC, data, family)
    assert whole is not None and thinned is not None
    assert thinned["draw"].values.tolist() == list(range(0, 60, 4))
    xr.testing.assert_allclose(whole.sel(draw=thinned["draw"]), thinned)


@pytest.mark.parametrize("sizes", ["same", "unknown"])
def test_sizes_that_say_nothing_have_no_slope(sizes: str) -> None:
    data, y, design, cov = densities(0.0)
    log_params = np.full(len(y), 22.0 if sizes == "same" else np.nan)
    data = replace(data, llms=replace(data.llms, log_params=log_params))
    posterior = trend_posterior(y, design, cov, 2)
    assert slope_derivatives(posterior, SPEC, data, xr.DataArray(0.0)) is None
