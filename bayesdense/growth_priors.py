"""What the priors of trends say about growth, so that rival trends start alike.

A trend that allows more growth a priori than another is compared by its prior as much as by its
shape. So the prior sd of growth at the start, in the middle and at the end of the data's window is
set out for each, and should differ by no more than a factor 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bayesdense.dataset import Dataset
from bayesdense.names import DEFAULT_SEED
from bayesdense.observations import observe, trend_on
from bayesdense.prior_draws import draw_trend
from bayesdense.spec import ModelSpec
from bayesdense.trends.base import draws_as_columns

#: Draws from which sds are taken: known to a per cent, of the skewest to a few.
_DRAWS: Final = 40_000
#: Prior sds of growth of two trends that differ by more are not alike.
MOST_FACTOR: Final = 2.0


@dataclass(frozen=True, slots=True)
class PriorGrowth:
    """Growth under the priors of a trend, in the window of a dataset.

    Attributes
    ----------
    trend
        Its name.
    start, middle, end
        Prior sd of the growth rate at the first release, in the middle of the window and at the
        last release, 1/year.
    p_growing
        Prior probability of growth at the last release.
    """

    trend: str
    start: float
    middle: float
    end: float
    p_growing: float

    @property
    def sds(self) -> tuple[float, float, float]:
        """The three sds."""
        return self.start, self.middle, self.end

    def is_like(self, other: "PriorGrowth") -> bool:
        """Whether all sds of both differ by a factor 2 at most; no growth at all is like any."""
        both = [sd for sd in (*self.sds, *other.sds) if sd > 0.0]
        return not both or max(both) <= MOST_FACTOR * min(both)


def prior_growth(
    spec: ModelSpec, dataset: Dataset, trends: Sequence[str] | None = None
) -> list[PriorGrowth]:
    """Work out what the priors of trends say about growth in the window of a dataset.

    Parameters
    ----------
    spec, dataset
        The model that has the priors, and the data.
    trends
        Names of trends; None: the model's own.

    Returns
    -------
    list
        One for each trend, from draws with a fixed seed.

    Raises
    ------
    SpecError
        A trend is unknown, or the data cannot carry it.

    Examples
    --------
    >>> import bayesdense as bd
    >>> spec, data = bd.load_spec("joint"), bd.load_dataset("densing")
    >>> [round(sd, 1) for sd in bd.prior_growth(spec, data, ["exponential"])[0].sds]
    [2.0, 2.0, 2.0]
    """
    chosen = [spec.trend] if trends is None else list(trends)
    return [_prior_growth(spec.with_options(trend=name), dataset) for name in chosen]


def _prior_growth(spec: ModelSpec, dataset: Dataset) -> PriorGrowth:
    """Sds of growth under one trend."""
    llms = observe(spec, dataset).llms
    theta = draw_trend(spec, llms, np.random.default_rng(DEFAULT_SEED), _DRAWS)
    whole = trend_on(spec, llms).at_dates()
    first, last = whole.data.first, whole.data.last
    times = np.array([first, 0.5 * (first + last), last])
    growth = np.broadcast_to(
        whole.growth_rate(times, draws_as_columns(theta)), (_DRAWS, len(times))
    )
    start, middle, end = growth.std(axis=0).tolist()
    return PriorGrowth(spec.trend, start, middle, end, float((growth[:, -1] > 0.0).mean()))
