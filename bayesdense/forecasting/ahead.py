"""What fits say of dates, draw by draw: trend, and family effect and residual of a new LLM."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import xarray as xr

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.estimates import tails
from bayesdense.names import CHAIN, CI_PROB, DRAW, INNER_CI_PROB
from bayesdense.prior_draws import draw_residuals, residual_parameters
from bayesdense.results import Fit
from bayesdense.trends import trend_named

#: Keeps the LLMs of a forecast apart from other uses of a fit's seed.
_STREAM: Final = 0xF0CA


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """What one fit says of some dates, draw by draw; of several, draws are put together.

    Attributes
    ----------
    fit
        The fit, its draws as many as its weight says.
    dates
        ISO dates.
    eta
        Trend, (chain, draw, date); infinite, of either sign, where it has left the numbers.
    deviation
        Family effect and residual of a new LLM, and what its group, if the trend has groups, lies
        above all together, (chain, draw, date).
    of_covariate
        What a new LLM of unknown size owes to its covariate, if the trend has one, (chain, draw,
        date).
    """

    fit: Fit
    dates: tuple[str, ...]
    eta: xr.DataArray
    deviation: Floats
    of_covariate: Floats

    @classmethod
    def of(cls, fit: Fit, dates: Sequence[str]) -> Self:
        """Read a fit at dates."""
        eta = never_missing(derive.trend(fit, dates))
        return cls(fit, tuple(dates), eta, _deviations(fit, dates), _of_covariate(fit, eta.shape))

    @property
    def weight(self) -> int:
        """Number of draws."""
        return self.fit.posterior.sizes[CHAIN] * self.fit.posterior.sizes[DRAW]

    def new_llm(self, k: int) -> Floats:
        """Log density of a new LLM at a date, whatever its size, (chain, draw)."""
        return self.line(k) + self.deviation[..., k] + self.of_covariate[..., k]

    def line(self, k: int) -> Floats:
        """Trend at a date, (chain, draw)."""
        return np.asarray(self.eta.isel(date=k).to_numpy())


def band(log_draws: Floats) -> dict[str, object]:
    """Median and intervals of exp(draws): quantiles commute with exp, and logs do not overflow."""
    probs = [0.5, *tails(INNER_CI_PROB), *tails(CI_PROB)]
    with np.errstate(over="ignore"):
        middle, low50, high50, low95, high95 = np.exp(quantiles(log_draws, probs))
    return {"median": middle, "eti50": [low50, high50], "eti95": [low95, high95]}


def quantiles(draws: Floats, probs: Sequence[float]) -> Floats:
    """Quantiles of draws of which some may be infinite, none is dropped."""
    flat = np.asarray(draws, dtype=float).ravel()
    if np.isfinite(flat).all():
        return np.asarray(np.quantile(flat, probs))
    # linear interpolation of infinities is no number; an order statistic is
    return np.asarray(np.quantile(flat, probs, method="inverted_cdf"))


def p_singular(parts: Sequence[Ahead], date: str) -> float:
    """Share of all draws in which density has become infinite, or zero, by a date."""
    found = [derive.p_singular(part.fit, date) for part in parts]
    chances = [0.0 if chance is None else chance.value for chance in found]
    return float(np.average(chances, weights=[part.weight for part in parts]))


def pooled(each: Iterable[Floats]) -> Floats:
    """Draws of all fits, flat."""
    return np.concatenate([np.ravel(one) for one in each])


def _deviations(fit: Fit, dates: Sequence[str]) -> Floats:
    """What sets a new LLM apart from the trend at each date, (chain, draw, date)."""
    posterior, years = fit.posterior, derive.years_since_origin(fit, dates)
    rng = np.random.default_rng([fit.seed, _STREAM])
    scalars = {
        str(name): drawn.transpose(CHAIN, DRAW).to_numpy()
        for name, drawn in posterior.data_vars.items()
        if set(drawn.dims) == {CHAIN, DRAW}
    }
    shape = (posterior.sizes[CHAIN], posterior.sizes[DRAW], len(years))
    sd, form = residual_parameters(fit.spec, scalars, years)
    out = draw_residuals(fit.spec.residual, sd, form, shape, rng)
    if fit.spec.component("family").kind != "none":
        out = out + scalars["family_sd"][..., None] * rng.normal(size=shape)
    return np.asarray(out + _group_deviations(fit, dates, rng))


def _of_covariate(fit: Fit, shape: tuple[int, ...]) -> Floats:
    """What a new LLM owes to its covariate, which is that of one of the fit's LLMs."""
    if trend_named(fit.spec.trend).covariate is None:
        return np.zeros(shape)
    known = fit.variable("constant_data", "covariate").to_numpy()
    slope = fit.posterior["covariate_slope"].transpose(CHAIN, DRAW).to_numpy()
    drawn = np.random.default_rng([fit.seed, _STREAM, 1]).choice(known, size=shape)
    return np.asarray(slope[..., None] * drawn)


def _group_deviations(fit: Fit, dates: Sequence[str], rng: np.random.Generator) -> Floats | float:
    """Trend of a new LLM's group less that of all together; its group as likely as its share."""
    shares = derive.group_shares(fit)
    if not shares:
        return 0.0
    of_all = derive.trend(fit, dates)
    apart = [(derive.trend(fit, dates, group=name) - of_all).to_numpy() for name in shares]
    drawn = rng.choice(len(shares), p=list(shares.values()), size=of_all.shape)
    return np.asarray(np.take_along_axis(np.stack(apart), drawn[None], axis=0)[0], dtype=float)


def never_missing(eta: xr.DataArray) -> xr.DataArray:
    """Trend, infinite where it is no number at all; where it has fallen without end it stays so."""
    return eta.fillna(np.inf)
