"""Leaving one out by family and LLM; errors clustered by family; stacking."""

from dataclasses import replace

import numpy as np
import pytest
from arviz_stats import compare, loo
from hypothesis import given
from hypothesis import strategies as st

from bayesdense.comparison.pointwise import (
    Pointwise,
    clustered_error,
    difference,
    families_of_llms,
    leave_one_out,
    stacking_weights,
    with_refits,
)
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError
from bayesdense.inference import fit
from bayesdense.results import Fit
from bayesdense.spec import load_spec


@pytest.fixture(scope="module")
def fits() -> dict[str, Fit]:
    dataset, spec = load_dataset("densing-published"), load_spec("trend_only")
    return {
        name: fit(spec.with_options(trend=name), dataset, draws=400, tune=200, seed=8)
        for name in ("exponential", "flat")
    }


def made(elpd: np.ndarray, families: str | None = None, k: float = 0.1) -> Pointwise:
    labels = tuple(f"unit {i}" for i in range(len(elpd)))
    return Pointwise(labels, tuple(families or labels), elpd, np.full(len(elpd), k), 0.7)


@pytest.mark.fit
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
@pytest.mark.parametrize("unit", ["family", "llm"])
def test_totals_are_those_of_arviz(fits: dict[str, Fit], unit: str) -> None:
    found = leave_one_out(fits["exponential"], unit)  # type: ignore[arg-type]
    known = loo(fits["exponential"].tree, var_name=unit, pointwise=True)
    assert found.total == pytest.approx(known.elpd)
    assert found.good_k == known.good_k
    dataset = load_dataset("densing-published").densities
    assert dataset is not None
    if unit == "family":
        assert found.labels == found.families == tuple(dict.fromkeys(dataset["family"]))
        assert found.se == pytest.approx(known.se)
    else:
        assert found.labels == tuple(dataset["llm"])
        assert found.families == tuple(dataset["family"])
        assert families_of_llms(fits["exponential"]) == found.families


@pytest.mark.fit
def test_growth_predicts_families_that_were_not_seen(fits: dict[str, Fit]) -> None:
    pair = {name: leave_one_out(one, "family") for name, one in fits.items()}
    found = difference(pair["exponential"], pair["flat"])
    assert found.elpd_diff > 4
    assert found.elpd_diff > 2 * found.se
    assert stacking_weights(pair)["exponential"] > 0.9


def test_errors_are_those_of_sums_over_families() -> None:
    values = np.array([1.0, 2.0, -1.0, 0.5, 4.0])
    sums = np.array([3.0, -0.5, 4.0])
    assert clustered_error(values, tuple("aabbc")) == pytest.approx(np.sqrt(3 * sums.var(ddof=1)))
    assert clustered_error(values, tuple("aaaaa")) == np.inf


@given(shift=st.floats(-5, 5), seed=st.integers(0, 100))
def test_differences_are_antisymmetric_and_know_no_shared_part(shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=12)
    a, b = (made(common + rng.normal(size=12), "aabbccddeeff") for _ in range(2))
    there, back = difference(a, b), difference(b, a)
    assert there.elpd_diff == pytest.approx(-back.elpd_diff)
    assert there.se == pytest.approx(back.se)
    moved = [replace(one, elpd=one.elpd + shift * common) for one in (a, b)]
    assert difference(*moved).se == pytest.approx(there.se)
    assert there.elpd_diff == pytest.approx(a.total - b.total)


def test_other_units_are_refused() -> None:
    a, b = made(np.zeros(4), "aabb"), made(np.zeros(4), "abab")
    with pytest.raises(BayesdenseError, match="other units"):
        difference(a, b)
    with pytest.raises(BayesdenseError, match="other units"):
        stacking_weights({"a": a, "b": b})


def test_only_failed_units_are_refitted() -> None:
    found = made(np.arange(4.0))
    found = replace(found, pareto_k=np.array([0.2, 0.9, np.nan, 0.7]))
    asked: list[str] = []

    def refit(label: str) -> float | None:
        asked.append(label)
        return -7.0 if label == "unit 1" else None

    exact = with_refits(found, refit)
    assert asked == list(found.failed) == ["unit 1", "unit 2"]
    assert exact.elpd.tolist() == [0.0, -7.0, 2.0, 3.0]
    assert exact.failed == ("unit 2",)
    assert found.elpd.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_weights_are_those_of_a_search_over_all_weights() -> None:
    rng = np.random.default_rng(9)
    pair = {name: made(rng.normal(0, 1, 40) - 700) for name in ("a", "b")}
    weights = stacking_weights(pair)
    grid = np.linspace(0, 1, 2001)
    a, b = (np.exp(found.elpd + 700) for found in pair.values())
    scores = np.log(grid[:, None] * a + (1 - grid[:, None]) * b).sum(axis=1)
    assert weights["a"] == pytest.approx(grid[scores.argmax()], abs=2e-3)
    assert sum(weights.values()) == pytest.approx(1)
    assert stacking_weights({"a": pair["a"]}) == {"a": 1.0}


@pytest.mark.fit
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_weights_are_those_of_arviz(fits: dict[str, Fit]) -> None:
    known = compare(
        {name: loo(one.tree, var_name="llm", pointwise=True) for name, one in fits.items()},
        round_to="none",
    )["weight"]
    found = stacking_weights({name: leave_one_out(one, "llm") for name, one in fits.items()})
    for name, weight in found.items():
        assert weight == pytest.approx(known[name], abs=5e-3)


@pytest.mark.fit
def test_fits_that_cannot_be_left_out_are_refused(fits: dict[str, Fit]) -> None:
    good = fits["flat"]
    cut = replace(good, spec=load_spec("joint").with_options(feedback="cut"))
    with pytest.raises(BayesdenseError, match="leaving one out has no meaning"):
        leave_one_out(cut, "llm")
    bare = replace(good, tree=good.tree.drop_nodes("log_likelihood"))
    with pytest.raises(BayesdenseError, match="log_likelihood=True"):
        leave_one_out(bare, "llm")
    few = good.tree.copy()
    few["log_likelihood"] = few["log_likelihood"].isel(chain=[0], draw=slice(0, 10))
    with pytest.raises(BayesdenseError, match="draw more"):
        leave_one_out(replace(good, tree=few), "llm")
