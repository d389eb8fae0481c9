"""Every trend at LLMs that a fit has not seen: in the fit's window, as at mere dates."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from fake_fit import fake_fit
from made_up import small_data
from modelling import small_observations
from program import hold, invoke

from bayesdense import derive
from bayesdense.checks import Checks
from bayesdense.comparison.hiding import hide
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.fit_tree import constant_data
from bayesdense.forecasting import forecast
from bayesdense.forecasting.ahead import Ahead
from bayesdense.forecasting.goals import _log_size_of, _size_needed
from bayesdense.frontier import frontier_readings
from bayesdense.frozen import freeze_forecast
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import LLMData, observe, trend_on
from bayesdense.prior_draws import draw_trend, lengthened
from bayesdense.results import Fit
from bayesdense.scoring import score
from bayesdense.simulate.story import trend_at
from bayesdense.spec import load_spec
from bayesdense.studies.later import _placed
from bayesdense.summary import summarize
from bayesdense.trends import TRENDS

#: Trends that have no name without a date; groups and covariates ask for more than dates.
AT = {"break_known": "break_known@2024-04-01"}
OF_DATES = [AT.get(kind, kind) for kind in TRENDS if kind not in ("groups", "covariate")]
CHAINS, DRAWS = 2, 150
LATER = "2026-09-01"


def llms_of(fit: Fit) -> LLMData:
    """Dates of the fake fit's LLMs, two groups of them, and a covariate."""
    constant = fit.group("constant_data")
    years = constant["release_year"].to_numpy()
    log_params = np.log(constant["n_params"].to_numpy())
    return LLMData(
        names=tuple(map(str, constant["llm"].values)),
        families=tuple(map(str, constant["family"].values)),
        family_idx=constant["family_idx"].to_numpy(),
        release_dates=tuple(map(str, constant["release_date"].values)),
        years=years,
        time_origin=fit.time_origin,
        log_params=log_params,
        params_used="non_embedding",
        groups=("dense", "mixture of experts"),
        group_idx=np.arange(len(years)) % 2,
        covariate=log_params - log_params.mean(),
        covariate_mean=float(log_params.mean()),
    )


def under(kind: str) -> Fit:
    """A fake fit whose trend has its prior for posterior."""
    plain = fake_fit(chains=CHAINS, draws=DRAWS)
    spec, llms = plain.spec.with_options(trend=kind), llms_of(plain)
    drawn = draw_trend(spec, llms, np.random.default_rng(8), CHAINS * DRAWS)
    if kind == "hyperbolic":  # none ends before the dates that are asked for
        drawn["singular_gap"] = drawn["singular_gap"] + 3.0
    if kind == "linear":  # nor is the growth at the window's end beyond all numbers
        drawn["growth_rate"] = 0.1 * drawn["growth_rate"]
    labels, dims = trend_on(spec, llms).labels, trend_on(spec, llms).trend.dims
    posterior = plain.posterior.drop_vars(["trend_intercept", "growth_rate"])
    values = {
        name: ((CHAIN, DRAW, *([dims[name]] if name in dims else [])), v)
        for name, v in ((n, v.reshape(CHAINS, DRAWS, *v.shape[1:])) for n, v in drawn.items())
    }
    posterior = posterior.assign(values).assign_coords({k: list(v) for k, v in labels.items()})
    constant = plain.group("constant_data").assign(covariate=("llm", llms.covariate))
    if kind == "groups":
        constant = constant.assign(group_idx=("llm", llms.group_idx))
        constant = constant.assign_coords(group=list(llms.groups))
    tree = plain.tree.copy()
    tree["posterior"], tree["constant_data"] = xr.DataTree(posterior), xr.DataTree(constant)
    tree.attrs.update(spec=spec.to_json(), spec_digest=spec.digest)
    return Fit(tree, spec)


def newcomers(tmp_path: Path, *dates: str) -> Path:
    rows = [f"new {k},{d},4.4e9,4e9,alone {k},0.5,0.45" for k, d in enumerate(dates)]
    path = tmp_path / "new.csv"
    path.write_text("llm,release_date,n_params,n_params_non_embedding,family,MMLU,BBH\n")
    path.write_text(path.read_text() + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("kind", OF_DATES)
def test_the_trend_of_a_new_llm_is_that_of_its_date(kind: str, tmp_path: Path) -> None:
    fit, dates = under(kind), ("2024-02-01", LATER)
    found = score(fit, newcomers(tmp_path, *dates))
    for one, date in zip(found["llms"], dates, strict=True):
        line = derive.trend(fit, [date]).to_numpy()
        assert one["trend"]["median"] == pytest.approx(np.exp(np.median(line)))


@pytest.mark.parametrize("kind", [*OF_DATES, "groups", "covariate"])
def test_later_llms_are_read_in_the_window_of_the_earlier(kind: str) -> None:
    """The trend at an LLM's date does not depend on which other LLMs came later."""
    fit = under(kind)
    llms = llms_of(fit)
    joint = small_data()
    some = replace(
        small_observations(fit.spec),
        llms=llms,
        scores=joint.scores,
    )
    moved = replace(
        llms,
        years=llms.years + 1.5,
        release_dates=tuple(
            str(np.datetime64(d) + np.timedelta64(548, "D")) for d in llms.release_dates
        ),
    )
    placed = _placed(fit.spec, some, replace(some, llms=moved)).llms
    plain = fit.posterior.drop_vars([str(name) for name in fit.posterior.coords])
    on = trend_on(fit.spec, placed)
    theta = lengthened(plain, fit.spec, on, fit.seed)
    found = trend_at(theta, fit.spec, placed).transpose(CHAIN, DRAW, "llm").to_numpy()
    days = [
        str(np.datetime64(fit.time_origin) + np.timedelta64(round(y * 365.25), "D"))
        for y in placed.years
    ]
    exact = derive.trend(fit, days)
    if kind == "covariate":
        exact = exact + fit.posterior["covariate_slope"] * xr.DataArray(
            placed.covariate, dims="date"
        )
    if kind == "groups":
        exact = xr.concat(
            [
                derive.trend(fit, [day], group=placed.groups[placed.group_idx[i]])  # type: ignore[index]
                for i, day in enumerate(days)
            ],
            dim="date",
        )
    off = np.abs(found - exact.transpose(CHAIN, DRAW, "date").to_numpy())
    assert (off < 0.1).mean() > 0.99  # dates are whole days


def test_the_future_of_a_walk_is_one_for_each_draw_and_opens() -> None:
    fit = under("random_walk")
    both = derive.trend(fit, ["2026-01-01", LATER])
    alone = derive.trend(fit, ["2026-01-01"])
    np.testing.assert_array_equal(both.isel(date=0), alone.isel(date=0))
    frozen = fit.posterior.assign(growth_step_sd=1e-9 * fit.posterior["growth_step_sd"])
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(frozen)
    straight = derive.trend(Fit(tree, fit.spec), ["2026-01-01", LATER])
    apart = [float((both - straight).isel(date=k).std()) for k in (0, 1)]
    assert apart[1] > 2 * apart[0] > 0.05, "it opens beyond the last growth's going on"


@pytest.mark.parametrize("kind", ["random_walk", "staircase"])
def test_what_is_to_come_moves_nothing_before_it(kind: str) -> None:
    fit, early = under(kind), ["2022-06-01", "2023-06-01"]
    both = derive.trend(fit, [*early, LATER]).isel(date=[0, 1])
    np.testing.assert_allclose(both, derive.trend(fit, early), atol=1e-12)


def test_steps_to_come_have_the_sd_of_those_before() -> None:
    """Each draw's further growth is Normal(0, growth_step_sd) a quarter."""
    fit = under("random_walk")
    on = trend_on(fit.spec, llms_of(fit)).until(8.0)
    longer = lengthened(fit.posterior, fit.spec, on, fit.seed)
    n = fit.posterior.sizes["knot"]
    assert longer.sizes["knot"] == len(on.labels["knot"]) > n + 10
    np.testing.assert_array_equal(longer["growth_step"][..., :n], fit.posterior["growth_step"])
    z = longer["growth_step"][..., n:] / longer["growth_step_sd"]
    assert float(z.std()) == pytest.approx(1.0, abs=0.03)
    assert abs(float(z.mean())) < 0.05
    shorter = trend_on(fit.spec, llms_of(fit)).until(6.0)
    part = lengthened(fit.posterior, fit.spec, shorter, fit.seed)["growth_step"]
    np.testing.assert_array_equal(longer["growth_step"][..., : part.shape[-1]], part)


@pytest.mark.parametrize("kind", [*OF_DATES, "groups", "covariate"])
def test_every_trend_has_readings(kind: str) -> None:
    fit = under(kind)
    rows = {row["reading"]: row for row in frontier_readings(fit)["readings"]}
    assert rows["attempts"]["absent"] is None
    assert np.isfinite(rows["attempts"]["growth_rate_per_year"]["median"])


@pytest.mark.parametrize("kind", ["groups", "covariate@log_overtraining"])
def test_what_is_not_known_of_new_llms_is_refused(kind: str, tmp_path: Path) -> None:
    fit = under(kind)
    with pytest.raises(SpecError, match="of a new LLM is not known here"):
        score(fit, newcomers(tmp_path, LATER))
    with pytest.raises(BayesdenseError, match="freeze a fit of another trend"):
        freeze_forecast(fit, tmp_path / "forecast.json")


def test_size_as_a_covariate_is_known(tmp_path: Path) -> None:
    fit = under("covariate")
    (one,) = score(fit, newcomers(tmp_path, LATER))["llms"]
    x = np.log(4e9) - np.log(fit.group("constant_data")["n_params"].to_numpy()).mean()
    line = derive.trend(fit, [LATER]).isel(date=0) + fit.posterior["covariate_slope"] * x
    assert one["trend"]["median"] == pytest.approx(float(np.exp(line.median())))


def test_a_new_llm_is_of_one_group_or_another() -> None:
    """Groups far apart: the band of new LLMs holds both, in the shares of their families."""
    fit = under("groups")
    level = fit.posterior["group_level"]
    apart = level.copy(data=np.broadcast_to([0.0, 50.0], level.shape))
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(fit.posterior.assign(group_level=apart))
    fit = Fit(tree, fit.spec)
    share = derive.group_shares(fit)["mixture of experts"]
    assert 0 < share < 1
    drawn = Ahead.of(fit, [LATER]).deviation
    of_sparse = drawn > 25 - 50 * share
    assert of_sparse.mean() == pytest.approx(share, abs=0.1)
    assert drawn[of_sparse].mean() == pytest.approx(50 * (1 - share), abs=3)
    assert Ahead.of(under("exponential"), [LATER]).deviation.std() < 10


def test_size_as_a_covariate_counts_where_it_is_known_and_spreads_where_not() -> None:
    fit = under("covariate")
    constant = fit.group("constant_data")
    slope = fit.posterior["covariate_slope"].transpose(CHAIN, DRAW).to_numpy()
    mean = float(np.log(constant["n_params"].to_numpy()).mean())
    part = Ahead.of(fit, [LATER])
    drawn = part.of_covariate[..., 0] / slope
    assert set(np.round(drawn.ravel(), 6)) <= set(np.round(constant["covariate"].to_numpy(), 6))
    np.testing.assert_allclose(
        part.new_llm(0), part.line(0) + (part.deviation + part.of_covariate)[..., 0]
    )
    for params in (1e9, 1e11):
        (target,) = forecast(fit, LATER, score={"MMLU": 0.6}, params=params)["targets"]
        (row,) = target["dates"]
        line = part.line(0) + slope * (np.log(params) - mean)
        needed = np.log(params) + _needed(fit, 0.6, params)
        assert row["p_typical"] == pytest.approx(float((line >= needed - np.log(params)).mean()))
        size = (needed + slope * mean - part.line(0)) / (1 + slope)
        size[slope <= -1] = np.inf  # draws of the prior, and none is dropped
        expected = np.exp(np.quantile(size, 0.5, method="inverted_cdf"))
        assert row["size_needed"]["median"] == pytest.approx(float(expected))


def _needed(fit: Fit, value: float, params: float) -> np.ndarray:
    """Log density at which LLMs of a size score so."""
    return _log_size_of(fit, "MMLU", value, 0.0) - np.log(params)


def test_where_a_larger_llm_is_worth_no_more_no_size_is_enough() -> None:
    needed = _size_needed(np.full(3, 25.0), np.full(3, 1.0), np.array([0.0, -0.5, -1.2]))
    np.testing.assert_array_equal(needed, [24.0, 48.0, np.inf])


def test_no_dates_have_no_trend() -> None:
    assert derive.trend(under("random_walk"), []).sizes["date"] == 0


def test_a_covariate_of_llms_to_come_that_is_not_known_is_refused() -> None:
    fit = under("covariate@log_overtraining")
    with pytest.raises(BayesdenseError, match="log_overtraining of LLMs to come"):
        forecast(fit, LATER, score={"MMLU": 0.6}, params=1e9)


def test_a_window_that_is_not_the_llms_own_is_kept_with_the_fit() -> None:
    """Refits without the latest LLMs read their trend in the window in which they were fitted."""
    spec = load_spec("trend_only").with_options(trend="logistic")
    dataset = load_dataset("densing-published")
    whole = observe(spec, dataset)
    part = hide(spec, dataset, [whole.llms.names[i] for i in np.argsort(whole.llms.years)[-9:]])
    kept = constant_data(part)["trend_window"].to_numpy().tolist()
    assert kept == [whole.llms.years.min(), whole.llms.years.max()]
    assert "trend_window" not in constant_data(whole)


# ---------------------------------------------------------------- singular trends


def singular(growth: float, gap: tuple[float, float]) -> Fit:
    """Hyperbolic: the first half of the draws end within `gap[0]` years, the others `gap[1]`."""
    fit = under("hyperbolic")
    gaps = np.where(np.arange(DRAWS) < DRAWS / 2, *gap) * np.ones((CHAINS, 1))
    posterior = fit.posterior.assign(
        growth_rate=xr.full_like(fit.posterior["growth_rate"], growth),
        singular_gap=fit.posterior["growth_rate"].copy(data=gaps),
    )
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(posterior)
    return Fit(tree, fit.spec)


def ahead(fit: Fit) -> Mapping[str, Any]:
    return forecast(fit, "2027-01-01", density=1e30, horizon="2028-01-01")


def test_a_singular_date_is_told_and_not_hidden_in_growth() -> None:
    found = ahead(singular(1.0, (1.0, 50.0)))
    (row,), (target,) = found["dates"], found["targets"]
    assert row["p_singular"] == found["p_singular_by_horizon"] == 0.5
    assert row["growth_rate_per_year"] is None
    assert row["doubling_time_days"] is None
    assert target["p_reached_by_horizon"] == 0.5
    assert row["typical"]["eti95"][1] is None
    assert found["corollaries"]["size_halving_days"]["median"] is not None


def test_columns_are_the_same_with_growth_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = []
    for name, gaps in (("some", (1.0, 50.0)), ("none", (40.0, 50.0))):
        folder = singular(1.0, gaps).save(tmp_path / name)
        verb = ("forecast", folder, "--at", "2027-01-01")
        status, out, _ = invoke(monkeypatch, capsys, *verb, "--format", "csv")
        assert status == 0
        heads.append(out.splitlines()[0])
        _, out, _ = invoke(monkeypatch, capsys, *verb)
        assert ("P(density has become infinite" in out) == (name == "some")
        _, out, _ = invoke(monkeypatch, capsys, *verb, "--format", "json")
        hold(json.loads(out), "forecast")
    assert heads[0] == heads[1]


def test_new_llms_after_a_singular_date_are_refused(tmp_path: Path) -> None:
    fit = singular(1.0, (1.0, 50.0))
    with pytest.raises(SpecError, match=r"infinite by 2027-01-01 with probability 0\.5.*earlier"):
        score(fit, newcomers(tmp_path, "2025-07-01", "2027-01-01"))


def test_what_shrinks_to_nothing_reaches_no_goal() -> None:
    found = ahead(singular(-1.0, (1.0, 50.0)))
    (row,), (target,) = found["dates"], found["targets"]
    assert row["p_singular"] == 0.5
    assert row["p_not_finite"] == 0.5
    assert target["p_reached_by_horizon"] == 0.0
    assert row["typical"]["eti95"][0] == 0.0


def test_where_no_draw_ends_growth_is_told() -> None:
    found = ahead(singular(1.0, (40.0, 50.0)))
    assert found["p_singular_by_horizon"] == 0.0
    assert found["dates"][0]["growth_rate_per_year"]["p_positive"] == 1.0


# ---------------------------------------------------------------- hidden densities


@pytest.mark.parametrize("kind", ["break_known@2024-09-01", "logistic", "random_walk", "covariate"])
def test_hidden_densities_leave_the_trend_as_it_was(kind: str) -> None:
    """Refits without the latest LLMs are fits of the same trend: a bridge between them stands."""
    spec = load_spec("trend_only").with_options(trend=kind)
    dataset = load_dataset("densing-published")
    whole = observe(spec, dataset)
    late = [
        n for n, d in zip(whole.llms.names, whole.llms.release_dates, strict=True) if d > "2024"
    ]
    part = hide(spec, dataset, late)
    ours, theirs = trend_on(spec, part.llms), trend_on(spec, whole.llms)
    assert ours.labels == theirs.labels
    assert (ours.data.first, ours.data.last) == (theirs.data.first, theirs.data.last)
    kept = [k for k, name in enumerate(whole.llms.names) if name not in late]
    assert part.given.log_density.tolist() == whole.given.log_density[kept].tolist()
    of = {
        name: whole.llms.families[k]
        for name, k in zip(whole.llms.names, whole.llms.family_idx, strict=True)
    }
    assert [part.llms.families[k] for k in part.llms.family_idx] == [of[n] for n in part.llms.names]
    if part.llms.covariate is not None:
        assert whole.llms.covariate is not None
        np.testing.assert_array_equal(part.llms.covariate, whole.llms.covariate[kept])


@pytest.mark.parametrize("trend", ["exponential", "flat", "random_walk", "quadratic"])
def test_the_headline_names_the_date_where_growth_changes(trend: str) -> None:
    fit = under(trend)
    said = summarize(fit, Checks(()))["doubling_time_days"]["statement"]
    changes = trend in ("random_walk", "quadratic")
    assert derive.growth_changes(fit) == changes
    told = f"Under the trend {trend} growth changes: this is of {derive.last_release(fit)}."
    assert (told in said) == changes
