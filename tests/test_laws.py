"""Formulas: one answer on NumPy, xarray and PyTensor; inverses, limits and extremes."""

import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdense import conversions, elementary, laws, score_maps

quick = settings(deadline=None, max_examples=60, derandomize=True)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


exponents = floats(0.05, 1.5)
coefs = floats(1e-3, 10.0)
log_ratios = floats(-12.0, 12.0)
floors = floats(0.0, 2.0)

# One point of each law: (loss as a function of log size, its inverse, lowest loss it reaches).
type Law = tuple[Callable[[Any], Any], Callable[[Any], Any], float]


@st.composite
def loss_laws(draw: st.DrawFn) -> Law:
    floor, a, alpha = draw(floors), draw(coefs), draw(exponents)
    b, beta, tokens = draw(coefs), draw(exponents), draw(log_ratios)
    kind = draw(st.sampled_from(["chinchilla", "kaplan", "overtraining", "params_only"]))
    if kind == "params_only":
        return (
            lambda n: laws.params_only_loss(n, floor, a, alpha),
            lambda loss: laws.params_only_log_params(loss, floor, a, alpha),
            floor,
        )
    if kind == "overtraining":
        return (
            lambda n: laws.overtraining_loss(n, tokens, floor, a, b, alpha),
            lambda loss: laws.overtraining_log_params(loss, tokens, floor, a, b, alpha),
            floor + b * math.exp(-alpha * tokens),
        )
    forward = {"chinchilla": laws.chinchilla_loss, "kaplan": laws.kaplan_loss}[kind]
    inverse = {"chinchilla": laws.chinchilla_log_params, "kaplan": laws.kaplan_log_params}[kind]
    return (
        lambda n: forward(n, tokens, floor, a, alpha, b, beta),
        lambda loss: inverse(loss, tokens, floor, a, alpha, b, beta),
        floor + b * math.exp(-beta * tokens),
    )


@quick
@given(loss_laws(), log_ratios)
def test_size_of_a_loss_has_that_loss(law: Law, log_size: float) -> None:
    forward, inverse, reachable = law
    loss = float(forward(log_size))
    if loss - reachable > 1e-9 * loss:  # else the size's share has drowned in rounding
        assert forward(inverse(loss)) == pytest.approx(loss, rel=1e-12)


@quick
@given(loss_laws(), log_ratios, floats(0.01, 5.0))
def test_loss_falls_with_size_and_its_inverse_with_loss(law: Law, size: float, step: float) -> None:
    forward, inverse, reachable = law
    assert forward(size + step) <= forward(size)
    losses = reachable + np.array([0.01, 0.1, 1.0])
    assert np.all(np.diff(inverse(losses)) < 0)


@quick
@given(loss_laws())
def test_a_loss_that_no_size_reaches_needs_an_infinite_one(law: Law) -> None:
    forward, inverse, reachable = law
    assert forward(1e4) == pytest.approx(reachable, rel=1e-9)
    below = np.array([-np.inf, -1.0, 0.0, reachable * (1 - 1e-9) - 1e-300])
    assert np.all(np.isposinf(inverse(below)))
    assert np.isneginf(inverse(np.inf))


def test_loss_laws_at_a_hand_computed_point() -> None:
    log_size, log_tokens = math.log(4.0), math.log(16.0)
    assert laws.chinchilla_loss(log_size, log_tokens, 0.1, 0.6, 0.5, 0.8, 0.25) == pytest.approx(
        0.1 + 0.6 / 2 + 0.8 / 2
    )
    # ((N_k/N)^(alpha/beta) + D_k/D)^beta with N_k = 9, D_k = 4, N = 4, D = 16, alpha = beta = 1/2
    a, b = 9.0**0.5, 4.0**0.5
    assert laws.kaplan_loss(log_size, log_tokens, 0.0, a, 0.5, b, 0.5) == pytest.approx(
        math.sqrt(9 / 4 + 4 / 16)
    )
    assert laws.params_only_loss(log_size, 0.1, 0.6, 0.5) == pytest.approx(0.4)


@quick
@given(log_ratios, log_ratios, coefs, coefs, floats(0.05, 1.0))
def test_overtraining_law_is_the_published_form(
    log_n: float, log_d: float, a: float, b: float, eta: float
) -> None:
    ratio, compute = math.exp(log_d - log_n), 6.0 * math.exp(log_n + log_d)
    published = 0.3 + (a * ratio**eta + b * ratio**-eta) * compute**-eta
    scale = 6.0**-eta
    ours = laws.overtraining_loss(log_n, log_d, 0.3, a * scale, b * scale, 2 * eta)
    assert ours == pytest.approx(published, rel=1e-9)


@quick
@given(log_ratios, log_ratios, coefs, coefs, exponents)
def test_kaplan_with_unit_token_exponent_is_chinchilla(
    log_n: float, log_d: float, a: float, b: float, alpha: float
) -> None:
    shape = (0.2, a, alpha, b, 1.0)
    assert laws.kaplan_loss(log_n, log_d, *shape) == pytest.approx(
        laws.chinchilla_loss(log_n, log_d, *shape), rel=1e-9
    )


@dataclass(frozen=True)
class Map:
    forward: Callable[..., Any]
    inverse: Callable[..., Any]
    logit: Callable[..., Any]
    shape: tuple[float, ...]

    @property
    def floor(self) -> float:
        return self.shape[0]

    @property
    def ceiling(self) -> float:
        return self.shape[1]


@st.composite
def maps_of_scores(draw: st.DrawFn) -> Map:
    floor, slope, midpoint = draw(floats(0.001, 0.4)), draw(floats(0.5, 60.0)), draw(floats(0, 2))
    ceiling = draw(floats(floor + 0.1, 0.999))
    kind = draw(st.sampled_from(["logistic", "exponential", "richards"]))
    forward, inverse, logit = (
        getattr(score_maps, f"{kind}_{what}") for what in ("score", "score_loss", "logit_score")
    )
    extra = {
        "logistic": (midpoint,),
        "exponential": (),
        "richards": (midpoint, draw(floats(0.2, 5))),
    }
    return Map(forward, inverse, logit, (floor, ceiling, slope, *extra[kind]))


@quick
@given(maps_of_scores(), floats(0.001, 0.999))
def test_loss_of_a_score_has_that_score(score_map: Map, position: float) -> None:
    score = score_map.floor + position * (score_map.ceiling - score_map.floor)
    loss = score_map.inverse(score, *score_map.shape)
    assert score_map.forward(loss, *score_map.shape) == pytest.approx(score, rel=1e-9)


@quick
@given(maps_of_scores(), floats(0.0, 3.0), floats(0.001, 1.0))
def test_score_falls_with_loss_between_its_bounds(map_: Map, loss: float, step: float) -> None:
    low, high = (map_.forward(value, *map_.shape) for value in (loss + step, loss))
    assert map_.floor <= low <= high <= map_.ceiling * (1 + 1e-15)


@quick
@given(maps_of_scores(), floats(0.0, 3.0))
def test_logit_score_is_the_logit_of_the_score(map_: Map, loss: float) -> None:
    direct = elementary.logit(map_.forward(loss, *map_.shape))
    assert map_.logit(loss, *map_.shape) == pytest.approx(direct, rel=1e-9, abs=1e-9)


@quick
@given(maps_of_scores())
def test_scores_outside_the_map_are_infinite_losses(map_: Map) -> None:
    above = np.array([map_.ceiling + 1e-9, 1.0, 1.5, np.inf])
    below = np.array([map_.floor, map_.floor / 2, 0.0, -np.inf])
    assert np.all(np.isneginf(map_.inverse(above, *map_.shape)))
    assert np.all(np.isposinf(map_.inverse(below, *map_.shape)))


def test_a_score_at_the_ceiling_is_a_loss_that_only_the_exponential_map_reaches() -> None:
    assert score_maps.logistic_score_loss(0.9, 0.2, 0.9, 5.0, 1.0) == -np.inf
    assert score_maps.richards_score_loss(0.9, 0.2, 0.9, 5.0, 1.0, 2.0) == -np.inf
    assert score_maps.exponential_score_loss(0.9, 0.2, 0.9, 5.0) == 0.0


@quick
@given(maps_of_scores())
def test_maps_are_quiet_and_finite_at_extreme_losses(map_: Map) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for loss in (0.0, 1e4) if len(map_.shape) == 3 else (-1e4, 0.0, 1e4):
            assert np.isfinite(map_.forward(loss, *map_.shape))
            assert np.isfinite(map_.logit(loss, *map_.shape))
        assert map_.forward(1e4, *map_.shape) == pytest.approx(map_.floor)


def test_richards_with_unit_asymmetry_is_logistic_and_its_midpoint_is_half_way() -> None:
    loss, shape = np.linspace(-1, 3, 9), (0.2, 0.9, 4.0, 1.0)
    np.testing.assert_allclose(
        score_maps.richards_score(loss, *shape, 1.0),
        score_maps.logistic_score(loss, *shape),
        rtol=1e-14,
    )
    for asymmetry in (0.1, 0.5, 3.0, 20.0):
        assert score_maps.richards_score(1.0, *shape, asymmetry) == pytest.approx(0.55)


def test_logit_score_keeps_its_digits_next_to_one_and_zero() -> None:
    # floor 0 and ceiling 1: the logit is the line -slope (loss - midpoint) itself
    for loss in (-50.0, -1.0, 0.3, 50.0):
        line = -10.0 * (loss - 0.3)
        assert score_maps.logistic_logit_score(loss, 0.0, 1.0, 10.0, 0.3) == pytest.approx(
            line, abs=1e-12
        )


def test_expit_is_accurate_in_both_tails_and_never_overflows() -> None:
    x = np.linspace(-700.0, 700.0, 2801)
    exact = np.array(
        [math.exp(v) / (1 + math.exp(v)) if v < 0 else 1 / (1 + math.exp(-v)) for v in x]
    )
    np.testing.assert_allclose(elementary.expit(x), exact, rtol=1e-15)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(elementary.expit(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])
        np.testing.assert_array_equal(elementary.log1p_exp(np.array([-1e4, 1e4])), [0.0, 1e4])


@quick
@given(floats(-30.0, 30.0))
def test_logit_and_expit_are_inverses(x: float) -> None:
    # above zero the information is in 1 - p, which a float of p close to 1 no longer holds
    below = -abs(x)
    assert elementary.logit(elementary.expit(below)) == pytest.approx(below, rel=1e-12, abs=1e-12)
    assert elementary.log1p_exp(x) == pytest.approx(-np.log(elementary.expit(-x)), rel=1e-12)


# --- one function for NumPy, xarray and PyTensor ---------------------------------------------

N, D, E, A, ALPHA, B, BETA = 1.3, -0.7, 0.1, 0.4, 0.33, 0.3, 0.28
LOSS, FLOOR, CEILING, SLOPE, MID, ASYM = 0.2, 0.25, 0.95, 20.0, 0.21, 1.7
FORMULAS: dict[str, Callable[..., Any]] = {
    name: value
    for module in (elementary, laws, score_maps, conversions)
    for name, value in vars(module).items()
    if inspect.isfunction(value) and value.__module__ == module.__name__
    if not name.startswith("_")
}
FORWARD: dict[str, tuple[float, ...]] = {
    "expit": (-0.4,),
    "log1p_exp": (-0.4,),
    "positive_part": (0.4,),
    "log_sum_exp": (0.4, -0.1),
    "logit": (0.3,),
    "chinchilla_loss": (N, D, E, A, ALPHA, B, BETA),
    "kaplan_loss": (N, D, E, A, ALPHA, B, BETA),
    "overtraining_loss": (N, D, E, A, B, ALPHA),
    "params_only_loss": (N, E, A, ALPHA),
    "logistic_score": (LOSS, FLOOR, CEILING, SLOPE, MID),
    "logistic_logit_score": (LOSS, FLOOR, CEILING, SLOPE, MID),
    "exponential_score": (LOSS, FLOOR, CEILING, 2.0),
    "exponential_logit_score": (LOSS, FLOOR, CEILING, 2.0),
    "richards_score": (LOSS, FLOOR, CEILING, SLOPE, MID, ASYM),
    "richards_logit_score": (LOSS, FLOOR, CEILING, SLOPE, MID, ASYM),
    "log_density": (22.0, 23.0),
    "density": (22.0, 23.0),
    "growth_factor_per_year": (2.4,),
    "orders_of_magnitude_per_year": (2.4,),
}


def test_every_forward_formula_is_in_the_table_above() -> None:
    inverse = {"doubling_time_days", "growth_rate_per_year"}
    public = {
        name for name in FORMULAS if not name.endswith(("_log_params", "_score_loss", "_minus_inf"))
    }
    assert public - inverse == set(FORWARD)


@pytest.mark.parametrize("name", FORWARD)
def test_numpy_and_xarray_agree_and_keep_dims(name: str) -> None:
    formula, arguments = FORMULAS[name], FORWARD[name]
    expected = formula(*arguments)
    arrays = [xr.DataArray([value, value], dims="llm") for value in arguments]
    result = formula(*arrays)
    assert result.dims == ("llm",)
    np.testing.assert_allclose(result, expected, rtol=1e-14)


@pytest.fixture(scope="module")
def compiled() -> Callable[..., list[np.ndarray]]:
    import pytensor
    import pytensor.tensor as pt
    from pytensor.compile.mode import Mode

    inputs = {name: [pt.dscalar() for _ in values] for name, values in FORWARD.items()}
    outputs = {name: FORMULAS[name](*inputs[name]) for name in FORWARD}
    gradients = {name: pytensor.grad(outputs[name], inputs[name]) for name in FORWARD}
    python = Mode(linker="py", optimizer=None)  # nothing to compile: a test of the graph

    def evaluate(name: str, *values: float) -> list[np.ndarray]:
        graph = [outputs[name], *gradients[name]]
        return pytensor.function(inputs[name], graph, mode=python)(*values)  # type: ignore[no-any-return]

    return evaluate


@pytest.mark.parametrize("name", FORWARD)
def test_pytensor_agrees_in_value_and_gradient(name: str, compiled: Callable[..., Any]) -> None:
    formula, arguments = FORMULAS[name], np.array(FORWARD[name])
    value, *gradient = compiled(name, *arguments)
    np.testing.assert_allclose(value, formula(*arguments), rtol=1e-13)
    for position, slope in enumerate(gradient):
        step = np.zeros(arguments.size)
        step[position] = 1e-6
        difference = (formula(*(arguments + step)) - formula(*(arguments - step))) / 2e-6
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("x", [-1e4, -800.0, -30.0, 0.0, 30.0, 1e4])
def test_pytensor_gradient_of_expit_is_right_at_the_kink_and_in_the_tails(
    x: float, compiled: Callable[..., Any]
) -> None:
    value, slope = compiled("expit", x)
    exact = math.exp(-abs(x)) / (1 + math.exp(-abs(x))) ** 2
    # far above zero the slope is a difference of numbers near 1: absolute, not relative
    np.testing.assert_allclose(slope, exact, rtol=1e-12, atol=1e-16 if x > 0 else 0.0)
    assert 0.0 <= value <= 1.0


# --- density and growth ----------------------------------------------------------------------


def test_density_of_an_unreachable_llm_is_infinite_not_nan() -> None:
    assert conversions.density(np.inf, 23.0) == np.inf
    assert conversions.density(-np.inf, 23.0) == 0.0
    assert conversions.density(math.log(2e9), math.log(1e9)) == pytest.approx(2.0)


@quick
@given(floats(-20.0, 20.0).filter(lambda g: abs(g) > 1e-6))
def test_doubling_time_and_growth_rate_are_inverses(growth: float) -> None:
    days = conversions.doubling_time_days(growth)
    assert conversions.growth_rate_per_year(days) == pytest.approx(growth)
    assert conversions.growth_factor_per_year(growth) == pytest.approx(2.0 ** (365.25 / days))


def test_doubling_time_through_zero_and_of_the_paper() -> None:
    assert conversions.doubling_time_days(0.0) == np.inf
    assert conversions.doubling_time_days(-1.0) < 0
    assert conversions.doubling_time_days(0.006529 * 365.25) == pytest.approx(106.16, abs=0.01)
    assert conversions.orders_of_magnitude_per_year(math.log(10.0)) == pytest.approx(1.0)


def test_doubling_time_keeps_the_dims_of_its_draws() -> None:
    growth = xr.DataArray(np.ones((2, 3)), dims=("chain", "draw"))
    assert conversions.doubling_time_days(growth).dims == ("chain", "draw")
