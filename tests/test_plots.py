"""Figures show what their tables say, and tables say what the draws do."""

import io
import json
import math
import warnings
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from fake_fit import DATES, WINDOW, fake_fit
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from program import hold, invoke

import bayesdense as bd
from bayesdense import derive
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError, DatasetError
from bayesdense.laws import chinchilla_loss
from bayesdense.names import DAYS_PER_MONTH, DAYS_PER_YEAR, PLOT_KINDS
from bayesdense.plots import style
from bayesdense.plots.baseline import fitted_dataset
from bayesdense.plots.growth import doubling_time_table, draw_doubling_time, growth_table
from bayesdense.plots.kinds import KINDS, draw, figure, figure_table, records
from bayesdense.plots.labels import label_points, short
from bayesdense.plots.loss_law import loss_residuals_table, mean_loss, run_rows
from bayesdense.plots.predictive import predictive_table
from bayesdense.plots.sampling import prior_posterior_table, rank_table
from bayesdense.plots.score_map import score_map_table
from bayesdense.plots.sizes import densities_table, sizes_table
from bayesdense.plots.trend import trend_table
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_score

mpl.use("Agg")

HOSTILE = (
    "<script>alert(1)</script>", r"$\frac{", "\u6f22\u5b57\u202e", "a\nb\x1b[31m", "x" * 400,
    "%s{{7*7}}", r"$$\href{javascript:alert(1)}{x}$$", " ",
)  # fmt: skip
FITS = {
    "one": lambda: fake_fit(llms=["alone"], lower_bounds=1),
    "three": lambda: fake_fit(llms=["a", "b", "c"]),
    "many": lambda: fake_fit(llms=[f"Some-LLM-{k}B" for k in range(500)], draws=50),
    "flat": lambda: fake_fit(trend="flat"),
    "shrinking": lambda: fake_fit(growth=-1.0),
    "undecided": lambda: fake_fit(growth=0.0),
    "composed": lambda: fake_fit(residual="composed"),
    "held out": lambda: fake_fit(options={"calibration": "fit"}),
    "cut": lambda: fake_fit(options={"feedback": "cut"}),
    "densities": lambda: fake_fit(densities_only=True),
    "one density": lambda: fake_fit(densities_only=True, llms=["alone"]),
    "hostile": lambda: fake_fit(llms=HOSTILE),
}
#: Kinds that a fit does not hold what it takes for.
OF_SCORES = {"sizes", "loss_law", "loss_residuals", "score_map"}
LACKING = {"densities": OF_SCORES, "one density": OF_SCORES, "cut": {"rank"}}


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fake_fit()


@pytest.mark.parametrize("name", FITS)
def test_every_figure_of_every_fit(name: str) -> None:
    made = FITS[name]()
    lacking = LACKING.get(name, set())
    for kind in lacking:
        with pytest.raises(BayesdenseError):
            figure_table(made, kind)
    for kind in [kind for kind in PLOT_KINDS if kind not in lacking]:
        drawn = draw(made, kind)
        drawn.figure.savefig(io.BytesIO(), format="svg")
        lacks_room = _beyond_the_edges(drawn.figure)  # but for a millimetre
        assert max(lacks_room) < 0.04, (kind, lacks_room)
        assert len(drawn.table), kind
        assert drawn.description.endswith("."), kind
        assert "nan" not in drawn.description, kind
        json.dumps(records(drawn.table), allow_nan=False)


def _beyond_the_edges(figure: Figure) -> list[float]:
    """How far legends, labels and ticks stick out to each side, inches."""
    found, page = figure.get_tightbbox(), figure.bbox_inches
    return [page.x0 - found.x0, page.y0 - found.y0, found.x1 - page.x1, found.y1 - page.y1]


def test_kinds_are_those_that_are_named() -> None:
    assert list(KINDS) == list(PLOT_KINDS)


def test_a_figure_that_a_fit_cannot_serve_says_why() -> None:
    with pytest.raises(BayesdenseError, match="a fit of densities only has no score maps"):
        figure(fake_fit(densities_only=True), "score_map")
    with pytest.raises(BayesdenseError, match="did you mean 'score_map'"):
        figure(fake_fit(), "scoremap")


# --- The numbers -----------------------------------------------------------------------------


def test_the_trend_is_that_of_the_draws(fit: Fit) -> None:
    table = trend_table(fit, paper=False).query("layer == 'trend'")
    last = table[table["date"] == WINDOW[1]].iloc[0]
    years = derive.years_since_origin(fit, [WINDOW[1]])[0]
    line = np.exp(fit.posterior["trend_intercept"] + years * fit.posterior["growth_rate"]).values
    assert last["median"] == pytest.approx(np.median(line), rel=1e-6)
    ends = np.quantile(line, [0.025, 0.25, 0.75, 0.975])
    names = ["eti95_lower", "eti50_lower", "eti50_upper", "eti95_upper"]
    np.testing.assert_allclose(last[names].to_numpy(float), ends, rtol=2e-3)


def test_the_trend_is_dashed_outside_the_data(fit: Fit) -> None:
    ax = bd.plot_trend(fit)
    whole = trend_table(fit, paper=False).query("layer == 'trend'")["date"]
    first, last = (np.datetime64(day) for day in WINDOW)
    assert whole.min() < first
    assert whole.max() > last
    lines = {line.get_linestyle(): [] for line in ax.lines if line.get_color() == style.BLUE}
    for line in ax.lines:
        if line.get_color() == style.BLUE:
            lines[line.get_linestyle()].extend(line.get_xdata())
    assert {np.datetime64(day, "D") for day in (min(lines["-"]), max(lines["-"]))} == {first, last}
    dashed = np.asarray(lines["--"], dtype="datetime64[D]")
    assert ((dashed <= first) | (dashed >= last)).all()
    plt.close(ax.figure)


def test_llms_of_bounds_have_marks_of_their_own(fit: Fit) -> None:
    table = trend_table(fit, paper=False).query("layer == 'llm'")
    found = derive.llm_estimates(fit)
    for side in ("lower", "upper"):
        assert (table["bound"] == side).sum() == found[f"{side}_bound_only"].sum() > 0
    ax = bd.plot_trend(fit)
    marks = {line.get_marker(): len(line.get_xdata()) for line in ax.lines if line.get_marker()}
    assert marks["^"] == 2
    assert marks["v"] == 1
    assert marks["o"] == len(DATES) - 3
    plt.close(ax.figure)


def test_densities_grow_with_the_median(fit: Fit) -> None:
    table = densities_table(fit).set_index("llm")
    draws = fit.posterior["log_density"]
    for llm in table.index:
        median = float(np.exp(draws.sel(llm=llm).median()))
        assert table.loc[llm, "median"] == pytest.approx(median, rel=1e-6)
    dates = densities_table(fit)["date"]
    assert dates.is_monotonic_decreasing


def test_sizes_are_densities_times_parameters(fit: Fit) -> None:
    sizes, densities = sizes_table(fit).set_index("llm"), densities_table(fit).set_index("llm")
    ratio = sizes["median"] / sizes["n_params"] / densities["median"]
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-6)


def test_densities_of_growth_and_of_doubling_time_are_one(fit: Fit) -> None:
    growth = growth_table(fit).query("layer == 'posterior'")
    assert np.trapezoid(growth["density"], growth["growth_rate"]) == pytest.approx(1.0, abs=0.01)
    times = doubling_time_table(fit).query("layer == 'posterior'")
    reach = times["months"].max()
    share = float((derive.doubling_time(fit).draws < reach * DAYS_PER_MONTH).mean())
    assert np.trapezoid(times["density"], times["months"]) == pytest.approx(share, abs=0.01)


def test_a_doubling_time_that_may_be_endless_says_so() -> None:
    undecided = fake_fit(growth=0.0)
    table = doubling_time_table(undecided)
    none = table.query("layer == 'chance'")["p_none"].iloc[0]
    assert none == pytest.approx(float((undecided.posterior["growth_rate"] <= 0).mean()))
    assert math.isinf(table.query("layer == 'interval'")["upper"].iloc[-1])
    times = table.query("layer == 'posterior'")
    assert np.trapezoid(times["density"], times["months"]) < 1.0 - none
    table.loc[table["layer"] == "median", "months"] = 400.0  # leaves the densities their room
    right = draw_doubling_time(table, Figure().add_subplot()).get_xlim()[1]
    assert right < 1.05 * times["months"].max()


def test_the_paper_is_at_its_value(fit: Fit) -> None:
    growth = growth_table(fit).query("layer == 'paper'")["growth_rate"].iloc[0]
    months = doubling_time_table(fit).query("layer == 'paper'")["months"].iloc[0]
    assert growth == pytest.approx(0.006529 * DAYS_PER_YEAR)
    assert months * DAYS_PER_MONTH == pytest.approx(106.2, abs=0.05)


def test_the_law_is_that_of_the_laws_module(fit: Fit) -> None:
    runs = run_rows(fit).query("benchmark == 'BBH'")
    first = runs.iloc[0]
    loss = mean_loss(fit, "BBH", np.log([first["n_params"]]), np.log([first["n_tokens"]]))
    constant, draws = fit.group("constant_data"), fit.posterior.sel(benchmark="BBH")
    names = ("loss_floor", "param_coef", "param_exponent", "token_coef", "token_exponent")
    expected = chinchilla_loss(
        math.log(first["n_params"]) - float(constant["log_params_centre"]),
        math.log(first["n_tokens"]) - float(constant["log_tokens_centre"]),
        *(draws[name].values for name in names),
    )
    np.testing.assert_allclose(loss.values[..., 0], expected)


def test_residuals_are_of_the_loss_in_percent(fit: Fit) -> None:
    table = loss_residuals_table(fit)
    law = fit.group("predictive_mean")["loss"].values
    residual = np.expm1(fit.group("observed_data")["loss"].values - law) * 100
    np.testing.assert_allclose(table["median"], np.median(residual, axis=(0, 1)), rtol=1e-6)


def test_what_can_be_reached_is_the_score_of_an_endless_llm(fit: Fit) -> None:
    row = score_map_table(fit).query("layer == 'reachable' and benchmark == 'MMLU'").iloc[0]
    draws = fit.posterior.sel(benchmark="MMLU")
    log_tokens = math.log(5e12) - float(fit.group("constant_data")["log_tokens_centre"])
    loss = draws["loss_floor"] + draws["token_coef"] * np.exp(-draws["token_exponent"] * log_tokens)
    score = logistic_score(
        loss,
        *(draws[n] for n in ("score_floor", "score_ceiling", "score_slope", "loss_midpoint")),
    )
    assert row["loss"] == pytest.approx(float(loss.median()), rel=1e-6)
    assert row["median"] == pytest.approx(float(score.median()), rel=1e-6)


def test_held_out_points_are_drawn_apart() -> None:
    made = fake_fit(options={"calibration": "fit"})
    points = score_map_table(made).query("layer == 'point'")
    assert (points["role"] == "heldout").sum() == 10
    ax = bd.plot_score_map(made, "BBH")
    assert "calibration point, held out" in ax.get_legend_handles_labels()[1]
    plt.close(ax.figure)


def test_replicates_hold_data_that_are_like_them(fit: Fit) -> None:
    table = predictive_table(fit)
    assert table["observed"].between(0, 1).all()
    last = table.groupby("benchmark").tail(1)
    assert (last[["observed", "median"]] == 1.0).all(axis=None)
    shifted = fake_fit()
    shifted.tree["observed_data"]["score"] = shifted.tree["observed_data"]["score"] + 2.0
    moved = predictive_table(shifted)
    assert (moved["observed"] < moved["eti95_lower"] - 1e-9).any()


def test_ranks_of_one_chain_among_others_find_a_stuck_one(fit: Fit) -> None:
    good = rank_table(fit)["difference"].abs().max()
    draws = np.random.default_rng(1).normal(1.9, 0.25, (4, 250))
    draws[2] += 1.0
    stuck = rank_table(fake_fit(growth_draws=draws)).query("variable == 'growth_rate'")
    assert good < 0.15
    assert stuck["difference"].abs().max() > 0.4


def test_priors_stand_beside_posteriors(fit: Fit) -> None:
    table = prior_posterior_table(fit).set_index("variable")
    assert table.loc["growth_rate", "posterior_median"] == pytest.approx(
        float(fit.posterior["growth_rate"].median())
    )
    assert table.loc["growth_rate", "unit"] == "1/year"


# --- Axes, names, looks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "plot",
    [
        bd.plot_trend, bd.plot_growth_rate, bd.plot_doubling_time, bd.plot_sizes, bd.plot_densities,
        bd.plot_loss_law, bd.plot_loss_residuals, bd.plot_score_map, bd.plot_predictive,
    ],
)  # fmt: skip
def test_axes_go_in_and_come_out(fit: Fit, plot: object) -> None:
    ax = plt.subplots()[1]
    assert plot(fit, ax=ax) is ax  # type: ignore[operator]
    own = plot(fit)  # type: ignore[operator]
    assert isinstance(own, Axes)
    assert own is not ax
    plt.close("all")


def test_arviz_figures_are_passed_through(fit: Fit) -> None:
    for plot in (bd.plot_rank, bd.plot_ess, bd.plot_prior_posterior):
        collection = plot(fit, var_names=["growth_rate"])
        assert collection.viz["figure"].item().axes
    with pytest.raises(BayesdenseError, match="did you mean 'growth_rate'"):
        bd.plot_rank(fit, var_names=["growth_rat"])
    plt.close("all")


def test_figures_leave_settings_and_pyplot_alone(fit: Fit) -> None:
    before, count = dict(mpl.rcParams), len(plt.get_fignums())
    for kind in ("trend", "rank", "loss_law"):
        figure(fit, kind)
    assert dict(mpl.rcParams) == before
    assert len(plt.get_fignums()) == count


def test_an_unknown_benchmark_is_named(fit: Fit) -> None:
    with pytest.raises(BayesdenseError, match="did you mean 'MMLU'"):
        bd.plot_loss_law(fit, "MMLUU")
    plt.close("all")


@pytest.mark.parametrize("count", [8, 112, 500])
def test_names_do_not_overlap(count: int) -> None:
    made = fake_fit(llms=[f"A-language-model-{k}B" for k in range(count)], draws=50)
    for kind in ("trend", "trend_linear", "sizes"):
        drawn = figure(made, kind)
        drawn.draw_without_rendering()
        ax = drawn.axes[0]
        names = [text for text in ax.texts if text.get_text().startswith("A-language")]
        boxes = [text.get_window_extent() for text in names]
        assert boxes, kind
        room = ax.get_window_extent()
        for k, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:k]), kind
            assert room.x0 <= box.x0 <= box.x1 <= room.x1, kind


def test_rows_of_the_forest_do_not_overlap() -> None:
    drawn = figure(fake_fit(llms=[f"llm-{k}" for k in range(112)], draws=50), "densities")
    drawn.draw_without_rendering()
    shown = 0
    for ax in drawn.axes:
        boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
        shown += len(boxes)
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert shown == 112


def test_names_without_room_are_left_out() -> None:
    ax = plt.subplots()[1]
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    x, y = [0.5] * 30, np.full(30, 0.5)
    placed = label_points(ax, x, y, [f"name {k}" for k in range(30)], order=range(30), most=30)
    assert 1 < len(placed) < 10
    plt.close(ax.figure)


def test_names_that_the_font_lacks_are_escaped() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert short("\u6f22") == r"\u6f22"
        assert short("a\u202eb") == r"a\u202eb"
    assert short(r"$\frac{") == r"$\frac{"
    assert len(short("x" * 400)) < 30


#: Dichromats' view of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
DICHROMATS = {
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
RGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)


def lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB."""
    x, y, z = np.cbrt(RGB_TO_XYZ @ np.clip(linear, 0, 1) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", DICHROMATS)
def test_colours_differ_for_the_colour_blind(sight: str) -> None:
    """A difference of 10 in CIELAB is seen at once (2.3 is just seen)."""
    seen = [
        lab(np.array(DICHROMATS[sight]) @ np.array([((c + 0.055) / 1.055) ** 2.4 for c in colour]))
        for colour in map(to_rgb, style.CYCLE[:4])
    ]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 10.0


# --- The paper's estimate beside the trend ---------------------------------------------------


def _pretending(name: str, digest: str) -> Fit:
    """A fit that says that it is of a dataset."""
    made = fake_fit()
    about = made.dataset_info | {"name": name, "digest": digest}
    made.tree.attrs["dataset"] = json.dumps(about)
    return made


def test_the_papers_records_are_those_that_it_published() -> None:
    made = _pretending("densing", load_dataset("densing").digest)
    table = trend_table(made)
    assert (table["layer"] == "record").sum() == 9
    line = table.query("layer == 'line'")
    days = (line["date"].iloc[-1] - line["date"].iloc[0]).days
    slope = np.log(line["median"].iloc[-1] / line["median"].iloc[0]) / days
    assert slope == pytest.approx(0.006529, rel=1e-3)
    assert "record" not in set(trend_table(made, paper=False)["layer"])
    given = trend_table(made, dataset=load_dataset("densing"))
    assert given.query("layer == 'record'")["median"].tolist() == pytest.approx(
        table.query("layer == 'record'")["median"].tolist()
    )


def test_records_of_another_dataset_are_its_own() -> None:
    known = load_dataset("densing-published-mmlu")
    table = trend_table(_pretending(known.name, known.digest)).query("layer == 'record'")
    assert set(table["records_of"]) == {known.name}
    assert set(table["llm"]) <= set(known.densities["llm"])  # type: ignore[index]


def test_records_stand_beside_their_own_dataset_only() -> None:
    assert fitted_dataset(_pretending("densing", "0" * 64)) is None
    assert fitted_dataset(fake_fit()) is None
    with pytest.raises(DatasetError, match="give the dataset that was fitted"):
        fitted_dataset(fake_fit(), load_dataset("densing"))


# --- The verb --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_fit(llms=HOSTILE).save(tmp_path_factory.mktemp("plots") / "fit")


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: Sequence[object]
) -> tuple[int, str, str]:
    return invoke(monkeypatch, capsys, "plot", *(str(word) for word in words))


def test_plot_writes_a_figure_and_its_data(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(monkeypatch, capsys, [folder, "densities", "--format", "json"])
    assert status == 0, err
    payload = json.loads(out)
    hold(payload, "plot")
    assert len(payload["rows"]) == len(HOSTILE)
    assert (tmp_path / payload["file"]).read_bytes().startswith(b"\x89PNG")
    assert "Written to" in err
    status, out, err = run(monkeypatch, capsys, [folder, "trend", "--out", "a/b.svg"])
    assert status == 0, err
    assert "Density against release date" in out
    assert (tmp_path / "a" / "b.svg").read_text(encoding="utf-8").startswith("<?xml")
    status, out, err = run(monkeypatch, capsys, [folder, "sizes", "--format", "csv"])
    assert out.splitlines()[0].startswith("llm,date,n_params,median")
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scoremap"], "did you mean 'score_map'"),
        (["trend", "--out", "figure.foo"], "allowed: .avif"),
        (["trend", "--out", "figure"], "the ending says no form"),
        (["trend", "--dataset", "densing"], "give the dataset that was fitted"),
    ],
)
def test_plot_refuses_what_it_cannot_do(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(monkeypatch, capsys, [folder, *words])
    assert status == 2
    assert message in err
    assert not out
    assert not list(tmp_path.iterdir())
