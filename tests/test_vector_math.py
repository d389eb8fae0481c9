"""Exponentials, logarithms and the half-normal quantile are those of NumPy and SciPy."""

import numpy as np
import pytest
from scipy import special

from bayesdense.vector_math import (
    exponentials,
    exponentials_in_place,
    half_normal_quantile,
    logarithms,
)

EPS = np.finfo(float).eps


def quantile(z: np.ndarray) -> np.ndarray:
    return np.array([half_normal_quantile(float(value)) for value in z])


# ---------------------------------------------------------------- exponentials


@pytest.mark.parametrize("top", [0.0, 123.456, -3e5])
def test_exponentials_to_the_last_digits(top: float) -> None:
    rng = np.random.default_rng(1)
    x = top - np.concatenate(
        [[0.0, 1e-300, 1e-16, 0.5], 10 ** rng.uniform(-12, np.log10(690), 2000)]
    )
    np.testing.assert_allclose(exponentials(x, top), np.exp(x - top), rtol=1e-15, atol=0)


def test_exponentials_are_exact_at_the_top() -> None:
    """Else a sum of shares relative to the largest would be off by as much for every LLM."""
    assert exponentials(np.array([-7.3, -7.3]), -7.3).tolist() == [1.0, 1.0]


def test_exponentials_of_what_counts_for_nothing_stay_positive_and_finite() -> None:
    found = exponentials(np.array([-700.0, -701.0, -1e5, -1e300, -np.inf]), 0.0)
    np.testing.assert_allclose(found, np.exp(-700.0), rtol=1e-14)


@pytest.mark.parametrize("n", [0, 1, 3, 64, 101])
def test_exponentials_in_place_write_no_further_than_their_array(n: int) -> None:
    whole, scratch = np.full(n + 4, 7.0), np.full(n + 9, 7.0)
    whole[:n] = np.linspace(-20, 0, n)
    exponentials_in_place(whole[:n], 0.0, scratch)
    np.testing.assert_allclose(whole[:n], np.exp(np.linspace(-20, 0, n)), rtol=1e-15)
    assert (whole[n:] == 7.0).all() and (scratch[n:] == 7.0).all()


def test_exponentials_leave_their_argument_alone() -> None:
    x = np.linspace(-3, 0, 10)
    exponentials(x, 0.0)
    np.testing.assert_array_equal(x, np.linspace(-3, 0, 10))


# ---------------------------------------------------------------- logarithms


def test_logarithms_to_the_last_digits() -> None:
    """Over all normal numbers, and where numbers of the form 2^k m change their k."""
    rng = np.random.default_rng(2)
    extremes = [np.finfo(float).tiny, np.finfo(float).max, 1.0, 2.0, 0.5, np.sqrt(0.5), np.sqrt(2)]
    near_edges = np.outer([0.5, np.sqrt(0.5), 1.0, np.sqrt(2), 2.0], 1 + EPS * np.arange(-4, 5))
    x = np.concatenate([extremes, near_edges.ravel(), np.exp(rng.uniform(-708, 709, 20000))])
    expected = np.log(x)
    error = np.abs(logarithms(x) - expected) / np.maximum(1.0, np.abs(expected))
    assert error.max() <= 2 * EPS


def test_logarithms_near_one_keep_their_relative_digits() -> None:
    small = 10.0 ** np.arange(-15, 0)
    for sign in (-1, 1):
        x = 1 + sign * small
        np.testing.assert_allclose(logarithms(x), np.log(x), rtol=4 * EPS, atol=0)
    assert logarithms(np.ones(3)).tolist() == [0.0, 0.0, 0.0]


def test_logarithms_undo_exponentials() -> None:
    x = np.linspace(-690, 0, 999)
    np.testing.assert_allclose(logarithms(exponentials(x, 0.0)), x, rtol=4 * EPS, atol=2e-15)


# ---------------------------------------------------------------- the half-normal quantile


def test_quantile_is_that_of_the_half_normal() -> None:
    """Q(z) at Phi(z); the middle, both tails and the edges of the three rational functions."""
    upper = np.concatenate([np.linspace(-1, 37, 4001), [0.5244005127, 1.0364333895, 6.9]])
    expected = -special.ndtri(0.5 * special.ndtr(-upper))
    np.testing.assert_allclose(quantile(upper), expected, rtol=4e-15)
    lower = np.linspace(-37, 1, 4001)
    expected = np.sqrt(2) * special.erfinv(special.ndtr(lower))
    # the last digit of z alone moves Phi(z) by z^2 in its own last digit
    error = np.abs(quantile(lower) / expected - 1)
    assert (error <= 2 * (8 + lower**2) * EPS).all()


def test_quantile_rises_and_stays_positive() -> None:
    found = quantile(np.linspace(-37, 37, 20001))
    assert (found > 0).all() and (np.diff(found) >= 0).all()
    assert np.isfinite(found).all()
