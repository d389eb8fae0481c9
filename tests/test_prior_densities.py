"""Log densities of priors at draws, against PyMC's own and against SciPy."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from pymc.model.transform.conditioning import remove_value_transforms
from pytensor.compile.mode import get_mode
from scipy import stats

from bayesdense.build import build_from_observations
from bayesdense.dataset import load_dataset
from bayesdense.observations import Observations, observe
from bayesdense.prior_densities import log_prior
from bayesdense.prior_draws import draw_priors, used_priors
from bayesdense.spec import ModelSpec, load_spec

#: Plain Python: these graphs are too small to be worth a compiler.
PLAIN = get_mode("FAST_COMPILE").excluding("fusion", "elemwise_fusion")
CASES = [
    ("joint", "densing", {}),
    ("joint", "densing", {"residual": "student_t", "scale_trend": True, "trend": "flat"}),
    ("joint", "densing", {"loss_law": "additive", "residual": "composed", "family": "none"}),
    ("joint", "olmo-ladder", {"params": "total"}),
    ("trend_only", "densing-published", {"residual": "student_t", "scale_trend": True}),
]


def problem(
    model: str, dataset: str, options: dict[str, object]
) -> tuple[ModelSpec, Observations, xr.Dataset]:
    spec = load_spec(model).with_options(**options)
    data = observe(spec, load_dataset(dataset))
    return spec, data, draw_priors(spec, data, np.random.default_rng(11), 4)


@pytest.mark.parametrize(("model", "dataset", "options"), CASES)
def test_every_top_level_prior_is_that_of_the_pymc_model(
    model: str, dataset: str, options: dict[str, object]
) -> None:
    spec, data, draws = problem(model, dataset, options)
    ours = log_prior(spec, data, draws)
    built = remove_value_transforms(build_from_observations(spec, data))
    names = list(ours)
    inputs = [built.rvs_to_values[built[name]] for name in names]
    densities = built.logp(vars=[built[name] for name in names], sum=False)
    theirs = pm.compile(inputs, densities, mode=PLAIN, on_unused_input="ignore")
    for draw in range(draws.sizes["draw"]):
        found = theirs(*(draws[name].values[0, draw] for name in names))
        for name, density in zip(names, found, strict=True):
            np.testing.assert_allclose(
                ours[name].values[0, draw], density, rtol=1e-9, atol=1e-9, err_msg=name
            )


@pytest.mark.parametrize(("model", "dataset", "options"), CASES)
def test_the_entries_are_the_models_variables_without_parents(
    model: str, dataset: str, options: dict[str, object]
) -> None:
    spec, data, draws = problem(model, dataset, options)
    ours = log_prior(spec, data, draws)
    built = build_from_observations(spec, data)
    graph = pm.model_graph.ModelGraph(built)
    roots = {rv.name for rv in built.free_RVs if not graph.get_parent_names(rv)}
    assert set(ours) == roots
    assert all(ours[name].dims == draws[name].dims for name in ours)


def test_hierarchical_terms_are_model_and_not_prior() -> None:
    spec, data, draws = problem(*CASES[0])
    ours = log_prior(spec, data, draws)
    assert {"param_exponent_mean", "param_exponent_sd"} <= set(ours)
    assert not {"param_exponent", "family_effect", "log_effective_params"} & set(ours)
    assert sum(1 for _ in used_priors(spec, data)) < len(ours), "two entries of a hierarchical one"


def test_scales_and_data_vectors_by_scipy() -> None:
    spec, data, draws = problem(*CASES[0])
    ours = log_prior(spec, data, draws)
    marks = data.joint.benchmarks
    guess = marks.chance + 0.02 * (1 - marks.chance)
    expected = {
        "loss_floor": stats.halfnorm(scale=0.4 * marks.loss_centre),
        "score_floor": stats.beta(50 * guess, 50 * (1 - guess)),
        "score_ceiling": stats.beta(30, 2),
        "growth_rate": stats.norm(0, 2),
        "param_coef": stats.lognorm(0.7, scale=marks.loss_centre * np.exp(-1.1)),
    }
    for name, distribution in expected.items():
        np.testing.assert_allclose(ours[name], distribution.logpdf(draws[name]), err_msg=name)


def test_outside_of_its_support_a_prior_says_minus_infinity() -> None:
    spec, data, draws = problem(*CASES[0])
    draws["score_ceiling"] = draws["score_ceiling"] + 1
    assert np.isneginf(log_prior(spec, data, draws)["score_ceiling"]).all()
