"""Leave-future-out: blocks fixed beforehand, and the log density of what was not yet known."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from exact_evidence import exact_log_ml
from made_up import LLMS, made_up_posterior, small_data
from modelling import small_joint
from scipy import stats
from scipy.integrate import quad
from scipy.special import logsumexp

from bayesdense.comparison.evidence import log_marginal_likelihood
from bayesdense.comparison.hiding import Foretold, foretold, hide, log_gains
from bayesdense.comparison.lfo import (
    Block,
    block_gains,
    blocks,
    families_in,
    released_from,
    seen_before,
)
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.engine.runs import as_dataset, coordinates_of
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.inference import fit_observations
from bayesdense.items import item_variance
from bayesdense.laws import chinchilla_loss
from bayesdense.names import LAW_PARAMETERS, MAP_PARAMETERS
from bayesdense.observations import LLMData, Observations, observe
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_logit_score
from bayesdense.sizes import family_log_likelihood
from bayesdense.spec import ModelSpec, load_spec

SHORT = {"draws": 500, "tune": 200, "chains": 4}


def released(*rows: tuple[str, str]) -> LLMData:
    """LLMs of (family, date)."""
    families = tuple(dict.fromkeys(family for family, _ in rows))
    return LLMData(
        names=tuple(f"{family} {k}" for k, (family, _) in enumerate(rows)),
        families=families,
        family_idx=np.array([families.index(family) for family, _ in rows]),
        release_dates=tuple(date for _, date in rows),
        years=np.zeros(len(rows)),
        time_origin="2024-01-01",
        log_params=np.zeros(len(rows)),
        params_used="total",
    )


def refit(spec: ModelSpec, data: Observations, seed: int) -> Fit:
    return fit_observations(spec, data, about={}, seed=seed, depth="posterior", **SHORT)


# ---------------------------------------------------------------- blocks


def test_blocks_begin_when_enough_families_are_known() -> None:
    llms = released(
        ("c", "2024-06-20"),
        ("a", "2023-01-01"),
        ("b", "2023-02-10"),
        ("a", "2023-02-10"),
        ("b", "2023-02-11"),
        ("a", "2023-05-12"),
        ("b", "2023-05-13"),
        ("d", "2024-06-19"),
    )
    found = blocks(llms, families=2)
    assert found == (
        Block("2023-02-11", "2023-02-11", "2023-05-13", ("b 4", "a 5"), 3, 2),
        Block("2023-02-11", "2023-05-13", "2023-08-12", ("b 6",), 5, 2),
        Block("2023-02-11", "2024-05-11", "2024-08-10", ("d 7", "c 0"), 6, 2),
    )
    assert families_in(llms, found[2]) == ("d", "c")
    assert released_from(llms, "2024-06-20") == ("c 0",)


def test_blocks_of_densing_are_fixed() -> None:
    llms = observe(load_spec("joint"), load_dataset("densing")).llms
    found = blocks(llms)
    assert found[0].start == "2024-01-19"
    assert found[0].n_families_before == 20
    later = [name for block in found for name in block.llms]
    assert len(later) == len(set(later)) == 112 - found[0].n_llms_before
    assert set(later) == set(released_from(llms, found[0].start))


def test_too_few_families_are_told() -> None:
    llms = released(("a", "2023-01-01"), ("b", "2023-02-01"), ("c", "2023-02-01"))
    with pytest.raises(BayesdenseError, match="needs 2 families before the last release; there a"):
        blocks(llms, families=2)


# ---------------------------------------------------------------- hiding


def test_hidden_llms_of_a_joint_model_stay_without_scores() -> None:
    spec, dataset = small_joint()
    whole = observe(spec, dataset)
    names = whole.llms.names[-5:]
    part = hide(spec, dataset, names)
    assert part.llms.names == whole.llms.names
    assert part.llms.time_origin == whole.llms.time_origin
    counts = np.diff(part.joint.scores.first)
    assert (counts[-5:] == 0).all()
    assert (counts[:-5] == np.diff(whole.joint.scores.first)[:-5]).all()
    assert part.reports is not None
    assert whole.reports is not None
    np.testing.assert_array_equal(part.reports.sum_of_squares, whole.reports.sum_of_squares)
    fewer = hide(spec, dataset, names, names).reports
    assert fewer is not None
    assert fewer.degrees.sum() < whole.reports.degrees.sum()


def test_hidden_scores_are_as_rows_that_were_never_there() -> None:
    spec, dataset = small_joint()
    assert dataset.scores is not None
    names = observe(spec, dataset).llms.names[::3]
    kept = dataset.scores[~dataset.scores["llm"].isin(names)].reset_index(drop=True)
    never = observe(spec, replace(dataset, scores=kept)).joint.scores
    hidden = hide(spec, dataset, names).joint.scores
    for field in fields(never):
        np.testing.assert_array_equal(getattr(hidden, field.name), getattr(never, field.name))


def test_hidden_densities_are_left_out_and_time_stays() -> None:
    spec, dataset = load_spec("trend_only"), load_dataset("densing-published")
    whole = observe(spec, dataset)
    part = hide(spec, dataset, whole.llms.names[::2])
    assert part.llms.names == whole.llms.names[1::2]
    np.testing.assert_array_equal(part.llms.years, whole.llms.years[1::2])
    assert part.llms.time_origin == whole.llms.time_origin


def test_what_nobody_else_informs_cannot_be_predicted() -> None:
    spec, dataset = small_joint()
    assert dataset.score_reports is not None
    reported = dataset.score_reports["llm"].unique().tolist()
    with pytest.raises(SpecError, match="other parameters"):
        hide(spec, dataset, (), reported)


def test_an_llm_without_scores_tells_nothing() -> None:
    spec = load_spec("joint").with_options(quadrature_spacing=0.125)
    silent = [(*row[:3], {} if k in (0, 5, 7) else row[3]) for k, row in enumerate(LLMS)]
    kept = [row for row in silent if row[3]]
    quiet, absent = (
        replace(data, scores=replace(data.scores, n_reports=np.ones(len(data.scores.score))))
        for data in (small_data(silent), small_data(kept))
    )
    posterior = made_up_posterior(spec, quiet, shape=(2, 3))
    found = family_log_likelihood(posterior, spec, quiet)
    known = family_log_likelihood(posterior, spec, absent)
    np.testing.assert_allclose(found.sel(family_obs="alone"), 0.0, atol=1e-6)
    same = [str(name) for name in known["family_obs"].values]
    np.testing.assert_allclose(found.sel(family_obs=same), known, atol=2e-3)


# ---------------------------------------------------------------- densities given parameters


def test_gains_of_densities_against_quadrature() -> None:
    """Two old LLMs of a family, two new; and a family that is new."""
    spec, dataset = load_spec("trend_only"), load_dataset("densing-published")
    whole = observe(spec, dataset)
    members = np.flatnonzero(whole.llms.family_idx == 0)
    assert len(members) >= 3
    new = [whole.llms.names[i] for i in members[-2:]]
    alone = next(
        k for k in range(1, len(whole.llms.families)) if (whole.llms.family_idx == k).sum() == 1
    )
    new += [whole.llms.names[i] for i in np.flatnonzero(whole.llms.family_idx == alone)]
    where = coordinates_of(spec, whole)
    z = where.start + np.random.default_rng(1).normal(0, 0.3, (2, 2, where.size))
    posterior = as_dataset(spec, whole, where.natural(z))
    gains = log_gains(posterior, spec, hide(spec, dataset, new), whole)
    assert whole.densities is not None
    for draw in ((0, 0), (1, 1)):
        theta = {name: posterior[name].to_numpy()[draw] for name in posterior}
        error = whole.densities.log_density - (
            theta["trend_intercept"] + theta["growth_rate"] * whole.llms.years
        )

        def joint(f: float, rows: np.ndarray, theta=theta, error=error) -> float:
            log = stats.norm.logpdf(f, 0, theta["family_sd"])
            return float(log + stats.norm.logpdf(error[rows] - f, 0, theta["residual_sd"]).sum())

        def integral(rows: np.ndarray, joint=joint) -> float:
            return math.log(quad(lambda f: math.exp(joint(f, rows)), -12, 12, points=[0.0])[0])

        old = members[:-2]
        found = gains.isel(chain=draw[0], draw=draw[1])
        # the effect under its posterior given the family's old members ...
        assert float(found[0]) == pytest.approx(integral(members) - integral(old), abs=1e-6)
        # ... under its prior where there are none ...
        row = np.flatnonzero(whole.llms.family_idx == alone)
        assert float(found[alone]) == pytest.approx(integral(row), abs=1e-6)
        # ... and nothing where nothing is new
        rest = [k for k in range(found.size) if k not in (0, alone)]
        assert np.abs(found.to_numpy()[rest]).max() < 1e-9


def test_gains_of_scores_against_nested_quadrature() -> None:
    """A family of four of which two have been scored, sizes and effect integrated on fine grids."""
    spec = load_spec("joint").with_options(quadrature_spacing=0.125)
    rows = LLMS[4:9]
    hidden = [(*row[:3], {} if k in (3, 4) else row[3]) for k, row in enumerate(rows)]
    before, after = small_data(hidden), small_data(rows)
    posterior = made_up_posterior(spec, after, shape=(1, 2))
    whole = replace(observe(spec, load_dataset("densing")), llms=after.llms, scores=after.scores)
    part = replace(whole, scores=before.scores)
    gains = log_gains(posterior, spec, part, whole).sel(family_obs="four").to_numpy()
    for draw in range(2):
        theta = {name: posterior[name].to_numpy()[0, draw] for name in posterior}
        four = np.flatnonzero(np.array(after.llms.families)[after.llms.family_idx] == "four")
        known = _nested(theta, spec, whole, four, four) - _nested(
            theta, spec, whole, four, [i for i in four if hidden[i][3]]
        )
        assert gains[0, draw] == pytest.approx(known, abs=2e-3)


def _nested(
    theta: dict[str, np.ndarray],
    spec: ModelSpec,
    data: Observations,
    members: np.ndarray,
    scored: object,
) -> float:
    """Log M of a family by sums over 1,201 effects and 3,001 sizes."""
    joint, sd = data.joint, float(theta["residual_sd"])
    effects = np.linspace(-6, 6, 1201)
    log_total = stats.norm.logpdf(effects, 0, theta["family_sd"])
    ratio = np.log(spec.options.reference_tokens) - joint.losses.log_tokens_centre
    for i in members:
        if i not in list(scored):  # type: ignore[call-overload]
            continue
        location = joint.llms.log_params[i] + theta["trend_intercept"]
        location = location + theta["growth_rate"] * joint.llms.years[i]
        x = location + np.linspace(-16, 16, 3001)
        log_y = np.zeros(len(x))
        for c in range(joint.scores.first[i], joint.scores.first[i + 1]):
            j = joint.scores.benchmark_idx[c]
            law = (theta[name][j] for name in LAW_PARAMETERS)
            loss = chinchilla_loss(x - joint.losses.log_params_centre, ratio, *law)
            mean = logistic_logit_score(loss, *(theta[name][j] for name in MAP_PARAMETERS))
            var = theta["discrepancy_sd"][j] ** 2
            var = var + theta["protocol_sd"][j] ** 2 / joint.scores.n_reports[c]
            var = var + item_variance(mean, joint.scores.n_items[c])
            log_y = log_y + stats.norm.logpdf(joint.scores.logit_score[c], mean, np.sqrt(var))
        bell = stats.norm.logpdf(x - location - effects[:, None], 0, sd)
        log_total = log_total + logsumexp(bell + log_y, axis=1) + math.log(x[1] - x[0])
    return float(logsumexp(log_total) + math.log(effects[1] - effects[0]))


# ---------------------------------------------------------------- averaged over the posterior


def toy(n_hidden: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y_k ~ Normal(theta, 1), three known: gains at both posteriors' draws, and exact parts."""
    rng = np.random.default_rng(seed)
    y = rng.normal(0.8, 1.0, 3 + n_hidden)
    exact, draws = np.empty(n_hidden), []
    for k in range(n_hidden):
        seen = y[: 3 + k]
        precision = 1 + len(seen)
        sd = math.sqrt(1 + 1 / precision)
        exact[k] = stats.norm.logpdf(y[3 + k], seen.sum() / precision, sd)
    for n_seen in (3, 3 + n_hidden):
        precision = 1 + n_seen
        theta = rng.normal(y[:n_seen].sum() / precision, precision**-0.5, (4, 500, 1))
        draws.append(stats.norm.logpdf(y[3:], theta, 1.0))
    return draws[0], draws[1], exact


@pytest.mark.parametrize("n_hidden", [1, 5, 40])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hidden_parts_are_foretold_one_after_the_other(n_hidden: int, seed: int) -> None:
    before, after, exact = toy(n_hidden, seed)
    found = foretold(before, after)
    assert abs(found.log_density - exact.sum()) < 4 * found.se
    assert found.se < 0.1
    np.testing.assert_allclose(found.parts, exact, atol=0.12)


def test_the_error_of_what_is_foretold_is_what_it_says() -> None:
    z = []
    for seed in range(40):
        before, after, exact = toy(12, seed)
        found = foretold(before, after)
        z.append((found.log_density - exact.sum()) / found.se)
    assert np.abs(z).max() < 3.5
    assert 0.65 < np.sqrt(np.mean(np.square(z))) < 1.35


def block_log_density(
    fits: Sequence[Fit], spec: ModelSpec, dataset: Dataset, block: Block
) -> Foretold:
    """Log density of a block given all before it, from fits to what came before and with it."""
    before, after = (
        seen_before(spec, dataset, date, block.origin) for date in (block.start, block.end)
    )
    return foretold(*(block_gains(fit.posterior, spec, before, after, block) for fit in fits))


@pytest.mark.fit
def test_blocks_add_up_to_the_marginal_likelihood() -> None:
    """log p(all) - log p(before the first block), by quadrature, is the sum over the blocks."""
    spec, dataset = load_spec("trend_only"), load_dataset("densing-published")
    data = observe(spec, dataset)
    laid = blocks(data.llms, days=182, families=12)
    assert len(laid) >= 2
    dates = [*(block.start for block in laid), laid[-1].end]
    seen = [seen_before(spec, dataset, date, laid[0].origin) for date in dates]
    fits = [refit(spec, part, seed) for seed, part in enumerate(seen)]
    found = [
        block_log_density(fits[k : k + 2], spec, dataset, block) for k, block in enumerate(laid)
    ]
    known = [exact_log_ml(spec, part) for part in seen]
    for k, one in enumerate(found):
        print(laid[k].start, one.log_density, one.se, known[k + 1] - known[k])
        assert len(one.parts) == len(families_in(data.llms, laid[k]))
        assert abs(one.log_density - (known[k + 1] - known[k])) < 4 * one.se + 0.01
    total = sum(one.parts.sum() for one in found)
    error = math.sqrt(sum(one.se**2 for one in found))
    assert abs(total - (known[-1] - known[0])) < 3 * error + 0.01


@pytest.mark.fit
def test_a_joint_block_is_the_difference_of_two_marginal_likelihoods() -> None:
    spec, dataset = small_joint()
    (block,) = blocks(observe(spec, dataset).llms, days=3000, families=9)
    seen = [seen_before(spec, dataset, date, block.origin) for date in (block.start, block.end)]
    assert seen[0].reports is not None
    assert seen[1].reports is not None
    np.testing.assert_array_equal(seen[0].reports.degrees, seen[1].reports.degrees)
    fits = [refit(spec, part, seed) for seed, part in enumerate(seen)]
    known = [
        log_marginal_likelihood(one, part, seed=3) for one, part in zip(fits, seen, strict=True)
    ]
    difference = known[1].log_ml - known[0].log_ml
    found = block_log_density(fits, spec, dataset, block)
    error = math.hypot(found.se, known[0].se, known[1].se)
    print(found, difference, error)
    assert abs(found.log_density - difference) < 3 * error
    assert found.se < 0.5


@pytest.mark.parametrize(
    "options", [{"trend": "exponential"}, {"trend": "logistic"}, {"residual": "student_t"}]
)
@pytest.mark.parametrize("hidden", ["late", "family"])
def test_only_families_that_are_told_more_of_are_integrated(
    options: dict[str, str], hidden: str
) -> None:
    """What is left out is in the window of all, and adds nothing."""
    spec = load_spec("joint").with_options(quadrature_spacing=0.1, **options)
    dataset = load_dataset("densing")
    whole = observe(spec, dataset)
    llms = whole.llms
    names = [
        name
        for name, date, k in zip(llms.names, llms.release_dates, llms.family_idx, strict=True)
        if (date >= "2025-06" if hidden == "late" else k == 3)
    ]
    part = hide(spec, dataset, names)
    where = coordinates_of(spec, whole)
    z = where.start + np.random.default_rng(1).normal(0, 0.1, (1, 3, where.size))
    posterior = as_dataset(spec, whole, where.natural(z))
    known, told = (family_log_likelihood(posterior, spec, data.joint) for data in (part, whole))
    np.testing.assert_allclose(log_gains(posterior, spec, part, whole), told - known, atol=1e-6)
