"""Natural parameters back to sampling coordinates: there and back is where one was."""

import numpy as np
import pytest
from modelling import small_observations
from test_coordinates import CASES, laid_out

from bayesdense.comparison.inverse import (
    _half_normal,
    _untailed,
    apart,
    positions,
    together,
    unconstrained,
)
from bayesdense.engine.runs import as_dataset, coordinates_of
from bayesdense.errors import BayesdenseError
from bayesdense.spec import load_spec
from bayesdense.trends import TRENDS
from bayesdense.vector_math import half_normal_quantile

#: Trends that have no name without a date or a column.
AT = {"break_known": "break_known@2024-04-01", "covariate": "covariate@log_params"}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("spread", [0.3, 1.5])
def test_there_and_back(case: str, spread: float) -> None:
    spec, data, where = laid_out(case)
    rng = np.random.default_rng(11)
    z = where.start + rng.normal(0, spread, (2, 6, where.size))
    posterior = as_dataset(spec, data, where.natural(z))
    # tails of quantile maps and of the floor's share lose digits, as 1 - p does
    np.testing.assert_allclose(unconstrained(where, posterior), z, atol=2e-6)


@pytest.mark.parametrize("trend", TRENDS)
def test_there_and_back_under_every_trend(trend: str) -> None:
    spec = load_spec("joint").with_options(trend=AT.get(trend, trend))
    data = small_observations(spec)
    where = coordinates_of(spec, data)
    z = where.start + np.random.default_rng(14).normal(0, 0.5, (1, 4, where.size))
    posterior = as_dataset(spec, data, where.natural(z))
    np.testing.assert_allclose(unconstrained(where, posterior), z, atol=2e-6)


def test_order_of_dims_and_other_variables_do_not_matter() -> None:
    spec, data, where = laid_out("joint")
    z = where.start + np.random.default_rng(12).normal(0, 0.5, (2, 3, where.size))
    posterior = as_dataset(spec, data, where.natural(z))
    turned = posterior.transpose(..., "draw", "chain").assign(other=posterior["residual_sd"])
    np.testing.assert_allclose(unconstrained(where, turned), z, atol=2e-6)


def test_positions_are_those_of_the_coordinates() -> None:
    _, _, where = laid_out("joint")
    z = np.zeros((1, 2, where.size))
    z[:, 1, positions(where, "growth_rate")] = 1.0
    natural = where.natural(z)
    changed = [name for name, value in natural.items() if (value[0, 0] != value[0, 1]).any()]
    assert changed == ["growth_rate"]


@pytest.mark.parametrize("case", ["break_known", "break_free"])
@pytest.mark.parametrize("name", ["growth_rate", "growth_change"])
def test_set_apart_each_coordinate_of_a_trend_moves_one_parameter(case: str, name: str) -> None:
    _, _, where = laid_out(case)
    z = where.start + np.random.default_rng(13).normal(0, 0.5, (1, 2, where.size))
    z[:, 1] = z[:, 0]
    z[:, 1, positions(where, name)] += 1.0
    natural = where.natural(together(where, z))
    moved = [key for key, value in natural.items() if not np.allclose(value[0, 0], value[0, 1])]
    assert moved == [name]
    np.testing.assert_allclose(apart(where, together(where, z)), z, atol=1e-12)
    steps = np.eye(where.size) + z[0, 0]
    jacobian = apart(where, steps) - apart(where, z[0, 0])
    assert abs(np.linalg.det(jacobian)) == pytest.approx(1.0)


@pytest.mark.parametrize("value", [0.0, -0.1, np.nan])
def test_draws_outside_the_support_are_named(value: float) -> None:
    spec, data, where = laid_out("densities")
    z = np.zeros((1, 2, where.size))
    posterior = as_dataset(spec, data, where.natural(z)).copy(deep=True)
    posterior["residual_sd"][0, 1] = value
    with pytest.raises(BayesdenseError, match="residual_sd: some draws have no"):
        unconstrained(where, posterior)


def test_a_missing_parameter_is_named() -> None:
    spec, data, where = laid_out("densities")
    posterior = as_dataset(spec, data, where.natural(np.zeros((1, 2, where.size))))
    with pytest.raises(BayesdenseError, match="no growth_rate"):
        unconstrained(where, posterior.drop_vars("growth_rate"))


def test_half_normal_quantiles() -> None:
    z = np.linspace(-8, 8, 33)
    q = np.array([half_normal_quantile(value) for value in z])
    np.testing.assert_allclose(_half_normal(q), z, atol=1e-9)


@pytest.mark.parametrize(("scale", "tail"), [(0.3, 0.03), (1.0, 1.0), (0.1, 2.0)])
def test_bent_logits(scale: float, tail: float) -> None:
    z = np.concatenate([-np.geomspace(1e-9, 1e3, 25), [0.0], np.geomspace(1e-9, 1e3, 25)])
    slope = np.sqrt(scale**2 + (tail * z) ** 2)
    bent = 0.5 * (z * slope + scale**2 / tail * np.arcsinh(tail * z / scale))
    np.testing.assert_allclose(_untailed(bent, scale, np.full_like(z, tail)), z, rtol=1e-10)
