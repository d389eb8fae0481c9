"""Marginal likelihoods at other widths of the trend's priors, by weights where these suffice."""

import numpy as np
import pytest
from exact_evidence import exact_log_ml

from bayesdense.comparison.importance import log_mean
from bayesdense.comparison.widths import WIDTHS, reweighted, widened
from bayesdense.dataset import load_dataset
from bayesdense.inference import fit
from bayesdense.observations import observe
from bayesdense.prior_entries import wider
from bayesdense.priors import prior_from_dict
from bayesdense.spec import load_spec


def test_only_the_trend_is_widened_and_not_its_level() -> None:
    spec = load_spec("joint")
    wide = widened(spec, 4.0)
    assert str(wide.prior("trend", "growth_rate")) == "Normal(mu=0, sigma=8)"
    assert wide.prior("trend", "trend_intercept") == spec.prior("trend", "trend_intercept")
    assert {n: c for n, c in wide.components.items() if n != "trend"} == {
        n: c for n, c in spec.components.items() if n != "trend"
    }
    assert widened(spec, 1.0) == spec
    flat = spec.with_options(trend="flat")
    assert widened(flat, 4.0) == flat


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"dist": "LogNormal", "kwargs": {"mu": 1, "sigma": 0.5}}, {"kwargs.sigma": 1.0}),
        ({"dist": "HalfNormal", "kwargs": {"sigma": 0.5}}, {"kwargs.sigma": 1.0}),
        ({"dist": "Gamma", "kwargs": {"alpha": 2, "beta": 0.5}}, {"kwargs.beta": 0.25}),
        (
            {"dist": "Beta", "kwargs": {"alpha": 2, "beta": 3}},
            {"kwargs.alpha": 1.25, "kwargs.beta": 1.5},
        ),
        ({"dist": "Beta", "kwargs": {"alpha": 0.5, "beta": 3}}, {}),
        (
            {
                "dist": "Normal",
                "kwargs": {
                    "mu": {"dist": "Normal", "kwargs": {"mu": 0, "sigma": 2}},
                    "sigma": {"dist": "LogNormal", "kwargs": {"mu": -1, "sigma": 0.5}},
                },
            },
            {"kwargs.mu.kwargs.sigma": 4.0, "kwargs.sigma.kwargs.mu": -1 + np.log(2)},
        ),
        (
            {
                "dist": "Normal",
                "kwargs": {"mu": 0, "sigma": {"dist": "HalfNormal", "kwargs": {"sigma": 1}}},
            },
            {"kwargs.sigma.kwargs.sigma": 2.0},
        ),
        (  # as of the staircase: what spreads its quarters is its form, not a width
            {
                "dist": "LogNormal",
                "kwargs": {"mu": {"dist": "Normal", "kwargs": {"mu": 0, "sigma": 1}}, "sigma": 1},
            },
            {"kwargs.mu.kwargs.sigma": 2.0},
        ),
    ],
)
def test_what_width_means(raw: dict[str, object], expected: dict[str, float]) -> None:
    found = dict(wider(prior_from_dict("here", raw), 2.0))
    assert found == pytest.approx(expected)


@pytest.mark.fit
def test_weights_give_what_quadrature_gives() -> None:
    dataset, spec = load_dataset("densing-published"), load_spec("trend_only")
    data = observe(spec, dataset)
    fitted = fit(spec, dataset, draws=1000, tune=200, seed=4)
    base = exact_log_ml(spec, data)
    trusted = 0
    for factor in WIDTHS:
        found = reweighted(fitted, data, factor)
        known = exact_log_ml(widened(spec, factor), data) - base
        print(factor, found, known)
        if found.reliable:
            trusted += 1
            assert abs(found.value - known) < 4 * found.se + 2e-3
    assert trusted >= 4
    assert reweighted(fitted, data, 1.0).value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.fit
def test_without_a_width_nothing_changes() -> None:
    dataset = load_dataset("densing-published")
    spec = load_spec("trend_only").with_options(trend="flat")
    fitted = fit(spec, dataset, draws=100, tune=100, seed=4)
    found = reweighted(fitted, observe(spec, dataset), 4.0)
    assert (found.value, found.se, found.reliable) == (0.0, 0.0, True)


def test_weights_that_fail_say_so() -> None:
    """Normal draws weighted towards a normal ten times as wide."""
    x = np.random.default_rng(1).normal(size=(4, 500))
    found = log_mean(0.5 * (1 - 0.01) * x**2 - np.log(10))
    assert abs(found.value) > 0.2
    assert not found.reliable
