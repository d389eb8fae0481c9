"""What growth leans on: power scaling and leaving out, against normal posteriors known exactly."""

import csv
import io
import json
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from arviz_stats.psense import psense as arviz_psense
from fake_fit import fake_fit
from program import hold, invoke
from scipy import stats

from bayesdense import derive
from bayesdense.checks.influence import influence
from bayesdense.checks.sensitivity import psense, sensitivity
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.inference import fit
from bayesdense.kinds import KINDS
from bayesdense.observations import observe
from bayesdense.prior_draws import used_priors
from bayesdense.prior_entries import PRIOR_GROUPS, prior_at, prior_entries, with_width
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.axes import cases_of

GROWTH = "trend.priors.growth_rate"


@dataclass(frozen=True)
class Normal:
    """Growth ~ Normal(prior), observed as Normal(growth, sd) by several families."""

    prior: tuple[float, float]
    data: np.ndarray
    sds: np.ndarray

    def posterior(self, a: float = 1.0, b: float = 1.0) -> tuple[float, float]:
        """Mean and sd with the prior to the power a, the likelihood to the power b."""
        weights = np.array([a / self.prior[1] ** 2, *(b / self.sds**2)])
        mean = weights @ np.array([self.prior[0], *self.data]) / weights.sum()
        return float(mean), float(weights.sum() ** -0.5)

    def distance(self, one: tuple[float, float]) -> float:
        """Cumulative Jensen-Shannon distance from the posterior, by quadrature."""
        mean, sd = self.posterior()
        x = np.linspace(mean - 9 * sd, mean + 9 * sd, 40_001)
        found = []
        for sign in (1, -1):  # distribution functions, then survival functions
            p, q = (stats.norm.cdf(sign * (x - m) / s) for m, s in ((mean, sd), one))
            m = 0.5 * (p + q)
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = np.nan_to_num(p * np.log2(p / m)) + np.nan_to_num(q * np.log2(q / m))
            # ArviZ's integrals end with the draws, as far out as 1 of 4,000 lies
            inside = np.abs(x - mean) < 3.5 * sd
            found.append(np.sqrt(terms[inside].sum() / (p + q)[inside].sum()))
        return max(found)

    def sensitivity(self, part: str) -> float:
        """Mean slope of the distance in log2 of the power, from .99 to 1.01."""
        powers = {"prior": lambda a: (a, 1.0), "likelihood": lambda a: (1.0, a)}[part]
        lower, upper = (self.distance(self.posterior(*powers(a))) for a in (0.99, 1.01))
        return 0.5 * (-lower / np.log2(0.99) + upper / np.log2(1.01))

    def fit(self, draws: int = 1000) -> Fit:
        """A fit of given densities whose growth has this posterior, draws as even as can be."""
        mean, sd = self.posterior()
        even = stats.norm.ppf((np.arange(4 * draws) + 0.5) / (4 * draws))
        growth = mean + sd * np.random.default_rng(5).permutation(even).reshape(4, draws)
        made = fake_fit(densities_only=True, draws=draws, growth_draws=growth)
        dims = ("chain", "draw")
        each = stats.norm.logpdf(growth[..., None], self.data, self.sds)
        tree = made.tree
        tree["log_prior"] = xr.DataTree(
            xr.Dataset({"growth_rate": (dims, stats.norm.logpdf(growth, *self.prior))})
        )
        labels = [f"unit-{k}" for k in range(len(self.data))]
        tree["log_likelihood"] = xr.DataTree(
            xr.Dataset(
                {name: ((*dims, f"{name}_obs"), each) for name in ("llm", "family")},
                coords={f"{name}_obs": labels for name in ("llm", "family")}
                | {name: made.posterior[name].to_numpy() for name in dims},
            )
        )
        return Fit(tree, made.spec)


def normal(prior: tuple[float, float], data: float, sd: float, n: int = 20) -> Normal:
    """Data of n families whose mean has an sd of its own."""
    spread = np.linspace(-1, 1, n) * sd
    return Normal(prior, data + spread, np.full(n, sd * np.sqrt(n)))


#: Prior and data: prior-data conflict, little data, much data.
CONFLICT = normal((0.0, 0.3), 1.2, 0.3)
WEAK = normal((0.0, 1.0), 1.0, 30.0)
STRONG = normal((0.0, 5.0), 2.0, 0.3)


@pytest.mark.parametrize("known", [CONFLICT, WEAK, STRONG], ids=["conflict", "weak", "strong"])
def test_power_scaling_finds_what_the_exact_posteriors_give(known: Normal) -> None:
    found = sensitivity(known.fit())
    (entry,) = found.entries
    for scaled, part in ((entry, "prior"), (found.likelihood, "likelihood")):
        assert scaled.sensitivity == pytest.approx(known.sensitivity(part), rel=0.1, abs=2e-3)
    (_, sd), (up, _), (down, _) = (known.posterior(2.0**power) for power in (0, 1e-4, -1e-4))
    assert entry.shift_in_sd == pytest.approx((up - down) / 2e-4 / sd, abs=0.02)
    assert (entry.name, entry.group) == (GROWTH, "trend")
    assert found.prior.sensitivity == found.groups[0].sensitivity == entry.sensitivity


def test_it_is_what_arviz_computes() -> None:
    made = fake_fit(draws=300)
    prior = made.posterior[["trend_intercept", "growth_rate", "score_ceiling", "residual_sd"]]
    made.tree["log_prior"] = xr.DataTree(-(prior**2))
    found = sensitivity(made)
    growth = derive.growth_rate(made).draws
    groups = {f"/{name}": made.group(name) for name in ("log_prior", "log_likelihood")}
    tree = xr.DataTree.from_dict({"/posterior": xr.Dataset({"growth": growth}), **groups})

    def known(group: str, names: list[str]) -> float:
        return float(arviz_psense(tree, group=group, group_var_names=names)["growth"])

    by_name = {part.name: part.sensitivity for part in (*found.entries, *found.groups)}
    assert by_name == pytest.approx(
        {
            "score_map.priors.score_ceiling": known("prior", ["score_ceiling"]),
            "map_ends": known("prior", ["score_ceiling"]),
            "residual.priors.residual_sd": known("prior", ["residual_sd"]),
            "density_noise": known("prior", ["residual_sd"]),
            "trend.priors.trend_intercept": known("prior", ["trend_intercept"]),
            GROWTH: known("prior", ["growth_rate"]),
            "trend": known("prior", ["trend_intercept", "growth_rate"]),
        },
        abs=1e-8,
    )
    parts = ["family", "losses", "loss_score"]  # not `llm` and `loss`, which do not multiply
    assert found.likelihood.sensitivity == pytest.approx(known("likelihood", parts))
    assert [part.name for part in found.likelihoods] == ["loss", "loss_score", "llm"]


@pytest.mark.parametrize(
    ("known", "status", "words"),
    [
        (CONFLICT, "review", "prior-data conflict"),
        (WEAK, "review", "weak likelihood"),
        (STRONG, "pass", "largest: trend.priors.growth_rate"),
    ],
    ids=["conflict", "weak", "strong"],
)
def test_a_prior_that_decides_is_named(known: Normal, status: str, words: str) -> None:
    made = known.fit()
    (found,) = psense(made)
    assert found.status == status, str(found)
    assert words in found.advice and GROWTH in found.advice
    assert ("bayesdense sweep" in found.advice) == (status == "review")
    if status == "review":
        command = shlex.split(found.advice.partition("how much: ")[2])
        assert command[-2:] == ["--axes", f"width@{GROWTH}"]


def test_a_fifth_of_an_sd_as_the_power_doubles_is_the_threshold() -> None:
    """As the reason that is printed beside it says: a prior far off, which hardly adds width."""
    far = normal((100.0, 22.0), 2.0, 1.0)
    (mean, sd), (moved, _) = far.posterior(), far.posterior(1.001)
    assert (moved - mean) / np.log2(1.001) / sd == pytest.approx(0.14, abs=0.01)
    assert far.sensitivity("prior") == pytest.approx(0.05 * 0.14 / 0.21, rel=0.1)


def test_entries_that_cancel_are_named_though_their_group_is_not() -> None:
    made = CONFLICT.fit()
    prior = made.group("log_prior")
    made.tree["log_prior"] = xr.DataTree(prior.assign(trend_intercept=-prior["growth_rate"]))
    found = sensitivity(made)
    assert found.groups[0].sensitivity == pytest.approx(0.0, abs=1e-9)
    assert {part.name for part in found.named} == {GROWTH, "trend.priors.trend_intercept"}


def test_a_group_of_small_entries_names_its_largest() -> None:
    made = CONFLICT.fit()
    whole = made.group("log_prior")["growth_rate"]
    shares = {"growth_rate": 0.15, "trend_intercept": 0.14}
    made.tree["log_prior"] = xr.DataTree(
        xr.Dataset({name: share * whole for name, share in shares.items()})
    )
    found = sensitivity(made)
    assert max(part.sensitivity for part in found.entries) < 0.05 < found.groups[0].sensitivity
    assert [part.name for part in found.named] == [GROWTH]
    assert next(psense(made)).status == "review"


def test_weights_that_fail_are_no_pass() -> None:
    """A log density with a tail so heavy that even its hundredth part has no finite variance."""
    made = STRONG.fit()
    heavy = np.random.default_rng(3).standard_exponential((4, 1000))
    made.tree["log_prior"] = xr.DataTree(
        made.group("log_prior").assign(trend_intercept=(("chain", "draw"), 150 * heavy))
    )
    (found,) = psense(made)
    assert (found.status, found.to_dict()["value"]) == ("review", None)
    assert "trend.priors.trend_intercept" in found.advice and "Pareto k" in found.advice


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: fake_fit(options={"feedback": "cut"}), "no one posterior"),
        (lambda: fake_fit(trend="flat"), "does not vary"),
    ],
    ids=["cut", "flat"],
)
def test_what_has_no_sensitivity_says_why(made: object, why: str) -> None:
    one = made()  # type: ignore[operator]
    for ask in (sensitivity, influence):
        with pytest.raises(BayesdenseError, match=why):
            ask(one)
    assert list(psense(one)) == []


def test_too_few_draws_are_unmeasured() -> None:
    (found,) = psense(STRONG.fit(draws=4))
    assert (found.status, found.value) == ("review", None)
    assert "25 of them or more" in found.advice


def test_a_stuck_chain_is_unmeasured() -> None:
    made = STRONG.fit()
    prior = made.group("log_prior").copy(deep=True)
    prior["growth_rate"][0] = float(prior["growth_rate"].max()) + 1.0
    made.tree["log_prior"] = xr.DataTree(prior)
    assert [found.status for found in psense(made)] == ["review"]


# ---------------------------------------------------------------- who is left out


@pytest.mark.parametrize("unit", ["llm", "family"])
def test_leaving_one_out_is_the_posterior_without_it(unit: str) -> None:
    known = normal((0.0, 5.0), 2.0, 0.3)
    made = known.fit(draws=4000)
    found = influence(made, unit).set_index("name")
    mean, sd = known.posterior()
    assert found["reliable"].all()
    for k in (0, 7, 19):
        rest = np.arange(20) != k
        exact, spread = Normal(known.prior, known.data[rest], known.sds[rest]).posterior()
        row = found.loc[f"unit-{k}"]
        assert row["growth_median"] == pytest.approx(exact, abs=0.005)
        assert row["growth_sd"] == pytest.approx(spread, rel=0.02)
        assert row["shift_in_sd"] == pytest.approx((exact - mean) / sd, abs=0.02)
    assert set(found.index[:2]) == {"unit-0", "unit-19"}


def test_a_unit_that_holds_the_answer_takes_a_refit() -> None:
    data, sds = np.array([2.0, *np.zeros(9)]), np.array([0.1, *np.ones(9)])
    found = influence(Normal((0.0, 5.0), data, sds).fit()).set_index("name")
    assert not found.loc["unit-0", "reliable"]
    assert found["reliable"].sum() == 9
    with pytest.raises(BayesdenseError, match="allowed: llm, family"):
        influence(STRONG.fit(), "maker")


# ---------------------------------------------------------------- entries and their widths


def _specs() -> dict[str, tuple[ModelSpec, str]]:
    joint, trend_only = load_spec("joint"), load_spec("trend_only")
    kinds = {
        f"{component}={kind}": (joint.with_options(**{component: kind}), "densing")
        for component, known in KINDS.items()
        for kind in known
        if component != "trend"
    }
    trends = {
        kind: (trend_only.with_options(trend=kind), "densing-published")
        for kind in KINDS["trend"]
        if kind not in ("break_known", "groups", "covariate")
    }
    return {**kinds, **trends, "scale": (joint.with_options(scale_trend=True), "densing")}


@pytest.mark.parametrize("name", list(_specs()))
def test_every_log_prior_is_one_entry_of_one_group(name: str) -> None:
    spec, dataset = _specs()[name]
    data = observe(spec, load_dataset(dataset))
    written = [variable for v, prior in used_priors(spec, data)
               for variable, _ in prior.top_level(v)]  # fmt: skip
    entries = {entry.variable: entry for entry in prior_entries(spec)}
    assert len(entries) == len(prior_entries(spec))
    assert set(written) <= set(entries)
    assert {entries[variable].group for variable in written} <= set(PRIOR_GROUPS)
    for variable in written:
        assert not prior_at(spec, entries[variable].path).is_hierarchical


def test_groups_are_about_what_they_say() -> None:
    found = {entry.variable: entry for entry in prior_entries(load_spec("joint"))}
    assert {entry.group for entry in found.values()} == set(PRIOR_GROUPS)
    assert found["token_exponent_sd"].path == "loss_law.priors.token_exponent.kwargs.sigma"
    assert found["token_exponent_sd"].group == "law_exponents"
    assert found["score_ceiling"].group == "map_ends" != found["score_slope_mean"].group
    assert found["residual_sd"].group == found["family_sd"].group


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_every_entry_has_a_width_or_says_that_it_has_none(factor: float) -> None:
    spec = load_spec("joint")
    without = set()
    for entry in prior_entries(spec):
        try:
            other = with_width(spec, entry.path, factor)
        except SpecError as error:
            assert "no width of its own" in str(error)
            without.add(entry.path)
            continue
        before, after = (prior_at(one, entry.path) for one in (spec, other))
        assert (after.dist, after.scale) == (before.dist, before.scale)
        assert after != before
        changed = {e.path for e in prior_entries(spec) if prior_at(other, e.path) != prior_at(spec, e.path)}  # noqa: E501 # fmt: skip
        assert changed == {entry.path}
    assert without == {"score_map.priors.score_floor"}  # which the dataset gives


def test_a_beta_keeps_its_mode_and_changes_its_width() -> None:
    spec, path = load_spec("joint"), "score_map.priors.score_ceiling"
    sds, modes = [], []
    for factor in (0.5, 1.0, 2.0):
        kwargs = prior_at(with_width(spec, path, factor), path).kwargs
        a, b = float(str(kwargs["alpha"])), float(str(kwargs["beta"]))
        sds.append(stats.beta.std(a, b))
        modes.append((a - 1) / (a + b - 2))
    np.testing.assert_allclose(modes, 29 / 30)
    assert 1.5 < sds[1] / sds[0] < 2.5 and 1.5 < sds[2] / sds[1] < 3.0


def test_a_width_is_an_axis() -> None:
    spec, densing = load_spec("joint"), load_dataset("densing")
    _, half, double = cases_of(spec, densing, [f"width@{GROWTH}"])
    assert (half.value, double.value) == ("half", "double")
    assert str(half.spec.prior("trend", "growth_rate")) == "Normal(mu=0, sigma=1)"
    assert double.note == f"{GROWTH} ~ Normal(mu=0, sigma=4)"
    for case in cases_of(spec, densing, ["width@score_map.priors.score_floor"])[1:]:
        assert "no width of its own" in case.missing
    with pytest.raises(SpecError, match=f"did you mean '{GROWTH}'"):
        cases_of(spec, densing, ["width@trend.priors.growth_rat"])
    with pytest.raises(BayesdenseError, match="no axis 'widths'"):
        cases_of(spec, densing, ["widths"])


# ---------------------------------------------------------------- the verb


@pytest.mark.parametrize("form", ["table", "json", "csv"])
@pytest.mark.parametrize("known", [CONFLICT, STRONG], ids=["conflict", "strong"])
def test_the_verb_says_it_in_three_forms(
    form: str,
    known: Normal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = known.fit().save(tmp_path / "fit")
    status, out, err = invoke(
        monkeypatch, capsys, "check", folder, "--sensitivity", "--format", form
    )
    assert (status, err) == (0, "")
    if form == "json":
        payload = json.loads(out)
        hold(payload, "sensitivity")
        named = [GROWTH] if known is CONFLICT else []
        assert payload["power_scaling"]["named"] == named
        assert len(payload["influence"]["family"]) == 20
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(out)))
        assert {row["kind"] for row in rows} >= {"group", "entry", "without llm"}
        assert all(row["sensitivity"] or row["growth_median"] for row in rows)
    else:
        assert ("prior-data conflict" in out) == (known is CONFLICT)
        assert max(map(len, out.splitlines())) <= 80


# ---------------------------------------------------------------- real fits


@pytest.mark.fit
@pytest.mark.parametrize(
    ("sigma", "status"), [(0.15, "review"), (50.0, "pass")], ids=["prior", "data"]
)
def test_a_fit_that_its_prior_decides_is_reviewed(sigma: float, status: str) -> None:
    """The growth of published densities is 1.8 per year, sd .3, whatever a wide prior."""
    entry = f"{GROWTH}.kwargs.sigma"
    spec = load_spec("trend_only").with_options(**{entry: sigma})
    fitted = fit(spec, load_dataset("densing-published"), draws=500, tune=300, seed=8)
    (found,) = psense(fitted)
    assert found.status == status, str(found)
    if status == "review":
        assert f"growth leans on {GROWTH}" in found.advice and "conflict" in found.advice
        command = shlex.split(found.advice.partition("how much: ")[2])
        overrides = [word for before, word in pairwise(command) if before == "--set"]
        assert load_spec("trend_only").with_overrides(overrides) == spec
