"""Densities at a value that may have no draws near it, and Bayes factors of nested hypotheses."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from arviz_base import from_dict
from arviz_stats import bayes_factor
from conjugate import regression
from exact_evidence import exact_log_ml
from scipy import stats

from bayesdense.comparison.importance import LogMean
from bayesdense.comparison.savage_dickey import NestedFactor, log_density_at, nested_factor
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.errors import SpecError
from bayesdense.inference import fit
from bayesdense.observations import observe
from bayesdense.spec import load_spec

SLOPE = np.array([1])


def far(sds: float, seed: int) -> tuple[float, float, np.ndarray, LogMean]:
    """Place, known log density, draws and estimate so many sds below the posterior mean."""
    model = regression(100)
    mean, precision, a, rate = model.posterior()
    sd = math.sqrt(np.linalg.inv(precision)[1, 1] * rate / a)
    place = mean[1] - sds * sd
    draws = model.draws(np.random.default_rng([seed, 3]), rho=0.5)
    found = log_density_at(draws, model.log_density, SLOPE, np.array([place]))
    return place, float(stats.t(2 * a, mean[1], sd).logpdf(place)), draws, found


@pytest.mark.parametrize("sds", [0.0, 2.0, 4.0, 5.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_density_of_a_conjugate_model(sds: float, seed: int) -> None:
    _, known, _, found = far(sds, seed)
    assert found.reliable
    assert abs(found.value - known) < 4 * found.se
    assert found.se < 0.15


def test_the_error_is_what_it_says() -> None:
    z = []
    for seed in range(20):
        _, known, _, found = far(3.0, seed)
        z.append((found.value - known) / found.se)
    assert 0.5 < np.sqrt(np.mean(np.square(z))) < 1.6


def test_where_the_terms_fail_their_tail_says_so() -> None:
    _, known, _, found = far(14.0, 1)
    assert abs(found.value - known) > 1
    assert not found.reliable


def test_a_kernel_density_is_not_enough() -> None:
    """Why ArviZ's `bayes_factor` is not used: at four sds there are no draws to smooth."""
    place, known, draws, found = far(4.0, 1)
    tree = from_dict({"posterior": {"x": draws[..., 1]}, "prior": {"x": np.zeros((1, 9)) + place}})
    tree["prior"] = tree["prior"].to_dataset() + np.linspace(-2, 2, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, densities = bayes_factor(
            tree, var_names="x", ref_vals=float(place), return_ref_vals=True
        )
    kernel = math.log(float(densities["x"].sel(density_type="posterior")))
    assert abs(kernel - known) > 0.5
    assert abs(found.value - known) < 0.1


def test_several_coordinates_at_once() -> None:
    rng = np.random.default_rng(4)
    root = np.tril(rng.normal(size=(4, 4)), -1) + np.eye(4)
    covariance = root @ root.T
    density = stats.multivariate_normal(np.zeros(4), covariance)
    draws = rng.normal(size=(4, 500, 4)) @ root.T
    at, value = np.array([0, 2]), np.array([3.0, -2.0])
    found = log_density_at(draws, density.logpdf, at, value)
    known = stats.multivariate_normal(np.zeros(2), covariance[np.ix_(at, at)]).logpdf(value)
    assert abs(found.value - known) < 4 * found.se
    assert found.se < 0.3


def few() -> Dataset:
    """Every fourth of the paper's densities: growth is told from none, but not by far."""
    dataset = load_dataset("densing-published")
    assert dataset.densities is not None
    return replace(dataset, densities=dataset.densities.iloc[::4].reset_index(drop=True))


def against(trend: str, variable: str, value: float) -> tuple[NestedFactor, float]:
    """Factor of a fit over the same with one parameter held, and what quadrature says of it."""
    dataset, spec = few(), load_spec("trend_only").with_options(trend=trend)
    data = observe(spec, dataset)
    prior = f"trend.priors.{variable}.kwargs"
    nested = spec.with_options(**{f"{prior}.mu": value, f"{prior}.sigma": 1e-6})
    found = nested_factor(fit(spec, dataset, draws=1500, seed=5), data, variable, value)
    known = exact_log_ml(spec, data) - exact_log_ml(nested, data)
    print(found, known)
    return found, known


@pytest.mark.fit
@pytest.mark.parametrize("value", [1.0, 2.5])
def test_growth_against_a_given_one(value: float) -> None:
    found, known = against("exponential", "growth_rate", value)
    assert found.pareto_k < 1  # else the terms have no mean
    assert abs(found.log_bayes_factor - known) < 4 * found.se
    assert found.se < 0.15


@pytest.mark.fit
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_change_of_growth_against_a_given_one(value: float) -> None:
    """Growth before and after the break are the coordinates: their difference is held."""
    found, known = against("break_known@2024-03-01", "growth_change", value)
    assert found.reliable
    assert abs(found.log_bayes_factor - known) < 4 * found.se
    assert found.se < 0.15


@pytest.mark.fit
def test_far_from_all_draws_the_factor_is_called_unreliable() -> None:
    dataset, spec = few(), load_spec("trend_only")
    data, fitted = observe(spec, dataset), fit(spec, dataset, draws=200, seed=5)
    assert not nested_factor(fitted, data, "growth_rate").reliable
    with pytest.raises(SpecError, match="no 'curvature', allowed: trend_intercept, growth_rate"):
        nested_factor(fitted, data, "curvature")
