"""Draws of the priors: each from its own distribution given what it hangs on, and as PyMC draws."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayesdense.dataset import load_dataset
from bayesdense.errors import SpecError
from bayesdense.items import logit_of_score
from bayesdense.observations import Observations, observe
from bayesdense.prior_draws import draw_priors, draw_residuals, used_priors
from bayesdense.priors import Prior, hyper_name
from bayesdense.residuals import LOG_DENSITY, NUMPY
from bayesdense.spec import ModelSpec, load_spec

N = 1500
#: Of some hundred tests with fixed seeds none is this unlikely, unless a distribution is wrong.
LEAST_P = 1e-5
EFFECTS = {"run_effect", "log_effective_params", "log_density"}


def seen(dataset: str = "densing", **options: object) -> tuple[ModelSpec, Observations]:
    model = "trend_only" if dataset.startswith("densing-p") else "joint"
    spec = load_spec(model).with_options(**options)
    return spec, observe(spec, load_dataset(dataset))


def cdf(prior: Prior, value: np.ndarray, kwargs: dict[str, np.ndarray]) -> np.ndarray:
    """Probability below a value, by SciPy."""
    mu, sigma = kwargs.get("mu"), kwargs.get("sigma")
    match prior.dist:
        case "Normal":
            return stats.norm.cdf(value, mu, sigma)
        case "LogNormal":
            return stats.lognorm.cdf(value, sigma, scale=np.exp(mu))
        case "HalfNormal":
            return stats.halfnorm.cdf(value, scale=sigma)
        case "Beta":
            return stats.beta.cdf(value, kwargs["alpha"], kwargs["beta"])
        case _:
            return stats.gamma.cdf(value, kwargs["alpha"], scale=1 / kwargs["beta"])


def ranks(draws: xr.Dataset, name: str, prior: Prior, scales: dict) -> dict[str, np.ndarray]:
    """Conditional ranks of a variable and of those of the priors within its prior: all uniform."""
    out, kwargs = {}, {}
    for key, value in prior.kwargs.items():
        if isinstance(value, Prior):
            hyper = hyper_name(name, key)
            out |= ranks(draws, hyper, value, scales)
            found = draws[hyper].values[0]
            kwargs[key] = found[:, None] if prior.dims and found.ndim == 1 else found
        else:
            kwargs[key] = scales[value] if isinstance(value, str) else value
    unit = scales[prior.scale] if prior.scale else 1.0
    return out | {name: cdf(prior, draws[name].values[0] / unit, kwargs)}


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        ("densing", {}),
        ("densing", {"residual": "composed", "scale_trend": True, "loss_law": "additive"}),
        ("olmo-ladder", {"residual": "student_t"}),
        ("densing-published", {"residual": "student_t", "family": "none"}),
    ],
)
def test_every_variable_has_its_distribution_given_its_parents(dataset, options):
    spec, data = seen(dataset, **options)
    draws = draw_priors(spec, data, np.random.default_rng(5), N)
    scales = data.benchmarks.data_scales() if data.benchmarks else {}
    found = {}
    for name, prior in used_priors(spec, data):
        found |= ranks(draws, name, prior, scales)
    assert set(found) == set(draws.data_vars) - EFFECTS - {"family_effect"}
    for name, values in found.items():
        for column in values.reshape(N, -1).T:
            assert stats.kstest(column, "uniform").pvalue > LEAST_P, name


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        ("densing", {}),
        ("densing", {"implementation": "latent", "score_noise": "cell", "trend": "flat"}),
        ("densing", {"loss_noise": "independent", "scale_trend": True}),
        ("olmo-ladder", {"params": "total", "residual": "composed"}),
        ("densing-published", {}),
        ("densing-published", {"family": "none", "residual": "student_t"}),
    ],
)
def test_the_variables_are_those_of_the_model(dataset, options):
    from bayesdense.build import build_from_observations

    spec, data = seen(dataset, **options)
    model = build_from_observations(spec, data)
    drawn = draw_priors(spec, data, np.random.default_rng(0), 2)
    free = {rv.name for rv in model.free_RVs}
    assert free - EFFECTS == set(drawn.data_vars) - EFFECTS
    for rv in model.free_RVs:
        assert drawn[rv.name].shape[2:] == tuple(rv.shape.eval()), rv.name


def calibration(theirs, ours, data, *, counted):
    """Points read as counts, or the others, as logits: drawn by PyMC and by the simulator."""
    points = data.calibration
    used = points.is_count[points.is_fit]
    right = ours["loss_score"].values.reshape(3000, -1)[:, used == counted]
    if counted:
        n_items = points.n_items[points.is_fit][used]
        theirs = logit_of_score(theirs / n_items, n_items)
    return theirs, right


@pytest.mark.fit
@pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")
def test_pymc_draws_the_same():
    """Parameters, effects, sizes and data of the plain implementation, marginally, by KS."""
    import pymc as pm

    from bayesdense.build import build_from_observations
    from bayesdense.predictive import prior_predictive

    spec, data = seen("densing", implementation="latent")
    model = build_from_observations(spec, data)
    names = [rv.name for rv in (*model.free_RVs, *model.observed_RVs)]
    with model:
        theirs = pm.sample_prior_predictive(800, var_names=names, random_seed=3)
    ours = prior_predictive(spec, data, np.random.default_rng(4), 3000)
    rng = np.random.default_rng(0)
    for name in names:
        group = "prior" if name in theirs["prior"] else "prior_predictive"
        left = theirs[group][name].values.reshape(800, -1)
        if name.startswith("loss_score"):
            left, right = calibration(
                left, ours.prior_predictive, data, counted=name != "loss_score"
            )
        else:
            right = getattr(ours, group)[name].values.reshape(3000, -1)
        assert left.shape[1] == right.shape[1], name
        for column in rng.permutation(left.shape[1])[:6]:
            test = stats.ks_2samp(left[:, column], right[:, column])
            assert test.pvalue > LEAST_P, (name, column)


def test_sizes_follow_trend_family_and_residual():
    spec, data = seen("densing", scale_trend=True)
    draws = draw_priors(spec, data, np.random.default_rng(2), 60).isel(chain=0)
    years, family = data.llms.years, data.llms.family_idx
    p = {name: draws[name].values for name in draws.data_vars}
    location = p["trend_intercept"][:, None] + p["growth_rate"][:, None] * years
    location += p["family_effect"][:, family]
    sd = p["residual_sd"][:, None] * np.exp(p["residual_log_sd_slope"][:, None] * years)
    z = (p["log_effective_params"] - data.llms.log_params - location) / sd
    assert stats.kstest(z.ravel(), "norm").pvalue > LEAST_P
    effect = p["family_effect"] / p["family_sd"][:, None]
    assert stats.kstest(effect.ravel(), "norm").pvalue > LEAST_P
    np.testing.assert_allclose(p["log_density"], p["log_effective_params"] - data.llms.log_params)


@pytest.mark.parametrize(
    ("kind", "sd", "shape"),
    [("symmetric", 0.7, None), ("student_t", 0.7, 3.0), ("composed", 0.4, 0.9)],
)
def test_residuals_are_drawn_from_the_density_of_the_model(kind, sd, shape):
    drawn = draw_residuals(kind, np.array(sd), shape, (20_000,), np.random.default_rng(8))
    grid = np.linspace(-40.0, 40.0, 80_001)
    density = np.exp(LOG_DENSITY[kind](grid, sd, shape, NUMPY))
    below = np.cumsum(density) * (grid[1] - grid[0])
    assert stats.kstest(drawn, lambda x: np.interp(x, grid, below)).pvalue > LEAST_P


def test_what_is_fixed_acts_on_what_hangs_on_it():
    spec, data = seen()
    fixed = {"growth_rate": 2.0, "family_sd": 1e-9, "param_exponent_mean": 5.0}
    draws = draw_priors(spec, data, np.random.default_rng(1), 50, fixed=fixed)
    assert (draws["growth_rate"] == 2.0).all()
    assert abs(draws["family_effect"]).max() < 1e-7
    assert np.log(draws["param_exponent"]).mean() == pytest.approx(5.0, abs=0.2)


def test_fixed_values_with_labels_are_put_in_order():
    spec, data = seen()
    names = list(data.benchmarks.names)
    ceiling = xr.DataArray(np.linspace(0.8, 0.9, 5), dims="benchmark", coords={"benchmark": names})
    drawn = draw_priors(
        spec, data, np.random.default_rng(1), 2, fixed={"score_ceiling": ceiling[::-1]}
    )
    xr.testing.assert_allclose(drawn["score_ceiling"].isel(chain=0, draw=1, drop=True), ceiling)


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"grwth_rate": 2.0}, r"truth 'grwth_rate'.*did you mean 'growth_rate'"),
        ({"cell_sd": 0.3}, r"truth 'cell_sd': no variable of this model on this dataset"),
        ({"score_ceiling": [0.9, 0.8]}, r"shape \(2,\), allowed: \(5,\), one per benchmark"),
    ],
)
def test_what_cannot_be_fixed_is_refused(fixed, message):
    spec, data = seen()
    with pytest.raises(SpecError, match=message):
        draw_priors(spec, data, np.random.default_rng(1), 2, fixed=fixed)


def test_units_and_labels_are_those_of_a_posterior():
    spec, data = seen()
    draws = draw_priors(spec, data, np.random.default_rng(1), 2)
    assert draws["growth_rate"].attrs["units"] == "1/year"
    assert tuple(draws["llm"].values) == data.llms.names
    assert draws["run_effect"].dims == ("chain", "draw", "run")
