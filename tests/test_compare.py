"""Rival trends compared from end to end: tasks, what is put together from them, the verb."""

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_fit import fake_fit
from program import cli, hold, invoke

from bayesdense.comparison import Comparison, compare
from bayesdense.comparison.pointwise import Pointwise
from bayesdense.comparison.tasks import (
    agreeing,
    as_json,
    from_json,
    hypothesis,
    sampling,
    without_llm,
)
from bayesdense.comparison.widths import WIDTHS
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.jobs import Failure, Job, Outcome
from bayesdense.names import STUDY_RHAT
from bayesdense.observations import observe
from bayesdense.results import Fit
from bayesdense.simulate import write_dataset
from bayesdense.spec import load_spec
from bayesdense.studies.refits import Length, Study
from bayesdense.studies.selection import WHOLE
from bayesdense.trends import TRENDS as TRENDS_THAT_SHIP
from bayesdense.trends import add_trend, known

SMALL: dict[str, Any] = {"draws": 300, "tune": 150, "chains": 4, "executor": "serial"}
PUBLISHED = "densing-published"
TRENDS = ["exponential", "flat"]
LLM = "Llama-7B"  # one of a family of several


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study") / "compare"


@pytest.fixture(scope="module")
def compared(folder: Path) -> Comparison:
    return compare(PUBLISHED, TRENDS, lfo=True, check_evidence=True, seed=4, out=folder, **SMALL)


@pytest.mark.fit
def test_json_is_as_the_schema_says(compared: Comparison, folder: Path) -> None:
    payload = json.loads(compared.to_json())
    hold(payload, "compare")
    assert json.loads((folder / "compare.json").read_text(encoding="utf-8")) == payload
    first, second = payload["hypotheses"]
    (pair,) = payload["differences"]
    assert (pair["a"], pair["b"]) == (first["name"], second["name"]) == tuple(TRENDS)
    for key, diff in (
        ("elpd_loo", "elpd_diff"),
        ("elpd_loo_llm", "elpd_diff_llm"),
        ("elpd_lfo", "elpd_diff_lfo"),
        ("log_ml", "log_bayes_factor"),
    ):
        assert pair[diff] == pytest.approx(first[key] - second[key])
    for key in ("weight_loo", "weight_lfo", "posterior_probability"):
        assert first[key] + second[key] == pytest.approx(1)
    assert [one["factor"] for one in first["prior_widths"]] == list(WIDTHS)
    assert payload["verdict"] == compared.verdict
    assert "provisional" not in payload["verdict"]
    far = all("Savage-Dickey" in text for text in first["checks"]["failures"])
    assert far and (pair["log_bayes_factor_savage_dickey"] is None) == bool(
        first["checks"]["failures"]
    )
    assert second["checks"]["failures"] == []


@pytest.mark.fit
def test_bridge_and_sequential_monte_carlo_agree(compared: Comparison) -> None:
    for one in compared.to_dict()["hypotheses"]:
        error = math.hypot(one["log_ml_se"], one["log_ml_smc_se"])
        print(one["name"], one["log_ml"], one["log_ml_smc"], error)
        assert abs(one["log_ml"] - one["log_ml_smc"]) < 3 * error


@pytest.mark.fit
def test_growth_is_told_from_none_by_families(compared: Comparison) -> None:
    (pair,) = compared.pairs
    assert pair.family.elpd_diff > 8
    assert compared.table["name"].tolist() == TRENDS
    assert compared.probabilities[1.0]["exponential"] == pytest.approx(1, abs=1e-3)
    assert "exponential" in repr(compared)


@pytest.mark.fit
def test_a_run_that_was_ended_goes_on(compared: Comparison, folder: Path) -> None:
    """What is there is not fitted again, and what is not comes out the same, in any process."""
    how: dict[str, Any] = {"lfo": True, "check_evidence": True, "seed": 4, "out": folder, **SMALL}
    with pytest.raises(BayesdenseError, match="--resume"):
        compare(PUBLISHED, TRENDS, **how)
    files = {path: path.stat().st_mtime_ns for path in (folder / "jobs").iterdir()}
    removed = next(
        path for path in files if json.loads(path.read_bytes())["record"]["job"]["params"].get("k")
    )
    record = json.loads(removed.read_bytes())["record"]
    removed.write_bytes(removed.read_bytes()[:1000])
    told: list[tuple[int, int]] = []
    again = compare(
        PUBLISHED,
        TRENDS,
        resume=True,
        progress=lambda done, failed, n, _: told.append((done, n)),
        **how | {"executor": "processes", "workers": 1},
    )
    assert json.loads(removed.read_bytes())["record"] == record
    changed = [p for p, at in files.items() if p.stat().st_mtime_ns != at]
    assert changed == [removed]
    assert again.to_json() == compared.to_json()
    assert told[-1][0] == told[-1][1] == len(files)


def test_a_dataset_in_memory_has_to_be_found_again(tmp_path: Path) -> None:
    """Its digest does not say that rows were taken away."""
    published = load_dataset(PUBLISHED)
    assert published.densities is not None
    few = replace(published, densities=published.densities.iloc[:40])
    for dataset in (few, replace(published, name="mine")):
        with pytest.raises(BayesdenseError, match="give its folder"):
            compare(dataset, TRENDS, out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_predictive_densities_survive_json() -> None:
    k = np.array([0.1, np.inf, np.nan])
    found = Pointwise(("a", "b", "c"), ("x", "x", "y"), np.array([-1.0, 2.0, 0.1]), k, 0.7)
    back = from_json(json.loads(json.dumps(as_json(found))))
    assert (back.labels, back.families, back.good_k) == (found.labels, found.families, 0.7)
    np.testing.assert_array_equal(back.elpd, found.elpd)
    assert back.failed == found.failed == ("b", "c")


# ---------------------------------------------------------------- put together without fits


def made(name: str, k: float = 0.1, **changes: object) -> dict[str, Any]:
    """A result of the task `hypothesis`, four families of one LLM."""
    elpd = np.array([-1.0, -2.0, -1.5, -0.5]) - (3.0 if name == "flat" else 0.0)
    labels = ("A", "B", "C", "D")
    units, llms = (
        as_json(Pointwise(names, labels, elpd, np.array([0.1, k, 0.1, 0.1]), 0.7))
        for names in (labels, ("A", LLM, "C", "D"))
    )
    draws = np.random.default_rng(1).normal(-2, 0.1, (4, 50, 1)).tolist()
    width = {"value": 0.1, "se": 0.01, "reliable": True}
    return {
        "dataset": {},
        "growth_rate_per_year": {"median": 1.0},
        "doubling_time_days": {"median": 250.0, "statement": "..."},
        "trend_log_density": {
            "dates": ["2023-02-24", "2024-02-24"], "median": [-2.0, -1.0],
            "eti50": [[-2.1, -1.9], [-1.2, -0.8]], "eti95": [[-2.3, -1.7], [-1.6, -0.4]],
        },
        "checks": {"status": "pass", "max_rhat": 1.0, "min_ess_bulk": 900.0, "divergences": 0,
                   "not_passed": []},
        "family": units,
        "llm": llms,
        "failed_families": {"B": draws} if k > 0.7 else {},
        "failed_llms": {LLM: draws} if k > 0.7 else {},
        "log_ml": {"value": -10.0 if name == "flat" else -8.0, "se": 0.1, "failed": None},
        "widths": {str(factor): width for factor in WIDTHS},
        "smc": None,
        "nested": None,
    } | changes  # fmt: skip


def put_together(
    monkeypatch: pytest.MonkeyPatch,
    results: Any,
    trends: Sequence[str] = TRENDS,
    **how: Any,
) -> Comparison:
    """Compare with results that are made up: `results(job)`."""

    def outcome(job: Job) -> Outcome:
        found = results(job)
        failure = Failure("BayesdenseError", found["failed"]) if "failed" in found else None
        return Outcome(job, None if failure else found, failure, 1, 0.0, {})

    monkeypatch.setattr(
        "bayesdense.comparison.rivals.run_jobs",
        lambda jobs, out, **_: {job.key: outcome(job) for job in jobs},
    )
    with tempfile.TemporaryDirectory() as folder:
        return compare(PUBLISHED, trends, out=folder, **how)


def trend_of(job: Job) -> str:
    return str(job.spec["trend"]["kind"])


def asks(job: Job, function: str) -> bool:
    return job.function.endswith(f":{function}")


def test_a_trend_of_ones_own_is_fitted_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes do not know it."""
    monkeypatch.setattr(known, "_ADDED", {})
    line = TRENDS_THAT_SHIP["exponential"]
    add_trend(replace(line, kind="mine"))
    found: list[str] = []

    def run(jobs: list[Job], out: str, *, executor: str, **_: Any) -> dict[str, Outcome]:
        found.append(executor)
        return {job.key: Outcome(job, made(trend_of(job)), None, 1, 0.0, {}) for job in jobs}

    monkeypatch.setattr("bayesdense.comparison.rivals.run_jobs", run)
    with tempfile.TemporaryDirectory() as folder:
        compare(PUBLISHED, ["mine", "flat"], out=folder)
        assert set(found) == {"serial"}
        found.clear()
        compare(PUBLISHED, TRENDS, out=folder)
        assert set(found) == {"processes"}


def test_without_the_future_the_verdict_is_provisional(monkeypatch: pytest.MonkeyPatch) -> None:
    found = put_together(monkeypatch, lambda job: made(trend_of(job)))
    assert found.verdict == (
        "provisional, without leave-future-out: decisive: exponential; beaten: flat by exponential"
    )
    assert found.hypotheses[0].scores.lfo is None
    assert not found.pairs[0].decisive
    assert found.probabilities[1.0]["exponential"] == pytest.approx(1 / (1 + math.exp(-2)))


def test_failing_weights_are_replaced_by_a_refit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact value is that of the bridge between the fits without the unit and with it."""
    gains = np.random.default_rng(2).normal(-2, 0.1, (4, 50, 1)).tolist()
    asked: list[str] = []

    def results(job: Job) -> dict[str, Any]:
        if asks(job, "without_family") or asks(job, "without_llm"):
            asked.append(job.params.get("family") or job.params["llm"])
            if trend_of(job) == "flat":
                return {"failed": "it would not"}
            return {"gains": gains, "max_rhat": 1.01, "divergences": 0}
        return made(trend_of(job), k=0.9)

    found = put_together(monkeypatch, results)
    assert asked == ["B", LLM] * 2
    one, other = found.hypotheses
    assert (one.checks["refitted_families"], one.checks["refitted_llms"]) == (["B"], [LLM])
    for units in (one.scores.family, one.scores.llm):
        assert units.elpd[1] == pytest.approx(-2, abs=0.05)
        assert units.failed == ()
    assert one.checks["max_rhat_refits"] == 1.01
    assert (other.checks["pareto_k_families"], other.checks["pareto_k_llms"]) == (["B"], [LLM])
    assert other.checks["failures"] == [
        "without family B: it would not",
        f"without LLM {LLM}: it would not",
    ]
    assert other.scores.family.elpd[1] == -5.0


def test_results_of_an_earlier_version_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold no densities of LLMs whose weights fail: these stay, and are named."""

    def results(job: Job) -> dict[str, Any]:
        found = made(trend_of(job), k=0.9, failed_families={})
        del found["failed_llms"]
        return found

    one, _ = put_together(monkeypatch, results).hypotheses
    assert one.checks["pareto_k_llms"] == [LLM]
    assert one.checks["failures"] == []


def test_an_llm_that_is_its_family_is_left_out_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same event takes one fit, and has one number."""
    alone = "Falcon-40B"
    draws = np.random.default_rng(1).normal(-2, 0.1, (4, 50, 1)).tolist()
    asked: list[str] = []

    def results(job: Job) -> dict[str, Any]:
        if asks(job, "without_family"):
            asked.append(job.params["family"])
            return {"gains": draws, "max_rhat": 1.0, "divergences": 0}
        names = (family_of(alone), "B", "C", "D"), (alone, "B", "C", "D")
        elpd, k = np.full(4, -1.0), np.array([0.9, 0.1, 0.1, 0.1])
        family, llm = (as_json(Pointwise(each, each, elpd, k, 0.7)) for each in names)
        failed = {"failed_families": {family_of(alone): draws}, "failed_llms": {alone: draws}}
        return made(trend_of(job), family=family, llm=llm, **failed)

    one, _ = put_together(monkeypatch, results).hypotheses
    assert asked == [family_of(alone)] * 2
    assert one.scores.family.elpd[0] == one.scores.llm.elpd[0]


def family_of(llm: str) -> str:
    """Family of an LLM of the published densities."""
    table = load_dataset(PUBLISHED).densities
    assert table is not None
    return str(table.set_index("llm")["family"][llm])


@pytest.mark.fit
def test_an_llm_left_out_is_told_given_its_family() -> None:
    """Where weights do not fail, the refit says what they say."""
    spec, dataset = load_spec("trend_only"), load_dataset(PUBLISHED)
    study = Study(PUBLISHED, dataset, Length(draws=500, tune=200, chains=4), seed=3)
    whole = hypothesis(study.job(hypothesis, spec, WHOLE, check=False))
    name = observe(spec, dataset).llms.names[20]
    refit = without_llm(study.job(without_llm, spec, WHOLE, llm=name))
    weighed = from_json(whole["llm"])
    by_weights = weighed.elpd[weighed.labels.index(name)]
    gains = np.array(refit["gains"])
    by_refit = np.log(np.exp(gains).mean())
    assert by_refit == pytest.approx(by_weights, abs=0.05)


def test_where_weights_fail_a_width_is_refitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def results(job: Job) -> dict[str, Any]:
        if asks(job, "at_width"):
            assert job.params["factor"] == 0.25
            if trend_of(job) == "flat":
                return {"failed": "no fit"}
            log_ml = {"value": -33.0, "se": 0.2, "failed": None}
            return {"log_ml": log_ml, "max_rhat": 1.03, "divergences": 0}
        widths = {str(f): {"value": 0.5, "se": 0.1, "reliable": f > 0.3} for f in WIDTHS}
        return made(trend_of(job), widths=widths)

    one, other = put_together(monkeypatch, results).hypotheses
    assert [found.how for found in one.evidence.values()] == [
        "refit", "importance", "bridge", "importance", "importance",
    ]  # fmt: skip
    assert one.evidence[0.25].value == -33.0
    assert one.evidence[4.0].value == -7.5
    assert one.evidence[4.0].se == pytest.approx(math.hypot(0.1, 0.1))
    assert one.checks["max_rhat_refits"] == 1.03
    assert other.evidence[0.25].value is None
    assert other.evidence[0.5].value == -9.5
    assert other.checks["failures"] == ["evidence at 0.25 times the priors' widths: no fit"]


@pytest.mark.parametrize("reliable", [True, False])
@pytest.mark.parametrize("order", [TRENDS, TRENDS[::-1]])
def test_a_nested_hypothesis_has_a_second_factor(
    monkeypatch: pytest.MonkeyPatch, reliable: bool, order: list[str]
) -> None:
    def results(job: Job) -> dict[str, Any]:
        name = trend_of(job)
        nested = {"name": "flat", "value": 2.1, "se": 0.2, "reliable": reliable, "problem": "k"}
        return made(name, nested=nested if name == "exponential" else None)

    found = put_together(monkeypatch, results, trends=order)
    (pair,) = found.to_dict()["differences"]
    sign = 1 if order == TRENDS else -1
    assert pair["log_bayes_factor_savage_dickey"] == (sign * 2.1 if reliable else None)
    assert pair["log_bayes_factor"] == sign * 2.0
    failures = [text for one in found.hypotheses for text in one.checks["failures"]]
    assert failures == ([] if reliable else ["Savage-Dickey ratio over flat: k"])


def test_what_failed_is_told_and_leaves_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def results(job: Job) -> dict[str, Any]:
        if asks(job, "until"):
            return {"failed": "needs more"}
        return made(
            trend_of(job),
            log_ml={"value": None, "se": None, "failed": "hardly overlap"},
            smc={"value": None, "se": 0.4, "spread": 0.9},
        )

    found = put_together(monkeypatch, results, lfo=True, check_evidence=True)
    hold(json.loads(found.to_json()) | {"hypotheses": _whole(found)}, "compare")
    one = found.to_dict()["hypotheses"][0]
    assert one["log_ml"] is one["log_ml_smc"] is one["elpd_lfo"] is one["weight_lfo"] is None
    assert one["posterior_probability"] is None
    failures = "; ".join(one["checks"]["failures"])
    assert "hardly overlap" in failures
    assert "chains 0.9 nats apart" in failures
    assert "needs more" in failures
    assert found.verdict.startswith("provisional")


def _whole(found: Comparison) -> list[dict[str, Any]]:
    """Hypotheses with the sections that `made` leaves short."""
    pair, at = [None, None], "2025-01-01"
    growth = dict.fromkeys(("median", "mean", "sd", "p_positive", "prior_p_positive"))
    growth |= {"eti50": pair, "eti95": pair, "at": at, "average_over_window": None}
    doubling = {"median": None, "eti50": pair, "eti95": pair, "at": at}
    doubling |= {"unbounded": True, "unbounded50": True}
    return [
        one | {"growth_rate_per_year": growth, "doubling_time_days": doubling}
        for one in found.to_dict()["hypotheses"]
    ]


def test_a_hypothesis_that_cannot_be_fitted_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BayesdenseError, match="trend 'exponential': no way"):
        put_together(monkeypatch, lambda job: {"failed": "no way"})


def test_a_fit_of_an_older_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_curve(job: Job) -> dict[str, Any]:
        found = made(trend_of(job))
        del found["trend_log_density"]
        return found

    with pytest.raises(BayesdenseError, match="exponential: its fit was made by an older version"):
        put_together(monkeypatch, without_curve)


# ---------------------------------------------------------------- refusals, the verb


@pytest.mark.parametrize(
    ("trends", "message"),
    [
        (["exponential"], "two or more"),
        ([], "none, allowed: two or more"),
        (["flat", "flat"], "'flat' is there twice"),
        (["flat", "exponentail"], "trend.kind: 'exponentail'"),
    ],
)
def test_what_is_no_comparison_is_refused(trends: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        compare(PUBLISHED, trends)


def test_a_cut_is_refused() -> None:
    spec = load_spec("joint").with_options(feedback="cut")
    with pytest.raises(SpecError, match="cannot be compared"):
        compare("densing", TRENDS, spec=spec)


def test_the_future_needs_families(tmp_path: Path) -> None:
    published = load_dataset(PUBLISHED)
    assert published.densities is not None
    few = replace(published, densities=published.densities.iloc[:20])
    with pytest.raises(BayesdenseError, match="needs 20 families"):
        compare(write_dataset(few, tmp_path / "few"), TRENDS, lfo=True)


@pytest.mark.fit
def test_the_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("compare", "densing-published", "--trends", "exponential, flat")
    small = ("--draws", "100", "--tune", "60", "--out", tmp_path / "study")
    done = cli(*arguments, *small, "--format", "json")
    assert done.returncode == 1, done.stderr[-3000:]  # so few draws fail the checks
    payload = json.loads(done.stdout)
    hold(payload, "compare")
    assert json.loads((tmp_path / "study" / "compare.json").read_text("utf-8")) == payload
    assert "2 of 2 finished" in done.stderr
    status, out, err = invoke(monkeypatch, capsys, *arguments, *small, "--resume", "-q")
    assert (status, err) == (1, "")
    assert payload["verdict"] in " ".join(out.split())
    (pair,) = payload["differences"]
    assert ("are arbitrary" in out) != (pair["decisive"] or pair["provisional"])
    in_csv = ("--resume", "-q", "--format", "csv")
    _, out, _ = invoke(monkeypatch, capsys, *arguments, *small, *in_csv)
    assert [row.split(",")[0] for row in out.splitlines()] == ["name", *TRENDS]


def test_bad_usage_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = ("--out", tmp_path / "study")
    for trends, message in (("flat", "two or more"), ("flat,fat", "trend.kind")):
        arguments = ("compare", "densing-published", "--trends", trends, *study)
        status, out, err = invoke(monkeypatch, capsys, *arguments)
        assert (status, out) == (2, "")
        assert message in err
    arguments = ("compare", "densing-published", "--trends", "flat,exponential", *study)
    status, _, err = invoke(monkeypatch, capsys, *arguments, "--set", "trend=gp")
    assert status == 2 and "named in --trends" in err
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.txt").write_text("", encoding="utf-8")
    status, _, err = invoke(monkeypatch, capsys, *arguments)
    assert status == 2
    assert "--resume" in err
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["mine.txt"]


def test_a_fit_whose_chains_do_not_agree_is_made_longer() -> None:
    rng = np.random.default_rng(5)
    alike = 2.0 + 0.3 * rng.standard_normal((4, 250))
    apart = alike + np.array([[0.0], [0.0], [0.0], [2.0]])

    def fits(*growth: np.ndarray) -> tuple[Callable[..., Fit], list[dict[str, int]]]:
        made, left = [], list(growth)

        def make(**length: int) -> Fit:
            made.append(length)
            return fake_fit(growth_draws=left.pop(0))

        return make, made

    usual = {"draws": 250, "tune": 100, "chains": 4}
    longer = {"draws": 750, "tune": 300, "chains": 4}
    make, made = fits(alike)
    agreeing(make, usual)
    assert made == [usual]
    make, made = fits(apart, alike)
    assert sampling(agreeing(make, usual))["max_rhat"] < STUDY_RHAT
    assert made == [usual, longer]
    make, made = fits(apart, apart)  # the second counts, whatever it says
    assert sampling(agreeing(make, usual))["max_rhat"] > STUDY_RHAT
    assert made == [usual, longer]
