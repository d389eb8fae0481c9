"""Small fits under rival trends: what was simulated is found, saved, loaded, and said."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from modelling import small_joint
from program import hold, invoke

import bayesdense as bd
from bayesdense.derive import p_singular, trend
from bayesdense.errors import BayesdenseError
from bayesdense.results import Fit
from bayesdense.summary import headline, summarize
from bayesdense.trends import TRENDS, known, trend_named

pytestmark = pytest.mark.fit
QUICK: Mapping[str, Any] = {"draws": 400, "tune": 200, "chains": 2, "seed": 5}
FIRST, LAST = "2023-01-01", "2025-06-30"


def published(folder: Path, eta: Callable[[np.ndarray], np.ndarray], n: int = 90) -> Path:
    """Densities of LLMs of thirty families, spread over thirty months, about a known line."""
    rng = np.random.default_rng(2)
    days = np.sort(np.append(rng.integers(0, 911, n - 2), [0, 911]))
    years = (days - days.mean()) / 365.25
    family = rng.permutation(n) % 30
    log_density = eta(years) + 0.3 * rng.normal(size=30)[family] + 0.3 * rng.normal(size=n)
    table = pd.DataFrame(
        {
            "llm": [f"llm {k}" for k in range(n)],
            "release_date": (pd.Timestamp(FIRST) + pd.to_timedelta(days, "D")).strftime("%Y-%m-%d"),
            "density": np.exp(log_density),
            "family": [f"family {k}" for k in family],
        }
    )
    folder.mkdir(parents=True)
    (folder / "card.toml").write_text('title = "made up"\n')
    table.to_csv(folder / "densities.csv", index=False)
    return folder


def fitted(trend: str, folder: Path, eta: Callable[[np.ndarray], np.ndarray]) -> Fit:
    spec = bd.load_spec("trend_only").with_options(trend=trend)
    fit = bd.fit(spec, bd.load_dataset(published(folder / "made-up", eta)), **QUICK)
    checks = bd.check(fit).to_dict()
    assert float(str(checks["max_rhat"])) < 1.05 and int(str(checks["divergences"])) <= 8, checks
    return fit


def score(estimate: bd.Estimate, truth: float) -> float:
    """Distance from the truth in posterior sds."""
    return (estimate.mean - truth) / estimate.sd


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Growth of .5 before the time origin and of 3 after it; the date is free."""
    return fitted("break_free", tmp_path_factory.mktemp("break"), lambda t: 0.5 * t + 2.5 * ramp(t))


def ramp(t: np.ndarray) -> np.ndarray:
    return np.maximum(t, 0.0)


def test_a_break_and_its_date_are_found(broken: Fit) -> None:
    found = bd.growth_break(broken)
    assert abs(score(found.before, 0.5)) < 4 and abs(score(found.after, 3.0)) < 4
    assert abs(score(found.difference, 2.5)) < 4 and found.difference.interval()[0] > 0
    assert found.p_faster_after.value > 0.975 and found.verdict == "faster"
    years = broken.posterior["break_year"]  # since the time origin, at which the truth breaks
    assert abs(float(years.mean())) < 4 * float(years.std())
    assert found.date_interval is not None
    assert found.date_interval[0] <= found.date <= found.date_interval[1]
    # the date is a parameter as any other: growth at a date reads it draw by draw
    late = bd.growth_rate(broken, at=LAST)
    np.testing.assert_allclose(late.draws, broken.posterior["growth_after"])
    values = trend_named("break_free").mixture.values  # type: ignore[union-attr]
    assert broken.posterior["break_year"].attrs["units"] and callable(values)


def test_the_ratio_is_given_only_where_it_means_something(broken: Fit) -> None:
    found = bd.growth_break(broken)
    chance = found.p_before_not_positive
    assert (found.ratio is None) == (chance.value + 2 * chance.mcse >= 0.025)
    flat = broken.posterior.copy(deep=True)
    flat["growth_before"] = flat["growth_before"] - 0.5
    tree = broken.tree.copy()
    tree["posterior"] = flat
    other = bd.growth_break(Fit(tree, broken.spec))
    assert other.p_before_not_positive.value > 0.2 and other.ratio is None


def test_a_break_stands_in_the_summary(broken: Fit, tmp_path: Path) -> None:
    summary = summarize(broken, bd.check(broken))
    hold(json.loads(json.dumps(summary)), "summary")
    section = summary["growth_break"]
    assert section["p_faster_after"] == bd.growth_break(broken).p_faster_after.value
    assert section["statement"] in headline(summary) and summary["model"]["trend"] == "break_free"
    again = bd.load_fit(broken.save(tmp_path / "fit"))
    assert repr(bd.growth_break(again)) == repr(bd.growth_break(broken))
    assert repr(bd.doubling_time(again)) == repr(bd.doubling_time(broken))


def test_a_certain_date_is_no_chain_that_does_not_move(broken: Fit) -> None:
    settled = broken.posterior.copy(deep=True)
    settled["break_year"] = 0.0 * settled["break_year"]
    tree = broken.tree.copy()
    tree["posterior"] = settled
    checks = bd.check(Fit(tree, broken.spec)).to_dict()
    assert float(str(checks["max_rhat"])) < 1.05  # nan of a constant would be the largest
    (item,) = (i for i in checks["items"] if i["name"] == "r_hat")  # type: ignore[attr-defined]
    assert "break_year" not in item["advice"]


def test_a_break_is_none_of_other_trends(tmp_path: Path) -> None:
    fit = fitted("exponential", tmp_path, lambda t: 1.5 * t)
    with pytest.raises(BayesdenseError, match="exponential, has no break; fit break_known@DATE"):
        bd.growth_break(fit)
    assert "growth_break" not in summarize(fit, bd.check(fit))


#: Trend -> line with its shape, and its growth at the first and last release.
SHAPES: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], float, float]] = {
    "break_known@2024-04-01": (lambda t: 0.5 * t + 2.5 * ramp(t), 0.5, 3.0),
    "quadratic": (lambda t: 2 * t - 0.6 * t**2, 3.5, 0.5),
    "hyperbolic": (lambda t: -2 * np.log(3 - t), 2 / 4.25, 2 / 1.75),
    "gompertz": (lambda t: (1 - np.exp(-0.8 * t)) * 2 / 0.8, 2 * np.exp(1.0), 2 * np.exp(-1.0)),
    "gp": (lambda t: 2 * t + np.cos(2 * t), 2 + 2 * np.sin(2.5), 2 - 2 * np.sin(2.5)),
    "random_walk": (lambda t: 0.5 * t + 2.5 * ramp(t), 0.5, 3.0),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_shapes_are_found(kind: str, tmp_path: Path) -> None:
    eta, at_first, at_last = SHAPES[kind]
    fit = fitted(kind, tmp_path, eta)
    for date, truth in ((FIRST, at_first), (LAST, at_last)):
        assert abs(score(bd.growth_rate(fit, at=date), truth)) < 4, (date, truth)
    line = trend(fit, [FIRST, LAST]).mean(["chain", "draw"])
    rise = eta(np.array([1.25])) - eta(np.array([-1.25]))
    assert float(line[1] - line[0]) == pytest.approx(float(rise[0]), abs=0.6)
    if kind == "hyperbolic":
        chance = p_singular(fit, "2040-01-01")
        assert (
            chance is not None and chance.value > 0.5 and np.isinf(trend(fit, ["2060-01-01"])).any()
        )
        with pytest.raises(BayesdenseError, match="density is infinite by then with probability"):
            bd.growth_rate(fit, at="2060-01-01")


def test_groups_have_growth_of_their_own() -> None:
    spec, dataset = small_joint()
    fit = bd.fit(spec.with_options(trend="groups@maker"), dataset, **QUICK)
    names = [str(name) for name in fit.posterior["group"].values]
    own = {name: bd.growth_rate(fit, group=name).mean for name in names}
    assert len(names) > 3 and "Meta" in names
    expected = fit.posterior["growth_rate"] + fit.posterior["group_growth"].sel(group="Meta")
    assert own["Meta"] == pytest.approx(float(expected.mean()))
    # together: by their shares of the families
    makers = dataset.base_only().llms.set_index("llm")["maker"]  # type: ignore[union-attr]
    families = dataset.base_only().llms["family"]  # type: ignore[union-attr]
    weights = 1 / families.map(families.value_counts()).to_numpy()
    shares = pd.Series(weights, index=makers.to_numpy()).groupby(level=0).sum()
    mean = sum(own[name] * share for name, share in shares.items()) / shares.sum()
    assert bd.growth_rate(fit).mean == pytest.approx(mean)
    assert "Meta" in repr(bd.growth_rate(fit, group="Meta"))
    assert bd.doubling_time(fit, group="Meta").growth.name == "growth rate of Meta"
    with pytest.raises(BayesdenseError, match="no group 'none': allowed "):
        bd.growth_rate(fit, group="none")


def test_a_joint_fit_reads_vectors_of_the_trend(tmp_path: Path) -> None:
    spec, dataset = small_joint()
    fit = bd.fit(spec.with_options(trend="random_walk"), dataset, **QUICK)
    steps = fit.posterior["growth_step"]
    assert steps.dims == ("chain", "draw", "knot") and steps.attrs["units"] == "1/year"
    assert {"growth_step", "growth_step_sd"} <= set(fit.group("prior"))
    assert "growth_step_sd" in fit.group("log_prior")
    assert bd.load_fit(fit.save(tmp_path / "fit")).posterior.equals(fit.posterior)
    early, late = (bd.growth_rate(fit, at=date).draws for date in ("2023-03-01", "2025-08-01"))
    np.testing.assert_allclose(late - early, steps.sum("knot"), atol=1e-9)


# ---------------------------------------------------------------- a user's own, from a file

OWN = """
import numpy as np
from bayesdense import Trend

def eta(t, theta, data):
    return theta["trend_intercept"] + theta["growth_rate"] * t + theta["season"] * np.sin(6.28 * t)

SEASONAL = Trend(
    kind="seasonal",
    parameters=("trend_intercept", "growth_rate", "season"),
    eta=eta,
    is_linear=True,
    priors={"season": {"dist": "Normal", "kwargs": {"mu": 0, "sigma": 0.5}, "reason": "a guess"}},
)
"""


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Forget what a test has added."""
    yield
    known._ADDED.clear()


def test_an_own_trend_is_fitted_from_a_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    forgotten: None,
) -> None:
    file, out = tmp_path / "own.py", tmp_path / "fit"
    file.write_text(OWN)
    place = published(tmp_path / "data", lambda t: 1.5 * t + 0.8 * np.sin(6.28 * t))
    words = ("fit", place, "--trend-file", f"{file}:SEASONAL", "--set", "trend=seasonal")
    size = ("--draws", "300", "--tune", "200", "--chains", "2", "--quiet", "--out", out)
    invoke(monkeypatch, capsys, *words, *size)
    fit = bd.load_fit(out)
    assert fit.spec.trend == "seasonal"
    draws = fit.posterior["season"]
    assert abs(float(draws.mean()) - 0.8) < 4 * float(draws.std())
    now = bd.growth_rate(fit, at="2024-04-01").draws
    expected = fit.posterior["growth_rate"] + 6.28 * draws * np.cos(
        6.28 * (pd.Timestamp("2024-04-01") - pd.Timestamp(fit.time_origin)).days / 365.25
    )
    np.testing.assert_allclose(now, expected, atol=1e-5)
    known._ADDED.clear()
    with pytest.raises(BayesdenseError, match=r"'seasonal', allowed: .* --trend-file"):
        bd.load_fit(out)


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("own.py", OWN, "write it as PATH.py:NAME"),
        ("none.py:SEASONAL", OWN, "no such file"),
        ("own.py:OTHER", OWN, "defines no Trend named 'OTHER'"),
        ("own.py:SEASONAL", "1 / 0", "running it failed with ZeroDivisionError"),
    ],
)
def test_files_without_a_trend_are_refused(
    place: str,
    content: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "own.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    status, _, err = invoke(monkeypatch, capsys, "list", f"--trend-file={place}")
    assert status == 2 and message in " ".join(err.split())


def test_the_verb_lists_every_trend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = invoke(monkeypatch, capsys, "trends", "densing-published", "--format", "json")
    payload = json.loads(out)
    hold(payload, "trends")
    assert status == 0
    found = {row["trend"].partition("@")[0]: row for row in payload["trends"]}
    assert set(found) == set(TRENDS) and all(row["formula"] for row in found.values())
    assert "n_params_active" in found["groups"]["refused"]
    matched = [name for name, row in found.items() if row["matches_itself"]]
    assert set(found) - set(matched) == {"linear", "groups"}
    assert all(not found[name]["unlike"] for name in matched)
    status, out, _ = invoke(monkeypatch, capsys, "trends", "densing-published")
    assert status == 0 and "linear: its own prior sds differ" in out


def test_a_break_before_the_data_exits_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("fit", "densing", "--set", "trend=break_known@2022-11-30", "--out", tmp_path / "fit")
    status, _, err = invoke(monkeypatch, capsys, *words, "--quiet")
    told = " ".join(err.split())
    assert status == 2 and "0 families are released before 2022-11-30" in told
    assert "allowed here: 2023-" in told and not (tmp_path / "fit").exists()


def test_the_trend_of_the_page_can_be_added(forgotten: None) -> None:
    page = Path(__file__).parents[1] / "docs" / "how-to" / "own-trend.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    (code,) = (block for block in blocks if "SEASONAL = Trend(" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    defined: dict[str, Any] = {}
    exec(compile(code, "own-trend.md", "exec"), defined)
    bd.add_trend(defined["SEASONAL"])
    spec = bd.load_spec("joint").with_options(trend="seasonal")
    rows = bd.prior_growth(spec, bd.load_dataset("densing"), ["exponential", "seasonal"])
    assert rows[0].is_like(rows[1])
