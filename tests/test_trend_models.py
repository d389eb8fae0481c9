"""Trends in models: one density in both implementations, mixtures, what data they ask for."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from datasets import cell, tiny_dataset
from modelling import at_draw, natural_log_density, small_observations
from scipy import special, stats
from test_joint_kernel import assert_one_density

from bayesdense import joint_kernel, kernel
from bayesdense.build import build_from_observations, build_model
from bayesdense.components.marginal import MarginalSum
from bayesdense.dataset import load_dataset
from bayesdense.engine import kernel_data
from bayesdense.engine.kernel_data import is_covered
from bayesdense.errors import SpecError
from bayesdense.growth_priors import MOST_FACTOR, PriorGrowth, prior_growth
from bayesdense.mixtures import with_mixture
from bayesdense.observations import Observations, observe, trend_on
from bayesdense.prior_draws import draw_priors, draw_trend
from bayesdense.simulate import simulate_dataset
from bayesdense.simulate.story import trend_at
from bayesdense.sizes.mixing import log_likelihoods_at
from bayesdense.sizes.terms import read_posterior
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.trends import TRENDS, TrendData, TrendOn, add_trend, known, trend_named
from bayesdense.trends.base import draws_as_columns

KINDS = [trend.kind for trend in TRENDS.values()]


def small(kind: str, **options: object) -> tuple[ModelSpec, Observations]:
    """Ten LLMs in four families, with groups and a covariate."""
    spec = load_spec("joint").with_options(trend=kind, **options)
    data = small_observations()
    n = len(data.llms.names)
    llms = replace(
        data.llms,
        groups=("dense", "sparse"),
        group_idx=np.arange(n) % 2,
        covariate=np.linspace(-1.0, 1.0, n),
    )
    return spec, replace(data, llms=llms)


# ---------------------------------------------------------------- densities


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("exponential", "flat")])
def test_trends_have_one_density_in_both_implementations(kind: str) -> None:
    spec, data = small(kind)
    if kind == "staircase":  # no growth of hundreds a year, where PyTensor's tails are rough
        spec = spec.with_overrides(["trend.priors.quarter_growth.kwargs.sigma=0.3"])
    assert_one_density(spec, data, 12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_trend_is_left_to_the_compiled_density(kind: str) -> None:
    spec = load_spec("joint").with_options(trend=kind)
    assert is_covered(spec)
    assert not is_covered(spec.with_options(residual="student_t"))


@pytest.mark.parametrize("is_linear", [True, False])
def test_of_own_trends_only_linear_ones_are(is_linear: bool, forgotten: None) -> None:
    exponential = trend_named("exponential")
    add_trend(replace(exponential, kind="mine", is_linear=is_linear))
    assert is_covered(load_spec("joint").with_options(trend="mine")) == is_linear


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Forget what a test has added."""
    yield
    known._ADDED.clear()


def test_dates_of_a_break_share_the_places_on_which_they_agree() -> None:
    spec = load_spec("joint").with_options(trend="break_free")
    llms = observe(spec, load_dataset("densing")).llms
    whole = trend_on(spec, llms)
    basis, first, place = kernel_data._places(whole)
    values = whole.trend.mixture.values(whole.data)  # type: ignore[union-attr]
    of_part = place.reshape(len(values), len(llms.names))
    for value, at in zip(values, of_part, strict=True):
        np.testing.assert_allclose(basis[at], whole.basis(llms.years, value=value), atol=1e-12)
        assert ((first[:-1] <= at) & (at < first[1:])).all()
    assert set(place) == set(range(len(basis))) and first[-1] == len(basis)
    # all dates before both the release and the origin, or after both, are one
    for t, n in zip(llms.years, np.diff(first), strict=True):
        between = (min(t, 0.0) < values) & (values < max(t, 0.0))
        apart = [(values <= min(t, 0.0)).any(), (values >= max(t, 0.0)).any(), between.sum()]
        assert n == sum(map(int, apart))


#: Curves with their parameters, growth of either sign and near 0.
CURVES = {
    "hyperbolic": [(1.5, 0.2), (-2.0, 4.0), (1e-9, 1.0)],
    "logistic": [(1.5, 0.8), (-2.0, -1.0), (1e-6, 3.0), (0.0, 1.0), (40.0, 0.3)],
    "gompertz": [(1.5, 0.3), (-2.0, 2.0), (1.0, 1e-4)],
    "power": [(1.5, 0.5), (-2.0, 1.7), (1.0, 1.0)],
    "linear": [(1.5, 0.0), (-2.0, 0.0), (0.0, 0.0), (60.0, 0.0)],
}


@pytest.mark.parametrize("kind", CURVES)
def test_curves_of_the_compiled_density_are_the_trends(kind: str) -> None:
    """And their slopes are their differences."""
    years = np.linspace(-1.2, 1.6, 15)
    whole = TrendOn(trend_named(kind), TrendData("2024-04-01", years, np.arange(15)))
    names, curve = whole.trend.parameters, kernel_data._CURVES[kind]

    def eta(t: float, growth: float, shape: float) -> float:
        return float(whole.eta(np.array(t), dict(zip(names, (0.0, growth, shape), strict=False))))

    for growth, shape in CURVES[kind]:
        for t in years:
            value, *slopes = joint_kernel._curve(curve, t, growth, shape, years[0], years[-1])
            assert value == pytest.approx(eta(t, growth, shape), rel=1e-12, abs=1e-14)
            for k, slope in enumerate(slopes[: len(names) - 1]):
                step = 1e-5 * (1 + k) * max(abs((growth, shape)[k]), 1e-3)
                ends = []
                for s in (-2, -1, 1, 2):
                    moved = np.array([growth, shape])
                    moved[k] += s * step
                    ends.append(eta(t, *moved))
                numeric = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
                assert slope == pytest.approx(numeric, rel=1e-5, abs=1e-5), (growth, shape, t, k)


@pytest.mark.parametrize("kind", KINDS)
def test_a_density_model_is_normal_about_trend_and_family(kind: str, tmp_path: Path) -> None:
    spec, data = published(kind, tmp_path)
    draws = draw_priors(spec, data, np.random.default_rng(3), 3)
    log_density = natural_log_density(build_from_observations(spec, data), ["log_density"])
    whole = trend_on(spec, data.llms)
    for k in range(3):
        theta = at_draw(draws, k)
        effect = theta["family_effect"][data.llms.family_idx]
        values = [None] if whole.trend.mixture is None else whole.trend.mixture.values(whole.data)
        totals = []
        for value in values:
            known = {} if value is None else {"break_year": value}
            eta = whole.eta(data.llms.years, {**theta, **known})
            y = data.densities.log_density  # type: ignore[union-attr]
            totals.append(stats.norm.logpdf(y, eta + effect, theta["residual_sd"]).sum())
        expected = special.logsumexp(totals) - np.log(len(totals))
        assert np.sum(log_density(theta)[0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("residual", ["symmetric", "student_t", "composed"])
def test_a_mixture_is_the_mean_of_its_values(residual: str) -> None:
    spec, data = small("break_free", residual=residual)
    draws = draw_priors(spec, data, np.random.default_rng(4), 2)
    found = natural_log_density(build_from_observations(spec, data), ["score"])
    posterior = read_posterior(draws.isel(draw=slice(0, 2)), spec, data.joint)
    whole = trend_on(spec, data.llms)
    values = whole.trend.mixture.values(whole.data)  # type: ignore[union-attr]
    at_values = log_likelihoods_at(posterior, "break_year", values)
    for k in range(2):
        expected = special.logsumexp(at_values[k]) - np.log(len(values))
        # the density in the model is that of logits given all else, on the same grid
        assert float(np.sum(found(at_draw(draws, k))[0])) == pytest.approx(expected, rel=1e-7)


def test_the_compiled_mixture_is_its_reference_and_its_gradient_the_differences() -> None:
    rng = np.random.default_rng(5)
    nodes = np.linspace(0.0, 20.0, 41)
    mean = np.stack([np.tanh(0.3 * (nodes - 9)), np.tanh(0.2 * (nodes - 12))])
    var = 0.1 + 0.02 * rng.random((3, 41))
    location = rng.normal(10, 2, (4, 6, 1))
    weight = -0.5 * (nodes - location) ** 2
    first = np.array([0, 2, 4, 5, 7, 8, 10])
    cells = (rng.normal(0, 0.7, 10), np.arange(10) % 2, np.arange(10) % 3, first)
    found = kernel.marginal_mixture(mean, var, weight, *cells)
    expected = kernel.marginal_mixture_reference(mean, var, weight, *cells)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    for k, array in enumerate((mean, var, weight), start=1):
        for _ in range(5):
            at = tuple(rng.integers(array.shape))
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in (mean, var, weight)]
                moved[k - 1][at] += sign * 1e-6
                ends.append(kernel.marginal_mixture_reference(*moved, *cells)[0])
            assert found[k][at] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


def test_the_operation_of_a_mixture_differs_from_that_of_a_sum() -> None:
    assert MarginalSum() == MarginalSum() != MarginalSum(mixed=True)


# ---------------------------------------------------------------- draws of what was summed over


def published(
    kind: str, folder: Path, n: int = 24, seed: int = 1
) -> tuple[ModelSpec, Observations]:
    """Densities of LLMs of twelve families over two years, with what the trend asks for."""
    n, rng = 24, np.random.default_rng(1)
    dates = pd.Timestamp("2023-03-01") + pd.to_timedelta(np.sort(rng.integers(0, 730, n)), "D")
    table = pd.DataFrame(
        {
            "llm": [f"llm {k}" for k in range(n)],
            "release_date": dates.strftime("%Y-%m-%d"),
            "density": np.exp(rng.normal(0, 1, n) + 1.5 * (dates - dates[0]).days / 365.25),
            "family": [f"family {k // 2}" for k in range(n)],
            "n_params": np.exp(rng.normal(23, 1, n)).round(),
            "n_params_active": 1e9,
        }
    )
    table.loc[::2, "n_params_active"] = table["n_params"][::2]
    folder.mkdir(exist_ok=True)
    (folder / "card.toml").write_text('title = "made up"\n')
    table.to_csv(folder / "densities.csv", index=False)
    spec = load_spec("trend_only").with_options(trend=kind)
    try:
        return spec, observe(spec, load_dataset(folder))
    except SpecError:  # a column that densities do not have
        plain = observe(load_spec("trend_only"), load_dataset(folder))
        idx = np.arange(n) % 2
        llms = replace(plain.llms, groups=("dense", "sparse"), group_idx=idx)
        return spec, replace(plain, llms=llms)


@pytest.mark.parametrize("joint", [True, False], ids=["scores", "densities"])
def test_break_dates_are_drawn_from_their_conditional_distribution(
    joint: bool, tmp_path: Path
) -> None:
    spec, data = small("break_free") if joint else published("break_free", tmp_path)
    one = draw_priors(spec, data, np.random.default_rng(6), 1).drop_vars("break_year")
    if joint:
        one = one.drop_vars(["log_effective_params", "log_density"])
    n = 3000
    many = one.isel(draw=0).expand_dims(draw=np.arange(n)).transpose("chain", "draw", ...)
    if not joint:
        many = many.drop_vars("log_density")
    drawn = with_mixture(many, spec, data, seed=1)["break_year"].values.ravel()
    whole = trend_on(spec, data.llms)
    values = whole.trend.mixture.values(whole.data)  # type: ignore[union-attr]
    theta = at_draw(one, 0)
    log_p = []
    for value in values:  # a bend is an exponential trend of shifted sizes
        bend = whole.eta(data.llms.years, {**theta, "break_year": value}) - (
            theta["trend_intercept"] + theta["growth_rate"] * data.llms.years
        )
        model = build_from_observations(spec.with_options(trend="exponential"), shifted(data, bend))
        density = natural_log_density(model, ["score" if joint else "log_density"])
        log_p.append(np.sum(density(theta)[0]))
    expected = np.exp(np.array(log_p) - special.logsumexp(log_p))
    counts = np.array([(np.abs(drawn - value) < 1e-9).sum() for value in values])
    assert counts.sum() == n
    error = np.sqrt(expected * (1 - expected) / n) + 1e-3
    assert (np.abs(counts / n - expected) < 4 * error).all()


def shifted(data: Observations, shift: np.ndarray) -> Observations:
    """Data in which each LLM's log density is expected to be higher by so much."""
    if data.densities is None:
        return replace(data, llms=replace(data.llms, log_params=data.llms.log_params + shift))
    moved = replace(data.densities, log_density=data.densities.log_density - shift)
    return replace(data, densities=moved)


# ---------------------------------------------------------------- what data they ask for


def test_groups_and_covariates_are_read_from_the_table() -> None:
    data, spec = load_dataset("densing"), load_spec("joint")
    llms = observe(spec.with_options(trend="groups"), data).llms
    assert llms.groups == ("dense", "mixture of experts")
    assert llms.group_idx is not None and 10 < llms.group_idx.sum() < 20
    assert "Mixtral-8x7B" in {llms.names[k] for k in np.flatnonzero(llms.group_idx)}
    makers = observe(spec.with_options(trend="groups@maker"), data).llms
    assert {"Alibaba", "Meta"} <= set(makers.groups)
    sizes = observe(spec.with_options(trend="covariate"), data).llms
    centred = sizes.log_params - sizes.log_params.mean()
    np.testing.assert_allclose(sizes.covariate, centred)  # type: ignore[arg-type]
    assert observe(spec, data).llms.group_idx is None


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("groups@colour", "the table of LLMs has no column 'colour'; its columns are n_params"),
        ("groups", "no column 'n_params_active'"),
        ("covariate@log_overtraining", "n_tokens is blank for Gamma-2B; fill it in"),
        ("break_known@2022-11-30", "0 families are released before 2022-11-30 and 4 from then on"),
    ],
)
def test_what_data_lack_is_said(kind: str, message: str, tmp_path: Path) -> None:
    dataset = load_dataset(tiny_dataset(tmp_path, llms=cell(6, "n_tokens", "")))
    with pytest.raises(SpecError, match=message):
        build_model(load_spec("joint").with_options(trend=kind), dataset)


def test_a_break_outside_the_data_names_dates() -> None:
    spec = load_spec("joint").with_options(trend="break_known@2022-11-30")
    with pytest.raises(
        SpecError, match=r"2023-02-24 to 2025-08-20\); allowed here: 2023-\d\d-\d\d to"
    ):
        observe(spec, load_dataset("densing"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_of_a_trend_sees_the_same_line(kind: str) -> None:
    spec, data = small(kind)
    draws = draw_priors(spec, data, np.random.default_rng(7), 5)
    theta = draws.drop_vars(["log_effective_params", "log_density"])
    posterior = read_posterior(draws, spec, data.joint)
    rows = posterior.trend.eta(data.llms.years, posterior.rows(np.arange(5)))
    named = trend_at(theta.drop_vars([n for n in theta.coords if n not in ("chain", "draw")]),
                     spec, data.llms)  # fmt: skip
    np.testing.assert_allclose(np.broadcast_to(rows, (5, 10)), _rows(named), rtol=1e-12, atol=1e-12)
    for k in range(5):
        one = posterior.trend.eta(data.llms.years, posterior.at(k))
        np.testing.assert_allclose(one, np.broadcast_to(rows, (5, 10))[k], rtol=1e-12, atol=1e-12)


def _rows(named: xr.DataArray) -> np.ndarray:
    return named.transpose("chain", "draw", "llm").values[0]


@pytest.mark.parametrize(("kind", "has_growth"), [("exponential", True), ("quadratic", False)])
def test_a_truth_tells_growth_only_where_it_is_one_number(kind: str, has_growth: bool) -> None:
    spec = load_spec("joint").with_options(trend=kind)
    truth = simulate_dataset(spec, seed=4).truth
    assert (truth.growth is not None) == has_growth == repr(truth).startswith("Truth(growth")


# ---------------------------------------------------------------- priors that match


#: A line in density grows by less than 2 / window in its middle whatever its prior: no match.
UNMATCHED = ("flat", "linear")


def table() -> list[PriorGrowth]:
    return prior_growth(load_spec("joint"), load_dataset("densing"), KINDS)


def test_priors_of_rival_trends_match() -> None:
    found = {row.trend: row for row in table()}
    assert list(found) == KINDS
    matched = [row for name, row in found.items() if name not in UNMATCHED]
    for one in matched:
        assert all(1.4 < sd < 3.2 for sd in one.sds), one
        for other in matched:
            assert one.is_like(other), (one, other)
    assert found["flat"].sds == (0.0, 0.0, 0.0) and found["flat"].is_like(found["gp"])
    assert found["linear"].middle < 2 / 2.4 and not found["linear"].is_like(found["exponential"])


def test_prior_sds_are_those_of_formulas() -> None:
    found = {row.trend: row for row in table()}
    assert found["exponential"].sds == pytest.approx((2.0, 2.0, 2.0), rel=0.02)
    known = found["break_known@2024-04-01"]
    assert known.sds == pytest.approx((5**0.5,) * 3, rel=0.03)
    llms = observe(load_spec("joint"), load_dataset("densing")).llms
    for at, sd in ((llms.years.min(), found["quadratic"].start),
                   (llms.years.max(), found["quadratic"].end)):  # fmt: skip
        assert sd == pytest.approx((4 + (0.7 * at) ** 2) ** 0.5, rel=0.03)


def test_a_wider_prior_of_the_user_is_seen() -> None:
    spec = load_spec("joint").with_overrides(["trend.priors.growth_rate.kwargs.sigma=20"])
    wide = prior_growth(spec, load_dataset("densing"))
    usual = prior_growth(load_spec("joint"), load_dataset("densing"))
    assert [row.trend for row in wide] == ["exponential"]
    assert wide[0].start / usual[0].start == pytest.approx(10.0, rel=0.02)
    assert not wide[0].is_like(usual[0]) and MOST_FACTOR == 2.0


@pytest.mark.parametrize("kind", KINDS)
def test_draws_of_a_trend_alone_are_those_of_its_priors(kind: str) -> None:
    spec, data = small(kind)
    drawn = draw_trend(spec, data.llms, np.random.default_rng(9), 2000)
    whole = trend_on(spec, data.llms)
    assert set(whole.trend.drawn) <= set(drawn)
    growth = whole.at_dates().growth_rate(data.llms.years.max(), draws_as_columns(drawn))
    assert np.isfinite(growth).all()
    for name, prior in spec.used_priors("trend").items():
        if prior.dist == "Normal" and not prior.is_hierarchical:
            assert drawn[name].std() == pytest.approx(float(str(prior.kwargs["sigma"])), rel=0.1)


def test_the_page_shows_these_sds() -> None:
    page = Path(__file__).parents[1] / "docs" / "explanation" / "trends.md"
    part = page.read_text(encoding="utf-8").split("<!-- prior sds of growth -->")[1]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \| (.+) \| (.+) \| (.+) \|$", part, flags=re.M)
    assert [row[0] for row in rows] == KINDS
    for shown, row in zip(rows, table(), strict=True):
        for text, number in zip(shown[1:], (*row.sds, row.p_growing), strict=True):
            if text.startswith("> "):
                assert number > float(text[2:].replace(",", ""))
            else:
                assert float(text) == pytest.approx(number, abs=0.01)
