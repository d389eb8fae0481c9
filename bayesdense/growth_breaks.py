"""Growth before and after a break, and how sure it is that density grows faster since."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from bayesdense import derive
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import Estimate, Probability, equals, probability, tails
from bayesdense.names import CI_PROB
from bayesdense.results import Fit
from bayesdense.trends import form_of

#: Probability of no growth before the break from which on a ratio of growth rates means nothing;
#: and how near to 0 or 1 the probability of faster growth has to be for a change to be claimed.
_NO_RATIO: Final = 0.025
_ERRORS: Final = 2.0
CLAIM: Final = 0.025
_YEAR: Final = "break_year"


@dataclass(frozen=True, slots=True, eq=False)
class GrowthBreak:
    """Growth before and after a break, and their difference.

    Attributes
    ----------
    before, after, difference
        1/year; the difference is growth after less growth before.
    ratio
        Growth after over growth before; None where P(before <= 0), with two of its Monte Carlo
        errors, is .025 or more, as the ratio then passes through infinity.
    date
        ISO date of the break: the known one, or the posterior median of a free one.
    date_interval
        Ends of the 95 % interval of a free one; None for a known one.
    """

    before: Estimate
    after: Estimate
    difference: Estimate
    ratio: Estimate | None
    date: str
    date_interval: tuple[str, str] | None

    @property
    def p_faster_after(self) -> Probability:
        """Posterior probability that density grows faster after the break."""
        return self.difference.probability_above(0.0)

    @property
    def p_before_not_positive(self) -> Probability:
        """Posterior probability that density did not grow before the break."""
        return probability(self.before.draws <= 0.0)

    @property
    def verdict(self) -> str:
        """What may be claimed: `faster` or `slower` beyond .975, else `not distinguishable`."""
        chance = self.p_faster_after.value
        if CLAIM < chance < 1.0 - CLAIM:
            return "not distinguishable"
        return "faster" if chance > 0.5 else "slower"

    def to_dict(self) -> dict[str, object]:
        """Section `growth_break` of summary.json."""
        return {
            "date": self.date,
            "date_eti95": self.date_interval,
            **{name: getattr(self, name).to_dict() for name in ("before", "after", "difference")},
            "p_faster_after": self.p_faster_after.value,
            "p_before_not_positive": self.p_before_not_positive.value,
            "ratio": self.ratio and self.ratio.to_dict(),
            "verdict": self.verdict,
            "statement": repr(self),
        }

    def __repr__(self) -> str:
        """Say both growth rates, their difference and how sure it is."""
        before, after, difference = map(_told, (self.before, self.after, self.difference))
        between = (
            f" ({CI_PROB:.0%} {self.date_interval[0]} to {self.date_interval[1]})"
            if self.date_interval
            else ""
        )
        return (
            f"Growth before {self.date}{between} {before} per year, after it {after}; difference "
            f"{difference} ({CI_PROB:.0%} intervals), P(faster after) "
            f"{equals(self.p_faster_after)}: {self.verdict}."
        )


def growth_break(fit: Fit) -> GrowthBreak:
    """Read the break of a fit whose trend has one.

    The claim of an acceleration is a claim about the difference of two growth rates; that the one
    interval lies above the other's median, or that the ratio of two point estimates is large, is
    no test of it.

    Parameters
    ----------
    fit
        A fit whose trend is `break_known` or `break_free`.

    Returns
    -------
    GrowthBreak
        Growth before and after the date, their difference, and the date.

    Raises
    ------
    BayesdenseError
        The trend of the fit is neither `break_known` nor `break_free`.

    Examples
    --------
    >>> fit = bd.fit(spec.with_options(trend="break_known@2022-11-30"), dataset)  # doctest: +SKIP
    >>> bd.growth_break(fit).p_faster_after  # doctest: +SKIP
    """
    if not has_break(fit):
        raise BayesdenseError(
            f"the trend of this fit, {fit.spec.trend}, has no break; fit break_known@DATE or "
            "break_free"
        )
    draws = fit.posterior
    before, after = draws["growth_before"], draws["growth_after"]
    free = draws.get(_YEAR)
    found = GrowthBreak(
        before=_estimate("growth before the break", before, "1/year"),
        after=_estimate("growth after the break", after, "1/year"),
        difference=_estimate("difference of growth", after - before, "1/year"),
        ratio=None,
        date=fit.spec.trend.partition("@")[2] if free is None else _dates(fit, free, [0.5])[0],
        date_interval=None if free is None else _ends(fit, free),
    )
    chance = found.p_before_not_positive
    if not chance.value + _ERRORS * chance.mcse < _NO_RATIO:  # nor where it may be by chance
        return found
    ratio = _estimate("ratio of growth", after / before, "1")
    return GrowthBreak(
        found.before, found.after, found.difference, ratio, found.date, found.date_interval
    )


def has_break(fit: Fit) -> bool:
    """Whether the trend of a fit has a break."""
    return form_of(fit.spec.trend) in ("break_known", "break_free")


def _estimate(name: str, draws: xr.DataArray, units: str) -> Estimate:
    return Estimate(name, draws.drop_attrs().assign_attrs(units=units))


def _dates(fit: Fit, years: xr.DataArray, probs: list[float]) -> list[str]:
    """Quantiles of dates, ISO."""
    found = np.quantile(years.values, probs)
    return [derive.date_at(fit, float(year)) for year in found]


def _ends(fit: Fit, years: xr.DataArray) -> tuple[str, str]:
    first, last = _dates(fit, years, list(tails(CI_PROB)))
    return first, last


def _told(estimate: Estimate) -> str:
    lower, upper = (estimate.text(prob) for prob in tails(CI_PROB))
    return f"{estimate.text(0.5)} ({lower} to {upper})"
