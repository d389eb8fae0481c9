"""The rule by which a rival is decisively beaten, and what a Bayes factor may not do."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesdense.comparison.pointwise import Difference, Pointwise
from bayesdense.comparison.verdict import (
    Pair,
    Scores,
    beaten_by,
    pairs,
    posterior_probabilities,
    probability_errors,
    verdict,
)

CLEAR = Difference(5.0, 2.0)


def pair(family: Difference, lfo: Difference | None, a: str = "a", b: str = "b") -> Pair:
    return Pair(a, b, family, Difference(0.0, 1.0), lfo, Difference(-1000.0, 0.1))


@pytest.mark.parametrize(
    ("family", "lfo", "decisive"),
    [
        (CLEAR, Difference(0.1, 5.0), True),
        (CLEAR, Difference(-0.1, 5.0), False),
        (CLEAR, None, False),
        (Difference(4.0, 1.0), Difference(3.0, 1.0), False),  # not more than 4
        (Difference(9.0, 4.5), Difference(3.0, 1.0), False),  # not more than 2 errors
        (Difference(9.0, float("inf")), Difference(3.0, 1.0), False),
        (Difference(-5.0, 2.0), Difference(-0.1, 1.0), True),
        (Difference(-5.0, 2.0), Difference(0.1, 1.0), False),
    ],
)
def test_both_have_to_agree(family: Difference, lfo: Difference | None, decisive: bool) -> None:
    one = pair(family, lfo)
    assert one.decisive == decisive
    if decisive:
        worse = "b" if family.elpd_diff > 0 else "a"
        assert list(beaten_by([one])) == [worse]
        assert verdict(["a", "b"], [one]).startswith("decisive: ")
        assert f"beaten: {worse} by" in verdict(["a", "b"], [one])
    elif lfo is not None:
        assert beaten_by([one]) == {}


def test_words_of_the_verdict() -> None:
    even = Difference(1.0, 2.0)
    three = [pair(even, even), pair(CLEAR, even, "a", "c"), pair(CLEAR, even, "b", "c")]
    assert verdict(["a", "b", "c"], three) == (
        "not distinguishable: a, b; decisively beaten: c by a, b"
    )
    assert verdict(["a", "b"], [pair(even, even)]) == "not distinguishable: a, b"
    assert verdict(["a", "b"], [pair(CLEAR, None)]) == (
        "provisional, without leave-future-out: decisive: a; beaten: b by a"
    )
    assert verdict(["a", "b"], [pair(even, None)]) == (
        "provisional, without leave-future-out: not distinguishable: a, b"
    )
    assert verdict(["a"], []) == "nothing to compare: a alone"


def test_where_one_has_no_future_the_others_keep_theirs() -> None:
    """What leave-future-out contradicts is not beaten because a third hypothesis has none."""
    against = Difference(-3.0, 2.0)
    found = [pair(CLEAR, against), pair(CLEAR, None, "a", "c"), pair(CLEAR, None, "b", "c")]
    assert beaten_by(found) == {"c": ["a", "b"]}
    assert verdict(["a", "b", "c"], found) == (
        "provisional, without leave-future-out of c: not distinguishable: a, b; "
        "decisively beaten: c by a, b"
    )


def scores(elpd: float, lfo: bool = True, log_ml: float | None = 0.0) -> Scores:
    units = Pointwise(("x", "y"), ("x", "y"), np.array([elpd, 0.0]), np.zeros(2), 0.7)
    return Scores(units, units, units if lfo else None, None if log_ml is None else (log_ml, 0.3))


def test_every_two_are_compared() -> None:
    found = pairs({"a": scores(1.0, log_ml=2.0), "b": scores(3.0), "c": scores(0.0, lfo=False)})
    assert [(one.a, one.b) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [one.family.elpd_diff for one in found] == [-2.0, 1.0, 3.0]
    assert found[0].better == "b"
    assert found[0].log_ml == Difference(2.0, pytest.approx(0.3 * np.sqrt(2)))
    assert [one.lfo is None for one in found] == [False, True, True]
    failed = pairs({"a": scores(1.0, log_ml=None), "b": scores(3.0)})
    assert failed[0].log_ml is None


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6), st.floats(-1e4, 1e4))
def test_probabilities_add_up_and_know_no_common_factor(values: list[float], shift: float) -> None:
    names = [str(k) for k in range(len(values))]
    found = posterior_probabilities(dict(zip(names, values, strict=True)))
    assert sum(p for p in found.values() if p is not None) == pytest.approx(1)
    moved = posterior_probabilities({n: v + shift for n, v in zip(names, values, strict=True)})
    assert moved == pytest.approx(found, abs=1e-6)


def test_errors_of_probabilities_are_those_of_many_draws() -> None:
    log_mls = {"a": 0.0, "b": -0.7, "c": -4.0}
    errors = {"a": 0.1, "b": 0.2, "c": 0.05}
    found = probability_errors(posterior_probabilities(log_mls), errors)
    rng = np.random.default_rng(3)
    drawn = [
        posterior_probabilities({k: v + errors[k] * rng.normal() for k, v in log_mls.items()})
        for _ in range(4000)
    ]
    for name in log_mls:
        assert found[name] == pytest.approx(np.std([float(d[name] or 0) for d in drawn]), rel=0.08)
    unknown = {"a": None, "b": None}
    assert probability_errors(unknown, {"a": 0.1, "b": None}) == unknown


def test_a_probability_needs_every_marginal_likelihood() -> None:
    assert posterior_probabilities({"a": 1.0, "b": None}) == {"a": None, "b": None}
    found = posterior_probabilities({"a": np.log(3.0), "b": 0.0})
    assert found["a"] == pytest.approx(0.75)


def test_a_bayes_factor_has_no_voice() -> None:
    one = pair(CLEAR, Difference(0.1, 1.0))
    assert one == replace(one)
    assert verdict(["a", "b"], [one]) == verdict(["a", "b"], [replace(one, log_ml=None)])
