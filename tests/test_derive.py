"""Derived quantities: draw by draw, with units, and safe where growth passes through zero."""

import math

import numpy as np
import pytest
import xarray as xr
from fake_fit import DATES, ORIGIN, fake_fit
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesdense import derive
from bayesdense.dataset import load_dataset
from bayesdense.derive.llms import _columns
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import DoublingTime, Estimate, probability, quantile_mcse, tails
from bayesdense.fit_tree import constant_data
from bayesdense.observations import observe
from bayesdense.results import Fit
from bayesdense.spec import load_spec

LN2_DAYS = 365.25 * math.log(2.0)
#: Growth of no more than 1e-300 a year doubles in more days than a float can hold.
RATES = st.floats(-20.0, 20.0).map(lambda rate: 0.0 if abs(rate) < 1e-300 else rate)


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fake_fit()


def rate(draws: object) -> Estimate:
    array = np.asarray(draws, dtype=float).reshape(2, -1)
    return Estimate("growth rate", xr.DataArray(array, dims=("chain", "draw")))


def test_growth_rate_is_the_posterior_of_the_trend(fit: Fit) -> None:
    growth = derive.growth_rate(fit)
    draws = fit.posterior["growth_rate"].values
    np.testing.assert_array_equal(growth.draws.values, draws)
    assert (growth.at, growth.units) == (DATES[-1], "1/year")
    assert growth.median == pytest.approx(np.median(draws))
    assert growth.interval(0.5) == pytest.approx(np.quantile(draws, [0.25, 0.75]))
    assert growth.sd == pytest.approx(draws.std(ddof=1))


def test_flat_trend_does_not_grow() -> None:
    flat = fake_fit(trend="flat")
    assert not derive.growth_rate(flat).draws.values.any()
    assert derive.average_growth(flat).median == 0.0
    assert derive.doubling_time(flat).interval(0.95) == (math.inf, math.inf)


def test_a_date_can_be_asked_for(fit: Fit) -> None:
    assert derive.doubling_time(fit, "2024-01-31").at == "2024-01-31"
    with pytest.raises(BayesdenseError, match="not a date; write it as"):
        derive.growth_rate(fit, "31.1.2024")


def test_average_growth_of_an_exponential_is_its_rate(fit: Fit) -> None:
    xr.testing.assert_allclose(
        derive.average_growth(fit).draws, derive.growth_rate(fit).draws.drop_attrs()
    )


def test_average_growth_over_a_single_day() -> None:
    one_day = fake_fit(llms=["only"])
    assert derive.average_growth(one_day).median == derive.growth_rate(one_day).median


def test_growth_in_other_units(fit: Fit) -> None:
    growth = derive.growth_rate(fit).draws.values
    np.testing.assert_allclose(derive.growth_factor(fit).draws.values, np.exp(growth))
    np.testing.assert_allclose(derive.orders_of_magnitude(fit).draws.values, growth / np.log(10))


def test_p_faster_than_the_paper_uses_its_slope() -> None:
    slope = 0.006529 * 365.25
    draws = np.full((4, 250), slope + 1e-9)
    draws[0, :100] = slope - 1e-9
    assert derive.p_faster_than_paper(fake_fit(growth_draws=draws)).value == pytest.approx(0.9)


def test_prior_p_growing_is_exact_for_a_normal_prior(fit: Fit) -> None:
    assert derive.prior_p_growing(fit) == 0.5
    shifted = fit.spec.with_overrides(["trend.priors.growth_rate.kwargs.mu=2.0"])
    assert derive.prior_p_growing(Fit(fit.tree, shifted)) == pytest.approx(0.8413447, abs=1e-6)


def test_prior_p_growing_else_counts_prior_draws(fit: Fit) -> None:
    override = 'trend.priors.growth_rate={dist="HalfNormal", kwargs={sigma=2.0}}'
    spec = fit.spec.with_overrides([override])
    share = float((fit.group("prior")["growth_rate"] > 0).mean())
    assert derive.prior_p_growing(Fit(fit.tree, spec)) == share
    bare = xr.DataTree.from_dict({"/posterior": fit.posterior})
    bare.attrs.update(fit.tree.attrs)
    assert derive.prior_p_growing(Fit(bare, spec)) is None


# ---- doubling time through zero (statistics.md part 2)


@pytest.mark.parametrize(
    ("growth", "expected"),
    [
        ((1.0, 3.0), (LN2_DAYS / 3.0, LN2_DAYS / 1.0)),
        ((-0.5, 2.0), (LN2_DAYS / 2.0, math.inf)),
        ((0.0, 2.0), (LN2_DAYS / 2.0, math.inf)),
        ((-2.0, -0.5), (math.inf, math.inf)),
        ((-2.0, 0.0), (math.inf, math.inf)),
        ((0.0, 0.0), (math.inf, math.inf)),
    ],
)
def test_interval_of_doubling_time(
    growth: tuple[float, float], expected: tuple[float, float]
) -> None:
    low, high = tails(0.95)
    ends = np.interp([low, high], [low, high], growth)
    # draws whose 2.5 and 97.5 % quantiles are exactly the ends wanted
    draws = np.concatenate([np.full(10, ends[0]), np.full(10, ends[1])])
    assert DoublingTime(rate(draws)).interval(0.95) == pytest.approx(expected)


@given(st.lists(RATES, min_size=8, max_size=40).filter(lambda x: len(x) % 2 == 0))
def test_doubling_interval_is_the_reciprocal_of_growths(draws: list[float]) -> None:
    growth = rate(draws)
    for prob in (0.5, 0.95):
        lo, hi = growth.interval(prob)
        lower, upper = DoublingTime(growth).interval(prob)
        assert lower == (pytest.approx(LN2_DAYS / hi) if hi > 0 else math.inf)
        assert upper == (pytest.approx(LN2_DAYS / lo) if lo > 0 else math.inf)
        assert 0.0 < lower <= upper
        assert DoublingTime(growth).is_unbounded(prob) == (lo <= 0)


@given(st.lists(RATES, min_size=8, max_size=40).filter(lambda x: len(x) % 2 == 0))
def test_doubling_and_halving_are_mirror_images(draws: list[float]) -> None:
    forth, back = DoublingTime(rate(draws)), DoublingTime(rate(np.negative(draws)))
    lo, hi = rate(draws).interval(0.95)
    assert math.isfinite(back.interval(0.95)[0]) == (lo < 0)
    assert back.interval(0.95)[0] == (pytest.approx(LN2_DAYS / -lo) if lo < 0 else math.inf)
    assert back.interval(0.95)[1] == (pytest.approx(LN2_DAYS / -hi) if hi < 0 else math.inf)
    assert not (math.isfinite(forth.median) and math.isfinite(back.median))


@given(st.lists(RATES, min_size=8, max_size=40).filter(lambda x: len(x) % 2 == 0), RATES)
def test_no_draw_is_dropped(draws: list[float], extra: float) -> None:
    time = DoublingTime(rate(draws))
    assert time.draws.size == len(draws)
    days = abs(extra) * 100 + 1
    counted = float(((time.draws > 0) & (time.draws < days)).mean())
    assert time.probability_below(days).value == pytest.approx(counted)


@given(st.floats(0.05, 5.0))
def test_inner_interval_lies_within_the_outer(sd: float) -> None:
    draws = np.random.default_rng(1).normal(0.5, sd, 400)
    inner, outer = (DoublingTime(rate(draws)).interval(prob) for prob in (0.5, 0.95))
    assert outer[0] <= inner[0] <= inner[1] <= outer[1]


def test_draws_of_doubling_time_keep_their_sign() -> None:
    draws = DoublingTime(rate([1.0, -1.0, 0.0, 2.0])).draws.values.ravel()
    np.testing.assert_allclose(draws, [LN2_DAYS, -LN2_DAYS, math.inf, LN2_DAYS / 2])


def test_doubling_time_agrees_with_growth(fit: Fit) -> None:
    time = derive.doubling_time(fit)
    assert time.median == pytest.approx(LN2_DAYS / derive.growth_rate(fit).median)
    assert time.units == time.draws.attrs["units"] == "days"


def test_error_of_doubling_time_is_that_of_growth_in_days(fit: Fit) -> None:
    time = derive.doubling_time(fit)
    by_draws = float(quantile_mcse(time.draws, 0.5))  # all draws positive here: comparable
    assert time.mcse() == pytest.approx(by_draws, rel=0.3)
    assert math.isnan(derive.halving_time(fit).mcse())


def test_repr_reads_as_a_sentence(fit: Fit) -> None:
    assert repr(derive.doubling_time(fit)).startswith("doubling time: 4.")
    assert "months (95% ETI" in repr(derive.doubling_time(fit))
    straddling = repr(derive.doubling_time(fake_fit(growth=0.1, growth_sd=0.3)))
    assert "to infinite; P(growing) = 0.7" in straddling
    assert "1/year (95% ETI" in repr(derive.growth_rate(fit))


@pytest.mark.parametrize("prob", [0.0, 1.0, 95.0, -0.1, math.nan])
def test_probability_of_an_interval_is_checked(fit: Fit, prob: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        derive.doubling_time(fit).interval(prob)


@pytest.mark.parametrize("days", [0.0, -3.0, math.nan])
def test_threshold_is_positive(fit: Fit, days: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        derive.doubling_time(fit).probability_below(days)


def test_draws_that_are_not_finite_are_refused() -> None:
    draws = np.ones((4, 250))
    draws[1, 3] = np.nan
    with pytest.raises(BayesdenseError, match="growth rate: 1 of 1000 draws are not finite"):
        derive.growth_rate(fake_fit(growth_draws=draws))


def test_probability_has_the_error_of_its_draws() -> None:
    rng = np.random.default_rng(3)
    event = xr.DataArray(rng.uniform(size=(4, 1000)) < 0.3, dims=("chain", "draw"))
    found = probability(event)
    assert found.mcse == pytest.approx(math.sqrt(0.3 * 0.7 / 4000), rel=0.2)
    assert probability(event | True).mcse == 3.0 / 4000


# ---- trend, sizes, densities


def test_trend_is_linear_in_years(fit: Fit) -> None:
    line = derive.trend(fit, [ORIGIN, "2025-03-27"])
    assert line.dims == ("chain", "draw", "date")
    xr.testing.assert_allclose(
        line.sel(date=ORIGIN, drop=True).drop_vars("years", errors="ignore").drop_attrs(),
        fit.posterior["trend_intercept"].drop_attrs(),
    )
    step = (line.isel(date=1) - line.isel(date=0)).values
    np.testing.assert_allclose(step, fit.posterior["growth_rate"].values * 365 / 365.25)
    assert line.attrs["units"] == "log density"


def test_bands_are_equal_tailed(fit: Fit) -> None:
    line = derive.trend(fit, list(DATES[:3]))
    band = derive.bands(line)
    flat = line.values.reshape(-1, 3)
    np.testing.assert_allclose(band["median"], np.median(flat, axis=0))
    np.testing.assert_allclose(band["lower"].sel(prob=0.95), np.quantile(flat, 0.025, axis=0))
    np.testing.assert_allclose(band["upper"].sel(prob=0.5), np.quantile(flat, 0.75, axis=0))
    assert band.attrs == {"ci_kind": "eti", "units": "log density"}


def test_sizes_and_densities_are_exponentials_with_units(fit: Fit) -> None:
    sizes, densities = derive.effective_params(fit), derive.density(fit)
    np.testing.assert_allclose(np.log(sizes), fit.posterior["log_effective_params"])
    ratio, actual = xr.broadcast(sizes / densities, fit.group("constant_data")["n_params"])
    np.testing.assert_allclose(ratio, actual.transpose(*ratio.dims))
    assert sizes.dims == densities.dims == ("chain", "draw", "llm")
    assert (sizes.attrs["units"], densities.attrs["units"]) == ("parameters", "1")
    assert derive.log_density(fit).attrs["units"] == "log density"
    assert "release_date" in sizes.coords


def test_a_fit_of_densities_has_no_sizes() -> None:
    fit = fake_fit(densities_only=True)
    with pytest.raises(BayesdenseError, match="densities only has no sizes"):
        derive.effective_params(fit)
    table = derive.llm_estimates(fit)
    assert table["effective_params"].isnull().all()
    assert table["extrapolation"].isnull().all()
    assert not table["lower_bound_only"].any()
    assert table["density"].notnull().all()
    assert math.isnan(derive.tokens_beyond(fit))


def test_llm_estimates_are_quantiles(fit: Fit) -> None:
    table = derive.llm_estimates(fit)
    draws = derive.effective_params(fit).values.reshape(-1, len(DATES))
    expected = np.quantile(np.log(draws), [0.5, 0.025, 0.975], axis=0)
    for name, row in zip(derive.column_names("effective_params"), expected, strict=True):
        np.testing.assert_allclose(np.log(table[name]), row)
    np.testing.assert_allclose(
        table["extrapolation"], table["effective_params"] / derive.largest_reference(fit)
    )
    assert table["release_date"].values.tolist() == list(DATES)
    assert int(table["lower_bound_only"].sum()) == 2
    assert table["data_lower_bound"].notnull().sum() == 2


def test_bounds_are_matched_by_name(fit: Fit) -> None:
    tree = fit.tree.copy()
    tree["llm_bounds"] = xr.DataTree(fit.group("llm_bounds").isel(llm=slice(None, None, -1)))
    xr.testing.assert_identical(
        derive.llm_estimates(Fit(tree, fit.spec)), derive.llm_estimates(fit)
    )


def test_sizes_beyond_the_largest_float_do_not_warn(fit: Fit) -> None:
    posterior = fit.posterior.assign(log_effective_params=fit.posterior["log_density"] + 800.0)
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(posterior)
    table = derive.llm_estimates(Fit(tree, fit.spec))
    assert np.isinf(table["effective_params"]).all()


def test_convention_of_counting_is_the_one_used(fit: Fit) -> None:
    assert derive.params_convention(fit) == "non_embedding"
    tree = fit.tree.copy()
    constant = fit.group("constant_data").copy()
    constant["n_params"].attrs["convention"] = "total"
    tree["constant_data"] = xr.DataTree(constant)
    assert derive.params_convention(Fit(tree, fit.spec)) == "total"


def test_a_missing_variable_is_named(fit: Fit) -> None:
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(fit.posterior.drop_vars("growth_rate"))
    with pytest.raises(BayesdenseError, match="has no 'growth_rate'"):
        derive.doubling_time(Fit(tree, fit.spec))


@settings(max_examples=30)
@given(st.floats(-300.0, 300.0), st.floats(1e-6, 50.0))
def test_columns_commute_with_exp(mean: float, sd: float) -> None:
    draws = xr.DataArray(
        np.random.default_rng(0).normal(mean, sd, (2, 50, 1)), dims=("chain", "draw", "llm")
    )
    median, lower, upper = (v.item() for v in _columns("x", draws).values())
    assert 0.0 <= lower <= median <= upper


# ---------------------------------------------------------------- laws and maps of benchmarks


def with_loss_units(fit: Fit, *units: str) -> Fit:
    tree = fit.tree.copy()
    constant = fit.group("constant_data").assign(
        loss_unit=("benchmark", list(units)),
        log_params_centre=math.log(2e8),
        log_tokens_centre=math.log(5e9),
    )
    tree["constant_data"] = xr.DataTree(constant)
    return Fit(tree, fit.spec)


def test_benchmark_parameters_are_the_draws_with_the_data_s_units(fit: Fit) -> None:
    found = derive.benchmark_parameters(with_loss_units(fit, "nats/token", "nats/token"))
    assert set(found) == {
        "loss_floor", "param_coef", "param_exponent", "token_coef", "token_exponent",
        "score_floor", "score_ceiling", "score_slope", "loss_midpoint",
    }  # fmt: skip
    for name, drawn in found.items():
        assert drawn.dims == ("chain", "draw", "benchmark")
        np.testing.assert_array_equal(drawn.values, fit.posterior[name].values)
    assert found["param_coef"].attrs == {"units": "nats/token"}
    assert found["score_slope"].attrs == {"units": "1/(nats/token)"}
    assert found["score_ceiling"].attrs == {"units": "fraction"}
    assert found["loss_unit"].values.tolist() == ["nats/token", "nats/token"]
    assert float(found["params_centre"]) == pytest.approx(2e8)
    assert float(found["tokens_centre"]) == pytest.approx(5e9)


def test_benchmarks_of_two_loss_units_keep_their_own(fit: Fit) -> None:
    mixed = with_loss_units(fit, "nats", "bits/byte")
    assert derive.benchmark_parameters(mixed)["loss_midpoint"].attrs["units"] == (
        "loss unit of the benchmark"
    )
    table = derive.benchmark_table(mixed).set_index(["benchmark", "parameter"])
    slope = table.xs("score_slope", level="parameter")["unit"]
    assert slope.to_dict() == {"MMLU": "1/nats", "BBH": "1/(bits/byte)"}
    drawn = fit.posterior["score_slope"].sel(benchmark="BBH").values
    row = table.loc[("BBH", "score_slope"), ["eti95_lower", "median", "eti95_upper"]]
    np.testing.assert_allclose(row.to_numpy(float), np.quantile(drawn, [0.025, 0.5, 0.975]))
    assert len(table) == 2 * 9


def test_a_law_without_floor(fit: Fit) -> None:
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(fit.posterior.drop_vars("loss_floor"))
    found = derive.benchmark_parameters(Fit(tree, fit.spec))
    assert "loss_floor" not in found
    assert found["param_coef"].attrs["units"] == "nats/token"


def test_a_fit_of_densities_has_no_laws() -> None:
    with pytest.raises(BayesdenseError, match="a fit of densities only has no laws"):
        derive.benchmark_parameters(fake_fit(densities_only=True))


@pytest.mark.parametrize(
    ("name", "unit"), [("densing", "nats/token"), ("olmo-ladder", "bits/byte")]
)
def test_a_fit_keeps_the_loss_unit_of_its_data(name: str, unit: str) -> None:
    kept = constant_data(observe(load_spec("joint"), load_dataset(name)))
    assert set(kept["loss_unit"].values.tolist()) == {unit}
    assert kept["loss_unit"].dims == ("benchmark",)
