"""Forecasts: bands and dates against brute force, mass at never, corollaries, the verb."""

import csv
import datetime as dt
import io
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from fake_fit import ORIGIN, WINDOW, fake_fit
from program import hold, invoke
from scipy import optimize, stats

from bayesdense import derive
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import tails
from bayesdense.fit_tree import constant_data
from bayesdense.forecasting import first_reached, forecast
from bayesdense.items import item_variance
from bayesdense.laws import chinchilla_loss
from bayesdense.names import LAW_PARAMETERS, MAP_PARAMETERS
from bayesdense.observations import observe
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_logit_score, logistic_score
from bayesdense.spec import load_spec
from bayesdense.stacking import stacked_forecast

AT = "2026-06-30"
COMPARED = Path(__file__).parents[1] / "docs" / "evidence" / "compare-densing.json"


def years(date: str) -> float:
    return float((np.datetime64(date) - np.datetime64(ORIGIN)).astype(int)) / 365.25


def date_of(year: float) -> str:
    day = dt.date.fromisoformat(ORIGIN) + dt.timedelta(days=round(year * 365.25))
    return day.isoformat()


def near(found: str, expected: str, days: int = 2) -> bool:
    return abs(dt.date.fromisoformat(found) - dt.date.fromisoformat(expected)).days <= days


def one_draw(n: int = 4000, **options: object) -> Fit:
    """A fit that knows its parameters: one draw, n times."""
    fit = fake_fit(chains=1, draws=n, **options)  # type: ignore[arg-type]
    known = fit.posterior.isel(draw=np.full(n, 7)).assign_coords(draw=np.arange(n))
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(known)
    return Fit(tree, fit.spec)


def with_constant(fit: Fit, **values: object) -> Fit:
    tree = fit.tree.copy()
    tree["constant_data"] = xr.DataTree(fit.group("constant_data").assign(**values))
    return Fit(tree, fit.spec)


def test_bands_are_those_of_brute_force():
    fit = fake_fit()
    (found,) = forecast(fit, AT)["dates"]
    eta = (fit.posterior["trend_intercept"] + fit.posterior["growth_rate"] * years(AT)).values
    low, middle, high = np.exp(np.quantile(eta, [0.025, 0.5, 0.975]))
    assert found["typical"]["median"] == pytest.approx(middle)
    assert found["typical"]["eti95"] == pytest.approx([low, high])
    sd = np.hypot(fit.posterior["family_sd"], fit.posterior["residual_sd"]).values
    many = eta[..., None] + sd[..., None] * np.random.default_rng(1).normal(size=(*eta.shape, 500))
    expected = np.quantile(many, [0.025, 0.25, 0.5, 0.75, 0.975])
    new = found["new_llm"]
    logs = np.log([new["eti95"][0], *new["eti50"], new["median"], new["eti95"][1]])
    assert np.sort(logs) == pytest.approx(expected, abs=0.25)
    assert found["extrapolated"]
    assert not forecast(fit, WINDOW[1])["dates"][0]["extrapolated"]
    assert forecast(fit, "2010-01-01")["dates"][0]["extrapolated"]


@pytest.mark.parametrize("residual", ["student_t", "composed"])
def test_a_new_llm_has_the_residual_of_the_model(residual):
    fit = one_draw(residual=residual)
    if residual == "student_t":
        tree = fit.tree.copy()
        df = xr.full_like(fit.posterior["residual_sd"], 5.0)
        tree["posterior"] = xr.DataTree(fit.posterior.assign(residual_df=df))
        fit = Fit(tree, fit.spec)
    theta = fit.posterior.isel(chain=0, draw=0)
    rng, n = np.random.default_rng(2), 400_000
    drawn = float(theta["family_sd"]) * rng.normal(size=n)
    if residual == "student_t":
        drawn += float(theta["residual_sd"]) * rng.standard_t(5.0, size=n)
    else:
        drawn += float(theta["residual_sd"]) * rng.normal(size=n)
        drawn -= float(theta["one_sided_sd"]) * rng.exponential(size=n)
    (found,) = forecast(fit, AT)["dates"]
    ratio = np.log(np.array(found["new_llm"]["eti50"]) / found["typical"]["median"])
    assert ratio == pytest.approx(np.quantile(drawn, [0.25, 0.75]), abs=0.08)


def test_the_date_of_a_density_is_that_of_brute_force():
    fit = fake_fit()
    payload = forecast(fit, AT, density=20.0)
    (target,) = payload["targets"]
    draws = (np.log(20.0) - fit.posterior["trend_intercept"]) / fit.posterior["growth_rate"]
    for prob, found in ((0.5, target["date"]["median"]), (0.975, target["date"]["eti95"][1])):
        assert near(found, date_of(float(np.quantile(draws, prob))))
    assert target["p_reached_by_horizon"] == 1.0
    assert target["dates"][0]["p_typical"] == pytest.approx(float((draws <= years(AT)).mean()))
    sd = np.hypot(fit.posterior["family_sd"], fit.posterior["residual_sd"])
    eta = fit.posterior["trend_intercept"] + fit.posterior["growth_rate"] * years(AT)
    chance = float(stats.norm.cdf((eta - np.log(20.0)) / sd).mean())
    assert target["dates"][0]["p_new_llm"] == pytest.approx(chance, abs=0.05)


def test_draws_that_never_reach_a_goal_are_later_than_every_date():
    fit = fake_fit(growth=0.15, growth_sd=0.25)
    payload = forecast(fit, AT, density=5.0, horizon="2034-01-01")
    (target,) = payload["targets"]
    growth, start = fit.posterior["growth_rate"].values, fit.posterior["trend_intercept"].values
    with np.errstate(divide="ignore"):
        draws = np.where(growth > 0, (np.log(5.0) - start) / growth, np.inf)
    draws = np.where(draws <= years("2034-01-01"), draws, np.inf)
    share = np.isfinite(draws).mean()
    assert 0.03 < share < 0.5, "else this test shows nothing"
    assert target["p_reached_by_horizon"] == pytest.approx(share, abs=0.005)
    assert target["date"]["median"] is None
    assert target["date"]["eti95"][1] is None
    low = np.quantile(draws, tails(0.95)[0], method="inverted_cdf")
    assert near(target["date"]["eti95"][0], date_of(float(low)), 3)


def test_what_was_reached_before_the_first_release_is_said():
    (target,) = forecast(fake_fit(), AT, density=1e-4)["targets"]
    assert target["p_reached_before_window"] == 1.0
    assert target["date"]["median"] == WINDOW[0]


def test_the_first_day_at_a_goal():
    days = np.array([0.0, 10.0, 20.0])
    lines = np.array([[0, 4, 0], [5, 0, 0], [0, 0, 0], [0, np.inf, np.inf], [0, np.inf, 0]], float)
    found = first_reached(days, lines, np.array([1.0, 1.0, 1.0, 1.0, np.inf]))
    assert found.tolist() == [2.5, 0.0, np.inf, 10.0, np.inf]
    assert first_reached(days, lines[2:3], np.array([-np.inf])).tolist() == [0.0]


def test_a_score_at_a_size_is_the_density_that_law_and_map_ask_for():
    fit = one_draw(6000)
    theta = fit.posterior.isel(chain=0, draw=0).sel(benchmark="BBH")
    constant = fit.group("constant_data")
    log_tokens = np.log(fit.spec.options.reference_tokens) - float(constant["log_tokens_centre"])

    def loss(x: float) -> float:
        law = (float(theta[name]) for name in LAW_PARAMETERS)
        return float(chinchilla_loss(x - float(constant["log_params_centre"]), log_tokens, *law))

    curve = [float(theta[name]) for name in MAP_PARAMETERS]
    needed = optimize.brentq(lambda x: float(logistic_score(loss(x), *curve)) - 0.6, 10, 60)
    n_params = 5e9
    (target,) = forecast(fit, AT, score={"BBH": 0.6}, params=n_params)["targets"]
    assert target["density"]["median"] == pytest.approx(np.exp(needed) / n_params, rel=1e-6)
    growth, start = float(theta["growth_rate"]), float(theta["trend_intercept"])
    goal = needed - np.log(n_params)
    assert near(target["date"]["median"], date_of((goal - start) / growth))
    eta = start + growth * years(AT)
    (by_date,) = target["dates"]
    assert by_date["size_needed"]["median"] == pytest.approx(np.exp(needed - eta), rel=1e-6)
    sd = np.hypot(float(theta["family_sd"]), float(theta["residual_sd"]))
    chance = 0.0
    for z in stats.norm.ppf((np.arange(2000) + 0.5) / 2000):
        mean = logistic_logit_score(loss(np.log(n_params) + eta + sd * z), *curve)
        own = float(theta["discrepancy_sd"]) ** 2 + float(theta["protocol_sd"]) ** 2
        var = own + item_variance(mean, 2000.0)
        chance += float(stats.norm.cdf((mean - np.log(0.6 / 0.4)) / np.sqrt(var))) / 2000
    assert by_date["p_new_llm"] == pytest.approx(chance, abs=0.02)


def test_a_score_that_no_size_reaches_is_never_reached():
    (target,) = forecast(fake_fit(), AT, score={"MMLU": 0.97}, params=7e9)["targets"]
    assert target["p_out_of_reach"] == 1.0
    assert target["p_reached_by_horizon"] == 0.0
    assert target["date"] == {"median": None, "eti50": [None, None], "eti95": [None, None]}
    assert target["density"]["median"] is None
    assert target["dates"][0]["p_typical"] == 0.0


def test_a_trend_that_leaves_the_numbers_is_counted(monkeypatch):
    fit = fake_fit()
    plain = derive.trend

    def singular(fit: Fit, dates: object) -> xr.DataArray:
        line = plain(fit, dates)  # type: ignore[arg-type]
        line.values[:, :50] = np.nan
        return line

    monkeypatch.setattr(derive, "trend", singular)
    (row,) = forecast(fit, AT, density=1e9)["dates"]
    assert row["p_not_finite"] == pytest.approx(50 / 250)
    assert row["typical"]["eti95"][1] is None
    assert row["typical"]["median"] is not None


def test_hardware_and_density_double_as_harmonic_sums():
    days = 3.3 * 30.4375
    rate = np.full((4, 250), np.log(2) / days * 365.25)
    found = forecast(fake_fit(growth_draws=rate), AT)["corollaries"]
    assert found["size_halving_days"]["median"] == pytest.approx(days)
    combined = 1 / (1 / days + 1 / (2.1 * 365.25))
    assert found["with_hardware_doubling_days"]["median"] == pytest.approx(combined)
    assert combined == pytest.approx(88, abs=1), "the paper's figure"
    slower = forecast(fake_fit(growth=0.0), AT, hardware_doubling_years=4.0)["corollaries"]
    assert slower["size_halving_days"]["unbounded"]
    assert not slower["with_hardware_doubling_days"]["unbounded50"]


def test_derived_llms_are_compared_draw_by_draw():
    fit = fake_fit()
    parents = ["", "llm-0", "", "", "", "elsewhere", "llm-2", ""]
    found = forecast(with_constant(fit, derived_from=("llm", parents)), AT)["derived"]
    assert [(p["llm"], p["derived_from"]) for p in found["pairs"]] == [
        ("llm-1", "llm-0"), ("llm-6", "llm-2")
    ]  # fmt: skip
    assert found["n_without_parent"] == 1
    log_density = fit.posterior["log_density"]
    ratios = [log_density.sel(llm=a).values - log_density.sel(llm=b).values
              for a, b in (("llm-1", "llm-0"), ("llm-6", "llm-2"))]  # fmt: skip
    for pair, ratio in zip(found["pairs"], ratios, strict=True):
        assert pair["ratio"]["eti95"] == pytest.approx(np.exp(np.quantile(ratio, [0.025, 0.975])))
        assert pair["p_denser"] == pytest.approx((ratio > 0).mean())
    both = np.exp(np.median((ratios[0] + ratios[1]) / 2))
    assert found["all_pairs"]["ratio"]["median"] == pytest.approx(both)
    assert forecast(fit, AT)["derived"]["all_pairs"] is None


@pytest.mark.parametrize(
    "kind", [{}, {"densities_only": True}, {"trend": "flat"}, {"options": {"feedback": "cut"}}]
)
def test_every_kind_of_fit_forecasts(kind):
    payload = forecast(fake_fit(draws=40, **kind), [AT, "2023-03-01", AT], density=3.0)
    hold(json.loads(json.dumps(payload, allow_nan=False)), "forecast")
    assert [row["date"] for row in payload["dates"]] == [AT, "2023-03-01"]


def test_the_answer_with_scores_follows_its_schema():
    fit = fake_fit(draws=40)
    parents = ("llm", ["", "llm-0", *[""] * 6])
    payload = forecast(
        with_constant(fit, derived_from=parents), [AT], score={"MMLU": 0.7, "BBH": 0.5}, params=3e9
    )
    hold(json.loads(json.dumps(payload, allow_nan=False)), "forecast")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": "2026"}, "'2026' is not a date"),
        ({"at": []}, "no date"),
        ({"density": 0.0}, "density 0, allowed: a positive number"),
        ({"density": float("nan")}, "density nan"),
        ({"score": {"MMLU": 0.7}}, "needs params"),
        ({"params": 1e9}, "params without a score"),
        ({"score": {"MMLU": 70.0}, "params": 1e9}, "score 70 on MMLU, allowed: between 0 and 1"),
        ({"score": {"MMLUU": 0.7}, "params": 1e9}, "did you mean 'MMLU'"),
        ({"density": 1.0, "horizon": "2020-01-01"}, "horizon 2020-01-01, allowed: a date after"),
        ({"hardware_doubling_years": -1.0}, "hardware_doubling_years -1"),
    ],
)
def test_what_cannot_be_forecast_is_refused(options, message):
    with pytest.raises(BayesdenseError, match=message):
        forecast(fake_fit(draws=5), **{"at": AT, **options})


def test_a_fit_of_densities_knows_no_scores():
    with pytest.raises(BayesdenseError, match="published densities"):
        forecast(fake_fit(densities_only=True, draws=5), AT, score={"MMLU": 0.5}, params=1e9)


def test_the_verb_answers_in_three_forms(tmp_path, monkeypatch, capsys):
    folder = fake_fit(draws=60).save(tmp_path / "fit")
    asked = ("forecast", folder, "--at", AT, "--at", "2025-01-01", "--density", "20",
             "--score", "MMLU=0.8", "--params", "4e9")  # fmt: skip
    status, out, _ = invoke(monkeypatch, capsys, *asked)
    assert status == 0
    assert f"{AT} *" in out
    assert "2025-01-01 *" not in out
    assert "80.0 % on MMLU" in " ".join(out.split())
    status, out, _ = invoke(monkeypatch, capsys, *asked, "--format", "json")
    hold(json.loads(out), "forecast")
    status, out, _ = invoke(monkeypatch, capsys, *asked, "--format", "csv")
    first, second = csv.DictReader(io.StringIO(out))
    assert (first["date"], second["date"]) == (AT, "2025-01-01")
    assert float(first["typical_eti95_low"]) < float(first["typical_median"])
    twice = (*asked, "--score", "MMLU=0.7")
    assert "--score MMLU: is there twice" in invoke(monkeypatch, capsys, *twice)[2]
    status, _, err = invoke(monkeypatch, capsys, "forecast", folder, "--at", AT, "--score", "0.7")
    assert status == 2
    assert "write it as BENCHMARK=VALUE" in err


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        (("--density", "1e-9"), f"before {WINDOW[0]} (as is the whole 95 % interval); P(by"),
        (("--density", "1e30"), "never, or after the horizon (as is the whole 95 % interval)"),
        (("--score", "MMLU=0.01"), "(which takes no size: it is no better than chance): before"),
        (("--score", "MMLU=0.9999"), "(which no size reaches): never, or after the horizon"),
    ],
)
def test_goals_that_are_behind_or_out_of_reach_have_no_date(
    tmp_path, monkeypatch, capsys, goal, said
):
    folder = fake_fit(draws=60).save(tmp_path / "fit")
    size = ("--params", "4e9") if "--score" in goal else ()
    _, out, _ = invoke(monkeypatch, capsys, "forecast", folder, "--at", AT, *goal, *size)
    assert said in " ".join(out.split())


def test_a_forecast_of_a_fit_whose_checks_fail_says_so(tmp_path, monkeypatch, capsys):
    fit = fake_fit(draws=60)
    moved = fit.posterior.assign(growth_rate=fit.posterior["growth_rate"] + fit.posterior["chain"])
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(moved)
    folder = Fit(tree, fit.spec).save(tmp_path / "apart")
    _, out, _ = invoke(monkeypatch, capsys, "forecast", folder, "--at", AT)
    assert "Checks of the fit (joint, trend exponential) fail: r_hat" in " ".join(out.split())


def test_a_fit_keeps_what_forecasts_read_of_its_data():
    data = observe(load_spec("joint"), load_dataset("densing"))
    constant = constant_data(data)
    made_from = dict(zip(constant["llm"].values, constant["derived_from"].values, strict=True))
    assert made_from["Gemma-2-9B"] == "Gemma-2-27B"
    assert made_from["Gemma-2-27B"] == ""
    assert constant["score_other_protocol"].values.tolist() == data.scores.other_protocol.tolist()


# ---------------------------------------------------------------- stacked over trends


def two_fits(**kind):
    return [
        fake_fit(growth=2.0, growth_sd=0.1, **kind),
        fake_fit(growth=0.0, growth_sd=0.1, trend="flat", **kind),
    ]


def test_a_stacked_forecast_is_the_mixture():
    fits = two_fits()
    found = stacked_forecast(fits, {"exponential": 0.3, "flat": 0.1}, AT, density=3.0)
    hold(json.loads(json.dumps(found, allow_nan=False)), "forecast")
    assert [(one["trend"], one["n_draws"]) for one in found["stack"]] == [
        ("exponential", 3000), ("flat", 1000)
    ]  # fmt: skip
    etas = [derive.trend(fit, [AT]).values.ravel() for fit in fits]
    lines = np.sort(np.concatenate(etas))
    weights = np.concatenate([np.full(len(etas[0]), 0.75), np.full(len(etas[1]), 0.25)])
    order = np.argsort(np.concatenate(etas))
    cdf = np.cumsum(weights[order]) / weights.sum()
    (row,) = found["dates"]
    for prob, value in (
        (0.5, row["typical"]["median"]),
        (0.025, row["typical"]["eti95"][0]),
        (0.975, row["typical"]["eti95"][1]),
    ):
        assert np.interp(np.log(value), lines, cdf) == pytest.approx(prob, abs=0.01)
    (target,) = found["targets"]
    alone = [forecast(fit, AT, density=3.0)["targets"][0] for fit in fits]
    for name in ("p_reached_by_horizon",):
        mixed = 0.75 * alone[0][name] + 0.25 * alone[1][name]
        assert target[name] == pytest.approx(mixed, abs=0.01)
    mixed = 0.75 * alone[0]["dates"][0]["p_new_llm"] + 0.25 * alone[1]["dates"][0]["p_new_llm"]
    assert target["dates"][0]["p_new_llm"] == pytest.approx(mixed, abs=0.02)


def test_a_weight_of_one_is_the_forecast_itself():
    fits = two_fits()
    stacked = stacked_forecast(fits, {"exponential": 1.0, "flat": 0.0}, AT, score={"MMLU": 0.7},
                               params=4e9)  # fmt: skip
    plain = forecast(fits[0], AT, score={"MMLU": 0.7}, params=4e9)
    for part in ("typical", "new_llm"):
        ours, its = (np.log(one["dates"][0][part]["median"]) for one in (stacked, plain))
        assert ours == pytest.approx(its, abs=0.05)
    chance = stacked["targets"][0]["dates"][0]["p_new_llm"]
    assert chance == pytest.approx(plain["targets"][0]["dates"][0]["p_new_llm"], abs=0.02)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"exponential": 1.0}, "no weight of trend 'flat'"),
        ({"exponential": 0.5, "flat": 0.4, "quadratic": 0.1}, "'quadratic' has the weight 0.1"),
        ({"exponential": 0.0, "flat": 0.0}, "not all 0"),
        ({"exponential": 2.0, "flat": -1.0}, "none negative"),
    ],
)
def test_weights_have_to_be_of_the_fits(weights, message):
    with pytest.raises(BayesdenseError, match=message):
        stacked_forecast(two_fits(draws=5), weights, AT)


def test_a_refined_grid_is_no_other_model():
    """Fits refine the spacing of their grid, each as it has to."""
    one, other = two_fits(draws=50)
    finer = fake_fit(trend="flat", draws=50, options={"quadrature_spacing": 0.5})
    assert finer.spec.digest != other.spec.digest
    weights = {"exponential": 0.5, "flat": 0.5}
    assert len(stacked_forecast([one, finer], weights, AT)["stack"]) == 2


def test_fits_that_cannot_be_stacked_are_refused():
    one, _ = two_fits(draws=5)
    weights = {"exponential": 0.5, "flat": 0.5}
    for fits, message in (
        ([one], "two or more"),
        ([one, one], "two or more, each once"),
        ([one, fake_fit(draws=5, trend="flat", residual="composed")], "other models"),
    ):
        with pytest.raises(BayesdenseError, match=message):
            stacked_forecast(fits, weights, AT)


def test_the_verb_stacks(tmp_path, monkeypatch, capsys):
    fits = two_fits(draws=60)
    one, other = (fit.save(tmp_path / name) for fit, name in zip(fits, "ab", strict=True))
    digest = fits[0].dataset_info["digest"]
    content = json.loads(COMPARED.read_text(encoding="utf-8"))["compare"]
    content["dataset"]["digest"] = digest
    first = content["hypotheses"][0]
    weights = {"exponential": 0.6, "flat": 0.4}
    content["hypotheses"] = [
        first | {"name": k, "weight_lfo": weights[k], "model_digest": fit.spec.posterior_digest}
        for k, fit in zip(weights, fits, strict=True)
    ]
    others = [one | {"model_digest": "0" * 64} for one in content["hypotheses"]]
    lacking = [one | {"weight_lfo": None} for one in content["hypotheses"]]
    path = tmp_path / "compare.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    verb = ("forecast", one, "--at", AT, "--with", other, "--weights", path)
    status, out, _ = invoke(monkeypatch, capsys, *verb)
    assert status == 0
    assert "exponential 0.60, flat 0.40" in " ".join(out.split())
    status, out, _ = invoke(monkeypatch, capsys, *verb, "--format", "json")
    hold(json.loads(out), "forecast")
    for change, message in (
        ({"hypotheses": lacking}, "--lfo"),
        ({"hypotheses": [others[0] | {"model_digest": "1" * 64}, others[1]]}, "another model"),
        ({"hypotheses": others}, "under another model"),
        ({"dataset": content["dataset"] | {"digest": "other"}}, "other data"),
        ({"verdict": 3}, "no result of compare"),
    ):
        path.write_text(json.dumps(content | change), encoding="utf-8")
        status, _, err = invoke(monkeypatch, capsys, *verb)
        assert status == 2
        assert message in " ".join(err.split())
    status, _, err = invoke(monkeypatch, capsys, *verb[:-2])
    assert (status, "both or neither" in " ".join(err.split())) == (2, True)
