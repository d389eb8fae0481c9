"""The trend before and after a date, in the three ways of taking the records after it."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np

from bayesdense.arrays import Floats, Ints
from bayesdense.errors import BayesdenseError
from bayesdense.point.records import RecordLine, fit_line, running_records

type Reading = Literal["before", "after_restarted", "after_continued", "after_with_last_record"]


@dataclass(frozen=True, slots=True)
class Segment:
    """Line through the records of one side of a split date.

    `start` and `end` bound the releases: before the split end is exclusive, after it inclusive.
    """

    reading: Reading
    start: date
    end: date
    line: RecordLine

    def to_dict(self) -> dict[str, object]:
        """Plain values, as in the output of `point --split`."""
        window = {"from": self.start.isoformat(), "to": self.end.isoformat()}
        return {**window, "reading": self.reading, **self.line.to_dict()}


def split_records(
    days: Ints, log_density: Floats, *, origin: date, split: date
) -> tuple[Segment, ...]:
    """Lines before a date and after it, the latter in each way that a reader may mean.

    A release on the split date is after it. Intercepts hold for days since `origin` everywhere.

    Parameters
    ----------
    days
        Release days since `origin`, shape (n,).
    log_density
        Natural logs of density, shape (n,). Finite.
    origin, split
        Day zero, and the date to split at.

    Returns
    -------
    tuple of Segment
        `before`: the records up to the split. `after_restarted`: records chosen anew among later
        releases, as if nothing had come before (what the paper printed). `after_continued`: the
        records of the whole history that fall after the split. `after_with_last_record`: these
        with the last record before the split as first point, so that the line starts where
        `before` ends. Empty where there are no densities at all.

    Raises
    ------
    BayesdenseError
        No release on one of the sides.
    """
    if days.size == 0:
        return ()
    split_day = (split - origin).days
    is_after = days >= split_day
    if is_after.all() or not is_after.any():
        first, last = (origin + timedelta(days=int(d)) for d in (days.min(), days.max()))
        raise BayesdenseError(
            f"split {split}: no release {'before' if is_after.all() else 'on or after'} it;"
            f" the releases with a density run from {first} to {last}"
        )
    last_release = origin + timedelta(days=int(days.max()))
    records = running_records(days, log_density)
    after = records[is_after[records]]
    joined = records[-len(after) - 1 :]
    later_rows = np.flatnonzero(is_after)
    restarted = later_rows[running_records(days[later_rows], log_density[later_rows])]

    def segment(reading: Reading, rows: Ints) -> Segment:
        bounds = (origin, split) if reading == "before" else (split, last_release)
        return Segment(reading, *bounds, fit_line(days[rows], log_density[rows]))

    return (
        segment("before", records[~is_after[records]]),
        segment("after_restarted", restarted),
        segment("after_continued", after),
        segment("after_with_last_record", joined),
    )
