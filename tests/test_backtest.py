"""Predictions of later LLMs' scores: scoring rules, baselines, what a fit says, the whole study."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from datasets import tiny_dataset
from program import hold, invoke
from scipy.stats import norm

from bayesdense.arrays import Floats
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.elementary import expit
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.laws import chinchilla_loss
from bayesdense.names import LAW_PARAMETERS, MAP_PARAMETERS
from bayesdense.observations import Observations, observe
from bayesdense.point.records import fit_line
from bayesdense.proper_scores import clustered_mean, crps, mixture_log_score
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_logit_score
from bayesdense.simulate import simulate_dataset, write_dataset
from bayesdense.spec import load_spec
from bayesdense.studies import backtest as study
from bayesdense.studies import baselines
from bayesdense.studies.agreement import thinned
from bayesdense.studies.backtest import backtest
from bayesdense.studies.backtest_result import Backtest, _verdict
from bayesdense.studies.baselines import Band, bands, lines_of
from bayesdense.studies.later import (
    LaterDensities,
    LaterScores,
    later_densities,
    later_scores,
)
from bayesdense.studies.selection import Selection, select

# ---------------------------------------------------------------- scoring rules


def test_crps_of_a_normal_is_the_closed_form() -> None:
    y = np.array([-1.0, 0.3, 4.0])
    mean, sd = np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.2, 3.0])
    z = (y - mean) / sd
    exact = sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    draws = mean + sd * norm.ppf((np.arange(20_000)[:, None] + 0.5) / 20_000)
    np.testing.assert_allclose(crps(draws, y), exact, rtol=2e-3)


def test_crps_does_not_depend_on_the_number_of_draws() -> None:
    rng = np.random.default_rng(2)
    few = crps(rng.normal(size=(3, 40_000)), np.zeros(40_000))
    exact = 2 * norm.pdf(0) - 1 / np.sqrt(np.pi)
    assert few.mean() == pytest.approx(exact, abs=4 * few.std() / 200)


def test_the_log_score_is_that_of_the_mixture() -> None:
    mean, var = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[1.0, 4.0], [0.25, 1.0]])
    y = np.array([0.5, 2.0])
    exact = np.log(norm.pdf(y, mean, np.sqrt(var)).mean(axis=0))
    np.testing.assert_allclose(mixture_log_score(y, mean, var), exact, rtol=1e-12)


def test_an_error_over_clusters_does_not_shrink_by_copies() -> None:
    rng = np.random.default_rng(4)
    values, names = rng.normal(size=30), [f"f{k}" for k in range(30)]
    once = clustered_mean(values, names)
    copied = clustered_mean(np.repeat(values, 5), list(np.repeat(names, 5)))
    assert once.se == pytest.approx(values.std(ddof=1) / np.sqrt(30))
    assert copied.se == pytest.approx(once.se)
    assert (copied.n, copied.n_clusters) == (150, 30)
    assert clustered_mean(values, ["one"] * 30).se is None


def test_better_is_beyond_two_errors_only() -> None:
    # the error is 1: half the range over two clusters
    assert clustered_mean(np.array([1.0, 3.0]), ["a", "b"]).sign == 0
    assert clustered_mean(np.array([1.2, 3.2]), ["a", "b"]).sign == 1
    assert clustered_mean(np.array([-1.2, -3.2]), ["a", "b"]).sign == -1
    assert clustered_mean(np.array([5.0, 5.1]), ["a", "a"]).sign == 0
    found = clustered_mean(np.array([1.2, 3.2]), ["a", "b"])
    assert _verdict(found, more_is_better=True) == "model better"
    assert _verdict(found, more_is_better=False) == "baseline better"


# ---------------------------------------------------------------- baselines


def test_a_band_is_scored_as_a_normal() -> None:
    band = Band(np.array([0.0, 1.0, np.nan]), np.array([1.0, 0.5, 1.0]))
    y = np.array([0.7, 0.9, 0.0])
    found = band.scored(y, (0.5, 0.95))
    exact = norm.logpdf(y[:2], band.mean[:2], band.sd[:2])
    np.testing.assert_allclose(found["log_score"][:2], exact, rtol=1e-12)
    assert found["inside50"][:2].tolist() == [0.0, 1.0]  # .7 sd and .2 sd off; the quartile is .67
    assert all(np.isnan(values[2]) for values in found.values())
    draws = expit(np.random.default_rng(1).normal(0.0, 1.0, 200_000))
    assert found["crps"][0] == pytest.approx(crps(draws[:, None], expit(y[:1]))[0], abs=1e-3)


@pytest.fixture(scope="module")
def densing() -> Dataset:
    return load_dataset("densing")


def test_baselines_are_lines_through_the_earlier_densities(densing: Dataset) -> None:
    spec = load_spec("joint")
    earlier = select(densing, Selection(until="2024-04-01"))
    point, lines = lines_of(spec, earlier)
    assert set(lines) == {"records", "all_llms", "last_slope"}
    assert max(llm.release_date for llm in point.llms).isoformat() < "2024-04-01"
    finite = [llm for llm in point.llms if llm.log_density is not None]
    days = np.array([(llm.release_date - point.origin).days for llm in finite])
    slope, intercept = np.polyfit(days, [llm.log_density for llm in finite], 1)
    assert lines["all_llms"].slope_per_day == pytest.approx(slope)
    assert lines["all_llms"].intercept == pytest.approx(intercept)
    last = lines["last_slope"]
    for record in point.records[-2:]:
        on_line = last.intercept + last.slope_per_day * (record.release_date - point.origin).days
        assert on_line == pytest.approx(record.log_density)


def test_a_band_is_centred_and_as_wide_as_earlier_residuals(densing: Dataset) -> None:
    spec, until = load_spec("joint"), "2024-04-01"
    everything = observe(spec, densing)
    point, lines = lines_of(spec, select(densing, Selection(until=until)))
    data = everything.joint
    is_later = (np.array(data.llms.release_dates) >= until)[data.scores.llm_idx]
    names = data.benchmarks.names
    band = bands(spec, point, lines["all_llms"], data.llms, data.scores, names, is_later)
    assert band.is_there.all()
    predicted = baselines._predicted(spec, point, lines["all_llms"], data.llms, data.scores, names)
    for j in range(len(names)):
        mine = data.scores.benchmark_idx == j
        residual = (data.scores.logit_score - predicted)[mine & ~is_later]
        of_band = mine[is_later]
        expected = predicted[mine & is_later] + residual.mean()
        np.testing.assert_allclose(band.mean[of_band], expected)
        wide = residual.std(ddof=1) * np.sqrt(1 + 1 / len(residual))
        np.testing.assert_allclose(band.sd[of_band], wide)


def test_two_points_give_no_line() -> None:
    assert fit_line(np.array([0, 9]), np.array([0.0, 1.0])).slope_per_day is None


# ---------------------------------------------------------------- what a fit says of later LLMs


@pytest.fixture(scope="module")
def seen_and_all(densing: Dataset, marginal_fit: Fit) -> tuple[Observations, Observations]:
    """What the small fit saw, and all LLMs of `densing` on its benchmarks."""
    part = select(densing, Selection(benchmarks=("MMLU", "BBH")))
    everything = observe(marginal_fit.spec, part)
    names = [str(name) for name in marginal_fit.posterior["llm"].values]
    kept = [pd.Index(everything.llms.names).get_loc(name) for name in names]
    assert part.llms is not None
    earlier = replace(part, llms=part.llms[part.llms["llm"].isin(names)].reset_index(drop=True))
    assert part.scores is not None
    scores = part.scores[part.scores["llm"].isin(names)].reset_index(drop=True)
    assert part.score_reports is not None
    reports = part.score_reports[part.score_reports["llm"].isin(names)].reset_index(drop=True)
    seen = observe(marginal_fit.spec, replace(earlier, scores=scores, score_reports=reports))
    assert len(kept) == len(seen.llms.names)
    assert seen.llms.time_origin == marginal_fit.time_origin
    return seen, everything


def changed(fit: Fit, **values: Callable[[xr.DataArray], xr.DataArray]) -> Fit:
    """Replace variables of the posterior."""
    posterior = fit.posterior
    posterior = posterior.assign({name: how(posterior[name]) for name, how in values.items()})
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(posterior)
    return Fit(tree, fit.spec)


def tiny_scatter(draws: xr.DataArray) -> xr.DataArray:
    return xr.full_like(draws, 1e-9)


def test_without_scatter_scores_follow_from_trend_law_and_map(
    marginal_fit: Fit, seen_and_all: tuple[Observations, Observations]
) -> None:
    seen, everything = seen_and_all
    sure = changed(
        marginal_fit,
        residual_sd=tiny_scatter,
        family_sd=tiny_scatter,
        family_effect=xr.zeros_like,
    )
    later = later_scores(sure, seen, everything, np.random.default_rng(1))
    posterior = sure.posterior
    known = set(seen.llms.names)
    assert not {later.llms.names[i] for i in later.llm_idx} & known
    assert everything.scores is not None
    assert seen.scores is not None
    assert len(later.observed) == len(everything.scores.score) - len(seen.scores.score)

    def flat(name: str) -> Floats:
        values = posterior[name].transpose("chain", "draw", ...).values
        return np.asarray(values.reshape(-1, *values.shape[2:]))

    losses = seen.joint.losses
    for c in (0, len(later.observed) // 2, len(later.observed) - 1):
        i, j = later.llm_idx[c], later.benchmark_idx[c]
        date = pd.Timestamp(everything.llms.release_dates[i])
        years = (date - pd.Timestamp(seen.llms.time_origin)).days / 365.25
        size = everything.llms.log_params[i] + flat("trend_intercept") + flat("growth_rate") * years
        tokens = np.log(sure.spec.options.reference_tokens) - losses.log_tokens_centre
        law = [flat(name)[:, j] for name in LAW_PARAMETERS]
        loss = chinchilla_loss(size - losses.log_params_centre, tokens, *law)
        logit = logistic_logit_score(loss, *(flat(name)[:, j] for name in MAP_PARAMETERS))
        np.testing.assert_allclose(later.mean[:, c], logit, atol=1e-6)


def test_a_known_family_keeps_its_effect_and_a_new_one_is_drawn(
    marginal_fit: Fit, seen_and_all: tuple[Observations, Observations]
) -> None:
    seen, everything = seen_and_all

    def means(fit: Fit) -> Floats:
        return later_scores(fit, seen, everything, np.random.default_rng(1)).mean.mean(axis=0)

    later = later_scores(marginal_fit, seen, everything, np.random.default_rng(1))
    assert 0 < later.known_family.sum() < len(later.known_family)
    moved = means(changed(marginal_fit, family_effect=lambda draws: draws + 1.0))
    up = moved - later.mean.mean(axis=0)
    assert (up[later.known_family] > 0.02).all()
    np.testing.assert_allclose(up[~later.known_family], 0.0, atol=1e-12)


def test_densities_are_read_without_what_was_foretold_of_them(
    marginal_fit: Fit, seen_and_all: tuple[Observations, Observations]
) -> None:
    """A trend that lies higher foretells more, and reads the same off the scores."""
    seen, everything = seen_and_all

    def read(fit: Fit) -> LaterDensities:
        found = later_densities(fit, seen, everything, np.random.default_rng(1))
        assert found is not None
        return found

    plain = read(marginal_fit)
    higher = read(changed(marginal_fit, trend_intercept=lambda draws: draws + 0.5))
    assert set(plain.names) == set(everything.llms.names) - set(seen.llms.names)
    shift = (higher.drawn - plain.drawn).mean(axis=0)
    assert shift == pytest.approx(np.full(len(shift), 0.5), abs=0.15)
    assert np.median(np.abs(higher.observed - plain.observed)) < 0.1
    bent = Fit(marginal_fit.tree, marginal_fit.spec.with_options(residual="student_t"))
    assert later_densities(bent, seen, everything, np.random.default_rng(1)) is None


def test_a_second_reading_says_which_way_a_forecast_missed() -> None:
    drawn = np.random.default_rng(3).normal(size=(4000, 6))
    later = LaterDensities(tuple("abcdef"), tuple("aabbcc"), np.full(6, 1.5), drawn)
    found = study._densities(later)
    assert found is not None
    assert found["mean_above"] == pytest.approx(1.5, abs=0.05)
    assert (found["coverage80"], found["coverage95"]) == (0.0, 1.0)
    assert (found["n"], found["n_families"]) == (6, 3)
    assert study._densities(None) is None


def test_llms_of_one_new_family_share_its_effect(
    marginal_fit: Fit, seen_and_all: tuple[Observations, Observations]
) -> None:
    seen, everything = seen_and_all
    wide = changed(
        marginal_fit,
        residual_sd=tiny_scatter,
        family_sd=lambda draws: xr.full_like(draws, 1.0),
    )
    later = later_scores(wide, seen, everything, np.random.default_rng(1))
    on_first = np.flatnonzero((later.benchmark_idx == 0) & ~later.known_family)
    families = np.array(later.families)[on_first]
    names, counts = np.unique(families, return_counts=True)
    several = on_first[families == names[counts.argmax()]][:2]
    other = on_first[families != names[counts.argmax()]][0]
    spread = later.mean - later.mean.mean(axis=0)
    correlation = np.corrcoef(spread[:, [*several, other]].T)
    assert correlation[0, 1] > 0.9
    assert correlation[0, 2] < correlation[0, 1] - 0.1


def test_later_scores_do_not_move_their_own_prediction(
    marginal_fit: Fit, seen_and_all: tuple[Observations, Observations]
) -> None:
    seen, everything = seen_and_all
    assert everything.scores is not None
    other = replace(
        everything,
        scores=replace(everything.scores, logit_score=everything.scores.logit_score + 3.0),
    )
    one, two = (
        later_scores(marginal_fit, seen, data, np.random.default_rng(1))
        for data in (everything, other)
    )
    np.testing.assert_array_equal(one.drawn, two.drawn)
    np.testing.assert_allclose(two.observed, one.observed + 3.0)


def test_two_ways_to_count_parameters_are_refused(
    marginal_fit: Fit, seen_and_all: tuple[Observations, Observations]
) -> None:
    seen, everything = seen_and_all
    other = replace(everything, llms=replace(everything.llms, params_used="total"))
    with pytest.raises(SpecError, match="params=total"):
        later_scores(marginal_fit, seen, other, np.random.default_rng(1))


def test_coverage_is_as_expected_where_outcomes_are_the_models_own() -> None:
    """Scores that share a lot: a binomial range would be far too narrow."""
    rng = np.random.default_rng(8)
    inside_range = 0
    for _ in range(200):
        shared = rng.normal(size=(501, 1))
        logits = shared + 0.3 * rng.normal(size=(501, 40))
        later = _made_up(logits[1:], logits[0])
        row = study._coverages(later, ("a",))[2]
        assert row["benchmark"] == "all"
        assert row["prob"] == 0.8
        inside_range += bool(row["as_expected"])
    assert inside_range >= 181  # at least 95 %, less three errors; shares are few, so more
    off = _made_up(rng.normal(size=(500, 40)), np.full(40, 5.0))
    assert not any(row["as_expected"] for row in study._coverages(off, ("a",)))


def _made_up(drawn: Floats, observed: Floats) -> LaterScores:
    """Predictions without LLMs."""
    n = len(observed)
    zeros = np.zeros(n, dtype=np.int64)
    return LaterScores(
        mean=drawn,
        var=np.ones_like(drawn),
        drawn=drawn,
        observed=observed,
        n_items=np.full(n, 100.0),
        llm_idx=zeros,
        benchmark_idx=zeros,
        llms=None,  # type: ignore[arg-type]  # not read
        known_family=np.zeros(n, dtype=bool),
    )


@pytest.mark.slow
def test_coverage_is_in_its_range_in_worlds_that_the_model_made(
    densing: Dataset, tmp_path: Path
) -> None:
    """Of 20 worlds' three coverages at most 8 lie outside their central 95 % (3 expected)."""
    spec, like = load_spec("joint"), thinned(densing, 40, ("MMLU", "BBH"))
    outside, ranks = 0, []
    for seed in range(20):
        made = simulate_dataset(spec, like=like, seed=seed, name=f"world-{seed}", anonymous=True)
        where = write_dataset(made.dataset, tmp_path / f"world-{seed}", made.truth)
        found = backtest(
            where, origins=["2024-04"], out=tmp_path / f"study-{seed}", executor="serial"
        )
        (origin,) = found.origins
        assert origin["status"] == "done"
        rows = [row for row in origin["coverage"] if row["benchmark"] == "all"]
        outside += sum(not row["as_expected"] for row in rows)
        ranks.append([row["coverage"] - row["expected"] for row in rows])
    assert outside <= 8
    bias = np.mean(ranks, axis=0)
    error = np.std(ranks, axis=0, ddof=1) / np.sqrt(20)
    assert (np.abs(bias) < 3 * error + 0.01).all(), (bias, error)


# ---------------------------------------------------------------- the study


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("backtest"))


@pytest.fixture(scope="module")
def small(tiny: Path) -> Backtest:
    """Two origins on six LLMs."""
    return backtest(
        tiny,
        origins=["2024-06", "2025-01-01"],
        out=tiny.parent / "study",
        draws=60,
        tune=60,
        chains=2,
        executor="serial",
    )


def test_outcomes_are_the_scores_of_later_llms(small: Backtest) -> None:
    hold(small.to_dict(), "backtest")
    frame = small.table()
    later = frame.groupby("origin")["llm"].agg(set).to_dict()
    assert later == {"2024-06-01": {"Gamma-9B", "Delta-3B"}, "2025-01-01": {"Delta-3B"}}
    known = frame.groupby("llm")["family_is_known"].agg(set).to_dict()
    assert known == {"Gamma-9B": {True}, "Delta-3B": {False}}
    assert [origin["n_llms"] for origin in small.origins] == [4, 5]
    assert (frame["eti95_low"] < frame["median"]).all()
    assert (frame["median"] < frame["eti95_high"]).all()
    pooled = [row for row in small.comparisons if row["origin"] is None]
    assert pooled
    for row in pooled:
        name = f"{row['baseline']}_{row['score']}"
        difference = (frame[f"model_{row['score']}"] - frame[name]).mean()
        assert row["difference"] == pytest.approx(difference)
        assert row["n_families"] == 2


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_verb_goes_on_with_a_study_and_answers_in_three_forms(
    small: Backtest,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(study, "fit_of", never)
    arguments = ("backtest", tiny, "--origins", "2024-06,2025-01-01", "--resume", "--quiet")
    length = ("--draws", "60", "--tune", "60", "--chains", "2", "--executor", "serial")
    where = ("--out", tiny.parent / "study", "--format", form)
    status, out, _ = invoke(monkeypatch, capsys, *arguments, *length, *where)
    assert status == 1  # 120 draws: a check fails, and that is told
    if form == "json":
        assert json.loads(out) == small.to_dict()
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(out)))
        assert len(rows) == len(small.scores)
    else:
        assert "by chance, if the model is right" in out
        assert "checks: fail" in " ".join(out.split())
        assert max(map(len, out.splitlines())) <= 80


def test_a_fit_that_fails_is_an_origin_with_its_message(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("as asked")

    monkeypatch.setattr(study, "fit_of", broken)
    found = backtest(tiny, origins=["2024-06"], out=tmp_path / "out", executor="serial")
    hold(found.to_dict(), "backtest")
    assert found.origins[0]["message"] == "RuntimeError: as asked"
    assert found.comparisons == []


@pytest.mark.parametrize(
    ("origins", "message"),
    [
        (["2020-01-01"], "no LLMs on one side"),
        (["2030-01"], "no LLMs on one side"),
        (["soon"], "allowed: a date"),
        ([], "no origin given"),
    ],
)
def test_origins_that_cannot_be_are_refused(
    tiny: Path, tmp_path: Path, origins: list[str], message: str
) -> None:
    with pytest.raises(BayesdenseError, match=message):
        backtest(tiny, origins=origins, out=tmp_path / "out")


def test_origins_without_being_asked(densing: Dataset) -> None:
    spec = load_spec("joint")
    assert study._origins(spec, densing, None) == ["2024-01-01", "2024-04-01", "2024-07-01"]
    old = study._origins(spec, load_dataset("olmo-ladder"), None)
    assert old == sorted(old)
    assert len(old) >= 1


def test_published_densities_have_no_scores_to_foretell(tmp_path: Path) -> None:
    with pytest.raises(BayesdenseError, match="needed: densing"):
        backtest("densing-published", out=tmp_path / "out")
