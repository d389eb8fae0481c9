"""The simulator: noise as the model says, the shape of the dataset copied, the truth kept."""

import importlib.util
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from bayesdense.dataset import Dataset, load_dataset
from bayesdense.elementary import expit
from bayesdense.errors import BayesdenseError, DatasetError, SpecError
from bayesdense.observations import JointObservations, observe
from bayesdense.predictive import posterior_predictive, prior_predictive
from bayesdense.prior_draws import draw_priors
from bayesdense.simulate import (
    Simulated,
    read_truth,
    replicate,
    replicate_densities,
    replicated_observations,
    simulate_dataset,
    write_dataset,
)
from bayesdense.simulate.datasets import count_above_ceiling
from bayesdense.simulate.reports import simulate_reports
from bayesdense.spec import ModelSpec, load_spec

LEAST_P = 1e-5
SHIPPED = Path(__file__).resolve().parents[1] / "data" / "synthetic"
SPEC = load_spec("joint")
DENSING = load_dataset("densing")
SEEN = observe(SPEC, DENSING)
DATA = SEEN.joint
ONE = draw_priors(SPEC, DATA, np.random.default_rng(21), 1)


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    return simulate_dataset(seed=4)


def of(dataset: Dataset, name: str) -> pd.DataFrame:
    table = getattr(dataset, name)
    assert table is not None
    return table


def many(parameters: xr.Dataset, n: int, **changes: xr.DataArray) -> xr.Dataset:
    """One draw of the parameters n times."""
    same = parameters.isel(draw=np.zeros(n, dtype=int)).assign_coords(draw=np.arange(n))
    return same.assign(changes)


def known(name: str) -> np.ndarray:
    return ONE[name].values[0, 0]


def law(j: int, log_params: float, log_tokens: float) -> float:
    """Loss by the law, written once more."""
    size = np.exp(log_params - DATA.losses.log_params_centre)
    tokens = np.exp(log_tokens - DATA.losses.log_tokens_centre)
    terms = (("param_coef", "param_exponent", size), ("token_coef", "token_exponent", tokens))
    return known("loss_floor")[j] + sum(
        known(coef)[j] * ratio ** -known(exponent)[j] for coef, exponent, ratio in terms
    )


def score(j: int, loss: float) -> float:
    """Score by the map, written once more."""
    floor, ceiling = known("score_floor")[j], known("score_ceiling")[j]
    position = 1 / (1 + np.exp(known("score_slope")[j] * (loss - known("loss_midpoint")[j])))
    return floor + (ceiling - floor) * position


def logit(p: float) -> float:
    return np.log(p / (1 - p))


# --- The story -------------------------------------------------------------------------------


def test_scores_scatter_about_law_and_map_by_discrepancy_protocol_and_items():
    n, scores = 40, DATA.scores
    drawn = replicate(
        many(ONE, n), SPEC, DATA, np.random.default_rng(1), new_sizes=False, new_families=False
    )["logit_score"].values[0]
    for c, (i, j) in enumerate(zip(scores.llm_idx, scores.benchmark_idx, strict=True)):
        mean = score(j, law(j, known("log_effective_params")[i], np.log(5e12)))
        var = known("discrepancy_sd")[j] ** 2 + known("protocol_sd")[j] ** 2 / scores.n_reports[c]
        var += 1 / (scores.n_items[c] * mean * (1 - mean))
        drawn[:, c] = (drawn[:, c] - logit(mean)) / np.sqrt(var)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > LEAST_P
    assert drawn.std() == pytest.approx(1.0, abs=0.02)
    assert np.abs(np.corrcoef(drawn[:, :40].T) - np.eye(40)).max() < 0.8  # cells are independent


def test_calibration_points_scatter_about_the_map():
    n, points = 300, DATA.calibration
    drawn = replicate(
        many(ONE, n), SPEC, DATA, np.random.default_rng(2), new_sizes=False, new_families=False
    )["logit_loss_score"].values[0]
    for c, j in enumerate(points.benchmark_idx):
        mean = score(j, points.loss[c])
        var = known("map_noise_sd")[j] ** 2 + 1 / (points.n_items[c] * mean * (1 - mean))
        drawn[:, c] = (drawn[:, c] - logit(mean)) / np.sqrt(var)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > LEAST_P


def test_losses_are_correlated_within_sizes_and_within_runs():
    losses = DATA.losses
    anew = many(ONE, 6000).drop_vars("run_effect")
    rng = np.random.default_rng(3)
    drawn = replicate(anew, SPEC, DATA, rng, new_sizes=False, new_families=False)
    error = drawn["log_loss"].values[0] - np.log(
        [
            law(j, a + losses.log_params_centre, b + losses.log_tokens_centre)
            for j, a, b in zip(
                losses.benchmark_idx, losses.log_params_ratio, losses.log_tokens_ratio, strict=True
            )
        ]
    )
    j = losses.benchmark_idx
    run_sd, size_sd = known("run_effect_sd")[j], known("size_effect_sd")[j]
    same_run = losses.run_idx[:, None] == losses.run_idx
    same_cluster = losses.cluster_idx[:, None] == losses.cluster_idx
    expected = np.outer(run_sd, run_sd) * same_run + np.outer(size_sd, size_sd) * same_cluster
    expected += np.diag(known("loss_noise_sd")[j] ** 2 + losses.known_var)
    sd = np.sqrt(np.diag(expected))
    gap = (np.cov(error.T) - expected) / np.outer(sd, sd)
    assert np.abs(gap).max() < 0.1  # 27225 covariances, each known to about .013
    assert np.abs(error.mean(axis=0) / sd).max() < 0.07


def test_given_run_effects_move_the_losses_of_their_runs():
    effect = xr.zeros_like(ONE["run_effect"])
    effect[0, 0, 0] = 50.0
    rng = np.random.default_rng(3)
    plain, moved = (
        replicate(
            ONE.assign(run_effect=value), SPEC, DATA, rng, new_sizes=False, new_families=False
        )["log_loss"].values[0, 0]
        for value in (xr.zeros_like(effect), effect)
    )
    mine = DATA.losses.run_idx == 0
    assert (moved - plain)[mine].min() > 10 * known("run_effect_sd").min()
    assert np.abs((moved - plain)[~mine]).max() < 1.0


def test_sums_of_squares_are_chi_square():
    n = 3000
    drawn = replicate(
        many(ONE, n), SPEC, DATA, np.random.default_rng(4), new_sizes=False, new_families=False
    )["score_reports"].values[0]
    assert DATA.reports is not None
    for c, (j, k) in enumerate(zip(DATA.reports.benchmark_idx, DATA.reports.degrees, strict=True)):
        scaled = drawn[:, c] / known("protocol_sd")[j] ** 2
        assert stats.kstest(scaled, stats.chi2(k).cdf).pvalue > LEAST_P


def test_natural_scales_stand_beside_logs_and_logits():
    drawn = replicate(
        ONE, SPEC, DATA, np.random.default_rng(5), new_sizes=False, new_families=False
    )
    np.testing.assert_allclose(drawn["loss"], np.exp(drawn["log_loss"]))
    np.testing.assert_allclose(drawn["score"], expit(drawn["logit_score"]))
    assert drawn["score_obs"].values[0] == "LLaMA-13B MMLU"


def test_a_count_of_none_stays_none_where_it_is_observed_anew():
    hard = many(ONE, 40)
    hard = hard.assign({k: 0.01 * hard[k] for k in ("score_floor", "loss_midpoint")})
    drawn = replicate(
        hard, SPEC, DATA, np.random.default_rng(6), new_sizes=False, new_families=False
    )
    hits = drawn["loss_score"].values * DATA.calibration.n_items
    np.testing.assert_allclose(hits, np.rint(hits), atol=1e-9)
    none = np.argwhere(hits[0] == 0)
    assert len(none) > 0
    draw, point = none[0]
    seen = replicated_observations(DATA, drawn.isel(chain=0, draw=int(draw))).calibration
    assert seen.is_count[point] and seen.score[point] == 0.0
    half = 0.5 / seen.n_items[point]
    assert seen.logit_score[point] == pytest.approx(np.log(half / (1 - half)))


def test_sizes_are_given_or_new_with_given_or_new_families():
    rng = np.random.default_rng(6)
    same = many(ONE, 2000)
    given, sized, other = (
        replicate(same, SPEC, DATA, rng, new_sizes=sizes, new_families=families)[
            "log_effective_params"
        ].isel(chain=0)
        for sizes, families in ((False, False), (True, False), (True, True))
    )
    np.testing.assert_array_equal(given.transpose("draw", "llm"), same["log_effective_params"][0])
    residual_sd, family_sd = ONE["residual_sd"].item(), ONE["family_sd"].item()
    assert float(sized.std("draw").mean()) == pytest.approx(residual_sd, rel=0.02)
    assert float(other.std("draw").mean()) == pytest.approx(
        np.hypot(residual_sd, family_sd), rel=0.02
    )
    pair = np.flatnonzero(DATA.llms.family_idx == DATA.llms.family_idx[0])[:2]
    kin = np.corrcoef(other.transpose("llm", "draw").values[pair])[0, 1]
    assert kin == pytest.approx(family_sd**2 / (residual_sd**2 + family_sd**2), abs=0.06)
    with pytest.raises(ValueError, match="new families without new sizes"):
        replicate(ONE, SPEC, DATA, rng, new_sizes=False, new_families=True)


def test_parameters_in_another_order_give_the_same_data():
    turned = ONE.isel(benchmark=slice(None, None, -1), llm=slice(None, None, -1))
    one, other = (
        replicate(p, SPEC, DATA, np.random.default_rng(7), new_sizes=False, new_families=False)
        for p in (ONE, turned.transpose("benchmark", ...))
    )
    xr.testing.assert_allclose(one, other.transpose(*one.dims))


def test_held_out_points_are_predicted_apart():
    spec = SPEC.with_options(calibration="fit")
    data = observe(spec, DENSING)
    drawn = posterior_predictive(ONE, spec, data, np.random.default_rng(8))
    assert (drawn.sizes["point_obs"], drawn.sizes["heldout_obs"]) == (50, 10)
    assert not set(drawn["point_obs"].values) & set(drawn["heldout_obs"].values)


@pytest.mark.parametrize(
    "options",
    [
        {"loss_law": "additive", "score_noise": "cell", "loss_noise": "independent"},
        {"residual": "student_t", "family": "none"},
        {"residual": "composed", "scale_trend": True, "trend": "flat"},
    ],
)
@pytest.mark.parametrize("like", ["densing", "olmo-ladder"])
def test_every_kind_of_component_is_simulated(like, options):
    spec = SPEC.with_options(**options)
    data = observe(spec, load_dataset(like)).joint
    rng = np.random.default_rng(9)
    parameters = draw_priors(spec, data, rng, 200)
    drawn = replicate(parameters, spec, data, rng, new_sizes=True, new_families=True)
    assert all(np.isfinite(value).all() for value in drawn.data_vars.values())
    assert drawn.sizes["score_obs"] == len(data.scores.score)


def test_an_offset_moves_scores_under_another_protocol():
    data = observe(SPEC, load_dataset("olmo-ladder")).joint
    assert data.scores.other_protocol.all()
    parameters = draw_priors(SPEC, data, np.random.default_rng(1), 1)
    plain, moved = (
        replicate(
            parameters.assign(protocol_offset=xr.full_like(parameters["protocol_offset"], value)),
            SPEC, data, np.random.default_rng(2), new_sizes=False, new_families=False,
        )["logit_score"]
        for value in (0.0, 1.5)
    )  # fmt: skip
    assert float((moved - plain).median()) == pytest.approx(1.5, abs=0.1)


def test_densities_are_trend_family_residual_and_known_error():
    spec = load_spec("trend_only")
    data = observe(spec, load_dataset("densing-published"))
    one = draw_priors(spec, data, np.random.default_rng(1), 1)
    rng = np.random.default_rng(2)
    drawn = replicate_densities(many(one, 3000), spec, data, rng, new_families=False)
    llms = data.llms
    location = one["trend_intercept"].item() + one["growth_rate"].item() * llms.years
    location += one["family_effect"].values[0, 0][llms.family_idx]
    z = (drawn["log_density"].values[0] - location) / one["residual_sd"].item()
    assert z.std() == pytest.approx(1.0, abs=0.02)
    assert abs(z.mean()) < 0.02
    assert posterior_predictive(one, spec, data, rng)["log_density"].dims == (
        "chain",
        "draw",
        "llm",
    )


# --- Predictive groups -----------------------------------------------------------------------


def test_groups_are_on_the_scale_of_the_models_variables():
    prior, data = prior_predictive(SPEC, SEEN, np.random.default_rng(1), n=4)
    assert data["score"].dims == ("chain", "draw", "score_obs")
    assert data["loss"].attrs["units"] == "log loss"
    assert prior["growth_rate"].shape == (1, 4)
    after = posterior_predictive(many(ONE, 500), SPEC, SEEN, np.random.default_rng(2))
    assert set(after.data_vars) == {"loss", "loss_score", "score", "score_reports", "score_new"}
    assert float(after["score_new"].std("draw").mean()) > float(after["score"].std("draw").mean())


def test_the_prior_predicts_nothing_absurd():
    """What docs/explanation/prior-predictive.md says, with room for chance."""
    rng = np.random.default_rng(20250101)
    prior, data = prior_predictive(SPEC, SEEN, rng, n=1000)
    ratio = np.exp(np.quantile(data["loss"] - DATA.losses.log_loss, [0.005, 0.5, 0.995]))
    assert ratio[0] > 0.2
    assert 0.8 < ratio[1] < 1.4
    assert ratio[2] < 6.0
    for j in range(len(DATA.benchmarks.names)):
        mine = data["score"].isel(score_obs=DATA.scores.benchmark_idx == j)
        low, high = expit(np.quantile(mine, [0.025, 0.975]))
        observed = DATA.scores.score[DATA.scores.benchmark_idx == j]
        assert low < np.quantile(observed, 0.1)
        assert high > observed.max()
    log_density = np.abs(prior["log_density"].values)
    assert (log_density > np.log(1000)).mean() < 0.02
    assert np.quantile(log_density, 0.5) < np.log(10)
    assert float((prior["growth_rate"] > 0).mean()) == pytest.approx(0.5, abs=0.06)


# --- Whole datasets --------------------------------------------------------------------------


def test_the_shape_is_that_of_the_copied_dataset(simulated):
    made, base = simulated.dataset, DENSING.base_only()
    for name in ("llm", "release_date", "n_params", "n_params_non_embedding", "family"):
        pd.testing.assert_series_equal(of(made, "llms")[name], of(base, "llms")[name])
    for name in ("run", "benchmark", "n_params", "n_tokens"):
        pd.testing.assert_series_equal(of(made, "runs")[name], of(base, "runs")[name])
    cells = (
        set(map(tuple, of(d, "scores")[["llm", "benchmark"]].to_numpy())) for d in (made, base)
    )
    assert next(cells) == next(cells)
    assert not np.isclose(of(made, "runs")["loss"], of(base, "runs")["loss"]).any()
    assert made.warnings == base.warnings


def test_a_model_sees_the_same_cells_reports_and_clusters(simulated):
    seen = observe(SPEC, simulated.dataset).joint
    np.testing.assert_array_equal(seen.scores.n_reports, DATA.scores.n_reports)
    np.testing.assert_array_equal(seen.scores.llm_idx, DATA.scores.llm_idx)
    np.testing.assert_array_equal(seen.losses.cluster_idx, DATA.losses.cluster_idx)
    np.testing.assert_array_equal(seen.calibration.is_fit, DATA.calibration.is_fit)
    assert seen.reports is not None
    assert DATA.reports is not None
    np.testing.assert_array_equal(seen.reports.degrees, DATA.reports.degrees)
    assert seen.llms.time_origin == simulated.truth.time_origin


def test_scores_are_fractions_with_the_models_noise(simulated):
    """Residuals of the dataset itself about its truth, read as a model reads them."""
    seen = observe(SPEC, simulated.dataset).joint
    p = {name: value.values for name, value in simulated.truth.parameters.data_vars.items()}
    j, i = seen.scores.benchmark_idx, seen.scores.llm_idx
    size = p["log_effective_params"][i] - seen.losses.log_params_centre
    tokens = np.log(5e12) - seen.losses.log_tokens_centre
    loss = p["loss_floor"][j] + p["param_coef"][j] * np.exp(-p["param_exponent"][j] * size)
    loss += p["token_coef"][j] * np.exp(-p["token_exponent"][j] * tokens)
    position = 1 / (1 + np.exp(p["score_slope"][j] * (loss - p["loss_midpoint"][j])))
    mean = p["score_floor"][j] + (p["score_ceiling"][j] - p["score_floor"][j]) * position
    var = p["discrepancy_sd"][j] ** 2 + p["protocol_sd"][j] ** 2 / seen.scores.n_reports
    var += 1 / (seen.scores.n_items * mean * (1 - mean))
    z = (seen.scores.logit_score - logit(mean)) / np.sqrt(var)
    assert stats.kstest(z, "norm").pvalue > LEAST_P


def test_reports_scatter_by_protocol_and_average_to_the_score():
    assert DENSING.score_reports is not None
    theta = ONE.isel(chain=0, draw=0, drop=True)
    reports = DENSING.base_only().score_reports
    rng = np.random.default_rng(3)
    squares, gaps = [], []
    for _ in range(60):
        drawn = replicate(theta, SPEC, DATA, rng, new_sizes=False, new_families=False)
        logits = drawn["logit_score"].values
        table = simulate_reports(reports, theta, SPEC, DATA, logits, rng)
        table = table.assign(y=logit(table["score"]))
        within = table.groupby(["llm", "benchmark"])["y"].agg(["var", "count"])
        within = (within["var"] * (within["count"] - 1)).groupby("benchmark").sum()
        squares.append(within[list(DATA.benchmarks.names)].to_numpy())
        gaps.append(_gap_of_makers(table, logits))
    assert np.max(gaps) < 1e-6
    assert DATA.reports is not None
    for j, degrees in enumerate(DATA.reports.degrees):
        scaled = np.array(squares)[:, j] / known("protocol_sd")[j] ** 2
        assert stats.kstest(scaled, stats.chi2(degrees).cdf).pvalue > LEAST_P


def _gap_of_makers(table: pd.DataFrame, logits: np.ndarray) -> float:
    """Largest gap between a score and the mean of the maker's own reports, else of all."""
    own = table["own_report"]
    used = own | ~own.groupby([table["llm"], table["benchmark"]]).transform("any")
    mean = table[used].groupby(["llm", "benchmark"])["y"].mean()
    cells = pd.MultiIndex.from_arrays(
        [
            [DATA.llms.names[i] for i in DATA.scores.llm_idx],
            [DATA.benchmarks.names[j] for j in DATA.scores.benchmark_idx],
        ],
        names=mean.index.names,
    )
    both = pd.Series(logits, index=cells).to_frame("score").join(mean.rename("mean"), how="inner")
    assert len(both) == len(cells)  # every score of densing has a report
    return float((both["score"] - both["mean"]).abs().max())


def test_reports_are_normal_about_the_cell_whether_used_or_not():
    """Noise of used and unused reports about the cell's own value: one sd, uncorrelated."""
    theta = ONE.isel(chain=0, draw=0, drop=True)
    reports = DENSING.base_only().score_reports
    rng = np.random.default_rng(5)
    gaps = []
    for _ in range(40):
        drawn = replicate(theta, SPEC, DATA, rng, new_sizes=False, new_families=False)
        table = simulate_reports(
            reports, theta, SPEC, DATA, drawn["logit_score"].values, rng
        ).assign(y=lambda t: logit(t["score"]))
        own = table["own_report"]
        first_own, first_other = (
            table[kind].drop_duplicates(["llm", "benchmark"]).set_index(["llm", "benchmark"])["y"]
            for kind in (own, ~own)
        )
        gap = (first_own - first_other).dropna()
        sd = pd.Series(known("protocol_sd"), index=list(DATA.benchmarks.names))
        gaps.append(gap / (np.sqrt(2) * sd[gap.index.get_level_values("benchmark")].to_numpy()))
    assert stats.kstest(np.concatenate(gaps), "norm").pvalue > LEAST_P


def test_calibration_points_lie_where_the_new_law_reaches(simulated):
    points, p = of(simulated.dataset, "loss_scores"), simulated.truth.parameters
    old = of(DENSING, "loss_scores")
    for name, mine in points.groupby("benchmark"):
        assert mine["loss"].min() > float(p["loss_floor"].sel(benchmark=name))
        before = old[old["benchmark"] == name]["loss"].reset_index(drop=True)
        assert (mine["loss"].reset_index(drop=True).rank() == before.rank()).all()


def test_the_same_seed_gives_the_same_content(simulated):
    again, other = simulate_dataset(seed=4), simulate_dataset(seed=5)
    assert again.dataset.digest == simulated.dataset.digest != other.dataset.digest
    xr.testing.assert_identical(again.truth.parameters, simulated.truth.parameters)


def test_a_folder_loads_back_to_the_same_content_and_truth(simulated, tmp_path):
    folder = write_dataset(simulated.dataset, tmp_path / "a" / "world", simulated.truth)
    loaded = load_dataset(folder)
    assert loaded.digest == simulated.dataset.digest
    assert loaded.card["reference_params"] == "non_embedding"
    truth = read_truth(folder)
    xr.testing.assert_allclose(truth.parameters, simulated.truth.parameters, rtol=0, atol=0)
    for name in simulated.truth.parameters.data_vars:
        assert truth.parameters[name].attrs == simulated.truth.parameters[name].attrs
    for field in ("seed", "spec_digest", "like_digest", "n_rejected", "n_above_ceiling"):
        assert getattr(truth, field) == getattr(simulated.truth, field)
    raw = tomllib.loads((folder / "truth.toml").read_text(encoding="utf-8"))
    assert raw["benchmark"]["MMLU"]["score_ceiling"] == float(
        simulated.truth.parameters["score_ceiling"].sel(benchmark="MMLU")
    )
    assert set(raw["llm"]["LLaMA-13B"]) == {"log_effective_params", "log_density"}


def test_a_real_dataset_is_written_and_read_too(tmp_path):
    for name in ("olmo-ladder", "densing-published"):
        dataset = load_dataset(name)
        assert load_dataset(write_dataset(dataset, tmp_path / name)).digest == dataset.digest


def test_a_dataset_in_the_way_is_kept_unless_forced(simulated, tmp_path):
    folder = write_dataset(simulated.dataset, tmp_path / "world", simulated.truth)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"already holds card.toml.*--force"):
        write_dataset(DENSING, folder)
    assert load_dataset(folder).digest == simulated.dataset.digest
    write_dataset(load_dataset("densing-published"), folder, force=True)
    left = {path.name for path in folder.iterdir()}
    assert left == {"card.toml", "densities.csv", "notes.txt"}
    with pytest.raises(DatasetError, match="a file"):
        write_dataset(DENSING, folder / "notes.txt")


def test_a_folder_that_was_not_finished_is_no_dataset(simulated, tmp_path, monkeypatch):
    from bayesdense.simulate import folder as module

    folder = write_dataset(simulated.dataset, tmp_path / "world", simulated.truth)
    write = module.write_text_atomic

    def full_disk(path: Path, text: str) -> None:
        if path.name == "scores.csv":
            raise OSError(28, "No space left on device")
        write(path, text)

    monkeypatch.setattr(module, "write_text_atomic", full_disk)
    with pytest.raises(DatasetError, match="No space left"):
        write_dataset(simulated.dataset, folder, simulated.truth, force=True)
    with pytest.raises(DatasetError, match=r"card\.toml"):
        load_dataset(folder)


def test_what_is_no_truth_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no truth to read"):
        read_truth(tmp_path)
    (tmp_path / "truth.toml").write_text("schema = 99\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="schema 99"):
        read_truth(tmp_path)


def test_a_given_truth_is_kept():
    made = simulate_dataset(seed=1, truth={"growth_rate": 2.0, "family_sd": 0.5})
    assert float(made.truth.parameters["growth_rate"]) == 2.0
    with pytest.raises(SpecError, match="did you mean 'growth_rate'"):
        simulate_dataset(truth={"growth": 2.0})


def test_llms_above_the_ceiling_can_be_asked_for(simulated):
    assert (
        simulated.truth.n_above_ceiling
        < 20
        <= simulate_dataset(seed=4, n_above_ceiling=20).truth.n_above_ceiling
    )
    theta = ONE.isel(chain=0, draw=0, drop=True)
    n = len(DATA.scores.score)
    assert count_above_ceiling(theta, SPEC, DATA, np.full(n, 50.0)) == len(DATA.llms.names)
    assert count_above_ceiling(theta, SPEC, DATA, np.full(n, -50.0)) == 0


def test_unusable_data_are_drawn_again_and_counted(monkeypatch):
    from bayesdense.simulate import datasets

    answers = iter([False, False, True])
    monkeypatch.setattr(datasets, "_is_usable", lambda *_: next(answers))
    assert simulate_dataset(seed=1).truth.n_rejected == 2
    monkeypatch.setattr(datasets, "_is_usable", lambda *_: False)
    monkeypatch.setattr(datasets, "_MAX_DRAWS", 3)
    with pytest.raises(BayesdenseError, match="no usable data in 3 draws"):
        simulate_dataset(seed=1)


@pytest.mark.parametrize(
    "truth",
    [{"param_coef": 500.0}, {"score_slope": 1e-6}, {"score_ceiling": 0.3, "score_floor": 0.29}],
)
def test_data_that_nobody_would_analyse_are_rejected(truth, monkeypatch):
    from bayesdense.simulate import datasets

    monkeypatch.setattr(datasets, "_MAX_DRAWS", 5)
    with pytest.raises(BayesdenseError, match="no usable data"):
        simulate_dataset(seed=1, truth=truth)


def test_names_can_be_left_out_and_digits_limited(simulated):
    made = simulate_dataset(seed=4, anonymous=True, digits=4).dataset
    assert of(made, "llms")["llm"].iloc[0] == "LLM-001"
    assert "maker" not in of(made, "llms")
    assert not set(of(made, "llms")["family"]) & set(of(simulated.dataset, "llms")["family"])
    assert of(made, "scores")["score"].map(lambda s: len(f"{s:.12g}".strip("0."))).max() <= 4
    np.testing.assert_allclose(
        of(made, "scores")["score"], of(simulated.dataset, "scores")["score"], rtol=1e-3
    )


def test_a_dataset_without_reports_stays_without():
    made = simulate_dataset(like="olmo-ladder", seed=2)
    assert made.dataset.score_reports is None
    seen, old = (observe(SPEC, d).joint for d in (made.dataset, load_dataset("olmo-ladder")))
    np.testing.assert_allclose(seen.losses.known_var, old.losses.known_var)
    np.testing.assert_array_equal(seen.scores.other_protocol, old.scores.other_protocol)


def test_observations_are_replicated_with_the_priors_of_the_old_ones():
    theta = ONE.isel(chain=0, draw=0, drop=True)
    drawn = replicate(
        theta, SPEC, DATA, np.random.default_rng(1), new_sizes=False, new_families=False
    )
    new: JointObservations = replicated_observations(DATA, drawn)
    assert new.benchmarks is DATA.benchmarks
    np.testing.assert_array_equal(new.losses.log_loss, drawn["log_loss"])
    np.testing.assert_array_equal(new.calibration.logit_score.shape, DATA.calibration.loss.shape)
    np.testing.assert_array_equal(new.scores.logit_score, drawn["logit_score"])
    assert new.reports is not None
    np.testing.assert_array_equal(new.reports.sum_of_squares, drawn["score_reports"])


# --- The shipped one -------------------------------------------------------------------------


def test_make_gives_the_committed_files(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = importlib.util.spec_from_file_location("make_synthetic", SHIPPED / "make.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    module.make(tmp_path)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert len(made) == 8
    for name in set(made) - {"truth.toml"}:
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes(), name
    # the truth is in full digits, of which the last may differ between machines
    old, new = read_truth(SHIPPED), read_truth(tmp_path)
    xr.testing.assert_allclose(old.parameters, new.parameters, rtol=1e-12)
    assert (old.seed, old.n_rejected) == (new.seed, new.n_rejected)


def test_the_shipped_one_has_growth_and_llms_above_the_ceiling():
    truth = read_truth(SHIPPED)
    assert 1.0 < float(truth.parameters["growth_rate"]) < 2.0
    assert truth.n_above_ceiling >= 5
    assert truth.spec_digest == _model().digest
    base = of(load_dataset("synthetic"), "llms")
    assert len(base) == 112
    assert list(truth.parameters["llm"].values) == list(base["llm"])


def _model() -> ModelSpec:
    return load_spec(SHIPPED / "model.toml")
