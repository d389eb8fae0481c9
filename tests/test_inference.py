"""Small fits of real data, end to end: what a fit holds, and what options make of it."""

import json
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path

import arviz as az
import numpy as np
import pytest
import xarray as xr
from modelling import missing_numbers, small_joint
from scipy import stats

import bayesdense as bd
from bayesdense.checks import check
from bayesdense.dataset import load_dataset
from bayesdense.engine import cut as two_stages
from bayesdense.errors import SpecError
from bayesdense.inference import fit, prepare
from bayesdense.observations import observe
from bayesdense.results import Fit, load_fit
from bayesdense.spec import load_spec

pytestmark = pytest.mark.fit

SPEC, SMALL = small_joint()
#: Enough to see that all comes together.
SIZE = {"draws": 200, "tune": 200, "chains": 2, "seed": 3}
GLOBALS = ("trend_intercept", "growth_rate", "residual_sd", "family_sd")


def fitted(**options: object) -> Fit:
    return fit(SPEC.with_options(**options), SMALL, **SIZE)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def composed() -> Fit:
    return fitted(residual="composed", scale_trend=True, calibration="fit")


@pytest.fixture(scope="module")
def published() -> Fit:
    return of_densities()


def of_densities(**options: object) -> Fit:
    spec = load_spec("trend_only").with_options(**options)
    return fit(spec, load_dataset("densing-published"), draws=500, tune=200, chains=2, seed=3)


@pytest.fixture(scope="module")
def cut() -> Iterator[Fit]:
    with pytest.MonkeyPatch.context() as patch:
        # A few of the thinned draws: enough to see that all comes together.
        for name, value in (("_POINTS", 5), ("_TUNE", 200), ("_DRAWS", 250)):
            patch.setattr(two_stages, name, value)
        yield fitted(feedback="cut")


def posterior(fit: Fit) -> xr.Dataset:
    return fit.tree["posterior"].to_dataset()


# ---------------------------------------------------------------- an exact posterior


def test_published_densities_by_brute_force(published: Fit) -> None:
    """Given the two sds the trend is conjugate; a grid over the sds does the rest."""
    data = observe(load_spec("trend_only"), load_dataset("densing-published"))
    assert data.densities is not None
    y, t = data.densities.log_density, data.llms.years
    design = np.column_stack([np.ones_like(t), t])
    same = (data.llms.family_idx[:, None] == data.llms.family_idx).astype(float)
    family_sd, residual_sd = np.linspace(0.005, 3.0, 60), np.linspace(0.05, 2.0, 60)
    log_weight, moments = np.empty((60, 60)), np.empty((60, 60, 2))
    prior = np.diag([4.0, 4.0])
    for i, f in enumerate(family_sd):
        for j, r in enumerate(residual_sd):
            noise = r**2 * np.eye(len(y)) + f**2 * same
            total = noise + design @ prior @ design.T
            log_weight[i, j] = (
                stats.multivariate_normal.logpdf(y, np.zeros(len(y)), total)
                + stats.halfnorm.logpdf(f)
                + stats.lognorm.logpdf(r, 0.5, scale=np.exp(-0.2))
            )
            gain = prior @ design.T @ np.linalg.inv(total)
            moments[i, j] = (gain @ y)[1], (prior - gain @ design @ prior)[1, 1]
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean = float((weight * moments[..., 0]).sum())
    var = float((weight * (moments[..., 1] + moments[..., 0] ** 2)).sum()) - mean**2
    draws = posterior(published)
    expected = {
        "growth_rate": (mean, np.sqrt(var)),
        "family_sd": moments_of(weight.sum(axis=1), family_sd),
        "residual_sd": moments_of(weight.sum(axis=0), residual_sd),
    }
    for name, (centre, sd) in expected.items():
        mcse = float(az.mcse(draws[[name]], method="mean")[name])
        assert float(draws[name].mean()) == pytest.approx(centre, abs=4 * mcse), name
        assert float(draws[name].std()) == pytest.approx(sd, rel=0.15), name


def moments_of(weight: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    mean = float(weight @ values)
    return mean, float(np.sqrt(weight @ values**2 - mean**2))


# ---------------------------------------------------------------- what a fit holds

GROUPS = {
    "posterior", "sample_stats", "log_likelihood", "log_prior", "prior", "prior_predictive",
    "posterior_predictive", "observed_data", "constant_data", "llm_bounds", "loo_pit",
}  # fmt: skip


@pytest.mark.parametrize("name", ["marginal_fit", "composed"])
def test_every_group_is_there_without_a_nan(name: str, request: pytest.FixtureRequest) -> None:
    fit: Fit = request.getfixturevalue(name)
    assert set(fit.tree.children) >= GROUPS
    assert "quadrature" in fit.tree.children
    assert ("heldout" in fit.tree.children) == (name == "composed")
    assert missing_numbers(fit) == []


def test_dims_and_units_of_a_joint_fit(marginal_fit: Fit) -> None:
    draws = posterior(marginal_fit)
    n = {"chain": 2, "draw": 500, "llm": 20, "benchmark": 2, "family": draws.sizes["family"]}
    assert dict(draws.sizes) == n
    assert list(draws["benchmark"].values) == ["MMLU", "BBH"]
    assert list(draws["llm"].values) == SMALL.llms["llm"].tolist()
    own = {"growth_rate": (), "loss_floor": ("benchmark",), "family_effect": ("family",),
           "log_density": ("llm",), "log_effective_params": ("llm",)}  # fmt: skip
    for name, dims in own.items():
        assert draws[name].dims == ("chain", "draw", *dims)
    assert all(draws[name].attrs["units"] for name in draws)
    assert draws["growth_rate"].attrs["units"] == "1/year"
    difference = draws["log_effective_params"] - draws["log_density"]
    assert float(difference.std(("chain", "draw")).max()) < 1e-9
    constant = marginal_fit.tree["constant_data"].to_dataset()
    np.testing.assert_allclose(
        np.log(constant["n_params"]), difference.isel(chain=0, draw=0), rtol=1e-12
    )


def test_log_likelihoods_are_of_llms_and_families(marginal_fit: Fit) -> None:
    group = marginal_fit.tree["log_likelihood"].to_dataset()
    assert group["llm"].dims == ("chain", "draw", "llm_obs") and group.sizes["llm_obs"] == 20
    assert group.sizes["family_obs"] == posterior(marginal_fit).sizes["family"]
    sizes = constant_family_sizes(marginal_fit)
    alone = [k for k, count in enumerate(sizes) if count == 1]
    family_idx = marginal_fit.tree["constant_data"]["family_idx"].values
    for k in alone[:3]:
        (i,) = np.flatnonzero(family_idx == k)
        np.testing.assert_allclose(
            group["llm"].values[..., i], group["family"].values[..., k], atol=1e-6
        )


def constant_family_sizes(fit: Fit) -> np.ndarray:
    return np.bincount(fit.tree["constant_data"]["family_idx"].values)


def test_arviz_reads_the_tree(marginal_fit: Fit) -> None:
    with warnings.catch_warnings():
        # A tenth of the usual draws: some Pareto k may be high, which is not the point here.
        warnings.simplefilter("ignore", UserWarning)
        loo = az.loo(marginal_fit.tree, var_name="family")
    assert np.isfinite(loo.elpd)
    table = az.summary(marginal_fit.tree, var_names=list(GLOBALS), ci_kind="eti", ci_prob=0.95)
    assert list(table.index) == list(GLOBALS)
    everything = az.summary(marginal_fit.tree, kind="stats").index
    first = marginal_fit.posterior["llm"].values[0]
    assert {"growth_rate", f"log_density[{first}]"} <= set(everything)


@pytest.mark.parametrize(("draws", "chains"), [(4, 1), (4, 4), (25, 1)])
@pytest.mark.parametrize("joint", [True, False], ids=["joint", "densities"])
def test_few_draws_are_judged_and_saved(
    joint: bool, draws: int, chains: int, tmp_path: Path
) -> None:
    """Too few for any diagnostic: a verdict all the same, and nothing lost."""
    spec, dataset = SPEC, SMALL
    if not joint:
        spec, dataset = load_spec("trend_only"), load_dataset("densing-published")
    few = fit(spec, dataset, draws=draws, chains=chains, tune=10)
    checks = check(few)
    assert checks.status == "fail"
    few.save(tmp_path / "few")
    assert load_fit(tmp_path / "few").posterior.sizes["draw"] == draws


def test_one_llm_alone_has_no_scatter_to_check(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('title = "one LLM"\n')
    (tmp_path / "densities.csv").write_text("llm,release_date,density\nA,2024-01-01,1.2\n")
    alone = fit(load_spec("trend_only"), load_dataset(tmp_path), draws=100, chains=2, tune=100)
    names = {item.name for item in check(alone).items}
    assert "ppc_density_largest" in names and "ppc_density_sd" not in names


def test_attributes_say_what_was_fitted(marginal_fit: Fit) -> None:
    attrs = marginal_fit.tree.attrs
    about = json.loads(attrs["dataset"])
    assert about["name"] == "densing" and about["n_llms"] == 20
    assert attrs["seed"] == 3 and attrs["sampler"] == "nutpie" and attrs["schema"] == 1
    assert json.loads(attrs["spec"])["options"]["reference_tokens"] == 5e12
    assert attrs["spec_digest"] == marginal_fit.spec.digest
    versions = json.loads(attrs["versions"])
    assert {"bayesdense", "pymc", "nutpie", "numpy", "scipy", "pandas"} <= set(versions)
    assert versions["python"] == platform.python_version()
    timings = json.loads(attrs["timings_s"])
    assert {"build", "compile", "sample", "derive"} <= set(timings)
    assert all(seconds >= 0 for seconds in timings.values())
    assert attrs["time_origin"] == observe(SPEC, SMALL).llms.time_origin
    assert isinstance(json.loads(attrs["dataset_warnings"]), list)


@pytest.mark.parametrize("name", ["marginal_fit", "published", "cut"])
def test_a_fit_is_saved_and_loaded_whole(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    fit: Fit = request.getfixturevalue(name)
    fit.save(tmp_path / "fit")
    again = bd.load_fit(tmp_path / "fit")
    assert again.spec == fit.spec
    assert set(again.tree.children) == set(fit.tree.children)
    for group in fit.tree.children:
        xr.testing.assert_identical(
            again.tree[group].to_dataset().drop_attrs(), fit.tree[group].to_dataset().drop_attrs()
        )
    assert dict(again.tree.attrs) == dict(fit.tree.attrs)


@pytest.mark.parametrize("name", ["marginal_fit", "composed", "published", "cut"])
def test_checks_run(name: str, request: pytest.FixtureRequest) -> None:
    fit: Fit = request.getfixturevalue(name)
    checks = bd.check(fit)
    assert checks.items and checks.status in {"pass", "review", "fail"}
    assert checks.divergences <= 10
    # so few draws, or in a cut many runs of two short chains, cannot show less
    assert checks.max_rhat < (1.1 if name in {"cut", "composed"} else 1.05)
    summary = bd.summarize(fit, checks)
    json.dumps(summary, allow_nan=False)


# ---------------------------------------------------------------- options


def test_composed_has_a_frontier_and_predicts_what_was_held_out(composed: Fit) -> None:
    draws = posterior(composed)
    assert {"one_sided_sd", "residual_log_sd_slope"} <= set(draws)
    assert (draws["one_sided_sd"] > 0).all()
    held_out = composed.tree["heldout"].to_dataset()
    assert held_out.sizes["heldout_obs"] == (SMALL.loss_scores["role"] == "heldout").sum() > 0
    spread = held_out["logit_score_rep"].quantile([0.001, 0.999], ("chain", "draw"))
    inside = (held_out["logit_score"] > spread[0]) & (held_out["logit_score"] < spread[1])
    assert inside.mean() >= 0.75


def test_student_t_on_published_densities(published: Fit) -> None:
    heavy = of_densities(residual="student_t")
    draws = posterior(heavy)
    assert (draws["residual_df"] > 0).all()
    growth = [float(posterior(f)["growth_rate"].mean()) for f in (heavy, published)]
    assert growth[0] == pytest.approx(growth[1], abs=0.5)
    assert np.isfinite(heavy.tree["log_likelihood"]["llm"]).all()


def test_cut_keeps_law_and_map_from_the_scores(cut: Fit) -> None:
    assert "log_likelihood" not in cut.tree.children and "log_prior" not in cut.tree.children
    stages = cut.tree["stages"].to_dataset()
    assert list(stages["stage"].values) == ["reference", "trend"]
    assert (stages["max_rhat"] < 1.1).all() and (stages["min_ess_bulk"] > 20).all()
    assert list(stages["n_draws"].values) == [2 * 200, 2 * 250 * 5]
    draws = posterior(cut)
    # Pooled draws are no chains: one row leaves no R-hat to take, and sampler statistics are of
    # other draws, those of the first stage.
    assert dict(draws.sizes)["chain"] == 1 and dict(draws.sizes)["draw"] == 2 * 200
    assert np.isnan(az.rhat(draws[["growth_rate"]])["growth_rate"])
    assert dict(cut.tree["sample_stats"].sizes) == {"reference_chain": 2, "reference_draw": 200}
    assert {"growth_rate", "loss_floor", "discrepancy_sd", "log_density"} <= set(draws)
    laws = {tuple(row) for row in draws["loss_floor"].values.reshape(-1, 2)}
    assert len(laws) == 5, "every law drawn is held while the rest is sampled"
    assert len(np.unique(draws["growth_rate"])) > 200


def test_the_seed_gives_the_same_fit(published: Fit) -> None:
    again = of_densities()
    for group in ("posterior", "prior_predictive", "posterior_predictive"):
        xr.testing.assert_identical(
            again.tree[group].to_dataset(), published.tree[group].to_dataset()
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": 3}, "draws = 3, allowed: a whole number from 4 to 100000"),
        ({"tune": 0}, "tune = 0, allowed: a whole number from 1"),
        ({"chains": 0}, "chains = 0"),
        ({"chains": 2000}, "chains = 2000, allowed: a whole number from 1 to 1000"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**64}, "seed = 18446744073709551616, allowed: a whole number"),
        ({"draws": 10.5}, "draws = 10.5, allowed: a whole number"),
        ({"seed": None}, "seed = None, allowed: a whole number"),
        ({"seed": True}, "seed = True, allowed: a whole number"),
        ({"draws": 50_000}, r"draws \* chains = 200000, allowed: 100000 or fewer"),
        ({"sampler": "stan"}, "sampler = 'stan', allowed: nutpie, pymc, numpyro"),
    ],
)
def test_what_cannot_be_sampled_is_refused_at_once(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        fit(SPEC, SMALL, **changes)  # type: ignore[arg-type]


def test_names_are_for_the_loaders() -> None:
    with pytest.raises(SpecError, match="spec = 'joint', allowed: a model, as load_spec returns"):
        fit("joint", SMALL)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="dataset = 'densing', allowed: a dataset, as load_dataset"):
        prepare(SPEC, "densing")  # type: ignore[arg-type]


def test_a_cut_needs_this_sampler() -> None:
    with pytest.raises(SpecError, match='feedback = "cut" needs sampler = "nutpie"'):
        fit(SPEC.with_options(feedback="cut"), SMALL, sampler="pymc")
