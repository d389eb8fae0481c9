"""Running records of density and the least squares line through them: the paper's trend."""

from dataclasses import dataclass

import numpy as np

from bayesdense import conversions
from bayesdense.arrays import Floats, Ints
from bayesdense.names import DAYS_PER_YEAR

#: Two points always lie on a line: below three no slope is reported.
MIN_RECORDS = 3


@dataclass(frozen=True, slots=True)
class RecordLine:
    """Least squares line log density = intercept + slope_per_day * days through running records.

    Slope, intercept and R2 are None with fewer than `MIN_RECORDS` records.
    """

    n_records: int
    slope_per_day: float | None = None
    intercept: float | None = None
    r_squared: float | None = None

    @property
    def doubling_time_days(self) -> float | None:
        """Days in which the line doubles; None without a line or where it does not rise."""
        if self.slope_per_day is None or self.slope_per_day <= 0.0:
            return None
        return float(conversions.doubling_time_days(DAYS_PER_YEAR * self.slope_per_day))

    def to_dict(self) -> dict[str, object]:
        """Plain values, as in the output of `point`."""
        return {
            "n_records": self.n_records,
            "slope_per_day": self.slope_per_day,
            "intercept": self.intercept,
            "r_squared": self.r_squared,
            "doubling_time_days": self.doubling_time_days,
        }


def running_records(days: Ints, density: Floats) -> Ints:
    """Rows that hold a running record: the strict running maximum of density over release DATES.

    Of LLMs released on one day only the densest can be a record, whatever the order of the rows
    (row by row the paper's data would give 13 records instead of its nine); a density that only
    equals the maximum so far is none.

    Parameters
    ----------
    days
        Release day of each LLM, shape (n,), any origin, any order.
    density
        Density, or any increasing function of it, shape (n,). Finite.

    Returns
    -------
    numpy.ndarray
        Row numbers in order of date.

    Examples
    --------
    >>> running_records(np.array([5, 0, 0, 9]), np.array([3.0, 1.0, 2.0, 3.0])).tolist()
    [2, 0]
    """
    if days.size == 0:
        return np.empty(0, dtype=np.int64)
    order = np.lexsort((-density, days))
    best_of_day: Ints = order[np.r_[True, np.diff(days[order]) > 0]]
    reached_before = np.r_[-np.inf, np.maximum.accumulate(density[best_of_day])[:-1]]
    records: Ints = best_of_day[density[best_of_day] > reached_before]
    return records


def fit_line(days: Floats | Ints, log_density: Floats) -> RecordLine:
    """Ordinary least squares of log density on days, unweighted.

    Parameters
    ----------
    days
        Days since the dataset's first release, shape (n,).
    log_density
        Natural logs of density, shape (n,).

    Returns
    -------
    RecordLine
        Without slope where n < 3 or all days are one.
    """
    count = len(days)
    if count < MIN_RECORDS or np.ptp(days) == 0:
        return RecordLine(count)
    x, y = days - np.mean(days), log_density - np.mean(log_density)
    slope = float(x @ y / (x @ x))
    intercept = float(np.mean(log_density) - slope * np.mean(days))
    total = float(y @ y)
    r_squared = slope * float(x @ y) / total if total > 0.0 else None
    return RecordLine(count, slope, intercept, r_squared)
