"""The attempt-count null: how fast records rise when nothing improves but LLMs keep coming."""

from dataclasses import dataclass

import numpy as np

from bayesdense.arrays import Floats, Ints
from bayesdense.conversions import doubling_time_days
from bayesdense.names import CI_PROB, DAYS_PER_YEAR
from bayesdense.point.records import MIN_RECORDS, fit_line

#: Values of one block of permutations held at a time: bounds memory on datasets of any length.
_BLOCK_VALUES = 2_000_000


@dataclass(frozen=True, slots=True)
class AttemptNull:
    """Growth of the records line in worlds without a trend, over permutations.

    Growth is that of log density, in 1/year of 365.25 days. Median and interval run over the
    permutations with at least three records; the shares run over all of them.
    """

    n_permutations: int
    growth_median: float | None
    growth_eti95: tuple[float, float] | None
    share_too_few_records: float
    observed_growth: float | None
    p_null: float | None

    @property
    def median_doubling_time_days(self) -> float | None:
        """Doubling time at the median growth (never a mean of doubling times)."""
        if self.growth_median is None or self.growth_median <= 0.0:
            return None
        return float(doubling_time_days(self.growth_median))

    def to_dict(self) -> dict[str, object]:
        """Plain values, as in the output of `point`; slopes per day beside growth per year."""
        interval, median = self.growth_eti95, self.growth_median
        return {
            "growth_median": median,
            "growth_eti95": None if interval is None else list(interval),
            "growth_unit": "1/year",
            "slope_per_day_median": None if median is None else median / DAYS_PER_YEAR,
            "slope_per_day_eti95": interval and [bound / DAYS_PER_YEAR for bound in interval],
            "median_doubling_time_days": self.median_doubling_time_days,
            "share_too_few_records": self.share_too_few_records,
            "observed_growth": self.observed_growth,
            "p_null": self.p_null,
            "n_permutations": self.n_permutations,
        }


def attempt_null(
    days: Ints,
    log_density: Floats,
    family: Ints,
    *,
    observed_slope: float | None,
    n_permutations: int,
    rng: np.random.Generator,
) -> AttemptNull | None:
    """Fit the records line in worlds without growth: observed dates, permuted residuals.

    Residuals are those of the least squares trend on ALL LLMs. A permutation keeps whole families
    together: the residuals of a family stay one block, in their order of date (on one day, in
    random order); the blocks are shuffled and laid end to end over the release dates. So every
    date keeps its number of releases (the attempts that the null is about) and every residual is
    used once. As families differ in size, a block may run over the dates of neighbouring
    families: permuting only among families of one size would pin the largest to their own dates,
    and moving families with their dates would change the number of attempts per date.

    Parameters
    ----------
    days
        Release days, shape (n,).
    log_density
        Natural logs of density, shape (n,). Finite.
    family
        Index of each LLM's family, shape (n,).
    observed_slope
        Slope per day of the records line on the data, None where there is none.
    n_permutations
        Number of permutations.
    rng
        Source of the permutations.

    Returns
    -------
    AttemptNull or None
        None where there is no trend to take residuals of (fewer than three LLMs, or one date).
        `p_null` is the share of all permutations whose growth is at least the observed; one with
        fewer than three records has no growth and never counts as at least.
    """
    slope = fit_line(days, log_density).slope_per_day
    if slope is None:
        return None
    residual = log_density - np.mean(log_density) - slope * (days - np.mean(days))
    blocks = max(1, n_permutations * days.size // _BLOCK_VALUES)
    slopes = np.concatenate(
        [
            record_slopes(days, shuffle_families(days, residual, family, len(part), rng))
            for part in np.array_split(np.arange(n_permutations), blocks)
        ]
    )
    return _summarise(slopes, observed_slope)


def shuffle_families(
    days: Ints, values: Floats, family: Ints, n_permutations: int, rng: np.random.Generator
) -> Floats:
    """Lay shuffled family blocks of values over the dates, one permutation per row of the result.

    Same-day dates are interchangeable, as only the best of a day can be a record.
    """
    n_families, (day, day_index) = int(family.max()) + 1, np.unique(days, return_inverse=True)
    place = rng.permuted(np.tile(np.arange(n_families), (n_permutations, 1)), axis=1)
    # Block by block, in a block by date, on a day by the random fraction.
    key = place[:, family] * day.size + day_index + rng.random((n_permutations, values.size))
    shuffled = np.empty((n_permutations, values.size))
    shuffled[:, np.argsort(days, kind="stable")] = values[np.argsort(key, axis=1)]
    return shuffled


def record_slopes(days: Ints, log_density: Floats) -> Floats:
    """Slope per day of the records line of each row of `log_density`, all rows at once.

    Parameters
    ----------
    days
        Release days, shape (n,), shared by all rows.
    log_density
        Shape (rows, n).

    Returns
    -------
    numpy.ndarray
        Shape (rows,); NaN marks a row with fewer than three records.
    """
    order = np.argsort(days, kind="stable")
    day, first_row = np.unique(days[order], return_index=True)
    best_of_day = np.maximum.reduceat(log_density[:, order], first_row, axis=1)
    reached = np.maximum.accumulate(best_of_day, axis=1)
    is_record = np.ones(best_of_day.shape, dtype=bool)
    is_record[:, 1:] = best_of_day[:, 1:] > reached[:, :-1]
    count = is_record.sum(axis=1)
    x = np.where(is_record, day - (is_record @ day / count)[:, None], 0.0)
    enough = count >= MIN_RECORDS
    slopes = np.full(len(log_density), np.nan)
    slopes[enough] = (x * best_of_day).sum(axis=1)[enough] / (x * x).sum(axis=1)[enough]
    return slopes


def _summarise(slopes: Floats, observed_slope: float | None) -> AttemptNull:
    """Median, interval and shares of the permuted slopes."""
    has_slope = np.isfinite(slopes)
    growth = DAYS_PER_YEAR * slopes[has_slope]
    tail = (1.0 - CI_PROB) / 2.0
    interval = median = at_least = None
    if growth.size:
        low, median, high = (float(q) for q in np.quantile(growth, [tail, 0.5, 1.0 - tail]))
        interval = (low, high)
    if observed_slope is not None:
        at_least = float(np.sum(slopes[has_slope] >= observed_slope) / slopes.size)
    return AttemptNull(
        n_permutations=int(slopes.size),
        growth_median=median,
        growth_eti95=interval,
        share_too_few_records=float(np.mean(~has_slope)),
        observed_growth=None if observed_slope is None else DAYS_PER_YEAR * observed_slope,
        p_null=at_least,
    )
