"""Sequential Monte Carlo on trends alone, against quadrature; chains that disagree have failed."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from exact_evidence import exact_log_ml
from modelling import PLAIN
from scipy import stats

from bayesdense.comparison import smc as module
from bayesdense.comparison.smc import MOST_SPREAD, can_run, family_log_density, smc, trend_model
from bayesdense.dataset import load_dataset
from bayesdense.errors import SpecError
from bayesdense.observations import Observations, observe
from bayesdense.spec import ModelSpec, load_spec


def published(**options: object) -> tuple[ModelSpec, Observations]:
    spec = load_spec("trend_only").with_options(**options)
    return spec, observe(spec, load_dataset("densing-published"))


@pytest.mark.fit
@pytest.mark.parametrize("trend", ["exponential", "flat"])
def test_trend_only_is_what_quadrature_says(trend: str) -> None:
    spec, data = published(trend=trend)
    found, known = smc(spec, data, seed=2), exact_log_ml(spec, data)
    print(f"SMC {found}, quadrature {known:.3f}")
    assert found.log_ml is not None
    assert abs(found.log_ml - known) < max(4 * found.se, 0.1)
    assert found.spread < MOST_SPREAD


def test_family_effects_are_integrated_out() -> None:
    rng = np.random.default_rng(3)
    member = np.eye(3)[[0, 0, 1, 2, 2, 2, 0]]
    value, mean, var = rng.normal(size=7), rng.normal(size=7), rng.uniform(0.2, 2, 7)
    names = ("value", "mean", "var", "family_sd", "member")
    inputs = [pm.math.constant(np.asarray(x)) for x in (value, mean, var, 0.8, member)]
    found = pm.compile([], family_log_density(*inputs), mode=PLAIN)()
    known = stats.multivariate_normal(mean, np.diag(var) + 0.64 * member @ member.T).logpdf(value)
    assert len(names) == len(inputs)
    assert found == pytest.approx(known, rel=1e-10)


@pytest.mark.parametrize(
    "options", [{}, {"family": "none"}, {"scale_trend": True}, {"trend": "flat"}]
)
def test_the_model_is_that_of_the_fit(options: dict[str, object]) -> None:
    """Same parameters, but for the effects of families."""
    spec, data = published(**options)
    names = {rv.name for rv in trend_model(spec, data).free_RVs}
    of_options = {"residual_log_sd_slope"} if options.get("scale_trend") else set()
    of_trend = {"trend_intercept"} | (set() if spec.trend == "flat" else {"growth_rate"})
    of_family = set() if options.get("family") == "none" else {"family_sd"}
    assert names == {"residual_sd"} | of_options | of_trend | of_family


def test_other_models_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, data = published(residual="student_t")
    assert not can_run(spec)
    with pytest.raises(SpecError, match="symmetric residual"):
        smc(spec, data, seed=1)
    assert not can_run(load_spec("joint"))
    spec, data = published()
    with pytest.raises(SpecError, match="chains = 3"):
        smc(spec, data, seed=1, chains=3)
    monkeypatch.setattr(module, "MOST_PARAMETERS", 3)
    with pytest.raises(SpecError, match="3 parameters at most"):
        smc(spec, data, seed=1)


@pytest.mark.parametrize(
    ("last", "failed"),
    [((-5.0, -5.1, -5.2, -5.3), False), ((-5.0, -5.1, -5.2, -5.6), True), ((-5.0, np.nan), True)],
)
def test_chains_that_disagree_have_failed(
    last: tuple[float, ...], failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, data = published()
    stages = np.array([[-2.0, -4.0, value] for value in last])
    if failed and len(last) == 2:
        stages[1] = np.nan
    stats_group = xr.Dataset({"log_marginal_likelihood": (("chain", "stage"), stages)})
    tree = xr.DataTree.from_dict({"/sample_stats": stats_group})
    monkeypatch.setattr(pm, "sample_smc", lambda **_: tree)
    found = smc(spec, data, seed=1)
    assert (found.log_ml is None) == failed
    if not failed:
        assert found.log_ml == pytest.approx(np.mean(last))
        assert found.spread == pytest.approx(0.3)
        assert found.se == pytest.approx(np.std(last, ddof=1) / 2)
