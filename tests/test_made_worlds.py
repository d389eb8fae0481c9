"""Worlds do what they say, and differ in that alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import logit

from bayesdense.dataset import Dataset, load_dataset
from bayesdense.errors import BayesdenseError
from bayesdense.laws import chinchilla_loss, kaplan_loss
from bayesdense.names import LAW_PARAMETERS, MAP_PARAMETERS
from bayesdense.observations import observe
from bayesdense.point import point_estimate
from bayesdense.prior_draws import draw_priors
from bayesdense.score_maps import logistic_logit_score
from bayesdense.simulate.datasets import looks_usable, simulate_observations
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.made_worlds import (
    WELL_SPECIFIED,
    WORLDS,
    Made,
    drawn_llms,
    make,
    of_llms,
    tables_of,
    world_named,
)

SEEDS = np.random.SeedSequence(11).spawn(3)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec("joint")


@pytest.fixture(scope="module")
def part() -> Dataset:
    return drawn_llms(load_dataset("densing").base_only(), 28, np.random.default_rng(4))


@pytest.fixture(scope="module")
def made(spec: ModelSpec, part: Dataset) -> dict[str, Made]:
    return {name: make(world, spec, part, SEEDS) for name, world in WORLDS.items()}


@pytest.fixture(scope="module")
def right(made: dict[str, Made]) -> Made:
    return made[WELL_SPECIFIED]


def log_density(made: Made) -> np.ndarray:
    return made.truth["log_density"].to_numpy()


def effects(made: Made) -> np.ndarray:
    return made.truth["family_effect"].to_numpy()[made.data.llms.family_idx]


def logits(made: Made) -> np.ndarray:
    return made.data.joint.scores.logit_score


def expected(made: Made, j: int, log_size: float, tokens: float) -> float:
    """Logit of a benchmark's score at a size, by law and map."""
    theta, losses = made.truth.isel(benchmark=j), made.data.joint.losses
    law = (float(theta[name]) for name in LAW_PARAMETERS)
    ratio = np.log(tokens) - losses.log_tokens_centre
    loss = chinchilla_loss(log_size - losses.log_params_centre, ratio, *law)
    return float(logistic_logit_score(loss, *(float(theta[name]) for name in MAP_PARAMETERS)))


# --- the shape ----------------------------------------------------------------------------------


def test_a_part_holds_whole_families_and_their_cells() -> None:
    whole = load_dataset("densing").base_only()
    one, other = (drawn_llms(whole, 28, np.random.default_rng(seed)) for seed in (1, 2))
    for part in (one, other):
        families = set(part.llms["family"])
        assert 28 <= len(part.llms) < 60
        assert set(whole.llms.loc[whole.llms["family"].isin(families), "llm"]) == set(
            part.llms["llm"]
        )
        assert set(part.scores["llm"]) == set(part.llms["llm"])
        kept = whole.scores[whole.scores["llm"].isin(set(part.llms["llm"]))]
        assert len(kept) == len(part.scores)
        pd.testing.assert_frame_equal(part.runs, whole.runs)
    assert set(one.llms["llm"]) != set(other.llms["llm"])


def test_priors_of_simulation_and_fit_are_one(
    spec: ModelSpec, part: Dataset, made: dict[str, Made]
) -> None:
    """Data scales are those of the shape, not of the losses that were drawn: else ranks are off."""
    shape = observe(spec, part).joint
    fixed = shape.benchmarks.data_scales()
    for name, one in made.items():
        scales = one.data.joint.benchmarks.data_scales()
        same = all(np.array_equal(scales[key], fixed[key]) for key in fixed)
        assert same == (name != "own_scales")
        assert one.data.joint.losses.log_params_centre == shape.losses.log_params_centre
        assert one.data.joint.losses.log_tokens_centre == shape.losses.log_tokens_centre
    losses = made["own_scales"].data.joint.losses
    own = [np.exp(losses.log_loss[losses.benchmark_idx == j].mean()) for j in range(5)]
    assert made["own_scales"].data.joint.benchmarks.loss_centre == pytest.approx(own)
    # what a fit to the tables would take them for
    again = observe(spec, tables_of(made[WELL_SPECIFIED])).joint.benchmarks.loss_centre
    assert again == pytest.approx(own)
    assert not np.allclose(again, shape.benchmarks.loss_centre, rtol=0.01)


def test_truths_are_draws_of_the_prior_and_nothing_is_rejected(
    spec: ModelSpec, part: Dataset
) -> None:
    data = observe(spec, part)
    usable = []
    for seed in range(40):
        seeds = np.random.SeedSequence(seed).spawn(3)
        one = make(WORLDS[WELL_SPECIFIED], spec, part, seeds)
        drawn = draw_priors(spec, data, np.random.default_rng(seeds[0]), 1)
        xr.testing.assert_identical(one.truth, drawn.isel(chain=0, draw=0, drop=True))
        joint = one.data.joint
        assert np.isfinite(joint.scores.logit_score).all()
        assert np.isfinite(joint.losses.log_loss).all()
        usable.append(looks_usable(joint))
    assert 0 < sum(usable) < 40  # datasets that nobody would analyse are among them


def test_what_was_simulated_as_usable_looks_so(spec: ModelSpec, part: Dataset) -> None:
    kept = simulate_observations(spec, observe(spec, part), seed=3)
    assert looks_usable(kept.observations.joint)


def test_fixed_values_are_not_drawn(spec: ModelSpec, part: Dataset) -> None:
    one = make(WORLDS[WELL_SPECIFIED], spec, part, SEEDS, {"growth_rate": 2.5})
    assert float(one.truth["growth_rate"]) == 2.5


# --- each world ---------------------------------------------------------------------------------


def test_worlds_share_truth_and_noise(made: dict[str, Made], right: Made) -> None:
    for name, one in made.items():
        if name == "records_only":
            continue
        assert one.data.llms.names == right.data.llms.names
        assert float(one.truth["growth_rate"]) == float(right.truth["growth_rate"])
    for name in ("heavy_tails", "no_family", "strong_family", "contaminated", "dates_off"):
        np.testing.assert_array_equal(
            made[name].data.joint.losses.log_loss, right.data.joint.losses.log_loss
        )


def test_heavy_tails_have_the_scale_and_tails_of_a_student_t(
    spec: ModelSpec, part: Dataset
) -> None:
    fixed = {"residual_sd": 0.5, "family_sd": 0.0, "growth_rate": 0.0, "trend_intercept": 0.0}
    drawn = [
        log_density(make(WORLDS["heavy_tails"], spec, part, np.random.SeedSequence(k).spawn(3),
                         fixed))
        for k in range(60)
    ]  # fmt: skip
    apart = np.concatenate(drawn) / 0.5
    assert np.quantile(np.abs(apart), 0.5) == pytest.approx(0.765, abs=0.06)  # of t(3)
    assert 0.03 < (np.abs(apart) > 3).mean() < 0.09  # .058; of a normal .003


def test_family_effects_are_scaled_and_sizes_follow(made: dict[str, Made], right: Made) -> None:
    for name, factor in (("no_family", 0.0), ("strong_family", 2.0)):
        one = made[name]
        np.testing.assert_allclose(effects(one), factor * effects(right))
        moved = log_density(one) - log_density(right)
        np.testing.assert_allclose(moved, (factor - 1) * effects(right))
        sizes = one.truth["log_effective_params"] - right.truth["log_effective_params"]
        np.testing.assert_allclose(sizes, moved)


def test_without_a_floor_the_centre_stays(made: dict[str, Made], right: Made) -> None:
    one = made["no_floor"].truth
    assert (one["loss_floor"] == 0).all()
    terms = ("loss_floor", "param_coef", "token_coef")
    before, after = (sum(truth[name] for name in terms) for truth in (right.truth, one))
    np.testing.assert_allclose(after, before)
    ratios = [truth["param_coef"] / truth["token_coef"] for truth in (right.truth, one)]
    np.testing.assert_allclose(*ratios)


def test_another_law_has_the_same_centre_and_other_losses(
    made: dict[str, Made], right: Made
) -> None:
    before, after = (one.data.joint.losses for one in (right, made["other_law"]))
    ratio = np.exp(after.log_loss - before.log_loss)
    theta = right.truth
    for k in (0, 70, 164):
        law = [float(theta[n][before.benchmark_idx[k]]) for n in LAW_PARAMETERS]
        at = before.log_params_ratio[k], before.log_tokens_ratio[k]
        centre = kaplan_loss(0.0, 0.0, 0.0, *law[1:])
        grown = (law[1] + law[3]) / centre
        other = kaplan_loss(*at, law[0], grown * law[1], law[2], grown * law[3], law[4])
        assert ratio[k] == pytest.approx(other / chinchilla_loss(*at, *law))
        scaled = kaplan_loss(0.0, 0.0, law[0], grown * law[1], law[2], grown * law[3], law[4])
        assert scaled == pytest.approx(chinchilla_loss(0.0, 0.0, *law))
    assert np.abs(np.log(ratio)).max() > 0.001
    assert not np.allclose(logits(made["other_law"]), logits(right))


def test_an_asymmetric_map_moves_points_and_scores(made: dict[str, Made], right: Made) -> None:
    one = made["asymmetric_map"].data.joint
    points, before = one.calibration, right.data.joint.calibration
    assert not np.array_equal(points.score, before.score)
    counts = points.score * points.n_items
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)
    np.testing.assert_array_equal(one.losses.log_loss, right.data.joint.losses.log_loss)
    assert not np.allclose(one.scores.logit_score, logits(right))


def test_a_leak_grows_with_time_on_one_benchmark(made: dict[str, Made], right: Made) -> None:
    gain = logits(made["contaminated"]) - logits(right)
    scores, years = right.data.joint.scores, right.data.llms.years
    (leaked,) = np.unique(scores.benchmark_idx[np.abs(gain) > 1e-9])
    mine = scores.benchmark_idx == leaked
    share = (years - years.min()) / np.ptp(years)
    np.testing.assert_allclose(gain[mine], share[scores.llm_idx[mine]], atol=1e-9)
    assert np.abs(gain[~mine]).max() < 1e-9


def test_a_wrong_d0_is_that_of_the_data(made: dict[str, Made], right: Made) -> None:
    """Noise is the same: without it scores are those of a fifth of the tokens."""
    one = made["wrong_reference_tokens"]
    assert one.spec.options.reference_tokens == pytest.approx(1e12)
    scores = right.data.joint.scores
    sizes = right.truth["log_effective_params"].to_numpy()
    moved = logits(one) - logits(right)
    for k in range(0, len(moved), 17):
        at = scores.benchmark_idx[k], sizes[scores.llm_idx[k]]
        change = expected(right, *at, 1e12) - expected(right, *at, 5e12)
        assert moved[k] == pytest.approx(change, abs=0.05)  # item noise hangs on the score
    assert moved.mean() < 0


def test_bad_scores_go_unreported(made: dict[str, Made], right: Made) -> None:
    before, after = right.data.joint.scores, made["not_at_random"].data.joint.scores
    cells = list(zip(before.llm_idx, before.benchmark_idx, strict=True))
    kept = {cell for cell in zip(after.llm_idx, after.benchmark_idx, strict=True)}
    assert kept < set(cells)
    sizes = right.truth["log_effective_params"].to_numpy()
    apart = np.array(
        [
            before.logit_score[k] - expected(right, j, sizes[i], 5e12)
            for k, (i, j) in enumerate(cells)
        ]
    )
    gone = np.array([cell not in kept for cell in cells])
    assert (apart[gone] < 0).all()
    assert 0.3 < gone[apart < 0].mean() < 0.7
    assert set(after.llm_idx) == set(before.llm_idx)
    for i in range(len(right.data.llms.names)):
        assert (after.llm_idx[after.first[i] : after.first[i + 1]] == i).all()
    assert after.first[-1] == len(after.score) == len(kept)


def test_scores_are_rounded(made: dict[str, Made], right: Made) -> None:
    scores = made["whole_percent"].data.joint.scores
    np.testing.assert_array_equal(scores.score, np.round(right.data.joint.scores.score, 2))
    inside = (scores.score > 0) & (scores.score < 1)
    np.testing.assert_allclose(scores.logit_score[inside], logit(scores.score[inside]))
    assert np.isfinite(scores.logit_score).all()


def test_dates_are_off_where_they_are_shown(made: dict[str, Made], right: Made) -> None:
    shown, true = made["dates_off"].data.llms, right.data.llms
    days = 365.25 * (shown.years - true.years)
    assert 20 < days.std() < 45
    dates = [pd.to_datetime(list(one.release_dates)) for one in (shown, true)]
    np.testing.assert_allclose((dates[0] - dates[1]).days, days, atol=1e-6)
    np.testing.assert_array_equal(logits(made["dates_off"]), logits(right))


def test_only_records_are_published(made: dict[str, Made], right: Made) -> None:
    one = made["records_only"]
    order = np.argsort(right.data.llms.years, kind="stable")
    days = np.round(365.25 * right.data.llms.years)
    expected_names, most = [], -np.inf
    for day in np.unique(days[order]):
        rows = np.flatnonzero(days == day)
        best = rows[np.argmax(log_density(right)[rows])]
        if log_density(right)[best] > most:
            most = log_density(right)[best]
            expected_names.append(right.data.llms.names[best])
    assert set(one.data.llms.names) == set(expected_names)
    by_name = right.truth["log_density"].sel(llm=list(one.data.llms.names))
    np.testing.assert_array_equal(log_density(one), by_name)
    assert WORLDS["records_only"].takes_all


# --- tables, densities, refusals ----------------------------------------------------------------


def test_tables_say_what_is_observed(spec: ModelSpec, made: dict[str, Made]) -> None:
    for name in (WELL_SPECIFIED, "not_at_random", "records_only", "dates_off"):
        one = made[name]
        data, again = one.data.joint, observe(spec, tables_of(one)).joint
        np.testing.assert_allclose(again.losses.log_loss, data.losses.log_loss)
        np.testing.assert_allclose(again.calibration.score, data.calibration.score)
        np.testing.assert_allclose(again.scores.score, data.scores.score)
        assert again.llms.release_dates == data.llms.release_dates
        assert again.llms.names == data.llms.names
    found = point_estimate(tables_of(made[WELL_SPECIFIED]), n_permutations=1)
    assert len(found.llms) == len(made[WELL_SPECIFIED].data.llms.names)


def test_worlds_of_densities() -> None:
    spec, whole = load_spec("trend_only"), load_dataset("densing-published")
    part = drawn_llms(whole, 20, np.random.default_rng(1))
    assert len(part.densities) >= 20
    made = {
        name: make(world, spec, part, SEEDS)
        for name, world in WORLDS.items()
        if not world.needs_scores
    }
    right = made[WELL_SPECIFIED]
    known = np.sqrt(right.data.densities.known_var)
    apart = right.data.densities.log_density - log_density(right)
    assert np.abs(apart).max() <= 5 * known.max() + 1e-12
    assert len(made["records_only"].data.llms.names) < len(right.data.llms.names)
    tables = tables_of(right)
    np.testing.assert_allclose(
        np.log(tables.densities["density"]), right.data.densities.log_density
    )
    assert point_estimate(tables, n_permutations=1).line.n_records >= 1


def test_what_is_no_world_is_refused(spec: ModelSpec, part: Dataset) -> None:
    with pytest.raises(BayesdenseError, match="did you mean 'heavy_tails'"):
        world_named("heavy_tail")
    alone = spec.with_options(family="none")
    with pytest.raises(BayesdenseError, match="needs a model with families"):
        make(WORLDS["no_family"], alone, part, SEEDS)
    without = spec.with_options(loss_law="additive")
    with pytest.raises(BayesdenseError, match="none to take away"):
        make(WORLDS["no_floor"], without, part, SEEDS)


def test_llms_of_a_name(part: Dataset) -> None:
    name = part.llms["llm"][3]
    one = of_llms(replace(part, score_reports=None), [name])
    assert one.llms["llm"].tolist() == [name]
    assert set(one.scores["llm"]) == {name}
