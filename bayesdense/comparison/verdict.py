"""What a comparison may say: differences, posterior probabilities, and when a rival is beaten."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesdense.arrays import Floats
from bayesdense.comparison.pointwise import Difference, Pointwise, difference

#: Leave-one-family-out has to differ by more than this (nats), and than so many of its errors.
LEAST_DIFFERENCE: Final = 4.0
LEAST_ERRORS: Final = 2.0


def is_clear(elpd_diff: Floats, se: Floats) -> NDArray[np.bool_]:
    """Whether leave-one-family-out alone would decide: more than 4 nats and 2 clustered errors."""
    size = np.abs(elpd_diff)
    return np.asarray((size > LEAST_DIFFERENCE) & (size > LEAST_ERRORS * se))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two hypotheses compared; every difference is that of `a` less that of `b`, nats.

    Attributes
    ----------
    family, llm
        Leaving one family out, and one LLM.
    lfo
        Leave-future-out; None where it was not done, or failed for one of them.
    log_ml
        Log Bayes factor and its Monte Carlo error; None where it failed. Never a verdict.
    nested
        The same by the Savage-Dickey ratio, where one is nested in the other and it was asked for;
        None where it is not to be trusted.
    """

    a: str
    b: str
    family: Difference
    llm: Difference
    lfo: Difference | None
    log_ml: Difference | None
    nested: Difference | None = None

    @property
    def better(self) -> str:
        """The one that predicts families better that it has not seen."""
        return self.a if self.family.elpd_diff >= 0 else self.b

    @property
    def decisive(self) -> bool:
        """Whether the other is decisively beaten.

        Leave-one-family-out has to differ by more than 4 nats and 2 clustered standard errors, and
        leave-future-out to agree in sign. Without the latter nothing is decisive.
        """
        return self.clear and self.lfo is not None and self.lfo.elpd_diff * self._sign > 0

    @property
    def provisional(self) -> bool:
        """Whether the other is beaten as far as is known: there is no leave-future-out."""
        return self.clear and self.lfo is None

    @property
    def clear(self) -> bool:
        """Whether leave-one-family-out alone would decide."""
        return bool(is_clear(np.array(self.family.elpd_diff), np.array(self.family.se)))

    @property
    def _sign(self) -> float:
        return math.copysign(1.0, self.family.elpd_diff)


@dataclass(frozen=True, slots=True)
class Scores:
    """What is known of one hypothesis.

    Attributes
    ----------
    family, llm, lfo
        Predictive densities by unit left out.
    log_ml
        Log marginal likelihood and its error; None where it failed.
    nested
        Name of a hypothesis nested in this one, and the log Bayes factor of this one over it; None
        where there is none that can be trusted.
    """

    family: Pointwise
    llm: Pointwise
    lfo: Pointwise | None
    log_ml: tuple[float, float] | None
    nested: tuple[str, Difference] | None = None


def pairs(scores: Mapping[str, Scores]) -> tuple[Pair, ...]:
    """Compare every two hypotheses."""
    return tuple(_pair(a, b, scores[a], scores[b]) for a, b in combinations(scores, 2))


def _pair(a: str, b: str, one: Scores, other: Scores) -> Pair:
    lfo = None if one.lfo is None or other.lfo is None else difference(one.lfo, other.lfo)
    log_ml = None
    if one.log_ml is not None and other.log_ml is not None:
        (first, first_se), (second, second_se) = one.log_ml, other.log_ml
        log_ml = Difference(first - second, math.hypot(first_se, second_se))
    family, llm = difference(one.family, other.family), difference(one.llm, other.llm)
    return Pair(a, b, family, llm, lfo, log_ml, _nested(a, b, one, other))


def _nested(a: str, b: str, one: Scores, other: Scores) -> Difference | None:
    """Log Bayes factor of `a` over `b` by the Savage-Dickey ratio of the wider one."""
    if one.nested is not None and one.nested[0] == b:
        return one.nested[1]
    if other.nested is not None and other.nested[0] == a:
        return Difference(-other.nested[1].elpd_diff, other.nested[1].se)
    return None


def beaten_by(found: Sequence[Pair]) -> dict[str, list[str]]:
    """Hypotheses that are decisively beaten, and by which.

    Pair by pair: by leave-one-family-out alone, provisionally, where there is no leave-future-out.

    Parameters
    ----------
    found
        All pairs.
    """
    out: dict[str, list[str]] = {}
    for pair in found:
        if pair.decisive or pair.provisional:
            worse = pair.b if pair.better == pair.a else pair.a
            out.setdefault(worse, []).append(pair.better)
    return out


def verdict(names: Sequence[str], found: Sequence[Pair]) -> str:
    """Say in a sentence which hypotheses the data tell apart.

    "decisive" only if one is left; else "not distinguishable", with what is beaten all the same;
    "provisional" where leave-future-out is missing, of all or of some. A Bayes factor has no voice.
    """
    if len(names) == 1:
        return f"nothing to compare: {names[0]} alone"
    beaten = beaten_by(found)
    left = [name for name in names if name not in beaten]
    losers = "; ".join(f"{worse} by {', '.join(by)}" for worse, by in beaten.items())
    mark = _mark(names, found)
    if len(left) == 1:
        return f"{mark}decisive: {left[0]}; beaten: {losers}"
    also = f"; decisively beaten: {losers}" if losers else ""
    return f"{mark}not distinguishable: {', '.join(left)}{also}"


def _mark(names: Sequence[str], found: Sequence[Pair]) -> str:
    """Say of which hypotheses leave-future-out is missing."""
    told = {name for pair in found if pair.lfo is not None for name in (pair.a, pair.b)}
    lacking = [name for name in names if name not in told]
    if not lacking:
        return ""
    of = f" of {', '.join(lacking)}" if told else ""
    return f"provisional, without leave-future-out{of}: "


def posterior_probabilities(log_mls: Mapping[str, float | None]) -> dict[str, float | None]:
    """Posterior probabilities of hypotheses that were equally probable before.

    Parameters
    ----------
    log_mls
        Name -> log marginal likelihood; None where it failed, which leaves all probabilities
        unknown, as they have to add up to 1.
    """
    values = [value for value in log_mls.values() if value is not None]
    if len(values) < len(log_mls) or not values:
        return dict.fromkeys(log_mls)
    weights = np.exp(np.array(values) - max(values))
    return dict(zip(log_mls, (weights / weights.sum()).tolist(), strict=True))


def probability_errors(
    probabilities: Mapping[str, float | None], log_ml_ses: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Monte Carlo errors of posterior probabilities, from those of the log marginal likelihoods.

    To first order sd(p_i) = p_i sqrt(s_i^2 (1 - 2 p_i) + sum_j p_j^2 s_j^2): of p_i as a function
    of independent log m_j with sds s_j, d p_i / d log m_j = p_i (1[i = j] - p_j).

    Parameters
    ----------
    probabilities
        Of `posterior_probabilities`.
    log_ml_ses
        Name -> Monte Carlo error of the log marginal likelihood, nats; None where it failed.
    """
    p = np.array([value for value in probabilities.values() if value is not None])
    errors = [log_ml_ses[name] for name in probabilities]
    s = np.array([error for error in errors if error is not None])
    if len(p) < len(probabilities) or len(s) < len(probabilities):
        return dict.fromkeys(probabilities)
    sds = p * np.sqrt(s**2 * (1 - 2 * p) + np.sum(p**2 * s**2))
    return dict(zip(probabilities, sds.tolist(), strict=True))
