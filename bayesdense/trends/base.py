"""The form that every trend hypothesis has, a user's own as well, and what it sees of a dataset."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from bayesdense.arrays import Floats, Ints
from bayesdense.elementary import Array, positive_part
from bayesdense.names import DAYS_PER_YEAR, GROUP, KNOT, QUARTER, WAVE
from bayesdense.trends.grids import n_waves, quarters

#: A trend's parameters by name, each broadcastable against the times; a vector as the sequence of
#: its entries.
type Theta = Mapping[str, Array]


class Named(Protocol):
    """Values by name: a mapping, or a dataset of xarray."""

    def __getitem__(self, name: str, /) -> Any:  # noqa: ANN401  (any kind of array)
        """Return the values of a name."""
        ...


#: (vector, its dim, position) -> one entry, in the form in which scalars are given.
type Entry = Callable[[Any, str, int], Array]
#: (times, parameters, what is known of the data) -> values at these times.
type Curve = Callable[[Array, Theta, "TrendData"], Array]

#: Half the step, in years, of the difference that stands for a growth rate that is not given.
_STEP: Final = 1e-4


@dataclass(frozen=True, eq=False)  # no slots: what follows from the dates is found once
class TrendData:
    """What a trend sees of a dataset: dates, and what else its LLMs are.

    Attributes
    ----------
    origin
        ISO date at which t is 0.
    years
        Release of each LLM, in years of 365.25 days since the origin.
    family_idx
        Family of each LLM.
    groups
        Names of the groups of LLMs, where the trend asks for groups.
    weights
        For each group whether an LLM is of it (1 or 0), along the times at which the trend is
        read; at mere dates the group's share of the families.
    covariate
        Covariate of the LLMs about its mean, along the times; 0 at mere dates.
    n_breaks
        Dates at which growth may break, where a trend leaves that open.
    window
        First and last time that the form of a trend hangs on (a singular date, bins of growth), in
        years since the origin; by default the first and the last release. LLMs that came later are
        read in the window of those that were fitted.
    """

    origin: str
    years: Floats
    family_idx: Ints
    groups: tuple[str, ...] = ()
    weights: tuple[Array, ...] = ()
    covariate: Array = 0.0
    n_breaks: int = 16
    window: tuple[float, float] | None = None

    @cached_property
    def first(self) -> float:
        """Begin of the window, in years since the origin."""
        return float(self.years.min()) if self.window is None else self.window[0]

    @cached_property
    def last(self) -> float:
        """End of the window, in years since the origin."""
        return float(self.years.max()) if self.window is None else self.window[1]

    @cached_property
    def edges(self) -> Floats:
        """Edges of the quarters from the first release on, (quarters + 1,)."""
        return quarters(self.first, self.last)

    def year_of(self, date: str) -> float:
        """Years from the origin to an ISO date."""
        return (_day(date) - _day(self.origin)).days / DAYS_PER_YEAR

    def date_of(self, years: float) -> str:
        """ISO date of a time, to the nearest day."""
        days = dt.timedelta(days=round(years * DAYS_PER_YEAR))
        return (_day(self.origin) + days).isoformat()

    def labels(self, dim: str) -> tuple[str, ...]:
        """Labels of the entries of a vector of this dim."""
        if dim == GROUP:
            return self.groups
        if dim == WAVE:
            return tuple(str(k + 1) for k in range(n_waves(self.first, self.last)))
        dates = {QUARTER: self.edges[:-1], KNOT: self.edges[1:-1]}[dim]
        return tuple(self.date_of(year) for year in dates)

    def at_dates(self) -> "TrendData":
        """Read at dates rather than at LLMs: groups in their shares, the covariate at its mean.

        A group's share is that of the families, an LLM counting by the inverse size of its family.
        """
        per_family = 1 / np.bincount(self.family_idx)[self.family_idx]
        shares = (float(per_family @ weight / per_family.sum()) for weight in self.weights)
        return replace(self, weights=tuple(shares), covariate=0.0)

    def of_group(self, group: str) -> "TrendData":
        """Read at dates for one group."""
        weights = tuple(float(name == group) for name in self.groups)
        return replace(self, weights=weights, covariate=0.0)

    def along(self, wrap: Callable[[Floats], Array]) -> "TrendData":
        """The same with what runs along the LLMs as another kind of array."""
        covariate = wrap(self.covariate) if np.ndim(self.covariate) else self.covariate
        return replace(self, weights=tuple(wrap(w) for w in self.weights), covariate=covariate)


def _day(date: str) -> dt.date:
    return dt.date.fromisoformat(date)


class Mixture(NamedTuple):
    """A parameter that is never sampled: the density is the mean over its possible values.

    Attributes
    ----------
    name
        The parameter, which posterior draws get back from its conditional distribution.
    values
        What is known of the data -> its values, (values,), equally likely a priori.
    """

    name: str
    values: Callable[[TrendData], Floats]


def _accept(data: TrendData) -> None:
    """No demands on the data."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A hypothesis about eta(t), the log density of a typical new LLM at time t.

    Attributes
    ----------
    kind
        Its name in `[trend] kind`, with its argument behind an @ if it has one.
    parameters
        Names of its parameters; each has a prior in the model's TOML.
    eta
        (t, theta, data) -> log density; t in years of 365.25 days since the time origin, `theta`
        the parameters by name, `data` a `TrendData`. Only arithmetic, comparisons, `abs` and
        NumPy's `exp`, `log` and their like, so that it takes NumPy arrays, xarray objects and
        PyTensor variables alike (functions of `laws` do).
    growth_rate
        (t, theta, data) -> d eta / dt, in 1/year; None: by differences of eta.
    is_linear
        Whether eta is linear in the parameters, for each value of a mixture's: those are sampled by
        the compiled density, others by PyMC's, more slowly.
    dims
        Parameters that are vectors -> their dim, one of `names.TREND_DIMS`.
    positive
        Parameters that are positive numbers.
    pinned
        Vectors of which the data tell most entries: how they are sampled.
    formula
        eta(t) in a line.
    outside
        What it says before the first release and after the last.
    group_by, covariate
        What it asks of the LLMs beside their dates: a column whose words are groups, a number.
    mixture
        Its parameter that is summed over, if it has one.
    singular
        (theta, data) -> time from which it is infinite, if it ever is.
    derived
        What follows from its parameters alone: name -> (theta -> value), kept with the draws.
    require
        Raises `SpecError` where the data cannot carry it.
    priors
        Priors of a user's own trend, as a TOML has them: name -> {dist, kwargs, reason}.

    Examples
    --------
    docs/how-to/own-trend.md makes one.
    """

    kind: str
    parameters: tuple[str, ...]
    eta: Curve
    growth_rate: Curve | None = None
    is_linear: bool = False
    dims: Mapping[str, str] = field(default_factory=dict)
    positive: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()
    formula: str = ""
    outside: str = "the formula goes on"
    group_by: str | None = None
    covariate: str | None = None
    mixture: Mixture | None = None
    singular: Callable[[Theta, TrendData], Array] | None = None
    derived: Mapping[str, Callable[[Named], Array]] = field(default_factory=dict)
    require: Callable[[TrendData], None] = _accept
    priors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def drawn(self) -> tuple[str, ...]:
        """Parameters that posterior draws have: those with a prior, and one summed over."""
        return (*self.parameters, self.mixture.name) if self.mixture else self.parameters

    @property
    def grows(self) -> bool:
        """Whether it has a growth rate at all."""
        return len(self.parameters) > 1

    @property
    def unfolds(self) -> bool:
        """Whether time itself adds to its parameters: an entry for each further quarter."""
        return not {QUARTER, KNOT}.isdisjoint(self.dims.values())


@dataclass(frozen=True, slots=True, eq=False)
class TrendOn:
    """A trend with the dataset that it is a hypothesis about: what all computations read.

    Attributes
    ----------
    trend
        The hypothesis.
    data
        What it sees of the dataset.
    """

    trend: Trend
    data: TrendData

    def eta(self, t: Array, values: Named, entry: Entry | None = None) -> Array:
        """Trend of log density.

        Parameters
        ----------
        t
            Years since the time origin; the LLMs' own, or with `at_dates` any.
        values
            Parameters by name, among others; vectors whole, entries along their last axis.
        entry
            How an entry of a vector is taken; as a column of it by default, for NumPy.
        """
        return self.trend.eta(t, self._theta(values, entry), self.data)

    def growth_rate(self, t: Array, values: Named, entry: Entry | None = None) -> Array:
        """Growth rate d eta / dt (1/year); arguments as of `eta`."""
        theta = self._theta(values, entry)
        if self.trend.growth_rate is not None:
            return self.trend.growth_rate(t, theta, self.data)
        above, below = (self.trend.eta(t + step, theta, self.data) for step in (_STEP, -_STEP))
        return (above - below) / (2 * _STEP)

    def at_dates(self, group: str | None = None) -> "TrendOn":
        """The trend to be read at dates rather than at LLMs, of one group or of all together."""
        data = self.data.at_dates() if group is None else self.data.of_group(group)
        return replace(self, data=data)

    def until(self, years: float) -> "TrendOn":
        """The trend with a window that reaches a time, if it has parameters for each quarter."""
        if not self.trend.unfolds or years <= self.data.last:
            return self
        return replace(self, data=replace(self.data, window=(self.data.first, years)))

    def along(self, wrap: Callable[[Floats], Array]) -> "TrendOn":
        """The trend to be read at LLMs by another kind of array."""
        return replace(self, data=self.data.along(wrap))

    def singular(self, values: Named, entry: Entry | None = None) -> Array | None:
        """Time from which the trend is infinite; None where it never is."""
        if self.trend.singular is None:
            return None
        return self.trend.singular(self._theta(values, entry), self.data)

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """Labels of the dims of its vectors."""
        return {dim: self.data.labels(dim) for dim in self.trend.dims.values()}

    @property
    def entries(self) -> list[tuple[str, int | None]]:
        """Its parameters number by number: (name, position in its vector, None for a scalar)."""
        out: list[tuple[str, int | None]] = []
        for name in self.trend.parameters:
            n = self._size(name)
            out += [(name, None)] if n is None else [(name, k) for k in range(n)]
        return out

    def basis(self, t: Floats, *, growth: bool = False, value: float | None = None) -> Floats:
        """Matrix that takes the parameters of a linear trend to eta (or to growth) at these times.

        Its columns are eta where one number is 1 and the others 0, (n, numbers), as `entries`; of a
        mixture, given the value of its parameter.
        """
        curve, mixture = self.growth_rate if growth else self.eta, self.trend.mixture
        entries = self.entries
        columns = []
        for one in entries:
            units: dict[str, Any] = {} if mixture is None else {mixture.name: value}
            for name in self.trend.parameters:
                own = [float(entry == one) for entry in entries if entry[0] == name]
                units[name] = own[0] if self._size(name) is None else np.array(own)
            columns.append(curve(t, units) + 0.0 * t)
        return np.stack(columns, axis=1)

    def _size(self, name: str) -> int | None:
        """Entries of a vector; None for a scalar."""
        dim = self.trend.dims.get(name)
        return None if dim is None else len(self.data.labels(dim))

    def _theta(self, values: Named, entry: Entry | None) -> Theta:
        """Parameters as a trend takes them."""
        take, theta = entry or column, dict[str, Any]()
        for name in self.trend.drawn:
            value, n = values[name], self._size(name)
            if n is not None:
                value = [take(value, self.trend.dims[name], k) for k in range(n)]
            theta[name] = value
        return theta


def column(value: Floats, dim: str, k: int) -> Floats:
    """Entry of a NumPy vector, its axis kept: (draws, n) -> (draws, 1), (n,) -> (1,)."""
    return value[..., k : k + 1]


def element(value: Array, dim: str, k: int) -> Array:
    """Entry of a vector of PyTensor, a scalar."""
    return value[k]


def labelled(value: Array, dim: str, k: int) -> Array:
    """Entry of an xarray object."""
    return value.isel({dim: k}, drop=True)


def draws_as_columns(values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Draws of parameters, (draws,) or (draws, n), as columns that broadcast with LLMs."""
    return {name: v[:, None] if v.ndim == 1 else v for name, v in values.items()}


def clamp(t: Array, low: float, high: float) -> Array:
    """Times held between two ends."""
    return low + positive_part(t - low) - positive_part(t - high)


def after(t: Array, date: Array) -> Array:
    """1 after a date, 0 before it, 1/2 on it: the slope of max(t - date, 0)."""
    x = t - date
    return 0.5 * (x > 0) + 0.5 * (x >= 0)
