"""Power: the closed form against quadrature, worlds about a fit, sizes that a dataset shows."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from modelling import small_joint
from program import hold, invoke
from scipy.integrate import dblquad
from scipy.stats import halfnorm, lognorm, multivariate_normal, norm

from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.observations import observe
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.normal_trends import Densities, Found, examine, sds_about
from bayesdense.studies.power import _Known, _Plan, power
from bayesdense.studies.power_counts import crossing
from bayesdense.studies.power_jobs import rival_wins, world_trend
from bayesdense.studies.power_result import Power, read_power, statement
from bayesdense.studies.readings import densities_of, sds_of, truths_of, world
from bayesdense.studies.refits import Length, study_of
from bayesdense.trends import TrendData, TrendOn, trend_named
from bayesdense.trends.grids import break_dates

YEARS = np.array([-1.0, -0.8, -0.5, -0.2, 0.1, 0.4, 0.7, 1.0])
FAMILY = np.array([0, 1, 0, 2, 3, 2, 4, 5])
VAR = np.array([0.1, 0.2, 0.05, 0.1, 0.3, 0.1, 0.2, 0.1])
MADE = np.array([-0.4, -0.9, 0.2, 0.4, 0.3, 1.1, 0.2, 1.9])
N_BEFORE = 4
#: Mean and sd of the logs of family and residual sd: the grid reaches six of these sds.
LOG_SDS = ((-0.4, 0.55), (-0.6, 0.4))
KNOWN = "break_known@2024-04-11"


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec("trend_only")


@pytest.fixture(scope="module")
def densities() -> Densities:
    return Densities.of(TrendData("2024-04-01", YEARS, FAMILY), MADE, VAR)


def examined(spec: ModelSpec, densities: Densities, trend: str, parameter: str) -> Found:
    draws = [np.exp([mean - sd, mean + sd]) for mean, sd in LOG_SDS]
    sds = sds_about(spec, *draws)
    made = np.stack([MADE, -MADE], axis=1)
    return examine(spec, trend, densities, made, sds, parameter=parameter, n_before=N_BEFORE)


def over_sds(value: Callable[[float, float], float]) -> float:
    """Integral over both sds of a value times their priors' densities."""

    def integrand(log_residual: float, log_family: float) -> float:
        family, residual = math.exp(log_family), math.exp(log_residual)
        prior = halfnorm.pdf(family, scale=1.0) * lognorm.pdf(residual, 0.5, scale=math.exp(-0.2))
        return float(prior * family * residual * value(family, residual))

    ends = [mean + side * 6 * sd for mean, sd in LOG_SDS for side in (-1, 1)]
    return float(dblquad(integrand, *ends, epsabs=1e-12, epsrel=1e-5)[0])


def moments(trend: str, data: TrendData, rows: np.ndarray, family: float, residual: float) -> Any:
    """Basis, prior mean and covariance of some LLMs' log densities."""
    basis = TrendOn(trend_named(trend), data).basis(YEARS[rows])
    prior = np.diag([4.0] * basis.shape[1])
    related = (FAMILY[rows][:, None] == FAMILY[rows]).astype(float)
    own = np.diag(VAR[rows]) + family**2 * related + residual**2 * np.eye(len(rows))
    return basis, prior, own, own + basis @ prior @ basis.T


def test_the_closed_form_is_what_quadrature_gives(spec: ModelSpec, densities: Densities) -> None:
    """Evidence, a family left out, what came later, and the posterior of the change."""
    found, data = examined(spec, densities, KNOWN, "growth_change"), densities.trend_data

    def evidence(rows: np.ndarray) -> float:
        def density(family: float, residual: float) -> float:
            cov = moments(KNOWN, data, rows, family, residual)[3]
            return float(multivariate_normal.pdf(MADE[rows], None, cov))

        return math.log(over_sds(density))

    def above_zero(family: float, residual: float) -> float:
        basis, prior, own, cov = moments(KNOWN, data, np.arange(8), family, residual)
        precision = np.linalg.inv(prior) + basis.T @ np.linalg.solve(own, basis)
        mean = np.linalg.solve(precision, basis.T @ np.linalg.solve(own, MADE))[2]
        sd = math.sqrt(np.linalg.inv(precision)[2, 2])
        return float(norm.cdf(mean / sd) * multivariate_normal.pdf(MADE, None, cov))

    whole = evidence(np.arange(8))
    assert found.log_ml[0] == pytest.approx(whole, abs=2e-3)
    for family in (0, 3):
        without = evidence(np.flatnonzero(family != FAMILY))
        assert found.family[family, 0] == pytest.approx(whole - without, abs=4e-3)
    assert found.since[0] == pytest.approx(whole - evidence(np.arange(N_BEFORE)), abs=4e-3)
    chance = over_sds(above_zero) / math.exp(whole)
    assert found.p_positive[0] == pytest.approx(chance, abs=1e-3)
    # the second dataset is the first upside down
    assert found.mean[1] == pytest.approx(-found.mean[0])
    assert found.p_positive[1] == pytest.approx(1 - found.p_positive[0])


def test_a_break_at_a_date_not_known_sums_over_dates(spec: ModelSpec, densities: Densities) -> None:
    free = examined(spec, densities, "break_free", "growth_change")
    data = densities.trend_data
    dates = [data.date_of(float(year)) for year in break_dates(-1.0, 1.0, data.n_breaks)]
    each = [examined(spec, densities, f"break_known@{d}", "growth_change") for d in dates]
    weights = np.exp([one.log_ml[0] for one in each])
    assert free.log_ml[0] == pytest.approx(math.log(weights.mean()), abs=2e-3)
    assert free.p_value[:, 0] == pytest.approx(weights / weights.sum(), abs=2e-3)
    told = np.average([one.p_positive[0] for one in each], weights=weights)
    assert free.p_positive[0] == pytest.approx(told, abs=2e-3)


def test_what_is_not_linear_and_normal_is_refused(spec: ModelSpec, densities: Densities) -> None:
    for trend in ("logistic", "random_walk"):
        with pytest.raises(SpecError, match="not linear in a few parameters"):
            examined(spec, densities, trend, "growth_rate")
    with pytest.raises(SpecError, match="residual=symmetric"):
        sds_about(spec.with_options(residual="student_t"), np.ones(3), np.ones(3))


@pytest.mark.parametrize("trend", [KNOWN, "quadratic"])
def test_worlds_grow_on_average_as_the_data(densities: Densities, trend: str) -> None:
    theta = world_trend(densities, trend, 2.0, 1.5) | {"trend_intercept": 0.0}
    on = TrendOn(trend_named(trend), densities.trend_data)
    eta = on.eta(np.array([-1.0, 1.0]), theta)
    growth = on.growth_rate(np.array([-1.0, 1.0]), theta)
    assert eta[1] - eta[0] == pytest.approx(2 * 2.0)
    assert growth[1] - growth[0] == pytest.approx(1.5)


def test_the_smallest_size_is_where_the_share_stays_up() -> None:
    sizes = np.array([0.0, 1.0, 2.0, 4.0])
    assert crossing(sizes, np.array([0.0, 0.9, 0.7, 0.9])) == pytest.approx(3.0)
    assert crossing(sizes, np.array([0.0, 0.2, 0.5, 0.79])) is None
    assert crossing(sizes, np.array([0.0, 0.8, 0.9, 0.9])) == pytest.approx(1.0)


def test_the_rule_needs_the_future_to_agree() -> None:
    found = {
        "elpd_diff": np.array([9.0, 9.0, 9.0, 3.9, -9.0]),
        "se": np.array([3.0, 3.0, 5.0, 1.0, 3.0]),
        "lfo_diff": np.array([1.0, -1.0, 1.0, 1.0, -1.0]),
    }
    assert rival_wins(found).tolist() == [True, False, False, False, False]
    assert rival_wins(found, -1.0).tolist() == [False] * 4 + [True]


@pytest.mark.fit
def test_readings_of_a_joint_fit_carry_its_growth(marginal_fit: Fit) -> None:
    """The trend in closed form about what the fit knows of each LLM is the fit's own trend."""
    data = observe(marginal_fit.spec, small_joint()[1])
    densities = densities_of(marginal_fit, data)
    closed = examine(
        marginal_fit.spec,
        "exponential",
        densities,
        densities.mean[:, None],
        sds_about(marginal_fit.spec, *sds_of(marginal_fit)),
        parameter="growth_rate",
        n_before=0,
    )
    growth = marginal_fit.posterior["growth_rate"]
    assert abs(closed.mean[0] - float(growth.mean())) < 0.35 * float(growth.std())
    assert 0.7 < closed.sd[0] / float(growth.std()) < 1.1


# ---------------------------------------------------------------- the study

SMALL: dict[str, Any] = {"n": 40, "draws": 300, "tune": 150, "chains": 4, "executor": "serial"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study") / "power"


@pytest.fixture(scope="module")
def found(folder: Path) -> Power:
    return power("densing-published", trends=["break_known@2024-04-01"], out=folder, **SMALL)


@pytest.mark.fit
def test_larger_changes_are_found_more_often(found: Power, folder: Path) -> None:
    payload = found.to_dict()
    hold(payload, "power")
    assert json.loads((folder / "power.json").read_text(encoding="utf-8")) == payload
    (trend,) = payload["trends"]
    assert [size["factor"] for size in trend["sizes"]] == [1, 1.5, 2, 3, 5, 10]
    growth = payload["reading"]["growth_rate_per_year"]
    for size in trend["sizes"][1:]:
        share = 402 / 771  # of the window before the break, in days
        before = growth["median"] - (1 - share) * size["difference_per_year"]
        after = before + size["difference_per_year"]
        assert after / before == pytest.approx(size["factor"], rel=0.01)
    for rule in ("verdict", "probability"):
        shares = [size["rules"][rule]["share"] for size in trend["sizes"]]
        assert shares[0] <= 0.15 and shares[-1] > shares[2]
        assert np.all(np.diff(shares[1:]) >= 0)  # the same noise at every size
    closed = payload["reading"]["closed_form"]
    assert closed["mean"] == pytest.approx(growth["median"], abs=0.2 * growth["sd"])
    assert closed["sd"] == pytest.approx(growth["sd"], rel=0.12)
    assert "break_known@2024-04-01, verdict" in repr(found)


@pytest.mark.fit
def test_a_study_goes_on_and_says_the_same(found: Power, folder: Path) -> None:
    with pytest.raises(BayesdenseError, match="--resume"):
        power("densing-published", trends=["break_known@2024-04-01"], out=folder, **SMALL)
    again = power(
        "densing-published", trends=["break_known@2024-04-01"], out=folder, resume=True, **SMALL
    )
    assert again.to_dict() == found.to_dict()


@pytest.mark.fit
def test_the_closed_form_and_full_fits_agree(found: Power, folder: Path) -> None:
    how = SMALL | {"check": 2}
    checked = power(
        "densing-published", trends=["break_known@2024-04-01"], out=folder, resume=True, **how
    )
    payload = checked.to_dict()
    hold(payload, "power")
    check = payload["check"]
    assert check["n"] == 2 and check["failed"] == []
    assert check["rms_z_difference"] < 0.25
    assert check["mean_sd_ratio"] == pytest.approx(1, abs=0.1)
    for pair in check["datasets"]:
        assert pair["full"]["elpd_diff"] == pytest.approx(pair["closed"]["elpd_diff"], abs=1.0)


@pytest.mark.fit
def test_the_verb_tells_sizes_and_rules(
    found: Power,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [
        *("power", "densing-published", "--trends", "break_known@2024-04-01", "--resume"),
        *("--out", folder, "--simulations", "40", "--draws", "300", "--tune", "150"),
        *("--executor", "serial", "--quiet"),
    ]
    failed = found.reading["checks"]["status"] == "fail"  # so few draws may
    status, out, _ = invoke(monkeypatch, capsys, *words)
    assert status == int(failed)
    for text in ("break_known@2024-04-01", "false alarms", "Placebo breaks", "closed form"):
        assert text in " ".join(out.split())
    status, out, _ = invoke(monkeypatch, capsys, *words, "--format", "json")
    assert json.loads(out) == found.to_dict()
    status, out, _ = invoke(monkeypatch, capsys, *words, "--format", "csv")
    assert len(out.splitlines()) == 1 + 6 * 2


def test_where_growth_is_in_doubt_sizes_are_differences(densities: Densities) -> None:
    """A ratio of growth rates means nothing there; elsewhere it is that of the sizes."""
    data = load_dataset("densing-published")
    study = study_of("densing-published", Length(), 1)
    spec = load_spec("trend_only")
    observed = observe(spec, data)
    plan = _Plan.of(study, spec, observed, ["quadratic"], None, 10)
    assert plan.date == "2024-03-16"
    for chance, expected in ((0.9, [None] * 6), (0.99, [1.0, 1.5, 2.0, 3.0, 5.0, 10.0])):
        growth = {"median": 0.4, "p_positive": chance}
        known = _Known(plan, {"growth_rate_per_year": growth}, None)
        sizes = known.sizes("quadratic")
        assert [factor for factor, _ in sizes] == expected
        assert sizes[0][1] == 0.0
    for factor, difference in sizes:
        before = 0.4 - difference / 2
        assert (before + difference) / before == pytest.approx(factor)
        assert known._factor("quadratic", difference) == pytest.approx(factor)
    assert known._factor("quadratic", 0.9) is None
    doubtful = _Known(plan, {"growth_rate_per_year": {"median": 0.4, "p_positive": 0.9}}, (2.0,))
    with pytest.raises(BayesdenseError, match="in doubt"):
        doubtful.sizes("quadratic")


def test_the_smallest_change_is_said_in_words() -> None:
    held = {"share": 0.4, "eti95": [0.25, 0.57]}
    sizes = [{"factor": None, "difference_per_year": 8.0, "rules": {"verdict": held}}]
    smallest = {"verdict": {"difference_per_year": None}, "probability": None}
    trend = {"trend": "quadratic", "sizes": sizes, "smallest": smallest}
    assert statement("mine", trend, "verdict").endswith(
        "no change up to 8 per year is found in 80% of cases (the largest in 40%, 95 % interval "
        "25% to 57%)."
    )
    assert "too few families" in statement("mine", trend, "probability")
    found = {"difference_per_year": 2.534, "factor": 3.97}
    said = statement("mine", trend | {"smallest": {"verdict": found}}, "verdict")
    assert "2.53 per year (3.97-fold) or more" in said


@pytest.mark.fit
def test_compare_reads_what_was_found_on_its_data(found: Power, folder: Path) -> None:
    read = read_power(folder / "power.json", load_dataset("densing-published"))
    assert read["trends"] == found.to_dict()["trends"]
    assert "dates" not in read["placebo"]
    with pytest.raises(BayesdenseError, match="not about densing-published-mmlu"):
        read_power(folder / "power.json", load_dataset("densing-published-mmlu"))


@pytest.mark.parametrize(
    ("text", "said"), [(None, "cannot be read"), ("{", "is no JSON"), ("{}", "no result of power")]
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "power.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(BayesdenseError, match=said):
        read_power(path, load_dataset("densing-published"))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"trends": ["logistic"]}, "no one parameter of change"),
        ({"trends": ["break_known@2022-11-30"]}, "families are released before 2022-11-30"),
        ({"date": "2025-12-01"}, "families are released before 2025-12-01"),
        ({"factors": [0.5]}, "allowed: numbers above 1"),
        ({"check": 99}, "allowed: 0 to 40"),
        ({"n": 0}, "allowed: 1 or more"),
        ({"spec": load_spec("trend_only").with_options(residual="student_t")}, "residual="),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(
    tmp_path: Path, how: dict[str, Any], said: str
) -> None:
    with pytest.raises(BayesdenseError, match=said):
        power("densing-published", out=tmp_path / "study", executor="serial", **how)
    assert not (tmp_path / "study").exists()


@pytest.mark.fit
def test_a_world_has_its_own_trend_and_the_data_s_shape(marginal_fit: Fit) -> None:
    data = observe(marginal_fit.spec, small_joint()[1])
    truth = truths_of(marginal_fit)[0]
    assert truth["growth_rate"]["dims"] == []
    rng = np.random.default_rng(2)
    made = world(truth, marginal_fit.spec, data, {"growth_rate": 25.0}, rng)
    assert made.joint.scores.logit_score.shape == data.joint.scores.logit_score.shape
    years = data.llms.years[data.joint.scores.llm_idx]
    late, early = (made.joint.scores.score[side].mean() for side in (years > 0.5, years < -0.5))
    assert late > early + 0.2
