"""Noise of items: the delta method, and counts whose logit is normal."""

import numpy as np
import pymc as pm
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln, logsumexp
from scipy.stats import binom, norm

from bayesdense.components.score_map import _count_logp, _draw_count
from bayesdense.elementary import expit, logit
from bayesdense.items import (
    COUNT_NODES,
    FEW_ITEMS,
    count_terms,
    draw_score,
    is_few,
    item_variance,
    log_binomial,
    logit_of_score,
)


def log_count(k: float, n: float, mean: float, sd: float) -> float:
    k, n, mean, sd = (np.asarray(x, dtype=float) for x in (k, n, mean, sd))
    return float(logsumexp(count_terms(k, n, log_binomial(n, k, gammaln), mean, sd), axis=-1))


def test_item_variance_is_that_of_a_share_on_the_logit() -> None:
    assert item_variance(logit(0.2), 50.0) == pytest.approx(1 / (50 * 0.2 * 0.8))


def test_item_variance_keeps_its_digits_near_the_ceiling() -> None:
    assert item_variance(36.0, 1.0) == pytest.approx(np.exp(36.0), rel=1e-12)


@given(
    n=st.sampled_from([30, 164, 500, 14042]),
    k=st.integers(0, 9),
    mean=st.floats(-9, 3),
    sd=st.floats(0.02, 2.0),
    of_misses=st.booleans(),
)
def test_a_count_has_the_probability_of_the_integral(n, k, mean, sd, of_misses) -> None:
    k, mean = (n - k, -mean) if of_misses else (k, mean)
    x = np.linspace(mean - 9 * sd, mean + 9 * sd, 20_001)
    log_terms = binom.logpmf(k, n, expit(x)) + norm.logpdf(x, mean, sd)
    exact = logsumexp(log_terms) + np.log(x[1] - x[0])
    beyond = 2 * norm.sf(COUNT_NODES[-1])  # probability of noise for which there is no node
    if exact > np.log(1e-10):
        within = beyond / np.exp(exact) + 1e-6
        assert log_count(k, n, mean, sd) == pytest.approx(exact, abs=within)


def test_probabilities_of_all_counts_sum_to_one() -> None:
    total = sum(np.exp(log_count(k, 30, -1.2, 0.8)) for k in range(31))
    assert total == pytest.approx(1.0, abs=1e-9)


def test_a_count_of_a_hopeless_mean_is_finite() -> None:
    assert -np.inf < log_count(9.0, 164.0, -800.0, 0.1) < -1000


def test_few_is_said_of_hits_and_of_misses() -> None:
    score = np.array([0.0, 9.0, 20.0, 155.0, 164.0]) / 164
    np.testing.assert_array_equal(is_few(score, 164.0), [True, True, False, True, True])
    assert is_few(0.5, 4 * FEW_ITEMS - 1) and not is_few(0.5, 4 * FEW_ITEMS)


def test_many_items_make_a_count_a_normal_logit() -> None:
    k, n, sd = 300.0, 1000.0, 0.3
    mean = logit(0.35)
    var = sd**2 + item_variance(logit(0.3), n)
    normal = norm.logpdf(logit(0.3), mean, np.sqrt(var)) - np.log(n * 0.3 * 0.7)
    assert log_count(k, n, mean, sd) == pytest.approx(normal, abs=0.01)


def test_half_an_item_stands_for_none_and_for_all() -> None:
    np.testing.assert_allclose(
        logit_of_score(np.array([0.0, 0.5, 1.0]), 100.0), logit(np.array([0.005, 0.5, 0.995]))
    )


def test_draws_are_counts_with_the_moments_of_their_distribution() -> None:
    rng = np.random.default_rng(4)
    mean, sd, n = np.full(200_000, -4.0), np.full(200_000, 0.8), np.full(200_000, 164.0)
    drawn = _draw_count(mean, sd, n, rng)
    np.testing.assert_allclose(drawn, np.rint(drawn), atol=1e-9)
    shares = np.bincount(np.rint(drawn).astype(int), minlength=4)[:4] / drawn.size
    expected = [np.exp(log_count(k, 164, -4.0, 0.8)) for k in range(4)]
    np.testing.assert_allclose(shares, expected, atol=4 * np.sqrt(0.25 / drawn.size))


def test_scores_broadcast_items_over_draws() -> None:
    score = draw_score(np.zeros((5, 2)), np.array([10.0, 1000.0]), np.random.default_rng(0))
    assert score.shape == (5, 2)
    np.testing.assert_allclose(score * [10, 1000], np.rint(score * [10, 1000]))


def test_the_model_reads_the_same_formula() -> None:
    with pm.Model() as model:
        pm.CustomDist(
            "k",
            np.array([-3.0, -5.0]),
            np.array([0.5, 1.0]),
            np.array([164.0, 500.0]),
            logp=_count_logp,
            random=_draw_count,
            observed=np.array([0.0, 1.0]),
        )
    found = model.compile_logp(sum=False)({})[0]
    expected = [log_count(0, 164, -3.0, 0.5), log_count(1, 500, -5.0, 1.0)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
