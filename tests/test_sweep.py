"""Sweeps over definitions: parts of a dataset, cases of each axis, widths, rows that fail."""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from datasets import tiny_dataset
from fake_fit import fake_fit
from program import hold, invoke
from scipy.optimize import brentq
from scipy.stats import norm

from bayesdense.dataset import Dataset, load_dataset
from bayesdense.errors import BayesdenseError, DatasetError
from bayesdense.estimates import Estimate
from bayesdense.jobs import Job, run_jobs
from bayesdense.observations import observe
from bayesdense.plots.sweep import sweep_figure
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies import decomposition, refits
from bayesdense.studies.axes import AXES, Case, cases_of
from bayesdense.studies.decomposition import held, mixed, width
from bayesdense.studies.refits import Length, Study, growth_of, refit, study_of
from bayesdense.studies.selection import WHOLE, Selection, dataset_of, people_of, select
from bayesdense.studies.sweep import sweep

SHORT = Length(draws=60, tune=60, chains=2)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def densing() -> Dataset:
    return load_dataset("densing")


@pytest.fixture(scope="module")
def joint() -> ModelSpec:
    return load_spec("joint")


# ---------------------------------------------------------------- parts of a dataset


def names(dataset: Dataset) -> set[str]:
    assert dataset.llms is not None
    return set(dataset.llms["llm"])


def test_a_date_parts_the_llms(densing: Dataset) -> None:
    day = "2024-04-05"
    before, after = (select(densing, Selection(**{end: day})) for end in ("until", "since"))
    assert names(before) | names(after) == names(densing)
    assert not names(before) & names(after)
    assert before.llms is not None
    assert before.llms["release_date"].max() < pd.Timestamp(day)
    assert after.scores is not None
    assert set(after.scores["llm"]) == names(after)
    assert before.runs is densing.runs  # all reference runs stay in


def test_a_part_by_benchmark_drops_llms_without_a_score_there(densing: Dataset) -> None:
    part = select(densing, Selection(benchmarks=("MBPP",)))
    assert densing.scores is not None
    scored = densing.scores.query("benchmark == 'MBPP'")["llm"]
    assert names(part) == set(scored) < names(densing)
    for table in (part.runs, part.loss_scores, part.scores, part.score_reports):
        assert table is not None
        assert set(table["benchmark"]) == {"MBPP"}


def test_time_counts_all_weights_and_the_active_ones(tiny: Path, joint: ModelSpec) -> None:
    """N_time = (k N bits/16 + N_active) / (k + 1)."""
    dataset = load_dataset(tiny)
    with pytest.raises(DatasetError, match="n_params_active is blank"):
        select(dataset, Selection(in_time=2.45))
    assert dataset.llms is not None
    n = dataset.llms["n_params"]
    sparse = replace(dataset, llms=dataset.llms.assign(n_params_active=n / 5))
    by_time = select(sparse, Selection(in_time=2.45)).llms
    assert by_time is not None
    np.testing.assert_allclose(by_time["n_params"], n * (2.45 + 0.2) / 3.45)
    assert sparse.llms is not None
    quantised = replace(sparse, llms=sparse.llms.assign(weight_bits=4.0))
    by_time = select(quantised, Selection(in_time=2.45)).llms
    assert by_time is not None
    np.testing.assert_allclose(by_time["n_params"], n * (2.45 / 4 + 0.2) / 3.45)


@pytest.mark.parametrize("folder", ["densing", "densing-published"])
def test_dates_are_moved_by_their_sd(folder: str) -> None:
    dataset = load_dataset(folder)
    before = people_of(dataset)["release_date"]
    moved = [people_of(select(dataset, Selection(dates_drawn=k))) for k in (1, 1, 2)]
    one, again, other = ((people["release_date"] - before).dt.days for people in moved)
    assert (one == again).all()
    assert (one != other).any()
    assert one.std() == pytest.approx(30, rel=0.3)
    people = people_of(dataset).assign(date_sd_days=0.0)
    table = {"densities": people} if dataset.densities is not None else {"llms": people}
    exact = people_of(select(replace(dataset, **table), Selection(dates_drawn=1)))
    assert (exact["release_date"] == people["release_date"]).all()


def test_parts_that_use_nothing_new_keep_their_names() -> None:
    """Jobs of earlier versions are found again."""
    assert set(Selection(in_bytes=True).to_dict()) == {"benchmarks", "since", "until", "in_bytes"}
    part = Selection(in_time=2.45, dates_drawn=2)
    assert Selection.of(part.to_dict()) == part


def test_bytes_are_parameters_times_bits_over_eight(tiny: Path, joint: ModelSpec) -> None:
    dataset = load_dataset(tiny)
    assert dataset.llms is not None
    with pytest.raises(DatasetError, match="weight_bits is blank for 7 of 7"):
        select(dataset, Selection(in_bytes=True))
    quantised = replace(dataset, llms=dataset.llms.assign(weight_bits=4.0))
    counted = observe(joint.with_options(params="total"), dataset).llms.log_params
    in_bytes = select(quantised, Selection(in_bytes=True))
    found = observe(joint.with_options(params="total"), in_bytes).llms.log_params
    np.testing.assert_allclose(found, counted - np.log(2), rtol=1e-12)


def test_an_empty_part_is_refused(densing: Dataset) -> None:
    with pytest.raises(DatasetError, match="no LLM is left"):
        select(densing, Selection(until="2000-01-01"))


def test_a_dataset_that_has_changed_is_refused(tiny: Path, joint: ModelSpec) -> None:
    study = study_of(tiny, SHORT, 1)
    assert dataset_of(study.job(refit, joint, WHOLE)).name == "tiny"
    other = replace(study, dataset=replace(study.dataset, digest="0" * 64))
    with pytest.raises(DatasetError, match="has changed since"):
        dataset_of(other.job(refit, joint, WHOLE))


def test_a_dataset_that_has_moved_has_the_same_jobs(
    tiny: Path, tmp_path: Path, joint: ModelSpec
) -> None:
    moved = Path(shutil.copytree(tiny, tmp_path / "elsewhere" / tiny.name))
    one, other = (study_of(place, SHORT, 1).job(refit, joint, WHOLE) for place in (tiny, moved))
    assert one.key == other.key and one.where != other.where
    sent = Job.received(other.message)
    assert sent == one and sent.where == other.where and dataset_of(sent).digest == one.dataset


def test_a_selection_survives_json() -> None:
    part = Selection(benchmarks=("a", "b"), since="2024-01-01", in_bytes=True)
    assert Selection.of(json.loads(json.dumps(part.to_dict()))) == part


# ---------------------------------------------------------------- axes


def by_name(cases: list[Case]) -> dict[tuple[str, str], Case]:
    return {(case.axis, case.value): case for case in cases}


def test_every_axis_has_cases_and_each_says_what_it_changes(
    densing: Dataset, joint: ModelSpec
) -> None:
    cases = by_name(cases_of(joint, densing, list(AXES)))
    assert {axis for axis, _ in cases} == {"headline", *AXES}
    tokens = [case.spec.options.reference_tokens for (a, _), case in cases.items()
              if a == "reference_tokens"]  # fmt: skip
    assert tokens == [1e12, 2e12, 5e12, 10e12, 20e12]
    assert cases["params", "active"].spec.options.params == "active"
    assert cases["family", "none"].spec.component("family").kind == "none"
    assert cases["feedback", "cut"].spec.options.feedback == "cut"
    assert cases["llms", "all"].spec.options.base_only is False
    alone = cases["benchmarks", "MMLU alone"].selection.benchmarks
    others = cases["benchmarks", "without MMLU"].selection.benchmarks
    assert alone == ("MMLU",)
    assert others == ("BBH", "MATH", "HumanEval", "MBPP")
    first, second = (cases["window", f"{which} half"].selection for which in ("first", "second"))
    assert first.until == second.since is not None


@pytest.mark.parametrize("value", [".85", ".94", ".99"])
def test_ceilings_are_centred_where_they_say(
    densing: Dataset, joint: ModelSpec, value: str
) -> None:
    case = by_name(cases_of(joint, densing, ["ceiling"]))["ceiling", value]
    kwargs = case.spec.prior("score_map", "score_ceiling").kwargs
    alpha, beta = float(str(kwargs["alpha"])), float(str(kwargs["beta"]))
    assert alpha / (alpha + beta) == pytest.approx(float(value), abs=0.003)
    assert alpha > 1 < beta  # one mode, off both ends


def test_what_cannot_be_fitted_says_why(tiny: Path, joint: ModelSpec) -> None:
    cases = by_name(cases_of(joint, load_dataset(tiny), list(AXES)))
    assert "no column n_params_active" in cases["params", "active"].missing
    assert "weight_bits" in cases["denominator", "bytes"].missing
    of_densing = by_name(cases_of(joint, load_dataset("densing"), ["covariate"]))
    assert "n_tokens is blank" in of_densing["covariate", "fixed tokens per parameter"].missing
    assert "no column n_params_active" in cases["denominator", "time_mix 2.45"].missing
    assert not cases["date_error", "30 days, draw 1"].missing
    given = load_dataset("densing-published")
    cases = by_name(cases_of(load_spec("trend_only"), given, list(AXES)))
    assert "neither law" in cases["reference_tokens", "any"].missing
    assert not cases["family", "none"].missing


def test_one_definition_told_twice_is_one_job(densing: Dataset, joint: ModelSpec) -> None:
    study = Study("densing", densing, Length(), 1)
    cases = by_name(cases_of(joint, densing, ["reference_tokens", "params", "denominator"]))
    jobs = {key: study.job(refit, c.spec, c.selection) for key, c in cases.items()}
    assert jobs["headline", "as the model says"] == jobs["reference_tokens", "5T"]
    assert jobs["denominator", "flop"] == jobs["params", "active"]
    assert jobs["reference_tokens", "1T"] != jobs["reference_tokens", "2T"]


def test_an_unknown_axis_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BayesdenseError, match="reference_tokens"):
        sweep("densing", axes=["reference_token"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- numbers


def test_growth_is_told_with_its_doubling_time_through_zero() -> None:
    draws = xr.DataArray(np.linspace(-0.2, 1.0, 601).reshape(1, 601), dims=("chain", "draw"))
    found = growth_of(Estimate("growth", draws.assign_attrs(units="1/year"), "2025-01-01"))
    time, growth = found["doubling_time_days"], found["growth_rate_per_year"]
    assert isinstance(time, dict)
    assert isinstance(growth, dict)
    assert growth["median"] == pytest.approx(0.4)
    assert time["median"] == pytest.approx(365.25 * np.log(2) / 0.4)
    assert time["eti95"] == [pytest.approx(365.25 * np.log(2) / growth["eti95"][1]), None]
    assert time["unbounded"] is True


def test_a_mixture_weighs_its_parts_alike_whatever_their_numbers() -> None:
    rng = np.random.default_rng(3)
    parts = [rng.normal(0.0, 1.0, 40_000), rng.normal(3.0, 0.5, 4_000)]

    def quantile(prob: float) -> float:
        def excess(x: float) -> float:
            return 0.5 * norm.cdf(x) + 0.5 * norm.cdf((x - 3.0) / 0.5) - prob

        return float(brentq(excess, -9.0, 9.0))

    exact = quantile(0.975) - quantile(0.025)
    assert width(mixed(parts)) == pytest.approx(exact, rel=0.01)
    assert width(np.concatenate(parts)) != pytest.approx(exact, rel=0.03)


# ---------------------------------------------------------------- the study, without sampling


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Job]]:
    """Fits are made up: growth falls with D0; without families there is an error."""
    fitted: list[Job] = []

    def fit_of(job: Job) -> object:
        fitted.append(job)
        if job.spec["family"]["kind"] == "none":
            raise RuntimeError("as asked")
        growth = 1.0 + 1e12 / job.spec["options"]["reference_tokens"]
        return fake_fit(growth=growth, growth_sd=0.1)

    def growth_given(*_: object) -> dict[str, object]:
        draws = np.random.default_rng(1).normal(1.2, 0.05, 1000)
        return {"draws": draws.tolist(), "checks": {"max_rhat": 1.0, "divergences": 0}}

    monkeypatch.setattr(refits, "fit_of", fit_of)
    monkeypatch.setattr(decomposition, "_growth_given", growth_given)
    monkeypatch.setattr(decomposition, "prepare_on", lambda spec, *_: _Ready(spec))
    monkeypatch.setattr(decomposition, "_middle", lambda *_: _EVERY_PARAMETER)
    yield fitted


class _Ready:
    """Stands for a prepared model."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec


class _EveryParameter(dict[str, np.ndarray]):
    """Has a value for every parameter."""

    def __missing__(self, name: str) -> np.ndarray:
        return np.ones(2)


_EVERY_PARAMETER = _EveryParameter(protocol_sd=np.ones(2))


def test_a_failed_fit_is_a_row_and_definitions_are_mixed(
    tiny: Path, tmp_path: Path, faked: list[Job]
) -> None:
    found = sweep(
        tiny,
        axes=["reference_tokens", "family", "denominator", "decomposition"],
        out=tmp_path / "out",
        executor="serial",
    )
    hold(found.to_dict(), "sweep")
    rows = {(row["axis"], row["value"]): row for row in found.rows}
    assert rows["family", "none"]["status"] == "failed"
    assert "RuntimeError: as asked" in rows["family", "none"]["message"]
    assert rows["denominator", "bytes"]["status"] == "not_available"
    grown = [rows["reference_tokens", f"{t}T"]["growth_rate_per_year"]["median"]
             for t in (1, 2, 5, 10, 20)]  # fmt: skip
    np.testing.assert_allclose(grown, [2.0, 1.5, 1.2, 1.1, 1.05], atol=0.02)
    shift = rows["reference_tokens", "1T"]["shift"]
    assert shift["per_year"] == pytest.approx(0.8, abs=0.02)
    assert shift["in_sd"] == pytest.approx(8.0, rel=0.1)
    assert rows["headline", "as the model says"]["shift"]["in_sd"] == 0.0
    sources = {source.source: source for source in found.decomposition}
    assert sources["law_and_map"].ratio == pytest.approx(0.5, abs=0.05)
    assert sources["family"].error.startswith("RuntimeError")
    assert {name for name, source in sources.items() if source.failed} == {"score_noise", "family"}
    assert sources["reference_tokens"].ratio == pytest.approx(3.0, abs=0.4)
    assert len(found.table()) == len(found.rows)
    told = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert told == found.to_dict()


def test_resuming_fits_nothing_again(tiny: Path, tmp_path: Path, faked: list[Job]) -> None:
    def run(axes: list[str], *, resume: bool) -> list[object]:
        faked.clear()
        found = sweep(
            tiny, axes=axes, out=tmp_path / "out", executor="serial", resume=resume, seed=4
        )
        return [dict(row) for row in found.rows]

    first = run(["reference_tokens"], resume=False)
    assert len(faked) == 5  # 5T is the headline's
    assert run(["reference_tokens"], resume=True) == first
    assert faked == []
    run(["reference_tokens", "llms"], resume=True)
    assert len(faked) == 1


def test_the_verb_draws(
    tiny: Path,
    tmp_path: Path,
    faked: list[Job],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verb = ("sweep", tiny, "--axes", "params", "--out", tmp_path / "study", "--quiet")
    path = tmp_path / "sweep.svg"
    _, _, err = invoke(monkeypatch, capsys, *verb, "--executor", "serial", "--plot", path)
    assert path.read_text(encoding="utf-8").startswith("<?xml")
    assert "sweep.svg" in err
    status, _, err = invoke(monkeypatch, capsys, *verb, "--plot", tmp_path / "sweep.txt")
    assert (status, "--plot" in err) == (2, True)


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_verb_answers_in_three_forms(
    tiny: Path,
    tmp_path: Path,
    faked: list[Job],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    axes = "reference_tokens,denominator,decomposition,width@trend.priors.growth_rate"
    arguments = ("sweep", tiny, "--axes", axes)
    where = ("--out", tmp_path / "out", "--executor", "serial", "--quiet", "--format", form)
    status, out, err = invoke(monkeypatch, capsys, *arguments, *where)
    assert (status, err) == (1, ""), "the decomposition has fits that failed"
    if form == "json":
        hold(json.loads(out), "sweep")
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [row["value"] for row in rows][1:6] == ["1T", "2T", "5T", "10T", "20T"]
        assert float(rows[1]["growth_low"]) < 2.0 < float(rows[1]["growth_high"])
    else:
        assert "Widths do not add" in out
        assert "growth_rate: half" in out and "shift: of the median" in out
        assert "not available: denominator" in out
        assert max(map(len, out.splitlines())) <= 80


# ---------------------------------------------------------------- the real thing, small


def test_jobs_fit_and_hold_law_and_map(tiny: Path, joint: ModelSpec, tmp_path: Path) -> None:
    study = study_of(tiny, Length(draws=200, tune=150, chains=2), seed=5)
    jobs = [
        study.job(refit, joint, WHOLE),
        *(study.job(held, joint, WHOLE, source=name) for name in ("law_and_map", "score_noise")),
    ]
    results = run_jobs(jobs, tmp_path / "out", executor="serial")
    assert not results.failed
    whole, *parts = (outcome.result for outcome in results.done)
    assert whole["n_llms"] == 6
    assert len(whole["draws"]) == 400
    for part in parts:
        assert np.isfinite(part["draws"]).all()
        assert part["checks"]["max_rhat"] < 1.1
    cut = study.job(held, joint.with_options(feedback="cut"), WHOLE, source="law_and_map")
    with pytest.raises(BayesdenseError, match='allowed: "joint"'):
        held(cut)
    with pytest.raises(BayesdenseError, match="allowed: exponential"):
        held(study.job(held, joint.with_options(trend="flat"), WHOLE, source="law_and_map"))


def test_what_is_held_is_law_map_and_their_noise(tiny: Path, joint: ModelSpec) -> None:
    data = observe(joint, load_dataset(tiny))
    held_names = set(decomposition._held_names(joint, data, "law_and_map"))
    assert {"loss_floor", "param_exponent_mean", "score_ceiling", "map_noise_sd"} <= held_names
    assert not held_names & {"growth_rate", "family_effect", "residual_sd", "discrepancy_sd"}
    quiet, middle = decomposition._without_noise(
        data, MappingProxyType({"protocol_sd": np.ones(2), "discrepancy_sd": np.ones(2)})
    )
    assert quiet.scores is not None
    assert (quiet.scores.n_items >= 1e12).all()
    assert (middle["protocol_sd"] < 1e-5).all()
    assert (middle["discrepancy_sd"] == 1).all()


# ---------------------------------------------------------------- the figure


def drawn_table() -> pd.DataFrame:
    rows = [
        ("headline", "joint", "done", 2.1, 1.5, 2.7, "pass"),
        ("reference_tokens", "1T", "done", 2.4, 1.7, 3.1, "fail"),
        ("feedback", "cut", "failed", None, None, None, None),
        ("family", "none", "done", -0.1, -0.6, 0.4, "review"),
    ]
    names = ("axis", "value", "status", "growth_median", "growth_low", "growth_high", "checks")
    return pd.DataFrame(rows, columns=names)


def test_the_figure_shows_every_definition_that_was_fitted() -> None:
    ax = sweep_figure(drawn_table()).axes[0]
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == ["headline: joint", "reference_tokens: 1T", "family: none"]
    (intervals,) = ax.collections
    spans = [[*part[:, 0], part[0, 1]] for part in intervals.get_segments()]
    assert spans == [[1.5, 2.7, 0], [1.7, 3.1, 1], [-0.6, 0.4, 2]]
    hollow = [line for line in ax.get_lines() if line.get_markerfacecolor() == "none"]
    assert [line.get_xdata().tolist() for line in hollow] == [[2.4]]
    (above,) = ax.child_axes
    for tick, label in zip(above.get_xticks(), above.get_xticklabels(), strict=True):
        assert tick == pytest.approx(365.25 * np.log(2) / (30.4375 * float(label.get_text())))


def test_without_a_headline_there_is_no_figure() -> None:
    table = drawn_table().assign(status="failed")
    with pytest.raises(BayesdenseError, match="nothing to draw"):
        sweep_figure(table)
