"""Growth that changes once, at a known date or at one that the data have to tell.

References
----------
Xiao et al. 2025 claim that density grew faster after 2022-11-30 (from records on MMLU); Epoch AI
2025 ("Have AI capabilities accelerated?") puts a change of the frontier at 2024-04. Bai and Perron
1998, Econometrica 66:47 (breaks at unknown dates).
"""

import datetime as dt
from typing import Final

import numpy as np

from bayesdense.arrays import Floats
from bayesdense.elementary import Array
from bayesdense.errors import SpecError
from bayesdense.trends.base import Mixture, Named, Theta, Trend, TrendData, after
from bayesdense.trends.grids import break_dates
from bayesdense.wording import told

#: Families that a break needs on each side.
LEAST_FAMILIES: Final = 5
_PARAMETERS: Final = ("trend_intercept", "growth_rate", "growth_change")
_BREAK: Final = "break_year"


def _bent(t: Array, theta: Theta, at: Array) -> Array:
    """eta(t) = eta0 + g t + (d / 2) (|t - b| - |b|), b the date, d the change of growth.

    g is the mean of the growth before and after, so that both are alike a priori: g -+ d / 2.
    """
    bend = abs(t - at) - abs(at)
    return theta["trend_intercept"] + theta["growth_rate"] * t + 0.5 * theta["growth_change"] * bend


def _bent_growth(t: Array, theta: Theta, at: Array) -> Array:
    """Growth g - d / 2 before the date, g + d / 2 after it."""
    return theta["growth_rate"] + theta["growth_change"] * (after(t, at) - 0.5)


def _before(theta: Named) -> Array:
    """Growth before the break."""
    return theta["growth_rate"] - 0.5 * theta["growth_change"]


def _since(theta: Named) -> Array:
    """Growth after the break."""
    return theta["growth_rate"] + 0.5 * theta["growth_change"]


_DERIVED: Final = {"growth_before": _before, "growth_after": _since}


def break_known(date: str) -> Trend:
    """Growth that changes at a given date.

    Parameters
    ----------
    date
        ISO date. A known one has to come from elsewhere than the data that it is tested on.

    Raises
    ------
    SpecError
        What is given is no date.
    """
    try:
        day = dt.date.fromisoformat(date).isoformat()
    except ValueError:
        raise SpecError(
            f"trend break_known@{told(date)}: allowed a date, as in break_known@2024-04-01"
        ) from None

    def eta(t: Array, theta: Theta, data: TrendData) -> Array:
        return _bent(t, theta, data.year_of(day))

    def growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
        return _bent_growth(t, theta, data.year_of(day))

    def require(data: TrendData) -> None:
        _require_families(data, day)

    return Trend(
        kind=f"break_known@{day}",
        parameters=_PARAMETERS,
        eta=eta,
        growth_rate=growth_rate,
        is_linear=True,
        formula="eta0 + g t + (d/2)(|t - b| - |b|), b the given date",
        outside="growth as before the break, or as after it",
        require=require,
        derived=_DERIVED,
    )


def _require_families(data: TrendData, date: str) -> None:
    """Refuse a date with too few families on a side, and name dates that would do."""
    year = data.year_of(date)
    before, since = (
        len(np.unique(data.family_idx[side])) for side in (data.years < year, data.years >= year)
    )
    if min(before, since) >= LEAST_FAMILIES:
        return
    first, last = allowed_dates(data)
    other = f"allowed here: {first} to {last}" if first <= last else "no date here has them"
    raise SpecError(
        f"trend break_known@{date}: {before} families are released before {date} and {since} from "
        f"then on, needed are {LEAST_FAMILIES} on each side (LLMs from "
        f"{data.date_of(data.first)} to {data.date_of(data.last)}); {other}"
    )


def allowed_dates(data: TrendData) -> tuple[str, str]:
    """First and last date with enough families on each side; the first is later if none has."""
    n_families = int(data.family_idx.max()) + 1
    firsts, lasts = np.full(n_families, np.inf), np.full(n_families, -np.inf)
    np.minimum.at(firsts, data.family_idx, data.years)
    np.maximum.at(lasts, data.family_idx, data.years)
    if n_families < LEAST_FAMILIES:
        return "9999-12-31", "0001-01-01"
    # after the fifth family's first LLM; not after the last LLM of the fifth from the end
    earliest = np.sort(firsts)[LEAST_FAMILIES - 1]
    latest = np.sort(lasts)[-LEAST_FAMILIES]
    next_day = dt.date.fromisoformat(data.date_of(float(earliest))) + dt.timedelta(days=1)
    return next_day.isoformat(), data.date_of(float(latest))


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + g t + (d / 2) (|t - b| - |b|) with b among the parameters."""
    return _bent(t, theta, theta[_BREAK])


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth g - d / 2 before the date, g + d / 2 after it."""
    return _bent_growth(t, theta, theta[_BREAK])


def _dates(data: TrendData) -> Floats:
    """Possible dates, equally likely."""
    return break_dates(data.first, data.last, data.n_breaks)


BREAK_FREE = Trend(
    kind="break_free",
    parameters=_PARAMETERS,
    eta=_eta,
    growth_rate=_growth_rate,
    is_linear=True,
    formula="eta0 + g t + (d/2)(|t - b| - |b|), b uniform in the inner 80 % of the window",
    outside="growth as before the break, or as after it; later breaks are not foreseen",
    mixture=Mixture(_BREAK, _dates),
    derived=_DERIVED,
)
