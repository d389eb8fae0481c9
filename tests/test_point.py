"""The paper's estimator: its published figures, and its parts on small worked examples."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

import bayesdense
from bayesdense.catalog import dataset_path
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.errors import BayesdenseError
from bayesdense.names import DAYS_PER_YEAR
from bayesdense.point import (
    AttemptNull,
    LossFit,
    LossLaw,
    PointEstimate,
    ScoreMap,
    attempt_null,
    average_law,
    fit_line,
    fit_loss_law,
    fit_score_map,
    point_estimate,
    reference_tokens_table,
    running_records,
    split_records,
)
from bayesdense.point.attempts import record_slopes, shuffle_families
from bayesdense.point.average import average_panel, average_scores
from bayesdense.point.sizes import median_log_size

SCHEMA = json.loads(
    (Path(bayesdense.__file__).parent / "schemas" / "point.schema.json").read_text("utf-8")
)
PANELS = ("MMLU", "BBH", "MATH", "HumanEval", "MBPP", "AVERAGE")

shipped = cache(load_dataset)


@cache
def paper_curves() -> dict[str, dict[str, dict[str, float]]]:
    folder = dataset_path("densing") / "paper"
    return json.loads((folder / "recovered_fit_parameters.json").read_text("utf-8"))


@cache
def panel(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and fitted loss-score points of one of the paper's six panels."""
    dataset = shipped("densing")
    runs, points = average_panel() if name == "AVERAGE" else (dataset.runs, dataset.loss_scores)
    assert runs is not None and points is not None
    runs, points = runs[runs["benchmark"] == name], points[points["benchmark"] == name]
    return runs, points[points["role"] == "fit"]


@cache
def law_of(name: str, kind: str = "additive") -> LossFit:
    runs, _ = panel(name)
    columns = (runs[column].to_numpy(float) for column in ("n_params", "n_tokens", "loss"))
    return fit_loss_law(*columns, kind=kind)  # type: ignore[arg-type]


def map_of(name: str, *, pseudo_point: bool = True) -> ScoreMap:
    _, points = panel(name)
    loss, score = points["loss"].to_numpy(float), points["score"].to_numpy(float)
    return fit_score_map(loss, score, pseudo_point=pseudo_point)


# --- the published densities -----------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> PointEstimate:
    return point_estimate(shipped("densing-published"))


def test_headline_of_the_paper(published: PointEstimate) -> None:
    line = published.line
    assert line.n_records == 9
    assert line.slope_per_day == pytest.approx(0.006529, abs=5e-7)
    assert line.intercept == pytest.approx(-2.6113, abs=5e-5)
    assert line.r_squared == pytest.approx(0.9340, abs=5e-5)
    assert line.doubling_time_days == pytest.approx(106.2, abs=0.05)


def test_records_of_the_paper_by_name(published: PointEstimate) -> None:
    table = published.table()
    assert table["llm"].tolist() == [
        "Llama-65B",
        "Phi-1-1.2B",
        "Phi-1.5-1.2B",
        "Phi-2-2B",
        "MiniCPM-2.4B",
        "MiniCPM-1.2B",
        "Gemma2-9B",
        "MiniCPM3-4B",
        "Mistral-Small-24B",
    ]
    assert table["density"].is_monotonic_increasing
    assert table["days"].iloc[[0, -1]].tolist() == [0, 699]


def test_record_of_a_day_does_not_depend_on_the_order_of_rows(published: PointEstimate) -> None:
    dataset = shipped("densing-published")
    assert dataset.densities is not None
    for seed in range(3):
        rows = dataset.densities.sample(frac=1.0, random_state=seed).reset_index(drop=True)
        again = point_estimate(replace(dataset, densities=rows))
        assert again.to_dict() == published.to_dict()


def test_before_and_after_readings_of_the_mmlu_densities() -> None:
    estimate = point_estimate(shipped("densing-published-mmlu"), split="2022-11-30")
    readings = {s.reading: (s.line.n_records, s.line.slope_per_day) for s in estimate.segments}
    assert readings == {
        "before": (3, pytest.approx(0.0048, abs=5e-5)),
        "after_restarted": (6, pytest.approx(0.0073, abs=5e-5)),
        "after_continued": (5, pytest.approx(0.0071, abs=5e-5)),
        "after_with_last_record": (6, pytest.approx(0.0037, abs=5e-5)),
    }
    output = estimate.to_dict()
    segments, others = output["segments"], output["other_readings"]
    assert isinstance(segments, list) and isinstance(others, list)
    assert [part["reading"] for part in segments] == ["before", "after_restarted"]
    assert [part["reading"] for part in others] == ["after_continued", "after_with_last_record"]
    assert (segments[0]["from"], segments[0]["to"]) == ("2020-05-28", "2022-11-30")
    assert (segments[1]["from"], segments[1]["to"]) == ("2022-11-30", "2024-09-25")


def test_doubling_time_hangs_on_the_reference_tokens() -> None:
    table = reference_tokens_table(shipped("densing-published"))
    assert table["doubling_time_days"].round().tolist() == [94, 100, 106, 111, 115]
    assert table["n_records"].tolist() == [11, 10, 9, 9, 9]
    assert table["n_not_invertible"].tolist() == [0] * 5


def test_drawn_average_law_gives_the_same_table() -> None:
    drawn = paper_curves()["AVERAGE"]["law"]
    law = LossLaw(0.0, drawn["a"], drawn["alpha"], drawn["b"], drawn["beta"])
    table = reference_tokens_table(shipped("densing-published"), law=law, published_law=law)
    assert table["doubling_time_days"].round().tolist() == [94, 100, 106, 111, 115]


def test_better_optimum_of_the_average_law_moves_the_doubling_time() -> None:
    best = average_law("best")
    table = reference_tokens_table(shipped("densing-published"), law=best)
    days = dict(zip(table["reference_tokens"], table["doubling_time_days"], strict=True))
    assert days[5e12] == pytest.approx(148, rel=0.01)
    assert days[1e13] == pytest.approx(203, rel=0.01)
    assert table["n_not_invertible"].iloc[0] == 7


# --- least squares law and map ---------------------------------------------------------------


def test_both_optima_of_the_mmlu_law_are_found_and_named() -> None:
    better, drawn = law_of("MMLU").optima
    assert (better.law.mode, drawn.law.mode) == ("params_steeper", "tokens_steeper")
    assert better.law.param_coef == pytest.approx(36.4, rel=1e-3)
    assert better.law.param_exponent == pytest.approx(0.347, abs=5e-4)
    assert better.law.token_coef == pytest.approx(8.22, rel=1e-3)
    assert better.law.token_exponent == pytest.approx(0.139, abs=5e-4)
    assert better.rms == pytest.approx(0.00411, abs=5e-6)
    # the paper's, read off its figure: the losses' own error moves the coefficients a little
    assert drawn.law.param_coef == pytest.approx(1.583, rel=0.01)
    assert drawn.law.param_exponent == pytest.approx(0.1034, rel=0.01)
    assert drawn.law.token_coef == pytest.approx(38.89, rel=0.02)
    assert drawn.law.token_exponent == pytest.approx(0.2365, rel=0.01)
    assert drawn.rms == pytest.approx(0.00549, abs=5e-6)
    assert better.n_starts + drawn.n_starts == 49


@pytest.mark.parametrize("name", PANELS)
def test_paper_drew_the_token_steep_optimum_everywhere(name: str) -> None:
    drawn, curve = law_of(name).choose("tokens_steeper"), paper_curves()[name]["law"]
    assert drawn is not None
    assert drawn.law.param_coef == pytest.approx(curve["a"], rel=0.01)
    assert drawn.law.param_exponent == pytest.approx(curve["alpha"], rel=0.01)
    assert drawn.law.token_coef == pytest.approx(curve["b"], rel=0.02)
    assert drawn.law.token_exponent == pytest.approx(curve["beta"], rel=0.01)


def test_paper_drew_the_worse_optimum_of_three_panels() -> None:
    modes = {name: law_of(name).optima[0].law.mode for name in PANELS}
    assert {name for name, mode in modes.items() if mode == "params_steeper"} == {
        "MMLU",
        "MATH",
        "AVERAGE",
    }


@pytest.mark.parametrize("name", ["MMLU", "BBH", "HumanEval"])
def test_law_with_floor_has_one_optimum_and_fits_better(name: str) -> None:
    with_floor = law_of(name, "chinchilla")
    assert [optimum.n_starts for optimum in with_floor.optima] == [49]
    assert with_floor.optima[0].rms < law_of(name).optima[0].rms
    assert with_floor.optima[0].law.loss_floor > 0.04


def test_exact_losses_give_back_their_law() -> None:
    truth = LossLaw(0.12, 300.0, 0.34, 900.0, 0.3)
    log_n, log_d = (x.ravel() for x in np.meshgrid(np.linspace(16, 21, 4), np.linspace(21, 26, 4)))
    loss = truth.loss(log_n, log_d)
    fitted = fit_loss_law(np.exp(log_n), np.exp(log_d), loss, kind="chinchilla").optima[0].law
    np.testing.assert_allclose(fitted.loss(log_n, log_d), loss, rtol=1e-6)
    assert fitted.loss_floor == pytest.approx(0.12, rel=1e-4)
    assert fitted.param_exponent == pytest.approx(0.34, rel=1e-4)


@pytest.mark.parametrize("name", PANELS)
def test_pseudo_point_reproduces_the_drawn_maps(name: str) -> None:
    fitted, drawn = map_of(name), paper_curves()[name]["sigmoid"]
    height = fitted.score_ceiling - fitted.score_floor
    assert 100 * height == pytest.approx(drawn["c"], rel=1e-3)
    assert -fitted.score_slope == pytest.approx(drawn["gamma"], rel=1e-3)
    assert fitted.loss_midpoint == pytest.approx(drawn["l"], rel=1e-3)
    assert 100 * fitted.score_floor == pytest.approx(drawn["d"], rel=1e-3, abs=5e-3)
    assert fitted.score_floor >= 0.0


@pytest.mark.parametrize(("name", "ceiling"), [("HumanEval", 0.58), ("BBH", 0.85)])
def test_without_it_the_ceilings_fall(name: str, ceiling: float) -> None:
    assert map_of(name, pseudo_point=False).score_ceiling == pytest.approx(ceiling, abs=0.005)


def test_average_panel_is_made_of_the_others_as_stated() -> None:
    runs, points = average_panel()
    dataset = shipped("densing")
    assert dataset.runs is not None and dataset.loss_scores is not None
    four = dataset.runs[dataset.runs["benchmark"] != "HumanEval"]
    mean = four.groupby("run")["loss"].mean()
    np.testing.assert_allclose(runs.set_index("run")["loss"], mean[runs["run"]], atol=2e-5)
    assert set(points["role"]) == {"fit", "heldout"}


# --- records ---------------------------------------------------------------------------------


def test_records_are_strict_and_one_a_day() -> None:
    days = np.array([0, 0, 1, 2, 2, 2, 3])
    density = np.array([1.0, 2.0, 2.0, 1.5, 3.0, 2.5, 4.0])
    assert running_records(days, density).tolist() == [1, 4, 6]


def test_no_llms_no_records() -> None:
    nothing = np.empty(0)
    assert running_records(nothing.astype(int), nothing).size == 0
    assert fit_line(nothing, nothing).n_records == 0


def test_two_points_are_no_line() -> None:
    line = fit_line(np.array([0, 10]), np.array([0.0, 1.0]))
    assert (line.n_records, line.slope_per_day, line.doubling_time_days) == (2, None, None)


def test_line_agrees_with_numpy() -> None:
    rng = np.random.default_rng(3)
    days, y = np.sort(rng.integers(0, 700, 12)), rng.normal(size=12)
    slope, intercept = np.polyfit(days, y, 1)
    line = fit_line(days, y)
    assert line.slope_per_day == pytest.approx(slope)
    assert line.intercept == pytest.approx(intercept)
    assert line.r_squared == pytest.approx(np.corrcoef(days, y)[0, 1] ** 2)


def test_falling_line_has_no_doubling_time() -> None:
    assert fit_line(np.array([0, 1, 2]), np.array([3.0, 2.0, 1.0])).doubling_time_days is None


def test_split_on_a_release_date_puts_it_after() -> None:
    days, y = np.array([0, 1, 2, 3, 4, 5]), np.arange(6.0)
    parts = split_records(days, y, origin=date(2024, 1, 1), split=date(2024, 1, 4))
    assert [part.line.n_records for part in parts] == [3, 3, 3, 4]


def test_no_record_after_the_split_leaves_the_last_one_before() -> None:
    parts = split_records(
        np.array([0, 1, 2, 3]), np.array([1.0, 2.0, 0.0, 0.5]), origin=date(2024, 1, 1),
        split=date(2024, 1, 3),
    )  # fmt: skip
    assert [part.line.n_records for part in parts] == [2, 2, 0, 1]


@pytest.mark.parametrize(
    ("split", "side"), [("2020-01-01", "before"), ("2030-01-01", "on or after")]
)
def test_split_outside_the_data_says_which_side_is_empty(split: str, side: str) -> None:
    with pytest.raises(BayesdenseError, match=f"no release {side} it.*2023-02-24 to 2025"):
        point_estimate(shipped("densing-published"), split=split)


# --- attempt-count null ----------------------------------------------------------------------


def null_of(
    days: list[int], y: list[float], family: list[int], *, n: int = 4000, seed: int = 1
) -> AttemptNull:
    arrays = np.array(days), np.array(y, dtype=float), np.array(family)
    observed = fit_line(arrays[0], arrays[1]).slope_per_day
    rng = np.random.default_rng(seed)
    null = attempt_null(*arrays, observed_slope=observed, n_permutations=n, rng=rng)
    assert null is not None
    return null


def test_null_of_three_llms_can_be_counted_by_hand() -> None:
    # Residuals of y = (0, 1, 5) on days 0, 1, 2 are (1/2, -1, 1/2): sorted they are a tie, never
    # three records. With y = (0, 1, 3.5) on days 0, 1, 3 they differ, and one order in six rises.
    assert null_of([0, 1, 2], [0.0, 1.0, 5.0], [0, 1, 2]).share_too_few_records == 1.0
    null = null_of([0, 1, 3], [0.0, 1.0, 3.5], [0, 1, 2])
    assert null.share_too_few_records == pytest.approx(5 / 6, abs=0.02)
    days, y = np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 3.5])
    residual = np.sort(y - np.polyval(np.polyfit(days, y, 1), days))
    rising = np.polyfit(days, residual, 1)[0] * DAYS_PER_YEAR
    assert null.growth_median == pytest.approx(rising)
    assert null.growth_eti95 == pytest.approx((rising, rising))
    assert null.p_null == 0.0
    assert null.median_doubling_time_days == pytest.approx(DAYS_PER_YEAR * math.log(2) / rising)


def test_null_without_any_line_says_so() -> None:
    null = null_of([0, 1, 2], [0.0, 1.0, 5.0], [0, 1, 2])
    assert (null.growth_median, null.growth_eti95, null.median_doubling_time_days) == (None,) * 3
    assert null.p_null == 0.0


def test_one_family_has_one_permutation() -> None:
    days, y = [0, 100, 200, 300, 400], [0.0, 2.0, 1.0, 3.0, 6.0]
    null = null_of(days, y, [0] * 5, n=50)
    residual = np.array(y) - np.polyval(np.polyfit(days, y, 1), days)
    rows = running_records(np.array(days), residual)
    expected = fit_line(np.array(days)[rows], residual[rows]).slope_per_day
    if expected is None:
        assert null.share_too_few_records == 1.0
    else:
        assert null.growth_eti95 == pytest.approx((expected * DAYS_PER_YEAR,) * 2)


def test_shuffle_keeps_every_value_and_whole_families() -> None:
    days = np.array([0, 5, 3, 7, 5, 3])
    values = np.array([10.0, 20.0, 11.0, 30.0, 21.0, 12.0])
    family = np.array([0, 1, 0, 2, 1, 0])
    shuffled = shuffle_families(days, values, family, 500, np.random.default_rng(5))
    by_date = shuffled[:, np.argsort(days, kind="stable")]
    tens = by_date // 10
    np.testing.assert_array_equal(np.sort(shuffled), np.tile(np.sort(values), (500, 1)))
    assert np.all(np.sum(tens[:, 1:] != tens[:, :-1], axis=1) == 2), "a family is torn apart"
    # 3! orders of families, 2! of the two same-day pairs 11, 12 and 20, 21; 10 is before 11, 12
    assert len(np.unique(by_date, axis=0)) == 6 * 2 * 2
    first, rest = np.argmax(by_date == 10, axis=1), np.argmax(by_date == 11, axis=1)
    assert np.all(first < rest)


def test_slopes_of_many_worlds_are_those_of_each() -> None:
    rng = np.random.default_rng(11)
    days = rng.integers(0, 12, 20)
    worlds = rng.normal(size=(200, 20)).round(1)  # rounded: ties happen
    slopes = record_slopes(days, worlds)
    for world, slope in zip(worlds, slopes, strict=True):
        rows = running_records(days, world)
        expected = fit_line(days[rows], world[rows]).slope_per_day
        assert np.isnan(slope) if expected is None else slope == pytest.approx(expected)
    assert 0 < np.isnan(slopes).sum() < 200


def test_trend_in_the_data_is_not_in_its_null() -> None:
    rng = np.random.default_rng(2)
    days = np.sort(rng.integers(0, 800, 60)).tolist()
    noise = rng.normal(0, 0.3, 60)
    flat = null_of(days, noise.tolist(), list(range(60)))
    steep = null_of(days, (noise + 0.01 * np.array(days)).tolist(), list(range(60)))
    assert steep.growth_median == pytest.approx(flat.growth_median)
    assert steep.p_null is not None and flat.p_null is not None
    assert steep.p_null < 0.05 < flat.p_null


def test_null_is_the_same_for_the_same_seed_only(published: PointEstimate) -> None:
    dataset = shipped("densing-published")
    assert point_estimate(dataset).attempt_null == published.attempt_null
    other = point_estimate(dataset, seed=1).attempt_null
    assert other != published.attempt_null
    assert other is not None and published.attempt_null is not None
    assert other.growth_median == pytest.approx(published.attempt_null.growth_median, rel=0.1)


def test_records_of_the_paper_rise_hardly_faster_than_attempts_do(published: PointEstimate) -> None:
    null = published.attempt_null
    assert null is not None and null.growth_median is not None and null.p_null is not None
    assert 0.5 < null.growth_median < 1.3  # 1/year, without any trend at all
    assert 0.03 < null.p_null < 0.08
    assert 0.15 < null.share_too_few_records < 0.25


def test_no_trend_no_null() -> None:
    one_day, y = np.zeros(5, dtype=int), np.arange(5.0)
    rng = np.random.default_rng(0)
    options = {"observed_slope": None, "n_permutations": 10, "rng": rng}
    assert attempt_null(one_day, y, np.arange(5), **options) is None  # type: ignore[arg-type]


# --- the pipeline ----------------------------------------------------------------------------

LAW = LossLaw(0.0, 30.0, 0.3, 60.0, 0.25)
TOKENS = 5e12


def exact_dataset(scores: dict[str, list[float]], *, n_params: float = 1e9) -> Dataset:
    """Ladder and map without error; LLMs released 100 days apart with these scores on A, B, ..."""
    benchmarks = [chr(ord("A") + j) for j in range(max(len(row) for row in scores.values()))]
    size, tokens = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e12, 4))
    )
    run_loss = LAW.loss(np.log(size), np.log(tokens))
    point_loss = np.linspace(0.05, 0.6, 10)
    exact_map = ScoreMap(0.2, 0.9, 12.0, 0.3, 0.0, 10, False)
    runs = [
        pd.DataFrame({"benchmark": name, "n_params": size, "n_tokens": tokens, "loss": run_loss})
        for name in benchmarks
    ]
    points = [
        pd.DataFrame(
            {
                "benchmark": name,
                "loss": point_loss,
                "score": exact_map.score(point_loss),
                "role": "fit",
            }
        )
        for name in benchmarks
    ]
    dates = pd.to_datetime("2024-01-01") + pd.to_timedelta(100 * np.arange(len(scores)), unit="D")
    llms = pd.DataFrame(
        {
            "llm": list(scores),
            "family": list(scores),
            "release_date": dates,
            "is_base": True,
            "n_params": n_params,
        }
    )
    cells = [(llm, benchmarks[j], s) for llm, row in scores.items() for j, s in enumerate(row)]
    return Dataset(
        name="exact",
        card={},
        digest="0" * 64,
        warnings=(),
        runs=pd.concat(runs, ignore_index=True),
        loss_scores=pd.concat(points, ignore_index=True),
        llms=llms,
        scores=pd.DataFrame(cells, columns=["llm", "benchmark", "score"]),
    )


def score_at(size: float) -> float:
    loss = LAW.loss(math.log(size), math.log(TOKENS))
    return float(ScoreMap(0.2, 0.9, 12.0, 0.3, 0.0, 10, False).score(loss))


def densities(estimate: PointEstimate) -> dict[str, float | None]:
    return {llm.llm: llm.to_dict()["density"] for llm in estimate.llms}  # type: ignore[misc]


exact_estimate: Callable[..., PointEstimate] = cache(
    lambda: point_estimate(
        exact_dataset(
            {
                "one": [score_at(1e9)],
                "two": [score_at(2e9), score_at(2e9), 0.95],
                "lost": [0.95, 0.95, score_at(2e9)],
                "four": [score_at(4e9), score_at(1e9), score_at(16e9)],
                "low": [0.1],
                "torn": [0.1, 0.95],
                "half": [score_at(4e9), 0.95],
                "eight": [score_at(4e9), score_at(16e9)],
            }
        ),
        params="total",
        pseudo_point=False,
        n_permutations=200,
    )
)


def test_exact_scores_give_back_their_sizes() -> None:
    found = densities(exact_estimate())
    assert found["one"] == pytest.approx(1.0, rel=1e-3)
    assert found["four"] == pytest.approx(4.0, rel=1e-3)
    assert found["eight"] == pytest.approx(8.0, rel=1e-3)  # mean of the two logs


def test_median_over_benchmarks_survives_a_minority_above_the_ceiling() -> None:
    assert densities(exact_estimate())["two"] == pytest.approx(2.0, rel=1e-3)


def test_what_cannot_be_inverted_is_listed_counted_and_no_record() -> None:
    estimate = exact_estimate()
    status = {llm.llm: llm.status for llm in estimate.llms if llm.log_density is None}
    assert status == {
        "lost": "above_ceiling",
        "low": "below_floor",
        "torn": "contradictory",
        "half": "above_ceiling",
    }
    output = estimate.to_dict()
    assert (output["n_llms"], output["n_not_invertible"], output["n_above_ceiling"]) == (8, 4, 2)
    listed = {llm["llm"]: llm for llm in output["llms"]}  # type: ignore[index, attr-defined]
    assert (listed["lost"]["density"], listed["lost"]["above_ceiling"]) == (None, True)
    assert (listed["low"]["density"], listed["low"]["above_ceiling"]) == (None, False)
    assert [record.llm for record in estimate.records] == ["one", "two", "four", "eight"]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1.0, 2.0, 3.0], (2.0, "finite")),
        ([1.0, 2.0], (1.5, "finite")),
        ([-np.inf, 2.0, np.inf], (2.0, "finite")),
        ([2.0, np.inf], (None, "above_ceiling")),
        ([-np.inf, 2.0], (None, "below_floor")),
        ([-np.inf, np.inf], (None, "contradictory")),
        ([-np.inf, -np.inf, np.inf, np.inf], (None, "contradictory")),
    ],
)
def test_median_of_sizes_that_may_be_infinite(
    sizes: list[float], expected: tuple[float | None, str]
) -> None:
    assert median_log_size(np.array(sizes)) == expected


def test_no_llm_with_a_density_is_an_answer_too() -> None:
    dataset = exact_dataset({"a": [0.95], "b": [0.99], "c": [0.1]})
    estimate = point_estimate(dataset, params="total", pseudo_point=False, split="2024-03-01")
    output = estimate.to_dict()
    assert (output["n_records"], output["slope_per_day"], output["segments"]) == (0, None, [])
    assert output["attempt_count_null"] is None
    jsonschema.validate(json.loads(json.dumps(output, allow_nan=False)), SCHEMA)
    assert estimate.llm_table()["density"].isna().all()
    assert estimate.table().empty


def test_densities_divide_by_the_asked_count() -> None:
    dataset = exact_dataset({"one": [score_at(1e9)], "two": [score_at(2e9)]})
    assert dataset.llms is not None
    halved = dataset.llms.assign(n_params_non_embedding=[5e8, 1e9], n_params_active=[1e8, np.nan])
    dataset = replace(dataset, llms=halved)
    options = {"pseudo_point": False, "n_permutations": 10}
    estimate = point_estimate(dataset, **options)  # type: ignore[arg-type]
    assert estimate.params_used == "non_embedding" and estimate.warnings == ()
    assert list(densities(estimate).values()) == pytest.approx([2.0, 2.0], rel=1e-3)
    with pytest.raises(
        BayesdenseError, match=r"'active': 1 of 2 LLMs have no n_params_active \(two"
    ):
        point_estimate(dataset, params="active", **options)  # type: ignore[arg-type]


def test_incomplete_non_embedding_counts_fall_back_on_total_and_say_so() -> None:
    dataset = exact_dataset({"one": [score_at(1e9)], "two": [score_at(2e9)]})
    assert dataset.llms is not None
    dataset = replace(dataset, llms=dataset.llms.assign(n_params_non_embedding=[5e8, np.nan]))
    estimate = point_estimate(dataset, pseudo_point=False, n_permutations=10)
    assert estimate.params_used == "total"
    assert "1 of 2 LLMs have no n_params_non_embedding (two)" in estimate.warnings[0]
    assert list(densities(estimate).values()) == pytest.approx([1.0, 2.0], rel=1e-3)


@cache
def densing(**options: object) -> PointEstimate:
    return point_estimate(shipped("densing"), **options)  # type: ignore[arg-type]


def test_pipeline_on_densing_lists_every_base_llm() -> None:
    estimate = densing()
    assert len(estimate.llms) == 112
    assert len(estimate.fits) == 5
    assert estimate.origin == date(2023, 2, 24)
    assert estimate.line.n_records == len(estimate.records) >= 3
    assert "more than one least squares optimum on BBH, HumanEval, MATH, MMLU" in " ".join(
        sorted(estimate.warnings)
    )


def test_about_twenty_llms_of_densing_are_above_the_law_with_floor() -> None:
    assert 15 <= densing(law="chinchilla").n_not_invertible <= 25
    assert densing(law="chinchilla", reference_tokens=1e12).n_not_invertible >= 35


def test_optimum_of_the_law_moves_the_answer_and_both_are_shown() -> None:
    readings = {reading.mode: reading.line for reading in densing().mode_readings}
    drawn = densing(mode="tokens_steeper")
    assert drawn.line == readings["tokens_steeper"] != readings["params_steeper"]
    assert drawn.fits[0].to_dict(math.log(TOKENS), "tokens_steeper")["mode"] == "tokens_steeper"


def test_highest_score_in_reach_is_that_of_the_paper() -> None:
    estimate = densing(mode="tokens_steeper")
    reach = [
        fit.score_at_infinite_size(math.log(TOKENS), "tokens_steeper") for fit in estimate.fits
    ]
    assert all(0.976 <= score <= 0.989 for score in reach)
    average = densing(aggregate="average", mode="tokens_steeper")
    assert average.fits[0].score_at_infinite_size(
        math.log(TOKENS), "tokens_steeper"
    ) == pytest.approx(0.981, abs=5e-4)


def test_average_takes_complete_rows_and_halves_the_code_benchmarks() -> None:
    scores = pd.DataFrame(
        [
            (llm, benchmark, score)
            for llm, row in {
                "full": (0.8, 0.6, 0.4, 0.3, 0.5),
                "part": (0.8, 0.6, 0.4, 0.3),
            }.items()
            for benchmark, score in zip(PANELS, row, strict=False)
        ],
        columns=["llm", "benchmark", "score"],
    )
    mean = average_scores(scores)
    assert mean["llm"].tolist() == ["full"]
    assert mean["score"].tolist() == pytest.approx([(0.8 + 0.6 + 0.4 + 0.4) / 4])
    estimate = densing(aggregate="average")
    assert [fit.benchmark for fit in estimate.fits] == ["AVERAGE"]
    assert 3 <= estimate.line.n_records < len(estimate.llms) < 112


def test_average_is_refused_for_another_ladder() -> None:
    with pytest.raises(BayesdenseError, match="exact has no runs of MMLU, BBH"):
        point_estimate(exact_dataset({"one": [0.5]}), aggregate="average")
    dataset = shipped("densing")
    assert dataset.runs is not None
    altered = replace(dataset, runs=dataset.runs.assign(loss=dataset.runs["loss"] * 1.1))
    with pytest.raises(BayesdenseError, match="the runs of densing are not the panel's"):
        point_estimate(altered, aggregate="average")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("densing", {}),
        ("densing", {"aggregate": "average", "split": "2024-04-01"}),
        ("densing", {"law": "chinchilla", "pseudo_point": False}),
        ("olmo-ladder", {"law": "chinchilla"}),
        ("densing-published", {}),
        ("densing-published-mmlu", {"split": "2022-11-30"}),
    ],
)
def test_output_is_strict_json_of_the_schema(name: str, options: dict[str, object]) -> None:
    estimate = point_estimate(shipped(name), **options, n_permutations=100)  # type: ignore[arg-type]
    output = json.loads(json.dumps(estimate.to_dict(), allow_nan=False))
    jsonschema.validate(output, SCHEMA)
    assert output["dataset"] == name
    assert output["n_llms"] == len(output["llms"]) == len(estimate.llm_table())
    assert output["n_not_invertible"] == sum(llm["density"] is None for llm in output["llms"])
    assert output["n_records"] == len(output["records"]) == len(estimate.table())
    assert ("segments" in output) == ("split" in options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aggregate": "meen"}, "aggregate = 'meen': allowed median, average"),
        ({"params": "non-embeding"}, "did you mean 'non_embedding'"),
        ({"law": "aditive"}, "did you mean 'additive'"),
        ({"mode": "worst"}, "mode = 'worst': allowed best"),
        ({"reference_tokens": -1.0}, "reference_tokens = -1.0"),
        ({"reference_tokens": 1e-300}, r"reference_tokens = 1e-300: allowed 1e\+06 to 1e\+18"),
        ({"reference_tokens": math.nan}, "reference_tokens = nan"),
        ({"reference_tokens": math.inf}, "reference_tokens = inf"),
        ({"n_permutations": 0}, "n_permutations = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"split": "yesterday"}, "split = 'yesterday': allowed a date"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(BayesdenseError, match=message):
        point_estimate(shipped("densing-published"), **options)  # type: ignore[arg-type]


def test_densities_without_sizes_cannot_move_to_another_reference() -> None:
    with pytest.raises(BayesdenseError, match=r"densing-published-mmlu: .* n_params in every row"):
        reference_tokens_table(shipped("densing-published-mmlu"))
