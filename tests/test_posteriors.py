"""One posterior by every way to it: both implementations, every sampler.

The full comparison takes an hour: `pytest tests/test_posteriors.py --run-slow`. Its pairs of fits
are files: with `--studies docs/evidence` those that are there are judged, and the others run.
"""

from importlib.util import find_spec
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from modelling import missing_numbers

from bayesdense.checks import check
from bayesdense.dataset import load_dataset
from bayesdense.errors import SpecError
from bayesdense.inference import fit
from bayesdense.results import Fit
from bayesdense.spec import load_spec
from bayesdense.studies import agreement
from bayesdense.studies.agreement import bound_of, differences, thinned

NUMPYRO = pytest.param(
    "numpyro",
    marks=pytest.mark.skipif(
        find_spec("numpyro") is None, reason="numpyro is not installed: uv sync --extra numpyro"
    ),
)


def worst(z: pd.DataFrame) -> str:
    """Name the largest difference."""
    row, column = z.abs().stack().idxmax()
    return f"{column} of {row}: z = {z.loc[row, column]:.2f}, bound {bound_of(z):.2f}"


# ---------------------------------------------------------------- the judge


def sample(seed: int, shift: float = 0.0, spread: float = 1.0) -> xr.Dataset:
    """Autocorrelated normal draws of a scalar and a vector."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(4, 1000, 4))
    for t in range(1, 1000):
        noise[:, t] = 0.5 * noise[:, t - 1] + np.sqrt(0.75) * noise[:, t]
    noise[..., 2] = shift + spread * noise[..., 2]
    return xr.Dataset(
        {"growth_rate": (("chain", "draw"), noise[..., 0]),
         "loss_floor": (("chain", "draw", "benchmark"), noise[..., 1:])},
        coords={"benchmark": ["MMLU", "BBH", "MATH"]},
    )  # fmt: skip


def test_samples_of_one_posterior_agree() -> None:
    found = [differences(sample(2 * k), sample(2 * k + 1)) for k in range(20)]
    assert sum(bool((z.abs() > bound_of(z)).any(axis=None)) for z in found) <= 1
    together = pd.concat(found)
    assert list(together) == ["mean", "q05", "q95"]
    np.testing.assert_allclose(np.sqrt((together**2).mean()), 1.0, atol=0.25)


@pytest.mark.parametrize(
    ("fault", "column"), [({"shift": 0.3}, "mean"), ({"spread": 1.3}, "q95")], ids=str
)
def test_samples_of_two_posteriors_differ(fault: dict[str, float], column: str) -> None:
    z = differences(sample(1), sample(2, **fault))
    assert list(z.index) == ["growth_rate", *(f"loss_floor[{j}]" for j in ("MMLU", "BBH", "MATH"))]
    assert abs(z.loc["loss_floor[BBH]", column]) > bound_of(z)
    others = z.drop("loss_floor[BBH]")
    assert (others.abs() < bound_of(z)).all(axis=None)


def test_samples_of_other_models_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"of one sample only: \{'loss_floor'\}"):
        differences(sample(1), sample(2)[["growth_rate"]])


def test_thinned_data_hold_what_is_asked_for() -> None:
    small = thinned(load_dataset("densing"), 12, ("MMLU",))
    assert len(small.llms) == 12 and small.llms["is_base"].all()
    for table in ("benchmarks", "runs", "loss_scores", "scores", "score_reports"):
        assert set(getattr(small, table)["benchmark"]) == {"MMLU"}, table
    assert set(small.scores["llm"]) == set(small.llms["llm"]) >= set(small.score_reports["llm"])
    dates = small.llms["release_date"]
    assert dates.is_monotonic_increasing and (dates.max() - dates.min()).days > 700
    with pytest.raises(ValueError, match="only a dataset with reference runs and scores"):
        thinned(load_dataset("densing-published"), 12, ("MMLU",))


# ---------------------------------------------------------------- two implementations


@pytest.mark.fit
def test_latent_and_marginal_give_one_posterior(marginal_fit: Fit, latent_fit: Fit) -> None:
    """Parameters, family effects and sizes: those drawn back are those sampled."""
    z = differences(marginal_fit.posterior, latent_fit.posterior)
    assert len(z) > 60 and z.index.str.startswith("log_effective_params[").sum() == 20
    assert (z.abs() < bound_of(z, 1e-3)).all(axis=None), worst(z)
    assert (np.sqrt((z**2).mean()) < 1.6).all(), "differences add up: too many, if none too large"


@pytest.mark.fit
def test_latent_and_marginal_fits_hold_the_same(marginal_fit: Fit, latent_fit: Fit) -> None:
    assert set(marginal_fit.tree.children) == {*latent_fit.tree.children, "quadrature"}
    assert dict(latent_fit.posterior.sizes) == dict(marginal_fit.posterior.sizes)
    assert missing_numbers(latent_fit) == []
    assert check(latent_fit).max_rhat < 1.05


# ---------------------------------------------------------------- every sampler


@pytest.fixture(scope="module")
def published() -> Fit:
    return published_by("nutpie", seed=1)


def published_by(sampler: str, seed: int) -> Fit:
    size = {"draws": 1000, "tune": 500, "chains": 2, "cores": 1}
    return fit(
        load_spec("trend_only"),
        load_dataset("densing-published"),
        sampler=sampler,
        seed=seed,
        **size,  # type: ignore[arg-type]
    )


@pytest.mark.fit
@pytest.mark.parametrize("sampler", ["pymc", NUMPYRO])
def test_other_samplers_give_the_same_fit(sampler: str, published: Fit) -> None:
    other = published_by(sampler, seed=2)
    assert other.tree.attrs["sampler"] == sampler
    assert set(other.tree.children) == set(published.tree.children)
    assert dict(other.posterior.sizes) == dict(published.posterior.sizes)
    assert {"diverging", "energy"} <= set(other.group("sample_stats"))
    names = ["trend_intercept", "growth_rate", "family_sd", "residual_sd"]
    rhat = az.rhat(other.posterior[names])
    assert max(float(rhat[name]) for name in names) < 1.05
    z = differences(published.posterior, other.posterior)
    assert (z.abs() < bound_of(z, 1e-3)).all(axis=None), worst(z)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "name",
    [
        *agreement.IMPLEMENTATIONS,
        *(
            pytest.param(name, marks=NUMPYRO.marks if "numpyro" in job.ways else ())
            for name, job in agreement.SAMPLERS.items()
        ),
    ],
)
def test_two_ways_agree(name: str, studies: Path) -> None:
    """On a ladder in natural parameters the loss law is a curved ridge: other samplers are slow."""
    (job,) = agreement.run_study([name], studies / "agreement")
    assert all(r < 1.05 for of in job["max_rhat"].values() for r in of.values())  # type: ignore[attr-defined]
    z = pd.DataFrame(job["z"]).T
    assert z.size == job["n_comparisons"]
    assert (z.abs() < job["bound"]).all(axis=None), job["largest"]  # type: ignore[operator]
    assert (np.sqrt((z**2).mean()) < 1.6).all()


def test_a_sampler_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SpecError, match=r"numpyro is not installed: pip install 'bayesdense\["):
        fit(load_spec("trend_only"), load_dataset("densing-published"), sampler="numpyro")
