"""Bridge sampling against marginal likelihoods that are known."""

import math

import numpy as np
import pytest
from conjugate import regression
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayesdense.comparison.bridge import (
    LEAST_DRAWS,
    Bridge,
    Proposal,
    bridge,
    bridge_from,
    fitted,
    standard_normal,
)
from bayesdense.errors import BayesdenseError

HUNDRED = regression(100)


def estimate(seed: int, *, rho: float = 0.0, n: int = 1000, **how: object) -> Bridge:
    draws = HUNDRED.draws(np.random.default_rng([7, seed]), n=n, rho=rho)
    return bridge(draws, HUNDRED.log_density, seed=seed, **how)  # type: ignore[arg-type]


def test_the_analytic_value_is_that_of_quadrature() -> None:
    """The yardstick itself: one observation, integrated over b and log sigma^2."""
    one = regression(1)
    one = type(one)(one.x[:, :1], one.y, one.width[:1])
    grid = np.linspace(-12, 12, 801)
    b, log_var = (axis.ravel() for axis in np.meshgrid(3 * grid, grid, indexing="ij"))
    density = np.exp(one.log_density(np.column_stack([b, log_var])))
    step = grid[1] - grid[0]
    assert math.log(density.sum() * 3 * step**2) == pytest.approx(one.log_ml, abs=1e-4)


@pytest.mark.parametrize("how", [{}, {"df": 7.0}, {"warp": True}, {"proposed": 4}])
@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_log_ml_of_a_conjugate_model(rho: float, how: dict[str, object]) -> None:
    found = estimate(1, rho=rho, **how)
    assert found.log_ml == pytest.approx(HUNDRED.log_ml, abs=0.05)
    assert abs(found.log_ml - HUNDRED.log_ml) < 3 * found.se
    assert found.se == max(found.se_formula, found.se_splits)
    assert 0 < found.se < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.7, 0.9])
def test_the_error_is_what_it_says(rho: float) -> None:
    found = [estimate(seed, rho=rho) for seed in range(100)]
    z = np.array([(one.log_ml - HUNDRED.log_ml) / one.se for one in found])
    off = np.array([abs(one.log_ml - HUNDRED.log_ml) for one in found])
    print(
        f"rho {rho}: sd of z {z.std(ddof=1):.3f}, largest |z| {abs(z).max():.2f}, "
        f"largest error {off.max():.4f} nat"
    )
    assert (abs(z) < 3).sum() >= 95
    assert 0.8 < z.std(ddof=1) < 1.25
    assert off.max() < 0.05


def test_the_error_is_what_it_says_of_twenty() -> None:
    """The quick part: 20 repeats of correlated draws."""
    z = [
        (one.log_ml - HUNDRED.log_ml) / one.se for one in (estimate(s, rho=0.7) for s in range(20))
    ]
    assert np.max(np.abs(z)) < 3.5
    assert 0.55 < np.sqrt(np.mean(np.square(z))) < 1.5  # chi-square of 20, 99.9 % within


@settings(max_examples=25)
@given(
    dim=st.integers(1, 6),
    shift=st.floats(-1e3, 1e3),
    scale=st.floats(1e-3, 1e3),
    constant=st.floats(-1e4, 1e4),
    seed=st.integers(0, 1000),
)
def test_normal_densities_in_any_units(
    dim: int, shift: float, scale: float, constant: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    root = scale * (np.tril(rng.normal(size=(dim, dim)), -1) + np.diag(rng.uniform(0.5, 2, dim)))
    target = Proposal(np.full(dim, shift), root)
    draws = target.draw(rng, 800).reshape(4, 200, dim)
    found = bridge(draws, lambda x: target.log_density(x) + constant, seed=seed)
    assert abs(found.log_ml - constant) < max(5 * found.se, 1e-6)
    assert found.se < 0.1


@settings(max_examples=15)
@given(constant=st.floats(-1e5, 1e5), seed=st.integers(0, 100))
def test_a_constant_factor_is_added(constant: float, seed: int) -> None:
    draws = HUNDRED.draws(np.random.default_rng(seed), n=100)
    plain = bridge(draws, HUNDRED.log_density, seed=seed)
    more = bridge(draws, lambda x: HUNDRED.log_density(x) + constant, seed=seed)
    assert more.log_ml - plain.log_ml == pytest.approx(constant, abs=1e-6)
    assert more.se == pytest.approx(plain.se, rel=1e-4)


@settings(max_examples=15)
@given(seed=st.integers(0, 100), factor=st.floats(0.1, 10), turn=st.floats(0, 3.1))
def test_other_coordinates_are_the_same_integral(seed: int, factor: float, turn: float) -> None:
    """A linear map, whose Jacobian enters the density."""
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = factor * rotation @ np.diag([1.0, 3.0])
    draws = np.random.default_rng(seed).gamma(4.0, size=(4, 150, 2))
    draws = np.log(draws)

    def log_density(x: np.ndarray) -> np.ndarray:
        return np.asarray((4 * x - np.exp(x)).sum(axis=1))

    inverse, log_det = np.linalg.inv(matrix), math.log(abs(np.linalg.det(matrix)))
    plain = bridge(draws, log_density, seed=seed)
    other = bridge(draws @ matrix.T, lambda x: log_density(x @ inverse.T) - log_det, seed=seed)
    known = 2 * math.log(6)  # Gamma(4) = 6
    for found in (plain, other):
        assert abs(found.log_ml - known) < 5 * found.se


def test_warping_pays_where_the_density_is_skewed() -> None:
    """Log-gamma coordinates of small shape, 8 of them."""
    draws = np.log(np.random.default_rng(3).gamma(0.7, size=(4, 1000, 8)))

    def log_density(x: np.ndarray) -> np.ndarray:
        return np.asarray((0.7 * x - np.exp(x)).sum(axis=1))

    known = 8 * math.lgamma(0.7)
    plain, warped = (bridge(draws, log_density, seed=1, warp=warp) for warp in (False, True))
    assert warped.se_formula < 0.8 * plain.se_formula
    assert abs(plain.log_ml - known) < 4 * plain.se
    assert abs(warped.log_ml - known) < 4 * warped.se


def test_density_that_is_zero_somewhere() -> None:
    draws = np.random.default_rng(4).exponential(size=(4, 500, 1))

    def log_density(x: np.ndarray) -> np.ndarray:
        return np.where(x[:, 0] > 0, -x[:, 0], -np.inf)

    found = bridge(draws, log_density, seed=2)
    assert found.n_outside > 100
    assert abs(found.log_ml) < 4 * found.se
    broken = bridge(draws, lambda x: np.where(x[:, 0] > 0, -x[:, 0], np.nan), seed=2)
    assert broken == found


def test_student_t_density_is_scipys() -> None:
    rng = np.random.default_rng(5)
    points = rng.normal(size=(7, 3))
    root = np.tril(rng.normal(size=(3, 3)), -1) + np.diag([1.0, 2.0, 0.5])
    for df in (3.0, math.inf):
        found = Proposal(np.ones(3), root, df).log_density(points)
        known = stats.multivariate_t(np.ones(3), root @ root.T, df=df).logpdf(points)
        np.testing.assert_allclose(found, known, rtol=1e-10)


def test_student_t_draws_have_the_covariance_of_the_points() -> None:
    rng = np.random.default_rng(6)
    points = rng.normal(size=(20_000, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    drawn = fitted(points, df=8.0).draw(rng, 40_000)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(points.T), atol=0.06)


def test_a_proposal_of_ones_own() -> None:
    draws = np.random.default_rng(8).normal(size=(2, 300, 3))
    found = bridge_from(standard_normal(3), draws, standard_normal(3).log_density, seed=1)
    assert found.log_ml == pytest.approx(0.0, abs=1e-9)
    assert found.se == pytest.approx(0.0, abs=1e-9)


def test_draws_of_another_density_are_refused() -> None:
    draws = np.random.default_rng(9).normal(size=(2, 300, 1))
    with pytest.raises(BayesdenseError, match="are they draws of it"):
        bridge(draws, lambda x: np.where(x[:, 0] > 0, 0.0, -np.inf), seed=1)


def test_too_few_draws_and_constant_ones_are_refused() -> None:
    short = np.random.default_rng(9).normal(size=(2, LEAST_DRAWS - 1, 1))
    with pytest.raises(BayesdenseError, match="draws a chain or more"):
        bridge(short, lambda x: -(x**2).sum(axis=1), seed=1)
    with pytest.raises(BayesdenseError, match="constant"):
        bridge(np.ones((2, 100, 1)), lambda x: -(x**2).sum(axis=1), seed=1)


def test_disjoint_densities_do_not_converge_to_a_number() -> None:
    """A proposal far from all draws: an error, or an error bar that says so."""
    draws = np.random.default_rng(10).normal(60.0, 1.0, size=(2, 200, 1))
    try:
        found = bridge_from(standard_normal(1), draws, lambda x: -0.5 * (x[:, 0] - 60) ** 2, seed=1)
    except BayesdenseError as error:
        assert "hardly overlap" in str(error)
    else:
        assert found.se > 1
