"""Ranks and bands: what is calibrated passes, what is wrong in a known way is caught."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kstest

from bayesdense.studies.ranks import (
    LEAST_RANKED,
    N_RANKED,
    band,
    difference,
    judged,
    leaves,
    rank_value,
    simultaneous_level,
    thinned,
)

N = 400


def test_draws_are_thinned_evenly_within_chains() -> None:
    draws = np.arange(1500.0).reshape(2, 750)
    kept = thinned(draws)
    assert len(kept) == N_RANKED
    assert np.unique(np.diff(kept[:50])).tolist() == [15.0]
    assert (kept[50:] - kept[:50] == 750).all()
    several = thinned(np.zeros((2, 750, 3)))
    assert several.shape == (N_RANKED, 3)
    assert len(thinned(np.zeros((2, 10)))) == 20  # fewer than asked for: all of them


def test_ranks_with_ties_are_uniform() -> None:
    """Rounded draws and truths are alike: randomised ranks are uniform in spite of ties."""
    rng = np.random.default_rng(1)
    values = [
        rank_value(np.round(rng.normal(size=20)), float(np.round(rng.normal())), rng)
        for _ in range(3000)
    ]
    assert kstest(values, "uniform").pvalue > 0.01
    without = [
        float((np.round(rng.normal(size=20)) < np.round(rng.normal())).mean()) for _ in range(3000)
    ]
    assert kstest(without, "uniform").pvalue < 1e-6


@pytest.mark.parametrize("n", [LEAST_RANKED, 200])
def test_a_band_holds_as_many_as_it_says(n: int) -> None:
    rng = np.random.default_rng(2)
    limits = band(n, 0.95)
    outside = sum(leaves(rng.uniform(size=n), limits) for _ in range(1000))
    assert 25 <= outside <= 85
    assert band(n, 0.95) is limits


def test_the_band_of_all_is_wider() -> None:
    one, every = band(100, 0.95), band(100, simultaneous_level(20))
    assert simultaneous_level(20) == pytest.approx(0.9975)
    assert (every.lower <= one.lower).all()
    assert (every.upper >= one.upper).all()
    assert (every.upper - every.lower).sum() > (one.upper - one.lower).sum()


def test_differences_are_those_of_the_ecdf() -> None:
    at, apart = difference(np.array([0.1, 0.2, 0.3, 0.9]))
    assert at.tolist() == [0.25, 0.5, 0.75]
    assert apart.tolist() == pytest.approx([0.25, 0.25, 0.0])


def conjugate(wrong: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]) -> dict:
    """Ranks of theta ~ Normal(0, 1) given one y ~ Normal(theta, 1), and of how well y fits."""
    rng = np.random.default_rng(3)
    ranks: dict[str, list[float]] = {"theta": [], "fit": []}
    for _ in range(N):
        theta = rng.normal()
        y = theta + rng.normal()
        exact = y / 2 + np.sqrt(0.5) * rng.normal(size=N_RANKED)
        draws = wrong(exact, y, rng)
        ranks["theta"].append(rank_value(draws, theta, rng))
        ranks["fit"].append(rank_value(-((y - draws) ** 2), -((y - theta) ** 2), rng))
    return judged(ranks)


def test_an_exact_sampler_passes() -> None:
    found = conjugate(lambda exact, y, rng: exact)
    assert found["n_quantities"] == 2
    assert found["outside_all"] == []
    assert abs(found["quantities"]["theta"]["mean_z"]) < 3


@pytest.mark.parametrize(
    ("wrong", "caught"),
    [
        (lambda exact, y, rng: exact + 0.25, "theta"),  # biased by a third of an sd
        (lambda exact, y, rng: y / 2 + 0.7 * (exact - y / 2), "theta"),  # too narrow
        (lambda exact, y, rng: y / 2 + 1.4 * (exact - y / 2), "theta"),  # too wide
        (lambda exact, y, rng: rng.normal(size=len(exact)), "fit"),  # the prior: looks at no data
    ],
    ids=["biased", "narrow", "wide", "prior"],
)
def test_a_wrong_posterior_is_caught(
    wrong: Callable[[np.ndarray, float, np.random.Generator], np.ndarray], caught: str
) -> None:
    found = conjugate(wrong)
    assert caught in found["outside_all"]
    if caught == "fit":  # ranks of a parameter alone see nothing wrong in the prior
        assert "theta" not in found["outside_all"]


def test_a_bias_has_a_sign() -> None:
    found = conjugate(lambda exact, y, rng: exact - 0.25)
    assert found["quantities"]["theta"]["mean_z"] > 3  # truths above the draws


def test_few_ranks_are_not_judged() -> None:
    found = judged({"few": [0.5] * (LEAST_RANKED - 1), "many": np.linspace(0, 1, 40).tolist()})
    assert list(found["quantities"]) == ["many"]
    assert found["expected_outside_single"] == pytest.approx(0.05)
