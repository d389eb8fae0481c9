"""What a model sees of a dataset, counted by hand on a tiny one."""

import math
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from datasets import (
    BENCHMARKS,
    LLMS,
    RATIOS,
    SIZES,
    Change,
    add_column,
    add_row,
    cell,
    drop_row,
    keep_rows,
    tiny_dataset,
    tiny_densities,
)
from scipy.special import logit

from bayesdense.dataset import load_dataset
from bayesdense.errors import SpecError
from bayesdense.observations import JointObservations, Observations, observe
from bayesdense.spec import load_spec

BASE = tuple(row for row in LLMS if row[2] == "true")
REPORTS = "llm,benchmark,score,reported_by,own_report\n"


def see(folder: Path, *, options: dict[str, object] | None = None, **changes: Change):
    spec = load_spec("joint").with_options(**{"params": "total", **(options or {})})
    return observe(spec, load_dataset(tiny_dataset(folder, **changes)))


def at(seen: JointObservations, llm: str, benchmark: str) -> int:
    """Place of a cell."""
    i, j = seen.llms.names.index(llm), seen.benchmarks.names.index(benchmark)
    return int(np.flatnonzero((seen.scores.llm_idx == i) & (seen.scores.benchmark_idx == j))[0])


# ---------------------------------------------------------------- scores


def test_scores_of_zero_and_one_move_by_half_an_item(tmp_path: Path) -> None:
    changes = [cell(2, "score", "0"), cell(3, "score", "1"), cell(4, "score", "0.00001")]
    seen = see(tmp_path, scores=changes).joint
    n = 14042
    first, second, third = (at(seen, row[0], "MMLU") for row in BASE[:3])
    assert seen.scores.logit_score[first] == pytest.approx(logit(0.5 / n))
    assert seen.scores.logit_score[second] == pytest.approx(logit(1 - 0.5 / n))
    assert seen.scores.logit_score[third] == seen.scores.logit_score[first], (
        "less than half an item"
    )
    assert list(seen.scores.score[[first, second]]) == [0.0, 1.0], "what was reported stays"
    other = at(seen, BASE[3][0], "MMLU")
    assert seen.scores.logit_score[other] == pytest.approx(logit(seen.scores.score[other]))


def test_items_are_the_cells_own_where_given(tmp_path: Path) -> None:
    column = add_column("n_items", lambda row: "100" if row[:2] == ["Alpha-7B", "MMLU"] else "")
    seen = see(tmp_path, scores=[column, cell(2, "score", "0")]).joint
    own, other = at(seen, "Alpha-7B", "MMLU"), at(seen, "Alpha-7B", "BBH")
    assert (seen.scores.n_items[own], seen.scores.n_items[other]) == (100, 6511)
    assert seen.scores.logit_score[own] == pytest.approx(logit(0.005))


def test_scores_are_sorted_by_llm_and_missing_ones_stay_missing(tmp_path: Path) -> None:
    scores = see(tmp_path).scores
    assert scores is not None
    assert list(np.diff(scores.first)) == [2, 2, 2, 1, 2, 2]
    assert scores.first[0] == 0 and scores.first[-1] == len(scores.score) == 11
    for i in range(6):
        cells = slice(scores.first[i], scores.first[i + 1])
        assert set(scores.llm_idx[cells]) == {i}
        assert list(scores.benchmark_idx[cells]) == sorted(scores.benchmark_idx[cells])


def test_rows_in_another_order_are_the_same_observations(tmp_path: Path) -> None:
    plain = see(tmp_path)
    turned = see(tmp_path / "turned", scores=lambda rows: [rows[0], *rows[:0:-1]])
    for name in ("llm_idx", "benchmark_idx", "logit_score", "n_reports", "first"):
        np.testing.assert_array_equal(getattr(plain.scores, name), getattr(turned.scores, name))


@pytest.mark.parametrize(
    ("reports", "count"),
    [
        ("", 1),  # none at all: the score is one report
        ("Alpha-7B,MMLU,.5,a,false\n", 1),
        ("Alpha-7B,MMLU,.5,a,false\nAlpha-7B,MMLU,.52,b,false\n", 2),
        ("Alpha-7B,MMLU,.5,a,false\nAlpha-7B,MMLU,.5,b,false\n", 1),  # a copy
        ("Alpha-7B,MMLU,.5,maker,true\nAlpha-7B,MMLU,.52,b,false\nAlpha-7B,MMLU,.53,c,false\n", 1),
        (
            "Alpha-7B,MMLU,.5,maker,true\nAlpha-7B,MMLU,.51,maker,true\nAlpha-7B,MMLU,.6,b,false\n",
            2,
        ),
    ],
)
def test_independent_reports_behind_a_score(tmp_path: Path, reports: str, count: int) -> None:
    others = "Beta-7B,BBH,.4,a,false\nBeta-7B,BBH,.44,b,false\n"
    seen = see(tmp_path, score_reports=REPORTS + reports + others).joint
    assert seen.scores.n_reports[at(seen, "Alpha-7B", "MMLU")] == count
    assert seen.scores.n_reports[at(seen, "Beta-7B", "BBH")] == 2
    assert seen.scores.n_reports[at(seen, "Delta-3B", "BBH")] == 1


def test_a_protocol_that_the_map_does_not_know_is_flagged(tmp_path: Path) -> None:
    points = add_column("protocol", lambda row: {"MMLU": "5-shot", "BBH": ""}[row[0]])
    protocols = {"Alpha-7B": "5-shot", "Alpha-13B": "0-shot", "Beta-7B": ""}
    scores = add_column("protocol", lambda row: protocols.get(row[0], "chain of thought"))
    seen = see(tmp_path, loss_scores=points, scores=scores).joint
    flags = seen.scores.other_protocol
    assert [flags[at(seen, llm, "MMLU")] for llm in ("Alpha-7B", "Alpha-13B", "Beta-7B")] == [
        0,
        1,
        0,
    ]
    assert flags[at(seen, "Delta-3B", "MMLU")] == 1
    assert not flags[seen.scores.benchmark_idx == 1].any(), "the map's protocol is not said"
    assert list(seen.has_offset) == [True, False]


def test_without_protocols_there_is_no_offset(tmp_path: Path) -> None:
    for side in ("scores", "loss_scores"):
        seen = see(tmp_path / side, **{side: add_column("protocol", "5-shot")}).joint
        assert not seen.scores.other_protocol.any() and not seen.has_offset.any()


def test_a_map_of_several_protocols_knows_them_all(tmp_path: Path) -> None:
    points = add_column("protocol", lambda row: "a" if float(row[1]) < 0.5 else "b")
    scores = add_column("protocol", lambda row: {"Alpha-7B": "a", "Beta-7B": "b"}.get(row[0], "c"))
    seen = see(tmp_path, loss_scores=points, scores=scores).joint
    assert seen.scores.other_protocol[at(seen, "Alpha-7B", "BBH")] == 0
    assert seen.scores.other_protocol[at(seen, "Beta-7B", "MMLU")] == 0
    assert seen.scores.other_protocol[at(seen, "Delta-3B", "MMLU")] == 1


# ---------------------------------------------------------------- replicated reports


def test_sums_of_squares_within_cells(tmp_path: Path) -> None:
    reports = REPORTS + (
        "Alpha-7B,MMLU,.40,a,false\nAlpha-7B,MMLU,.44,b,false\nAlpha-7B,MMLU,.45,c,true\n"
        "Beta-7B,MMLU,.60,a,false\nBeta-7B,MMLU,.62,b,false\nBeta-7B,MMLU,.62,c,false\n"
        "Delta-3B,MMLU,.50,a,false\n"  # alone: says nothing
        "Alpha-7B,BBH,0,a,false\nAlpha-7B,BBH,.1,b,false\n"
    )
    seen = see(tmp_path, score_reports=reports).joint
    assert seen.reports is not None
    alpha, beta = logit([0.40, 0.44, 0.45]), logit([0.60, 0.62])
    squares = sum(((cell - cell.mean()) ** 2).sum() for cell in (alpha, beta))
    below = logit([0.5 / 6511, 0.1])
    assert list(seen.reports.benchmark_idx) == [0, 1]
    assert list(seen.reports.degrees) == [3, 1]
    np.testing.assert_allclose(
        seen.reports.sum_of_squares, [squares, ((below - below.mean()) ** 2).sum()]
    )


def test_reports_of_llms_that_do_not_enter_do_not_count(tmp_path: Path) -> None:
    reports = REPORTS + "Beta-7B-chat,MMLU,.4,a,false\nBeta-7B-chat,MMLU,.5,b,false\n"
    assert see(tmp_path, score_reports=reports).reports is None
    everyone = see(tmp_path / "all", options={"base_only": False}, score_reports=reports)
    assert everyone.reports is not None


@pytest.mark.parametrize(
    "reports", [None, REPORTS + "Alpha-7B,MMLU,.4,a,false\nBeta-7B,BBH,.5,b,false\n"]
)
def test_without_replication_protocol_and_discrepancy_are_one(
    tmp_path: Path, reports: str | None
) -> None:
    seen = see(tmp_path, score_reports=reports)
    assert seen.reports is None
    assert any("protocol noise and discrepancy are one parameter" in w for w in seen.warnings)


def test_cell_noise_asks_for_no_replication(tmp_path: Path) -> None:
    seen = see(tmp_path, options={"score_noise": "cell"})
    assert seen.reports is None
    assert not any("discrepancy" in warning for warning in seen.warnings)


# ---------------------------------------------------------------- LLMs


def test_times_count_from_the_mean_release_date(tmp_path: Path) -> None:
    llms = see(tmp_path).llms
    assert llms.names == tuple(row[0] for row in BASE)
    assert llms.release_dates == tuple(row[3] for row in BASE)
    days = [date.fromisoformat(row[3]).toordinal() for row in BASE]
    origin = date.fromordinal(math.floor(sum(days) / len(days)))
    assert llms.time_origin == origin.isoformat()
    np.testing.assert_allclose(llms.years, [(day - origin.toordinal()) / 365.25 for day in days])
    assert abs(llms.years.mean()) < 1 / 365.25
    assert llms.families == ("Alpha", "Beta", "Gamma", "Delta")
    assert list(llms.family_idx) == [0, 0, 1, 2, 2, 3]


def test_base_llms_only_unless_asked(tmp_path: Path) -> None:
    assert "Beta-7B-chat" not in see(tmp_path).llms.names
    everyone = see(tmp_path / "all", options={"base_only": False})
    assert everyone.llms.names == tuple(row[0] for row in LLMS)


def count(column: str, blank: str = ""):
    """Column of 90 % of all parameters; one LLM's cell is blank."""
    return add_column(column, lambda row: "" if row[0] == blank else f"{0.9 * float(row[4]):.0f}")


@pytest.mark.parametrize("params", ["non_embedding", "active"])
def test_the_count_that_is_wanted(tmp_path: Path, params: str) -> None:
    seen = see(tmp_path, options={"params": params}, llms=count(f"n_params_{params}"))
    assert seen.llms.params_used == params
    np.testing.assert_allclose(np.exp(seen.llms.log_params), [0.9 * row[4] for row in BASE])
    assert not seen.warnings


def test_non_embedding_falls_back_to_total_for_every_llm(tmp_path: Path) -> None:
    seen = see(
        tmp_path,
        options={"params": "non_embedding"},
        llms=count("n_params_non_embedding", blank="Beta-7B"),
    )
    assert seen.llms.params_used == "total"
    np.testing.assert_allclose(np.exp(seen.llms.log_params), [row[4] for row in BASE])
    (warning,) = seen.warnings
    assert "blank for Beta-7B: total parameters are used for every LLM" in warning


def test_a_blank_of_an_llm_that_does_not_enter_is_none(tmp_path: Path) -> None:
    llms = count("n_params_non_embedding", blank="Beta-7B-chat")
    seen = see(tmp_path, options={"params": "non_embedding"}, llms=llms)
    assert seen.llms.params_used == "non_embedding" and not seen.warnings


def test_a_missing_column_names_the_first_three(tmp_path: Path) -> None:
    (warning,) = see(tmp_path, options={"params": "non_embedding"}).warnings
    assert "blank for Alpha-7B, Alpha-13B, Beta-7B and 3 more" in warning


def test_active_parameters_have_no_substitute(tmp_path: Path) -> None:
    llms = count("n_params_active", blank="Delta-3B")
    with pytest.raises(SpecError, match="n_params_active is blank for Delta-3B; fill it in"):
        see(tmp_path, options={"params": "active"}, llms=llms)


# ---------------------------------------------------------------- reference runs


def test_sizes_are_about_the_centre_of_the_runs(tmp_path: Path) -> None:
    losses = see(tmp_path).joint.losses
    sizes = np.repeat(SIZES, len(RATIOS))
    tokens = sizes * np.tile(RATIOS, len(SIZES))
    assert losses.log_params_centre == pytest.approx(np.log(sizes).mean())
    assert losses.log_tokens_centre == pytest.approx(np.log(tokens).mean())
    assert abs(losses.log_params_ratio.mean()) < 1e-12 > abs(losses.log_tokens_ratio.mean())
    np.testing.assert_allclose(
        losses.log_params_ratio, np.tile(np.log(sizes), 2) - losses.log_params_centre
    )
    assert (losses.max_params, losses.max_tokens) == (max(SIZES), max(tokens))


def test_runs_and_clusters(tmp_path: Path) -> None:
    losses = see(tmp_path).joint.losses
    assert len(losses.runs) == 9 and len(losses.log_loss) == 18
    assert list(losses.run_idx) == [*range(9), *range(9)], "one run, two benchmarks"
    assert losses.n_clusters == len(SIZES) * len(BENCHMARKS)
    assert list(losses.cluster_idx) == list(np.repeat(np.arange(6), 3))
    assert losses.clustered


def test_a_run_without_one_benchmark_keeps_its_number(tmp_path: Path) -> None:
    losses = see(tmp_path, runs=drop_row(3)).joint.losses
    assert len(losses.log_loss) == 17
    first = losses.runs[losses.run_idx[0]]
    assert losses.run_idx[8 + 0] == losses.runs.index(first), "the same run on the other benchmark"


def test_known_noise_of_a_loss_is_relative(tmp_path: Path) -> None:
    runs = add_column("loss_sd", lambda row: "0.01" if row[1] == "MMLU" else "")
    losses = see(tmp_path, runs=runs).joint.losses
    of_mmlu = losses.benchmark_idx == 0
    np.testing.assert_allclose(
        losses.known_var[of_mmlu], (0.01 / np.exp(losses.log_loss[of_mmlu])) ** 2
    )
    assert not losses.known_var[~of_mmlu].any()


def test_loss_centre_is_the_geometric_mean(tmp_path: Path) -> None:
    seen = see(tmp_path).joint
    for j in range(2):
        own = seen.losses.log_loss[seen.losses.benchmark_idx == j]
        assert seen.benchmarks.loss_centre[j] == pytest.approx(np.exp(own.mean()))
    scales = seen.benchmarks.data_scales()
    np.testing.assert_allclose(scales["loss_centre"] * scales["per_loss_centre"], 1)
    np.testing.assert_allclose(scales["floor_guess_alpha"] + scales["floor_guess_beta"], 50)
    guess = 0.25 + 0.02 * 0.75
    np.testing.assert_allclose(scales["floor_guess_alpha"] / 50, guess)


@pytest.mark.parametrize(
    ("runs", "clustered"),
    [
        (keep_rows(lambda row: not row["run"].startswith("0.05B-") or "10x" in row["run"]), False),
        (keep_rows(lambda row: "60x" not in row["run"]), True),  # two runs of each size
    ],
)
def test_size_effects_need_three_sizes_with_two_runs(
    tmp_path: Path, runs: Change, clustered: bool
) -> None:
    seen = see(tmp_path, runs=runs)
    assert seen.joint.losses.clustered is clustered
    assert any("too little replication" in w for w in seen.warnings) is not clustered


def test_independent_noise_is_what_was_asked_for(tmp_path: Path) -> None:
    seen = see(tmp_path, options={"loss_noise": "independent"})
    assert not seen.joint.losses.clustered and not seen.warnings


# ---------------------------------------------------------------- calibration points


def test_held_out_points_are_kept_but_not_used(tmp_path: Path) -> None:
    everything = see(tmp_path).joint.calibration
    assert everything.is_fit.all() and len(everything.loss) == 12
    only_fit = see(tmp_path / "fit", options={"calibration": "fit"}).joint.calibration
    assert list(np.flatnonzero(~only_fit.is_fit)) == [0, 6]
    np.testing.assert_array_equal(only_fit.logit_score, everything.logit_score)


def test_points_of_a_benchmark_without_runs_are_left_out(tmp_path: Path) -> None:
    benchmarks = add_row("GSM8K", "1319", "0.01", "nats/token")
    seen = see(tmp_path, benchmarks=benchmarks, loss_scores=add_row("GSM8K", "0.5", "0.3", "fit"))
    assert seen.joint.benchmarks.names == BENCHMARKS
    assert len(seen.joint.calibration.loss) == 12


def test_a_point_of_chance_or_less_is_legal(tmp_path: Path) -> None:
    seen = see(tmp_path, loss_scores=cell(2, "score", "0")).joint.calibration
    assert seen.logit_score[0] == pytest.approx(logit(0.5 / 14042))


# ---------------------------------------------------------------- densities


def densities(folder: Path, change: Change = ()) -> Observations:
    return observe(load_spec("trend_only"), load_dataset(tiny_densities(folder, change)))


def test_published_densities(tmp_path: Path) -> None:
    seen = densities(tmp_path)
    assert seen.densities is not None and seen.scores is None and seen.benchmarks is None
    assert len(seen.llms.names) == len(seen.densities.log_density)
    assert not seen.densities.known_var.any()
    assert seen.llms.params_used == "published"
    assert np.isnan(seen.llms.log_params).all(), "sizes are not needed"


def test_published_errors_are_known_where_given(tmp_path: Path) -> None:
    column = add_column("density_log_sd", lambda row: "0.3" if row[0] == "Alpha-7B" else "")
    seen = densities(tmp_path, column)
    assert seen.densities is not None
    assert seen.densities.known_var[0] == pytest.approx(0.09)
    assert not seen.densities.known_var[1:].any()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("joint", "holds published densities and no scores; use --model trend_only"),
        ("trend_only", "holds scores; use --model joint"),
    ],
)
def test_model_and_dataset_have_to_fit(tmp_path: Path, model: str, message: str) -> None:
    made = tiny_densities(tmp_path) if model == "joint" else tiny_dataset(tmp_path)
    with pytest.raises(SpecError, match=message):
        observe(load_spec(model), load_dataset(made))


def test_densities_have_no_joint_parts(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="use --model trend_only"):
        _ = densities(tmp_path).joint
