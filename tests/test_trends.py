"""Trends as formulas: slopes, limits, matrices, what they refuse, and a user's own."""

import datetime as dt
import math
from collections.abc import Iterator, Mapping

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from bayesdense.errors import SpecError
from bayesdense.spec import load_spec
from bayesdense.trends import TRENDS, Trend, TrendData, TrendOn, add_trend, known, trend_named
from bayesdense.trends.base import clamp, draws_as_columns, element, labelled
from bayesdense.trends.breaks import allowed_dates
from bayesdense.trends.grids import break_dates, quarters

ORIGIN = "2024-04-01"
YEARS = np.array([-1.1, -1.1, -0.7, -0.2, 0.1, 0.4, 0.8, 1.2])
FAMILY = np.array([0, 0, 1, 2, 3, 1, 4, 5])
DATA = TrendData(
    origin=ORIGIN,
    years=YEARS,
    family_idx=FAMILY,
    groups=("dense", "sparse"),
    weights=((FAMILY != 4).astype(float), (FAMILY == 4).astype(float)),
    covariate=np.linspace(-1, 1, len(YEARS)),
)
ALL = pytest.mark.parametrize("kind", [trend.kind for trend in TRENDS.values()])


def on(kind: str, data: TrendData = DATA) -> TrendOn:
    return TrendOn(trend_named(kind), data)


def some_theta(whole: TrendOn, rng: np.random.Generator, n: int = 1) -> dict[str, np.ndarray]:
    """Draws of parameters that a trend takes, rows of columns."""
    trend = whole.trend
    theta = {}
    for name in trend.parameters:
        size = (n, len(whole.data.labels(trend.dims[name]))) if name in trend.dims else (n,)
        drawn = rng.normal(0, 1, size)
        theta[name] = np.exp(0.5 * drawn) if name in trend.positive else drawn
    if trend.mixture is not None:
        theta[trend.mixture.name] = rng.choice(trend.mixture.values(whole.data), n)
    return draws_as_columns(theta)


# ---------------------------------------------------------------- formulas


@ALL
@given(
    seed=st.integers(0, 10_000),
    t=st.lists(st.floats(-3, 2.2), min_size=1, max_size=5),
    width=st.floats(0.6, 5.0),
)
def test_growth_is_the_slope_of_eta(kind: str, seed: int, t: list[float], width: float) -> None:
    rng = np.random.default_rng(seed)
    years = width * (YEARS - YEARS.min()) / (YEARS.max() - YEARS.min()) - 0.45 * width
    data = TrendData(ORIGIN, years, FAMILY, DATA.groups, DATA.weights, DATA.covariate).at_dates()
    whole, h = on(kind, data), 1e-5
    theta = some_theta(whole, rng)
    if whole.trend.singular is not None:  # a slope is taken where there is one
        t = [value for value in t if value < float(whole.singular(theta)[0, 0]) - 0.1] or [0.0]
    times = np.array(t)
    slope = (whole.eta(times + h, theta) - whole.eta(times - h, theta)) / (2 * h)
    # where the slope jumps (breaks, quarters), the difference is the mean of both sides, nearly
    near = 4 * h
    jumps = np.abs(whole.growth_rate(times + near, theta) - whole.growth_rate(times - near, theta))
    found = whole.growth_rate(times, theta) + 0.0 * times
    np.testing.assert_array_less(np.abs(found - slope), jumps + 1e-4 * (1 + np.abs(found)))


@ALL
def test_trends_take_numpy_xarray_and_pytensor_alike(kind: str) -> None:
    whole, rng = on(kind), np.random.default_rng(3)
    theta = {name: value[0] for name, value in some_theta(whole, rng).items()}
    rows = {name: value[None, :] for name, value in theta.items()}
    expected = np.broadcast_to(whole.eta(YEARS, rows), (1, len(YEARS)))[0]
    growth = np.broadcast_to(whole.growth_rate(YEARS, rows), (1, len(YEARS)))[0]

    dims = {name: whole.trend.dims.get(name) for name in theta}
    arrays = xr.Dataset({n: ((dims[n],), v) if dims[n] else v[0] for n, v in theta.items()})
    along = whole.along(lambda values: xr.DataArray(values, dims="llm"))
    named = along.eta(xr.DataArray(YEARS, dims="llm"), arrays, labelled)
    np.testing.assert_allclose(named, expected, rtol=1e-12, atol=1e-12)

    symbols = {n: pt.dvector(n) if dims[n] else pt.dscalar(n) for n in theta}
    inputs = list(symbols.values())
    values = [theta[n] if dims[n] else float(theta[n][0]) for n in theta]
    outputs = [
        curve(YEARS, symbols, element) + pt.zeros(len(YEARS))
        for curve in (whole.eta, whole.growth_rate)
    ]
    compiled = pytensor.function(inputs, outputs, mode="FAST_COMPILE", on_unused_input="ignore")
    for got, want in zip(compiled(*values), (expected, growth), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@ALL
def test_gradients_are_finite_where_samplers_start(kind: str) -> None:
    whole = on(kind)
    sizes = {name: len(whole.data.labels(dim)) for name, dim in whole.trend.dims.items()}
    symbols = {n: pt.dvector(n) if n in sizes else pt.dscalar(n) for n in whole.trend.drawn}
    total = whole.eta(YEARS, symbols, element).sum()
    free = [symbols[name] for name in whole.trend.parameters]
    slopes = pytensor.function(
        list(symbols.values()), pt.grad(total, free, disconnected_inputs="ignore"),
        mode="FAST_COMPILE", on_unused_input="ignore",
    )  # fmt: skip
    starts = [
        np.full(sizes[n], float(n in whole.trend.positive)) if n in sizes
        else float(n in whole.trend.positive)
        for n in symbols
    ]  # fmt: skip
    assert all(np.isfinite(slope).all() for slope in slopes(*starts))


@pytest.mark.parametrize("kind", [t.kind for t in TRENDS.values() if t.is_linear])
def test_basis_of_a_linear_trend_times_its_parameters_is_eta(kind: str) -> None:
    whole, rng = on(kind), np.random.default_rng(8)
    for growth, curve in ((False, whole.eta), (True, whole.growth_rate)):
        for _ in range(5):
            theta = some_theta(whole, rng)
            value = None if whole.trend.mixture is None else theta[whole.trend.mixture.name].item()
            basis = whole.basis(YEARS, growth=growth, value=value)
            assert basis.shape == (len(YEARS), len(whole.entries)) and basis.dtype == float
            flat = np.concatenate([theta[name][0] for name in whole.trend.parameters])
            expected = np.broadcast_to(curve(YEARS, theta), (1, len(YEARS)))[0]
            np.testing.assert_allclose(basis @ flat, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [t.kind for t in TRENDS.values() if not t.is_linear])
def test_a_trend_that_is_not_said_to_be_linear_is_not(kind: str) -> None:
    whole, rng = on(kind), np.random.default_rng(8)
    one, other = (some_theta(whole, rng) for _ in range(2))
    both = {name: one[name] + other[name] for name in one}
    together = whole.eta(YEARS, one) + whole.eta(YEARS, other)
    assert not np.allclose(whole.eta(YEARS, both), together, atol=1e-3)


# ---------------------------------------------------------------- what each says


def value(kind: str, t: float, growth: bool = False, **theta: float) -> float:
    whole = on(kind, DATA.at_dates())
    numbers = {"trend_intercept": 0.3, **theta}
    return float((whole.growth_rate if growth else whole.eta)(np.array(t), numbers))


def test_special_cases_of_trends_are_the_exponential() -> None:
    for t in (-1.5, -1.0, 0.0, 0.5, 1.2, 3.0):
        expected = 0.3 + 2.0 * t
        for kind, theta in (
            ("break_known@2024-04-01", {"growth_change": 0.0}),
            ("break_free", {"growth_change": 0.0, "break_year": 0.2}),
            ("quadratic", {"growth_slope": 0.0}),
            ("hyperbolic", {"singular_gap": 1e9}),
            ("gompertz", {"growth_decay": 0.0}),
            ("power", {"growth_power": 1.0}),
            ("logistic", {"saturation_lag": 1e3}),
            ("covariate", {"covariate_slope": 0.7}),
        ):
            found = value(kind, t, growth_rate=2.0, **theta)
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), kind


def test_a_break_changes_growth_by_its_parameter_at_its_date() -> None:
    theta = {"growth_rate": 1.5, "growth_change": 1.0}
    assert value("break_known@2024-10-01", 0.49, growth=True, **theta) == 1.0
    assert value("break_known@2024-10-01", 0.51, growth=True, **theta) == 2.0
    assert value("break_free", -0.4, growth=True, break_year=-0.5, **theta) == 2.0
    # no jump, and the intercept is the level at the origin wherever the break is
    for year in (-0.6, 0.6):
        assert value("break_free", 0.0, break_year=year, **theta) == pytest.approx(0.3)
        ends = [value("break_free", year + s * 1e-9, break_year=year, **theta) for s in (-1, 1)]
        assert ends[0] == pytest.approx(ends[1], abs=1e-8)


def test_limits_outside_the_data() -> None:
    # logistic and Gompertz level off, a hyperbola does not
    late = value("logistic", 60.0, growth_rate=2.0, saturation_lag=0.5)
    assert late == pytest.approx(value("logistic", 40.0, growth_rate=2.0, saturation_lag=0.5))
    assert value("logistic", 1.7, growth=True, growth_rate=2.0, saturation_lag=0.5) == 1.0
    assert value("gompertz", 80.0, growth_rate=2.0, growth_decay=0.5) == pytest.approx(0.3 + 4.0)
    assert value("hyperbolic", 1.2 + 0.5, growth_rate=2.0, singular_gap=0.5) == math.inf
    assert value("hyperbolic", 9.0, growth_rate=-2.0, singular_gap=0.5) == -math.inf
    # power and linear are defined before their start
    for kind, theta in (("power", {"growth_power": 0.6}), ("linear", {})):
        early = [value(kind, t, growth=True, growth_rate=2.0, **theta) for t in (-9.0, -1.1)]
        assert early[0] == pytest.approx(early[1]) and early[0] > 0
    # a line goes on as a line where it rises
    whole = on("linear", DATA.at_dates())
    t = np.array([0.2, 1.2, 2.2, 3.2])
    density = np.exp(whole.eta(t, {"trend_intercept": 0.0, "growth_rate": 1.5}))
    np.testing.assert_allclose(np.diff(density), np.diff(density)[0], rtol=1e-9)


def test_mean_growth_of_a_line_in_density_is_its_parameter() -> None:
    rise = value("linear", 1.2, growth_rate=1.7) - value("linear", -1.1, growth_rate=1.7)
    assert rise / 2.3 == pytest.approx(1.7)
    assert math.isfinite(value("linear", -1.1, growth_rate=80.0))


def test_a_random_walk_steps_between_quarters_and_stays_outside() -> None:
    whole = on("random_walk", DATA.at_dates())
    edges = whole.data.edges[1:-1]
    theta = {"trend_intercept": 0.0, "growth_rate": 1.0, "growth_step": np.full(len(edges), 0.1)}
    middles = quarters(DATA.first, DATA.last)[:-1] + 0.125
    growth = whole.growth_rate(middles, theta)
    np.testing.assert_allclose(np.diff(growth), 0.1)
    assert whole.growth_rate(np.array(0.0), theta) == pytest.approx(1.0)
    outside = whole.growth_rate(np.array([-5.0, 5.0]), theta)
    np.testing.assert_allclose(outside, growth[[0, -1]])


def test_the_waves_of_a_smooth_process_have_its_variance_and_correlation() -> None:
    whole = on("gp", DATA.at_dates())
    t = np.linspace(DATA.first, DATA.last, 9)
    waves = whole.basis(t, growth=True)[:, 2:]
    covariance = waves @ waves.T
    exact = np.exp(-0.5 * (t[:, None] - t) ** 2)  # squared exponential, length scale one year
    np.testing.assert_allclose(covariance, exact, atol=0.02)
    far = whole.basis(np.array([-9.0, 9.0]), growth=True)[:, 2:]
    np.testing.assert_allclose(far, 0.0, atol=1e-12)


def test_groups_are_averaged_by_their_share_of_the_families() -> None:
    theta = {
        "trend_intercept": 0.0, "growth_rate": 1.0,
        "group_level": np.array([0.5, -1.0]), "group_growth": np.array([0.2, 0.8]),
    }  # fmt: skip
    at = np.array([1.0])
    whole = on("groups")
    assert whole.at_dates().growth_rate(at, theta) == pytest.approx(1 + 0.2 * 5 / 6 + 0.8 / 6)
    assert whole.at_dates("sparse").growth_rate(at, theta) == pytest.approx(1.8)
    assert whole.at_dates("dense").eta(at, theta) == pytest.approx(0.5 + 1.2)
    llms = whole.eta(YEARS, theta)
    assert llms[6] == pytest.approx(-1.0 + 1.8 * 0.8) and llms[5] == pytest.approx(0.5 + 1.2 * 0.4)


def test_a_covariate_moves_llms_but_not_the_trend_at_a_date() -> None:
    theta = {"trend_intercept": 0.0, "growth_rate": 1.0, "covariate_slope": 0.5}
    whole = on("covariate")
    np.testing.assert_allclose(whole.eta(YEARS, theta), YEARS + 0.5 * DATA.covariate)
    assert whole.at_dates().eta(np.array([1.0]), theta) == pytest.approx(1.0)


def test_a_staircase_rises_by_its_quarters() -> None:
    whole = on("staircase", DATA.at_dates())
    edges = whole.data.edges
    growth = np.arange(1.0, len(edges))
    theta = {"trend_intercept": 0.7, "quarter_growth": growth}
    np.testing.assert_allclose(np.diff(whole.eta(edges, theta)), 0.25 * growth)
    assert whole.eta(np.array(0.0), theta) == pytest.approx(0.7)
    outside = whole.growth_rate(np.array([-9.0, 9.0]), theta)
    np.testing.assert_allclose(outside, [growth[0], growth.mean()])


# ---------------------------------------------------------------- grids and dates


@given(first=st.floats(-5, 0), width=st.floats(0.3, 6))
def test_quarters_cover_the_window_and_later_data_move_none(first: float, width: float) -> None:
    edges = quarters(first, first + width)
    assert edges[0] == first and edges[-1] >= first + width - 1e-8 > edges[-2] - 1e-8
    longer = quarters(first, first + width + 1)
    np.testing.assert_array_equal(longer[: len(edges)], edges)


def test_break_dates_are_uniform_in_the_inner_four_fifths() -> None:
    dates = break_dates(-1.0, 3.0, 16)
    assert len(dates) == 16
    np.testing.assert_allclose(np.diff(dates), 3.2 / len(dates))
    assert dates[0] == pytest.approx(-0.6 + 1.6 / len(dates)) and dates.mean() == pytest.approx(1.0)


def test_times_and_dates_are_inverse() -> None:
    for days in (-400, -1, 0, 1, 300):
        date = (dt.date.fromisoformat(ORIGIN) + dt.timedelta(days=days)).isoformat()
        assert DATA.date_of(DATA.year_of(date)) == date


@given(t=st.floats(-9, 9), low=st.floats(-2, 0), high=st.floats(0, 2))
def test_clamp_holds_times_between_its_ends(t: float, low: float, high: float) -> None:
    assert clamp(np.float64(t), low, high) == pytest.approx(min(max(t, low), high))


# ---------------------------------------------------------------- refusals


def many_families(n: int) -> TrendData:
    """One family every thirty days."""
    return TrendData(ORIGIN, 30 * np.arange(n) / 365.25, np.arange(n))


def test_a_known_break_needs_five_families_on_each_side() -> None:
    data = many_families(12)
    first, last = allowed_dates(data)
    for date in (first, last):
        trend_named(f"break_known@{date}").require(data)
    ends = ((first, -1, "4 families .* and 8"), (last, 1, "8 families .* and 4"))
    for date, step, counts in ends:
        outside = (dt.date.fromisoformat(date) + dt.timedelta(days=step)).isoformat()
        with pytest.raises(SpecError, match=counts) as caught:
            trend_named(f"break_known@{outside}").require(data)
        assert f"allowed here: {first} to {last}" in str(caught.value)
    with pytest.raises(SpecError, match="no date here has them"):
        trend_named("break_known@2024-08-01").require(many_families(9))
    with pytest.raises(SpecError, match="no date here has them"):
        trend_named("break_known@2024-08-01").require(many_families(3))


def test_trends_refuse_data_that_cannot_carry_them() -> None:
    one_group = TrendData(ORIGIN, YEARS, FAMILY, ("dense",), (np.ones(len(YEARS)),))
    with pytest.raises(SpecError, match="all LLMs are of one group"):
        trend_named("groups").require(one_group)
    with pytest.raises(SpecError, match="the same for all LLMs"):
        trend_named("covariate").require(
            TrendData(ORIGIN, YEARS, FAMILY, covariate=np.zeros(len(YEARS)))
        )
    with pytest.raises(SpecError, match="within a quarter"):
        trend_named("random_walk").require(TrendData(ORIGIN, YEARS / 20, FAMILY))


# ---------------------------------------------------------------- a user's own


def seasonal(t, theta, data):
    return theta["trend_intercept"] + theta["growth_rate"] * t + theta["season"] * np.sin(2 * t)


SEASON: Mapping[str, Mapping[str, object]] = {
    "season": {"dist": "Normal", "kwargs": {"mu": 0, "sigma": 0.3}}
}
NAMES = ("trend_intercept", "growth_rate", "season")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget what a test has added."""
    yield
    known._ADDED.clear()


def test_an_own_trend_is_a_function_and_priors() -> None:
    spec = load_spec("joint")
    with pytest.raises(SpecError, match="'seasonal', allowed: exponential"):
        spec.with_options(trend="seasonal")
    add_trend(Trend("seasonal", NAMES, seasonal, is_linear=True, priors=SEASON))
    mine = spec.with_options(trend="seasonal")
    assert mine.trend == "seasonal" and list(mine.used_priors("trend")) == list(NAMES)
    tighter = mine.with_overrides(["trend.priors.season.kwargs.sigma=0.1"])
    assert tighter.prior("trend", "season").kwargs["sigma"] == 0.1
    assert type(mine).from_json(mine.to_json()) == mine
    # growth is taken from eta
    whole = on("seasonal", DATA.at_dates())
    theta = {"trend_intercept": 0.0, "growth_rate": 1.0, "season": 0.3}
    expected = 1 + 0.6 * np.cos(2 * YEARS)
    np.testing.assert_allclose(whole.growth_rate(YEARS, theta), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "quadratic"}, "'quadratic': allowed a word that is no shipped trend's name"),
        ({"kind": "a b"}, "'a b': allowed a word"),
        ({"kind": "mine@1"}, "allowed a word"),
        ({"eta": lambda t, theta, data: 1 / 0}, "eta failed with ZeroDivisionError"),
        ({"eta": lambda t, theta, data: np.zeros(2)}, "eta gave .* at 4 times, allowed"),
        ({"eta": lambda t, theta, data: t * np.nan}, "eta gave .* at 4 times, allowed"),
        ({"growth_rate": lambda t, theta, data: t}, "growth_rate is not the slope of eta"),
        ({"eta": lambda t, theta, data: theta["season"] ** 2 * t}, "eta is not linear"),
    ],
)
def test_what_an_own_trend_may_not_be(changes: Mapping[str, object], message: str) -> None:
    whole = {"kind": "mine", "eta": seasonal, "is_linear": True, **changes}
    with pytest.raises(SpecError, match=message):
        add_trend(Trend(parameters=NAMES, priors=SEASON, **whole))  # type: ignore[arg-type]


def test_an_own_trend_without_a_prior_is_refused_by_the_model() -> None:
    add_trend(Trend("seasonal", NAMES, seasonal))
    with pytest.raises(SpecError, match=r"trend.priors.season: missing, kind 'seasonal' needs it"):
        load_spec("joint").with_options(trend="seasonal")
