"""Each check on made-up fits that pass, need a review, or fail; thresholds against their page."""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import xarray as xr
from fake_fit import BENCHMARKS, FAMILIES, fake_fit
from scipy import stats

from bayesdense.checks import THRESHOLDS, CheckResult, Checks, Thresholds, check
from bayesdense.checks.influence import left_out
from bayesdense.checks.predictive import predictive
from bayesdense.checks.quadrature import quadrature
from bayesdense.checks.sampling import sampling
from bayesdense.checks.stages import is_cut, stages
from bayesdense.checks.structure import overlap, size_slope, structure
from bayesdense.checks.thresholds import AtLeast, AtMost, Note, Within
from bayesdense.errors import BayesdenseError, CheckFailure
from bayesdense.results import Fit
from bayesdense.summary import headline, summarize, to_json

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "bayesdense" / "schemas" / "summary.schema.json"
FAMILY: dict[str, Callable[[Fit], Iterable[CheckResult]]] = {
    "quadrature": quadrature,
    **dict.fromkeys(("ppc", "loo_pit", "heldout"), predictive),
    **dict.fromkeys(("pareto", "size", "one_sided", "extrapolation"), structure),
    **dict.fromkeys(
        ("r_hat", "ess", "divergences", "tree_depth", "e_bfmi", "mcse"),
        lambda fit: (stages(fit) if is_cut(fit) else sampling(fit)).items,
    ),
}
NAMES = {field.name for field in dataclasses.fields(Thresholds)}


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fake_fit(draws=500)


@pytest.fixture(scope="module")
def checks(fit: Fit) -> Checks:
    return check(fit)


def with_group(fit: Fit, name: str, group: xr.Dataset | None) -> Fit:
    """Return the fit with another group; without it where None."""
    groups = {f"/{key}": node.to_dataset() for key, node in fit.tree.children.items()}
    groups.pop(f"/{name}", None)
    if group is not None:
        groups[f"/{name}"] = group
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(fit.tree.attrs)
    return Fit(tree, fit.spec)


def changed(fit: Fit, group: str, variable: str, change: Callable[[np.ndarray], object]) -> Fit:
    """Return the fit with one variable changed in a copy."""
    data = fit.group(group).copy(deep=True)
    values = data[variable].values.copy()
    result = change(values)
    data[variable] = (data[variable].dims, values if result is None else np.asarray(result))
    return with_group(fit, group, data)


def item(fit: Fit, name: str) -> CheckResult:
    """Make one check, with those of its family."""
    family = next((made for stem, made in FAMILY.items() if name.startswith(stem)), None)
    results = check(fit).items if family is None else family(fit)
    return {result.name: result for result in results}[name]


def base(name: str) -> str:
    return name.split("[")[0]


def shift_first_chain(by: float) -> Callable[[np.ndarray], None]:
    """Move one chain by so many standard deviations."""

    def change(values: np.ndarray) -> None:
        values[0] += by * values.std(axis=(0, 1))

    return change


def autoregressive(rng: np.random.Generator, shape: tuple[int, ...], memory: float) -> np.ndarray:
    values = rng.normal(size=shape)
    for t in range(1, shape[1]):
        values[:, t] = memory * values[:, t - 1] + np.sqrt(1 - memory**2) * values[:, t]
    return values


# ---------------------------------------------------------------- the verdict as a whole


def test_a_good_fit_passes_every_check(checks: Checks) -> None:
    assert [str(result) for result in checks.items if result.status != "pass"] == []
    assert checks.status == "pass"


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"residual": "composed", "options": {"calibration": "fit"}},
        {"options": {"feedback": "cut"}},
        {"options": {"implementation": "latent"}},
        {"trend": "flat"},
        {"densities_only": True},
    ],
    ids=["joint", "composed", "cut", "latent", "flat", "densities"],
)
def test_every_kind_of_fit_is_checked_and_its_summary_keeps_the_schema(
    kwargs: dict[str, object],
) -> None:
    made = fake_fit(draws=500, **kwargs)  # type: ignore[arg-type]
    found = check(made)
    assert {base(result.name) for result in found.items} <= NAMES
    assert len({result.name for result in found.items}) == len(found.items)
    assert found.status != "fail", str(found)
    content = json.loads(to_json(summarize(made, found)))
    jsonschema.validate(content, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert content["checks"] == json.loads(json.dumps(found.to_dict()))
    assert "Checks: " in headline(content)


def test_every_check_is_made_by_some_fit() -> None:
    fits = [
        fake_fit(draws=100, residual="composed", options={"calibration": "fit"}),
        fake_fit(draws=100, options={"feedback": "cut"}),
        fake_fit(draws=100, densities_only=True),
    ]
    made = {base(result.name) for made in fits for result in check(made).items}
    assert made == NAMES - {"ppc_score_correlation"}, "which takes three benchmarks: test_patterns"


def test_the_dictionary_is_the_section_of_the_summary(checks: Checks) -> None:
    section = checks.to_dict()
    keys = ["status", "max_rhat", "min_ess_bulk", "min_ess_tail", "divergences", "items"]
    assert list(section) == keys
    items = section["items"]
    assert isinstance(items, list)
    assert len(items) == len(checks.items)
    for entry in items:
        assert list(entry) == ["name", "status", "value", "threshold", "advice"]


def test_the_summary_numbers_run_over_parameters_and_effects_but_not_sizes(fit: Fit) -> None:
    by_name = {result.name: result.value for result in check(fit).items}
    found = check(fit)
    assert found.max_rhat == max(by_name["r_hat"], by_name["r_hat_effects"])  # type: ignore[type-var]
    assert found.min_ess_bulk == by_name["ess_bulk"]
    moved = check(changed(fit, "posterior", "log_effective_params", shift_first_chain(1.0)))
    assert (moved.max_rhat, moved.min_ess_bulk) == (found.max_rhat, found.min_ess_bulk)


def test_not_a_number_becomes_null_and_fails(fit: Fit) -> None:
    def stop(values: np.ndarray) -> None:
        values[...] = 0.2

    stuck = check(changed(fit, "posterior", "param_exponent_sd", stop))
    assert stuck.to_dict()["max_rhat"] is None
    json.dumps(stuck.to_dict(), allow_nan=False)
    result = {i.name: i for i in stuck.items}["r_hat"]
    assert result.status == "fail"
    assert "param_exponent_sd" in result.advice
    assert "never moved" in result.advice


def test_failure_raises_with_names_and_advice_and_review_does_not(fit: Fit) -> None:
    bad = check(changed(fit, "posterior", "residual_sd", shift_first_chain(2.0)))
    with pytest.raises(CheckFailure, match=r"(?s)checks? failed.*r_hat.*residual_sd.*--draws"):
        bad.raise_for_failure()
    review = check(changed(fit, "loo_pit", "loo_pit", lambda v: 0.9 + 0.1 * v))
    assert review.status == "review"
    review.raise_for_failure()


def test_the_worst_item_decides() -> None:
    def result(status: str) -> CheckResult:
        return CheckResult("r_hat", status, 1.0, 1.01, "")  # type: ignore[arg-type]

    assert Checks(()).status == "pass"
    assert Checks((result("pass"), result("review"), result("pass"))).status == "review"
    assert Checks((result("fail"), result("review"))).status == "fail"


def test_the_table_shows_every_check_and_the_advice_of_open_ones(fit: Fit) -> None:
    found = check(changed(fit, "loo_pit", "loo_pit", lambda v: 0.9 + 0.1 * v))
    lines = str(found).splitlines()
    table = {line.split()[0]: line for line in lines[1 : len(found.items) + 1]}
    assert set(table) == {result.name for result in found.items}
    assert "REVIEW" in table["loo_pit[MMLU]"]
    assert f"checks: REVIEW ({len(found.items) - 2} pass, 2 review, 0 fail)" in lines
    assert any(line.startswith("REVIEW loo_pit[MMLU]: ") for line in lines)


def test_results_are_frozen(checks: Checks) -> None:
    for value, name in ((checks, "items"), (checks.items[0], "status"), (THRESHOLDS, "r_hat")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)


# ---------------------------------------------------------------- thresholds


@pytest.mark.parametrize(
    ("limit", "value", "status"),
    [
        (AtMost(1.01, 1.02, ""), 1.01, "pass"),
        (AtMost(1.01, 1.02, ""), 1.0101, "review"),
        (AtMost(1.01, 1.02, ""), 1.02, "review"),
        (AtMost(1.01, 1.02, ""), 1.0201, "fail"),
        (AtMost(1.01, 1.02, ""), float("nan"), "fail"),
        (AtMost(0.0, float("inf"), ""), float("nan"), "review"),
        (AtLeast(400, 400, ""), 400.0, "pass"),
        (AtLeast(400, 400, ""), 399.9, "fail"),
        (AtLeast(400, 100, ""), 100.0, "review"),
        (AtLeast(400, 100, ""), float("nan"), "fail"),
        (AtLeast(0.025, float("-inf"), ""), 0.0, "review"),
        (Within(0.005, 0.995, ""), 0.005, "pass"),
        (Within(0.005, 0.995, ""), 0.0049, "review"),
        (Within(0.005, 0.995, ""), float("nan"), "review"),
        (Note(10, ""), float("inf"), "pass"),
    ],
)
def test_a_limit_judges(limit: AtMost | AtLeast | Within | Note, value: float, status: str) -> None:
    assert limit.judge(value) == status


def test_thresholds_are_those_that_were_agreed() -> None:
    t = THRESHOLDS
    assert (t.r_hat.good, t.r_hat.bad, t.r_hat_effects.good, t.r_hat_sizes.good) == (
        1.01, 1.02, 1.02, 1.02,
    )  # fmt: skip
    assert (t.ess_bulk.good, t.ess_bulk.bad, t.ess_tail.bad) == (400, 400, 400)
    assert (t.divergences.good, t.divergences.bad, t.e_bfmi.good) == (0, 0.001, 0.3)
    assert (t.quadrature_log_likelihood.good, t.quadrature_log_likelihood.bad) == (0.01, 0.05)
    assert (t.quadrature_growth.good, t.quadrature_growth.bad) == (0.02, 0.1)
    assert (t.one_sided_term.good, t.pareto_k.good) == (0.8, 0.7)
    misfit = [getattr(t, name) for name in NAMES if name.startswith("ppc_")]
    assert {(limit.low, limit.high) for limit in misfit if isinstance(limit, Within)} == {
        (0.005, 0.995)
    }
    assert {(limit.good, limit.bad) for limit in misfit if isinstance(limit, AtLeast)} == {
        (0.005, -np.inf)
    }


def test_the_page_has_each_check_with_its_threshold_and_reason() -> None:
    page = (ROOT / "docs" / "reference" / "checks.md").read_text(encoding="utf-8")
    rows = {
        cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
        for cells in (line.strip("|").split("|") for line in page.splitlines() if line[:3] == "| `")
    }
    assert set(rows) == NAMES
    for name, cells in rows.items():
        limit = getattr(THRESHOLDS, name)
        assert cells[1] == str(limit), name
        assert cells[2] == limit.reason, name
        assert len(cells) == 4, name
        assert cells[3], f"{name}: no advice"


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize(
    ("variable", "name", "shifts"),
    [
        ("trend_intercept", "r_hat", (0.0, 0.33, 1.0)),
        ("growth_rate", "r_hat", (0.0, 0.42, 1.0)),
        ("score_slope", "r_hat", (0.0, 0.3, 1.0)),
        ("family_effect", "r_hat_effects", (0.3, 0.5, 1.5)),
        ("run_effect", "r_hat_effects", (0.3, 0.5, 1.5)),
        ("log_effective_params", "r_hat_sizes", (0.3, 0.5, 1.5)),
    ],
)
def test_chains_that_disagree(
    fit: Fit, variable: str, name: str, shifts: tuple[float, ...]
) -> None:
    found = [item(changed(fit, "posterior", variable, shift_first_chain(s)), name) for s in shifts]
    assert [result.status for result in found] == ["pass", "review", "fail"], found
    assert "the chains differ" in found[1].advice
    if variable != "growth_rate":
        assert variable in found[2].advice


def test_the_derived_growth_and_doubling_time_are_among_the_parameters(fit: Fit) -> None:
    bad = item(changed(fit, "posterior", "growth_rate", shift_first_chain(2.0)), "r_hat")
    names = ("growth_rate", "growth rate at the last release", "doubling time")
    assert any(f"largest: {name}" in bad.advice for name in names)


def test_growth_through_zero_and_infinite_doubling_times_are_no_fault() -> None:
    draws = np.random.default_rng(3).normal(0.05, 0.3, (4, 500))
    draws[0, 0] = 0.0
    found = {result.name: result for result in check(fake_fit(growth_draws=draws, draws=500)).items}
    assert found["r_hat"].status == "pass"
    assert found["ess_bulk"].status == "pass"
    assert found["mcse_growth_rate"].status == "pass"  # 5 % of the sd, not two digits of .05


def test_a_growth_that_is_not_positive_has_no_doubling_time_to_be_precise_about() -> None:
    names = {result.name for result in check(fake_fit(growth=-1.0, growth_sd=0.1)).items}
    assert "mcse_growth_rate" in names
    assert "mcse_doubling_time" not in names


def test_one_chain_proves_nothing() -> None:
    alone = item(fake_fit(chains=1, draws=2000), "r_hat")
    assert alone.status == "fail"
    assert "at least 4 (--chains)" in alone.advice


@pytest.mark.parametrize(
    ("variable", "name", "memories"),
    [
        ("residual_sd", "ess_bulk", ((0.5, "pass"), (0.97, "fail"))),
        ("family_effect", "ess_bulk", ((0.5, "pass"), (0.97, "fail"))),
        ("residual_sd", "ess_tail", ((0.5, "pass"), (0.98, "fail"))),
        ("log_effective_params", "ess_sizes", ((0.5, "pass"), (0.75, "review"), (0.9, "fail"))),
    ],
)
def test_draws_that_remember(
    fit: Fit, variable: str, name: str, memories: tuple[tuple[float, str], ...]
) -> None:
    for memory, status in memories:

        def change(values: np.ndarray, memory: float = memory) -> np.ndarray:
            rng = np.random.default_rng(5)
            flat = autoregressive(rng, values.shape, memory)
            return values.mean(axis=(0, 1)) + values.std(axis=(0, 1)) * flat

        found = item(changed(fit, "posterior", variable, change), name)
        assert found.status == status, found
        assert variable in found.advice


def test_an_ess_that_passes_still_names_the_aim(fit: Fit) -> None:
    few = fake_fit(draws=200)
    assert "aim at 1,600" in item(few, "ess_bulk").advice
    assert item(few, "ess_bulk").status == "pass"
    assert "aim at 1,600" not in item(fake_fit(draws=1500), "ess_bulk").advice


@pytest.mark.parametrize(
    ("count", "status"), [(0, "pass"), (1, "review"), (2, "review"), (3, "fail")]
)
def test_divergences(fit: Fit, count: int, status: str) -> None:
    def mark(values: np.ndarray) -> None:
        values.flat[:count] = True

    found = check(changed(fit, "sample_stats", "diverging", mark))
    assert found.divergences == count
    assert {i.name: i.status for i in found.items}["divergences"] == status


def test_divergences_are_placed() -> None:
    made = fake_fit(draws=1000)
    low = made.posterior["family_sd"].values
    where = np.zeros(low.shape, dtype=bool)
    where.flat[np.argsort(low, axis=None)[:4]] = True
    found = item(changed(made, "sample_stats", "diverging", lambda _: where), "divergences")
    assert found.status == "review"
    assert "4 of 4,000 draws" in found.advice
    assert "family_sd is low" in found.advice


@pytest.mark.parametrize(
    "variable", ["depth", "tree_depth", "maxdepth_reached", "reached_max_treedepth"]
)
@pytest.mark.parametrize(("share", "status"), [(0.005, "pass"), (0.2, "review"), (1.0, "review")])
def test_deep_trees_cost_time_and_never_fail(
    fit: Fit, variable: str, share: float, status: str
) -> None:
    group = fit.group("sample_stats").drop_vars("depth")
    deep = np.arange(2000).reshape(4, 500) < share * 2000
    values = deep if "reached" in variable else np.where(deep, 10, 4)
    group[variable] = (("chain", "draw"), values)
    found = item(with_group(fit, "sample_stats", group), "tree_depth")
    assert (found.status, found.value) == (status, pytest.approx(share))


@pytest.mark.parametrize(("memory", "status"), [(0.0, "pass"), (0.9, "review"), (0.99, "fail")])
def test_an_energy_that_creeps(fit: Fit, memory: float, status: str) -> None:
    def creep(values: np.ndarray) -> np.ndarray:
        return autoregressive(np.random.default_rng(2), values.shape, memory)

    found = item(changed(fit, "sample_stats", "energy", creep), "e_bfmi")
    assert found.status == status, found


def test_a_headline_whose_second_digit_is_uncertain_is_reviewed() -> None:
    rng = np.random.default_rng(0)
    growth = 1.9 + 0.6 * autoregressive(rng, (4, 400), 0.99)
    rough = fake_fit(growth_draws=growth, draws=400)
    found = {result.name: result for result in check(rough).items}
    assert found["mcse_growth_rate"].status == "review"
    assert found["mcse_doubling_time"].status == "review"
    assert "is not printed" in found["mcse_growth_rate"].advice


def test_draws_that_are_no_numbers_fail_without_an_exception(fit: Fit) -> None:
    def spoil(values: np.ndarray) -> None:
        values[1, 3] = np.nan
        values[2, 5] = np.inf

    found = check(changed(fit, "posterior", "growth_rate", spoil))
    first = found.items[0]
    assert (first.name, first.status, first.value) == ("finite_draws", "fail", 2)
    assert "growth_rate" in first.advice
    assert {base(result.name) for result in found.items}.isdisjoint({"size_coefficient"})


def test_a_trend_without_growth_has_no_growth_to_converge() -> None:
    names = {result.name for result in check(fake_fit(trend="flat", draws=500)).items}
    assert names.isdisjoint({"mcse_growth_rate", "mcse_doubling_time"})
    assert "r_hat" in names


# ---------------------------------------------------------------- a cut fit


def test_a_cut_fit_is_judged_stage_by_stage() -> None:
    found = check(fake_fit(draws=500, options={"feedback": "cut"}))
    names = {result.name for result in found.items}
    assert {"r_hat[reference]", "r_hat_refits[trend]", "ess_refits[trend tail]"} <= names
    assert names.isdisjoint({"r_hat", "r_hat_sizes", "ess_bulk", "pareto_k", "e_bfmi"})
    assert (found.max_rhat, found.min_ess_bulk, found.min_ess_tail) == (1.03, 160.0, 140.0)
    assert found.divergences == 0


@pytest.mark.parametrize(
    ("variable", "value", "name", "status"),
    [
        ("max_rhat", [1.015, 1.03], "r_hat[reference]", "review"),
        ("max_rhat", [1.004, 1.2], "r_hat_refits[trend]", "fail"),
        ("max_rhat", [1.004, np.nan], "r_hat_refits[trend]", "fail"),
        ("min_ess_bulk", [390.0, 160.0], "ess_bulk[reference]", "fail"),
        ("min_ess_tail", [1650.0, 30.0], "ess_refits[trend tail]", "review"),
        ("divergences", [4, 0], "divergences[reference]", "review"),
        ("divergences", [0, 21], "divergences[trend]", "fail"),
    ],
)
def test_stages_that_did_not_go_well(
    variable: str, value: list[float], name: str, status: str
) -> None:
    cut = fake_fit(draws=100, options={"feedback": "cut"})
    assert item(changed(cut, "stages", variable, lambda _: value), name).status == status


def test_a_cut_fit_without_diagnostics_is_reviewed() -> None:
    cut = with_group(fake_fit(draws=100, options={"feedback": "cut"}), "stages", None)
    assert item(cut, "r_hat").status == "review"
    assert check(cut).to_dict()["max_rhat"] is None


# ---------------------------------------------------------------- quadrature


@pytest.mark.parametrize(
    ("variable", "name", "values"),
    [
        ("sd_difference", "quadrature_log_likelihood", (0.009, 0.04, 0.06)),
        ("growth_shift", "quadrature_growth", (0.01, 0.05, 0.2)),
        ("growth_shift", "quadrature_growth", (-0.01, -0.05, -0.2)),
        ("tail_error", "quadrature_tails", (1e-7, 1e-4, 0.01)),
    ],
)
def test_quadrature_errors(fit: Fit, variable: str, name: str, values: tuple[float, ...]) -> None:
    found = [
        item(changed(fit, "quadrature", variable, lambda _, v=value: v), name) for value in values
    ]
    assert [result.status for result in found] == ["pass", "review", "fail"]


def test_without_quadrature_it_is_said_why(fit: Fit) -> None:
    name = "quadrature_log_likelihood"
    latent = item(fake_fit(draws=100, options={"implementation": "latent"}), name)
    assert (latent.status, latent.value) == ("pass", None)
    assert "each is a parameter" in latent.advice
    densities = item(fake_fit(draws=100, densities_only=True), name)
    assert "densities are given" in densities.advice
    missing = item(with_group(fit, "quadrature", None), name)
    assert missing.status == "review"
    assert "was not measured" in missing.advice


# ---------------------------------------------------------------- misfit


def test_p_values_are_uniform_where_data_are_replicates() -> None:
    found: dict[str, list[float]] = {}
    for seed in range(60):
        made = fake_fit(chains=2, draws=60, seed=seed)
        for result in predictive(made):
            if result.name.startswith("ppc_"):
                found.setdefault(base(result.name), []).append(float(str(result.value)))
    assert len(found) == 9
    for name, values in found.items():
        chosen = values[:: len(values) // 60]  # one benchmark a world: they share sizes
        assert stats.kstest(chosen, "uniform").pvalue > 1e-3, name


@pytest.mark.parametrize(
    ("variable", "change", "flagged", "words"),
    [
        ("score", lambda v: v + 2.0, "ppc_score_mean", "larger"),
        ("score", lambda v: v - 2.0, "ppc_score_mean", "smaller"),
        ("score", lambda v: v.mean() + 6.0 * (v - v.mean()), "ppc_score_sd", "larger"),
        ("loss", lambda v: v + 0.1, "ppc_loss_mean", "larger"),
        ("loss_score", lambda v: v + 0.6 * (-1) ** np.arange(v.size), "ppc_point_sd", "larger"),
    ],
)
def test_data_that_the_model_could_not_have_made(
    fit: Fit, variable: str, change: Callable[[np.ndarray], object], flagged: str, words: str
) -> None:
    found = check(changed(fit, "observed_data", variable, change))
    assert found.status == "review"  # misfit is news, not a crash
    for name in BENCHMARKS:
        result = {i.name: i for i in found.items}[f"{flagged}[{name}]"]
        assert result.status == "review", result
        assert f"is {words} than in" in result.advice


def test_an_outlying_score_is_named(fit: Fit) -> None:
    def spoil(values: np.ndarray) -> None:
        values[5] += 4.0  # the second benchmark of the third LLM

    found = item(changed(fit, "observed_data", "score", spoil), "ppc_score_largest[BBH]")
    assert found.status == "review"
    assert "llm-2 BBH (+" in found.advice


def test_an_outlying_loss_is_named(fit: Fit) -> None:
    def spoil(values: np.ndarray) -> None:
        values[7] -= 0.2

    found = item(changed(fit, "observed_data", "loss", spoil), "ppc_loss_largest[MMLU]")
    assert found.status == "review"
    assert "run-7 MMLU (-" in found.advice


def test_losses_that_cluster_by_size(fit: Fit) -> None:
    cluster = fit.group("constant_data")["loss_cluster_idx"].values
    centre = fit.group("posterior_predictive")["loss"].mean(("chain", "draw")).values
    by_size = centre + np.where(cluster % 2, 0.05, -0.05)
    found = item(
        changed(fit, "observed_data", "loss", lambda _: by_size), "ppc_loss_between_sizes[MMLU]"
    )
    assert found.status == "review"
    assert found.value == pytest.approx(0.0, abs=0.004)
    assert "clustered" in found.advice


def test_without_replication_nothing_is_said_of_sizes(fit: Fit) -> None:
    alone = changed(fit, "constant_data", "loss_cluster_idx", lambda v: np.arange(v.size))
    assert "ppc_loss_between_sizes" not in {base(result.name) for result in check(alone).items}


def test_families_whose_members_are_copies(fit: Fit) -> None:
    centre = fit.group("posterior_predictive")["score_new"].mean(("chain", "draw")).values
    same = item(changed(fit, "observed_data", "score", lambda _: centre), "ppc_within_family")
    assert same.status == "review"
    assert same.value == 1.0
    assert "is smaller than in 100.0%" in same.advice


def test_densities_are_checked_too() -> None:
    made = fake_fit(densities_only=True, draws=500)
    wide = changed(made, "observed_data", "log_density", lambda v: 5.0 * v)
    for name in ("ppc_density_sd", "ppc_density_largest", "ppc_within_family"):
        assert item(made, name).status == "pass"
        assert item(wide, name).status == "review"


def test_an_index_that_is_missing_is_named(fit: Fit) -> None:
    group = fit.group("constant_data").drop_vars("loss_cluster_idx")
    with pytest.raises(BayesdenseError, match="constant_data has no 'loss_cluster_idx'"):
        check(with_group(fit, "constant_data", group))


@pytest.mark.parametrize(
    ("distort", "words"),
    [
        (lambda v: v**3, "lower than predicted"),
        (lambda v: v ** (1 / 3), "higher than predicted"),
        (lambda v: stats.beta.ppf(v, 0.2, 0.2), "too narrow"),
        (lambda v: stats.beta.ppf(v, 8, 8), "too wide"),
    ],
)
def test_loo_pit_says_which_way_predictions_are_off(
    distort: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    made = fake_fit(draws=50, llms=[f"llm-{k}" for k in range(60)])
    # even ranks per benchmark: the two benchmarks alternate
    even = np.repeat((np.arange(60) + 0.5) / 60, 2)
    good = changed(made, "loo_pit", "loo_pit", lambda _: even)
    bad = changed(made, "loo_pit", "loo_pit", lambda _: distort(even))
    for name in BENCHMARKS:
        assert item(good, f"loo_pit[{name}]").status == "pass"
        found = item(bad, f"loo_pit[{name}]")
        assert found.status == "review"
        assert words in found.advice
        assert "band of 97.5%" in found.advice  # 1 - .05 / 2 benchmarks


def test_loo_pit_cries_wolf_in_five_per_cent_of_worlds_at_most() -> None:
    made = fake_fit(draws=20, llms=[f"llm-{k}" for k in range(40)])
    rng = np.random.default_rng(8)
    alarms = 0
    for _ in range(60):
        values = rng.uniform(size=80)
        world = changed(made, "loo_pit", "loo_pit", lambda _, v=values: v)
        found = [r for r in predictive(world) if base(r.name) == "loo_pit"]
        alarms += any(result.status != "pass" for result in found)
    assert alarms <= 9  # 3 expected; P(more than 9) < .002


def test_held_out_points(fit: Fit) -> None:
    made = fake_fit(draws=500, options={"calibration": "fit"})
    assert item(made, "heldout_coverage").status == "pass"
    off = changed(made, "heldout", "logit_score", lambda v: v + 0.6)
    found = item(off, "heldout_coverage")
    assert found.status == "review"
    assert re.search(r"\d of 10 held-out points", found.advice)
    assert item(off, "heldout_pit").status == "review"
    assert "heldout_pit" not in {result.name for result in predictive(fit)}


# ---------------------------------------------------------------- structure


def test_an_llm_that_moves_the_posterior_is_named(fit: Fit) -> None:
    def heavy(values: np.ndarray) -> None:
        values[..., 4] = -(np.random.default_rng(1).standard_cauchy(values.shape[:2]) ** 2)

    found = item(changed(fit, "log_likelihood", "llm", heavy), "pareto_k")
    assert found.status == "review"
    assert "llm-4" in found.advice
    assert "llm-3" not in found.advice


def test_pareto_k_is_arviz_own(fit: Fit) -> None:
    from arviz_stats import loo

    reference = loo(fit.tree, var_name="llm", pointwise=True).pareto_k
    # ArviZ takes the relative efficiency over all variables, here over the scalar ones
    np.testing.assert_allclose(left_out(fit, "llm").pareto_k.values, reference.values, atol=0.1)


def with_slope(fit: Fit, score: float, information: float) -> Fit:
    """The fit with derivatives whose score test gives these."""
    group = fit.group("size_slope").copy(deep=True)
    u = group["score"].values
    group["score"].values[:] = score + (u - u.mean()) / u.std(ddof=1)
    group["information"].values[:] = information + 1.0
    return with_group(fit, "size_slope", group)


@pytest.mark.parametrize(("slope", "status"), [(0.1, "pass"), (0.25, "review"), (-0.25, "review")])
def test_density_that_goes_with_size(fit: Fit, slope: float, status: str) -> None:
    tilted = with_slope(fit, 100.0 * slope, 100.0)
    found = item(tilted, "size_coefficient")
    assert found.status == status, found
    assert found.value == pytest.approx(stats.norm.cdf(slope / 0.1))
    assert "slope of log density" in found.advice
    result = size_slope(tilted)
    assert result is not None
    assert (result.estimate, result.sd) == (pytest.approx(slope), pytest.approx(0.1))


def test_growth_moves_with_the_slope_as_it_goes_with_the_score(fit: Fit) -> None:
    growth = fit.posterior["growth_rate"].sel(draw=fit.group("size_slope")["draw"])
    standard = (growth - growth.mean()) / growth.std(ddof=1)
    group = fit.group("size_slope").assign(score=5.0 + 2.0 * standard)
    result = size_slope(
        with_group(fit, "size_slope", group.assign(information=14.0 + 0 * standard))
    )
    assert result is not None
    assert result.estimate == pytest.approx(0.5)
    assert result.growth_shift == pytest.approx(0.5 * 2.0 * float(growth.std(ddof=1)), rel=1e-6)


def test_a_slope_without_a_maximum_near_zero_is_not_judged(fit: Fit) -> None:
    found = item(with_slope(fit, 3.0, -2.0), "size_coefficient")
    assert (found.status, found.value) == ("review", None)


def test_a_fit_without_derivatives_has_no_slope(fit: Fit) -> None:
    assert size_slope(with_group(fit, "size_slope", None)) is None


def test_a_one_sided_term_that_the_data_do_not_ask_for() -> None:
    made = fake_fit(draws=500, residual="composed")
    assert item(made, "one_sided_term").status == "pass"
    prior = np.abs(np.random.default_rng(1).normal(size=(4, 500)))
    idle = item(changed(made, "posterior", "one_sided_sd", lambda _: prior), "one_sided_term")
    assert idle.status == "review"
    assert "do not ask for a one-sided term" in idle.advice
    bare = with_group(made, "prior", made.group("prior").drop_vars("one_sided_sd"))
    assert item(bare, "one_sided_term").status == "review"
    assert item(bare, "one_sided_term").value is None


def test_overlap_is_that_of_the_densities() -> None:
    rng = np.random.default_rng(2)
    wide, narrow = np.abs(rng.normal(size=8000)), 0.3 * np.abs(rng.normal(size=8000))
    grid = np.linspace(0, 6, 20_001)
    exact = np.trapezoid(
        np.minimum(stats.halfnorm.pdf(grid), stats.halfnorm.pdf(grid, scale=0.3)), grid
    )
    assert overlap(wide, narrow) == pytest.approx(exact, abs=0.03)
    assert overlap(wide, np.abs(rng.normal(size=8000))) > 0.95
    assert overlap(wide, 20 + narrow) < 0.01


def test_extrapolation_passes_and_is_said(checks: Checks) -> None:
    found = {result.name: result for result in checks.items}
    tokens, sizes = found["extrapolation_tokens"], found["extrapolation_sizes"]
    assert (tokens.status, sizes.status) == ("pass", "pass")
    assert tokens.value == pytest.approx(5e12 / 49_693_501_440)
    assert "D0 is 101 times the longest training" in tokens.advice
    assert re.search(r"[1-8] of 8 effective sizes are more than 10 times", sizes.advice)


def test_families_of_the_fake_are_several() -> None:
    assert len(set(FAMILIES)) < len(FAMILIES)  # else nothing above speaks of families


def test_chains_that_do_not_move_are_told_not_smoothed(fit: Fit) -> None:
    likelihood = fit.group("log_likelihood").copy(deep=True)
    likelihood["llm"][0] = float(likelihood["llm"].min()) - 1.0  # one chain, the least likely place
    stuck = with_group(fit, "log_likelihood", likelihood)
    found = item(stuck, "pareto_k")
    assert (found.status, found.value) == ("review", None)
    assert "draws that differ" in found.advice
