"""Marginal likelihoods of fits: every constant is there, in whichever coordinates."""

from dataclasses import replace

import numpy as np
import pytest
from exact_evidence import exact_log_ml
from test_coordinates import laid_out

from bayesdense.comparison.bridge import bridge
from bayesdense.comparison.evidence import (
    log_determinant,
    log_marginal_likelihood,
    vectorised,
)
from bayesdense.comparison.inverse import unconstrained
from bayesdense.dataset import load_dataset
from bayesdense.engine.runs import target_of
from bayesdense.engine.whiten import whiten_by_draws
from bayesdense.errors import BayesdenseError
from bayesdense.inference import fit
from bayesdense.observations import Observations, observe
from bayesdense.results import Fit
from bayesdense.spec import load_spec
from bayesdense.studies.agreement import thinned


def published(trend: str) -> tuple[Fit, Observations]:
    """A short fit of the paper's densities."""
    spec, dataset = (
        load_spec("trend_only").with_options(trend=trend),
        load_dataset("densing-published"),
    )
    return fit(spec, dataset, draws=500, tune=200, chains=4, seed=6), observe(spec, dataset)


@pytest.fixture(scope="module")
def exponential() -> tuple[Fit, Observations]:
    return published("exponential")


@pytest.mark.fit
def test_trend_only_is_what_quadrature_says(exponential: tuple[Fit, Observations]) -> None:
    fitted, data = exponential
    known = exact_log_ml(fitted.spec, data)
    found = log_marginal_likelihood(fitted, data, seed=1)
    print(f"bridge {found.log_ml:.3f} +- {found.se:.3f}, quadrature {known:.3f}")
    assert abs(found.log_ml - known) < 3 * found.se
    assert found.se < 0.1


@pytest.mark.fit
def test_the_reference_does_not_hang_on_its_grid(exponential: tuple[Fit, Observations]) -> None:
    fitted, data = exponential
    fine, coarse = (exact_log_ml(fitted.spec, data, n) for n in (101, 51))
    assert fine == pytest.approx(coarse, abs=2e-3)


@pytest.mark.fit
@pytest.mark.parametrize("trend", ["flat", "break_known@2024-04-01", "quadratic"])
def test_other_trends_have_the_evidence_that_quadrature_says(trend: str) -> None:
    fitted, data = published(trend)
    found = log_marginal_likelihood(fitted, data, seed=1)
    assert abs(found.log_ml - exact_log_ml(fitted.spec, data)) < 3 * found.se


@pytest.mark.fit
def test_coordinates_as_they_are_give_the_same(exponential: tuple[Fit, Observations]) -> None:
    """The whitening's bends and its determinant are accounted for."""
    fitted, data = exponential
    target = target_of(fitted.spec, data)
    z = unconstrained(target.coordinates, fitted.posterior)
    plain = bridge(z, vectorised(target.log_density()), seed=2, proposed=4)
    found = log_marginal_likelihood(fitted, data, seed=2)
    assert abs(plain.log_ml - found.log_ml) < 3 * np.hypot(plain.se, found.se)


@pytest.mark.fit
def test_sizes_as_parameters_give_the_same(marginal_fit: Fit, latent_fit: Fit) -> None:
    """Two implementations with other dimensions, other terms and one marginal likelihood."""
    dataset = thinned(load_dataset("densing"), 20, ("MMLU", "BBH"))
    found = [
        log_marginal_likelihood(one, observe(one.spec, dataset), seed=3)
        for one in (marginal_fit, latent_fit)
    ]
    print(found)
    difference = found[0].log_ml - found[1].log_ml
    assert abs(difference) < 3 * np.hypot(found[0].se, found[1].se)
    assert abs(difference) < 1.0


def test_the_determinant_is_that_of_the_linear_part() -> None:
    _, _, where = laid_out("densities")
    z = np.random.default_rng(5).normal(size=(2, 400, where.size)) * np.arange(1, where.size + 1)
    z[..., 0] += 2 * z[..., -1]
    whitening = whiten_by_draws(z, where.local)
    table = whitening.table
    jacobian = np.diag(table.bends[:, 5])
    jacobian[:, table.dense] += table.matrix
    known = np.linalg.slogdet(jacobian).logabsdet
    assert log_determinant(whitening) == pytest.approx(known, rel=1e-10)


def test_a_cut_fit_is_refused(exponential: tuple[Fit, Observations]) -> None:
    fitted, data = exponential
    cut = replace(fitted, spec=load_spec("joint").with_options(feedback="cut"))
    with pytest.raises(BayesdenseError, match="no posterior given all data"):
        log_marginal_likelihood(cut, data, seed=1)
