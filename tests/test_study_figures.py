"""Figures of studies show what their files say, and a report shows studies of its own fit only."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fake_fit import fake_fit
from program import hold, invoke

import bayesdense as bd
from bayesdense import derive
from bayesdense.comparison.tasks import trend_curve
from bayesdense.errors import BayesdenseError
from bayesdense.frontier import frontier_readings
from bayesdense.names import STUDY_PLOT_KINDS
from bayesdense.plots.backtest import coverage_table, crps_table
from bayesdense.plots.decomposition import decomposition_table
from bayesdense.plots.hypotheses import hypotheses_table
from bayesdense.plots.kinds import figure_table, records
from bayesdense.plots.power import power_table
from bayesdense.plots.studies import STUDY_KINDS, draw_study, kinds_of
from bayesdense.report import report_html
from bayesdense.report.studies import answered, open_studies, studies_beside
from bayesdense.results import Fit
from bayesdense.spec import load_spec
from bayesdense.study_files import StudyFile, read_study

mpl.use("Agg")

EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fake_fit()


def head(fit: Fit) -> dict[str, Any]:
    """What every result begins with."""
    return {
        "schema": 1,
        "dataset": dict(fit.dataset_info),
        "model": fit.spec.name,
        "model_digest": fit.spec.posterior_digest,
        "seed": 1,
        "draws": 60,
        "tune": 60,
        "chains": 2,
    }


def hypothesis(fit: Fit, name: str, **changes: object) -> dict[str, Any]:
    """One trend of a comparison; only what figures and reports read."""
    width = np.array([[-0.5, 0.5]] * 3)
    middle = np.array([-3.0, -2.0, -1.0 if name == "exponential" else -1.8])
    return {
        "name": name,
        "model_digest": fit.spec.with_options(trend=name).posterior_digest,
        "elpd_loo": -10.0, "elpd_loo_se": 1.0, "elpd_lfo": None, "elpd_lfo_se": None,
        "weight_loo": 0.8 if name == "exponential" else 0.2, "weight_lfo": None,
        "log_ml": -8.0, "log_ml_se": 0.1, "posterior_probability": 0.7,
        "doubling_time_days": {"median": 120.0, "eti95": [90.0, None]},
        "trend_log_density": {
            "dates": ["2023-02-24", "2024-02-24", "2025-04-28"],
            "median": middle.tolist(),
            "eti50": (middle[:, None] + width).tolist(),
            "eti95": (middle[:, None] + 3 * width).tolist(),
        },
        "checks": {"status": "pass"},
    } | changes  # fmt: skip


def comparison(fit: Fit, *names: str, **changes: object) -> dict[str, Any]:
    trends = names or ("exponential", "break_free")
    return {
        **head(fit),
        "hypotheses": [hypothesis(fit, name, **changes) for name in trends],
        "verdict": "provisional: not distinguishable",
    }


def case(axis: str, value: str, growth: tuple[float, float, float] | None) -> dict[str, Any]:
    if growth is None:
        return {"axis": axis, "value": value, "note": "", "status": "failed", "message": EVIL}
    median, low, high = growth
    return {
        "axis": axis, "value": value, "note": "", "status": "done", "message": "",
        "n_llms": 8, "n_families": 6,
        "growth_rate_per_year": {"median": median, "eti95": [low, high], "p_positive": 0.99},
        "doubling_time_days": {"median": 120.0, "eti95": [90.0, None], "unbounded": True},
        "checks": {"status": "pass"},
    }  # fmt: skip


def source(what: str, change: str, width: float | None) -> dict[str, Any]:
    return {
        "source": what, "what": what, "change": change, "width_per_year": width,
        "ratio": None if width is None else width / 1.2, "max_rhat": None,
        "error": None if width else "the model has no such part",
    }  # fmt: skip


def sweep(fit: Fit) -> dict[str, Any]:
    return {
        **head(fit),
        "rows": [
            case("headline", "as the model says", (2.1, 1.5, 2.7)),
            case("reference_tokens", "1T", (2.4, 1.7, 3.1)),
            case("feedback", "cut", None),
        ],
        "decomposition": {
            "headline_width_per_year": 1.2,
            "note": "Widths do not add.",
            "sources": [
                source("no family effects", "off", 0.9),
                source("any D0", "on", 1.5),
                source("no noise", "off", None),
            ],
        },
    }


def backtest(fit: Fit) -> dict[str, Any]:
    def covered(benchmark: str, prob: float, share: float) -> dict[str, Any]:
        low, high = prob - 0.1, min(prob + 0.1, 1.0)
        return {
            "benchmark": benchmark, "prob": prob, "n": 40, "coverage": share,
            "expected": prob, "expected_eti95": [low, high], "as_expected": low <= share <= high,
        }  # fmt: skip

    def compared(origin: str | None, difference: float, se: float | None) -> dict[str, Any]:
        return {
            "origin": origin, "baseline": "records", "score": "crps", "difference": difference,
            "se": se, "n": 40, "n_families": 9, "verdict": "model better",
        }  # fmt: skip

    return {
        **head(fit),
        "baselines": {"records": "the paper's line"},
        "origins": [
            {
                "origin": "2024-01-01",
                "status": "done",
                "coverage": [
                    covered("MMLU", 0.5, 0.2), covered("all", 0.5, 0.45), covered("all", 0.95, 0.9),
                ],
            },
            {"origin": "2024-07-01", "status": "failed", "message": "no"},
        ],
        "comparisons": [compared("2024-01-01", -0.03, None), compared(None, -0.02, 0.005)],
    }  # fmt: skip


def stored(verb: str, fit: Fit) -> dict[str, Any]:
    """A study that ships with the documentation, as if it were of this fit."""
    content = json.loads((EVIDENCE / f"{verb}-densing.json").read_text(encoding="utf-8"))
    return {**content, **head(fit)}


def study(verb: str, fit: Fit) -> StudyFile:
    made = {"compare": comparison, "sweep": sweep, "backtest": backtest}
    content = made[verb](fit) if verb in made else stored(verb, fit)
    return StudyFile(verb, Path("studies") / f"{verb}-fake" / f"{verb}.json", content)


def save(folder: Path, verb: str, content: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / f"{verb}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


# --- every figure ----------------------------------------------------------------------------


def test_kinds_are_those_that_are_named() -> None:
    assert list(STUDY_KINDS) == list(STUDY_PLOT_KINDS)


@pytest.mark.parametrize("kind", STUDY_KINDS)
def test_every_figure_is_drawn_tabulated_and_described(kind: str, fit: Fit) -> None:
    open_before = plt.get_fignums()
    drawn = draw_study(study(STUDY_KINDS[kind].verb, fit), kind, fit=fit)
    drawn.figure.savefig(io.BytesIO(), format="svg")
    assert drawn.description.endswith(".")
    assert "nan" not in drawn.description
    assert "None" not in drawn.description
    assert len(drawn.table)
    json.dumps(records(drawn.table), allow_nan=False)
    assert plt.get_fignums() == open_before


def test_a_study_has_its_own_figures_only(fit: Fit) -> None:
    with pytest.raises(BayesdenseError, match="compare has no such figure, allowed: hypotheses"):
        draw_study(study("compare", fit), "power")
    broken = StudyFile("sweep", Path("sweep.json"), {**sweep(fit), "rows": [{"axis": "a"}]})
    with pytest.raises(BayesdenseError, match=r"is not as sweep.schema.json says: KeyError"):
        draw_study(broken, "sweep")


def test_functions_take_a_result_its_content_and_axes(fit: Fit) -> None:
    for verb, plot in (
        ("compare", bd.plot_hypotheses), ("sweep", bd.plot_sweep), ("sweep", bd.plot_decomposition),
        ("backtest", bd.plot_backtest), ("power", bd.plot_power),
        ("calibrate", bd.plot_calibration),
    ):  # fmt: skip
        found, ax = study(verb, fit), plt.subplots()[1]
        assert plot(found, ax=ax) is ax
        assert plot(found.content) is not ax
        plt.close("all")


# --- the numbers -----------------------------------------------------------------------------


def test_curves_are_quantiles_of_the_trend(fit: Fit) -> None:
    curve = trend_curve(fit)
    assert (curve["dates"][0], curve["dates"][-1]) == derive.window(fit)
    draws = derive.trend(fit, [curve["dates"][-1]]).values
    assert curve["median"][-1] == pytest.approx(np.median(draws), abs=1e-6)
    assert curve["eti95"][-1] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-6)
    assert curve["eti50"][-1] == pytest.approx(np.quantile(draws, [0.25, 0.75]), abs=1e-6)
    assert len({len(curve[name]) for name in curve}) == 1


def test_lines_are_as_wide_as_hypotheses_weigh(fit: Fit) -> None:
    content = comparison(fit)
    table = hypotheses_table(content)
    last = table[table["date"] == "2025-04-28"].set_index("trend")
    assert last.loc["exponential", "median"] == pytest.approx(np.exp(-1.0))
    assert last.loc["exponential", "eti95_upper"] == pytest.approx(np.exp(0.5))
    assert set(table["weight_on"]) == {"families"}
    ax = bd.plot_hypotheses(content, fit=fit)
    widths = {str(line.get_label()): line.get_linewidth() for line in ax.lines}
    heavy, light = (next(w for n, w in widths.items() if x in n) for x in ("0.80", "0.20"))
    assert heavy > light
    assert "LLM, median" in widths
    plt.close(ax.figure)
    later = comparison(fit, weight_lfo=0.5)
    assert set(hypotheses_table(later)["weight_on"]) == {"future"}
    later["hypotheses"][0]["weight_lfo"] = None
    assert set(hypotheses_table(later)["weight_on"]) == {"families"}
    with pytest.raises(BayesdenseError, match="of another dataset"):
        bd.plot_hypotheses({**content, "dataset": {"digest": "0"}}, fit=fit)
    plt.close("all")


def test_widths_start_at_the_headlines(fit: Fit) -> None:
    ax = bd.plot_decomposition(sweep(fit))
    spans = [part[:, 0].tolist() for lines in ax.collections for part in lines.get_segments()]
    assert spans == [[1.2, 0.9], [1.2, 1.5]]
    assert [text.get_text() for text in ax.texts] == ["not to be had"]
    plt.close(ax.figure)
    for change, message in (
        (None, "ask for the axis decomposition"),
        ({"headline_width_per_year": None, "sources": []}, "nothing to draw"),
    ):
        with pytest.raises(BayesdenseError, match=message):
            decomposition_table({**sweep(fit), "decomposition": change})


def test_coverage_stands_in_the_models_own_range(fit: Fit) -> None:
    table = coverage_table(backtest(fit))
    assert table["benchmark"].tolist() == ["all", "all", "MMLU"]
    assert table["observed"].tolist() == pytest.approx([45, 90, 20])
    assert table["lower"].tolist() == pytest.approx([40, 85, 40])
    assert "1 lie outside" in draw_study(study("backtest", fit), "backtest_coverage").description
    ax = bd.plot_backtest(backtest(fit))
    marks = next(line for line in ax.lines if line.get_marker() == "o")
    assert marks.get_ydata().tolist() == pytest.approx([45, 90])
    plt.close(ax.figure)


def test_differences_have_two_errors_where_there_is_one(fit: Fit) -> None:
    table = crps_table(backtest(fit))
    assert table["origin"].tolist() == ["2024-01-01", "all origins"]
    assert table["lower"].isna().tolist() == [True, False]
    assert table["upper"].iloc[1] == pytest.approx(-0.01)
    nothing = {**backtest(fit), "comparisons": []}
    with pytest.raises(BayesdenseError, match="nothing is compared"):
        crps_table(nothing)
    failed = {**backtest(fit), "origins": backtest(fit)["origins"][1:]}
    with pytest.raises(BayesdenseError, match="no origin could be fitted"):
        coverage_table(failed)
    with pytest.raises(BayesdenseError, match="allowed: coverage, crps"):
        bd.plot_backtest(backtest(fit), kind="log_score")
    with pytest.raises(BayesdenseError, match="did you mean 'MMLU'"):
        bd.plot_backtest(backtest(fit), benchmark="MMLUU")
    plt.close("all")


def test_power_is_that_of_its_file(fit: Fit) -> None:
    content = stored("power", fit)
    table = power_table(content)
    first = content["trends"][0]["sizes"][-1]["rules"]["probability"]
    one = table.query("trend == @content['trends'][0]['trend'] and rule == 'probability'").iloc[-1]
    assert one["share"] == pytest.approx(100 * first["hits"] / first["n"])
    assert set(table["wanted"]) == {80.0}
    ax = bd.plot_power(content, "quadratic")
    assert ax.get_title(loc="left") == "quadratic"
    plt.close(ax.figure)
    with pytest.raises(BayesdenseError, match="did you mean 'quadratic'"):
        bd.plot_power(content, "quadratics")
    plt.close("all")


def test_readings_are_those_of_the_frontier(fit: Fit) -> None:
    table = figure_table(fit, "readings").set_index("reading")
    for one in frontier_readings(fit)["readings"]:
        row, growth = table.loc[one["reading"]], one["growth_rate_per_year"]
        assert (None if pd.isna(row["absent"]) else row["absent"]) == one["absent"]
        if growth is not None:
            assert row["growth_median"] == growth["median"]
            assert [row["growth_low"], row["growth_high"]] == growth["eti95"]
    ax = bd.plot_readings(fit)
    assert len(ax.get_yticklabels()) == table["growth_median"].notna().sum()
    plt.close(ax.figure)


# --- files -----------------------------------------------------------------------------------


def test_results_are_found_by_folder_or_file(fit: Fit, tmp_path: Path) -> None:
    folder = save(tmp_path / "sweep-fake", "sweep", sweep(fit))
    found = read_study(folder)
    assert (found.verb, found.name, found.to_dict()) == ("sweep", "sweep-fake", sweep(fit))
    assert read_study(folder / "sweep.json").content == found.content


def test_what_is_no_result_is_refused(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.json").write_text("{}", encoding="utf-8")
    old = {key: value for key, value in sweep(fit).items() if key != "model_digest"}
    for where, message in (
        (tmp_path / "none", "no such folder or file"),
        (tmp_path / "empty", "holds no result of a study"),
        (tmp_path / "notes.json", "is no result of a study"),
        (save(tmp_path / "a", "sweep", {"schema": 1}), "is no result of sweep"),
        (save(tmp_path / "b", "sweep", {**sweep(fit), "schema": 2}), "this version reads 1"),
        (save(tmp_path / "c", "sweep", old), "write it anew with sweep --resume"),
    ):
        with pytest.raises(BayesdenseError, match=message):
            read_study(where)


def test_the_grid_is_no_part_of_the_question() -> None:
    spec = load_spec("joint")
    fine = spec.with_options(quadrature_spacing=0.1)
    assert fine.digest != spec.digest
    assert fine.posterior_digest == spec.posterior_digest
    assert spec.with_options(residual="student_t").posterior_digest != spec.posterior_digest
    assert load_spec("trend_only").posterior_digest == load_spec("trend_only").digest


def test_a_study_is_about_its_dataset_and_its_model(fit: Fit) -> None:
    compared, swept = study("compare", fit), study("sweep", fit)
    for one in (compared, swept):
        assert one.not_about(fit.dataset_info, fit.spec) is None
        other = {**fit.dataset_info, "digest": "f" * 64}
        assert "it is about dataset" in str(one.not_about(other, fit.spec))
        heavy = fit.spec.with_options(residual="student_t")
        assert one.not_about(fit.dataset_info, heavy) is not None
    flat = fit.spec.with_options(trend="flat")
    assert compared.not_about(fit.dataset_info, flat) is None  # a rival that was not compared
    assert swept.not_about(fit.dataset_info, flat) is not None
    own = comparison(fit)
    own["hypotheses"][0]["name"] = own["hypotheses"][1]["name"] = "of_my_own"
    said = StudyFile("compare", compared.path, own).not_about(fit.dataset_info, fit.spec)
    assert said is not None


# --- the report ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def studies(fit: Fit) -> list[StudyFile]:
    return [study(verb, fit) for verb in ("calibrate", "power", "backtest", "sweep", "compare")]


def test_the_report_shows_studies_in_their_order(fit: Fit, studies: list[StudyFile]) -> None:
    html = report_html(fit, studies=studies)
    ids = [
        f'id="figure-study-{k}-{kind}"'
        for k, verb in enumerate(("compare", "sweep", "backtest", "power", "calibrate"), start=1)
        for kind in kinds_of(verb)
    ]
    places = [html.index(one) for one in ids]
    assert places == sorted(places)
    for text in ("not distinguishable", "studies/sweep-fake", "the paper&#39;s line"):
        assert text in html
    assert EVIL not in html  # the message of a case that failed
    assert "alert(1)" in html
    assert "posterior probabilities of rival trends" in html
    assert open_studies(fit, studies) == []
    for question in open_studies(fit, []):  # how to make what is not there
        assert question.command not in html


def test_without_studies_the_report_says_how_to_make_them(fit: Fit) -> None:
    html = report_html(fit)
    assert [one.key for one in open_studies(fit, [])] == ["compare", "sweep", "backtest"]
    for question in open_studies(fit, []):
        assert question.command in html
    assert [one.key for one in open_studies(fake_fit(densities_only=True), [])] == [
        "compare", "sweep",
    ]  # fmt: skip
    assert open_studies(fake_fit(options={"feedback": "cut"}), []) == []


def test_what_was_varied_is_asked_no_more(fit: Fit) -> None:
    assert answered([study("sweep", fit)]) == {"headline", "reference_tokens"}  # the cut failed
    assert answered([study("compare", fit)]) == set()
    flat = StudyFile("compare", Path("compare.json"), comparison(fit, "exponential", "flat"))
    assert answered([flat]) == {"trend"}


def test_a_report_refuses_studies_of_other_fits(fit: Fit, tmp_path: Path) -> None:
    folder = save(tmp_path / "other", "sweep", {**sweep(fit), "model_digest": "0"})
    with pytest.raises(BayesdenseError, match=r"study .*other: its model is not that of the fit"):
        report_html(fit, studies=[folder])


def test_studies_beside_a_fit_are_found(fit: Fit, tmp_path: Path) -> None:
    root = tmp_path / "studies"
    save(root / "sweep-fake", "sweep", sweep(fit))
    save(root / "wide", "sweep", {**sweep(fit), "model_digest": "0"})
    foreign = {**sweep(fit), "dataset": {"name": "foreign", "digest": "0"}}
    save(root / "foreign", "sweep", foreign)
    save(root / "torn", "sweep", {"schema": 1})
    (root / "notes").mkdir()
    found, others = studies_beside(fit, tmp_path / "fits" / "fake")
    assert [one.name for one in found] == ["sweep-fake"]
    assert len(others) == 2
    assert "torn" in others[0]
    assert "wide: its model is not" in others[1]
    assert studies_beside(fit, tmp_path / "elsewhere" / "fits" / "fake") == ([], [])


def test_the_verbs_show_studies(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "fits" / "fake"
    fit.save(folder)
    made = save(tmp_path / "studies" / "sweep-fake", "sweep", sweep(fit))
    status, out, err = invoke(monkeypatch, capsys, "report", folder, "--format", "json")
    assert status == 0, err
    payload = json.loads(out)
    hold(payload, "report")
    assert payload["studies"] == [str(made / "sweep.json")]
    far = save(tmp_path / "far", "sweep", {**sweep(fit), "dataset": {"name": "x", "digest": "0"}})
    status, _, err = invoke(monkeypatch, capsys, "report", folder, "--study", far)
    assert status == 2
    assert "it is about dataset 'x'" in " ".join(err.split())
    picture = tmp_path / "picture.svg"
    words = ("plot", made, "decomposition", "--out", picture, "--format", "json")
    status, out, err = invoke(monkeypatch, capsys, *words)
    assert status == 0, err
    hold(json.loads(out), "plot")
    assert picture.exists()
    status, _, err = invoke(monkeypatch, capsys, "plot", made, "trend")
    assert status == 2
    assert "is a study" in err
