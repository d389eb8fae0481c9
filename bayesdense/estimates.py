"""Posterior of one number, as draws: quantiles, Monte Carlo errors, and times through infinity."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from arviz_stats.sampling_diagnostics import mcse

from bayesdense.conversions import doubling_time_days, growth_rate_per_year
from bayesdense.errors import BayesdenseError
from bayesdense.names import CHAIN, CI_PROB, DAYS_PER_MONTH, DRAW, INNER_CI_PROB
from bayesdense.statements import format_number, format_probability

_SAMPLE_DIMS: Final = [CHAIN, DRAW]
_mcse: Callable[..., Any] = mcse  # ArviZ has no annotations


@dataclass(frozen=True, slots=True)
class Probability:
    """Posterior probability of an event, with its Monte Carlo standard error."""

    value: float
    mcse: float

    def __str__(self) -> str:
        """No more digits than the Monte Carlo error supports."""
        return format_probability(self.value, self.mcse)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Posterior of one number.

    Parameters
    ----------
    name
        What it is.
    draws : xarray.DataArray
        Dims (chain, draw), all finite, ``attrs["units"]`` set.
    at
        ISO date at which it holds, where it changes with time.
    """

    name: str
    draws: xr.DataArray
    at: str | None = None

    def __post_init__(self) -> None:
        """Refuse draws that are not finite: a quantile of them would be no number."""
        require_finite(self.name, self.draws)

    @property
    def units(self) -> str:
        """Unit of the draws."""
        return str(self.draws.attrs.get("units", ""))

    @property
    def median(self) -> float:
        """Posterior median."""
        return self.quantile(0.5)

    @property
    def mean(self) -> float:
        """Posterior mean."""
        return float(self.draws.values.mean())

    @property
    def sd(self) -> float:
        """Posterior standard deviation."""
        return float(self.draws.std(ddof=1))

    def quantile(self, prob: float) -> float:
        """Posterior quantile (linear between draws)."""
        return float(np.quantile(self.draws.values, prob))

    def interval(self, prob: float = CI_PROB) -> tuple[float, float]:
        """Equal-tailed interval (ETI) that holds `prob` of the posterior."""
        lower, upper = tails(prob)
        return self.quantile(lower), self.quantile(upper)

    def mcse(self, prob: float = 0.5) -> float:
        """Monte Carlo standard error of a quantile (by default the median)."""
        return float(quantile_mcse(self.draws, prob))

    def probability_above(self, threshold: float) -> Probability:
        """Posterior probability that the number exceeds a threshold."""
        return probability(self.draws > threshold)

    def text(self, prob: float) -> str:
        """One quantile with no more digits than its Monte Carlo error supports."""
        return format_number(self.quantile(prob), self.mcse(prob))

    def to_dict(self) -> dict[str, object]:
        """Median and intervals: what survives a nonlinear transformation."""
        return {
            "median": self.median,
            "eti50": self.interval(INNER_CI_PROB),
            "eti95": self.interval(CI_PROB),
        }

    def __repr__(self) -> str:
        """Median and interval, with probability, kind and unit."""
        lower, upper = (self.text(p) for p in tails(CI_PROB))
        unit = "" if self.units in ("", "1") else f" {self.units}"
        return (
            f"{self.name}: {self.text(0.5)}{unit} "
            f"({CI_PROB:.0%} ETI {lower} to {upper}){_at(self.at)}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class DoublingTime:
    """Posterior of the time T = ln 2 / g in which a density doubles, safe where g passes zero.

    A growth rate near zero makes T infinite, and its sign flip makes it minus infinity, so no
    summary of T's draws means anything. Every number here is read from the growth rate: the
    interval of growth [lo, hi] becomes [ln 2/hi, ln 2/lo], unbounded (infinite) where lo <= 0 and
    empty (both ends infinite) where hi <= 0.

    Parameters
    ----------
    growth : Estimate
        Growth rate, 1/year; for a halving time the rate of decline, which is its negative.
    name
        "doubling time" or "halving time".
    """

    growth: Estimate
    name: str = "doubling time"

    @property
    def at(self) -> str | None:
        """ISO date at which it holds."""
        return self.growth.at

    @property
    def units(self) -> str:
        """Unit of draws, median and interval: days."""
        return "days"

    @property
    def draws(self) -> xr.DataArray:
        """Draws (chain, draw) in days, negative where the density shrinks, infinite where constant.

        To be counted (``(draws > 0) & (draws < 150)``), never averaged.
        """
        return xr.DataArray(
            _signed_days(self.growth.draws.values),
            coords=self.growth.draws.coords,
            dims=self.growth.draws.dims,
            name=self.name.replace(" ", "_"),
            attrs={"units": self.units},
        )

    @property
    def median(self) -> float:
        """Days at the median growth rate; infinite where that is not positive."""
        return self.quantile(0.5)

    def quantile(self, prob: float) -> float:
        """Days at growth's quantile 1 - prob (fast growth is a short time); infinite if <= 0."""
        return _days(self.growth.quantile(1.0 - prob))

    def interval(self, prob: float = CI_PROB) -> tuple[float, float]:
        """Days of the equal-tailed interval of growth; an unbounded end is infinite."""
        slow, fast = self.growth.interval(prob)
        return _days(fast), _days(slow)

    def is_unbounded(self, prob: float = CI_PROB) -> bool:
        """Whether the interval has no finite upper end: growth is not established at `prob`."""
        return math.isinf(self.interval(prob)[1])

    def mcse(self, prob: float = 0.5) -> float:
        """Monte Carlo standard error (days) of a quantile, by the delta method; nan if infinite."""
        days, rate = self.quantile(prob), self.growth.quantile(1.0 - prob)
        return math.nan if math.isinf(days) else days / rate * self.growth.mcse(1.0 - prob)

    def probability_below(self, days: float) -> Probability:
        """Posterior probability of 0 < T < days: that growth is faster than that."""
        return self.growth.probability_above(_rate(days))

    def months(self, prob: float) -> str | None:
        """One quantile in months of 30.4375 days, digits limited by its error; None if infinite."""
        days = self.quantile(prob)
        if math.isinf(days):
            return None
        return format_number(days / DAYS_PER_MONTH, self.mcse(prob) / DAYS_PER_MONTH)

    def to_dict(self) -> dict[str, object]:
        """Median and intervals in days; infinite ends become null in strict JSON."""
        return {
            "median": self.median,
            "eti50": self.interval(INNER_CI_PROB),
            "eti95": self.interval(CI_PROB),
            "unbounded": self.is_unbounded(CI_PROB),
            "unbounded50": self.is_unbounded(INNER_CI_PROB),
            "at": self.at,
        }

    def __repr__(self) -> str:
        """Median and interval in months, and the probability that it is positive."""
        middle, lower, upper = (self.months(p) or "infinite" for p in (0.5, *tails(CI_PROB)))
        event = "growing" if self.name == "doubling time" else "shrinking"
        return (
            f"{self.name}: {middle} months ({CI_PROB:.0%} ETI {lower} to {upper}; "
            f"P({event}) {equals(self.growth.probability_above(0.0))}){_at(self.at)}"
        )


def tails(prob: float) -> tuple[float, float]:
    """Lower and upper quantile of an equal-tailed interval that holds `prob`."""
    if not 0.0 < prob < 1.0:
        raise ValueError(f"prob = {prob}: an interval's probability lies between 0 and 1")
    return (1.0 - prob) / 2.0, (1.0 + prob) / 2.0


def probability(event: xr.DataArray) -> Probability:
    """Posterior probability of an event (bool, dims chain and draw).

    Where it holds in every draw or in none, its error is 3 / draws: the 95 % bound of an event
    that was never seen ("rule of three").
    """
    share = float(event.mean())
    if share in (0.0, 1.0):
        return Probability(share, 3.0 / event.size)
    error = _mcse(event.astype(float), sample_dims=_SAMPLE_DIMS, method="mean")
    return Probability(share, float(error))


def quantile_mcse(draws: xr.DataArray, prob: float) -> xr.DataArray:
    """Monte Carlo standard error of a quantile over (chain, draw), for each of the other dims."""
    result: xr.DataArray = _mcse(draws, sample_dims=_SAMPLE_DIMS, method="quantile", prob=prob)
    return result


def require_finite(name: str, draws: xr.DataArray) -> None:
    """Raise unless all draws are finite, saying how many are not."""
    broken = int((~np.isfinite(draws.values)).sum())
    if broken:
        raise BayesdenseError(
            f"{name}: {broken} of {draws.size} draws are not finite; the sampler did not give a "
            "posterior (check the priors' scales, then fit again)"
        )


def equals(chance: Probability) -> str:
    """Probability as the right side of a sentence: `= 0.93`, `> 0.999`."""
    text = str(chance)
    return text if text[0] in "<>" else f"= {text}"


def _days(growth: float) -> float:
    """Doubling time in days at a growth rate; infinite where it does not grow."""
    return float(_signed_days(growth)) if growth > 0.0 else math.inf


def _signed_days(growth: Any) -> Any:  # noqa: ANN401  (number or array, as in conversions.py)
    """Doubling time in days at growth rates; slower than the largest float is infinite."""
    with np.errstate(over="ignore"):
        return doubling_time_days(growth)


def _rate(days: float) -> float:
    """Growth rate (1/year) at which the doubling time is so many days."""
    if not days > 0.0:
        raise ValueError(f"a doubling time of {days} days: it must be positive")
    return float(growth_rate_per_year(days))


def _at(date: str | None) -> str:
    """Date at the end of a repr."""
    return f" at {date}" if date else ""
