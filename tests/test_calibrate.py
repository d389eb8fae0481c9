"""Calibration from end to end, small; what counts is counted, and what is wrong fails."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from program import hold, invoke

import bayesdense as bd
from bayesdense.cli import calibrating
from bayesdense.engine.runs import target_of
from bayesdense.engine.sample import Draws
from bayesdense.errors import BayesdenseError
from bayesdense.jobs import Failure, Job, Outcome
from bayesdense.plots.calibration import (
    coverage_figure,
    coverage_rows,
    rank_differences,
    ranks_figure,
    ranks_table,
)
from bayesdense.spec import load_spec
from bayesdense.studies import bookkeeping, pilots
from bayesdense.studies.calibrate import Calibration, calibrate, ranks_of
from bayesdense.studies.calibrate_jobs import (
    LLM_SIZE,
    _fitted,
    _is_enough,
    compared,
    line_found,
    made_by,
    point_found,
    simulation,
    trouble_of,
)
from bayesdense.studies.calibrate_result import outside_before
from bayesdense.studies.coverage import interval_counts, stretch, width_ratio
from bayesdense.studies.made_worlds import WORLDS
from bayesdense.studies.ranks import N_RANKED
from bayesdense.studies.refits import Length

#: Length of a fit whose answer is not looked at.
SHORT: dict[str, Any] = {"draws": 60, "tune": 60, "chains": 2}


def job(**changes: Any) -> Job:
    params = {
        "world": "well_specified",
        "number": 3,
        "n_llms": 8,
        "truth": None,
        "length": SHORT,
        **changes,
    }
    digest, spec = bd.load_dataset("densing").digest, load_spec("joint").to_dict()
    return Job.of(simulation, params, spec=spec, dataset=digest, where="densing", seed=1)


# --- counts -------------------------------------------------------------------------------------


def said(median: float | None, half: float = 1.0) -> dict[str, Any]:
    """What an estimator says; half: of the 95 % interval, the others are a half and a quarter."""
    if median is None:
        return {"median": None}
    halves = {"eti50": half / 4, "eti80": half / 2, "eti95": half}
    return {"median": median, **{k: [median - h, median + h] for k, h in halves.items()}}


def test_intervals_are_counted() -> None:
    truths = [0.0, 0.0, 0.0, 0.0, 0.0]
    found = [said(0.1), said(0.3), said(-0.9), said(3.0), said(None)]
    counts = interval_counts(truths, found, 6)  # one more failed
    assert {k: v["hits"] for k, v in counts["coverage"].items()} == {
        "eti50": 1,
        "eti80": 2,
        "eti95": 3,
    }
    held = counts["coverage"]["eti95"]
    assert held["n"] == 6
    assert held["share"] == 0.5
    assert held["eti95"][0] < 0.5 < held["eti95"][1]
    assert counts["n_without"] == 2
    assert (counts["truth_below"], counts["truth_above"]) == (1, 0)
    off = np.array([0.1, 0.3, -0.9, 3.0])
    assert counts["bias"]["mean"] == pytest.approx(off.mean())
    assert counts["bias"]["se"] == pytest.approx(off.std(ddof=1) / 2)
    assert counts["rmse"] == pytest.approx(np.sqrt((off**2).mean()))
    assert counts["median_width"] == pytest.approx(2.0)
    assert counts["stretch"] == pytest.approx(3.0)


def test_nothing_to_count_is_null() -> None:
    counts = interval_counts([], [], 2)
    assert counts["coverage"]["eti95"]["share"] == 0.0
    assert counts["bias"] == {"mean": None, "se": None, "median": None}
    assert (counts["median_width"], counts["stretch"], counts["n_without"]) == (None, None, 2)


def test_stretch_is_what_intervals_lack() -> None:
    """Of normal errors and intervals half as wide as they should be it is two."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=20_000)
    zeros, ends = np.zeros_like(truth), np.full_like(truth, 0.98)
    assert stretch(truth, zeros, -ends, ends) == pytest.approx(2.0, abs=0.05)
    assert stretch(truth[:0], zeros[:0], zeros[:0], zeros[:0]) is None


def test_widths_are_compared_pair_by_pair() -> None:
    found = {0: said(0.0, 2.0), 1: said(0.0, 3.0), 2: said(None), 5: said(0.0, 90.0)}
    beside = {0: said(1.0, 1.0), 1: said(2.0, 1.0), 2: said(0.0, 1.0)}
    assert width_ratio(found, beside) == pytest.approx(2.5)
    assert width_ratio(found, {}) is None


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ((1.01, 250.0, 1), []),
        ((1.03, 250.0, 1), ["rhat"]),
        ((1.01, 150.0, 2), ["ess", "divergences"]),
        ((float("nan"), float("nan"), None), ["rhat", "ess", "divergences"]),
    ],
)
def test_trouble_has_names(told: tuple[Any, Any, Any], names: list[str]) -> None:
    assert trouble_of(*told, 1500) == names


# --- ranks and verdict ---------------------------------------------------------------------------


def outcome(ranks: Mapping[str, float]) -> Outcome:
    return Outcome(Job("{}"), {"ranks": dict(ranks)}, None, 1, 1.0, {})


def outcomes(n: int, **biased: float) -> dict[int, Outcome]:
    """Ranks of three quantities, uniform but for those that are biased (a power of a uniform)."""
    rng = np.random.default_rng(2)
    names = ("growth_rate", "llm_size", "doubling_time")
    return {
        k: outcome({name: float(rng.uniform() ** biased.get(name, 1.0)) for name in names})
        for k in range(n)
    }


def estimator() -> dict[str, Any]:
    return interval_counts([0.0], [said(0.1)], 1) | {"width_ratio": None}


def world(**changes: Any) -> dict[str, Any]:
    one: dict[str, Any] = {
        "name": "well_specified",
        "what": "data arise as the model says",
        "is_right": True,
        "n": 1,
        "failed": [],
        "not_converged": [],
        "n_longer": 0,
        "n_unusable": 0,
        "median_llms": 8.0,
        "reviews": {"n": 1, "counts": {}},
        "model": estimator(),
        "point": estimator(),
    }
    return one | changes


def calibration(ranks: Mapping[str, Any] | None, *worlds: Mapping[str, Any]) -> Calibration:
    record = {
        "commit": None,
        "versions": {},
        "machine": "here",
        "seconds": {"wall": 1.0, "jobs": 1.0, "median_job": 1.0},
    }
    about = {"name": "densing", "digest": "d", "n_llms": 112, "n_families": 52}
    return Calibration(
        about,
        "joint",
        "m",
        1,
        Length(60, 60, 2),
        8,
        1,
        "prior",
        worlds or (world(),),
        ranks,
        record,
    )


def test_uniform_ranks_pass_and_biased_ones_fail() -> None:
    good = ranks_of(outcomes(150), None)
    assert good is not None
    assert (good["outside_all"], good["outside_twice"]) == ([], None)
    assert good["n"] == 150
    assert sum(good["quantities"]["llm_size"]["counts"]) == 150
    found = calibration(good)
    assert found.status in ("pass", "repeat")
    hold(found.to_dict(), "calibrate")

    bad = ranks_of(outcomes(150, growth_rate=2.0), None)
    assert bad is not None
    assert bad["outside_all"] == ["growth_rate"]
    assert calibration(bad).status == "fail"
    assert "Outside the band of all: growth_rate" in repr(calibration(bad))
    assert bad["quantities"]["growth_rate"]["mean_z"] < -5


def test_what_crosses_twice_is_a_failure() -> None:
    crossing = {"outside_all": [], "outside_single": ["a"], "n": 20, "n_quantities": 90}
    crossing |= {"expected_outside_single": 4.5}
    assert calibration({**crossing, "outside_twice": None}).status == "repeat"
    assert calibration({**crossing, "outside_twice": []}).status == "pass"
    assert calibration({**crossing, "outside_twice": ["a"]}).status == "fail"
    assert calibration(None).status == "pass"
    failed = [{"number": 0, "message": "RuntimeError: no"}]
    assert calibration(None, world(failed=failed)).status == "fail"
    assert calibration(None, world(failed=failed, is_right=False)).status == "pass"


def test_a_repetition_knows_what_crossed_before(tmp_path: Path) -> None:
    first = ranks_of(outcomes(60, growth_rate=1.7), None)
    path = tmp_path / "calibrate.json"
    whole = calibration(first).to_dict()
    path.write_text(json.dumps(whole), encoding="utf-8")
    assert "growth_rate" in outside_before(path, "d", 2)
    again = ranks_of(outcomes(60, growth_rate=1.7), outside_before(path, "d", 2))
    assert again is not None
    assert again["outside_twice"] == ["growth_rate"]
    for digest, seed, message in (("e", 2, "other data"), ("d", 1, "another --seed")):
        with pytest.raises(BayesdenseError, match=message):
            outside_before(path, digest, seed)
    for text, message in (
        ("{}", "no result of calibrate"),
        ('{"ranks": {}, "schema": 7}', "schema 7"),
        (json.dumps(calibration(None).to_dict()), "holds no ranks"),
        (json.dumps(whole | {"ranks": first | {"outside_single": 3}}), "outside_single is 3"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(BayesdenseError, match=message):
            outside_before(path, "d", 2)


def test_few_simulations_have_no_verdict_on_ranks() -> None:
    assert ranks_of(outcomes(19), None) is None
    lost = Outcome(Job("{}"), None, Failure("RuntimeError", "no"), 2, 1.0, {})
    some = ranks_of(outcomes(30) | {31: lost}, None)
    assert some is not None
    assert some["n"] == 30


# --- figures -------------------------------------------------------------------------------------


def test_figures_show_what_was_found() -> None:
    found = calibration(ranks_of(outcomes(150, llm_size=2.0), None), world(), world(name="b"))
    payload = found.to_dict()
    apart = rank_differences(payload)
    assert apart.shape == (99, 3)
    assert apart["llm_size"].max() > 0.15  # ranks too small
    assert apart["growth_rate"].abs().max() < 0.15
    rows = coverage_rows(payload)
    assert rows["world"].tolist() == ["well_specified", "well_specified", "b", "b"]
    assert rows["coverage"].tolist() == [100.0] * 4
    for figure in (ranks_figure(ranks_table(payload)), coverage_figure(rows)):
        (ax,) = figure.axes
        assert ax.get_legend() is not None
    ax = bd.plot_calibration(payload)
    assert "llm_size" in [text.get_text() for text in ax.texts]
    with pytest.raises(BayesdenseError, match="allowed: ranks, coverage"):
        bd.plot_calibration(payload, kind="rank")
    with pytest.raises(BayesdenseError, match="no ranks to draw"):
        bd.plot_calibration(calibration(None).to_dict())


def test_checks_that_tell_a_wrong_world_are_named() -> None:
    usual = {"n": 100, "counts": {"ppc_score_time": 5, "ppc_loss_sd": 40}}
    leaky = {"n": 100, "counts": {"ppc_score_time": 62, "ppc_loss_sd": 50}}
    older = {name: value for name, value in world(name="dates_off").items() if name != "reviews"}
    worlds = (world(reviews=usual), world(name="contaminated", reviews=leaky), older)
    said = calibration(None, *worlds)
    (told,) = [line for line in repr(said).splitlines() if "review" in line]
    assert told == (
        "contaminated: a review is asked for by ppc_score_time in 62 % of fits (else 5 %)."
    )
    assert "review" not in repr(calibration(None, *worlds[1:]))
    once = {"n": 1, "counts": {"ppc_score_time": 1}}  # one fit tells nothing
    few = (world(), world(name="contaminated", reviews=once))
    assert "review" not in repr(calibration(None, *few))


# --- one simulation ------------------------------------------------------------------------------


@pytest.mark.fit
def test_a_simulation_ranks_every_quantity_and_runs_longer_where_it_has_to() -> None:
    one = simulation(job())
    json.dumps(one, allow_nan=False)
    ranks: Any = one["ranks"]
    assert all(0.0 < value < 1.0 for value in ranks.values())
    for name in (
        *("growth_rate", "doubling_time", LLM_SIZE, "family_sd", "loss_floor[MMLU]"),
        *("param_exponent_mean", "log_likelihood[losses]", "log_likelihood[scores]"),
    ):
        assert name in ranks
    assert "growth at the last release" not in ranks  # which growth_rate is
    attempts: Any = one["attempts"]
    assert [a["draws"] for a in attempts] == [60, 180, 540][: len(attempts)]
    assert len(attempts) > 1
    assert "ess" in attempts[0]["trouble"]  # 120 draws are no 200 effective ones
    assert one["converged"] == (attempts[-1]["trouble"] == [])
    reviews: Any = one["reviews"]
    assert reviews == sorted(reviews) and all("[" not in name for name in reviews)
    growth: Any = one["growth"]
    assert growth["truth"] == float(made_by(job()).truth["growth_rate"])
    assert growth["eti95"][0] < growth["eti80"][0] < growth["median"] < growth["eti50"][1]
    assert one["n_llms"] >= 8


@pytest.mark.fit
def test_truths_lie_where_their_draws_say() -> None:
    """Draws replaced by the truth: every quantity is computed alike for both."""
    spec, made = load_spec("joint"), made_by(job())
    fitted, _ = _fitted(spec, made, SHORT, np.random.SeedSequence(1).spawn(3))
    posterior = fitted.posterior
    for name in posterior.data_vars:
        if name in made.truth:
            values = made.truth[name].reset_coords(drop=True).transpose(*posterior[name].dims[2:])
            posterior[name][:] = values.to_numpy()
    fitted.tree["posterior"] = type(fitted.tree)(posterior)
    seen = {}
    for name, draws, truth in compared(fitted, made, np.random.default_rng(1)):
        assert draws.shape == (N_RANKED,)
        np.testing.assert_allclose(draws, truth, rtol=1e-9, err_msg=name)
        seen[name] = truth
    assert len(seen) > 90


def test_the_point_pipeline_s_interval_is_that_of_least_squares() -> None:
    from scipy.stats import linregress, t

    found = bd.point_estimate(bd.load_dataset("densing-published"), n_permutations=1)
    line = line_found(found)
    table = found.table()
    plain = linregress(table["days"], np.log(table["density"]))
    half = 365.25 * plain.stderr * t.ppf(0.975, len(table) - 2)
    assert line["median"] == pytest.approx(365.25 * plain.slope)
    assert line["eti95"] == pytest.approx([line["median"] - half, line["median"] + half])


def test_a_point_pipeline_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no optimum")

    monkeypatch.setattr("bayesdense.studies.calibrate_jobs.point_estimate", fail)
    found = point_found(made_by(job()), 5e12)
    assert found == {"median": None, "n_records": None, "failed": "RuntimeError: no optimum"}


def test_a_fit_that_raises_is_run_longer_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("array must not contain infs or NaNs")

    monkeypatch.setattr("bayesdense.studies.calibrate_jobs.fit_observations", fail)
    with pytest.raises(RuntimeError, match="no fit of 3 gave draws: array must not"):
        simulation(job())


# --- the study -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calibrate") / "study"


def run(folder: Path, **changes: Any) -> Calibration:
    how = {"fits": 1, "worlds": ["well_specified", "contaminated"], "llms": 8, "seed": 1, **SHORT}
    return calibrate("densing", out=folder, executor="serial", **how | changes)


@pytest.mark.fit
def test_a_small_study_from_end_to_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bayesdense.studies.calibrate_jobs.LONGER", (1, 2))
    found = run(folder)
    payload = found.to_dict()
    hold(payload, "calibrate")
    assert json.loads((folder / "calibrate.json").read_text(encoding="utf-8")) == payload
    assert [one["name"] for one in payload["worlds"]] == ["well_specified", "contaminated"]
    assert all(one["n"] == 1 and one["failed"] == [] for one in payload["worlds"])
    assert payload["worlds"][0]["model"]["width_ratio"] == 1.0
    assert payload["ranks"] is None  # of one simulation
    assert len(list((folder / "jobs").iterdir())) == 2
    assert list(found.table()["world"]) == ["well_specified", "contaminated"]
    with pytest.raises(BayesdenseError, match="--resume"):
        run(folder)
    again = run(folder, resume=True).to_dict()
    assert again["worlds"] == payload["worlds"]

    words = [
        *("calibrate", "densing", "--fits", "1", "--world", "well_specified", "--world"),
        *("contaminated", "--llms", "8", "--draws", "60", "--tune", "60", "--chains", "2"),
        *("--seed", "1", "--out", folder, "--resume", "--executor", "serial", "--quiet"),
    ]
    figure = folder.parent / "coverage.svg"
    status, out, _ = invoke(monkeypatch, capsys, *words, "--plot", figure)
    assert status == 0
    assert figure.stat().st_size > 0
    for text in ("held, %", "contaminated", "fitted longer", "checks: pass"):
        assert text in " ".join(out.split())
    status, out, _ = invoke(monkeypatch, capsys, *words, "--format", "json")
    assert json.loads(out)["worlds"] == payload["worlds"]
    status, out, _ = invoke(monkeypatch, capsys, *words, "--format", "csv")
    assert len(out.splitlines()) == 1 + 2


def test_longer_fits_are_run_where_length_helps() -> None:
    assert _is_enough([], 1)
    assert not _is_enough(["divergences"], 1)
    assert _is_enough(["divergences"], 2)
    assert not _is_enough(["rhat", "divergences"], 2)
    assert not _is_enough(["ValueError: no"], 2)


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_has_a_density(name: str) -> None:
    for number in (1, 2):
        made = made_by(job(world=name, number=number))
        target = target_of(load_spec("joint"), made.data)
        value, gradient = target.log_density(None)(target.coordinates.start)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.fit
def test_pilots_go_on_until_draws_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """In coordinates that fit, a draw takes some fifteen steps."""
    costs: list[float] = []
    sample = pilots.sample_nuts

    def counted(*arguments: Any, **how: Any) -> Any:
        drawn = sample(*arguments, **how)
        costs.append(float(drawn.stats["n_steps"].mean()))
        return drawn

    monkeypatch.setattr(pilots, "sample_nuts", counted)
    spec, made = load_spec("joint").with_options(quadrature_spacing=0.125), made_by(job(number=2))
    how: dict[str, Any] = {"chains": 2, "sequence": np.random.SeedSequence(3)}
    first = pilots.learnt(spec, made.data, **how)
    assert len(costs) == 1
    assert costs[0] < 63
    monkeypatch.setattr(pilots, "_MOST_STEPS", 0.0)
    costs.clear()
    last = pilots.learnt(spec, made.data, **how | {"sequence": np.random.SeedSequence(3)})
    assert len(costs) == 4
    assert not np.array_equal(first.whitening.table.matrix, last.whitening.table.matrix)
    stuck = np.zeros((2, 10, first.target.coordinates.size))
    assert pilots._taught(first, Draws(stuck, xr.Dataset())).whitening is first.whitening


@pytest.mark.fit
def test_a_world_of_another_shape_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of records there are few: here four LLMs."""
    monkeypatch.setattr("bayesdense.studies.calibrate_jobs.LONGER", (1,))
    one: Any = simulation(job(world="records_only"))
    assert one["n_llms"] < 10
    assert np.isfinite(one["growth"]["median"])
    assert one["point"]["n_records"] <= one["n_llms"]


@pytest.mark.fit
def test_truths_of_the_data_come_from_its_posterior(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesdense.studies.calibrate_jobs.LONGER", (1,))
    found = run(tmp_path / "study", fits=1, worlds=["well_specified"], truths="data")
    hold(found.to_dict(), "calibrate")
    assert found.ranks is None
    assert len(list((tmp_path / "study" / "jobs").iterdir())) == 2  # with the fit of the dataset
    (one,) = (
        content["record"]["result"]
        for path in (tmp_path / "study" / "jobs").iterdir()
        if "growth" in (content := json.loads(path.read_text(encoding="utf-8")))["record"]["result"]
    )
    assert 0.5 < one["growth"]["truth"] < 4  # of the priors one in three is


def test_the_verb_has_the_defaults_of_the_function() -> None:
    """It repeats them, as the study takes seconds to import."""
    by_name = inspect.signature(calibrate).parameters
    verb = inspect.signature(calibrating.calibrate).parameters
    for name in ("draws", "tune", "chains", "seed", "llms", "truths", "executor", "resume"):
        assert verb[name].default == by_name[name].default, name
    assert by_name["fits"].default == calibrating._FITS
    assert by_name["worlds"].default == ("well_specified",)


def test_all_worlds_are_those_that_a_dataset_allows() -> None:
    assert calibrating._worlds(["all"], "densing") == list(WORLDS)
    of_densities = calibrating._worlds(["all"], "densing-published")
    assert set(of_densities) == {name for name, one in WORLDS.items() if not one.needs_scores}
    assert calibrating._worlds(["dates_off", "no_family"], "densing") == ["dates_off", "no_family"]


def test_quick_says_how_many_fits_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, said = invoke(monkeypatch, capsys, "calibrate", "--quick", "--fits", "3")
    assert status == 2
    assert "leave out --fits" in " ".join(said.split())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"worlds": ["heavy_tail"]}, "did you mean 'heavy_tails'"),
        ({"worlds": []}, "no world is named"),
        ({"fits": 0}, "fits = 0"),
        ({"llms": 1}, "llms = 1"),
        ({"draws": 10}, "allowed: 100 or more"),
        ({"truths": "posterior"}, "allowed: prior, data"),
        ({"spec": load_spec("joint").with_options(feedback="cut")}, "feedback"),
        ({"spec": load_spec("joint").with_options(trend="flat")}, "no growth"),
        (
            {"spec": load_spec("joint").with_options(family="none"), "worlds": ["no_family"]},
            "needs a model with families",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(
    tmp_path: Path, how: dict[str, Any], message: str
) -> None:
    with pytest.raises(BayesdenseError, match=message):
        run(tmp_path / "study", **how)
    assert not (tmp_path / "study").exists()


def test_densities_have_no_worlds_of_scores(tmp_path: Path) -> None:
    with pytest.raises(BayesdenseError, match="needs scores"):
        calibrate("densing-published", worlds=["contaminated"], out=tmp_path / "study")


def test_the_commit_is_that_of_the_code_wherever_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit() -> object:
        bookkeeping._commit.cache_clear()
        return bookkeeping.made_with()["commit"]

    here = commit()
    monkeypatch.chdir(tmp_path)
    assert commit() == here
