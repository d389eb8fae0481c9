"""Patterns that residuals leave over: found where they are, silent where they are not."""

import dataclasses
import re

import numpy as np
import pytest
import xarray as xr
from fake_fit import POINTS, fake_fit
from scipy import stats

from bayesdense.checks import check
from bayesdense.checks.patterns import _count_residual, patterns, profile_checks
from bayesdense.checks.verdict import CheckResult
from bayesdense.items import logit_of_score
from bayesdense.results import Fit

NAMES = ["MMLU", "BBH", "MATH", "HumanEval"]
N_LLMS, N_SAMPLES = 60, 400
YEARS = np.random.default_rng(1).uniform(-1, 1, N_LLMS)
LOG_PARAMS = np.random.default_rng(2).normal(22, 1, N_LLMS)
FAMILY = np.random.default_rng(3).integers(0, 20, N_LLMS)


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fake_fit(draws=250)


def moved_points(fit: Fit, by: np.ndarray) -> Fit:
    """The fit with the first benchmark's observed points moved."""
    groups = {f"/{key}": node.to_dataset() for key, node in fit.tree.children.items()}
    observed = groups["/observed_data"].copy(deep=True)
    observed["loss_score"].values[: len(by)] += by
    groups["/observed_data"] = observed
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(fit.tree.attrs)
    return dataclasses.replace(fit, tree=tree)


def found_in(fit: Fit, name: str) -> CheckResult:
    return {result.name: result for result in patterns(fit)}[name]


def tables(seed: int = 5) -> np.ndarray:
    """Residuals of data and replicates alike, one score in five missing, each LLM's mean out."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(1 + N_SAMPLES, N_LLMS, len(NAMES)))
    missing = rng.uniform(size=values.shape[1:]) < 0.2
    missing[:, 0] = False
    values[:, missing] = np.nan
    return values - np.nanmean(values, axis=2, keepdims=True)


def profile(table: np.ndarray) -> dict[str, CheckResult]:
    """The first row is the data, the same in every draw."""
    replicated = table[1:]
    observed = np.broadcast_to(table[0], replicated.shape)
    results = profile_checks(
        observed, replicated, NAMES[: table.shape[2]],
        years=YEARS, log_params=LOG_PARAMS, family=FAMILY,
    )  # fmt: skip
    return {result.name: result for result in results}


def test_points_that_bend_about_the_map(fit: Fit) -> None:
    bent = 0.5 * np.cos(np.linspace(0, 2 * np.pi, POINTS))
    found = found_in(moved_points(fit, bent), "ppc_point_pattern[MMLU]")
    assert found.status == "review", found
    assert "neighbouring points" in found.advice and "larger than" in found.advice
    assert found_in(moved_points(fit, bent), "ppc_point_pattern[BBH]").status == "pass"


def test_noise_that_alternates_is_no_smooth_pattern(fit: Fit) -> None:
    zigzag = 0.6 * (-1.0) ** np.arange(POINTS)
    found = found_in(moved_points(fit, zigzag), "ppc_point_pattern[MMLU]")
    assert found.status == "pass" and "smaller than" in found.advice


def test_a_point_far_off_is_named_by_its_loss(fit: Fit) -> None:
    spoilt = np.zeros(POINTS)
    spoilt[4] = 1.5
    found = found_in(moved_points(fit, spoilt), "ppc_point_largest[MMLU]")
    assert found.status == "review"
    loss = fit.group("constant_data")["point_loss"].values[4]
    assert re.search(rf"the point at loss {loss:.3g} \(\+\d+\.\d sd\)", found.advice)


def test_a_good_fit_shows_none(fit: Fit) -> None:
    results = list(patterns(fit))
    assert {result.status for result in results} == {"pass"}, results
    assert {result.name for result in results} <= {result.name for result in check(fit).items}


def test_independent_residuals_have_uniform_p_values() -> None:
    found: dict[str, list[float]] = {}
    for seed in range(60):
        for name, result in profile(tables(seed)).items():
            found.setdefault(name, []).append(float(str(result.value)))
    assert len(found) == 4
    for name, values in found.items():
        assert stats.kstest(values, "uniform").pvalue > 1e-3, name


def test_skills_that_go_together_are_named() -> None:
    table = tables()
    table[0, :, 1] = 0.3 * table[0, :, 1] - 0.8 * table[0, :, 3]
    found = profile(table)["ppc_score_correlation"]
    assert found.status == "review"
    assert "BBH and HumanEval -" in found.advice and "more than its one size" in found.advice


@pytest.mark.parametrize(
    ("covariate", "check_name", "words"),
    [(YEARS, "ppc_score_time", "release date"), (LOG_PARAMS, "ppc_score_size", "log parameters")],
)
def test_benchmarks_that_drift(covariate: np.ndarray, check_name: str, words: str) -> None:
    table = tables()
    table[0, :, 2] += stats.zscore(covariate)
    found = profile(table)[check_name]
    assert found.status == "review"
    assert "MATH +" in found.advice and words in found.advice


def test_families_with_profiles() -> None:
    table = tables()
    table[0, :, 0] += 1.5 * np.random.default_rng(9).normal(size=20)[FAMILY]
    found = profile(table)["ppc_score_family"]
    assert found.status == "review" and "MMLU" in found.advice
    assert {name for name, result in profile(table).items() if result.status == "review"} <= {
        "ppc_score_family",
        "ppc_score_correlation",
    }


def test_less_of_a_pattern_than_noise_has_is_no_misfit() -> None:
    table = tables()
    table[0] = table[1:].mean(axis=0)
    assert {result.status for result in profile(table).values()} == {"pass"}


def test_two_benchmarks_and_lone_llms_leave_what_cannot_be_told_out() -> None:
    table = tables()[..., :2]
    results = profile_checks(
        table[:200], table[200:400], NAMES[:2],
        years=YEARS, log_params=LOG_PARAMS, family=np.arange(N_LLMS),
    )  # fmt: skip
    assert [result.name for result in results] == ["ppc_score_time", "ppc_score_size"]


def test_a_benchmark_with_hardly_any_score_is_left_out() -> None:
    table = tables()
    table[:, 4:, 3] = np.nan
    table[0, :4, 3] = 9.0
    assert "HumanEval" not in " ".join(result.advice for result in profile(table).values())
    assert profile(table[:, :4]) == {}


def test_a_count_of_none_is_as_far_off_as_its_probability() -> None:
    mean, noise, n_items = np.array([-2.5, -2.5]), np.array([0.3, 0.3]), np.array([164.0, 164.0])
    half = np.log(0.5 / 163.5)
    found = _count_residual(np.array([half, -half]), n_items, np.array([-2.5, 2.5]), noise)
    chance = stats.norm.expect(lambda x: (1 / (1 + np.exp(x))) ** 164, loc=-2.5, scale=0.3)
    np.testing.assert_allclose(found, [stats.norm.ppf(chance / 2), -stats.norm.ppf(chance / 2)])
    assert mean.shape == found.shape


def test_count_residuals_of_counts_are_standard_normal() -> None:
    rng = np.random.default_rng(3)
    mean, noise, n_items = np.full(4000, -4.0), np.full(4000, 0.4), np.full(4000, 164.0)
    hits = rng.binomial(164, 1 / (1 + np.exp(4.0 - 0.4 * rng.normal(size=4000))))
    found = _count_residual(logit_of_score(hits / 164, n_items), n_items, mean, noise)
    assert found.mean() == pytest.approx(0.0, abs=0.06)
    assert found.std() == pytest.approx(1.0, abs=0.08), "mid-p-values are a little less spread"
